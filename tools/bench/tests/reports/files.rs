//! JSON, CSV and HdrHistogram's log.

use corduroy_bench::{
    report::{csv::csv, hlog::hlog},
    results::{read, write},
    workload::Operation,
};
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use crate::fixture;

#[test]
fn a_report_comes_back_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.json");
    for report in [fixture::single(), fixture::sweep()] {
        write(&report, &path).unwrap();
        assert_eq!(read(&path).unwrap(), report);
    }
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1, "nothing is left beside it");
}

#[test]
fn a_bad_field_is_named_by_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.json");
    let mut report = fixture::closed();
    report.runs[0].latencies[2].response.histogram = "?".to_owned();
    write(&report, &path).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(
        error.contains(
            "a.json: at runs[0].latencies[2].response.histogram: the histogram is no base64"
        ),
        "{error}"
    );
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("\"p999\": ", "\"p999\": \"x\", \"other\": "),
    )
    .unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(
        error.contains("at runs[0].latencies[0].response.p999: invalid type"),
        "{error}"
    );
}

#[test]
fn csv_has_a_row_a_slice() {
    let mut report = fixture::repeated(2, 180.0, 1);
    report.runs[1].label = "second, \"odd\"".to_owned();
    let text = csv(&report);
    assert_eq!(text.lines().count(), 1 + 2 * 30);
    assert_eq!(
        text.lines().next().unwrap(),
        "run,label,slice,begins_seconds,length_seconds,operations,throughput,errors,p50_us,p99_us,max_us,trusted"
    );
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let last = reader.records().last().unwrap().unwrap();
    assert_eq!(&last[0], "2");
    assert_eq!(&last[1], "second, \"odd\"");
    assert_eq!(&last[3], "128.0");
    assert_eq!(last.len(), 12);
}

#[test]
fn the_log_is_read_by_its_own_reader() {
    let mut report = fixture::single();
    // As `--hlog` has it kept: whatever a slice has seen of gets.
    let seen = report.runs[0].latencies[1].response.histogram.clone();
    for slice in &mut report.runs[0].timeline.slices {
        slice.histograms = [(Operation::Get, seen.clone())].into();
    }
    let text = hlog(&report).unwrap();
    let (mut tags, mut starts) = (Vec::new(), Vec::new());
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            if interval.tag().unwrap().as_str() == "get" {
                assert_eq!(interval.encoded_histogram(), seen);
                assert_eq!(interval.duration().as_secs(), 2);
                starts.push(interval.start_timestamp().as_secs());
                continue;
            }
            assert_eq!(interval.start_timestamp().as_secs(), 5);
            assert_eq!(interval.duration().as_secs(), 60);
            if interval.tag().unwrap().as_str() == "get.response" {
                assert_eq!(
                    interval.encoded_histogram(),
                    report.runs[0].latencies[1].response.histogram
                );
                let max_us = report.runs[0].latencies[1].response.max;
                assert!((interval.max() * 1_000.0 - max_us).abs() < 1.0);
            }
            tags.push(interval.tag().unwrap().as_str().to_owned());
        }
    }
    let every_slice: Vec<u64> = (0..30).map(|slice| 5 + 2 * slice).collect();
    assert_eq!(starts, every_slice);
    assert_eq!(tags.len(), report.runs[0].latencies.len() * 2 + 1);
    assert!(tags.contains(&"get.hot.service".to_owned()));
    assert!(tags.contains(&"core3.response".to_owned()));
    assert_eq!(tags.last().unwrap(), "lag");
}
