//! What came out, as values: the JSON that a run writes is [`Report`], and everything else (tables, plots, pages, comparisons) is made of it.
//!
//! Times are in microseconds, rates in operations a second, unless a name says otherwise. Histograms travel whole, so that two reports can
//! be merged and any percentile be asked for later.
//!
//! The types are here; [`Distribution`]'s constructors in `distribution`, reading and writing files in `file`.
//! `docs/bench-results.md` explains every field to those who read the files, and `docs/bench-results.schema.json` is made of these types
//! (`schema` holds it to that).

mod distribution;
mod file;
mod schema;

pub use distribution::BadHistogram;
pub(crate) use distribution::decode;
pub use file::{ReadError, read, write};
pub use schema::JSON_SCHEMA;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::workload::{Heat, Operation};

/// The name of this format; a reader refuses another one.
pub const SCHEMA: &str = "corduroy-bench/1";

/// All that one invocation measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// The name of this format: `corduroy-bench/1`.
    pub schema: String,
    /// `corduroy-bench` and its version.
    pub tool: String,
    /// When it began: RFC 3339, UTC.
    pub started_at: String,
    /// The command line, without the program's path.
    pub command: Vec<String>,
    /// On what.
    pub machine: Machine,
    /// Of whom.
    pub server: Server,
    /// What was asked, every setting with the value it had: `keys`, `distribution`, `mix`, `value-len` …
    pub settings: BTreeMap<String, String>,
    /// Repetitions (`--runs`), steps of a sweep or of a staircase, in order.
    pub runs: Vec<Run>,
}

/// The machine that the generator ran on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Machine {
    /// `uname -sr`.
    pub kernel: String,
    /// The CPU's name.
    pub cpu: String,
    /// CPUs that are online.
    pub cpus: u32,
    /// CPUs that the generator's threads were pinned to.
    pub client_cpus: Vec<u32>,
}

/// The server, as far as it told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Server {
    /// `native`, `resp`, `memcached-text`.
    pub protocol: String,
    /// Host and port.
    pub address: String,
    /// Its name and version.
    pub version: String,
    /// What an acknowledged write means there: `sync always`, `appendonly yes, appendfsync everysec` …
    pub durability: String,
    /// `one node`, `strong`, `asynchronous replicas` …
    pub consistency: String,
    /// Shards or threads, where it tells.
    pub shards: Option<u32>,
    /// The process whose CPU time was counted: its name and number.
    #[serde(default)]
    pub process: Option<String>,
}

/// One measured stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// What sets it apart from the others: `run 2`, `rate 20000`, `clients 64`.
    pub label: String,
    /// Number of connections.
    pub connections: u32,
    /// Operations in flight on each, at most.
    pub pipeline: u32,
    /// What paced it.
    pub pacing: Pacing,
    /// When the measured window began: seconds after [`Report::started_at`].
    pub begins_seconds: f64,
    /// Length of the measured window, warm-up excluded.
    pub seconds: f64,
    /// Operations that ended in the window, errors excluded.
    pub operations: u64,
    /// Operations a second.
    pub throughput: f64,
    /// Errors in the window, by kind: `refused: …`, `broken connection`, `timeout`, `wrong value`, `missing key`.
    pub errors: BTreeMap<String, u64>,
    /// Compare-and-sets that lost their race.
    pub conflicts: u64,
    /// Reads that found nothing where that may be (a delete or an expiry came before).
    pub misses: u64,
    /// Latencies: of all, and apart by operation, heat and core.
    pub latencies: Vec<Latency>,
    /// The window in equal slices.
    pub timeline: Timeline,
    /// What the generator itself used and whether it kept up.
    pub generator: Generator,
    /// CPU time of the server's process in the window, in seconds, where it was counted: with the operations it gives operations a CPU second, which say
    /// what a server costs even where the generator is the limit.
    #[serde(default)]
    pub server_cpu_seconds: Option<f64>,
}

/// What paced a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Pacing {
    /// An answer makes room for the next request: latencies leave out the waiting that a slow server causes.
    ClosedLoop,
    /// Requests start when the schedule says, whatever the server does.
    OpenLoop {
        /// `constant`, `poisson`, `ramp`, `staircase`.
        schedule: String,
        /// Operations a second that were meant to start, on average over the window: what was asked for, not what chance made of it, so that it is
        /// the same in each repetition.
        target_rate: f64,
        /// Operations a second that did.
        achieved_rate: f64,
    },
}

/// One latency distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Latency {
    /// Of this operation alone, or of all.
    pub operation: Option<Operation>,
    /// Of hot or cold keys alone, or of both.
    pub heat: Option<Heat>,
    /// Of the keys that this core of the server owns alone, or of all.
    pub server_core: Option<u32>,
    /// From the intended start (open loop; the same as `service` in a closed one).
    pub response: Distribution,
    /// From the moment at which the request was sent.
    pub service: Distribution,
}

/// Percentiles in microseconds, and the histogram that they come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Distribution {
    /// Values in it.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// Half were at most this.
    pub p50: f64,
    /// 90 % were at most this.
    pub p90: f64,
    /// 99 % were at most this.
    pub p99: f64,
    /// 99.9 % were at most this.
    pub p999: f64,
    /// 99.99 % were at most this.
    pub p9999: f64,
    /// The greatest.
    pub max: f64,
    /// Nanoseconds, three digits, in `HdrHistogram`'s V2 format with compression, base64.
    pub histogram: String,
}

/// The window in slices of equal length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Timeline {
    /// Length of a slice.
    pub slice_seconds: f64,
    /// In order.
    pub slices: Vec<Slice>,
}

/// One slice of the window. Latencies are response times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Slice {
    /// Operations that ended in it.
    pub operations: u64,
    /// Errors that came in it.
    pub errors: u64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Greatest.
    pub max: f64,
    /// Response times of each operation, as [`Distribution::histogram`] has them; kept for `--hlog` alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub histograms: BTreeMap<Operation, String>,
}

/// What the generator used, and whether its figures can be believed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Generator {
    /// CPU time over wall-clock time, a thread each: 1 is a full core.
    pub cpu_share: Vec<f64>,
    /// How late requests were sent through the generator's own fault (not for want of room in the pipeline).
    pub lag: Distribution,
    /// The longest time for which one of its threads was away, stopped or without a core, while the window was open; 0 if that was under 2 ms.
    #[serde(default)]
    pub longest_pause: f64,
    /// Whether latencies may be claimed.
    pub trusted: bool,
    /// Whether they can't because of its own lag or pauses: then it may be on time when the same is measured again.
    #[serde(default)]
    pub was_late: bool,
    /// Why not, or what to beware of, in sentences.
    pub warnings: Vec<String>,
}
