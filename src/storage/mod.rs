//! A shard's log and index, without I/O.
pub mod buffer;
pub mod compaction;
pub mod content;
pub mod disk;
pub mod expiry;
pub mod format;
pub mod hash;
pub mod index;
pub mod log;
pub(crate) mod prefetch;
pub mod recovery;
pub mod scrub;
pub mod summary;
