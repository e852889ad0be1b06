//! Two reports held against each other: what changed, and what is noise.
//!
//! Steps that were asked the same are compared. Each run gives one value of each figure: its throughput, its errors, its own p50, p99 and so on. The
//! difference of the two sides' means comes with Welch's 95 % interval over those values ([`statistics`](super::statistics)). If the interval
//! holds zero, the difference is **noise**; otherwise it is **better** or **worse**. With one run on a side nothing is known of how runs scatter,
//! so nothing is said: **unknown**.
//!
//! Of a hundred figures that did not change, five leave their interval all the same; the text says how many to expect. A latency carries three digits,
//! so the variance of each is taken to be at least that of the rounding: runs that agree to the digit are no proof of a difference of one digit.
//! Percentiles above which a run has fewer than ten values are left out. They scatter like single values.

mod circumstances;
mod text;

pub use text::text;

use serde::Serialize;

use super::{
    CLOSED_LOOP,
    condition::why_untrusted,
    names,
    statistics::{Sample, welch},
    steps::{self, Step},
};
use crate::results::{BadHistogram, Distribution, Latency, Pacing, Report, Run};

/// A percentile needs so many values above it in each run.
const VALUES_ABOVE_MIN: f64 = 10.0;
/// Share of a latency that one unit of its third digit is at most.
const ROUNDING: f64 = 1e-3;

/// Two reports compared. Its JSON has the fields as they are here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What the two were asked of, and when.
    pub before: Side,
    /// The same of the second.
    pub after: Side,
    /// Differences in settings, machine and server, and other reasons for care.
    pub warnings: Vec<String>,
    /// Steps that both have.
    pub steps: Vec<StepComparison>,
    /// Figures that would show a difference by chance alone, if nothing had changed.
    pub expected_by_chance: f64,
}

/// One of the two reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// When it began.
    pub started_at: String,
    /// The server's name and version.
    pub server: String,
    /// The server's durability.
    pub durability: String,
    /// Its runs.
    pub runs: usize,
}

/// A step of both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepComparison {
    /// The step.
    pub label: String,
    /// Runs of it before.
    pub runs_before: usize,
    /// Runs of it after.
    pub runs_after: usize,
    /// A row a figure.
    pub rows: Vec<Row>,
}

/// One figure, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Of which requests: `all`, `get`, `hot`.
    pub scope: String,
    /// `throughput`, `errors`, `p99`.
    pub figure: String,
    /// `operations/s`, `us`, or `a run`.
    pub unit: &'static str,
    /// Mean over the runs before.
    pub before: f64,
    /// Standard deviation of the runs before.
    pub before_deviation: f64,
    /// Mean over the runs after.
    pub after: f64,
    /// Standard deviation of the runs after.
    pub after_deviation: f64,
    /// After minus before.
    pub difference: f64,
    /// The 95 % interval of the difference.
    pub interval: Option<[f64; 2]>,
    /// What follows.
    pub verdict: Verdict,
}

/// What follows of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may well be none.
    Noise,
    /// It is one, for the better.
    Better,
    /// It is one, for the worse.
    Worse,
    /// Too few runs to say.
    Unknown,
}

/// Compares two reports.
///
/// # Errors
///
/// [`BadHistogram`] if a histogram of a report can't be read.
pub fn compare(before: &Report, after: &Report) -> Result<Comparison, BadHistogram> {
    let mut warnings = circumstances::differences(before, after);
    let (steps_before, steps_after) = (steps::steps(before), steps::steps(after));
    // Somebody who changes connections or pipeline between two results wants to know what that did; the settings are named above.
    let are_all_there_is = match (&steps_before[..], &steps_after[..]) {
        ([left], [right]) => left.is_paced_like(right),
        _ => false,
    };
    let belong_together =
        |left: &Step<'_>, right: &Step<'_>| are_all_there_is || left.matches(right);
    let mut compared = Vec::new();
    for left in &steps_before {
        match steps_after
            .iter()
            .find(|right| belong_together(left, right))
        {
            Some(right) => compared.push(compare_step(left, right, &mut warnings)),
            None => warnings.push(format!("only the first report has {}", left.asked())),
        }
    }
    for right in &steps_after {
        if !steps_before.iter().any(|left| belong_together(left, right)) {
            warnings.push(format!("only the second report has {}", right.asked()));
        }
    }
    let figures = compared
        .iter()
        .flat_map(|step: &StepComparison| &step.rows)
        .filter(|row| row.verdict != Verdict::Unknown)
        .count();
    Ok(Comparison {
        before: Side::of(before),
        after: Side::of(after),
        warnings,
        steps: compared,
        expected_by_chance: figures as f64 * (1.0 - super::statistics::CONFIDENCE),
    })
}

