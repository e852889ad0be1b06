//! One shard's log: a sequence of segments, the newest of them in memory.
//!
//! The log is the database: the index points into it. Positions are bytes and never reused; segment `n + 1` begins where
//! segment `n` ends. The newest segments, the **tail**, are kept in memory up to a budget; a record below
//! [`Log::tail_start`] must be read from disk.
//!
//! This type does no I/O. It owns the tail's memory, knows which bytes belong to which file, and turns an append into the
//! bytes to write and where ([`WritePlan`]). Only one thing about durability lives here: segments are activated in order, and
//! a block goes into a segment only when every earlier segment is wholly on disk (the shard holds back the write until then).
//!
//! **Segments go.** Compaction takes segments out of the middle ([`Log::removal`], [`Log::removed`]); the positions that they held are then a
//! gap, which a stub's file stands for. Each removal takes in the stubs beside it, so there are never more stubs than segments.
//! [`Log::hold`] keeps segments from going.
//!
//! Calls in order: [`Log::new`] or [`Log::recovered`]; then, for each block, [`Log::room`], [`Log::rotate`] if it did not
//! fit (needs a segment that [`Log::prepared`] announced), [`Log::append`].

mod builder;
mod content;
mod holds;
mod large;
mod ledger;
mod memory;
mod outgoing;
mod point;
mod removal;

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use memmap2::MmapMut;

pub use builder::{BlockBuilder, BlockStamp, FinishedBlock};
pub use content::{ContentPlace, LoadedContent};
pub use holds::Hold;
pub use ledger::{Account, Ledger};
pub use memory::SegmentMemory;
pub use outgoing::OutgoingBlock;
pub use point::{LogPoint, PointFile, PointFileKind};
pub use removal::{Removal, SegmentFacts};

use crate::limits::SECTOR_LEN;
use crate::storage::format::{LogTag, Record, SEGMENT_HEADER_LEN, SegmentHeader, SegmentState};
use crate::storage::recovery::{Identity, Recovered, RemovedSegments};
use crate::types::{Position, SegmentId, WallMillis};

/// Where the bytes of a record are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// The segment.
    pub segment: SegmentId,
    /// Bytes from the start of its file.
    pub offset: u64,
    /// Bytes from there to the end of what the segment holds.
    pub available: u64,
}

/// One write that an append asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct WritePlan {
    /// The segment.
    pub segment: SegmentId,
    /// Bytes from the start of its file.
    pub offset: u64,
    /// What to write there.
    pub block: OutgoingBlock,
    /// The log's end once this is written.
    pub end: Position,
}

/// What `status` tells about the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Segment files that hold data, the active one included.
    pub segments: u64,
    /// Bytes of records that the index points at.
    pub live_bytes: u64,
    /// Bytes of the log that nothing points at: overwritten and deleted records, headers, padding.
    pub dead_bytes: u64,
    /// Bytes of the log kept in memory.
    pub tail_bytes: u64,
    /// Files of segments whose content was removed.
    pub stubs: u64,
}

/// What a segment had in memory. Dropping it gives that back to the kernel, which takes a while.
#[derive(Debug)]
pub struct Retired {
    memory: Option<SegmentMemory>,
    large: Vec<(Position, Bytes)>,
}

impl Retired {
    /// The segment's own mapping, if it is not used again. The large values are let go of here.
    #[must_use]
    pub fn into_map(self) -> Option<MmapMut> {
        drop(self.large);
        self.memory.map(SegmentMemory::into_map)
    }
}

#[derive(Debug)]
struct Segment {
    id: SegmentId,
    base: Position,
    /// End of the valid content.
    end: Position,
    /// The file's whole length.
    file_len: u64,
    /// No block of it has a lower number.
    sequence: u64,
    memory: Option<SegmentMemory>,
    /// Values that are kept apart, by their records' positions, ascending; where they would be in `memory` is a hole. Empty if the segment
    /// is not in memory.
    large: Vec<(Position, Bytes)>,
}

impl Segment {
    fn capacity(&self) -> u64 {
        self.file_len - SEGMENT_HEADER_LEN as u64
    }
}

