//! The time series as CSV: a row a run and slice, for spreadsheets and scripts.

use serde::Serialize;

use crate::results::Report;

/// A row. The columns are its fields; `docs/bench-results.md` explains them.
#[derive(Serialize)]
struct Row<'a> {
    run: usize,
    label: &'a str,
    slice: usize,
    begins_seconds: f64,
    length_seconds: f64,
    operations: u64,
    throughput: f64,
    errors: u64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    trusted: bool,
}

/// The names of the columns.
const HEADER: &str = "run,label,slice,begins_seconds,length_seconds,operations,throughput,errors,p50_us,p99_us,max_us,trusted\n";

/// The slices of all runs, in order, with a line of names on top.
///
/// # Panics
///
/// Never: memory takes all that is written to it.
#[must_use]
pub fn csv(report: &Report) -> String {
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(HEADER.as_bytes().to_vec());
    for (run_index, run) in report.runs.iter().enumerate() {
        for (slice_index, slice) in run.timeline.slices.iter().enumerate() {
            let length = run.timeline.slice_seconds;
            let row = Row {
                run: run_index + 1,
                label: &run.label,
                slice: slice_index,
                begins_seconds: run.begins_seconds + slice_index as f64 * length,
                length_seconds: length,
                operations: slice.operations,
                throughput: if length > 0.0 {
                    slice.operations as f64 / length
                } else {
                    0.0
                },
                errors: slice.errors,
                p50_us: slice.p50,
                p99_us: slice.p99,
                max_us: slice.max,
                trusted: run.generator.trusted,
            };
            writer
                .serialize(row)
                .expect("memory takes all that is written to it");
        }
    }
    let bytes = writer
        .into_inner()
        .expect("memory takes all that is written to it");
    String::from_utf8(bytes).expect("CSV of text is text")
}
