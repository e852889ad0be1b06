//! One of the logs that data moves into: records are gathered into blocks, and blocks into segments, as a serving shard does it.
//!
//! The rules of a segment's life (`docs/on-disk-format.md`) are kept: one is prepared and synced before it is begun, everything in the one before is
//! synced by then, and `durable` is what is known to be synced. So whatever a crash leaves of such a log, recovery judges it as any other.
//!
//! Calls in order: [`NewLog::go_on`], any number of [`NewLog::push`], [`NewLog::flush`], which writes what is gathered, then a sync of
//! [`NewLog::active`] by the caller, and [`NewLog::synced`]; at the very end [`NewLog::seal`].

use std::ops::Range;

use super::MoveFiles;
use crate::limits::{
    RESHARD_BLOCK_BYTES, RESHARD_BLOCK_RECORDS, SECTOR_LEN, SEGMENT_LEN_MAX, VALUE_LEN_MAX,
};
use crate::shard::Shard;
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockKind, Given, LogTag, RemovedRange, SEGMENT_HEADER_LEN, SegmentHeader,
    SegmentState,
};
use crate::storage::log::{BlockBuilder, BlockStamp};
use crate::storage::recovery::Identity;
use crate::types::{PartitionId, Position, SegmentId, ShardId, WallMillis};

/// The stub that a new log begins with, and its first segment.
const STUB: SegmentId = SegmentId(1);
const FIRST: SegmentId = SegmentId(2);

// The longest record fits into the longest segment, whatever length is configured.
const _: () = assert!((VALUE_LEN_MAX as u64) < SEGMENT_LEN_MAX / 2);

