//! Files that `run` writes, and what `show`, `plot` and `compare` make of them.

use std::fs;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use corduroy_bench::results::{JSON_SCHEMA, Report};
use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    },
};
use serde_json::Value;

use crate::{
    process::corduroy,
    support::{bench, word},
};

// What a plotter of HdrHistogram's makes of the log must be what the run has counted.
fn intervals_are_those_of_the_timeline(json: &str, log: &str) {
    let report: Report = serde_json::from_str(json).unwrap();
    let run = &report.runs[0];
    let mut counted = vec![0; run.timeline.slices.len()];
    for entry in IntervalLogIterator::new(log.as_bytes()) {
        if let LogEntry::Interval(interval) = entry.unwrap()
            && ["get", "put"].contains(&interval.tag().unwrap().as_str())
        {
            let since = interval.start_timestamp().as_secs_f64() - run.begins_seconds;
            let slice = (since / run.timeline.slice_seconds).round();
            if (0.0..counted.len() as f64).contains(&slice) {
                let bytes = BASE64_STANDARD.decode(interval.encoded_histogram());
                let histogram: Histogram<u64> = Deserializer::new()
                    .deserialize(&mut bytes.unwrap().as_slice())
                    .unwrap();
                counted[slice as usize] += histogram.len();
            }
        }
    }
    let slices: Vec<u64> = run.timeline.slices.iter().map(|of| of.operations).collect();
    assert_eq!(counted, slices);
    assert!(slices.iter().sum::<u64>() > 0);
}

#[test]
fn all_that_can_be_written_and_made_of_it() {
    let server = corduroy();
    let place = |name: &str| server.data.path().join(name);
    let path = |name: &str| word(&place(name));
    let words = format!(
        "run --keys 1000 --load -d hot-cold --rate 2k --duration 500ms --warm-up 100ms --runs 2 --plots --json {} --csv {} --hlog {} --svg {} --html {}",
        path("a.json"),
        path("a.csv"),
        path("a.hlog"),
        path("svg"),
        path("a.html")
    );
    server.bench(&words).with(0).says("run 2");
    let text = fs::read_to_string(place("a.json")).unwrap();
    is_valid(&text);
    assert!(fs::read_to_string(place("a.csv")).unwrap().lines().count() > 1);
    intervals_are_those_of_the_timeline(&text, &fs::read_to_string(place("a.hlog")).unwrap());
    assert!(
        fs::read_to_string(place("a.html"))
            .unwrap()
            .contains("</html>")
    );
    let plots = fs::read_dir(place("svg")).unwrap();
    assert!(plots.count() >= 2);
    // A plot of another result that was drawn there before would be taken for one of this.
    fs::write(place("svg").join("latency-by-rate.svg"), "old").unwrap();
    fs::write(place("svg").join("mine.svg"), "kept").unwrap();

    bench(&format!("show {} --plots", path("a.json")))
        .with(0)
        .says("corduroy-bench");
    bench(&format!("plot {}", path("a.json")))
        .with(0)
        .says("percentile");
    bench(&format!(
        "plot {} --svg {} --html {}",
        path("a.json"),
        path("again"),
        path("again.html")
    ))
    .with(0);
    assert!(place("again.html").exists());
    bench(&format!("plot {} --svg {}", path("a.json"), path("svg"))).with(0);
    assert!(!place("svg").join("latency-by-rate.svg").exists());
    assert!(place("svg").join("mine.svg").exists());
    let same = bench(&format!("compare {} {}", path("a.json"), path("a.json"))).with(0);
    same.says("throughput");
    let same = bench(&format!(
        "compare {} {} -o json",
        path("a.json"),
        path("a.json")
    ));
    serde_json::from_str::<Value>(&same.out).unwrap();

    let show = |condition: &str| bench(&format!("show {} --fail-if {condition}", path("a.json")));
    show("errors>0").with(0).says("ok: ");
    show("throughput<1G").with(1).says("FAIL: ");
    show("scan.p99>1ms").with(1).says("can't be told");
    fs::write(place("half.json"), &text[..text.len() / 2]).unwrap();
    for command in ["show", "plot"] {
        bench(&format!("{command} {}", path("half.json"))).with(7);
        bench(&format!("{command} {}", path("none.json")))
            .with(7)
            .says("none.json");
    }
}

// For scripts: standard output is the result and nothing else.
#[test]
fn json_on_standard_output_and_conditions() {
    let server = corduroy();
    let run = "run --keys 500 --load -c 5 -n 1000 --warm-up 0 -o json";
    let said = server.bench(run).with(0);
    is_valid(&said.out);
    let said = server
        .bench(&format!("{run} --fail-if errors>0 --fail-if throughput<1"))
        .with(0);
    is_valid(&said.out);
    assert_eq!(said.err.matches("ok: ").count(), 2, "{}", said.err);
    let said = server
        .bench(&format!(
            "{run} --fail-if errors>0 --fail-if throughput<10G"
        ))
        .with(1);
    is_valid(&said.out);
    assert_eq!(said.err.matches("FAIL: ").count(), 1, "{}", said.err);
}

fn is_valid(text: &str) {
    let schema: Value = serde_json::from_str(JSON_SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
