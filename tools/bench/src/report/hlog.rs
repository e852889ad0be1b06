//! The histograms as an HdrHistogram log, which the plotters and analysers of that family read.
//!
//! **Response times** have a line a slice of the timeline and operation, as those tools expect of intervals: the tags are `get`, `put` and so on, and adding up the lines of
//! a tag gives what ended in the window. **The rest** has a line a run, with a tag of two words or more that says of what: `all.service`, `get.service`, `get.hot.response`,
//! `core1.response`, and `lag`; so does `all.response`, of what was *meant to start* in the window. Values are nanoseconds; the column for the greatest is in milliseconds.
//! Starts are in seconds after the report's own beginning, which a comment gives.

use std::time::Duration;

use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, Tag},
    },
};

use super::names;
use crate::results::{BadHistogram, Report, decode};

/// Nanoseconds of the millisecond in which the log gives the greatest value.
const NS_PER_MS: f64 = 1e6;

/// The log.
///
/// # Errors
///
/// [`BadHistogram`] if a histogram of the report can't be read.
///
/// # Panics
///
/// Never: memory takes all that is written to it.
pub fn hlog(report: &Report) -> Result<String, BadHistogram> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment(&one_line(&format!(
            "{}, started {}; values in nanoseconds",
            report.tool, report.started_at
        )))
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(&mut bytes, &mut serializer)
        .expect("memory takes all that is written to it");
    for run in &report.runs {
        writer
            .write_comment(&one_line(&run.label))
            .expect("memory takes all that is written to it");
        let mut line = |tag: &str, begins: f64, seconds: f64, histogram: &Histogram<u64>| {
            let (begins, seconds) = (duration(begins), duration(seconds));
            writer
                .write_histogram(histogram, begins, seconds, Tag::new(tag))
                .map_err(|error| BadHistogram::Bytes(error.to_string()))
        };
        let slice_seconds = run.timeline.slice_seconds;
        for (index, slice) in run.timeline.slices.iter().enumerate() {
            let begins = run.begins_seconds + index as f64 * slice_seconds;
            for (operation, encoded) in &slice.histograms {
                let histogram = decode(encoded)?;
                line(operation.name(), begins, slice_seconds, &histogram)?;
            }
        }
        let latencies = run.latencies.iter().flat_map(|latency| {
            let scope = names::scope(latency);
            [
                (format!("{scope}.response"), &latency.response),
                (format!("{scope}.service"), &latency.service),
            ]
        });
        let lag = [("lag".to_owned(), &run.generator.lag)];
        for (tag, distribution) in latencies.chain(lag) {
            let histogram = distribution.histogram()?;
            line(&tag, run.begins_seconds, run.seconds, &histogram)?;
        }
    }
    Ok(String::from_utf8(bytes).expect("the log's format is text"))
}

/// A comment ends with its line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What no duration can be is taken as none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
