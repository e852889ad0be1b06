//! Why a node could not start: each a sentence that says what to do. Nothing is served then.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::admin::AdminError;
use super::directory::DirectoryError;
use crate::runtime::glommio::{ExecutorError, KernelError, ListenError, SegmentsError};
use crate::shard::recover::RecoverShardError;
use crate::storage::recovery::Fault;
use crate::types::ShardId;

/// What goes with a shard beside its keys.
fn keyspaces(shard: ShardId) -> &'static str {
    match shard.0 {
        0 => ". It also records the keyspaces: with it goes every keyspace but default",
        _ => "",
    }
}

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The kernel does not allow what executors need.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An executor can't be made.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The data directory can't be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There can be no admin HTTP.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A shard's segment files can't be opened or repaired.
    #[error(transparent)]
    Segments(#[from] SegmentsError),
    /// A shard's log can't be used as it is.
    #[error("shard {shard} can't be recovered. {source}")]
    Recover {
        /// The shard.
        shard: ShardId,
        /// Why.
        source: Box<RecoverShardError>,
    },
    /// A shard has no segment files though it had.
    #[error(
        "shard {shard} has lost all its files: there is no segment in {}. Put them back or restore the directory from a backup, or start with \
         --salvage, which goes on with the other shards' data and nothing in this one{}",
        .directory.display(), keyspaces(*.shard)
    )]
    ShardLost {
        /// The shard.
        shard: ShardId,
        /// Its directory.
        directory: PathBuf,
    },
    /// There is not enough room to begin to move data to another number of shards.
    #[error(
        "the data is spread over {from} shard{}, and moving it to {to} takes {needed} bytes of free disk space for a while, of which {available} are there. Free some \
         space, take shorter segments with --segment-len, or start with --cores {from}. Nothing was changed",
        if *.from == 1 { "" } else { "s" }
    )]
    MoveNeedsRoom {
        /// From how many.
        from: u16,
        /// To how many.
        to: u16,
        /// In bytes.
        needed: u64,
        /// In bytes.
        available: u64,
    },
    /// Data could not be moved to another number of shards, or not all of it.
    #[error(
        "moving the data from {from} to {to} shards came to a halt: {source}. {}",
        .source.remedy()
    )]
    Move {
        /// From how many.
        from: u16,
        /// To how many.
        to: u16,
        /// Why.
        source: MoveFailure,
    },
    /// A new shard's first segment can't be made.
    #[error(
        "can't make the first segment of shard {shard}, {segment_len} bytes in {}: {source}. {}",
        .directory.display(), remedy(.source)
    )]
    FirstSegment {
        /// The shard.
        shard: ShardId,
        /// Its directory.
        directory: PathBuf,
        /// How long it was to be.
        segment_len: u64,
        /// What the kernel says.
        source: io::Error,
    },
    /// There are too few descriptors for even a handful of connections.
    #[error(
        "only {limit} files may be open, and the node needs {needed} before the first connection. Raise the limit (ulimit -n)"
    )]
    OpenFiles {
        /// The limit.
        limit: u64,
        /// What is needed.
        needed: u64,
    },
    /// The kernel gives no thread.
    #[error("can't start a thread: {0}")]
    Thread(io::Error),
    /// A shard's thread ended before it served.
    #[error("the executor of shard {shard} ended unexpectedly")]
    Ended {
        /// The shard.
        shard: ShardId,
    },
}

/// Why a move came to a halt.
#[derive(Debug, Error)]
pub enum MoveFailure {
    /// Something can't be done with a file.
    #[error(transparent)]
    Files(SegmentsError),
    /// A file is not what it was a moment ago.
    #[error("{}, offset {offset}: {fault}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
}

impl MoveFailure {
    fn remedy(&self) -> &'static str {
        let is_full = |source: &io::Error| {
            matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        };
        match self {
            MoveFailure::Files(error) if is_full(&error.source) => {
                "The disk is full. Nothing is lost: free some space and start again, with any number of cores; the move goes on where it was"
            }
            MoveFailure::Files(_) => {
                "Nothing is lost that the disk still gives: look at the disk and the kernel's log (dmesg), and start again; the move goes on where it was"
            }
            MoveFailure::Damaged { .. } => {
                "Start again: the file is read anew, and if it is damaged, --salvage gives up what can't be read and moves the rest"
            }
        }
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "The disk is full: free some space, name a directory on another disk with --data, or take shorter segments with --segment-len"
        }
        _ => "Look at the disk and the kernel's log (dmesg)",
    }
}
