//! The tools that come with the format: `check`, `dump` and `repair`. They work on files, without a node.
//!
//! All three read by the code that a start reads by (`storage::recovery`), so what they say of a log is what a start would do with it. `check` and
//! `repair` hold the directory's lock, `dump` looks at one file and asks nobody. Only `repair` changes anything, and only after everything was judged.
//!
//! Mapped memory is right here too, as nothing waits on these threads. But a disk that can't give a page of a mapped file ends the process without a
//! word, and that is the night on which these tools are used: so `reading` asks for all bytes by plain reads just before they are looked at.

mod backup;
mod check;
mod dump;
mod lost;
mod progress;
mod reading;
mod repair;
mod restore;
mod saved;
mod text;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use backup::{BackupCommand, backup};
pub use check::{CheckOptions, check, judge};
pub use dump::{DumpOptions, dump};
pub use repair::{RepairOptions, repair};
pub use restore::{RestoreOptions, restore};
pub(super) use text::time;

use super::backup::BackupError;
use super::directory::DirectoryError;
use crate::runtime::glommio::SegmentsError;

/// The state of a log, worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything that was ever acknowledged is there.
    #[default]
    Clean,
    /// A crash cut the last writes short; nothing that was acknowledged is lost, and a start mends it by itself.
    Torn,
    /// Something that was acknowledged, or may have been, can't be read.
    Damaged,
}

impl Verdict {
    /// The exit code that says so.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Clean => 0,
            Verdict::Torn => 3,
            Verdict::Damaged => EXIT_DAMAGED,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Verdict::Clean => "clean",
            Verdict::Torn => "torn tail",
            Verdict::Damaged => "damaged",
        }
    }
}

const EXIT_DAMAGED: u8 = 4;

/// Why a tool could not do its work.
#[derive(Debug, Error)]
pub enum ToolError {
    /// The data directory can't be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A segment file can't be opened, or can't be changed.
    #[error(transparent)]
    Segments(#[from] SegmentsError),
    /// The disk does not give a file's bytes.
    #[error(
        "{}, offset {offset}: the disk does not give these bytes ({source}). Copy what it still gives to another disk first (ddrescue does that), then check and \
         repair the copy: every further read may cost more",
        .path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What the kernel says.
        source: io::Error,
    },
    /// Some shard has no plan by which it could be repaired. Nothing was changed.
    #[error("nothing was changed, for not everything can be repaired:\n{}", .reasons.join("\n"))]
    Hopeless {
        /// A sentence a shard.
        reasons: Vec<String>,
    },
    /// What is cut can't be kept.
    #[error(
        "can't {action} {}: {source}. Nothing was repaired. Name a directory with room for what is cut with --keep",
        .path.display()
    )]
    Keep {
        /// What was to be done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The repair was carried out, and what is on disk now is not what was planned.
    #[error(
        "after the repair a start would still stop: {reason}. The disk does not keep what is written; copy the directory to another one and repair it there"
    )]
    NotRepaired {
        /// What a start would say.
        reason: String,
    },
    /// A backup can't be read, or not be restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Standard output takes no more.
    #[error("can't write to standard output: {0}")]
    Output(io::Error),
}

impl ToolError {
    /// The exit code for it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            ToolError::Unreadable { .. }
            | ToolError::Hopeless { .. }
            | ToolError::NotRepaired { .. }
            | ToolError::Directory(
                DirectoryError::ManifestDamaged { .. } | DirectoryError::ManifestMissing { .. },
            )
            | ToolError::Backup(
                BackupError::Damaged { .. }
                | BackupError::NotRestored { .. }
                | BackupError::Directory(DirectoryError::ManifestDamaged { .. }),
            ) => EXIT_DAMAGED,
            // Whoever read it has seen enough.
            ToolError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            _ => 1,
        }
    }

    /// Whether there is anything to tell.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.exit_code() == 0
    }
}

impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> ToolError {
        ToolError::Output(error)
    }
}
