//! What a run answers to a condition.

use super::{Condition, Figure, Time};
use crate::{
    report::names,
    results::{BadHistogram, Distribution, Pacing, Run},
};

/// A condition can't be decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMeasured {
    /// The report has no runs.
    #[error("the report has no runs")]
    NoRuns,
    /// Nothing was measured apart for this scope.
    #[error("{asked} was not measured apart; the report has {known}")]
    NoScope {
        /// The scope that was asked for.
        asked: String,
        /// Those that the run has.
        known: String,
    },
    /// No operation of this kind ended in the window.
    #[error("{asked}: no operation of this kind ended in the window")]
    Empty {
        /// The scope that was asked for.
        asked: String,
    },
    /// The generator did not keep up.
    #[error("no latency can be claimed: {0}")]
    Untrusted(String),
    /// A closed loop has no rate to reach.
    #[error("achieved: a closed loop has no rate to reach; give --rate")]
    ClosedLoop,
    /// A histogram of the report can't be read.
    #[error("{0}")]
    Histogram(#[from] BadHistogram),
}

pub(super) fn measure(condition: &Condition, run: &Run) -> Result<f64, NotMeasured> {
    let errors: u64 = run.errors.values().sum();
    Ok(match condition.figure {
        Figure::Errors => errors as f64,
        Figure::ErrorRate => errors as f64 / ((run.operations + errors).max(1)) as f64,
        Figure::Conflicts => run.conflicts as f64,
        Figure::Misses => run.misses as f64,
        Figure::Achieved => match run.pacing {
            Pacing::ClosedLoop => return Err(NotMeasured::ClosedLoop),
            Pacing::OpenLoop {
                target_rate,
                achieved_rate,
                ..
            } => achieved_rate / target_rate,
        },
        Figure::Throughput if condition.scope == super::Scope::default() => run.throughput,
        Figure::Throughput => distribution(condition, run)?.count as f64 / run.seconds,
        time @ (Figure::Percentile(_) | Figure::Mean | Figure::Min | Figure::Max) => {
            let of = distribution(condition, run)?;
            if of.count == 0 && condition.scope.time != Time::Lag {
                return Err(NotMeasured::Empty {
                    asked: condition.what(),
                });
            }
            // The generator's own lag is known even where it is what spoils the latencies.
            if !run.generator.trusted && condition.scope.time != Time::Lag {
                let why = why_untrusted(run);
                // What says it ends the sentence.
                return Err(NotMeasured::Untrusted(why.trim_end_matches('.').to_owned()));
            }
            match time {
                Figure::Percentile(percent) => of.percentile(percent)?,
                Figure::Mean => of.mean,
                Figure::Min => of.min,
                _ => of.max,
            }
        }
    })
}

/// Why latencies of a run can't be claimed, in one sentence or more, each with its full stop.
pub(crate) fn why_untrusted(run: &Run) -> String {
    // That of the closed loop is no reason, and is said in a place of its own.
    let reasons = run
        .generator
        .warnings
        .iter()
        .filter(|said| !is_of_closed_loop(said));
    let sentences: Vec<String> = reasons
        .map(|reason| format!("{}.", reason.trim_end_matches('.')))
        .collect();
    if sentences.is_empty() {
        "the generator did not keep up.".to_owned()
    } else {
        sentences.join(" ")
    }
}

/// Whether a warning of a run is that its loop was closed.
pub(crate) fn is_of_closed_loop(warning: &str) -> bool {
    warning.ends_with("latency not corrected for waiting.")
}

fn distribution<'a>(condition: &Condition, run: &'a Run) -> Result<&'a Distribution, NotMeasured> {
    let scope = &condition.scope;
    if scope.time == Time::Lag {
        return Ok(&run.generator.lag);
    }
    let found = run.latencies.iter().find(|latency| {
        latency.operation == scope.operation
            && latency.heat == scope.heat
            && latency.server_core == scope.server_core
    });
    let latency = found.ok_or_else(|| NotMeasured::NoScope {
        asked: names::scope_of(scope.operation, scope.heat, scope.server_core),
        known: run
            .latencies
            .iter()
            .map(names::scope)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    Ok(match scope.time {
        Time::Service => &latency.service,
        Time::Response | Time::Lag => &latency.response,
    })
}
