//! Why a backup can't be taken, checked or restored.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::server::directory::DirectoryError;
use crate::types::ShardId;

/// See the module's header.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A call failed.
    #[error("can't {action} {}: {source}", .path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// There is no room for it.
    #[error("the disk of the backups is full: can't write {}", .path.display())]
    Full {
        /// What could not be written.
        path: PathBuf,
    },
    /// A node's own directory can't be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Another node, or a tool, is at work there.
    #[error("another process works on the backups in {}", .path.display())]
    InUse {
        /// The series' directory.
        path: PathBuf,
    },
    /// What a backup says of itself can't be used.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another release wrote it.
    #[error("{} has format {found}, which this release does not know", .path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The series is another node's.
    #[error(
        "the backups in {} are those of another node ({found}). Name another series: corduroy-cli backup NAME",
        .path.display()
    )]
    OtherNode {
        /// The series' directory.
        path: PathBuf,
        /// That node's number.
        found: String,
    },
    /// A shard has no point in its log to tell.
    #[error("{reason}")]
    Shard {
        /// Why.
        reason: String,
    },
    /// A shard does not answer.
    #[error("shard {shard} does not say where its log is")]
    Silent {
        /// Which.
        shard: ShardId,
    },
    /// A file of the log is not what it should be.
    #[error("{}: {reason}. Stop the node and run corduroy check", .path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The node stops.
    #[error("the node is stopping; the backup was given up")]
    Stopping,
    /// There is nothing to restore or check.
    #[error(
        "there is no whole backup in {}: neither a BACKUP file nor directories with one. Name a series' directory, or one backup in it",
        .path.display()
    )]
    None {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The directory to restore into is in use for something.
    #[error(
        "{} is not empty. A restore never writes over data: name a directory that is not there, or an empty one",
        .path.display()
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// What was restored is not what the backup says. Nothing of it will start.
    #[error(
        "the backup is damaged: {reason}. What was restored so far can't be started; delete it, and restore an earlier backup"
    )]
    NotRestored {
        /// What is wrong.
        reason: String,
    },
    /// The moment is not in any backup.
    #[error("{reason}")]
    NoSuchMoment {
        /// Why, and what there is.
        reason: String,
    },
}

/// Wraps what the kernel says.
pub(in crate::server) fn failed(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BackupError::Full { path },
        _ => BackupError::Io {
            action,
            path,
            source,
        },
    }
}
