//! The disk port: what a shard asks to be done with its segment files, and how that ends.
//!
//! Operations are values that the shard gives back from a turn and that the driver submits; whoever implements [`Disk`] carries them
//! out and calls the driver with the outcome. They carry the log's own values (a block that is still to be sealed, the memory of a
//! segment), so that the work that takes long is done where nothing waits for it.

use std::io;

use bytes::Bytes;

use super::hash::KeyIdentifier;
use super::log::{ContentPlace, LoadedContent, OutgoingBlock, Retired, SegmentMemory};
use crate::types::{Position, SegmentId};

/// Names one submitted disk operation; unique in a shard for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiskTicket(pub u64);

/// Something to be done with a segment file.
#[derive(Debug)]
pub enum DiskOperation {
    /// Makes the file, writes `header` at its start, makes the rest read as zeros up to `len` bytes, syncs file and directory.
    /// When it succeeds, all of that is durable.
    Prepare {
        /// The new segment.
        segment: SegmentId,
        /// The file's whole length in bytes.
        len: u64,
        /// Its first bytes.
        header: Vec<u8>,
        /// Memory for what goes into it, if there is some to use again; else new memory is made, and populated.
        memory: Option<SegmentMemory>,
        /// Whether zeros are written over the file's space, not only reserved: an fdatasync of later writes is then faster.
        zeros: bool,
    },
    /// Writes all of `block` at `offset`; then, if `sync`, waits for an fdatasync. Written means that the death of the process doesn't take it.
    Write {
        /// The segment.
        segment: SegmentId,
        /// In bytes from the start of the file.
        offset: u64,
        /// What to write; to be sealed first.
        block: OutgoingBlock,
        /// Whether to sync the file before the operation completes.
        sync: bool,
    },
    /// Waits for an fdatasync of everything written to the segment before this was submitted.
    Sync {
        /// The segment.
        segment: SegmentId,
    },
    /// Reads `len` bytes at `offset` (fewer only at the end of the file).
    Read {
        /// The segment.
        segment: SegmentId,
        /// In bytes from the start of the file.
        offset: u64,
        /// How many bytes.
        len: usize,
    },
    /// Reads a segment that was left and is synced, makes its summary, and puts that beside it: when this succeeds, it is durable and whole,
    /// and until then there is what was there before.
    Summarize {
        /// The segment.
        segment: SegmentId,
        /// Where its last block ends.
        end: Position,
        /// Hashes its keys.
        identifier: KeyIdentifier,
    },
    /// Reads the content of a segment that was left, checks all of it, and takes it into memory.
    Load(ContentPlace),
    /// Takes segments away: what stands for them is one file, cut down to its header. In this order, each step on disk before the next: the header is
    /// written at the file's start and synced; the file is cut down to [`SEGMENT_HEADER_LEN`](super::format::SEGMENT_HEADER_LEN); the other files are
    /// deleted and the directory is synced. It succeeds when the header is on disk and nothing failed; if it fails, any of this may have happened.
    Remove {
        /// The segment whose file stays.
        stub: SegmentId,
        /// Its new first bytes, whole sectors.
        header: Vec<u8>,
        /// The segments whose files go.
        delete: Vec<SegmentId>,
    },
    /// Gives memory back to the kernel, where that holds nobody up. Nothing comes back.
    Release(Vec<Retired>),
}

/// What a disk operation that succeeded gives back.
#[derive(Debug)]
pub enum DiskDone {
    /// A segment is prepared; the memory for its content.
    Prepared(SegmentMemory),
    /// A segment is synced.
    Synced,
    /// The block that was written, sealed.
    Written(OutgoingBlock),
    /// What was read.
    Read(Bytes),
    /// A segment's summary is on disk.
    Summarized,
    /// A segment's content.
    Loaded(LoadedContent),
    /// Segments are taken away.
    Removed,
}

impl DiskDone {
    /// What a read brought.
    ///
    /// # Panics
    /// If it was no read: the port mixed up its operations.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            DiskDone::Read(bytes) => bytes,
            other => unreachable!("a read does not end with {other:?}"),
        }
    }
}

/// How a disk operation ended.
pub type DiskOutcome = Result<DiskDone, io::Error>;

/// The shard's segment files.
pub trait Disk {
    /// Starts an operation; its outcome comes back as `disk_completed(ticket, …)`, in any order. What is done before this returns is answered at once, and doesn't come back.
    #[must_use = "who waits for it would wait for ever"]
    fn submit(&mut self, ticket: DiskTicket, operation: DiskOperation) -> Option<DiskOutcome>;
}
