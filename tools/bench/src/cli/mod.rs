//! What may stand on the command line: subcommands, their settings, help and examples.
//!
//! Settings that several subcommands share are groups: [`ServerArguments`] (whom to ask), [`WorkloadArguments`] (what), [`PaceArguments`]
//! (how many at once, how fast, for how long) and [`OutputArguments`] (what becomes of the results). Each value is parsed by
//! the type that uses it, whose errors say what may be written.

mod exit;
mod output;
mod pace;
mod server;
mod workload;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::report::condition::Slo;

pub use exit::Exit;
pub use output::{OutputArguments, OutputFormat, When};
pub use pace::{ConnectionArguments, PaceArguments, RepeatArguments};
pub use server::{PASSWORD, ServerArguments, TargetArguments};
pub use workload::{Check, WorkloadArguments};

/// Headings of `--help` for what only one subcommand has.
const FILLING: &str = "Filling";
const BEFORE: &str = "Before and beside the measurement";
const RATES: &str = "Rates";
const CHECKING: &str = "Checking";

/// What `corduroy-bench` alone prints.
pub const TRY: &str = "\
corduroy-bench finds out how a key-value server behaves under a load that you describe.

Start a server (`corduroy serve`), then try:

  corduroy-bench quick                                   a tour of a minute
  corduroy-bench load --keys 1M                          fill a keyspace
  corduroy-bench run --keys 1M --rate 50k                50,000 operations a second: honest latencies
  corduroy-bench run --keys 1M --connections 50          as fast as it is answered
  corduroy-bench run --keys 1M --rate 50k --distribution hot-cold --html report.html
                                                         hot and cold keys apart, as a page
  corduroy-bench sweep --keys 1M --slo 'p99<2ms'         the highest rate that meets a goal
  corduroy-bench run --keys 1M --rate 50k --load --protocol resp --server 127.0.0.1:6379
                                                         the same against Redis and its kin

`corduroy-bench help run` has the rest.
";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "corduroy-bench",
    version,
    about = "Finds out how a key-value server behaves under a load that you describe",
    after_help = "Sizes may be written as 64, 4KiB or 1MB, numbers as 100k or 2M, times as 500us, 10ms or 1m.\n\n`corduroy-bench` alone prints what to try.",
    after_long_help = exit::HELP,
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fills a keyspace: writes each key once
    Load(LoadArguments),
    /// Asks a server and measures how it answers
    Run(RunArguments),
    /// Raises the rate until the goal for latency breaks: finds the knee, and the highest rate that meets the goal
    Sweep(SweepArguments),
    /// Compares two results, and says which differences are noise
    Compare(CompareArguments),
    /// Draws a result: in the terminal, as SVG files, or as a page
    Plot(PlotArguments),
    /// Prints a result again
    Show(ShowArguments),
    /// Checks after faults that every acknowledged write is there and that no value is one that was never written
    Verify(VerifyArguments),
    /// A tour of a minute against a running server: fill it, run hot and cold keys, see a plot
    Quick(QuickArguments),
}

/// `load`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-bench load --keys 1M
  corduroy-bench load --keys 10M --value-size 100-1000 --fresh

It takes all settings of a workload, so that the words of a run fit it too; those that say what is read have nothing to decide here.")]
pub struct LoadArguments {
    /// Whom to ask.
    #[command(flatten)]
    pub server: ServerArguments,
    /// What to write.
    #[command(flatten)]
    pub workload: WorkloadArguments,
    /// How many at once.
    #[command(flatten)]
    pub connections: ConnectionArguments,
    /// Remove all keys first: of the keyspace (native), the database (RESP) or the server (memcached)
    #[arg(long, help_heading = FILLING)]
    pub fresh: bool,
    /// Progress on standard error
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = FILLING)]
    pub live: When,
}

/// `run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-bench run --keys 1M --rate 50k --duration 30s --html report.html
  corduroy-bench run --workload ycsb-b --connections 50 --pipeline 16 --runs 5 --json b.json
  corduroy-bench run --distribution hot-cold --hot-keys 5% --hot-ops 95% --rate poisson:20k
  corduroy-bench run --rate 20k --fail-if 'p99>2ms' --fail-if 'errors>0'
  corduroy-bench run --mix put=100 --rate 5k --duration 1m --record journal

With --rate, operations start when the schedule says, whatever the server does, and latency counts from that moment. Without it, an answer makes \
room for the next operation: that finds a server's limit, and says little about the latency that users would see.

Reads want keys that are there: fill the keyspace with `load`, or give --load.")]
pub struct RunArguments {
    /// Whom to ask.
    #[command(flatten)]
    pub server: ServerArguments,
    /// What to ask.
    #[command(flatten)]
    pub workload: WorkloadArguments,
    /// How many at once.
    #[command(flatten)]
    pub connections: ConnectionArguments,
    /// How fast and for how long.
    #[command(flatten)]
    pub pace: PaceArguments,
    /// How often.
    #[command(flatten)]
    pub repeat: RepeatArguments,
    /// What becomes of the results.
    #[command(flatten)]
    pub output: OutputArguments,
    /// Fill the keyspace first (as `load` does)
    #[arg(long, help_heading = BEFORE)]
    pub load: bool,
    /// The server's process, if it runs on this machine and its port doesn't tell which it is: the CPU time that it uses is told too
    #[arg(long, value_name = "PID", help_heading = BEFORE)]
    pub server_pid: Option<u32>,
    /// Note for each key what was acknowledged, in this file, for `verify`. Each key is then written by one connection only
    #[arg(long, value_name = "FILE", help_heading = BEFORE)]
    pub record: Option<PathBuf>,
    /// End the run at the first error
    #[arg(long, help_heading = BEFORE)]
    pub stop_on_error: bool,
}