/// Makes the first two files of a new log: a stub that stands for nothing but tells what was given so far, and an empty segment.
pub(super) fn make<F: MoveFiles>(
    files: &mut F,
    identity: Identity,
    tag: LogTag,
    segment_len: u64,
    given: Given,
    created: WallMillis,
) -> Result<(), F::Error> {
    let header = |segment, state| SegmentHeader {
        node: identity.node,
        shard: identity.shard,
        shard_count: identity.shard_count,
        log: tag,
        segment,
        segment_len,
        created,
        state,
    };
    let nothing = RemovedRange {
        first: STUB,
        base: Position(0),
        end: Position(0),
        sequence: 1,
        given,
    };
    let stub = header(STUB, SegmentState::Removed(nothing)).encode();
    let shard = identity.shard;
    files.prepare(shard, STUB, SEGMENT_HEADER_LEN as u64, &[stub; 2].concat())?;
    let base = Position(0);
    let first = header(FIRST, SegmentState::Active { base }).encode();
    files.prepare(shard, FIRST, segment_len, &first)
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct NewLog {
    identity: Identity,
    tag: LogTag,
    segment_len: u64,
    active: SegmentId,
    /// Where the active segment begins.
    base: Position,
    /// How long its file is, in bytes.
    file_len: u64,
    /// Where the next block goes.
    end: Position,
    /// Everything below is synced.
    durable: Position,
    sequence_next: u64,
    entry_next: u64,
    /// The time that blocks tell.
    written: WallMillis,
    /// The records of the next block, one behind the other.
    records: Vec<u8>,
    /// Whose they are, and where each lies.
    pending: Vec<(PartitionId, Range<usize>)>,
    block: Vec<u8>,
}

impl NewLog {
    /// Goes on where the log ends. All of it is synced.
    pub(super) fn go_on(shard: &Shard, segment_len: u64, written: WallMillis) -> NewLog {
        let active = shard.log.segments().last();
        let active = active.expect("a new log is made with a segment");
        NewLog {
            identity: shard.config.identity,
            tag: shard.log.tag(),
            segment_len,
            active: active.id,
            base: active.base,
            file_len: active.len,
            end: active.end,
            durable: active.end,
            sequence_next: shard.log.next_sequence(),
            entry_next: super::given(shard).entries + 1,
            written,
            records: Vec::new(),
            pending: Vec::new(),
            block: Vec::new(),
        }
    }

    /// The segment that is written to.
    pub(super) fn active(&self) -> (ShardId, SegmentId) {
        (self.identity.shard, self.active)
    }

    /// Takes a record over as it is encoded; its checksum is made anew.
    pub(super) fn push<F: MoveFiles>(
        &mut self,
        files: &mut F,
        partition: PartitionId,
        record: &[u8],
    ) -> Result<(), F::Error> {
        let from = self.records.len();
        // As a serving shard, an eighth of a segment at most.
        let block_max = RESHARD_BLOCK_BYTES.min((self.segment_len / 8) as usize);
        let is_full =
            from + record.len() > block_max || self.pending.len() == RESHARD_BLOCK_RECORDS;
        if is_full {
            self.flush(files)?;
        }
        let from = self.records.len();
        self.records.extend_from_slice(record);
        self.pending.push((partition, from..self.records.len()));
        Ok(())
    }

    /// Writes what is gathered as one block.
    pub(super) fn flush<F: MoveFiles>(&mut self, files: &mut F) -> Result<(), F::Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // Stable: of each partition the records stay in their order.
        self.pending.sort_by_key(|(partition, _)| *partition);
        let same = |left: &(PartitionId, _), right: &(PartitionId, _)| left.0 == right.0;
        let entries = self.pending.chunk_by(same).count();
        let len = BlockBuilder::block_len(entries, self.records.len());
        self.make_room(files, len)?;
        self.block.clear();
        self.block.resize(len, 0);
        let mut builder = BlockBuilder::new(&mut self.block, self.end, self.base, self.tag);
        for entry in self.pending.chunk_by(same) {
            builder.begin_entry(entry[0].0, 0, self.entry_next);
            self.entry_next += 1;
            for (_, range) in entry {
                builder.push(&self.records[range.clone()]);
            }
        }
        builder.finish(BlockStamp {
            sequence: self.sequence_next,
            durable: self.durable,
            written: self.written,
            kind: BlockKind::Data,
        });
        self.pending.clear();
        self.records.clear();
        self.append(files)
    }

    /// Whether it holds anything that is not synced.
    pub(super) fn is_dirty(&self) -> bool {
        self.durable < self.end
    }

    /// The active segment was synced.
    pub(super) fn synced(&mut self) {
        self.durable = self.end;
    }

    /// Writes the last block, of a clean stop. Everything before is synced.
    pub(super) fn seal<F: MoveFiles>(&mut self, files: &mut F) -> Result<(), F::Error> {
        assert!(
            self.pending.is_empty() && !self.is_dirty(),
            "a seal testifies for everything before it"
        );
        self.make_room(files, 0)?;
        self.block.clear();
        self.block.resize(BLOCK_HEADER_LEN, 0);
        let builder = BlockBuilder::new(&mut self.block, self.end, self.base, self.tag);
        builder.finish(BlockStamp {
            sequence: self.sequence_next,
            durable: self.durable,
            written: self.written,
            kind: BlockKind::Seal,
        });
        self.append(files)
    }

    /// Writes the block that was put together.
    fn append<F: MoveFiles>(&mut self, files: &mut F) -> Result<(), F::Error> {
        let offset = SEGMENT_HEADER_LEN as u64 + (self.end.0 - self.base.0);
        files.write(self.identity.shard, self.active, offset, &self.block)?;
        self.sequence_next += 1;
        self.end = Position(self.end.0 + self.block.len() as u64);
        Ok(())
    }

    /// Begins another segment if a block of this length, and a seal behind it, doesn't fit into this one.
    fn make_room<F: MoveFiles>(&mut self, files: &mut F, len: usize) -> Result<(), F::Error> {
        let needed = (len + BLOCK_HEADER_LEN) as u64;
        let used = SEGMENT_HEADER_LEN as u64 + (self.end.0 - self.base.0);
        if used + needed <= self.file_len {
            return Ok(());
        }
        // A segment is begun only when everything in the one before is synced.
        files.sync(&[self.active()])?;
        self.synced();
        let shortest = (SEGMENT_HEADER_LEN as u64 + needed).next_multiple_of(SECTOR_LEN as u64);
        let segment = SegmentId(self.active.0 + 1);
        let file_len = self.segment_len.max(shortest);
        let header = |state| SegmentHeader {
            node: self.identity.node,
            shard: self.identity.shard,
            shard_count: self.identity.shard_count,
            log: self.tag,
            segment,
            segment_len: file_len,
            created: self.written,
            state,
        };
        let base = self.end;
        let (shard, prepared) = (self.identity.shard, header(SegmentState::Prepared));
        files.prepare(shard, segment, file_len, &prepared.encode())?;
        let active = header(SegmentState::Active { base });
        files.write(shard, segment, 0, &active.encode())?;
        (self.active, self.base, self.file_len) = (segment, base, file_len);
        Ok(())
    }
}

/// A stub's header for everything of a log below the segment that begins at `end`.
pub(super) fn stub_below(
    shard: &Shard,
    stub: SegmentId,
    (end, sequence, segment_len): (Position, u64, u64),
    given: Given,
    created: WallMillis,
) -> Vec<u8> {
    let identity = shard.config.identity;
    let header = SegmentHeader {
        node: identity.node,
        shard: identity.shard,
        shard_count: identity.shard_count,
        log: shard.log.tag(),
        segment: stub,
        segment_len,
        created,
        state: SegmentState::Removed(RemovedRange {
            first: SegmentId(1),
            base: Position(0),
            end,
            sequence,
            given,
        }),
    };
    [header.encode(); 2].concat()
}
