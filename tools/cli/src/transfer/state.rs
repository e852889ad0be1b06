//! The state file: how far a resumable import or export has come.
//!
//! A small JSON object. It is written beside its place, synced, renamed over the old one, and the directory is synced: at whatever
//! moment the process or the machine stops, the file is the old state or the new one, whole. It is written only after what it
//! claims is true (see [`crate::transfer`]), so being old only means that some work is done again.
//!
//! It also says what it belongs to. Going on in another file, keyspace or format would mix two data sets without a sign,
//! so each of them is compared and a difference is an error.

use super::record::Format;
use crate::limits;
use crate::text::json::JsonBuf;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// What a state file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum State {
    /// Of an import.
    #[serde(rename = "corduroy import")]
    Import(ImportState),
    /// Of an export.
    #[serde(rename = "corduroy export")]
    Export(ExportState),
}

/// How far an import has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportState {
    /// Where the records go.
    pub(crate) keyspace: String,
    /// How the lines are written.
    pub(crate) format: Format,
    /// Every line before this byte is acknowledged.
    pub(crate) offset: u64,
    /// Lines before it.
    pub(crate) line: u64,
    /// Records before it that were written.
    pub(crate) imported: u64,
    /// Lines before it that were left out.
    pub(crate) skipped: u64,
    /// CRC-32 of the last [`limits::FINGERPRINT_LEN`] bytes before the offset; `None` for a stream, where they are gone.
    pub(crate) fingerprint: Option<u32>,
}

/// How far an export has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportState {
    /// Where the records come from.
    pub(crate) keyspace: String,
    /// How the lines are written.
    pub(crate) format: Format,
    /// Only keys that begin with this.
    pub(crate) prefix: JsonBuf,
    /// Where the scan goes on.
    pub(crate) cursor: String,
    /// Bytes of the output file that hold everything before the cursor, and are on disk.
    pub(crate) length: u64,
    /// Records in them.
    pub(crate) records: u64,
    /// There is nothing more.
    pub(crate) complete: bool,
}

/// Why a state file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The file can't be read.
    #[error("cannot read the state file {}: {source}", path.display())]
    Read {
        /// Its name.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file can't be written.
    #[error("cannot write the state file {}: {source}", path.display())]
    Write {
        /// Its name.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is not a state file: {reason}", path.display())]
    Malformed {
        /// Its name.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is of an import where an export goes on, or the other way round.
    #[error("the state file {} is not of this command", path.display())]
    OtherKind {
        /// Its name.
        path: PathBuf,
    },
    /// It belongs to another import or export.
    #[error("the state file {} belongs to something else: its {what} is {recorded}, not {asked}", path.display())]
    Mismatch {
        /// Its name.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it says.
        recorded: String,
        /// What the command line says.
        asked: String,
    },
    /// The file that it is about has other contents.
    #[error("{} has changed before byte {offset}, up to which the state file {} says it was imported", file.display(), path.display())]
    Changed {
        /// The imported file.
        file: PathBuf,
        /// The state file.
        path: PathBuf,
        /// What was imported, in bytes.
        offset: u64,
    },
    /// The file that it is about lost bytes.
    #[error("{} has {length} bytes, but the state file {} says that {recorded} were done", file.display(), path.display())]
    Shorter {
        /// The imported or exported file.
        file: PathBuf,
        /// The state file.
        path: PathBuf,
        /// Its length, in bytes.
        length: u64,
        /// What the state says.
        recorded: u64,
    },
}

/// Compares one thing that a state file says with what the command line says.
pub(crate) fn expect_same(
    path: &Path,
    what: &'static str,
    recorded: &str,
    asked: &str,
) -> Result<(), StateError> {
    if recorded == asked {
        return Ok(());
    }
    Err(StateError::Mismatch {
        path: path.to_owned(),
        what,
        recorded: recorded.to_owned(),
        asked: asked.to_owned(),
    })
}

/// The state that the file holds; `None` if there is no such file, so that the first run and the next are the same command.
pub(crate) fn load(path: &Path) -> Result<Option<State>, StateError> {
    let read = |source| StateError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    let mut text = Vec::new();
    file.take(limits::STATE_LEN_MAX)
        .read_to_end(&mut text)
        .map_err(read)?;
    match serde_json::from_slice(&text) {
        Ok(state) => Ok(Some(state)),
        Err(error) => Err(StateError::Malformed {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// Puts the state in the place of the old one. When this returns, it is on disk.
pub(crate) fn store(path: &Path, state: &State) -> Result<(), StateError> {
    store_bytes(path, state).map_err(|source| StateError::Write {
        path: path.to_owned(),
        source,
    })
}

fn store_bytes(path: &Path, state: &State) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(state)?;
    text.push(b'\n');
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import_state(offset: u64) -> State {
        State::Import(ImportState {
            keyspace: "default".to_owned(),
            format: Format::Tsv,
            offset,
            line: 2,
            imported: 1,
            skipped: 1,
            fingerprint: Some(7),
        })
    }

    /// The first run has no state file, the second finds the newest, and nothing is left lying beside it.
    #[test]
    fn stores_and_loads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        assert_eq!(load(&path).unwrap(), None);
        let export = State::Export(ExportState {
            keyspace: "default".to_owned(),
            format: Format::Jsonl,
            prefix: JsonBuf(vec![0xff]),
            cursor: "0".repeat(32),
            length: 5,
            records: 1,
            complete: true,
        });
        for state in [import_state(5), import_state(10), export] {
            store(&path, &state).unwrap();
            assert_eq!(load(&path).unwrap(), Some(state));
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    /// Half a copy of a state file, or any other file named by mistake, must not start an import in the middle of nowhere.
    #[test]
    fn refuses_what_is_no_state() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        store(&path, &import_state(10)).unwrap();
        let text = fs::read(&path).unwrap();
        for wrong in [
            &text[..text.len() / 2],
            b"",
            b"{}",
            b"{\"kind\":\"corduroy import\"}",
        ] {
            fs::write(&path, wrong).unwrap();
            assert!(matches!(load(&path), Err(StateError::Malformed { .. })));
        }
    }
}
