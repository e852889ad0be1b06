//! Conditions on what was measured, as people type them: `p99>2ms`, `get.hot.p99.9<5ms`, `errors>0`, `throughput<100k`.
//!
//! ```text
//! condition = [scope "."] figure operator value
//! scope     = parts of: an operation, "hot" or "cold", "core" and a number; or "service", "lag"
//! figure    = "p" number | "mean" | "min" | "max"                       a time:   ns us ms s
//!           | "throughput"                                              a rate:   k M
//!           | "errors" | "conflicts" | "misses"                         a number: k M
//!           | "error-rate" | "achieved"                                 a share:  %
//! operator  = "<" | "<=" | ">" | ">=" | "=" | "!="
//! ```
//!
//! `--fail-if` gives one and fails if it holds; `--slo` gives one or several, with commas between, all of which must hold. A condition is asked of each
//! [step](super::steps): of its repetitions together. **What can't be told is no "no":** a latency that the generator could not measure, or hot keys
//! where there were none, are an error ([`NotMeasured`]), so that no check passes for want of figures.

mod measure;
mod parse;

use std::fmt;

pub use measure::NotMeasured;
pub(crate) use measure::{is_of_closed_loop, why_untrusted};
pub use parse::BadCondition;

use super::{steps, units};
use crate::{
    results::{Report, Run},
    workload::{Heat, Operation},
};

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Of which requests.
    pub scope: Scope,
    /// What of them.
    pub figure: Figure,
    /// How it stands to the bound.
    pub comparison: Comparison,
    /// The bound: microseconds, a rate, a number, or a share of 1.
    pub bound: f64,
    /// As it was typed.
    text: String,
}

/// Of which requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Of this operation alone.
    pub operation: Option<Operation>,
    /// Of hot or cold keys alone.
    pub heat: Option<Heat>,
    /// Of one core's keys alone.
    pub server_core: Option<u32>,
    /// Which time of theirs.
    pub time: Time,
}

/// Which time of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Time {
    /// From the intended start.
    #[default]
    Response,
    /// From the moment of sending.
    Service,
    /// How late the generator sent.
    Lag,
}

/// What is asked of the requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// What so many percent took at most.
    Percentile(f64),
    /// The mean time.
    Mean,
    /// The least time.
    Min,
    /// The greatest time.
    Max,
    /// Operations a second, errors excluded.
    Throughput,
    /// The share of the rate that was asked for that was reached.
    Achieved,
    /// Errors of all kinds.
    Errors,
    /// Errors over operations and errors.
    ErrorRate,
    /// Lost compare-and-sets.
    Conflicts,
    /// Reads that found nothing.
    Misses,
}

/// How a figure stands to its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `=`
    Equal,
    /// `!=`
    Unequal,
}

/// What a condition came to, in one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether it holds.
    pub holds: bool,
    /// What was measured, in the figure's unit.
    pub measured: f64,
    /// `p99 is 3.1 ms at 20k/s: p99>2ms holds`.
    pub sentence: String,
}

impl Condition {
    /// Asks it of one run, or of several together ([`steps::Step::pooled`]).
    ///
    /// # Errors
    ///
    /// [`NotMeasured`] if the run can't answer.
    pub fn check_run(&self, run: &Run) -> Result<Verdict, NotMeasured> {
        let measured = measure::measure(self, run)?;
        let holds = self.comparison.holds(measured, self.bound);
        Ok(Verdict {
            holds,
            measured,
            sentence: format!(
                "{}: {self} {}",
                self.measured_text(measured),
                if holds { "holds" } else { "does not hold" }
            ),
        })
    }

    /// Asks it of a report: of the first step in which it holds, or of the last one if it holds nowhere.
    ///
    /// # Errors
    ///
    /// [`NotMeasured`] if it holds nowhere and a step can't answer, or if there is no step.
    pub fn check(&self, report: &Report) -> Result<Verdict, NotMeasured> {
        let steps = steps::steps(report);
        let several = steps.len() > 1;
        let mut last = None;
        let mut unanswered = None;
        for step in &steps {
            match self.check_run(&step.pooled()?) {
                Ok(mut verdict) => {
                    if several {
                        verdict.sentence = format!("{}: {}", step.label, verdict.sentence);
                    }
                    if verdict.holds {
                        return Ok(verdict);
                    }
                    last = Some(verdict);
                }
                Err(error) => unanswered = unanswered.or(Some(error)),
            }
        }
        match unanswered {
            Some(error) => Err(error),
            None => last.ok_or(NotMeasured::NoRuns),
        }
    }

