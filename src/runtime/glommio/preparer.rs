//! The thread that makes a shard's next segment ready.
//!
//! Making one writes as many bytes as the segment holds. io_uring would do that on kernel workers that share the executor's core, and while a
//! worker copies zeros the executor waits; so it is a thread of its own, which the scheduler puts behind everything else that wants a core.
//!
//! The file is made under its final name: space is reserved first, so that a full disk says so at once; then the header and zeros are
//! written a slice at a time, synced every few slices so that neither the page cache nor the disk's queue fills up and the
//! shard's own writes keep their pace; then the directory is synced. A crash on the way leaves a file that is shorter, or whose header
//! is missing or says *prepared*: recovery takes any of them for a segment that has not begun and deletes it. A failure
//! on the way deletes the half-made file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use flume::Sender;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::segments::{file_name, sync_directory};
use super::watchdog::Pulse;
use super::writer::{Completion, roam};
use crate::limits;
use crate::ports::{DiskDone, DiskTicket};
use crate::types::{SegmentId, ShardId};

/// How far behind others the thread stands, as `nice` counts.
const NICE: i32 = 10;

/// A segment to make.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) ticket: DiskTicket,
    pub(super) segment: SegmentId,
    /// Of the whole file, in bytes.
    pub(super) len: u64,
    pub(super) header: Vec<u8>,
    /// Who waits for the first segment to know whether the node can start.
    pub(super) told: Option<Sender<io::Result<()>>>,
}

/// The executor's end of the thread, which ends with it.
#[derive(Debug)]
pub(super) struct Preparer {
    orders: Sender<Order>,
}

impl Preparer {
    /// Starts the thread of one shard. Outcomes go to `done`.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub(super) fn start(
        shard: ShardId,
        directory: PathBuf,
        pulse: Arc<Pulse>,
        done: Sender<Completion>,
    ) -> io::Result<Preparer> {
        let (orders, ordered) = flume::unbounded::<Order>();
        thread::Builder::new()
            .name(format!("prepare-{shard}"))
            .spawn(move || {
                roam();
                stand_behind();
                while let Ok(order) = ordered.recv() {
                    let made = prepare(&directory, &order);
                    if let Some(told) = order.told {
                        let made = match &made {
                            Ok(()) => Ok(()),
                            Err(error) => Err(same_error(error)),
                        };
                        // Nobody listens any more if the start has failed elsewhere.
                        let _ = told.send(made);
                    }
                    if done
                        .send((order.ticket, made.map(|()| DiskDone::Done)))
                        .is_err()
                    {
                        return;
                    }
                    pulse.sent_to();
                }
            })?;
        Ok(Preparer { orders })
    }

    /// Submits a segment to make. A shard makes one at a time.
    pub(super) fn submit(&self, order: Order) {
        self.orders
            .send(order)
            .expect("the thread lives as long as its preparer");
    }
}

/// Lets everything else that wants a core go before this thread.
fn stand_behind() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "making segments ready has the priority of everything else");
    }
}

fn same_error(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Makes a segment's file. Everything is synced when it returns.
fn prepare(directory: &Path, order: &Order) -> io::Result<()> {
    let path = directory.join(file_name(order.segment));
    let made = File::create(&path)
        .and_then(|file| fill(&file, order.len, &order.header))
        .and_then(|()| sync_directory(directory));
    if made.is_err() {
        // The file may be gone or refuse to go; what matters is why it could not be made.
        let _ = fs::remove_file(&path);
    }
    made
}

/// Reserves `len` bytes and writes `header` and zeros over them.
fn fill(file: &File, len: u64, header: &[u8]) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
        // Some filesystems can't reserve; writing finds out just as well.
        Ok(()) | Err(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    file.write_all_at(header, 0)?;
    let zeros = vec![0; limits::PREPARE_SLICE_BYTES as usize];
    let mut offset = header.len() as u64;
    let mut unsynced = offset;
    while offset < len {
        let slice = (len - offset).min(limits::PREPARE_SLICE_BYTES);
        file.write_all_at(&zeros[..slice as usize], offset)?;
        offset += slice;
        unsynced += slice;
        if unsynced >= limits::PREPARE_SYNC_BYTES {
            file.sync_data()?;
            unsynced = 0;
        }
        thread::yield_now();
    }
    file.sync_all()
}
