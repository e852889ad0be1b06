//! The thread behind a shard: makes its next segment ready, file and memory, takes away segments that were compacted, and gives back memory that is no
//! longer used. What is left of its time goes to saved indexes and to segments that are to be read back into memory (`summaries`).
//!
//! Making one writes as many bytes as the segment holds. io_uring would do that on kernel workers that share the executor's core, and while a
//! worker copies zeros the executor waits; so it is a thread of its own, which the scheduler puts behind everything else that wants a core.
//!
//! The file is made under its final name: space is reserved first, so that a full disk says so at once; then the header and, with `sync always`, zeros
//! are written a slice at a time (an fdatasync need not tell the filesystem then that space came into use), synced every few slices so that neither the page cache nor the disk's queue fills up and the
//! shard's own writes keep their pace; then the directory is synced. A crash on the way leaves a file that is shorter, or whose header
//! is missing or says *prepared*: recovery takes any of them for a segment that has not begun and deletes it. A failure
//! on the way deletes the half-made file.
//!
//! Populating a segment's memory and giving megabytes back to the kernel take milliseconds each, which is why they are done here too.
//! Making a segment can take seconds, and meanwhile every cold read of a large value leaves memory to be given back: so that is done
//! between two slices. And a shard whose active segment is full can't write until the next one is ready: so that, in turn, is made between
//! two pieces of what is done in the background.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use flume::{Receiver, Sender};
use memmap2::{MmapMut, UncheckedAdvice};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::direct;
use super::segments::{file_name, is_shared, summary_name, sync_directory, unshare};
use super::summaries;
use super::watchdog::Pulse;
use super::writer::{Completion, roam};
use crate::limits;
use crate::storage::buffer::Reaper;
use crate::storage::disk::{DiskDone, DiskOutcome, DiskTicket};
use crate::storage::format::SEGMENT_HEADER_LEN;
use crate::storage::hash::KeyIdentifier;
use crate::storage::log::{ContentPlace, Retired, SegmentMemory};
use crate::types::{Position, SegmentId, ShardId};

/// How far behind others the thread stands, as `nice` counts.
const NICE: i32 = 10;

/// What the thread is to do.
enum Order {
    Prepare(Preparation),
    Background(DiskTicket, Background),
    Remove(Removing),
    Release(Vec<Retired>),
    Unmap(MmapMut),
}

/// Bytes of a mapping that are given back at a time.
const UNMAP_SLICE_BYTES: usize = 1 << 20;

/// A segment to make.
#[derive(Debug)]
pub(super) struct Preparation {
    pub(super) ticket: DiskTicket,
    pub(super) segment: SegmentId,
    /// Of the whole file, in bytes.
    pub(super) len: u64,
    pub(super) header: Vec<u8>,
    /// To be used again.
    pub(super) memory: Option<SegmentMemory>,
    /// Write zeros, don't only reserve space.
    pub(super) zeros: bool,
    /// Who waits for the first segment to know whether the node can start.
    pub(super) told: Option<Sender<io::Result<()>>>,
}

/// What nobody waits for.
#[derive(Debug)]
pub(super) enum Background {
    /// Make a left segment's summary.
    Summarize {
        segment: SegmentId,
        /// Where its last block ends.
        end: Position,
        identifier: KeyIdentifier,
    },
    /// Read a segment's content into memory.
    Load(ContentPlace),
}

/// Segments to take away: see [`DiskOperation::Remove`](crate::storage::disk::DiskOperation::Remove).
#[derive(Debug)]
pub(super) struct Removing {
    pub(super) ticket: DiskTicket,
    pub(super) stub: SegmentId,
    pub(super) header: Vec<u8>,
    pub(super) delete: Vec<SegmentId>,
}

