//! Corduroy against others on one machine: which of the promised ratios hold here and now.
//!
//! One server core, one driver core. For each row of the table both contenders are started on the same core and loaded with
//! the same keys; then they are driven **in turns**, A B A B A B, with the other one idle. A round's figure is the ratio of
//! its two neighbouring runs, and the row's figure is the median of the rounds, so that a machine which slows down or speeds
//! up over minutes moves both sides of each ratio alike.
//!
//! - [`row`]: what is promised. Pure.
//! - [`server`], [`arena`]: the servers, and starting and ending them.
//! - [`duel`]: the rows that set two servers against each other.
//! - [`redis_benchmark`]: that program as the client of such a row.
//! - [`field`]: the same two servers of Corduroy, hit by bursts.
//! - [`cores`]: the row about two cores and the price of a hop between them.
//! - [`volume`]: the rows about many keys, memory and start; [`starts`]: those about starts on two cores.
//! - [`environment`]: what it ran on.
//! - [`outcome`]: what came out; the table.
//!
//! Only processes that were started here are ended, each of them when its row is done, and nothing is waited for without
//! a limit. Servers write to a temporary directory below the build directory, on a real disk where that is one, and the
//! directory is removed.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use serde::Serialize;

use crate::drive::DriveError;

pub mod arena;
pub mod cores;
pub mod duel;
pub mod environment;
pub mod field;
pub mod outcome;
pub mod redis_benchmark;
pub mod row;
pub mod server;
pub mod starts;
pub mod volume;

use environment::Environment;
use outcome::{Outcome, Results, RowResult};
use row::{Kind, Row};

/// What to compare, and how thoroughly.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Options {
    /// Only these rows, separated by commas; `--list` names them.
    #[arg(long, value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Length of each run's window, in seconds; a fifth of it is warm-up.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// How often each pair of runs is repeated.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    pub rounds: u64,
    /// Number of keys in the rows about memory and starts.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub keys: u64,
    /// Where servers keep their data; should be on a real disk.
    #[arg(long, default_value = "target/compare")]
    pub directory: PathBuf,
    /// Write all figures to this file, as JSON.
    #[arg(long, default_value = "target/compare.json")]
    pub json: PathBuf,
    /// Use the programs beside this one as they are instead of building them.
    #[arg(long)]
    pub no_build: bool,
}

/// Why nothing, or no more, could be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A row that does not exist was asked for.
    #[error("there is no row `{row}`; there are {known}")]
    UnknownRow {
        /// The name that was given.
        row: String,
        /// All names.
        known: String,
    },
    /// The programs could not be built.
    #[error("`{command}` failed: {reason}")]
    Build {
        /// What was run.
        command: String,
        /// How it ended.
        reason: String,
    },
    /// A program is not installed.
    #[error("{program} is missing: {hint}")]
    Missing {
        /// Which.
        program: &'static str,
        /// How to get it.
        hint: &'static str,
    },
    /// A server did not come up.
    #[error("{server} {reason}; the end of its output: {output}")]
    Start {
        /// Which.
        server: String,
        /// What it did instead.
        reason: String,
        /// The last lines that it printed.
        output: String,
    },
    /// A run failed.
    #[error("driving {server}: {source}")]
    Drive {
        /// Whom.
        server: String,
        /// Why.
        source: DriveError,
    },
    /// Another client than our own failed.
    #[error("{command}, asking {server}, {reason}; the end of its output: {output}")]
    Client {
        /// What was run.
        command: String,
        /// Whom it asked.
        server: String,
        /// What it did.
        reason: String,
        /// The last lines that it printed.
        output: String,
    },
    /// Some replies were wrong, so that the figures mean nothing.
    #[error("{server} answered {count} requests wrongly, the first: {first}")]
    WrongReplies {
        /// Who.
        server: String,
        /// How many.
        count: u64,
        /// What.
        first: String,
    },
    /// The server said something about itself that was not understood.
    #[error("{server}: {reason}")]
    Status {
        /// Which.
        server: String,
        /// What was amiss.
        reason: String,
    },
    /// The kernel refused something.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl CompareError {
    /// For `map_err`: an I/O error with what was tried.
    fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> CompareError {
        move |source| CompareError::Io {
            action: action.into(),
            source,
        }
    }
}

/// Compares, telling `progress` what is going on; writes the JSON and gives back all figures.
///
/// # Errors
///
/// What prevents any comparison. A row that fails is in the results, and the others go on.
pub fn run(options: &Options, progress: &mut dyn Write) -> Result<Results, CompareError> {
    let rows = row::select(&options.rows)?;
    let arena = arena::Arena::prepare(options)?;
    let mut say = |text: String| {
        // Nobody may be looking; the results are written all the same.
        let _ = writeln!(progress, "{text}");
    };
    let environment =
        Environment::observe(&arena).map_err(CompareError::io("read what this machine is"))?;
    if let Some(warning) = environment.warning() {
        say(warning);
    }
    let mut results = Results {
        environment,
        options: options.clone(),
        rows: Vec::new(),
    };
    // Memory and start are two figures of one long preparation.
    let mut volume = None;
    let mut starts = None;
    for row in rows {
        say(format!("{}: {}", row.id, row.title));
        let outcome = match &row.kind {
            Kind::Duel(duel) => {
                duel::measure(&arena, options, duel, &mut say).unwrap_or_else(Outcome::from)
            }
            Kind::TwoCores { at_least } => {
                cores::measure(&arena, options, *at_least, &mut say).unwrap_or_else(Outcome::from)
            }
            Kind::Volume(question) => {
                let observed = volume.get_or_insert_with(|| {
                    volume::observe(&arena, options, &mut say)
                        .map_err(|error| Box::new(Outcome::from(error)))
                });
                match observed {
                    Ok(volume) => volume.answer(*question),
                    Err(outcome) => Outcome::clone(outcome),
                }
            }
            Kind::Starts {
                restart,
                seconds_max,
            } => {
                let observed = starts.get_or_insert_with(|| {
                    starts::observe(&arena, options, &mut say)
                        .map_err(|error| Box::new(Outcome::from(error)))
                });
                match observed {
                    Ok(starts) => starts.answer(*restart, *seconds_max),
                    Err(outcome) => Outcome::clone(outcome),
                }
            }
        };
        say(format!("  {outcome}"));
        results.rows.push(RowResult {
            id: row.id,
            title: row.title,
            outcome,
        });
        // After each row, so that an interrupted comparison leaves what it has.
        results.write(&options.json)?;
    }
    Ok(results)
}

impl From<CompareError> for Outcome {
    fn from(error: CompareError) -> Outcome {
        match error {
            CompareError::Missing { .. } => Outcome::Missing {
                what: error.to_string(),
            },
            other => Outcome::Failed {
                why: other.to_string(),
            },
        }
    }
}

/// The length of a run's warm-up.
fn warm_up(options: &Options) -> Duration {
    Duration::from_secs(options.seconds) / 5
}

/// All rows, for `--list`.
#[must_use]
pub fn all_rows() -> Vec<Row> {
    row::all()
}
