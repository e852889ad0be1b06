//! Blocks that nobody waits to be synced: acknowledged when they are in memory that outlives the process, and written to their file a little later, many at a time.
//!
//! With `--sync never` and `interval` a write is acknowledged when it is with the kernel. To call the kernel for each block, the thread of the log had to be woken, to sleep until the disk had taken the block, and to wake the
//! executor: a fifth of what a write cost. Bytes in a file of a `tmpfs` that is mapped are with the kernel once they are stored. So a block is copied there (`shared_ring`) and is
//! written: that is, in the file or where the next start finds it. The log's thread writes to the file what has gathered, [`WRITE_BEHIND_NS`](limits::WRITE_BEHIND_NS) after the first of it at the latest, and before it syncs.
//!
//! **What survives what.** A process that is killed: everything, as before. A machine that stops: what was synced, as before; what is lost of the rest is a few
//! milliseconds more. New is that a kill together with the loss of `/dev/shm` (a container that is made anew) takes what was not in the file yet: ten milliseconds of writes.
//!
//! **Where it is.** In `/dev/shm`, by the numbers of the shard's directory and its device, readable to its owner alone. Where there is no such filesystem, or no room on it, blocks are
//! written as they are where they are to be synced. A clean stop deletes it.
//!
//! **At a start** [`bring_back`] writes what is left to the segment's file, before anything reads that. Only if the bytes in the file before that place are those that
//! were there, so that nothing is put into a directory that was restored or changed meanwhile; recovery checks it all again as it checks everything.
//!
//! **Order.** The ring holds the end of one segment. The log's thread empties it before it does anything else that it is told to, so a sync covers what was acknowledged before it, and a block that
//! goes the other way (the first of a segment, a long one, one that is to be synced) comes behind what was before it. What can't be written to the file is an error of the next operation, and
//! of all that follow.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use rustix::fs::OFlags;

use super::segments::{SegmentsError, at, file_name};
use super::shared_ring::{Left, RING_FILE_LEN, SharedRing};
use crate::limits;
use crate::storage::log::OutgoingBlock;
use crate::types::SegmentId;

/// A filesystem in memory that every Linux has.
const MEMORY_FILESYSTEM: &str = "/dev/shm";

/// What the log's thread was last told of the ring.
const NOTHING: u8 = 0;
/// Something is in it.
const FILLING: u8 = 1;
/// It is to be emptied.
const FULL: u8 = 2;

/// One shard's blocks on their way to the file.
#[derive(Debug)]
pub(super) struct WriteBehind {
    ring: SharedRing,
    told: AtomicU8,
    /// Something could not be written to the file.
    failed: AtomicBool,
}

/// What the log's thread is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    Nothing,
    /// To empty the ring when a moment has passed.
    Soon,
    /// To empty it now.
    Now,
}

impl WriteBehind {
    /// Makes the memory for a shard whose files are in `directory`.
    ///
    /// # Errors
    /// As the kernel has it. The shard can do without.
    pub(super) fn create(directory: &Path) -> io::Result<WriteBehind> {
        WriteBehind::create_at(&path_for(directory)?)
    }

    fn create_at(path: &Path) -> io::Result<WriteBehind> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let ring = SharedRing::create(&file).inspect_err(|_| {
            // It is of no use, and there may be others that lack the room.
            let _ = fs::remove_file(path);
        })?;
        Ok(WriteBehind {
            ring,
            told: AtomicU8::new(NOTHING),
            failed: AtomicBool::new(false),
        })
    }

    /// The executor: takes a block, if it has a place here. Then it is written.
    pub(super) fn take(
        &self,
        segment: SegmentId,
        offset: u64,
        block: &OutgoingBlock,
    ) -> Option<Tell> {
        if self.failed.load(Ordering::Relaxed) || block.has_large_values() {
            return None;
        }
        if !self
            .ring
            .append(segment, offset, block.len(), block.parts())
        {
            return None;
        }
        // The bytes are there before this is read: either the other thread sees them, or this one sees that it was told nothing.
        let told = self.told.load(Ordering::SeqCst);
        let (told_now, tell) = match self.ring.unflushed_len() {
            limits::WRITE_BEHIND_FLUSH_LEN.. if told != FULL => (FULL, Tell::Now),
            _ if told == NOTHING => (FILLING, Tell::Soon),
            _ => return Some(Tell::Nothing),
        };
        self.told.store(told_now, Ordering::SeqCst);
        Some(tell)
    }

    /// The log's thread: what is to be written to the file now, and where.
    pub(super) fn begin_flush(&self) -> Option<(SegmentId, u64, [&[u8]; 2])> {
        self.told.store(NOTHING, Ordering::SeqCst);
        self.ring.unflushed()
    }

    /// The log's thread: it is written, up to `end`.
    pub(super) fn flushed(&self, end: u64) {
        self.ring.flushed(end);
    }

    /// The log's thread: nothing more is taken, for what was taken can't be written.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// The log's thread, while the executor waits for this block: it is in the file at `offset`, and what follows it may be taken.
    pub(super) fn rebase(&self, segment: SegmentId, offset: u64, block: &OutgoingBlock) {
        let len = block.len();
        self.ring
            .rebase(segment, offset + len as u64, len, block.parts());
    }
}

