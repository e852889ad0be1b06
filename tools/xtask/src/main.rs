//! Corduroy's development tasks: `cargo xtask check` runs everything that CI runs, the other commands are its parts.
//!
//! Each part is a module with a function that returns what is wrong; [`check`] times them and sums up.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task's only output is what it says to the terminal"
)]

mod check;
mod layers;
mod mutate;
mod mutations;
mod mutations_backup;
mod mutations_reshard;
mod mutations_saved;
mod mutations_scrub;
mod mutations_write_behind;
mod simulate;
mod words;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use check::Selection;
use workspace::{TaskError, Workspace};

/// Corduroy's development tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run what CI runs, and sum up.
    Check {
        /// Run this step alone (may be given several times).
        #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(check::step_names()))]
        only: Vec<String>,
        /// Leave this step out (may be given several times).
        #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(check::step_names()))]
        skip: Vec<String>,
    },
    /// Check which layer imports which, and that the core does no I/O.
    Layers,
    /// Check for unfinished work and for paths of one machine.
    Words,
    /// Run the simulator with these arguments, such as `--seed 7` or `--seeds 5000`.
    Simulate {
        /// What the simulator gets.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Break the code's rules one at a time, and see that the simulator notices.
    Mutate {
        /// Only the mutations whose name contains this.
        #[arg(default_value = "")]
        only: String,
        /// Give up on a mutation after so many seeds.
        #[arg(long, default_value_t = 5000)]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), TaskError> {
    let workspace = Workspace::find()?;
    match task {
        Task::Check { only, skip } => check::run(&workspace, &Selection { only, skip }),
        Task::Layers => layers::run(&workspace),
        Task::Words => words::run(&workspace),
        Task::Mutate { only, seeds } => mutate::run(&workspace, &only, seeds),
        Task::Simulate { arguments } => simulate::run(&workspace, &arguments),
    }
}
