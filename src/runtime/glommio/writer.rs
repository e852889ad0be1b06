//! The thread that writes a shard's log: one write and one fdatasync after the other.
//!
//! A log is written in order, one block at a time, so there is nothing for io_uring to overlap; and a buffered write to ext4 and an fdatasync each
//! end up on a kernel worker anyway, which shares the executor's core and has to be waited for twice. One thread of our own does both in
//! a row on whatever core is free and answers once. It blocks; the executor never does. It also goes over the bytes of large values, whose checksums
//! would hold the executor up.
//!
//! A block that is to be synced at once goes past the page cache (`direct`). One that isn't is written as soon as it is in memory that outlives the process (`write_behind`), where there is such, and this thread
//! writes many of them to the file together. What isn't synced goes past the page cache when writes are large: then that takes less CPU, and the kernel never makes the
//! thread wait because too much is waiting to be written. Small ones go through the page cache, which answers sooner.
//!
//! Operations are carried out in the order in which they were submitted. Their outcomes come back over a channel that the executor
//! looks into whenever it looks for connections, and that wakes it when it sleeps.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use flume::{Receiver, RecvError, RecvTimeoutError, Sender};

use super::direct::{self, PageBuffer};
use super::segments::file_name;
use super::watchdog::Pulse;
use super::write_behind::{Tell, WriteBehind};
use crate::limits;
use crate::storage::disk::{DiskDone, DiskOperation, DiskOutcome, DiskTicket};
use crate::types::{SegmentId, ShardId};

/// What was asked for, and how it ended.
pub(super) type Completion = (DiskTicket, DiskOutcome);

/// The executor's end of a log writer.
#[derive(Debug)]
pub(super) struct LogWriter {
    orders: Sender<LogOrder>,
    behind: Option<Arc<WriteBehind>>,
}

/// What the thread is told.
#[derive(Debug)]
enum LogOrder {
    Operation(DiskTicket, DiskOperation),
    /// To write what has gathered when a moment has passed.
    FlushSoon,
    /// The same, now.
    Flush,
}

impl LogWriter {
    /// Starts the thread of one shard. It ends with the writer. Outcomes go to `done`. What isn't to be synced may be written `behind`.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub(super) fn start(
        shard: ShardId,
        directory: PathBuf,
        pulse: Arc<Pulse>,
        done: Sender<Completion>,
        behind: Option<WriteBehind>,
    ) -> io::Result<LogWriter> {
        let (orders, submitted) = flume::unbounded();
        let buffer = PageBuffer::new()?;
        let behind = behind.map(Arc::new);
        let mut open = Open {
            directory,
            last: None,
            buffer,
            way: Way::default(),
            behind: behind.clone(),
            failed: None,
        };
        thread::Builder::new()
            .name(format!("log-{shard}"))
            .spawn(move || {
                roam();
                while let Ok(order) = next_order(&submitted) {
                    if let LogOrder::Operation(ticket, operation) = order {
                        let outcome = open.carry_out(operation);
                        if done.send((ticket, outcome)).is_err() {
                            return;
                        }
                        pulse.sent_to();
                    } else if let Err(error) = open.flush() {
                        tracing::error!(%shard, %error, "what was acknowledged can't be written to the log's file; the shard takes no more writes");
                    }
                }
            })?;
        Ok(LogWriter { orders, behind })
    }

    /// Submits a write or a sync. The shard has at most one write and one sync under way, so the queue stays short. Answers the outcome of a block that
    /// is written at once.
    pub(super) fn submit(
        &self,
        ticket: DiskTicket,
        operation: DiskOperation,
    ) -> Option<DiskOutcome> {
        if let Some(behind) = &self.behind
            && let DiskOperation::Write {
                segment,
                offset,
                block,
                sync: false,
            } = &operation
            && let Some(tell) = behind.take(*segment, *offset, block)
        {
            match tell {
                Tell::Nothing => {}
                Tell::Soon => self.order(LogOrder::FlushSoon),
                Tell::Now => self.order(LogOrder::Flush),
            }
            return match operation {
                DiskOperation::Write { block, .. } => Some(Ok(DiskDone::Written(block))),
                other => unreachable!("{other:?} was a write just now"),
            };
        }
        self.order(LogOrder::Operation(ticket, operation));
        None
    }

    fn order(&self, order: LogOrder) {
        self.orders
            .send(order)
            .expect("the thread lives as long as its writer");
    }
}