/// Where the memory for a shard's directory is.
fn path_for(directory: &Path) -> io::Result<PathBuf> {
    let directory = fs::metadata(directory)?;
    Ok(Path::new(MEMORY_FILESYSTEM).join(format!(
        "corduroy-{:x}-{:x}",
        directory.dev(),
        directory.ino()
    )))
}

/// Deletes the memory of a shard whose log is in its files, if there is any.
pub fn forget_written_behind(directory: &Path) {
    if let Ok(path) = path_for(directory) {
        // There may be none; and what is left is empty, and the next start deletes it.
        let _ = fs::remove_file(path);
    }
}

/// Writes what a killed process had acknowledged and not written to the files of `directory` there. Called before anything reads them.
///
/// # Errors
/// [`SegmentsError`] if it can't be written. It is still there then.
pub fn bring_back(directory: &Path) -> Result<(), SegmentsError> {
    match path_for(directory) {
        Ok(path) => bring_back_from(&path, directory),
        // There is no directory yet.
        Err(_) => Ok(()),
    }
}

fn bring_back_from(path: &Path, directory: &Path) -> Result<(), SegmentsError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "can't look for what a killed node had not written to its log");
            return Ok(());
        }
    };
    let left = read(&file).map_err(at("read", path))?;
    if let Some(left) = left.filter(|left| !left.bytes.is_empty()) {
        put(directory, &left)?;
    }
    fs::remove_file(path).or_else(|error| {
        tracing::warn!(file = %path.display(), %error, "can't delete what was brought back");
        Ok(())
    })
}

/// What is in the file, if it is this user's and a ring's.
fn read(file: &File) -> io::Result<Option<Left>> {
    let metadata = file.metadata()?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    if !is_own || !metadata.is_file() || metadata.len() != RING_FILE_LEN as u64 {
        return Ok(None);
    }
    let mut bytes = vec![0; RING_FILE_LEN];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Left::read(&bytes))
}

