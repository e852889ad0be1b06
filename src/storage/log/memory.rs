//! The memory that holds one segment's bytes while the segment is part of the log's tail.
//!
//! Each is one anonymous mapping, advised to use huge pages: a core that looks up random records then misses the TLB an
//! order of magnitude less, and a mapping is given back to the kernel whole.
//!
//! The first touch of a huge page makes the kernel find and clear 2 MiB, which takes a tenth of a millisecond on a quiet machine and many
//! on a virtual one whose host has to find the memory first. So a segment's memory is [populated](SegmentMemory::populate) when the segment is
//! made ready, by a thread for which nothing waits.

use std::io;
use std::ops::Range;

use memmap2::{Advice, MmapMut};

/// The kernel's smallest page, in bytes.
const PAGE_LEN: usize = 4096;

/// An anonymous mapping of a segment's capacity.
#[derive(Debug)]
pub struct SegmentMemory {
    map: MmapMut,
}

impl SegmentMemory {
    /// Maps `len` bytes of zeros.
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn new(len: usize) -> io::Result<SegmentMemory> {
        assert!(len > 0, "a segment has a capacity");
        let map = MmapMut::map_anon(len)?;
        // Advice only: a kernel built without transparent huge pages answers with an error, and small pages serve.
        let _ = map.advise(Advice::HugePage);
        Ok(SegmentMemory { map })
    }

    /// Touches all of it, so that no later access has to wait for memory. It is done page by page, not by one call to the kernel, because
    /// that would keep every other thread from mapping memory meanwhile.
    pub fn populate(&mut self) {
        for page in self.map.chunks_mut(PAGE_LEN) {
            page[0] = 0;
        }
    }

    /// The mapping, to be given back to the kernel.
    #[must_use]
    pub fn into_map(self) -> MmapMut {
        self.map
    }

    /// Its length in bytes.
    #[must_use]
    #[inline]
    pub fn capacity(&self) -> usize {
        self.map.len()
    }

    /// Everything from `start` on.
    #[must_use]
    #[inline]
    pub fn from(&self, start: usize, end: usize) -> &[u8] {
        &self.map[start..end]
    }

    /// A part of it, to be filled.
    #[inline]
    pub fn range_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.map[range]
    }
}
