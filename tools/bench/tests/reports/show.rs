//! What a terminal shows.

use corduroy_bench::{
    report::terminal::{ShowOptions, show},
    results::Report,
};

use crate::fixture;

fn shown(report: &Report, options: &ShowOptions) -> String {
    show(report, options).expect("its histograms can be read")
}

#[test]
fn an_open_loop() {
    let options = ShowOptions {
        plots: true,
        ..ShowOptions::default()
    };
    insta::assert_snapshot!("open", shown(&fixture::single(), &options));
}

#[test]
fn a_closed_loop() {
    let text = shown(&fixture::closed(), &ShowOptions::default());
    assert!(
        text.lines()
            .any(|line| line == "closed loop: latency not corrected for waiting")
    );
    insta::assert_snapshot!("closed", text);
}

// Nobody who copies a line out of the table can claim to have measured it.
#[test]
fn a_generator_that_did_not_keep_up() {
    let text = shown(&fixture::untrusted(), &ShowOptions::default());
    insta::assert_snapshot!("untrusted", text);
    let table = text.lines().skip_while(|line| !line.starts_with(" OF"));
    for line in table.take_while(|line| !line.starts_with("generator")) {
        for (at, _) in line.match_indices("µs").chain(line.match_indices(" ms")) {
            let figure = line[..at].trim_end().rsplit(' ').next().unwrap();
            assert!(figure.starts_with('?'), "{line}");
        }
    }
}

// Why a figure can't be believed must not stand behind words that are no reason, once for each run.
#[test]
fn that_the_loop_was_closed_is_no_reason_to_refuse_latencies() {
    let mut report = fixture::closed();
    let generator = &mut report.runs[0].generator;
    generator.trusted = false;
    generator.warnings = vec![
        "Closed loop: latency not corrected for waiting.".to_owned(),
        "The generator itself stood still.".to_owned(),
    ];
    let again = report.runs[0].clone();
    report.runs.push(again);
    let text = shown(&report, &ShowOptions::default());
    let why = "\nLatencies can't be claimed: run 1: The generator itself stood still.\n";
    assert!(text.contains(why), "{text}");
    assert_eq!(text.matches("Closed loop").count(), 0, "{text}");
}

#[test]
fn repetitions() {
    insta::assert_snapshot!(
        "repeated",
        shown(&fixture::repeated(3, 180.0, 1), &ShowOptions::default())
    );
}

#[test]
fn a_sweep() {
    let options = ShowOptions {
        slo: Some("p99<2ms".parse().unwrap()),
        ..ShowOptions::default()
    };
    insta::assert_snapshot!("sweep", shown(&fixture::sweep(), &options));
}

#[test]
fn nothing_at_all() {
    let text = shown(&fixture::report(Vec::new()), &ShowOptions::default());
    assert!(text.starts_with("Nothing was asked of corduroy 0.1.0"));
}
