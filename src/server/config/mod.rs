//! The effective configuration and where each value came from.
//!
//! Every setting is declared once, in the table of [`settings`]: its name, type, bounds, default and help. Its flag
//! (`--value-len-max`), its environment variable (`CORDUROY_VALUE_LEN_MAX`), its TOML key (`value_len_max`), the text of
//! `--help` and what `docs/configuration.md` must say all derive from that row, so they cannot drift.
//!
//! A configuration is made in three steps, each of which reports everything that is wrong before it gives up:
//!
//! 1. **gather**: flags over environment over file over default. The first layer that names a setting wins, its text is
//!    parsed into a type that holds only allowed values, and its [`Source`] is kept. Unknown names are refused.
//! 2. **decide**: what depends on the machine (`cores = "all"`, `memory = "auto"`) or on other settings
//!    (`segment_len = "auto"`) becomes a number.
//! 3. **relate**: bounds between settings are checked on the numbers (memory against shards and segments, segments against
//!    values), so that a node which starts cannot run into them later.
//!
//! The result is a [`Config`] of plain values for the node and a [`Resolved`] for people.

mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use values::{LogFilter, LogFormat, Spin, SyncPolicy};

/// What a node runs with: every value checked, every `auto` decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of the node's data.
    pub data: PathBuf,
    /// Where clients connect, native and RESP.
    pub listen: SocketAddr,
    /// CPU numbers, ascending, none twice, 1 to [`SHARDS_MAX`](crate::limits::SHARDS_MAX) of them: shard `i` runs on
    /// `cores[i]`. Each was in the process's affinity mask.
    pub cores: Vec<usize>,
    /// Most memory of the process, in bytes.
    pub memory: u64,
    /// When an acknowledged write is on disk.
    pub sync: SyncPolicy,
    /// Longest value, in bytes; at most [`VALUE_LEN_MAX`](crate::limits::VALUE_LEN_MAX).
    pub value_len_max: usize,
    /// Length of a new segment, in bytes: a power of two that holds two of the longest values.
    pub segment_len: u64,
    /// Most client connections of the node.
    pub connections_max: usize,
    /// A connection without a request for this long is closed; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// A connection that hasn't said which protocol it speaks after this long is closed.
    pub handshake_timeout: Duration,
    /// A connection whose replies could not be sent for this long is closed.
    pub stall_timeout: Duration,
    /// Most unanswered requests of a connection; beyond it the node stops reading from it.
    pub in_flight_max: usize,
    /// Most bytes of replies that wait for a connection; beyond it the node stops reading from it.
    pub output_bytes_max: usize,
    /// Longest wait for requests in flight when the node stops.
    pub stop_timeout: Duration,
    /// Whether a core without work spins before it sleeps.
    pub spin: Spin,
    /// Start in spite of damage in the middle of the log, without what is damaged. A flag only, never kept in a file.
    pub salvage: bool,
    /// Which log lines are written.
    pub log: LogFilter,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Config {
    /// Number of shards: one a core.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.cores.len()).expect("cores are bounded by SHARDS_MAX")
    }
}
