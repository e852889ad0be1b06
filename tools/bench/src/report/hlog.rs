//! The histograms as an HdrHistogram log, which the plotters and analysers of that family read.
//!
//! A line a run and distribution. The tag says of what: `all.response`, `get.hot.service`, `core1.response`, and `lag`. Values are nanoseconds; the
//! column for the greatest is in milliseconds, as those tools expect. The start is in seconds after the report's own beginning, which a comment gives.

use std::time::Duration;

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};

use super::names;
use crate::results::{BadHistogram, Report};

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
        let latencies = run.latencies.iter().flat_map(|latency| {
            let scope = names::scope(latency);
            [
                (format!("{scope}.response"), &latency.response),
                (format!("{scope}.service"), &latency.service),
            ]
        });
        let lag = [("lag".to_owned(), &run.generator.lag)];
        for (tag, distribution) in latencies.chain(lag) {
            writer
                .write_histogram(
                    &distribution.histogram()?,
                    duration(run.begins_seconds),
                    duration(run.seconds),
                    Tag::new(&tag),
                )
                .map_err(|error| BadHistogram::Bytes(error.to_string()))?;
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
