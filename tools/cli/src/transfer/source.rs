//! The file that an import reads: opened, compared with the state, and put where reading goes on.
//!
//! A regular file is sought; anything else (standard input, a pipe) is read from its beginning and its first bytes are
//! thrown away, so `zcat x.gz | corduroy-cli import --resume state` goes on as well.

use super::state::{ImportState, StateError};
use super::watermark::Position;
use super::{FileError, TransferError};
use crate::limits;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// See the module's header.
pub(crate) struct Source {
    /// Yields the bytes from the position on.
    pub(crate) input: Box<dyn Read + Send>,
    /// Bytes in all, of a regular file.
    pub(crate) length: Option<u64>,
    /// Where reading begins.
    pub(crate) start: Position,
    /// A second handle on a regular file, for fingerprints.
    file: Option<File>,
}

impl Source {
    /// Opens `path` (`-` is standard input) and goes to where `state`, read from `state_path`, says.
    pub(crate) fn open(
        path: &Path,
        resume: Option<(&Path, &ImportState)>,
    ) -> Result<Self, TransferError> {
        let failed = |source| FileError::new("read", path, source);
        let start = resume.map_or(Position::default(), |(_, state)| state.position());
        if path.as_os_str() == "-" {
            return Ok(Self::stream(io::stdin(), start));
        }
        let mut input = File::open(path).map_err(failed)?;
        let metadata = input.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()).into());
        }
        if !metadata.is_file() {
            return Ok(Self::stream(input, start));
        }
        if let Some((state_path, state)) = resume {
            check(&input, metadata.len(), path, state_path, state)?;
        }
        input.seek(SeekFrom::Start(start.offset)).map_err(failed)?;
        let file = Some(input.try_clone().map_err(failed)?);
        Ok(Self {
            input: Box::new(input),
            length: Some(metadata.len()),
            start,
            file,
        })
    }

    fn stream(input: impl Read + Send + 'static, start: Position) -> Self {
        Self {
            input: Box::new(Skipping {
                input,
                skip: start.offset,
            }),
            length: None,
            start,
            file: None,
        }
    }

    /// The checksum of the bytes just before `offset`; `None` where the bytes are gone.
    pub(crate) fn fingerprint(&self, offset: u64) -> io::Result<Option<u32>> {
        self.file
            .as_ref()
            .map(|file| fingerprint(file, offset))
            .transpose()
    }
}

/// Whether the file is still the one that the state is about, as far as that can be told at once.
fn check(
    file: &File,
    length: u64,
    path: &Path,
    state_path: &Path,
    state: &ImportState,
) -> Result<(), TransferError> {
    if length < state.offset {
        let (file, path) = (path.to_owned(), state_path.to_owned());
        return Err(StateError::Shorter {
            file,
            path,
            length,
            recorded: state.offset,
        }
        .into());
    }
    let Some(recorded) = state.fingerprint else {
        return Ok(());
    };
    let found =
        fingerprint(file, state.offset).map_err(|source| FileError::new("read", path, source))?;
    if found != recorded {
        let (file, path) = (path.to_owned(), state_path.to_owned());
        return Err(StateError::Changed {
            file,
            path,
            offset: state.offset,
        }
        .into());
    }
    Ok(())
}

fn fingerprint(file: &File, offset: u64) -> io::Result<u32> {
    let len = offset.min(limits::FINGERPRINT_LEN);
    let mut tail = [0; limits::FINGERPRINT_LEN as usize];
    let tail = &mut tail[..usize::try_from(len).expect("a fingerprint covers a few KiB")];
    file.read_exact_at(tail, offset - len)?;
    Ok(crc32fast::hash(tail))
}

/// Throws the first bytes of a stream away before it yields any.
struct Skipping<R> {
    input: R,
    skip: u64,
}

impl<R: Read> Read for Skipping<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.skip > 0 {
            let skipped = io::copy(&mut self.input.by_ref().take(self.skip), &mut io::sink())?;
            if skipped < self.skip {
                let message = format!(
                    "the input ends {} bytes before the place to go on at",
                    self.skip - skipped
                );
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            self.skip = 0;
        }
        self.input.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::record::Format;
    use std::fs;

    fn state(offset: u64, fingerprint: Option<u32>) -> ImportState {
        ImportState {
            keyspace: "default".to_owned(),
            format: Format::Tsv,
            offset,
            line: 1,
            imported: 1,
            skipped: 0,
            fingerprint,
        }
    }

    fn read(mut source: Source) -> Vec<u8> {
        let mut bytes = Vec::new();
        source.input.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Going on in a file that was replaced would import the tail of one and the head of another.
    #[test]
    fn notices_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.tsv");
        fs::write(&path, "a\tb\nc\td\n").unwrap();
        let fingerprint = Source::open(&path, None).unwrap().fingerprint(4).unwrap();
        let state = state(4, fingerprint);
        let resume = Some((Path::new("state"), &state));
        assert_eq!(read(Source::open(&path, resume).unwrap()), b"c\td\n");

        fs::write(&path, "x\tb\nc\td\n").unwrap();
        let error = Source::open(&path, resume).err().unwrap();
        assert!(
            matches!(
                error,
                TransferError::State(StateError::Changed { offset: 4, .. })
            ),
            "{error}"
        );
        fs::write(&path, "a\t").unwrap();
        let error = Source::open(&path, resume).err().unwrap();
        assert!(
            matches!(
                error,
                TransferError::State(StateError::Shorter {
                    length: 2,
                    recorded: 4,
                    ..
                })
            ),
            "{error}"
        );
    }

    /// A file may grow, and be repaired after the place where an import stopped: that must not hinder going on.
    #[test]
    fn what_comes_after_may_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.tsv");
        let text = "x".repeat(10_000);
        fs::write(&path, format!("{text}\n old")).unwrap();
        let fingerprint = Source::open(&path, None)
            .unwrap()
            .fingerprint(10_001)
            .unwrap();
        fs::write(&path, format!("{text}\n new and longer")).unwrap();
        let state = state(10_001, fingerprint);
        assert_eq!(
            read(Source::open(&path, Some((Path::new("state"), &state))).unwrap()),
            b" new and longer"
        );
    }

    /// A stream that is shorter than what was imported is not the same stream.
    #[test]
    fn streams_are_skipped() {
        let start = Position {
            offset: 3,
            ..Position::default()
        };
        assert_eq!(read(Source::stream(&b"abcdef"[..], start)), b"def");
        let mut short = Source::stream(&b"ab"[..], start);
        let error = short.input.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