    /// `p99 is 3.10 ms`.
    fn measured_text(&self, measured: f64) -> String {
        format!("{} is {}", self.what(), self.figure.text(measured))
    }

    /// The scope and the figure, without the bound.
    fn what(&self) -> String {
        let scope = self.scope.to_string();
        if scope.is_empty() {
            self.figure.to_string()
        } else {
            format!("{scope}.{}", self.figure)
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Comparison {
    fn holds(self, measured: f64, bound: f64) -> bool {
        match self {
            Comparison::Less => measured < bound,
            Comparison::AtMost => measured <= bound,
            Comparison::More => measured > bound,
            Comparison::AtLeast => measured >= bound,
            Comparison::Equal => measured == bound,
            Comparison::Unequal => measured != bound,
        }
    }
}

impl Figure {
    /// Whether it is a time.
    #[must_use]
    pub fn is_time(self) -> bool {
        matches!(
            self,
            Figure::Percentile(_) | Figure::Mean | Figure::Min | Figure::Max
        )
    }

    /// A value of it, with its unit.
    #[must_use]
    pub fn text(self, value: f64) -> String {
        match self {
            Figure::Percentile(_) | Figure::Mean | Figure::Min | Figure::Max => {
                units::micros(value)
            }
            Figure::Throughput => format!("{}/s", units::count(value)),
            Figure::Achieved | Figure::ErrorRate => units::percent(value),
            Figure::Errors | Figure::Conflicts | Figure::Misses => {
                units::thousands(value.max(0.0) as u64)
            }
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Figure::Percentile(percent) => return write!(formatter, "p{percent}"),
            Figure::Mean => "mean",
            Figure::Min => "min",
            Figure::Max => "max",
            Figure::Throughput => "throughput",
            Figure::Achieved => "achieved",
            Figure::Errors => "errors",
            Figure::ErrorRate => "error-rate",
            Figure::Conflicts => "conflicts",
            Figure::Misses => "misses",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = super::names::scope_of(self.operation, self.heat, self.server_core);
        match (self.time, of.as_str()) {
            (Time::Lag, _) => formatter.write_str("lag"),
            (Time::Service, "all") => formatter.write_str("service"),
            (Time::Service, of) => write!(formatter, "service.{of}"),
            (Time::Response, "all") => Ok(()),
            (Time::Response, of) => formatter.write_str(of),
        }
    }
}

/// A goal: conditions that must all hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// At least one.
    pub conditions: Vec<Condition>,
}

impl Slo {
    /// Whether a run meets it, and if not, why. Besides the conditions the run must have reached its rate, and must be free of errors unless a condition is
    /// about them: a server that refuses quickly meets no goal.
    #[must_use]
    pub fn broken_by(&self, run: &Run) -> Option<String> {
        let allows_errors = self
            .conditions
            .iter()
            .any(|condition| matches!(condition.figure, Figure::Errors | Figure::ErrorRate));
        let errors: u64 = run.errors.values().sum();
        if errors > 0 && !allows_errors {
            return Some(format!("{} errors", units::thousands(errors)));
        }
        self.conditions
            .iter()
            .find_map(|condition| match condition.check_run(run) {
                Ok(verdict) if verdict.holds => None,
                Ok(verdict) => Some(condition.measured_text(verdict.measured)),
                Err(error) => Some(error.to_string()),
            })
    }

    /// The bound on response times that a plot can show as a line: of the first condition on a percentile of all requests.
    #[must_use]
    pub fn time_bound(&self) -> Option<(Figure, f64)> {
        self.conditions
            .iter()
            .find(|condition| {
                condition.figure.is_time()
                    && condition.scope == Scope::default()
                    && matches!(condition.comparison, Comparison::Less | Comparison::AtMost)
            })
            .map(|condition| (condition.figure, condition.bound))
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self
            .conditions
            .iter()
            .map(|condition| condition.text.as_str())
            .collect();
        formatter.write_str(&texts.join(","))
    }
}