/// One shard's log.
#[derive(Debug)]
pub struct Log {
    identity: Identity,
    tag: LogTag,
    segment_len: u64,
    /// Ascending by base; the last is the active one.
    segments: VecDeque<Segment>,
    /// Everything from here on is in memory.
    tail_start: Position,
    /// The segment that begins there.
    tail_first: usize,
    tail_bytes: u64,
    live_bytes: u64,
    /// An account for each of `segments`.
    ledger: Ledger,
    /// The stubs, in order. No two are neighbours.
    stubs: Vec<RemovedSegments>,
    holds: holds::Holds,
    /// A segment on disk, zero-filled, waiting to be activated, with the memory for it.
    prepared: Option<(SegmentId, u64, SegmentMemory)>,
    /// The header of a segment that was activated and not yet written to.
    header_due: Option<Vec<u8>>,
    sequence_next: u64,
    /// Memory that left the tail, kept for the segment that is prepared next.
    spare: Option<SegmentMemory>,
}

impl Log {
    /// An empty log. It has no segment yet: the first one is prepared and activated like any other.
    #[must_use]
    pub fn new(identity: Identity, tag: LogTag, segment_len: u64) -> Log {
        Log {
            identity,
            tag,
            segment_len,
            segments: VecDeque::new(),
            tail_start: Position(0),
            tail_first: 0,
            tail_bytes: 0,
            live_bytes: 0,
            ledger: Ledger::default(),
            stubs: Vec::new(),
            holds: holds::Holds::default(),
            prepared: None,
            header_due: None,
            sequence_next: 1,
            spare: None,
        }
    }

    /// The log as recovery found it, and what the replay counted: see [`Log::take_ledger`].
    #[must_use]
    pub fn recovered(
        identity: Identity,
        tag: LogTag,
        segment_len: u64,
        recovered: &Recovered,
        (ledger, live_bytes): (Ledger, u64),
    ) -> Log {
        let mut log = Log::new(identity, tag, segment_len);
        for found in &recovered.segments {
            assert!(
                log.segments
                    .back()
                    .is_none_or(|last| last.end <= found.base),
                "segments follow one another"
            );
            log.segments.push_back(Segment {
                id: found.id,
                base: found.base,
                end: found.end,
                file_len: found.len,
                sequence: found.sequence,
                memory: None,
                large: Vec::new(),
            });
        }
        assert_eq!(
            ledger.len(),
            log.segments.len(),
            "each segment was counted through"
        );
        log.live_bytes = live_bytes;
        log.ledger = ledger;
        log.stubs.clone_from(&recovered.removed);
        log.tail_start = log.end();
        log.tail_first = log.segments.len();
        log.sequence_next = recovered.next_sequence;
        log
    }

    /// Takes the bytes of the newest segment that is not in memory into the tail. Called after recovery for the active segment, and for as many before it
    /// as one likes, newest first. Values longer than `large_len` bytes are kept apart.
    ///
    /// # Errors
    /// When the kernel refuses the memory.
    pub fn load(&mut self, id: SegmentId, content: &[u8], large_len: usize) -> io::Result<()> {
        let place = self.next_to_load(large_len).expect("a segment to load");
        assert_eq!(place.segment, id, "segments are loaded newest first");
        let loaded = place.copy(content)?;
        let refused = self.loaded(id, loaded);
        assert!(refused.is_none(), "it is the next one");
        Ok(())
    }

    /// The newest segment that is not in memory.
    #[must_use]
    pub fn next_to_load(&self, large_len: usize) -> Option<ContentPlace> {
        let segment = &self.segments[self.tail_first.checked_sub(1)?];
        Some(ContentPlace {
            segment: segment.id,
            base: segment.base,
            end: segment.end,
            capacity: segment.capacity(),
            log: self.tag,
            large_len,
        })
    }

    /// Takes a segment's content into the tail. If it is no longer the newest that is not in memory, it is given back.
    #[must_use = "what is not taken is to be given back to the kernel where that holds nobody up"]
    pub fn loaded(&mut self, id: SegmentId, loaded: LoadedContent) -> Option<Retired> {
        let LoadedContent { memory, large } = loaded;
        let segment = match self.tail_first.checked_sub(1) {
            Some(at) if self.segments[at].id == id => &mut self.segments[at],
            _ => {
                let memory = Some(memory);
                return Some(Retired { memory, large });
            }
        };
        let large_bytes: usize = large.iter().map(|(_, value)| value.len()).sum();
        self.tail_start = segment.base;
        self.tail_first -= 1;
        self.tail_bytes += memory.capacity() as u64 + large_bytes as u64;
        segment.memory = Some(memory);
        segment.large = large;
        None
    }

