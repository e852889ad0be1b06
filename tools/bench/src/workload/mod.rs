//! What is asked: operations on numbered keys, of which each connection draws its own repeatable sequence.
//!
//! A key is a **number** below the number of keys; [`Ask`] says what to do with which. Its bytes are made where the request is encoded, so
//! that drawing costs a few nanoseconds and allocates nothing.
//!
//! | question | answered by |
//! |---|---|
//! | which key | [`keys`]: a [`Distribution`](keys::Distribution) over the numbers, and the [names](keys::KeyNames) that they have on the wire |
//! | how long is a key, a value, a batch | [`sizes`] |
//! | what are a value's bytes, and is this one right | [`values`] |
//! | which operation, with what time to live | [`mix`], [`ttl`], [`ycsb`] |
//! | what next on this connection | [`source`]: puts all of the above together; [`fill`] writes each key once |
//! | when | [`arrivals`] |
//!
//! Nothing here reads a clock, a socket or the system's randomness. Time comes in as an argument, and chance from a seed, so
//! that a run can be repeated. The one file that is ever read is a histogram of sizes that a setting names (`@file`).

pub mod arrivals;
pub mod fill;
pub mod keys;
pub mod mix;
mod random;
pub mod share;
pub mod sizes;
pub mod source;
mod spec;
#[cfg(test)]
mod testing;
pub mod ttl;
pub mod values;
pub mod ycsb;

pub use fill::Fill;
pub use source::{Seat, Source, Spec, Workload};
pub use spec::{Part, SpecError};

/// What an operation does, and the name under which it is counted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Reads one key.
    Get,
    /// Writes one key.
    Put,
    /// Removes one key.
    Delete,
    /// Reads a key with its version and writes it if nobody else did meanwhile: two requests, one operation. A lost race is counted apart; it is no error.
    CompareAndSet,
    /// Reads a key, then writes it whatever it holds by then: two requests, one operation.
    ReadModifyWrite,
    /// Adds one to a counter. Counters are keys of their own.
    Add,
    /// Reads several keys in one request.
    Batch,
    /// Reads one page of keys.
    Scan,
}

impl Operation {
    /// All of them, in the order of their numbers.
    pub const ALL: [Operation; 8] = [
        Operation::Get,
        Operation::Put,
        Operation::Delete,
        Operation::CompareAndSet,
        Operation::ReadModifyWrite,
        Operation::Add,
        Operation::Batch,
        Operation::Scan,
    ];

    /// Its name, as it stands in a mix and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Put => "put",
            Operation::Delete => "delete",
            Operation::CompareAndSet => "compare-and-set",
            Operation::ReadModifyWrite => "read-modify-write",
            Operation::Add => "add",
            Operation::Batch => "batch",
            Operation::Scan => "scan",
        }
    }

    /// Whether it changes what a key holds.
    #[must_use]
    pub fn writes(self) -> bool {
        self.writes_value() || matches!(self, Operation::Delete | Operation::Add)
    }

    /// Whether it writes a value whose bytes are [`values`]'.
    #[must_use]
    pub fn writes_value(self) -> bool {
        matches!(
            self,
            Operation::Put | Operation::CompareAndSet | Operation::ReadModifyWrite
        )
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

/// Whether a key belongs to the hot set of its distribution. Where a distribution has none, all are cold.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Heat {
    /// In the hot set.
    Hot,
    /// Not in it.
    Cold,
}

/// One operation that a connection is to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What to do.
    pub operation: Operation,
    /// With which key.
    pub key: u64,
    /// Whether that key is a hot one.
    pub heat: Heat,
    /// Bytes of the value, for operations that write one.
    pub value_len: u32,
    /// Distinguishes this write from every other one to the key: part of the value's bytes.
    pub stamp: u64,
    /// Time to live of what is written, in milliseconds; 0: none.
    pub ttl_ms: u64,
    /// Keys of a batch (the key and those that follow it), or most keys of a scan's page.
    pub count: u32,
}
