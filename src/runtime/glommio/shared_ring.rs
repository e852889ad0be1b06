//! A ring of bytes in memory that outlives the process: the end of one segment's content, part of it perhaps not in the segment's file yet.
//!
//! The memory is a file of a filesystem that has no disk (`write_behind` says which), mapped. What is stored there belongs to the kernel from then on, as what is written into the page cache does, and a
//! process that is killed takes nothing of it along.
//!
//! ```text
//! offset     0  magic
//!            8  length of the content's memory in bytes
//!           16  whether what follows counts: 1 or 0
//!           24  segment
//!           32  base      offset in the segment's file of the first byte that is kept
//!           40  flushed   every byte below is in the file
//!           48  filled    every byte below is here, or was
//!         4096  the content: the byte of offset n lies at n modulo the length
//! ```
//!
//! Numbers are the machine's own: nobody reads them on another one.
//!
//! **Two threads** use it, each for itself: the executor [appends](SharedRing::append), and the log's thread takes [what is not in the file](SharedRing::unflushed) there
//! and says so. `filled` is stored after the bytes below it, and `flushed` after the file has them; so the two never touch the same bytes. The log's thread may begin anew ([`SharedRing::rebase`])
//! while the executor waits for it.
//!
//! **After a kill** anybody who reads the file finds each store before the last one, and none behind it, since stores are made in the order of the program. The last
//! [`KEPT_LEN`] bytes before `flushed` are never written over: they tell whether a segment's file is still the one that this is the end of.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::limits::WRITE_BEHIND_LEN;
use crate::types::SegmentId;

/// The file's length in bytes.
pub(super) const RING_FILE_LEN: usize = HEADER_LEN + WRITE_BEHIND_LEN;
/// Bytes before what is not flushed that stay where they are.
pub(super) const KEPT_LEN: u64 = 4096;
/// The longest block that it takes: two of them always fit beside what is kept.
pub(super) const BLOCK_LEN_MAX: usize = WRITE_BEHIND_LEN / 4;
const _: () = assert!(2 * BLOCK_LEN_MAX + KEPT_LEN as usize <= WRITE_BEHIND_LEN);
const HEADER_LEN: usize = 4096;
/// "cordwb" and the version of the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"cordwb\x00\x01");

#[repr(C)]
struct Header {
    magic: AtomicU64,
    len: AtomicU64,
    counts: AtomicU64,
    segment: AtomicU64,
    base: AtomicU64,
    flushed: AtomicU64,
    filled: AtomicU64,
}

/// The mapped ring.
#[derive(Debug)]
pub(super) struct SharedRing {
    map: MmapRaw,
}

impl SharedRing {
    /// Maps a new file, whose memory is reserved first: a store into it must not fail.
    ///
    /// # Errors
    /// When the kernel refuses the memory.
    pub(super) fn create(file: &File) -> io::Result<SharedRing> {
        rustix::fs::fallocate(
            file,
            rustix::fs::FallocateFlags::empty(),
            0,
            RING_FILE_LEN as u64,
        )?;
        let map = MmapOptions::new()
            .len(RING_FILE_LEN)
            .populate()
            .map_raw(file)?;
        let ring = SharedRing { map };
        let header = ring.header();
        header.len.store(WRITE_BEHIND_LEN as u64, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(ring)
    }

    /// The executor: takes the bytes that belong at `offset` of the segment's file. `false`, and nothing happens, if they don't follow what is here, or find no room.
    pub(super) fn append<'a>(
        &self,
        segment: SegmentId,
        offset: u64,
        len: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        let header = self.header();
        // Only this thread stores `filled` while the other one doesn't begin anew.
        let filled = header.filled.load(Ordering::Acquire);
        let end = offset + len as u64;
        let follows = header.counts.load(Ordering::Acquire) == 1
            && header.segment.load(Ordering::Relaxed) == segment.0
            && filled == offset;
        if !follows || len > BLOCK_LEN_MAX {
            return false;
        }
        let flushed = header.flushed.load(Ordering::Acquire);
        if end - flushed + KEPT_LEN > WRITE_BEHIND_LEN as u64 {
            return false;
        }
        assert_eq!(
            self.fill(offset, parts),
            end,
            "a block is as long as it says"
        );
        header.filled.store(end, Ordering::SeqCst);
        true
    }

    /// How many bytes are not in the file.
    #[inline]
    pub(super) fn unflushed_len(&self) -> u64 {
        let header = self.header();
        let flushed = header.flushed.load(Ordering::SeqCst);
        header.filled.load(Ordering::SeqCst).saturating_sub(flushed)
    }