/// What the thread does next.
enum Job {
    Prepare(Preparation),
    Remove(Removing),
    Background(DiskTicket, Background),
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
                let mut worker = Worker {
                    directory,
                    pulse,
                    done,
                    orders: Orders {
                        ordered,
                        preparations: VecDeque::new(),
                        removals: VecDeque::new(),
                        background: VecDeque::new(),
                    },
                };
                worker.run();
            })?;
        Ok(Preparer { orders })
    }

    /// Submits a segment to make. A shard makes one at a time.
    pub(super) fn prepare(&self, preparation: Preparation) {
        self.submit(Order::Prepare(preparation));
    }

    /// Submits something that nobody waits for. A shard has one such thing done at a time.
    pub(super) fn background(&self, ticket: DiskTicket, background: Background) {
        self.submit(Order::Background(ticket, background));
    }

    /// Submits segments to take away. A shard takes one away at a time.
    pub(super) fn remove(&self, removing: Removing) {
        self.submit(Order::Remove(removing));
    }

    /// Has memory given back to the kernel.
    pub(super) fn release(&self, retired: Vec<Retired>) {
        self.submit(Order::Release(retired));
    }

    /// Gives mappings back to the kernel on the thread.
    pub(super) fn reaper(&self) -> Reaper {
        let orders = self.orders.clone();
        Arc::new(move |map| {
            // If the thread is gone, the process ends, or the mapping is given back here.
            let _ = orders.send(Order::Unmap(map));
        })
    }

    fn submit(&self, order: Order) {
        self.orders
            .send(order)
            .map_err(|_| "the thread has ended")
            .expect("the thread lives as long as its preparer");
    }
}

/// The thread.
struct Worker {
    directory: PathBuf,
    pulse: Arc<Pulse>,
    done: Sender<Completion>,
    orders: Orders,
}

impl Worker {
    /// Works until the preparer is gone.
    fn run(&mut self) {
        while let Some(job) = self.orders.next() {
            match job {
                Job::Prepare(preparation) => self.prepare(preparation),
                Job::Remove(removing) => {
                    let removed = remove(&self.directory, &removing);
                    self.tell(removing.ticket, removed.map(|()| DiskDone::Removed));
                }
                Job::Background(ticket, background) => self.carry_out(ticket, &background),
            }
        }
    }

    fn prepare(&mut self, preparation: Preparation) {
        let (ticket, told) = (preparation.ticket, preparation.told.clone());
        let made = prepare(&self.directory, preparation, || self.orders.give_back());
        if let Some(told) = told {
            let made = match &made {
                Ok(_) => Ok(()),
                Err(error) => Err(same_error(error)),
            };
            // Nobody listens any more if the start has failed elsewhere.
            let _ = told.send(made);
        }
        self.tell(ticket, made.map(DiskDone::Prepared));
    }

    fn carry_out(&mut self, ticket: DiskTicket, background: &Background) {
        let directory = self.directory.clone();
        let outcome = match background {
            Background::Summarize {
                segment,
                end,
                identifier,
            } => {
                let saved =
                    summaries::save(&directory, *segment, *end, *identifier, || self.between());
                if let Err(error) = &saved {
                    tracing::warn!(%segment, %error, "the segment's index can't be saved; the next start will read the segment");
                }
                saved.map(|()| DiskDone::Summarized)
            }
            Background::Load(place) => {
                let loaded = summaries::load(&directory, place, || self.between());
                if let Err(error) = &loaded {
                    tracing::warn!(segment = %place.segment, %error, "can't take a segment back into memory");
                }
                loaded.map(|(content, spare)| {
                    if let Some(spare) = spare {
                        unmap(&spare.into_map());
                    }
                    DiskDone::Loaded(content)
                })
            }
        };
        self.tell(ticket, outcome);
    }

    /// Between two pieces of what nobody waits for: everything that has come and is more urgent.
    fn between(&mut self) {
        self.orders.give_back();
        while let Some(preparation) = self.orders.preparations.pop_front() {
            self.prepare(preparation);
        }
    }

    fn tell(&self, ticket: DiskTicket, outcome: DiskOutcome) {
        // Without its executor the thread ends at its next look for orders.
        if self.done.send((ticket, outcome)).is_ok() {
            self.pulse.sent_to();
        }
    }
}

/// What the thread was told and has not done.
struct Orders {
    ordered: Receiver<Order>,
    preparations: VecDeque<Preparation>,
    removals: VecDeque<Removing>,
    background: VecDeque<(DiskTicket, Background)>,
}

impl Orders {
    /// What to do next; until there is something, memory is given back. `None`: the preparer is gone.
    fn next(&mut self) -> Option<Job> {
        loop {
            self.give_back();
            if let Some(preparation) = self.preparations.pop_front() {
                return Some(Job::Prepare(preparation));
            }
            if let Some(removing) = self.removals.pop_front() {
                return Some(Job::Remove(removing));
            }
            if let Some((ticket, background)) = self.background.pop_front() {
                return Some(Job::Background(ticket, background));
            }
            let order = self.ordered.recv().ok()?;
            self.take(order);
        }
    }