    /// The number of the segment to prepare next, and its length, if none is ready yet.
    #[must_use]
    pub fn wants_prepared(&self) -> Option<(SegmentId, u64)> {
        match self.prepared {
            Some(_) => None,
            None => Some((
                SegmentId(self.segments.back().map_or(1, |last| last.id.0 + 1)),
                self.segment_len,
            )),
        }
    }

    /// The header that a prepared segment is made with.
    #[must_use]
    pub fn prepared_header(&self, id: SegmentId, len: u64, created: WallMillis) -> Vec<u8> {
        self.header(id, len, created, SegmentState::Prepared)
    }

    /// Memory that left the tail, for the segment that is prepared next.
    pub fn take_spare(&mut self) -> Option<SegmentMemory> {
        self.spare.take()
    }

    /// A prepared segment is on disk, and there is memory for what goes into it.
    pub fn prepared(&mut self, id: SegmentId, len: u64, memory: SegmentMemory) {
        assert!(self.prepared.is_none(), "one segment is prepared at a time");
        assert_eq!(
            memory.capacity() as u64,
            len - SEGMENT_HEADER_LEN as u64,
            "a segment's memory is as long as its content may be"
        );
        self.tail_bytes += memory.capacity() as u64;
        self.prepared = Some((id, len, memory));
    }