    /// The log's thread: what is not in the segment's file, and where it belongs.
    pub(super) fn unflushed(&self) -> Option<(SegmentId, u64, [&[u8]; 2])> {
        let header = self.header();
        if header.counts.load(Ordering::Acquire) == 0 {
            return None;
        }
        let filled = header.filled.load(Ordering::SeqCst);
        let flushed = header.flushed.load(Ordering::SeqCst);
        let segment = SegmentId(header.segment.load(Ordering::Relaxed));
        (flushed < filled).then(|| (segment, flushed, self.slices(flushed, filled)))
    }

    /// The log's thread: every byte below `end` is in the segment's file.
    pub(super) fn flushed(&self, end: u64) {
        let header = self.header();
        debug_assert!(end <= header.filled.load(Ordering::Relaxed));
        header.flushed.store(end, Ordering::SeqCst);
    }

    /// The log's thread, while the executor waits for it: what follows is what comes behind these bytes, which are in the file and end at `end`.
    pub(super) fn rebase<'a>(
        &self,
        segment: SegmentId,
        end: u64,
        len: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) {
        let header = self.header();
        header.counts.store(0, Ordering::SeqCst);
        let kept = len.min(KEPT_LEN as usize);
        let base = end - kept as u64;
        let mut skip = len - kept;
        let kept_parts = parts.map(|part| {
            let (skipped, kept) = part.split_at(skip.min(part.len()));
            skip -= skipped.len();
            kept
        });
        assert_eq!(
            self.fill(base, kept_parts),
            end,
            "a block is as long as it says"
        );
        header.segment.store(segment.0, Ordering::Relaxed);
        header.base.store(base, Ordering::Relaxed);
        header.flushed.store(end, Ordering::Relaxed);
        header.filled.store(end, Ordering::Relaxed);
        header.counts.store(1, Ordering::SeqCst);
    }

    fn header(&self) -> &Header {
        #[expect(unsafe_code, reason = "the memory is mapped, see the argument")]
        // SAFETY: the mapping is page-aligned, longer than a header, and lives as long as `self`. Only atomics of it are used, for which every value is valid.
        unsafe {
            &*self.map.as_ptr().cast::<Header>()
        }
    }

    /// Stores bytes for the offsets from `at` on; answers the offset behind them.
    fn fill<'a>(&self, mut at: u64, parts: impl Iterator<Item = &'a [u8]>) -> u64 {
        for mut part in parts {
            while !part.is_empty() {
                let index = (at % WRITE_BEHIND_LEN as u64) as usize;
                let len = part.len().min(WRITE_BEHIND_LEN - index);
                #[expect(unsafe_code, reason = "the memory is mapped, see the argument")]
                // SAFETY: `index + len` lies within the content, so the destination lies within the mapping, which is writable. The other thread holds slices only of
                // [flushed, filled), and both callers fill outside that: an append in front of `filled` and less than the ring's length before `flushed`, a rebase when there are no slices.
                unsafe {
                    let content = self.map.as_mut_ptr().add(HEADER_LEN + index);
                    std::ptr::copy_nonoverlapping(part.as_ptr(), content, len);
                }
                at += len as u64;
                part = &part[len..];
            }
        }
        at
    }

    fn slices(&self, from: u64, to: u64) -> [&[u8]; 2] {
        let len = (to - from) as usize;
        assert!(len <= WRITE_BEHIND_LEN, "no more is unflushed than fits");
        let index = (from % WRITE_BEHIND_LEN as u64) as usize;
        let first = len.min(WRITE_BEHIND_LEN - index);
        #[expect(unsafe_code, reason = "the memory is mapped, see the argument")]
        // SAFETY: both ranges lie within the content. Nobody writes there before `flushed` is stored, which the thread that holds the slices does itself, after its last use of them.
        unsafe {
            let content = self.map.as_ptr().add(HEADER_LEN);
            [
                std::slice::from_raw_parts(content.add(index), first),
                std::slice::from_raw_parts(content, len - first),
            ]
        }
    }
}

/// What a ring held whose process is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) segment: SegmentId,
    /// Where in the segment's file `bytes` belong.
    pub(super) offset: u64,
    /// What lies before that in the file.
    pub(super) before: Vec<u8>,
    /// What the file may lack.
    pub(super) bytes: Vec<u8>,
}