    /// Gives back the memory that has come to be given back.
    fn give_back(&mut self) {
        while let Ok(order) = self.ordered.try_recv() {
            self.take(order);
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Prepare(preparation) => self.preparations.push_back(preparation),
            Order::Remove(removing) => self.removals.push_back(removing),
            Order::Background(ticket, background) => {
                self.background.push_back((ticket, background));
            }
            Order::Release(retired) => retired
                .into_iter()
                .filter_map(Retired::into_map)
                .for_each(|map| unmap(&map)),
            Order::Unmap(map) => unmap(&map),
        }
    }
}

/// Lets everything else that wants a core go before this thread.
pub fn stand_behind() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "what is done in the background has the priority of everything else");
    }
}

/// Gives the pages of a mapping that is about to be dropped back to the kernel in slices: other threads of the process can't map memory while the kernel is at it.
fn unmap(map: &MmapMut) {
    for offset in (0..map.len()).step_by(UNMAP_SLICE_BYTES) {
        let len = (map.len() - offset).min(UNMAP_SLICE_BYTES);
        #[expect(
            unsafe_code,
            reason = "no safe call gives part of a mapping back, see the argument"
        )]
        // SAFETY: the bytes become zeros, and nobody reads them: the caller owns the mapping and drops it next.
        let given_back =
            unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, len) };
        // Dropping the mapping gives back whatever is left.
        if given_back.is_err() {
            break;
        }
    }
}

fn same_error(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Makes a segment's file, and populates the memory for its content. Everything is synced when it returns. `between` is called after each
/// slice that is written.
fn prepare(
    directory: &Path,
    preparation: Preparation,
    between: impl FnMut(),
) -> io::Result<SegmentMemory> {
    let path = directory.join(file_name(preparation.segment));
    let made = File::create(&path)
        .and_then(|file| fill(&path, &file, &preparation, between))
        .and_then(|()| sync_directory(directory))
        .and_then(|()| {
            if let Some(memory) = preparation.memory {
                return Ok(memory);
            }
            let mut memory = SegmentMemory::new(preparation.len as usize - SEGMENT_HEADER_LEN)?;
            memory.populate();
            Ok(memory)
        });
    if made.is_err() {
        // It takes no space then, and a shard whose first segment it is does not look as if it had lost all its files. Whether this fails too does not
        // matter; why the segment could not be made does.
        let _ = OpenOptions::new().write(true).truncate(true).open(&path);
    }
    made
}

/// Reserves the segment's space and writes its header, and zeros over the rest. Space that is only reserved reads as zeros too, so where nobody
/// waits for fdatasyncs, writing them is left out: it would double what is written.
fn fill(
    path: &Path,
    file: &File,
    preparation: &Preparation,
    mut between: impl FnMut(),
) -> io::Result<()> {
    let Preparation { len, header, .. } = preparation;
    let len = *len;
    let is_reserved = match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) => true,
        // Some filesystems can't reserve; writing finds out just as well.
        Err(Errno::OPNOTSUPP) => false,
        Err(error) => return Err(error.into()),
    };
    file.write_all_at(header, 0)?;
    if is_reserved && !preparation.zeros {
        return file.sync_all();
    }
    // Past the page cache, if that can be: nobody reads zeros, and what was in the cache the log's own writes would have to push out again.
    let direct = if is_reserved {
        direct::open(path)?
    } else {
        None
    };
    let to = direct.as_ref().unwrap_or(file);
    let zeros = MmapMut::map_anon(limits::PREPARE_SLICE_BYTES as usize)?;
    let mut offset = header.len() as u64;
    let mut unsynced = offset;
    while offset < len {
        let slice = (len - offset).min(limits::PREPARE_SLICE_BYTES);
        to.write_all_at(&zeros[..slice as usize], offset)?;
        offset += slice;
        unsynced += slice;
        if unsynced >= limits::PREPARE_SYNC_BYTES {
            file.sync_data()?;
            unsynced = 0;
        }
        between();
        thread::yield_now();
    }
    file.sync_all()
}

