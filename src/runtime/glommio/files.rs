//! A shard's segment files on a running node: the disk port's operations over io_uring.
//!
//! Reads of records, and segments that are made ready; the log itself is written by a thread (`writer`). Each operation is a task of its own,
//! so that a read is not held up and none is ever polled twice (glommio counts a waker for each poll). Within an operation
//! the order is kept by awaiting: io_uring doesn't order what is in flight, so a write has completed before its fdatasync is submitted.
//!
//! # Preparing a segment
//!
//! The file is made under its final name: space is reserved first, so that a full disk says so at once; then the header and zeros are
//! written a slice at a time, synced every few slices so that neither the page cache nor the disk's queue fills up and the
//! shard's own writes keep their pace; then the directory is synced. A crash on the way leaves a file that is shorter, or whose header
//! is missing or says *prepared*: recovery takes any of them for a segment that has not begun and deletes it. A failure
//! on the way deletes the half-made file.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use glommio::GlommioError;
use glommio::io::{BufferedFile, Directory, OpenOptions, remove};

use super::segments::file_name;
use super::turn::yield_once;
use crate::limits;
use crate::ports::{DiskDone, DiskOperation, DiskOutcome};
use crate::storage::buffer::LargeBuffer;
use crate::types::SegmentId;

/// The open segment files of one shard.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    open: RefCell<HashMap<SegmentId, OpenFile>>,
    /// Counts uses, to know which file was not used for longest.
    uses: Cell<u64>,
}

#[derive(Debug)]
struct OpenFile {
    file: Rc<BufferedFile>,
    used: u64,
}

impl Files {
    pub(super) fn new(directory: PathBuf) -> Files {
        Files {
            directory,
            open: RefCell::new(HashMap::new()),
            uses: Cell::new(0),
        }
    }

    /// Carries out one operation. Resolves when the operation guarantees what its kind promises.
    pub(super) async fn carry_out(&self, operation: DiskOperation) -> DiskOutcome {
        match operation {
            DiskOperation::Prepare {
                segment,
                len,
                header,
            } => self.prepare(segment, len, header).await,
            DiskOperation::Read {
                segment,
                offset,
                len,
            } => {
                let file = self.file(segment).await?;
                read(&file, offset, len).await.map(DiskDone::Read)
            }
            other => unreachable!("{other:?} is the log writer's"),
        }
    }

    async fn prepare(&self, segment: SegmentId, len: u64, header: Vec<u8>) -> DiskOutcome {
        let path = self.directory.join(file_name(segment));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .buffered_open(&path)
            .await
            .map_err(io_error)?;
        let made = async {
            fill(&file, len, header).await?;
            let directory = Directory::open(&self.directory).await.map_err(io_error)?;
            let synced = directory.sync().await.map_err(io_error);
            directory.close().await.map_err(io_error)?;
            synced
        };
        match made.await {
            Ok(()) => {
                self.keep(segment, Rc::new(file));
                Ok(DiskDone::Done)
            }
            Err(error) => {
                // The file may be gone or refuse to go; what matters is why it could not be made.
                let _ = file.close().await;
                let _ = remove(&path).await;
                Err(error)
            }
        }
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
            .write(true)
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

/// Reserves `len` bytes and writes `header` and zeros over them. Everything is synced when it resolves.
async fn fill(file: &BufferedFile, len: u64, header: Vec<u8>) -> io::Result<()> {
    match file.pre_allocate(len, false).await.map_err(io_error) {
        Ok(()) => {}
        // Some filesystems can't reserve; writing finds out just as well.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    let mut offset = header.len() as u64;
    write_all(file, header, 0).await?;
    let mut unsynced = offset;
    while offset < len {
        let slice = (len - offset).min(limits::PREPARE_SLICE_BYTES);
        write_all(file, vec![0; slice as usize], offset).await?;
        offset += slice;
        unsynced += slice;
        if unsynced >= limits::PREPARE_SYNC_BYTES {
            file.fdatasync().await.map_err(io_error)?;
            unsynced = 0;
        }
    }
    file.fdatasync().await.map_err(io_error)
}

/// Writes all of `bytes`. A segment's space is there before anything is written to it and the kernel takes a regular file's write
/// whole; so if it takes less, the disk has failed on the way, and to go on with the rest would hide that.
async fn write_all(file: &BufferedFile, bytes: Vec<u8>, offset: u64) -> io::Result<()> {
    let len = bytes.len();
    let written = file.write_at(bytes, offset).await.map_err(io_error)?;
    if written == len {
        return Ok(());
    }
    let reason = format!("the kernel wrote {written} of {len} bytes at offset {offset}");
    Err(io::Error::new(io::ErrorKind::WriteZero, reason))
}

/// Reads `len` bytes; fewer only at the end of the file. A long read goes a slice at a time: what is in the page cache the kernel copies
/// at once, on this core.
async fn read(file: &BufferedFile, offset: u64, len: usize) -> io::Result<Bytes> {
    if len <= limits::LARGE_LEN {
        let bytes = file.read_at(offset, len).await.map_err(io_error)?;
        if bytes.len() == len {
            return Ok(Bytes::copy_from_slice(&bytes));
        }
    }
    let mut buffer = LargeBuffer::new(len)?;
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

/// The kernel's error, out of what glommio wraps it in: the shard tells a full disk by its number.
pub(super) fn io_error(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => source,
        other => other.into(),
    }
}
