//! The thread that writes a shard's log: one write and one fdatasync after the other.
//!
//! A log is written in order, one block at a time, so there is nothing for io_uring to overlap; and a buffered write to ext4 and an fdatasync each
//! end up on a kernel worker anyway, which shares the executor's core and has to be waited for twice. One thread of our own does both in
//! a row on whatever core is free and answers once. It blocks; the executor never does. It also goes over the bytes of large values, whose checksums
//! would hold the executor up.
//!
//! A block that is to be synced at once goes past the page cache (`direct`). One that isn't does so when blocks are large: then that takes less CPU, and the kernel never makes the
//! thread wait because too much is waiting to be written. Small ones go through the page cache, which answers sooner.
//!
//! Operations are carried out in the order in which they were submitted. Their outcomes come back over a channel that the executor
//! looks into whenever it looks for connections, and that wakes it when it sleeps.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use flume::Sender;

use super::direct::{self, PageBuffer};
use super::segments::file_name;
use super::watchdog::Pulse;
use crate::limits;
use crate::storage::disk::{DiskDone, DiskOperation, DiskOutcome, DiskTicket};
use crate::types::{SegmentId, ShardId};

/// What was asked for, and how it ended.
pub(super) type Completion = (DiskTicket, DiskOutcome);

/// The executor's end of a log writer.
#[derive(Debug)]
pub(super) struct LogWriter {
    operations: Sender<(DiskTicket, DiskOperation)>,
}

impl LogWriter {
    /// Starts the thread of one shard. It ends with the writer. Outcomes go to `done`.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub(super) fn start(
        shard: ShardId,
        directory: PathBuf,
        pulse: Arc<Pulse>,
        done: Sender<Completion>,
    ) -> io::Result<LogWriter> {
        let (operations, submitted) = flume::unbounded::<(DiskTicket, DiskOperation)>();
        let buffer = PageBuffer::new()?;
        thread::Builder::new()
            .name(format!("log-{shard}"))
            .spawn(move || {
                roam();
                let mut open = Open {
                    directory,
                    last: None,
                    buffer,
                    way: Way::default(),
                };
                while let Ok((ticket, operation)) = submitted.recv() {
                    let outcome = open.carry_out(operation);
                    if done.send((ticket, outcome)).is_err() {
                        return;
                    }
                    pulse.sent_to();
                }
            })?;
        Ok(LogWriter { operations })
    }

    /// Submits a write or a sync. The shard has at most one write and one sync under way, so the queue stays short.
    pub(super) fn submit(&self, ticket: DiskTicket, operation: DiskOperation) {
        self.operations
            .send((ticket, operation))
            .expect("the thread lives as long as its writer");
    }
}

/// Lets the thread run on any core of the process: it was made by one that is pinned, and would wait for the executor's core, which
/// is busy just when there is much to write.
pub(super) fn roam() {
    let process = rustix::process::getpid();
    let roams = rustix::thread::sched_getaffinity(Some(process))
        .and_then(|cores| rustix::thread::sched_setaffinity(None, &cores));
    if let Err(error) = roams {
        tracing::debug!(%error, "the log's writer stays on its shard's core");
    }
}

/// The thread's files: the segment that it wrote to last, and where the others are.
struct Open {
    directory: PathBuf,
    last: Option<(SegmentId, LogFile)>,
    buffer: PageBuffer,
    way: Way,
}

/// Which way blocks take that nobody waits to be synced. To change it costs a write and a read of the page at which it changes, so it goes by the lengths of the last
/// few blocks and not by one.
#[derive(Default)]
struct Way {
    /// Mean length in bytes; a block counts an eighth.
    mean_len: usize,
    direct: bool,
}

impl Way {
    /// Whether a block of `len` bytes goes past the page cache.
    fn is_direct(&mut self, len: usize) -> bool {
        self.mean_len = self.mean_len - self.mean_len / 8 + len / 8;
        if self.mean_len >= limits::DIRECT_FROM_MEAN {
            self.direct = true;
        } else if self.mean_len < limits::DIRECT_FROM_MEAN / 2 {
            self.direct = false;
        }
        self.direct
    }
}

/// One segment's file.
struct LogFile {
    through_cache: File,
    /// The same, for writes past the page cache, where the filesystem allows that.
    past_cache: Option<File>,
}

