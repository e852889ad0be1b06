//! Arguments of the commands on one key.

use super::positive_duration;
use clap::Args;
use std::ffi::OsString;
use std::time::Duration;

/// `get`, `exists`, `ttl`, `persist`.
#[derive(Debug, Args)]
pub(crate) struct KeyArguments {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
}

/// `put`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-cli put greeting 'hello, world'
  corduroy-cli put photo - < photo.jpg           the value from standard input, every byte
  corduroy-cli put session:42 data --ttl 30m
  corduroy-cli put lock me --if-absent --ttl 10s
  corduroy-cli put config new --if-version 1234  only if nobody wrote since
  corduroy-cli --escape put bin '\\x00\\xff'

Ends with 4 if the condition does not hold. A value of one hyphen: --escape put KEY '\\x2d'.")]
pub(crate) struct PutArguments {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    /// The value; - reads standard input
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) value: OsString,
    /// Let the key expire after this long, such as 10s or 1h 30m
    #[arg(long, value_name = "DURATION", conflicts_with = "keep_ttl", value_parser = positive_duration)]
    pub(crate) ttl: Option<Duration>,
    /// Keep the expiry that the key has; without this or --ttl it lives until it is deleted
    #[arg(long)]
    pub(crate) keep_ttl: bool,
    /// Only if the key does not exist
    #[arg(long, group = "condition_kind")]
    pub(crate) if_absent: bool,
    #[command(flatten)]
    pub(crate) condition: ConditionArguments,
    /// Print the old value, or the current one if the condition does not hold
    #[arg(long = "return")]
    pub(crate) return_value: bool,
}

/// `del`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-cli del greeting
  corduroy-cli del greeting --return             print what it held
  corduroy-cli del lock --if-value me

Ends with 1 if the key does not exist, with 4 if a condition was given and does not hold.")]
pub(crate) struct DeleteArguments {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) condition: ConditionArguments,
    /// Print the old value, or the current one if the condition does not hold
    #[arg(long = "return")]
    pub(crate) return_value: bool,
}

/// When a write may happen; at most one of them.
#[derive(Debug, Args)]
pub(crate) struct ConditionArguments {
    /// Only if the key exists
    #[arg(long, group = "condition_kind")]
    pub(crate) if_present: bool,
    /// Only if the key is at exactly this version
    #[arg(long, value_name = "VERSION", group = "condition_kind")]
    pub(crate) if_version: Option<u64>,
    /// Only if the key holds exactly this value
    #[arg(
        long,
        value_name = "VALUE",
        group = "condition_kind",
        allow_hyphen_values = true
    )]
    pub(crate) if_value: Option<OsString>,
}

/// `add`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-cli add visits 1
  corduroy-cli add stock:apples -3

An absent key counts as 0. Prints the new value.")]
pub(crate) struct AddArguments {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    /// What to add: a whole number of 64 bits, negative to subtract
    #[arg(value_name = "DELTA", allow_negative_numbers = true)]
    pub(crate) delta: i64,
}

/// `append`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-cli append log 'one more line'
  date | corduroy-cli append log -

An absent key counts as empty. Prints the new length in bytes.")]
pub(crate) struct AppendArguments {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    /// What to append; - reads standard input
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) value: OsString,
}

/// `touch`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-cli touch session:42 30m

Ends with 1 if the key does not exist.")]
pub(crate) struct TouchArguments {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    /// The new time to live, from now on
    #[arg(value_name = "TTL", value_parser = positive_duration)]
    pub(crate) ttl: Duration,
}
