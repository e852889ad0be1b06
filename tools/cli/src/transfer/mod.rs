//! Import and export: files in and out, at the speed of the connection, and resumable.
//!
//! ```text
//! import   file ── reader (own thread: lines, parsing) ──parcels──▶ sender (many requests in flight)
//!                                                                     │ acknowledged
//!          state file ◀── checkpoint ◀── watermark: everything before this byte is acknowledged
//!
//! export   scan pages ──▶ lines ──▶ file ──▶ fdatasync ──▶ checkpoint (cursor, length) ──▶ state file
//! ```
//!
//! Both keep one promise: **what the state file says is true at whatever moment the process dies**. An import's
//! state names an offset before which every line was acknowledged by the server; what lies after it may have been done too,
//! and is done again, which changes nothing because puts are idempotent and lines of the same key are sent in the
//! order of the file. An export's state names a length of the file that is on disk and the cursor that goes on from there; what
//! the file holds beyond that length is cut off on resuming, and the scan repeats it.

mod delivery;
mod export;
mod import;
mod patience;
mod progress;
mod reader;
pub(crate) mod record;
mod sink;
mod source;
mod state;
mod watermark;

pub(crate) use export::export;
pub(crate) use import::import;

use crate::error::client_exit;
use crate::exit::Exit;
use record::RecordError;
use state::StateError;
use std::io;
use std::path::{Path, PathBuf};

/// Why an import or export ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// The file's name says nothing about its format.
    #[error("the name {} does not tell the format: say --format jsonl or --format tsv", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// An export would overwrite a file.
    #[error("{} exists: say --force to overwrite it", path.display())]
    OutputExists {
        /// The file.
        path: PathBuf,
    },
    /// An export can only be resumed in a file.
    #[error("--resume needs a regular file to write to: what was written to {} can't be cut back", path.display())]
    OutputNotAFile {
        /// What was named instead.
        path: PathBuf,
    },
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line that holds no record.
    #[error("line {number}: {source}")]
    BadLine {
        /// From 1.
        number: u64,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A record that the server does not take.
    #[error("line {number}: {source}")]
    Rejected {
        /// Its line, from 1.
        number: u64,
        /// What the server has against it.
        source: Box<corduroy_client::Error>,
    },
    /// A server that answers what it can't.
    #[error("line {number}: the server says that a condition failed, but there was none")]
    Absurd {
        /// The record's line, from 1.
        number: u64,
    },
    /// The server does not answer, or takes nothing.
    #[error("{0}")]
    Server(Box<corduroy_client::Error>),
}

impl TransferError {
    /// How the program ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::UnknownFormat { .. }
            | Self::OutputExists { .. }
            | Self::OutputNotAFile { .. } => Exit::Usage,
            Self::File(error) if error.source.kind() == io::ErrorKind::BrokenPipe => {
                Exit::BrokenPipe
            }
            Self::State(_) | Self::File(_) | Self::BadLine { .. } => Exit::Local,
            Self::Rejected { .. } | Self::Absurd { .. } => Exit::Refused,
            Self::Server(error) => client_exit(error),
        }
    }

    /// What the client crate said, if it did.
    pub(crate) fn client_error(&self) -> Option<&corduroy_client::Error> {
        match self {
            Self::Rejected { source, .. } | Self::Server(source) => Some(source),
            _ => None,
        }
    }
}

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub(crate) struct FileError {
    /// `read`, `write`.
    action: &'static str,
    /// Its name; `-` for a standard stream.
    path: PathBuf,
    /// What the operating system said.
    source: io::Error,
}

impl FileError {
    fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Why an import or export stopped.
#[derive(Debug)]
enum End {
    /// There is nothing more.
    Complete,
    /// Ctrl-C.
    Interrupted,
    /// Something that this run can't get over.
    Failed(TransferError),
}

/// A path as it can be pasted into a shell.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