impl Open {
    fn carry_out(&mut self, operation: DiskOperation) -> DiskOutcome {
        match operation {
            DiskOperation::Write {
                segment,
                offset,
                mut block,
                sync,
            } => {
                block.seal(thread::yield_now);
                let goes_past = sync || self.way.is_direct(block.len());
                let (file, buffer) = self.file(segment)?;
                match &file.past_cache {
                    Some(direct) if goes_past => {
                        buffer.write(direct, offset, block.parts())?;
                    }
                    _ => {
                        buffer.forget();
                        write_through(&file.through_cache, offset, block.parts())?;
                    }
                }
                if sync {
                    file.through_cache.sync_data()?;
                }
                Ok(DiskDone::Written(block))
            }
            DiskOperation::Sync { segment } => {
                self.file(segment)?.0.through_cache.sync_data()?;
                Ok(DiskDone::Synced)
            }
            other => unreachable!("{other:?} is not the log writer's"),
        }
    }

    fn file(&mut self, segment: SegmentId) -> io::Result<(&LogFile, &mut PageBuffer)> {
        if self.last.as_ref().is_none_or(|(open, _)| *open != segment) {
            self.buffer.forget();
            let path = self.directory.join(file_name(segment));
            let file = LogFile {
                through_cache: OpenOptions::new().write(true).open(&path)?,
                past_cache: direct::open(&path)?,
            };
            self.last = Some((segment, file));
        }
        let (_, file) = self.last.as_ref().expect("it was opened just now");
        Ok((file, &mut self.buffer))
    }
}

/// Writes `parts` one behind the other at `offset`, into the page cache.
fn write_through<'a>(
    file: &File,
    offset: u64,
    parts: impl Iterator<Item = &'a [u8]>,
) -> io::Result<()> {
    for (number, (offset, slice)) in slices(offset, parts).enumerate() {
        if number > 0 {
            // An executor whose core this thread is on has waited for long enough.
            thread::yield_now();
        }
        write_all(file, offset, slice)?;
    }
    Ok(())
}

/// Cuts what is to be written at `offset` into slices, each with where it goes.
///
/// They are cut where the file has a boundary of a page, and nowhere else: between two writes the process may die, and recovery relies on no sector
/// of the log being written in part. The kernel, too, stops within a write at such boundaries alone.
fn slices<'a>(
    mut offset: u64,
    parts: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = (u64, Vec<IoSlice<'a>>)> {
    const _: () = assert!(limits::WRITE_SLICE_BYTES.is_multiple_of(4096));
    let mut parts = parts;
    let mut rest: &[u8] = &[];
    std::iter::from_fn(move || {
        let start = offset;
        let end = (start + 1).next_multiple_of(limits::WRITE_SLICE_BYTES as u64);
        let mut slice = Vec::new();
        while offset < end {
            if rest.is_empty() {
                match parts.next() {
                    Some(part) => rest = part,
                    None => break,
                }
            }
            let (taken, left) = rest.split_at(rest.len().min((end - offset) as usize));
            slice.push(IoSlice::new(taken));
            rest = left;
            offset += taken.len() as u64;
        }
        (!slice.is_empty()).then_some((start, slice))
    })
}

/// Writes all of a slice by one call, or by more if the kernel takes less.
fn write_all(file: &File, mut offset: u64, mut slice: Vec<IoSlice<'_>>) -> io::Result<()> {
    let mut left = &mut slice[..];
    while !left.is_empty() {
        let written = match rustix::io::pwritev(file, left, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        offset += written as u64;
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of 131,264 bytes that began in the middle of a sector was written in two calls, the second for its last 192 bytes. The process was
    /// killed between them, and the next start called the block damaged: half of a sector was there.
    #[test]
    fn a_block_is_cut_at_pages_alone() {
        let bytes: Vec<u8> = (0..400_000u32).map(|number| number as u8).collect();
        let parts = [&bytes[..100], &[], &bytes[100..300_001], &bytes[300_001..]];
        for offset in [0, 3_600_576, 4096 * 32, 131_071] {
            let mut at = offset;
            let mut written = Vec::new();
            for (start, slice) in slices(offset, parts.into_iter()) {
                assert_eq!(start, at, "slices follow one another");
                assert!(start == offset || start.is_multiple_of(4096), "{start}");
                for part in &slice {
                    written.extend_from_slice(part);
                    at += part.len() as u64;
                }
            }
            assert_eq!(written, bytes);
        }
    }

    /// What `write_all` leaves out would be zeros in an acknowledged block.
    #[test]
    fn all_parts_reach_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = File::create(&path).unwrap();
        let parts: [&[u8]; 3] = [b"one", b"two", b"three"];
        for (offset, slice) in slices(5, parts.into_iter()) {
            write_all(&file, offset, slice).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"\0\0\0\0\0onetwothree");
    }
}
