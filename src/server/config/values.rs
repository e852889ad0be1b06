//! The types of settings that are more than a number: each prints as the text that parses back to it.

use std::fmt;
use std::time::Duration;

/// Which cores run a shard, before the machine was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CoreSelection {
    /// All that the process may run on.
    All,
    /// The first so many of them.
    Count(usize),
    /// These: ascending, none twice, at most [`SHARDS_MAX`](crate::limits::SHARDS_MAX) of them.
    List(Vec<usize>),
}

/// When an acknowledged write is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before it is acknowledged.
    Always,
    /// At most this long after it was acknowledged: power loss may take that much.
    Interval(Duration),
    /// When the kernel sees fit: `kill -9` loses nothing, power loss may lose tens of seconds.
    Never,
}

impl fmt::Display for SyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyncPolicy::Always => f.write_str("always"),
            SyncPolicy::Interval(every) => {
                write!(f, "interval={}", humantime::format_duration(*every))
            }
            SyncPolicy::Never => f.write_str("never"),
        }
    }
}

/// Whether a core without work spins before it sleeps.
///
/// Spinning saves the wake-up between cores when the cores are the node's own, and costs everyone dearly when they are
/// shared; see `docs/configuration.md` for the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spin {
    /// The runtime decides by what it can see of the cores.
    Auto,
    /// Sleep at once.
    Off,
    /// Spin this long first.
    For(Duration),
}

impl fmt::Display for Spin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spin::Auto => f.write_str("auto"),
            Spin::Off => f.write_str("off"),
            Spin::For(time) => write!(f, "{}", humantime::format_duration(*time)),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

/// Directives for `tracing_subscriber::EnvFilter` that are known to parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(pub(super) String);

impl LogFilter {
    /// The directives, such as `info,corduroy::storage=debug`.
    #[must_use]
    pub fn directives(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
