//! The file that an export writes: opened so that nothing is overwritten by mistake, and cut back to what is certain.

use super::state::{ExportState, StateError};
use super::{FileError, TransferError};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// See the module's header.
pub(crate) struct Sink {
    path: PathBuf,
    output: Target,
    /// Bytes written, those of earlier runs included.
    pub(crate) length: u64,
}

enum Target {
    File(File),
    /// A pipe, a terminal, a device: what is written is gone.
    Stream(Box<dyn Write + Send>),
}

impl Sink {
    /// Opens `path` (`-` is standard output). With a state the file is cut back to what the state knows of.
    pub(crate) fn open(
        path: &Path,
        force: bool,
        resume: Option<(&Path, &ExportState)>,
    ) -> Result<Self, TransferError> {
        let failed = |source| FileError::new("write", path, source);
        let path_owned = path.to_owned();
        if path.as_os_str() == "-" {
            return Ok(Self {
                path: path_owned,
                output: Target::Stream(Box::new(io::stdout())),
                length: 0,
            });
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(resume.is_none())
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Ok(Self {
                path: path_owned,
                output: Target::Stream(Box::new(file)),
                length: 0,
            });
        }
        let length = match resume {
            Some((state_path, state)) if metadata.len() < state.length => {
                let (file, path, length) = (path_owned, state_path.to_owned(), metadata.len());
                return Err(StateError::Shorter {
                    file,
                    path,
                    length,
                    recorded: state.length,
                }
                .into());
            }
            Some((_, state)) => state.length,
            None if metadata.len() > 0 && !force => {
                return Err(TransferError::OutputExists { path: path_owned });
            }
            None => 0,
        };
        file.set_len(length).map_err(failed)?;
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        Ok(Self {
            path: path_owned,
            output: Target::File(file),
            length,
        })
    }

    /// Whether what was written can be cut back, and so gone on with.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.output, Target::File(_))
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let result = match &mut self.output {
            Target::File(file) => file.write_all(bytes),
            Target::Stream(stream) => stream.write_all(bytes),
        };
        result.map_err(|source| FileError::new("write", &self.path, source))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Hands everything on; of a file, when this returns, it is on disk.
    pub(crate) fn sync(&mut self) -> Result<(), FileError> {
        let result = match &mut self.output {
            Target::File(file) => file.sync_data(),
            Target::Stream(stream) => stream.flush(),
        };
        result.map_err(|source| FileError::new("write", &self.path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::json::JsonBuf;
    use crate::transfer::record::Format;
    use std::fs;

    fn state(length: u64) -> ExportState {
        ExportState {
            keyspace: "default".to_owned(),
            format: Format::Tsv,
            prefix: JsonBuf::default(),
            cursor: String::new(),
            length,
            records: 1,
            complete: false,
        }
    }

    /// A nightly export that fails must not have destroyed the one of yesterday before it began.
    #[test]
    fn does_not_overwrite_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup.tsv");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Sink::open(&path, false, None),
            Err(TransferError::OutputExists { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        Sink::open(&path, true, None)
            .unwrap()
            .write(b"new")
            .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    /// What was written after the last checkpoint comes again from the cursor; left in place it would stand there
    /// twice, the first time perhaps in half.
    #[test]
    fn is_cut_back_to_the_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup.tsv");
        fs::write(&path, "a\tb\nc\thal").unwrap();
        let state = state(4);
        let mut sink = Sink::open(&path, false, Some((Path::new("state"), &state))).unwrap();
        sink.write(b"c\td\n").unwrap();
        assert_eq!(sink.length, 8);
        assert_eq!(fs::read(&path).unwrap(), b"a\tb\nc\td\n");
        fs::write(&path, "a").unwrap();
        let error = Sink::open(&path, false, Some((Path::new("state"), &state)))
            .err()
            .unwrap();
        assert!(matches!(
            error,
            TransferError::State(StateError::Shorter {
                length: 1,
                recorded: 4,
                ..
            })
        ));
        fs::remove_file(&path).unwrap();
        assert!(matches!(
            Sink::open(&path, false, Some((Path::new("state"), &state))),
            Err(TransferError::File(_))
        ));
    }
}
