//! The memory that holds one segment's bytes while the segment is part of the log's tail.
//!
//! Each is one anonymous mapping, advised to use huge pages: a core that looks up random records then misses the TLB an
//! order of magnitude less, and a mapping is given back to the kernel whole. Pages cost nothing until they are touched.

use std::io;
use std::ops::Range;

use memmap2::{Advice, MmapMut};

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
