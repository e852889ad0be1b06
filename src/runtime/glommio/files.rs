//! A shard's cold records on a running node: the disk port's reads, over io_uring.
//!
//! The log itself is written by a thread (`writer`), and segments are made ready by another (`preparer`). Each read is a task of its own, so that
//! none is held up by another and none is ever polled twice (glommio counts a waker for each poll).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use glommio::GlommioError;
use glommio::io::{BufferedFile, OpenOptions};

use super::segments::file_name;
use super::turn::yield_once;
use crate::limits;
use crate::storage::buffer::{LargeBuffer, Reaper};
use crate::storage::disk::{DiskDone, DiskOutcome};
use crate::types::SegmentId;

/// The open segment files of one shard.
pub(super) struct Files {
    directory: PathBuf,
    open: RefCell<HashMap<SegmentId, OpenFile>>,
    /// Counts uses, to know which file was not used for longest.
    uses: Cell<u64>,
    reaper: Reaper,
}

#[derive(Debug)]
struct OpenFile {
    file: Rc<BufferedFile>,
    used: u64,
}

impl Files {
    pub(super) fn new(directory: PathBuf, reaper: Reaper) -> Files {
        Files {
            directory,
            open: RefCell::new(HashMap::new()),
            uses: Cell::new(0),
            reaper,
        }
    }

    /// Reads `len` bytes of a segment at `offset`; fewer only at the end of the file.
    pub(super) async fn read(&self, segment: SegmentId, offset: u64, len: usize) -> DiskOutcome {
        let file = self.file(segment).await?;
        self.fetch(&file, offset, len).await.map(DiskDone::Read)
    }

    /// A long read goes a slice at a time: what is in the page cache the kernel copies at once, on this core.
    async fn fetch(&self, file: &BufferedFile, offset: u64, len: usize) -> io::Result<Bytes> {
        if len <= limits::LARGE_LEN {
            let bytes = file.read_at(offset, len).await.map_err(io_error)?;
            if bytes.len() == len {
                return Ok(Bytes::copy_from_slice(&bytes));
            }
        }
        let mut buffer = LargeBuffer::new(len)?.reaped_by(Arc::clone(&self.reaper));
        while buffer.len() < len {
            let at = offset + buffer.len() as u64;
            let slice = (len - buffer.len()).min(limits::LARGE_LEN);
            let part = file.read_at(at, slice).await.map_err(io_error)?;
            if part.is_empty() {
                break;
            }
            buffer.extend(&part);
            yield_once().await;
        }
        Ok(buffer.freeze())
    }

    /// The segment's file, opened if it is not.
    async fn file(&self, segment: SegmentId) -> io::Result<Rc<BufferedFile>> {
        self.uses.set(self.uses.get() + 1);
        if let Some(open) = self.open.borrow_mut().get_mut(&segment) {
            open.used = self.uses.get();
            return Ok(Rc::clone(&open.file));
        }
        let path = self.directory.join(file_name(segment));
        let file = OpenOptions::new()
            .read(true)
            .buffered_open(&path)
            .await
            .map_err(io_error)?;
        let file = Rc::new(file);
        self.keep(segment, Rc::clone(&file));
        Ok(file)
    }

    /// Keeps a file open, and lets go of the one that was not used for longest if there are too many.
    fn keep(&self, segment: SegmentId, file: Rc<BufferedFile>) {
        let mut open = self.open.borrow_mut();
        let used = self.uses.get();
        open.insert(segment, OpenFile { file, used });
        if open.len() > limits::SEGMENT_FILES_OPEN_MAX {
            let oldest = open
                .iter()
                .min_by_key(|(_, open)| open.used)
                .map(|(segment, _)| *segment);
            if let Some(oldest) = oldest {
                open.remove(&oldest);
            }
        }
    }
}

/// The kernel's error, out of what glommio wraps it in: the shard tells a full disk by its number.
pub(super) fn io_error(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => source,
        other => other.into(),
    }
}
