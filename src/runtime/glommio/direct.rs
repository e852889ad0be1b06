//! Writing past the page cache.
//!
//! The kernel's way of writing through its page cache costs a log more than it gives: memory is found and filled for bytes that are in the log's own memory already, and
//! an fdatasync must look for them there. Handed to the disk as they are, 90 KB and their fdatasync take half the time and a third of the CPU
//! (`docs/decisions/0022-the-log-is-written-past-the-page-cache.md`).
//!
//! The price is alignment: memory, place and length are whole pages. So a block is copied into a buffer that is aligned, behind what its first page
//! holds already, and its last page is filled up with zeros, which is what the space behind the log's end holds anyway. The next block writes that page once more.
//! That is what the page cache does, too; that a disk writes a sector wholly or not at all is what keeps the earlier bytes safe in both cases.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread;

use memmap2::MmapMut;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::limits;

/// What memory, place and length are multiples of.
const PAGE_LEN: usize = 4096;
/// Bytes written at a time. Between two such writes the process may die; see `writer` on why they end at pages.
const SLICE_LEN: usize = limits::DIRECT_SLICE_BYTES;
const _: () = assert!(SLICE_LEN.is_multiple_of(PAGE_LEN));

/// Opens a file for writes of whole pages past the page cache. `None` if its filesystem or its length doesn't allow that.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) => return unless_refused(error),
    };
    if !file.metadata()?.len().is_multiple_of(PAGE_LEN as u64) {
        return Ok(None);
    }
    // Some filesystems take the flag and refuse the first access.
    let mut page = MmapMut::map_anon(PAGE_LEN)?;
    match file.read_at(&mut page, 0) {
        Ok(_) => Ok(Some(file)),
        Err(error) => unless_refused(error),
    }
}

/// `EINVAL` is how a filesystem says that it can't.
fn unless_refused(error: io::Error) -> io::Result<Option<File>> {
    match error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) {
        true => Ok(None),
        false => Err(error),
    }
}

/// The aligned memory through which one file at a time is written, and what its last page holds.
#[derive(Debug)]
pub(super) struct PageBuffer {
    memory: MmapMut,
    /// Where in the file the page begins that `memory` begins with, and how much of it is filled; known after a write.
    last_page: Option<(u64, usize)>,
}

impl PageBuffer {
    /// # Errors
    /// When the kernel refuses the memory.
    pub(super) fn new() -> io::Result<PageBuffer> {
        Ok(PageBuffer {
            memory: MmapMut::map_anon(SLICE_LEN)?,
            last_page: None,
        })
    }

    /// The file was written to in another way, or it is another file.
    pub(super) fn forget(&mut self) {
        self.last_page = None;
    }

    /// Writes `parts` one behind the other at `offset`, and zeros up to the end of the last page. What is before `offset` in its page stays.
    ///
    /// # Errors
    /// As the kernel has it; what is in the file then is open.
    pub(super) fn write<'a>(
        &mut self,
        file: &File,
        offset: u64,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let mut filled = (offset % PAGE_LEN as u64) as usize;
        let mut at = offset - filled as u64;
        if filled > 0 && self.last_page != Some((at, filled)) {
            file.read_exact_at(&mut self.memory[..PAGE_LEN], at)?;
        }
        self.last_page = None;
        for mut part in parts {
            while !part.is_empty() {
                let len = part.len().min(SLICE_LEN - filled);
                self.memory[filled..filled + len].copy_from_slice(&part[..len]);
                filled += len;
                part = &part[len..];
                if filled == SLICE_LEN {
                    file.write_all_at(&self.memory, at)?;
                    at += SLICE_LEN as u64;
                    filled = 0;
                    // An executor whose core this thread is on has waited for long enough.
                    thread::yield_now();
                }
            }
        }
        let end = filled.next_multiple_of(PAGE_LEN);
        self.memory[filled..end].fill(0);
        file.write_all_at(&self.memory[..end], at)?;
        let in_last_page = filled % PAGE_LEN;
        let page = filled - in_last_page;
        self.memory.copy_within(page..filled, 0);
        self.last_page = Some((at + page as u64, in_last_page));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of all lengths, one behind the other, some of them written in the ordinary way by somebody else.
    #[test]
    fn what_was_written_is_read_back() {
        let directory = tempfile::tempdir_in(".").unwrap();
        let path = directory.path().join("log");
        File::create(&path).unwrap().set_len(4 << 20).unwrap();
        let Some(file) = open(&path).unwrap() else {
            panic!("this directory's filesystem can't be written past the page cache");
        };
        let plain = OpenOptions::new().write(true).open(&path).unwrap();
        let mut buffer = PageBuffer::new().unwrap();
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        let mut at = 0;
        for (number, len) in [
            1, 64, 4095, 4096, 4097, 100, 262_144, 300_000, 60, 700_000, 12_345,
        ]
        .into_iter()
        .cycle()
        .take(22)
        .enumerate()
        {
            let block = &bytes[at..at + len];
            if number % 5 == 3 {
                plain.write_all_at(block, at as u64).unwrap();
                buffer.forget();
            } else {
                let (head, rest) = block.split_at(len / 3);
                let parts = [head, &[], rest].into_iter();
                buffer.write(&file, at as u64, parts).unwrap();
            }
            at += len;
            let mut there = vec![0; 4 << 20];
            plain_read(&path, &mut there);
            assert!(there[..at] == bytes[..at], "after block {number}");
            assert!(
                there[at..].iter().all(|byte| *byte == 0),
                "behind block {number}"
            );
        }
    }

    fn plain_read(path: &Path, into: &mut [u8]) {
        File::open(path).unwrap().read_exact_at(into, 0).unwrap();
    }

    /// A file whose end is not a page's could not be written to its end.
    #[test]
    fn a_file_of_another_length_is_left_to_the_page_cache() {
        let directory = tempfile::tempdir_in(".").unwrap();
        let path = directory.path().join("log");
        File::create(&path).unwrap().set_len(4096 + 512).unwrap();
        assert!(open(&path).unwrap().is_none());
    }
}