/// Waits for what is to be done next. What is only due soon gives way to what comes meanwhile, for that begins with a flush itself.
fn next_order(orders: &Receiver<LogOrder>) -> Result<LogOrder, RecvError> {
    match orders.recv()? {
        LogOrder::FlushSoon => {
            match orders.recv_timeout(Duration::from_nanos(limits::WRITE_BEHIND_NS)) {
                Ok(order) => Ok(order),
                Err(RecvTimeoutError::Timeout) => Ok(LogOrder::Flush),
                Err(RecvTimeoutError::Disconnected) => Err(RecvError::Disconnected),
            }
        }
        order => Ok(order),
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
    behind: Option<Arc<WriteBehind>>,
    /// Why something that was acknowledged could not be written: nothing behind it is written either.
    failed: Option<Failure>,
}

/// An error that can be given more than once.
#[derive(Clone, Debug)]
struct Failure {
    code: Option<i32>,
    text: String,
}

impl Failure {
    fn of(error: &io::Error) -> Failure {
        Failure {
            code: error.raw_os_error(),
            text: error.to_string(),
        }
    }

    fn again(&self) -> io::Error {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other(self.text.clone()),
        }
    }
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
        self.flush()?;
        match operation {
            DiskOperation::Write {
                segment,
                offset,
                mut block,
                sync,
            } => {
                block.seal(thread::yield_now);
                self.write(segment, offset, block.len(), sync, block.parts())?;
                if sync {
                    self.file(segment)?.0.through_cache.sync_data()?;
                }
                if let Some(behind) = &self.behind {
                    behind.rebase(segment, offset, &block);
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

    /// Writes what has gathered to its file.
    fn flush(&mut self) -> io::Result<()> {
        if let Some(failure) = &self.failed {
            return Err(failure.again());
        }
        let Some(behind) = self.behind.clone() else {
            return Ok(());
        };
        let Some((segment, offset, parts)) = behind.begin_flush() else {
            return Ok(());
        };
        let len = parts[0].len() + parts[1].len();
        if let Err(error) = self.write(segment, offset, len, false, parts.into_iter()) {
            behind.fail();
            self.failed = Some(Failure::of(&error));
            return Err(error);
        }
        behind.flushed(offset + len as u64);
        Ok(())
    }

    /// Writes `parts`, `len` bytes together, one behind the other at `offset`.
    fn write<'a>(
        &mut self,
        segment: SegmentId,
        offset: u64,
        len: usize,
        sync: bool,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let goes_past = sync || self.way.is_direct(len);
        let (file, buffer) = self.file(segment)?;
        match &file.past_cache {
            Some(direct) if goes_past => buffer.write(direct, offset, parts),
            _ => {
                buffer.forget();
                write_through(&file.through_cache, offset, parts)
            }
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
    use super::super::write_behind::tests::{self as write_behind, SEGMENT, block, segment, shard};
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

    /// The log's thread as it is, with memory behind which it writes, and what came of what it was told to do.
    fn thread() -> (tempfile::TempDir, Open) {
        let (directory, memory) = shard();
        let open = Open {
            directory: directory.path().to_owned(),
            last: None,
            buffer: PageBuffer::new().unwrap(),
            way: Way::default(),
            behind: Some(Arc::new(write_behind::create(&memory))),
            failed: None,
        };
        (directory, open)
    }

    fn write(offset: u64, byte: u8, sync: bool) -> DiskOperation {
        DiskOperation::Write {
            segment: SEGMENT,
            offset,
            block: block(byte, 64),
            sync,
        }
    }

    fn file(directory: &tempfile::TempDir) -> Vec<u8> {
        std::fs::read(segment(directory.path())).unwrap()
    }

    /// A sync that doesn't cover what was acknowledged before it makes `interval=50ms` lose more than it says, and one that fails has to be told.
    #[test]
    fn whatever_is_done_comes_behind_what_was_acknowledged() {
        let (directory, mut open) = thread();
        let behind = open.behind.clone().unwrap();
        assert!(behind.take(SEGMENT, 4096, &block(9, 64)).is_none());
        open.carry_out(write(4096, 1, false)).unwrap();
        behind.take(SEGMENT, 4160, &block(2, 64)).unwrap();
        assert_eq!(file(&directory)[4160], 0, "nobody has written it yet");
        open.carry_out(DiskOperation::Sync { segment: SEGMENT })
            .unwrap();
        assert_eq!(file(&directory)[4096..4224], [[1; 64], [2; 64]].concat());
        behind.take(SEGMENT, 4224, &block(3, 64)).unwrap();
        open.carry_out(write(4288, 4, true)).unwrap();
        behind.take(SEGMENT, 4352, &block(5, 64)).unwrap();
        open.flush().unwrap();
        let expected = [[3; 64], [4; 64], [5; 64], [0; 64]].concat();
        assert_eq!(file(&directory)[4224..4480], expected);
    }

    /// What was acknowledged can't be written. To acknowledge more, or to write what comes behind it, would leave a hole in the log.
    #[test]
    fn nothing_follows_what_could_not_be_written() {
        let (directory, mut open) = thread();
        let behind = open.behind.clone().unwrap();
        open.carry_out(write(4096, 1, false)).unwrap();
        behind.take(SEGMENT, 4160, &block(2, 64)).unwrap();
        let read_only = || File::open(segment(directory.path())).unwrap();
        let (_, good) = open
            .last
            .replace((
                SEGMENT,
                LogFile {
                    through_cache: read_only(),
                    past_cache: None,
                },
            ))
            .unwrap();
        open.flush().unwrap_err();
        open.last = Some((SEGMENT, good));
        assert!(behind.take(SEGMENT, 4224, &block(3, 64)).is_none());
        let error = open.carry_out(write(4224, 3, false)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        open.carry_out(DiskOperation::Sync { segment: SEGMENT })
            .unwrap_err();
        assert_eq!(file(&directory)[4160..4352], [0; 192]);
    }

    /// A block that is to be synced is answered when it is, and one that is not, at once: not the other way round.
    #[test]
    fn only_what_nobody_waits_for_is_written_at_once() {
        let (directory, memory) = shard();
        let (done, completions) = flume::unbounded();
        let writer = LogWriter::start(
            ShardId(0),
            directory.path().to_owned(),
            Pulse::all(1).remove(0),
            done,
            Some(write_behind::create(&memory)),
        )
        .unwrap();
        let ticket = DiskTicket;
        assert!(writer.submit(ticket(1), write(4096, 1, false)).is_none());
        assert!(completions.recv().unwrap().1.is_ok());
        let at_once = writer.submit(ticket(2), write(4160, 2, false));
        assert!(matches!(at_once, Some(Ok(DiskDone::Written(_)))));
        assert!(writer.submit(ticket(3), write(4224, 3, true)).is_none());
        let (number, outcome) = completions.recv().unwrap();
        assert_eq!(number, ticket(3));
        assert!(outcome.is_ok());
        let expected = [[1; 64], [2; 64], [3; 64]].concat();
        assert_eq!(file(&directory)[4096..4288], expected);
        // Nobody asks for anything more, and it gets to the file all the same.
        assert!(writer.submit(ticket(4), write(4288, 4, false)).is_some());
        while file(&directory)[4288..4352] != [4; 64] {
            thread::yield_now();
        }
    }
}