/// `sweep`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  corduroy-bench sweep --keys 1M --connections 50 --slo 'p99<2ms' --html sweep.html

It runs at --from, multiplies the rate by --factor until the goal breaks or the rate isn't reached, and then halves the gap --refine times. A rate at which \
the generator itself was late is measured again, up to three times in all.")]
pub struct SweepArguments {
    /// Whom to ask.
    #[command(flatten)]
    pub server: ServerArguments,
    /// What to ask.
    #[command(flatten)]
    pub workload: WorkloadArguments,
    /// How many at once.
    #[command(flatten)]
    pub connections: ConnectionArguments,
    /// What becomes of the results.
    #[command(flatten)]
    pub output: OutputArguments,
    /// The goal, such as `p99<2ms` or `get.p99.9<5ms`
    #[arg(long, value_name = "GOAL", default_value = "p99<2ms", help_heading = RATES)]
    pub slo: Slo,
    /// The first rate, in operations a second
    #[arg(long, value_name = "RATE", default_value = "1k", value_parser = pace::rate, help_heading = RATES)]
    pub from: f64,
    /// No rate above this one
    #[arg(long, value_name = "RATE", default_value = "10M", value_parser = pace::rate, help_heading = RATES)]
    pub to: f64,
    /// Each rate is so many times the one before
    #[arg(long, value_name = "NUMBER", default_value = "1.5", value_parser = pace::factor, help_heading = RATES)]
    pub factor: f64,
    /// How often the gap between the last rate that met the goal and the first that didn't is halved
    #[arg(long, value_name = "N", default_value = "3", help_heading = RATES)]
    pub refine: u32,
    /// How long each rate is measured
    #[arg(long, visible_alias = "duration", value_name = "TIME", default_value = "5s", value_parser = pace::duration, help_heading = RATES)]
    pub step: std::time::Duration,
    /// Before each measurement, not counted
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = pace::duration_or_zero, help_heading = RATES)]
    pub warm_up: std::time::Duration,
    /// Starts at random times (Poisson) instead of even ones
    #[arg(long, help_heading = RATES)]
    pub poisson: bool,
    /// Fill the keyspace first (as `load` does)
    #[arg(long, help_heading = BEFORE)]
    pub load: bool,
    /// The server's process, if it runs on this machine and its port doesn't tell which it is: the CPU time that it uses is told too
    #[arg(long, value_name = "PID", help_heading = BEFORE)]
    pub server_pid: Option<u32>,
}

/// `compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  corduroy-bench run --rate 50k --runs 5 --json before.json
  corduroy-bench run --rate 50k --runs 5 --json after.json
  corduroy-bench compare before.json after.json

With one run on a side nothing can be said about noise: use --runs.")]
pub struct CompareArguments {
    /// The result to compare with
    #[arg(value_name = "A.json")]
    pub before: PathBuf,
    /// The result to judge
    #[arg(value_name = "B.json")]
    pub after: PathBuf,
    /// A table for people, or JSON
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// `plot`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  corduroy-bench plot result.json --svg plots --html report.html"
)]
pub struct PlotArguments {
    /// A result, as `--json` wrote it
    #[arg(value_name = "RESULT.json")]
    pub result: PathBuf,
    /// Write SVG files into this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub svg: Option<PathBuf>,
    /// Write a page that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// A goal to draw and to judge by, such as `p99<2ms`
    #[arg(long, value_name = "GOAL")]
    pub slo: Option<Slo>,
}

/// `show`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  corduroy-bench show result.json --plots")]
pub struct ShowArguments {
    /// A result, as `--json` wrote it
    #[arg(value_name = "RESULT.json")]
    pub result: PathBuf,
    /// Plots too
    #[arg(long)]
    pub plots: bool,
    /// The latencies of every step of a sweep or a staircase
    #[arg(long)]
    pub every_step: bool,
    /// A goal to judge by, such as `p99<2ms`
    #[arg(long, value_name = "GOAL")]
    pub slo: Option<Slo>,
    /// Exit with 1 if this holds, such as `p99>2ms`; may be given several times
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<crate::report::condition::Condition>,
}

/// `verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  corduroy-bench run --mix put=90,delete=10 --rate 2k --duration 1m --record journal
  (meanwhile: kill -9 the server, and start it again)
  corduroy-bench verify journal

Each key that was written to is read. Exit with 1 if an acknowledged write is lost, or a value is there that was never written.

It wants the --protocol and --keyspace of the run; how keys are made stands in the journal.")]
pub struct VerifyArguments {
    /// What `run --record` wrote
    #[arg(value_name = "JOURNAL")]
    pub journal: PathBuf,
    /// Whom to ask.
    #[command(flatten)]
    pub target: TargetArguments,
    /// Keys that are asked for at once
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = CHECKING)]
    pub pipeline: u32,
    /// How many faults to list
    #[arg(long, value_name = "N", default_value = "20", help_heading = CHECKING)]
    pub list: usize,
}

/// `quick`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-bench quick
  corduroy-bench quick --protocol resp --server 127.0.0.1:6379 --html tour.html

It writes 100,000 keys that begin with `key:`, and leaves them there.")]
pub struct QuickArguments {
    /// Whom to ask.
    #[command(flatten)]
    pub server: ServerArguments,
    /// Write a page with everything that was measured
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub html: Option<PathBuf>,
}
