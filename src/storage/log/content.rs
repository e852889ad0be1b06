//! A left segment's content on its way back into memory.
//!
//! After a start only the active segment is in memory. Those before it are read again while the node serves, newest first, until the tail's budget is
//! used up; until then their records are read from disk one by one. Everything is checked before it is taken in, because records in
//! memory are shown without a check of their own.

use std::io;

use bytes::Bytes;

use super::{SegmentMemory, large};
use crate::storage::buffer::LargeBuffer;
use crate::storage::content::{Step, Walk};
use crate::storage::format::{LogTag, SEGMENT_HEADER_LEN};
use crate::types::{Position, SegmentId};

/// Which content is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentPlace {
    /// The segment.
    pub segment: SegmentId,
    /// Position of its first block.
    pub base: Position,
    /// Where its last block ends.
    pub end: Position,
    /// Bytes that its memory takes.
    pub capacity: u64,
    /// The log's tag.
    pub log: LogTag,
    /// Values over this many bytes are kept apart.
    pub large_len: usize,
}

/// A segment's content in memory.
#[derive(Debug)]
pub struct LoadedContent {
    pub(super) memory: SegmentMemory,
    /// Values that are kept apart, by their records' positions, ascending; in `memory` is a hole for each.
    pub(super) large: Vec<(Position, Bytes)>,
}

impl ContentPlace {
    /// Length of the content, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.end.0 - self.base.0) as usize
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory for the content, to be filled up to its length and then [checked](ContentPlace::check).
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn memory(&self) -> io::Result<SegmentMemory> {
        SegmentMemory::new(self.capacity as usize)
    }

    /// Checks what was read, and puts large values apart. Memory that is not needed for the content is given back with it.
    ///
    /// # Errors
    /// With `InvalidData` if a block is not as it was written; when the kernel refuses memory.
    pub fn check(
        &self,
        memory: SegmentMemory,
    ) -> io::Result<(LoadedContent, Option<SegmentMemory>)> {
        let content = memory.from(0, self.len());
        let mut walk = Walk::new(self.log, self.base, self.end);
        let mut at = 0;
        while !walk.is_done() {
            match walk.block(&content[at..]) {
                Ok(Step::Block { len, .. }) => at += len,
                Ok(Step::Needs(_)) => unreachable!("a walk ends where the content does"),
                Err(fault) => {
                    let place = format!(
                        "segment {}, byte {at} of its content: {fault}",
                        self.segment
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, place));
                }
            }
        }
        if large::values_of(content, self.base, self.large_len)
            .next()
            .is_some()
        {
            return Ok((self.copy(content)?, Some(memory)));
        }
        let large = Vec::new();
        Ok((LoadedContent { memory, large }, None))
    }

    /// As [`ContentPlace::check`], of a file that is in memory.
    ///
    /// # Errors
    /// As there, and if the file ends too early.
    pub fn check_file(&self, file: &[u8]) -> io::Result<LoadedContent> {
        let content = file.get(SEGMENT_HEADER_LEN..SEGMENT_HEADER_LEN + self.len());
        let content = content.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut memory = self.memory()?;
        memory.range_mut(0..content.len()).copy_from_slice(content);
        self.check(memory).map(|(loaded, _)| loaded)
    }

    /// Copies content that is known to be right, and puts large values apart.
    ///
    /// # Errors
    /// When the kernel refuses memory.
    pub fn copy(&self, content: &[u8]) -> io::Result<LoadedContent> {
        assert_eq!(content.len(), self.len(), "all of the content is loaded");
        let mut memory = self.memory()?;
        let mut kept_apart = Vec::new();
        let mut copied = 0;
        for (position, value) in large::values_of(content, self.base, self.large_len) {
            memory
                .range_mut(copied..value.start)
                .copy_from_slice(&content[copied..value.start]);
            let mut buffer = LargeBuffer::new(value.len())?;
            buffer.extend(&content[value.clone()]);
            kept_apart.push((position, buffer.freeze()));
            copied = value.end;
        }
        memory
            .range_mut(copied..content.len())
            .copy_from_slice(&content[copied..]);
        Ok(LoadedContent {
            memory,
            large: kept_apart,
        })
    }
}