fn put(directory: &Path, left: &Left) -> Result<(), SegmentsError> {
    let Left {
        segment,
        offset,
        before,
        bytes,
    } = left;
    let path = directory.join(file_name(*segment));
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::warn!(%segment, "what a killed node had not written to its log belongs to a segment that is not there; it is left out");
            return Ok(());
        }
        opened => opened.map_err(at("open", &path))?,
    };
    let len = file.metadata().map_err(at("look at", &path))?.len();
    let mut there = vec![0; before.len()];
    let is_same = offset + bytes.len() as u64 <= len
        && file
            .read_exact_at(&mut there, offset - before.len() as u64)
            .is_ok()
        && there == *before;
    if !is_same {
        tracing::warn!(%segment, offset, len = bytes.len(), "the segment is not the one that a killed node wrote to; what that had not written is left out");
        return Ok(());
    }
    file.write_all_at(bytes, *offset)
        .and_then(|()| file.sync_data())
        .map_err(at("write to", &path))?;
    tracing::info!(%segment, offset, len = bytes.len(), "brought back what a killed node had not written to its log");
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const SEGMENT: SegmentId = SegmentId(3);
    const FILE_LEN: usize = 64 << 10;

    /// A shard's directory with one segment's file, and where the memory is.
    pub(in super::super) fn shard() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir_in(".").unwrap();
        fs::write(segment(directory.path()), vec![0; FILE_LEN]).unwrap();
        let memory = directory.path().join("memory");
        (directory, memory)
    }

    pub(in super::super) fn segment(directory: &Path) -> PathBuf {
        directory.join(file_name(SEGMENT))
    }

    pub(in super::super) fn create(memory: &Path) -> WriteBehind {
        WriteBehind::create_at(memory).unwrap()
    }

    pub(in super::super) fn block(byte: u8, len: usize) -> OutgoingBlock {
        OutgoingBlock::of(vec![byte; len])
    }

    fn write(directory: &Path, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new()
            .write(true)
            .open(segment(directory))
            .unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    /// A killed node: 128 bytes of its log are in the file, 192 more were acknowledged.
    fn killed(directory: &Path, memory: &Path) {
        let behind = create(memory);
        write(directory, 4096, &[1; 128]);
        behind.rebase(SEGMENT, 4096, &block(1, 128));
        assert_eq!(behind.take(SEGMENT, 4224, &block(2, 64)), Some(Tell::Soon));
        assert_eq!(
            behind.take(SEGMENT, 4288, &block(3, 128)),
            Some(Tell::Nothing)
        );
    }

    fn content(directory: &Path) -> Vec<u8> {
        fs::read(segment(directory)).unwrap()[4096..4480].to_vec()
    }

    fn whole() -> Vec<u8> {
        [vec![1; 128], vec![2; 64], vec![3; 128], vec![0; 64]].concat()
    }

    /// Every write of the last ten milliseconds was acknowledged and is nowhere but here.
    #[test]
    fn what_a_kill_left_is_brought_back() {
        let (directory, memory) = shard();
        killed(directory.path(), &memory);
        bring_back_from(&memory, directory.path()).unwrap();
        assert_eq!(content(directory.path()), whole());
        assert!(!memory.exists(), "it would come back once more");
        bring_back_from(&memory, directory.path()).unwrap();
    }

    /// The kill came in the middle of a write to the file, or of an earlier start's.
    #[test]
    fn what_is_there_in_part_is_made_whole() {
        let (directory, memory) = shard();
        killed(directory.path(), &memory);
        write(directory.path(), 4224, &[2; 70]);
        bring_back_from(&memory, directory.path()).unwrap();
        assert_eq!(content(directory.path()), whole());
    }

    /// An operator put a backup in the place of a killed node's files. Its log ended elsewhere, and the killed one's end is not its.
    #[test]
    fn nothing_is_put_behind_another_log() {
        let (directory, memory) = shard();
        for change in [vec![0; 128], vec![4; 128]] {
            killed(directory.path(), &memory);
            write(directory.path(), 4096, &[&change[..], &[0; 256]].concat());
            bring_back_from(&memory, directory.path()).unwrap();
            let there = content(directory.path());
            assert_eq!(there, [&change[..], &[0; 256]].concat());
            assert!(!memory.exists());
        }
        killed(directory.path(), &memory);
        fs::remove_file(segment(directory.path())).unwrap();
        bring_back_from(&memory, directory.path()).unwrap();
        assert!(!segment(directory.path()).exists());
        killed_in_short_file(directory.path(), &memory);
    }

    fn killed_in_short_file(directory: &Path, memory: &Path) {
        fs::write(segment(directory), vec![0; 4300]).unwrap();
        killed(directory, memory);
        bring_back_from(memory, directory).unwrap();
        assert_eq!(fs::read(segment(directory)).unwrap().len(), 4300);
    }

    /// Anybody may make files where the memory is.
    #[test]
    fn what_is_no_ring_is_not_read() {
        let (directory, memory) = shard();
        fs::write(&memory, b"not a ring").unwrap();
        bring_back_from(&memory, directory.path()).unwrap();
        assert!(!memory.exists());
        let other = directory.path().join("other");
        killed(directory.path(), &other);
        std::os::unix::fs::symlink(&other, &memory).unwrap();
        bring_back_from(&memory, directory.path()).unwrap();
        assert!(other.exists());
        assert_eq!(content(directory.path())[128..], [0; 256]);
        assert!(
            WriteBehind::create_at(&memory).is_err(),
            "somebody is there"
        );
    }

    /// The log's thread must hear of what is there before the executor has nothing more to say.
    #[test]
    fn the_thread_is_told_once_and_again_after_each_flush() {
        let (_directory, memory) = shard();
        let behind = create(&memory);
        behind.rebase(SEGMENT, 0, &block(1, 4096));
        let mut at = 4096;
        let mut take = |len: usize| {
            let told = behind.take(SEGMENT, at, &block(2, len));
            at += len as u64;
            told.unwrap()
        };
        assert_eq!(take(64), Tell::Soon);
        assert_eq!(take(64), Tell::Nothing);
        let rest = limits::WRITE_BEHIND_FLUSH_LEN as usize;
        assert_eq!(take(rest), Tell::Now);
        assert_eq!(take(64), Tell::Nothing);
        let (segment, offset, parts) = behind.begin_flush().unwrap();
        assert_eq!((segment, offset), (SEGMENT, 4096));
        assert_eq!(parts.concat().len(), rest + 192);
        // It comes while the others are being written.
        assert_eq!(take(64), Tell::Now, "so much is still there");
        behind.flushed(4096 + rest as u64 + 192);
        assert!(behind.begin_flush().is_some());
        behind.flushed(4096 + rest as u64 + 256);
        assert_eq!(take(64), Tell::Soon);
    }
}