    /// Bytes that are left in the active segment.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.segments.back().map_or(0, |active| {
            active.capacity() - (active.end.0 - active.base.0)
        })
    }

    /// Bytes that the active segment holds when it is full.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.segments.back().map_or(0, Segment::capacity)
    }

    /// Whether [`Log::rotate`] can go ahead.
    #[must_use]
    pub fn can_rotate(&self) -> bool {
        self.prepared.is_some()
    }

    /// Makes the prepared segment the active one. The next append writes its header too.
    pub fn rotate(&mut self, now: WallMillis) {
        let (id, file_len, memory) = self
            .prepared
            .take()
            .expect("rotate is called when can_rotate");
        let base = self.end();
        self.header_due = Some(self.header(id, file_len, now, SegmentState::Active { base }));
        self.ledger.begin(base);
        self.segments.push_back(Segment {
            id,
            base,
            end: base,
            file_len,
            sequence: self.sequence_next,
            memory: Some(memory),
            large: Vec::new(),
        });
    }

    /// Appends one block: `build` fills it in place. The block must fit. `spare` is a block that was written, for its memory.
    pub fn append(
        &mut self,
        len: usize,
        spare: OutgoingBlock,
        build: impl FnOnce(BlockBuilder<'_>, u64) -> FinishedBlock,
    ) -> WritePlan {
        assert!(
            len as u64 <= self.room(),
            "a block is appended where it fits"
        );
        let sequence = self.sequence_next;
        self.sequence_next += 1;
        let active = self
            .segments
            .back_mut()
            .expect("a block that fits has a segment");
        let memory = active
            .memory
            .as_mut()
            .expect("the active segment is in memory");
        let start = active.end;
        let at = (start.0 - active.base.0) as usize;
        let block = BlockBuilder::new(memory.range_mut(at..at + len), start, active.base, self.tag);
        let finished = build(block, sequence);
        assert_eq!(finished.len, len, "a block is as long as it was said to be");
        active.end = Position(start.0 + len as u64);
        let kept = finished
            .large
            .iter()
            .map(|large| (large.position, large.value.clone()));
        active.large.extend(kept);
        let large_bytes: usize = finished.large.iter().map(|large| large.value.len()).sum();
        self.tail_bytes += large_bytes as u64;
        let segment_header = self.header_due.take().unwrap_or_default();
        let offset = if segment_header.is_empty() {
            SEGMENT_HEADER_LEN as u64 + at as u64
        } else {
            0
        };
        let parts = between(&finished, memory.from(at, at + len));
        let mut outgoing = spare.emptied();
        outgoing.fill(
            &segment_header,
            parts.into_iter(),
            finished.large,
            finished.header,
            active.base,
        );
        WritePlan {
            segment: active.id,
            offset,
            block: outgoing,
            end: active.end,
        }
    }

    /// The newest block, which ends at `end`, is written: takes over the checksums that were open when it was appended.
    pub fn written(&mut self, end: Position, block: &OutgoingBlock) {
        if !block.has_large_values() {
            return;
        }
        let active = self
            .segments
            .back_mut()
            .expect("a block that was written has a segment");
        assert_eq!(active.end, end, "one block is written at a time");
        let memory = active
            .memory
            .as_mut()
            .expect("the active segment is in memory");
        let start = (end.0 - active.base.0) as usize - block.block_len();
        for (at, part) in block.small_parts() {
            memory
                .range_mut(start + at..start + at + part.len())
                .copy_from_slice(part);
        }
    }

    /// Takes the oldest segments out of memory until the tail holds at most `budget` bytes, and gives back their memory but for what the next
    /// segment can use. The active segment always stays, and so does everything from `keep` on.
    pub fn shrink_tail(&mut self, budget: u64, keep: Position) -> Vec<Retired> {
        let mut retired = Vec::new();
        while self.tail_bytes > budget {
            let active = self.segments.len().saturating_sub(1);
            let Some(oldest) = self
                .segments
                .iter()
                .position(|segment| segment.memory.is_some())
            else {
                break;
            };
            if oldest == active || self.segments[oldest].end > keep {
                break;
            }
            let segment = &mut self.segments[oldest];
            let memory = segment
                .memory
                .take()
                .expect("the segment was found by its memory");
            let large = std::mem::take(&mut segment.large);
            let large_bytes: usize = large.iter().map(|(_, value)| value.len()).sum();
            self.tail_bytes -= memory.capacity() as u64 + large_bytes as u64;
            self.tail_start = self.segments[oldest + 1].base;
            self.tail_first = oldest + 1;
            let memory = self.keep_spare(memory);
            retired.push(Retired { memory, large });
        }
        retired
    }

    /// Keeps memory for the next segment if none is kept and it can be used; else gives it back.
    fn keep_spare(&mut self, memory: SegmentMemory) -> Option<SegmentMemory> {
        let is_like_the_next =
            memory.capacity() as u64 == self.segment_len - SEGMENT_HEADER_LEN as u64;
        if self.spare.is_none() && is_like_the_next {
            self.spare = Some(memory);
            return None;
        }
        Some(memory)
    }

    /// The record of `bytes` at a position became what its key holds.
    #[inline]
    pub fn add_live(&mut self, position: Position, bytes: u64) {
        self.live_bytes += bytes;
        self.ledger.at_mut(position).live += bytes;
    }

    /// The record of `bytes` at a position is no longer what its key holds.
    #[inline]
    pub fn remove_live(&mut self, position: Position, bytes: u64) {
        self.drop_live(bytes);
        self.forget_live(position, bytes);
    }

    /// Records of `bytes` in all are no longer what their keys hold. Each is still to be [forgotten](Log::forget_live).
    pub fn drop_live(&mut self, bytes: u64) {
        assert!(
            self.live_bytes >= bytes,
            "bytes are counted in before they are counted out"
        );
        self.live_bytes -= bytes;
    }

    /// The record of `bytes` at a position is one of those that were dropped together.
    #[inline]
    pub fn forget_live(&mut self, position: Position, bytes: u64) {
        let account = self.ledger.at_mut(position);
        assert!(
            account.live >= bytes,
            "bytes of a segment are counted in before they are counted out"
        );
        account.live -= bytes;
    }

    /// Of what is at a position, so many bytes may be needed though the index does not point at it.
    #[inline]
    pub fn add_tombstone(&mut self, position: Position, bytes: u64) {
        self.ledger.at_mut(position).tombstones += bytes;
    }

    /// During a replay, before the log is known: a segment begins.
    pub fn replaying(&mut self, base: Position) {
        self.ledger.begin(base);
    }

    /// During a replay: a part of the segment that began last was given up.
    pub fn replayed_skip(&mut self) {
        if let Some(account) = self.ledger.newest_mut() {
            account.has_skip = true;
        }
    }

    /// After a replay: what was counted, by segment and in all. By segment it may be more: what was cleared is still to be forgotten.
    pub fn take_ledger(&mut self) -> (Ledger, u64) {
        let live_bytes = std::mem::take(&mut self.live_bytes);
        (std::mem::take(&mut self.ledger), live_bytes)
    }

    /// The record at a position and, if its value is kept apart, the handle on that; `None` if it is not in memory.
    #[must_use]
    #[inline]
    pub fn record_at(&self, position: Position) -> Option<(Record<'_>, Option<&Bytes>)> {
        let (segment, bytes) = self.bytes_at(position)?;
        let large = match segment.large.binary_search_by_key(&position, |(at, _)| *at) {
            Ok(found) => Some(&segment.large[found].1),
            Err(_) => None,
        };
        let record = match large {
            None => Record::parse(bytes),
            Some(value) => Record::parse_apart(bytes, value),
        };
        let record = record.expect("what this process wrote or checked into memory parses");
        Some((record, large))
    }

    /// The address of a position, to be prefetched, if it is in memory.
    #[must_use]
    #[inline]
    pub fn address_of(&self, position: Position) -> Option<*const u8> {
        Some(self.bytes_at(position)?.1.as_ptr())
    }

    /// The segment of a position, and its bytes from there to the end of its content, if they are in memory.
    #[inline]
    fn bytes_at(&self, position: Position) -> Option<(&Segment, &[u8])> {
        if position < self.tail_start {
            return None;
        }
        let segment = &self.segments[self.ledger.find(position)?];
        let memory = segment.memory.as_ref()?;
        let start = (position.0 - segment.base.0) as usize;
        let end = (segment.end.0 - segment.base.0) as usize;
        (start < end).then(|| (segment, memory.from(start, end)))
    }

    /// Where on disk a position is, or `None` if no segment holds it.
    #[must_use]
    pub fn place_of(&self, position: Position) -> Option<FilePlace> {
        let segment = &self.segments[self.ledger.find(position)?];
        Some(FilePlace {
            segment: segment.id,
            offset: SEGMENT_HEADER_LEN as u64 + (position.0 - segment.base.0),
            available: segment.end.0.checked_sub(position.0)?,
        })
    }

    /// Where a segment's content ends, if it is part of the log.
    #[must_use]
    pub fn end_of(&self, id: SegmentId) -> Option<Position> {
        let at = self
            .segments
            .binary_search_by_key(&id, |segment| segment.id);
        at.ok().map(|at| self.segments[at].end)
    }

    /// The active segment, if there is one.
    #[must_use]
    pub fn active(&self) -> Option<SegmentId> {
        self.segments.back().map(|segment| segment.id)
    }

    /// Where the next block goes.
    #[must_use]
    pub fn end(&self) -> Position {
        self.segments.back().map_or(Position(0), |last| last.end)
    }

    /// Everything from here on is in memory.
    #[must_use]
    #[inline]
    pub fn tail_start(&self) -> Position {
        self.tail_start
    }

    /// Bytes of memory that the tail takes.
    #[must_use]
    pub fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    /// The tag of its segments and blocks.
    #[must_use]
    pub fn tag(&self) -> LogTag {
        self.tag
    }

    /// What a new segment's file is long.
    #[must_use]
    pub fn segment_len(&self) -> u64 {
        self.segment_len
    }

    /// Bytes of records that the index points at.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Figures for `status`.
    #[must_use]
    pub fn statistics(&self) -> LogStatistics {
        let total: u64 = self
            .segments
            .iter()
            .map(|segment| segment.end.0 - segment.base.0)
            .sum();
        LogStatistics {
            segments: self.segments.len() as u64,
            live_bytes: self.live_bytes,
            dead_bytes: total - self.live_bytes,
            tail_bytes: self.tail_bytes,
            stubs: self.stubs.len() as u64,
        }
    }

    fn header(&self, id: SegmentId, len: u64, created: WallMillis, state: SegmentState) -> Vec<u8> {
        let header = SegmentHeader {
            node: self.identity.node,
            shard: self.identity.shard,
            shard_count: self.identity.shard_count,
            log: self.tag,
            segment: id,
            segment_len: len,
            created,
            state,
        };
        let mut bytes = vec![0; SEGMENT_HEADER_LEN];
        bytes[..SECTOR_LEN].copy_from_slice(&header.encode());
        bytes
    }
}

/// The parts of a finished block between its large values, out of the memory that it was built in.
fn between<'a>(block: &FinishedBlock, memory: &'a [u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::with_capacity(block.large.len() + 1);
    let (mut at, mut values) = (0, 0);
    for large in &block.large {
        let value_at = large.value_at + values;
        parts.push(&memory[at..value_at]);
        at = value_at + large.value.len();
        values += large.value.len();
    }
    parts.push(&memory[at..]);
    parts
}
