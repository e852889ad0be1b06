//! A block on its way to the disk: its bytes, and apart from them the large values that belong in between.
//!
//! A large value is never copied: it stays where it was received, and the block says where it goes. Two things about such a block are
//! still open when the shard lets go of it, because going over megabytes would hold the core up: the checksums of its large
//! records, and the block's own. [`OutgoingBlock::seal`] closes them; whoever writes the block calls it first, and does so where
//! nothing waits for it. The block comes back when it is written, so that the log's memory gets the checksums too.

use bytes::Bytes;

use crate::limits::{BATCH_ARENA_KEEP, SECTOR_LEN, WRITE_SLICE_BYTES};
use crate::storage::format::{BLOCK_HEADER_LEN, BlockHeader, Record};
use crate::types::Position;

/// A large value and its place in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LargeValue {
    /// Where its record begins in the block's bytes, the large values before it left out.
    pub(super) record_at: usize,
    /// Where the value goes in those bytes.
    pub(super) value_at: usize,
    /// Bytes of padding behind it.
    pub(super) padding_len: usize,
    /// The record's place in the log.
    pub(super) position: Position,
    pub(super) value: Bytes,
}

/// What is still to be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Open {
    header: BlockHeader,
    /// Of the segment.
    base: Position,
}

/// One block, to be written in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingBlock {
    /// The segment's header if that goes before the block, then the block without its large values.
    bytes: Vec<u8>,
    /// Where in `bytes` the block begins.
    start: usize,
    /// In the order of their places.
    large: Vec<LargeValue>,
    open: Option<Open>,
}

impl OutgoingBlock {
    /// A block of these bytes, for tests of those who write blocks.
    #[cfg(test)]
    pub(crate) fn of(bytes: Vec<u8>) -> OutgoingBlock {
        OutgoingBlock {
            bytes,
            ..OutgoingBlock::default()
        }
    }

    /// The memory of a block that was written, for the next one.
    #[must_use]
    pub fn emptied(mut self) -> OutgoingBlock {
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_ARENA_KEEP);
        self.large.clear();
        self.open = None;
        self.start = 0;
        self
    }

    /// Takes the segment's header (empty: not due) and the parts of a block between its large values. `header` is given if it is
    /// to be sealed later.
    pub(super) fn fill<'a>(
        &mut self,
        segment_header: &[u8],
        parts: impl Iterator<Item = &'a [u8]>,
        large: Vec<LargeValue>,
        header: Option<BlockHeader>,
        base: Position,
    ) {
        assert!(
            segment_header.len().is_multiple_of(SECTOR_LEN),
            "a segment's header is whole sectors"
        );
        self.bytes.extend_from_slice(segment_header);
        self.start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.large = large;
        self.open = header.map(|header| Open { header, base });
    }

    /// Computes the checksums that are still open. Takes time in proportion to the large values; `pause` is called whenever a slice of
    /// that is done.
    pub fn seal(&mut self, pause: fn()) {
        let Some(Open { mut header, base }) = self.open.take() else {
            return;
        };
        for large in &self.large {
            let (before, behind) = self.bytes.split_at_mut(self.start + large.value_at);
            let head = &mut before[self.start + large.record_at..];
            let padding = &behind[..large.padding_len];
            Record::seal_apart(head, slices(&large.value, pause), padding, large.position);
        }
        let payload = self
            .parts_from(self.start + BLOCK_HEADER_LEN)
            .flat_map(move |part| slices(part, pause));
        header.complete(payload, base);
        let place = &mut self.bytes[self.start..self.start + BLOCK_HEADER_LEN];
        header.encode(place.try_into().expect("the slice has the header's length"));
    }

    /// What is to be written, in order. The block must be sealed.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        assert!(
            self.open.is_none(),
            "a block is sealed before it is written"
        );
        self.parts_from(0).filter(|part| !part.is_empty())
    }

    /// How many bytes that is.
    #[must_use]
    pub fn len(&self) -> usize {
        let large: usize = self.large.iter().map(|large| large.value.len()).sum();
        self.bytes.len() + large
    }

    /// How many of them are the block's own, without a segment's header.
    pub(super) fn block_len(&self) -> usize {
        self.len() - self.start
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether large values belong to it.
    #[must_use]
    pub fn has_large_values(&self) -> bool {
        !self.large.is_empty()
    }

    /// The block's parts between its large values, each with where it goes, counted from the block's start.
    pub(super) fn small_parts(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut at = self.start;
        let mut before = 0;
        let ends = self
            .large
            .iter()
            .map(|large| (self.start + large.value_at, large.value.len()));
        ends.chain([(self.bytes.len(), 0)])
            .map(move |(end, value_len)| {
                let part = (at - self.start + before, &self.bytes[at..end]);
                at = end;
                before += value_len;
                part
            })
    }

    fn parts_from(&self, from: usize) -> impl Iterator<Item = &[u8]> {
        let mut at = from;
        let values = self.large.iter().map(Some).chain([None]);
        values.flat_map(move |large| {
            let end = large.map_or(self.bytes.len(), |large| self.start + large.value_at);
            let part = &self.bytes[at..end];
            at = end;
            [part, large.map_or(&[][..], |large| &large.value)]
        })
    }
}

/// A part in slices, with a pause between two of them.
fn slices(part: &[u8], pause: fn()) -> impl Iterator<Item = &[u8]> {
    part.chunks(WRITE_SLICE_BYTES)
        .enumerate()
        .map(move |(number, slice)| {
            if number > 0 {
                pause();
            }
            slice
        })
}
