//! What is asked: operations on numbered keys, of which each connection draws its own repeatable sequence.
//!
//! A key is a **number** below the number of keys; [`Ask`] says what to do with which. Its bytes are made where the request is encoded, so
//! that drawing costs a few nanoseconds and allocates nothing.

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
