//! Arguments of the commands on many keys.

use crate::limits;
use crate::transfer::record::Format;
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use corduroy_client::Cursor;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// `scan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-cli scan
  corduroy-cli scan user: --values
  corduroy-cli scan user: --limit 100            says on standard error where to go on
  corduroy-cli scan user: --cursor 01f0…         and this goes on there
  corduroy-cli -o raw scan user: | while IFS= read -r key; do corduroy-cli --escape get \"$key\"; done

Keys come in no particular order. A key that is there throughout comes at least once, and may come twice.
With -o raw a key is one line (with --values: key, tab, value), and tabs, newlines, carriage
returns and backslashes in it are written \\t, \\n, \\r and \\\\.")]
pub(crate) struct ScanArguments {
    /// Only keys that begin with this
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub(crate) prefix: OsString,
    /// Print the values too
    #[arg(long)]
    pub(crate) values: bool,
    /// Stop after this many keys
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Go on where an earlier scan of the same prefix stopped
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<Cursor>,
}

/// What an import does about a line that can't be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    /// End there; what came before it is written
    Stop,
    /// Report it, leave it out and go on
    Skip,
}

/// `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-cli import packages.jsonl
  corduroy-cli import big.tsv --resume big.state  run again after an interruption: goes on where it stopped
  zcat dump.jsonl.gz | corduroy-cli import --format jsonl
  corduroy-cli import messy.tsv --on-error skip

Formats:
  jsonl  {\"key\": \"k\", \"value\": \"v\", \"ttl_ms\": 60000}; ttl_ms may be left out;
         bytes that are not UTF-8: {\"base64\": \"…\"} in place of the string
  tsv    key, a tab, value; tab, newline, carriage return and backslash as \\t \\n \\r \\\\, any byte as \\xNN

Lines with the same key are written in the order of the file. Whatever is not acknowledged is sent again, so a
value that somebody else writes to the same key meanwhile may be overwritten.")]
pub(crate) struct ImportArguments {
    /// The file; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) file: PathBuf,
    /// How the lines are written [default: by the file's name]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Requests that are under way at once
    #[arg(long, value_name = "N", default_value_t = limits::IN_FLIGHT_DEFAULT, value_parser = RangedU64ValueParser::<usize>::new().range(1..=limits::IN_FLIGHT_MAX as u64))]
    pub(crate) in_flight: usize,
    /// Keep in this file how far the import has come, and go on there if it exists
    #[arg(long, value_name = "STATEFILE")]
    pub(crate) resume: Option<PathBuf>,
    /// What to do about a line that can't be imported
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    pub(crate) on_error: OnError,
    /// How long to go on trying while the server does not answer
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) patience: Duration,
}

/// `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-cli export backup.jsonl
  corduroy-cli export users.tsv --prefix user:
  corduroy-cli export big.jsonl --resume big.state  run again after an interruption: goes on where it stopped
  corduroy-cli export --format jsonl | gzip > dump.jsonl.gz

The formats are those of import. Keys come in no particular order, and a key may come twice; the later line is at
least as new. What is written while the export runs may or may not be in it. tsv keeps no times to live.")]
pub(crate) struct ExportArguments {
    /// The file; - is standard output
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) file: PathBuf,
    /// How the lines are written [default: by the file's name, else jsonl]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Only keys that begin with this
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) prefix: OsString,
    /// Keep in this file how far the export has come, and go on there if it exists
    #[arg(long, value_name = "STATEFILE")]
    pub(crate) resume: Option<PathBuf>,
    /// How long to go on trying while the server does not answer
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) patience: Duration,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}
