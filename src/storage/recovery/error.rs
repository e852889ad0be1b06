//! What recovery says when a log can't be used as it is: which file, where in it, what is wrong, how we know
//! that no crash did it, and what to do.

use thiserror::Error;

use crate::limits::SALVAGE_MISSING_MAX;
use crate::storage::format::{BlockError, EntryError, SegmentError};
use crate::types::{Position, SegmentId};

/// Bytes that were synced and can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}, offset {offset}: {fault}. No crash explains it: {proof}")]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The segment that it holds.
    pub segment: SegmentId,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes of the log salvage gives up there; zero if the damage costs no data.
    pub len: u64,
    /// What is wrong.
    pub fault: Fault,
    /// Why it can't be a torn write.
    pub proof: Proof,
}

/// What is wrong at a place in a segment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The segment's header.
    #[error("{0}")]
    SegmentHeader(SegmentError),
    /// The file is not there.
    #[error("the file is missing")]
    FileMissing,
    /// The file is shorter than its header says, or than it must have been.
    #[error("the file has {actual} bytes where it should have {expected}")]
    FileLength {
        /// As the header or the other files say.
        expected: u64,
        /// As it is.
        actual: u64,
    },
    /// The header says that the segment was never begun.
    #[error("the segment's header says that it was never begun")]
    NotBegun,
    /// Zeros where a block should be.
    #[error("a block is missing: there are zeros")]
    Missing,
    /// Something else than a block's header.
    #[error("{0}")]
    BlockHeader(BlockError),
    /// A block of another log.
    #[error("the block belongs to another log")]
    OtherLog,
    /// A block that belongs elsewhere in this log.
    #[error("the block that is here belongs to position {found}")]
    Misplaced {
        /// Where it belongs.
        found: Position,
    },
    /// A block with the wrong number.
    #[error("the block has number {found} where {expected} follows")]
    Sequence {
        /// The number that follows.
        expected: u64,
        /// The block's.
        found: u64,
    },
    /// A block that is longer than the room that there is.
    #[error("the block has {len} bytes, more than the segment has room for")]
    TooLong {
        /// The block's length, in bytes.
        len: u64,
    },
    /// A block whose payload was changed.
    #[error("the block's payload has checksum {computed:08x} where {stored:08x} is stored")]
    Payload {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A block whose payload is as it was written and makes no sense.
    #[error("the block's content is invalid: {0}")]
    Content(EntryError),
}

/// How we know that something was on disk whole once.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Proof {
    /// A block that was written later says so.
    #[error(
        "the block at position {position} was written when everything up to position {durable} was synced"
    )]
    LaterBlock {
        /// The block that testifies.
        position: Position,
        /// What it testifies.
        durable: Position,
    },
    /// A later segment has begun.
    #[error("{file} was begun when all of this was synced")]
    LaterSegment {
        /// The later segment's file.
        file: String,
    },
    /// A crash would have left whole sectors of zeros.
    #[error("a torn write leaves whole sectors of zeros, and no such sector is missing here")]
    Sectors,
    /// A file is missing, and a later one is not.
    #[error("a later file is there, which is made after this one and deleted before it")]
    LaterFile,
    /// A segment's header is written whole, and the file is synced before it is used.
    #[error("a segment's header is one sector, and the file was synced before it was used")]
    Prepared,
}

/// Why a log can't be used. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecoveryError {
    /// Data that was acknowledged, or may have been, can't be read.
    #[error(
        "{0}. Restore this shard's directory from a backup, or start with --salvage, which gives up {len} bytes of the log here and keeps the rest. corduroy check \
         says what else is wrong, and corduroy repair --dry-run which keys would be lost",
        len = .0.len
    )]
    Damaged(Box<Damage>),
    /// The file was written by another version of the format.
    #[error("{file}: {error}. Start the release that wrote it, or a newer one")]
    Version {
        /// The file.
        file: String,
        /// Which version.
        error: SegmentError,
    },
    /// The file belongs to another node.
    #[error(
        "{file} belongs to node {found:032x}, and this is node {expected:032x}. Move the file out of this node's directory, or start with the directory that it belongs to"
    )]
    WrongNode {
        /// The file.
        file: String,
        /// The node in the header.
        found: u128,
        /// This node.
        expected: u128,
    },
    /// The file belongs to another shard.
    #[error(
        "{file} belongs to shard {found}, and this is shard {expected}. Move the file back to its shard's directory"
    )]
    WrongShard {
        /// The file.
        file: String,
        /// The shard in the header.
        found: u16,
        /// This shard.
        expected: u16,
    },
    /// The log was written by a node with another number of shards.
    #[error(
        "{file} belongs to a log of {found} shards, and this is one of {expected}. Put the file back where it was: what starts with another number of cores moves all data, and never a file"
    )]
    WrongShardCount {
        /// The file.
        file: String,
        /// The number in the header.
        found: u16,
        /// This node's.
        expected: u16,
    },
    /// The file belongs to an older or newer log of the same shard.
    #[error(
        "{file} belongs to another log of this shard than {other}. Files of two data directories were mixed: keep those of one"
    )]
    OtherLog {
        /// The file.
        file: String,
        /// A file before it, of the other log.
        other: String,
    },
    /// The file's name and its header disagree.
    #[error("{file} holds segment {found}, and its name says {expected}. Give it back its name")]
    WrongSegment {
        /// The file.
        file: String,
        /// The segment in the header.
        found: SegmentId,
        /// The segment by the name.
        expected: SegmentId,
    },
    /// A file is not there.
    #[error(
        "segment {missing} is missing before {file}. Put the file back, or restore this shard's directory from a backup, or start with \
         --salvage, which gives up what was in it and keeps the rest"
    )]
    MissingSegment {
        /// The segment that should be there.
        missing: SegmentId,
        /// The file that should follow it.
        file: String,
    },
    /// More files are missing than salvage makes up for.
    #[error(
        "segment {missing} and more than {SALVAGE_MISSING_MAX} others are missing before {file}, too many to be salvaged. If {file} does not belong \
         there, move it away; else restore this shard's directory from a backup"
    )]
    TooManyMissing {
        /// The first that should be there.
        missing: SegmentId,
        /// The last file that is there.
        file: String,
    },
    /// Two files claim the same positions.
    #[error(
        "{file} and {next} overlap: the second begins at position {base}. Files of two times were mixed: restore this shard's directory from one backup"
    )]
    Overlap {
        /// The first file.
        file: String,
        /// The second.
        next: String,
        /// Where the second begins.
        base: Position,
    },
    /// A segment begins where no file before it reaches.
    #[error(
        "{file} begins at position {base}, and the log before it can't reach beyond {reach}. Restore this shard's directory from one backup"
    )]
    Gap {
        /// The file.
        file: String,
        /// Where it begins.
        base: Position,
        /// The last position that what is before it could hold.
        reach: Position,
    },
    /// Not one header or block can be read.
    #[error(
        "{file}: nothing in this shard's log can be read, so nothing can be salvaged. Restore this shard's directory from a backup"
    )]
    Unreadable {
        /// The first file.
        file: String,
    },
}
