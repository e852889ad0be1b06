//! The thread that writes a shard's log: one write and one fdatasync after the other.
//!
//! A log is written in order, one block at a time, so there is nothing for io_uring to overlap; and a buffered write to ext4 and an fdatasync each
//! end up on a kernel worker anyway, which shares the executor's core and has to be waited for twice. One thread of our own does both in
//! a row on whatever core is free and answers once. It blocks; the executor never does. It also goes over the bytes of large values, whose checksums
//! would hold the executor up.
//!
//! Operations are carried out in the order in which they were submitted. Their outcomes come back over a channel that the executor
//! looks into whenever it looks for connections, and that wakes it when it sleeps.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use flume::Sender;

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
        thread::Builder::new()
            .name(format!("log-{shard}"))
            .spawn(move || {
                roam();
                let mut open = Open {
                    directory,
                    last: None,
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
    last: Option<(SegmentId, File)>,
}

impl Open {
    fn carry_out(&mut self, operation: DiskOperation) -> DiskOutcome {
        match operation {
            DiskOperation::Write {
                segment,
                mut offset,
                mut block,
                sync,
            } => {
                block.seal(thread::yield_now);
                let file = self.file(segment)?;
                for part in block.parts() {
                    for slice in part.chunks(limits::WRITE_SLICE_BYTES) {
                        file.write_all_at(slice, offset)?;
                        offset += slice.len() as u64;
                        if slice.len() == limits::WRITE_SLICE_BYTES {
                            // An executor whose core this thread is on has waited for long enough.
                            thread::yield_now();
                        }
                    }
                }
                if sync {
                    file.sync_data()?;
                }
                Ok(DiskDone::Written(block))
            }
            DiskOperation::Sync { segment } => {
                self.file(segment)?.sync_data()?;
                Ok(DiskDone::Synced)
            }
            other => unreachable!("{other:?} is not the log writer's"),
        }
    }

    fn file(&mut self, segment: SegmentId) -> io::Result<&File> {
        if self.last.as_ref().is_none_or(|(open, _)| *open != segment) {
            self.last = Some((segment, open(&self.directory, segment)?));
        }
        Ok(&self.last.as_ref().expect("it was opened just now").1)
    }
}

fn open(directory: &Path, segment: SegmentId) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .open(directory.join(file_name(segment)))
}