impl Side {
    fn of(report: &Report) -> Side {
        Side {
            started_at: report.started_at.clone(),
            server: report.server.version.clone(),
            durability: report.server.durability.clone(),
            runs: report.runs.len(),
        }
    }
}

fn compare_step(before: &Step<'_>, after: &Step<'_>, warnings: &mut Vec<String>) -> StepComparison {
    let mut rows = vec![
        row(
            "all",
            "throughput",
            "operations/s",
            [before, after],
            &|run| Some(run.throughput),
        ),
        row("all", "errors", "a run", [before, after], &|run| {
            Some(run.errors.values().sum::<u64>() as f64)
        }),
    ];
    let runs = || before.runs.iter().chain(&after.runs);
    for run in runs().filter(|run| !run.generator.trusted) {
        warnings.push(format!(
            "{}: latencies are left out, for none can be claimed of {}: {}",
            before.label,
            run.label,
            why_untrusted(run)
        ));
    }
    if runs().all(|run| run.generator.trusted) {
        let closed = runs().any(|run| run.pacing == Pacing::ClosedLoop);
        if closed && !warnings.iter().any(|warning| warning == CLOSED_LOOP) {
            warnings.push(CLOSED_LOOP.to_owned());
        }
        for latency in before.runs.iter().take(1).flat_map(|run| &run.latencies) {
            rows.extend(latency_rows(latency, [before, after]));
        }
    }
    StepComparison {
        label: before.label.clone(),
        runs_before: before.runs.len(),
        runs_after: after.runs.len(),
        rows: rows.into_iter().flatten().collect(),
    }
}

/// The rows of one distribution: many of all requests, few of each operation and heat, none of a core.
fn latency_rows(of: &Latency, sides: [&Step<'_>; 2]) -> Vec<Option<Row>> {
    let scope = names::scope(of);
    let figures: &[(&str, Option<f64>)] = match (of.operation, of.heat, of.server_core) {
        (None, None, None) => &[
            ("mean", None),
            ("p50", Some(50.0)),
            ("p90", Some(90.0)),
            ("p99", Some(99.0)),
            ("p99.9", Some(99.9)),
            ("p99.99", Some(99.99)),
        ],
        (_, _, None) => &[
            ("p50", Some(50.0)),
            ("p99", Some(99.0)),
            ("p99.9", Some(99.9)),
        ],
        _ => &[],
    };
    figures
        .iter()
        .map(|&(figure, percent)| {
            row(&scope, figure, "us", sides, &|run| {
                let found = run.latencies.iter().find(|latency| {
                    (latency.operation, latency.heat, latency.server_core)
                        == (of.operation, of.heat, of.server_core)
                })?;
                value(&found.response, percent)
            })
        })
        .collect()
}

/// A percentile, or the mean for `None`, if there are enough values for it.
fn value(distribution: &Distribution, percent: Option<f64>) -> Option<f64> {
    match percent {
        None => (distribution.count > 0).then_some(distribution.mean),
        Some(percent) if distribution.above(percent) < VALUES_ABOVE_MIN => None,
        Some(percent) => distribution.percentile(percent).ok(),
    }
}

/// A figure of all runs of both sides; `None` if one of them has none.
fn row(
    scope: &str,
    figure: &str,
    unit: &'static str,
    sides: [&Step<'_>; 2],
    value: &dyn Fn(&Run) -> Option<f64>,
) -> Option<Row> {
    let [before, after] = sides;
    let sample = |step: &Step<'_>| -> Option<Sample> {
        let values: Option<Vec<f64>> = step.runs.iter().map(|run| value(run)).collect();
        let sample = Sample::of(&values?);
        // Uniform over one unit of the last digit.
        let rounding = (sample.mean * ROUNDING).powi(2) / 12.0;
        Some(if unit == "us" {
            sample.with_variance_of_at_least(rounding)
        } else {
            sample
        })
    };
    let (before, after) = (sample(before)?, sample(after)?);
    let interval = welch(&before, &after);
    let more_is_better = figure == "throughput";
    let verdict = match interval {
        None => Verdict::Unknown,
        Some(interval) if interval.holds_zero() => Verdict::Noise,
        Some(interval) if (interval.difference > 0.0) == more_is_better => Verdict::Better,
        Some(_) => Verdict::Worse,
    };
    Some(Row {
        scope: scope.to_owned(),
        figure: figure.to_owned(),
        unit,
        before: before.mean,
        before_deviation: before.deviation(),
        after: after.mean,
        after_deviation: after.deviation(),
        difference: after.mean - before.mean,
        interval: interval.map(|interval| [interval.low, interval.high]),
        verdict,
    })
}