impl Left {
    /// Reads a ring's file. `None` if it holds nothing that counts.
    pub(super) fn read(file: &[u8]) -> Option<Left> {
        if file.len() != RING_FILE_LEN {
            return None;
        }
        let (header, content) = file.split_at(HEADER_LEN);
        let number = |index: usize| {
            let bytes = header[8 * index..8 * index + 8].try_into();
            u64::from_ne_bytes(bytes.expect("eight bytes"))
        };
        let [magic, len, counts, segment, base, flushed, filled] = std::array::from_fn(number);
        let is_ring = magic == MAGIC && len == WRITE_BEHIND_LEN as u64 && counts == 1;
        let is_ordered = base <= flushed && flushed <= filled;
        if !is_ring || !is_ordered {
            return None;
        }
        let kept = (flushed - base).min(KEPT_LEN);
        if filled - flushed + kept > WRITE_BEHIND_LEN as u64 {
            return None;
        }
        let bytes = |from: u64, to: u64| -> Vec<u8> {
            (from..to)
                .map(|at| content[(at % WRITE_BEHIND_LEN as u64) as usize])
                .collect()
        };
        Some(Left {
            segment: SegmentId(segment),
            offset: flushed,
            before: bytes(flushed - kept, flushed),
            bytes: bytes(flushed, filled),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: SegmentId = SegmentId(7);

    fn ring(directory: &std::path::Path) -> (SharedRing, std::path::PathBuf) {
        let path = directory.join("ring");
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        (SharedRing::create(&file).unwrap(), path)
    }

    /// The byte at an offset of the log.
    fn content(from: u64, len: usize) -> Vec<u8> {
        (from..from + len as u64)
            .map(|at| (at % 251) as u8)
            .collect()
    }

    fn append(ring: &SharedRing, at: u64, len: usize) -> bool {
        let bytes = content(at, len);
        let (head, rest) = bytes.split_at(len / 3);
        ring.append(SEGMENT, at, len, [head, &[], rest].into_iter())
    }

    fn rebase(ring: &SharedRing, at: u64, len: usize) {
        let bytes = content(at, len);
        ring.rebase(
            SEGMENT,
            at + len as u64,
            len,
            [&bytes[..1], &bytes[1..]].into_iter(),
        );
    }

    fn left(path: &std::path::Path) -> Option<Left> {
        Left::read(&std::fs::read(path).unwrap())
    }

    /// Whatever was appended and not flushed must be found by whoever reads the file, however often the ring has gone round.
    #[test]
    fn what_is_not_flushed_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let (ring, path) = ring(directory.path());
        assert_eq!(left(&path), None, "nothing was ever in it");
        assert!(!append(&ring, 4096, 64), "it follows nothing");
        rebase(&ring, 4096, 10_000);
        let mut at = 14_096;
        let mut flushed = at;
        for round in 0..400u64 {
            let len = 64 * (1 + (round as usize * 37) % (BLOCK_LEN_MAX / 64));
            if !append(&ring, at, len) {
                let (segment, offset, parts) = ring.unflushed().unwrap();
                assert_eq!((segment, offset), (SEGMENT, flushed));
                let there: Vec<u8> = parts.concat();
                assert!(there == content(flushed, (at - flushed) as usize));
                ring.flushed(at);
                flushed = at;
                assert!(append(&ring, at, len), "there is room again");
            }
            at += len as u64;
            let left = left(&path).unwrap();
            assert_eq!((left.segment, left.offset), (SEGMENT, flushed));
            assert!(left.before == content(flushed - KEPT_LEN, KEPT_LEN as usize));
            assert!(left.bytes == content(flushed, (at - flushed) as usize));
        }
        assert!(at > 20 * WRITE_BEHIND_LEN as u64, "it went round");
    }

    /// A block of another place in front of what is there would come back as the log's after a kill.
    #[test]
    fn only_what_follows_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let (ring, path) = ring(directory.path());
        rebase(&ring, 4096, 64);
        assert!(append(&ring, 4160, 64));
        assert!(!append(&ring, 4160, 64), "it was there already");
        assert!(!append(&ring, 4288, 64), "something is missing");
        let bytes = content(4224, 64);
        assert!(!ring.append(SegmentId(8), 4224, 64, [&bytes[..]].into_iter()));
        assert!(!append(&ring, 4224, BLOCK_LEN_MAX + 64), "it is too long");
        let left = left(&path).unwrap();
        assert_eq!(
            (left.offset, left.bytes.len(), left.before.len()),
            (4160, 64, 64)
        );
    }

    /// A file that is no ring, or one of another release, is nobody's log.
    #[test]
    fn what_is_no_ring_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (ring, path) = ring(directory.path());
        rebase(&ring, 4096, 64);
        append(&ring, 4160, 64);
        let whole = std::fs::read(&path).unwrap();
        assert!(Left::read(&whole).is_some());
        assert_eq!(Left::read(&whole[..whole.len() - 1]), None);
        assert_eq!(Left::read(&[]), None);
        for at in [0, 8, 16, 32, 46, 54] {
            let mut other = whole.clone();
            other[at] ^= 0x41;
            assert_eq!(Left::read(&other), None, "byte {at}");
        }
    }
}
