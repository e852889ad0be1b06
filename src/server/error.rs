//! Why a node could not start: each a sentence that says what to do. Nothing is served then.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::admin::AdminError;
use super::directory::DirectoryError;
use crate::runtime::glommio::{ExecutorError, KernelError, ListenError, SegmentsError};
use crate::shard::recover::RecoverShardError;
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

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "The disk is full: free some space, name a directory on another disk with --data, or take shorter segments with --segment-len"
        }
        _ => "Look at the disk and the kernel's log (dmesg)",
    }
}
