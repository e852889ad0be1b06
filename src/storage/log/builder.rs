//! Puts one turn's entries together as a block, in place in the tail's memory.
//!
//! ```text
//! [block header][entry header][record][record]…[entry header][record]…[zeros up to a multiple of 64]
//! ```
//!
//! The families of calls, in order: [`BlockBuilder::begin_entry`], [`BlockBuilder::push`] for each record of it (which
//! answers the record's position, now final), `begin_entry` for the next, and [`BlockBuilder::finish`] once. A record's
//! checksum depends on its position, so records are sealed here and nowhere earlier. A record with a large value
//! ([`BlockBuilder::push_large`]) leaves a hole in the memory: its value stays where it is, and it and the block are sealed by whoever writes the
//! block (see `outgoing`).

use bytes::Bytes;

use super::outgoing::LargeValue;
use crate::limits::BLOCK_ALIGN;
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, ENTRY_HEADER_LEN, EntryHeader, EntryKind, LogTag,
    Record,
};
use crate::types::{PartitionId, Position, WallMillis};

/// What the block's header says beside its contents.
#[derive(Clone, Copy, Debug)]
pub struct BlockStamp {
    /// The block's number in its shard.
    pub sequence: u64,
    /// Every byte of the log below this was known to be on disk when the block was written.
    pub durable: Position,
    /// The turn's wall-clock time.
    pub written: WallMillis,
    /// What the block is for.
    pub kind: BlockKind,
}

/// A block under construction.
#[derive(Debug)]
pub struct BlockBuilder<'a> {
    memory: &'a mut [u8],
    start: Position,
    /// Of the segment.
    base: Position,
    tag: LogTag,
    /// Bytes used so far, the header included.
    used: usize,
    entries: u32,
    entry: Option<OpenEntry>,
    large: Vec<LargeValue>,
    /// Bytes of `used` that are large values.
    large_bytes: usize,
}

/// What [`BlockBuilder::finish`] made.
#[derive(Debug)]
pub struct FinishedBlock {
    /// Bytes of the block, large values and padding included.
    pub(super) len: usize,
    pub(super) large: Vec<LargeValue>,
    /// Given if the block is not sealed yet, which is so if it holds large values.
    pub(super) header: Option<BlockHeader>,
}

#[derive(Debug)]
struct OpenEntry {
    at: usize,
    header: EntryHeader,
}

impl<'a> BlockBuilder<'a> {
    /// Starts a block at `start`, whose bytes are `memory` (long enough for the whole block).
    #[must_use]
    pub fn new(
        memory: &'a mut [u8],
        start: Position,
        base: Position,
        tag: LogTag,
    ) -> BlockBuilder<'a> {
        assert!(
            memory.len() >= BLOCK_HEADER_LEN,
            "a block has room for its header"
        );
        BlockBuilder {
            memory,
            start,
            base,
            tag,
            used: BLOCK_HEADER_LEN,
            entries: 0,
            entry: None,
            large: Vec::new(),
            large_bytes: 0,
        }
    }

    /// How long a block with these entries and record bytes is, padding included.
    #[must_use]
    pub fn block_len(entries: usize, record_bytes: usize) -> usize {
        (BLOCK_HEADER_LEN + entries * ENTRY_HEADER_LEN + record_bytes).next_multiple_of(BLOCK_ALIGN)
    }

    /// Begins the entry of one partition, and ends the one before it.
    pub fn begin_entry(&mut self, partition: PartitionId, term: u64, index: u64) {
        self.end_entry();
        let header = EntryHeader {
            partition,
            kind: EntryKind::Effects,
            records: 0,
            len: 0,
            term,
            index,
        };
        self.entry = Some(OpenEntry {
            at: self.used,
            header,
        });
        self.used += ENTRY_HEADER_LEN;
    }

    /// Adds an encoded record to the open entry and answers its position in the log.
    pub fn push(&mut self, record: &[u8]) -> Position {
        let entry = self.entry.as_mut().expect("a record belongs to an entry");
        let position = Position(self.start.0 + self.used as u64);
        let place = &mut self.memory[self.used..self.used + record.len()];
        place.copy_from_slice(record);
        Record::seal(place, position);
        entry.header.records += 1;
        entry.header.len += record.len() as u32;
        self.used += record.len();
        position
    }

    /// Adds a record whose value is kept apart to the open entry and answers its position in the log. `head` is what comes before the
    /// value, `padding_len` how many zeros follow it.
    pub fn push_large(&mut self, head: &[u8], value: &Bytes, padding_len: usize) -> Position {
        let entry = self.entry.as_mut().expect("a record belongs to an entry");
        let position = Position(self.start.0 + self.used as u64);
        let record_at = self.used - self.large_bytes;
        self.large.push(LargeValue {
            record_at,
            value_at: record_at + head.len(),
            padding_len,
            position,
            value: value.clone(),
        });
        self.memory[self.used..self.used + head.len()].copy_from_slice(head);
        let end = self.used + head.len() + value.len() + padding_len;
        self.memory[end - padding_len..end].fill(0);
        entry.header.records += 1;
        entry.header.len += (end - self.used) as u32;
        self.used = end;
        self.large_bytes += value.len();
        position
    }

    /// Completes the block, and seals it if it holds no large values.
    pub fn finish(mut self, stamp: BlockStamp) -> FinishedBlock {
        self.end_entry();
        let len = self.used.next_multiple_of(BLOCK_ALIGN);
        self.memory[self.used..len].fill(0);
        let header = BlockHeader {
            kind: stamp.kind,
            log: self.tag,
            position: self.start,
            sequence: stamp.sequence,
            durable: stamp.durable,
            written: stamp.written,
            entries: self.entries,
            payload_len: (self.used - BLOCK_HEADER_LEN) as u32,
            payload_crc: 0,
            zero_sectors: 0,
        };
        let header = if self.large.is_empty() {
            header.seal(&mut self.memory[..len], self.base);
            None
        } else {
            Some(header)
        };
        FinishedBlock {
            len,
            large: self.large,
            header,
        }
    }

    fn end_entry(&mut self) {
        if let Some(entry) = self.entry.take() {
            let place = &mut self.memory[entry.at..entry.at + ENTRY_HEADER_LEN];
            entry
                .header
                .encode(place.try_into().expect("the slice has the header's length"));
            self.entries += 1;
        }
    }
}
