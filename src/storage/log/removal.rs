//! Taking a segment out of the log: which files that changes, and what is left of it in memory.
//!
//! What stands for the segments that are gone is a **stub**: the file of the last of them, cut down to its header, which says *removed* and
//! from which segment and position to which. When a segment between two stubs goes, one header is written that stands for all three, and the
//! other files go. So on disk a removal happens at one moment, with one sector; whatever a crash leaves of the rest is recognised by it.

use super::{Log, Retired};
use crate::limits::SECTOR_LEN;
use crate::storage::format::{Given, RemovedRange, SegmentHeader, SegmentState};
use crate::storage::recovery::{RecoveredSegment, RemovedSegments};
use crate::types::{Position, SegmentId, WallMillis};

/// What compaction decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// The segment.
    pub id: SegmentId,
    /// Position of its first block.
    pub base: Position,
    /// End of its last block.
    pub end: Position,
    /// Length of the file, in bytes.
    pub file_len: u64,
    /// Bytes of records that the index points at; may be too high for a while.
    pub live: u64,
    /// Bytes that may have to be kept beside them.
    pub tombstones: u64,
    /// It must stay for now: it is held, or damage was given up in it.
    pub must_stay: bool,
}

/// How the files come to say that a segment is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// What will stand for it.
    pub stub: RemovedSegments,
    /// What the stub's file begins with.
    pub header: Vec<u8>,
    /// The files that it stands for as well, which are deleted after that.
    pub delete: Vec<SegmentId>,
}

impl Log {
    /// The segments in order, all but the active one.
    pub fn sealed_segments(&self) -> impl Iterator<Item = SegmentFacts> {
        let sealed = self.segments.len().saturating_sub(1);
        (0..sealed).map(|at| self.facts_at(at))
    }

    /// What is known of one segment, if it is there.
    #[must_use]
    pub fn facts(&self, id: SegmentId) -> Option<SegmentFacts> {
        let at = self
            .segments
            .binary_search_by_key(&id, |segment| segment.id);
        at.ok().map(|at| self.facts_at(at))
    }

    fn facts_at(&self, at: usize) -> SegmentFacts {
        let segment = &self.segments[at];
        let account = self.ledger.account(at);
        SegmentFacts {
            id: segment.id,
            base: segment.base,
            end: segment.end,
            file_len: segment.file_len,
            live: account.live,
            tombstones: account.tombstones,
            must_stay: account.has_skip || self.is_held(segment.id),
        }
    }

    /// The segments in order, the active one included.
    pub fn segments(&self) -> impl Iterator<Item = RecoveredSegment> {
        self.segments.iter().map(|segment| RecoveredSegment {
            id: segment.id,
            base: segment.base,
            end: segment.end,
            len: segment.file_len,
            sequence: segment.sequence,
        })
    }

    /// The stubs, in order.
    #[must_use]
    pub fn stubs(&self) -> &[RemovedSegments] {
        &self.stubs
    }

    /// The number of the next block.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence_next
    }

    /// Where the oldest segment but this one begins: nothing but this one lies below.
    #[must_use]
    pub fn oldest_beside(&self, segment: SegmentId) -> Position {
        let others = self.segments.iter().filter(|other| other.id != segment);
        others.map(|other| other.base).next().unwrap_or(self.end())
    }

    /// A segment's content, as far as it is in memory: holes where large values are kept apart.
    #[must_use]
    pub fn content(&self, segment: SegmentId) -> Option<&[u8]> {
        let segment = self.segments.iter().find(|found| found.id == segment)?;
        let memory = segment.memory.as_ref()?;
        Some(memory.from(0, (segment.end.0 - segment.base.0) as usize))
    }

    /// How a segment is taken away, which must not be the active one. `given` are the numbers that were given so far.
    #[must_use]
    pub fn removal(&self, segment: SegmentId, given: Given, created: WallMillis) -> Removal {
        let at = self.place_in_order(segment);
        let (gone, next) = (&self.segments[at], &self.segments[at + 1]);
        // All stubs up to the segments on both sides. There may be several in a row: a removal that failed may have been carried out all the same.
        let lower = at.checked_sub(1).map(|lower| self.segments[lower].id);
        let beside = self
            .stubs
            .iter()
            .filter(|other| lower.is_none_or(|lower| other.stub > lower) && other.stub < next.id);
        let before = beside.clone().find(|other| other.stub < segment);
        let last = beside
            .clone()
            .map(|other| other.stub)
            .chain([segment])
            .max();
        let stub = RemovedSegments {
            stub: last.unwrap_or(segment),
            range: RemovedRange {
                first: before.map_or(segment, |before| before.range.first),
                base: before.map_or(gone.base, |before| before.range.base),
                end: next.base,
                sequence: next.sequence,
                given,
            },
        };
        let mut delete: Vec<SegmentId> = beside.map(|other| other.stub).chain([segment]).collect();
        delete.retain(|file| *file != stub.stub);
        let header = SegmentHeader {
            node: self.identity.node,
            shard: self.identity.shard,
            shard_count: self.identity.shard_count,
            log: self.tag,
            segment: stub.stub,
            segment_len: gone.file_len,
            created,
            state: SegmentState::Removed(stub.range),
        };
        Removal {
            stub,
            header: [header.encode(); 2].concat(),
            delete,
        }
    }

    /// A segment was taken away. Gives back what it had in memory.
    pub fn removed(&mut self, segment: SegmentId, stub: RemovedSegments) -> Option<Retired> {
        let at = self.place_in_order(segment);
        self.stubs
            .retain(|other| other.stub < stub.range.first || other.range.first > stub.stub);
        let place = self.stubs.partition_point(|other| other.stub < stub.stub);
        self.stubs.insert(place, stub);
        assert_eq!(
            self.ledger.account(at).live,
            0,
            "nothing lives in a segment that goes"
        );
        self.ledger.remove(at);
        let gone = self.segments.remove(at).expect("its place was found");
        if at < self.tail_first {
            self.tail_first -= 1;
        } else if at == self.tail_first {
            self.tail_start = self.segments[at].base;
        }
        let memory = gone.memory?;
        let large_bytes: usize = gone.large.iter().map(|(_, value)| value.len()).sum();
        self.tail_bytes -= memory.capacity() as u64 + large_bytes as u64;
        let memory = self.keep_spare(memory);
        Some(Retired {
            memory,
            large: gone.large,
        })
    }

    fn place_in_order(&self, segment: SegmentId) -> usize {
        let at = self
            .segments
            .iter()
            .position(|found| found.id == segment)
            .expect("the segment is there");
        assert!(at + 1 < self.segments.len(), "the active segment stays");
        at
    }
}

const _: () = assert!(2 * SECTOR_LEN <= crate::storage::format::SEGMENT_HEADER_LEN);