/// Makes one file a stub, then deletes those that it stands for. A file is emptied before it is deleted: whoever has it open would keep its space.
///
/// A file that a backup has as well is left to that as it is. A new one takes its place: renamed, it is there or not after a crash, as a sector is.
pub(super) fn remove(directory: &Path, removing: &Removing) -> io::Result<()> {
    let open = |segment| {
        let path = directory.join(file_name(segment));
        OpenOptions::new().write(true).open(path)
    };
    let mut stub = open(removing.stub)?;
    if is_shared(&stub)? {
        let path = directory.join(file_name(removing.stub));
        stub = unshare(&path, SEGMENT_HEADER_LEN as u64, |new| {
            new.write_all_at(&removing.header, 0)
        })?;
    } else {
        stub.write_all_at(&removing.header, 0)?;
        stub.sync_all()?;
    }
    // A saved index is not used beside a stub.
    for segment in removing.delete.iter().chain([&removing.stub]) {
        match fs::remove_file(directory.join(summary_name(*segment))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    stub.set_len(SEGMENT_HEADER_LEN as u64)?;
    for segment in &removing.delete {
        let file = open(*segment)?;
        if !is_shared(&file)? {
            file.set_len(0)?;
        }
        fs::remove_file(directory.join(file_name(*segment)))?;
    }
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that has an old segment's file open, this one's own readers among them, would keep all of its space.
    #[test]
    fn a_file_that_is_removed_gives_its_space_back_though_it_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = |number| directory.path().join(file_name(SegmentId(number)));
        for number in [1, 2, 3] {
            fs::write(path(number), vec![1; 3 * SEGMENT_HEADER_LEN]).unwrap();
        }
        let still_open = File::open(path(2)).unwrap();
        let removing = Removing {
            ticket: DiskTicket(1),
            stub: SegmentId(3),
            header: vec![7; 1024],
            delete: vec![SegmentId(1), SegmentId(2)],
        };
        remove(directory.path(), &removing).unwrap();
        assert!(!path(1).exists() && !path(2).exists());
        assert_eq!(still_open.metadata().unwrap().len(), 0);
        let stub = fs::read(path(3)).unwrap();
        assert_eq!(stub.len(), SEGMENT_HEADER_LEN);
        assert_eq!((&stub[..1024], stub[1024]), (&[7; 1024][..], 1));
    }

    /// A backup that is linked to a segment would lose it with the node: to a stub's header, and to the emptying of what the stub stands for.
    #[test]
    fn a_file_that_a_backup_has_too_stays_as_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let backup = tempfile::tempdir().unwrap();
        let path = |number| directory.path().join(file_name(SegmentId(number)));
        let kept = |number| backup.path().join(file_name(SegmentId(number)));
        for number in [1, 2] {
            fs::write(path(number), vec![number as u8; 3 * SEGMENT_HEADER_LEN]).unwrap();
            fs::hard_link(path(number), kept(number)).unwrap();
        }
        let removing = Removing {
            ticket: DiskTicket(1),
            stub: SegmentId(2),
            header: vec![7; 1024],
            delete: vec![SegmentId(1)],
        };
        remove(directory.path(), &removing).unwrap();
        for number in [1, 2] {
            let there = fs::read(kept(number)).unwrap();
            assert!(there == vec![number as u8; 3 * SEGMENT_HEADER_LEN]);
        }
        assert!(!path(1).exists());
        let stub = fs::read(path(2)).unwrap();
        assert_eq!(stub.len(), SEGMENT_HEADER_LEN);
        assert_eq!((&stub[..1024], stub[1024]), (&[7; 1024][..], 0));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    /// Every cold read of a large value leaves up to 16 MiB to be given back. Were they to wait until a segment of 256 MiB is written and
    /// synced, a few hundred such reads would take gigabytes.
    #[test]
    fn memory_is_given_back_while_a_segment_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let (order, ordered) = flume::unbounded();
        let mut orders = Orders {
            ordered,
            preparations: VecDeque::new(),
            removals: VecDeque::new(),
            background: VecDeque::new(),
        };
        let preparation = |number| Preparation {
            ticket: DiskTicket(number),
            segment: SegmentId(number),
            len: 4 * limits::PREPARE_SLICE_BYTES,
            header: vec![0; SEGMENT_HEADER_LEN],
            memory: None,
            zeros: true,
            told: None,
        };
        for number in [1, 2] {
            order.send(Order::Prepare(preparation(number))).unwrap();
        }
        let Some(Job::Prepare(first)) = orders.next() else {
            panic!("a segment to make")
        };
        let mut slices = 0;
        prepare(directory.path(), first, || {
            slices += 1;
            let map = MmapMut::map_anon(100).unwrap();
            order.send(Order::Unmap(map)).unwrap();
            orders.give_back();
            assert!(order.is_empty(), "it waits for nothing");
        })
        .unwrap();
        assert_eq!(slices, 4);
        let Some(Job::Prepare(next)) = orders.next() else {
            panic!("an order that came meanwhile is kept")
        };
        assert_eq!(next.segment, SegmentId(2));
    }
}
