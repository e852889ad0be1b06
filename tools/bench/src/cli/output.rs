//! What becomes of the results.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::report::condition::Condition;

/// Files, tables, and what counts as a failure.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Results")]
pub struct OutputArguments {
    /// What standard output gets
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
    /// Print plots too
    #[arg(long)]
    pub plots: bool,
    /// Write the whole result as JSON, for `show`, `plot` and `compare`
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the time series as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the histograms as an HdrHistogram log
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// Write the plots as SVG files into this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub svg: Option<PathBuf>,
    /// Write a page that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Exit with 1 if this holds, such as `p99>2ms`, `errors>0` or `throughput<100k`; may be given several times
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Condition>,
    /// How it goes, on standard error
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub live: When,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Tables for people.
    Table,
    /// JSON for programs.
    Json,
}

/// When to do something that a terminal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, a view that renews itself; elsewhere plain lines.
    Auto,
    /// Plain lines, on a terminal too.
    Plain,
    /// Nothing.
    Never,
}
