//! A shard's log and index, without I/O.
pub mod expiry;
pub mod format;
pub mod hash;
pub mod index;
pub mod recovery;
pub mod log;
