//! Recovery: from the bytes of a shard's segment files to the log that was acknowledged, and what to do before
//! writing on.
//!
//! [`recover`] is a function of bytes: it reads, visits every record in log order, and gives back a plan. It changes
//! nothing. The steps, a file each:
//!
//! 1. `survey` reads the segments' headers, refuses files that belong to another log, and settles which
//!    segments have begun.
//! 2. `chain` follows the blocks from the log's start. Each block must be where the one before ended and have
//!    the next number; its payload is checked once, then its records are visited.
//! 3. Where the chain breaks, `tear` decides what that is: the log's end, a torn write, or damage.
//!
//! [`recover_with`] takes saved indexes (`storage::summary`) besides. A segment of which there is a good one that fits is not followed block by block: the
//! chain goes on where it ends, and the visitor is told. What fits, says `chain`. What is damaged inside such a
//! segment is found when it is read. Salvage reads everything: whoever asks for it wants to know.
//!
//! Beside it, for people who look into files: `walk` goes through one segment, and `remains` looks for records in what is given up.
//!
//! # Torn or damaged
//!
//! A crash may leave anything of what was in flight: blocks that were written and whose fdatasync had not
//! returned. None of that was acknowledged, and it is cut without a word. Whatever was synced must be there; if
//! it isn't, the disk lost it, and to cut it in silence would lose acknowledged writes. Three things tell the
//! two apart:
//!
//! - **Testimony.** Every block says how far the log was synced when it was written (`durable`). Any later
//!   block whose header is whole, in this segment or a later one, and whose `durable` is above the bad place
//!   proves damage. A segment is begun only when everything before it is synced, so its base is testimony too.
//!   A seal testifies for all before it.
//! - **Sectors.** A disk writes a sector wholly or not at all, and the space was zeros before. So a block that
//!   was torn has its header whole or all zero, and what is missing of its payload is whole sectors of zeros,
//!   more of them than its header counts. Any other shape (a flipped bit, an overwritten range) is damage, even
//!   at the very end.
//! - **Order.** A block's write begins when the one before has been written (not synced), so if a sector holds
//!   anything of a later block it holds all that precedes it in that sector.
//!
//! What remains undecidable: sectors at the end of the log that were synced and came back as zeros, with no
//! later block to testify. The clean stop's seal closes that gap. `docs/on-disk-format.md` argues each crash.
//!
//! # What the caller does with the plan
//!
//! In this order: carry out `repairs` as listed, fdatasync every segment file that is left and the directory,
//! and only then serve or write anything. The sync is not optional even if there is nothing to repair: after
//! `kill -9` the blocks that were read here may be in the page cache alone, and a value that was served must
//! not vanish in a power loss. A crash on the way is harmless: every repair leaves bytes from which the next
//! recovery draws the same conclusion.

mod chain;
mod error;
mod remains;
mod survey;
mod tear;
#[cfg(test)]
mod tests;
mod walk;

pub(in crate::storage) use chain::{check_content, payload_position};
pub use error::{Damage, Fault, Proof, RecoveryError};
pub use remains::{Remain, Remains};
pub use walk::{Piece, Walk};

use crate::limits::{SECTOR_LEN, SEGMENT_LEN_MAX};
use crate::storage::format::{
    Entry, LogTag, RecordAt, RemovedRange, SEGMENT_HEADER_LEN, SegmentState,
};
use crate::storage::summary::Summary;
use crate::types::{PartitionId, Position, SegmentId, ShardId, WallMillis};

use chain::{Chain, Span};
use survey::Begun;

/// Whose log is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node's number.
    pub node: u128,
    /// The shard.
    pub shard: ShardId,
    /// The node's number of shards.
    pub shard_count: u16,
}

/// One segment file.
#[derive(Clone, Copy, Debug)]
pub struct SegmentFile<'a> {
    /// The segment, by the file's name.
    pub id: SegmentId,
    /// How a person would find the file. Holds the number as [`SegmentId`] displays it, or else what is missing beside it can't be named as well.
    pub name: &'a str,
    /// All its bytes.
    pub bytes: &'a [u8],
}

/// Sees what the log holds, in log order: each entry, then its records. Only blocks that are whole are shown.
pub trait Visitor {
    /// An entry begins.
    fn entry(&mut self, entry: &Entry<'_>);
    /// A record of that entry.
    fn record(&mut self, partition: PartitionId, record: &RecordAt<'_>);
    /// A segment that holds data begins, at this position.
    fn segment_begin(&mut self, base: Position) {
        let _ = base;
    }
    /// A range that compaction has removed was here.
    fn removed(&mut self, range: &RemovedRange) {
        let _ = range;
    }
    /// So many bytes of log are gone, at this start or an earlier one: salvage gave them up. Whatever was in them was newer than what was
    /// shown so far and older than what comes.
    fn given_up(&mut self, bytes: u64) {
        let _ = bytes;
    }
    /// This segment is not gone over: all that there is to know of it is in its summary, of the given number among those that recovery was given.
    fn summarized(&mut self, segment: SegmentId, summary: usize) {
        let _ = (segment, summary);
    }
    /// Nothing more of this segment will be read: its pages may go.
    fn segment_end(&mut self, segment: SegmentId) {
        let _ = segment;
    }
}

/// What was found, and what is to be done before anything is served or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The log's tag; none if the log is new and has to draw one.
    pub log: Option<LogTag>,
    /// The segments that have begun, in order. The last is the one to go on in. Higher ones will have been deleted.
    pub segments: Vec<RecoveredSegment>,
    /// The stubs of those that compaction has removed, in order.
    pub removed: Vec<RemovedSegments>,
    /// Where the next block goes.
    pub end: Position,
    /// The next block's number.
    pub next_sequence: u64,
    /// The latest wall-clock time in the log: of records and blocks.
    pub timestamp_max: WallMillis,
    /// The log ends with a seal, or is empty, and nothing was cut or given up: the last stop was a clean one.
    pub clean: bool,
    /// To carry out in this order.
    pub repairs: Vec<Repair>,
    /// What `--salvage` gave up. Empty without it.
    pub damage: Vec<Damage>,
}

/// A segment that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredSegment {
    /// Its number.
    pub id: SegmentId,
    /// Position of its first block.
    pub base: Position,
    /// End of its last block.
    pub end: Position,
    /// Length of the file, in bytes.
    pub len: u64,
    /// No block of it has a lower number.
    pub sequence: u64,
}

/// A range of the log that compaction has removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedSegments {
    /// The last of the segments: its file is the stub that stands for all of them.
    pub stub: SegmentId,
    /// What is gone.
    pub range: RemovedRange,
}

/// One change to the files.
///
/// All are idempotent, and a crash may leave any sectors of them done and others not: [`recover`] then comes to
/// the same result. A `Zero` begins where the chain broke, and each sector it clears is one more that is
/// missing of a block that was torn already. A `Write` is one sector. Before an `Extend`, all earlier changes of its file are synced: a file that is
/// too short is damage at the next start too, until what it lost is covered. A `Delete` that is forgotten leaves a segment that has not begun, and a `Create` an empty file or
/// none, which are the same to salvage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Write zeros over what a crash left of blocks that were never acknowledged, so that it can't come back when the log has grown up to it.
    Zero {
        /// In this segment.
        segment: SegmentId,
        /// From here in the file.
        offset: u64,
        /// So many bytes.
        len: u64,
    },
    /// Write these bytes, which lie in one sector: a skip over what salvage gave up, or a segment's lost header. Before it all files are synced, for a header
    /// says that what is before it was on disk.
    Write {
        /// In this segment.
        segment: SegmentId,
        /// From here in the file.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Fill a file that has lost its end up with zeros.
    Extend {
        /// This segment.
        segment: SegmentId,
        /// To so many bytes.
        len: u64,
    },
    /// Make an empty file: salvage takes a missing one for that. Before it all files are synced, and after it the directory: what shows that
    /// the file is missing must not vanish in a crash before the file is there.
    Create {
        /// This segment.
        segment: SegmentId,
    },
    /// Sync the file, then cut it off at a length: it is a stub, and what is behind its header is of no use. The sync comes first, for the header that
    /// makes it a stub may be in the page cache alone.
    Truncate {
        /// This segment.
        segment: SegmentId,
        /// To so many bytes.
        len: u64,
    },
    /// Delete the file, and sync the directory before anything else: it was prepared and never begun, or a stub stands for it.
    Delete {
        /// This segment.
        segment: SegmentId,
    },
}

impl Repair {
    /// The segment whose file it changes.
    #[must_use]
    pub fn segment(&self) -> SegmentId {
        match self {
            Repair::Zero { segment, .. }
            | Repair::Write { segment, .. }
            | Repair::Extend { segment, .. }
            | Repair::Create { segment }
            | Repair::Truncate { segment, .. }
            | Repair::Delete { segment } => *segment,
        }
    }
}

/// Reads a shard's log. `files` are all its segment files in any order. With `salvage`, damaged ranges are
/// given up and listed; without, the first one is the error. Nothing is changed: see [`Recovered::repairs`] and
/// the module's documentation for what to do next.
///
/// # Errors
/// [`RecoveryError`]: the log can't be used as it is. The visitor may have seen a part of it.
///
/// # Panics
/// If two files have the same number: a directory can't hold them under one name.
pub fn recover(
    identity: &Identity,
    salvage: bool,
    files: &[SegmentFile<'_>],
    visitor: &mut impl Visitor,
) -> Result<Recovered, RecoveryError> {
    recover_with(identity, salvage, files, &[], visitor)
}

/// As [`recover`], with the summaries that there are, each whole and made under this node's secret. Those that fit stand for their segments, unless there is
/// something to salvage.
///
/// # Errors
/// As [`recover`].
///
/// # Panics
/// As [`recover`].
pub fn recover_with(
    identity: &Identity,
    salvage: bool,
    files: &[SegmentFile<'_>],
    summaries: &[Summary<'_>],
    visitor: &mut impl Visitor,
) -> Result<Recovered, RecoveryError> {
    let summaries: &[Summary<'_>] = if salvage { &[] } else { summaries };
    let mut files: Vec<SegmentFile<'_>> = files.to_vec();
    files.sort_by_key(|file| file.id);
    assert!(
        files.is_sorted_by(|left, right| left.id < right.id),
        "segment numbers are unique"
    );

    let covered = survey::take_covered(&mut files);
    let absent = match salvage {
        true => survey::absent(&files),
        false => Vec::new(),
    };
    let survey = survey::survey(identity, &files, &absent)?;
    let mut plan = Plan {
        salvage,
        repairs: Vec::new(),
        damage: Vec::new(),
    };
    let mut chain = Chain::new(survey.log);
    let mut segments = Vec::with_capacity(survey.begun.len());
    let mut removed = Vec::new();
    for (index, begun) in survey.begun.iter().enumerate() {
        for damage in &begun.damage {
            plan.give_up(damage.clone())?;
        }
        if begun.is_missing {
            plan.repairs.push(Repair::Create {
                segment: begun.file.id,
            });
        }
        if let SegmentState::Removed(range) = begun.header.state {
            chain.pass(begun.file, &range)?;
            plan.tidy_stub(begun, &covered);
            visitor.removed(&range);
            visitor.segment_end(begun.file.id);
            removed.push(RemovedSegments {
                stub: begun.file.id,
                range,
            });
            continue;
        }
        let base = begun.base.unwrap_or(chain.end);
        let later = &survey.begun[index + 1..];
        let next_base = later.first().and_then(|next| next.base);
        let mut header = begun.header;
        if let Some(next_base) = next_base.filter(|_| begun.len_is_lost) {
            let needed = SEGMENT_HEADER_LEN as u64 + next_base.0.saturating_sub(base.0);
            let needed = needed.next_multiple_of(SECTOR_LEN as u64);
            header.segment_len = header.segment_len.max(needed.min(SEGMENT_LEN_MAX));
        }
        if !begun.header_is_good {
            header.state = SegmentState::Active { base };
            plan.write(begun.file.id, 0, header.encode().to_vec());
        }
        let span = Span {
            file: begun.file,
            base,
            capacity: header.capacity(),
            log: begun.log_bytes(),
            next: later.first().map(|next| next.file),
            next_base,
            later_base: later.iter().find_map(|later| later.base),
            is_missing: begun.is_missing,
            testimony: if later.is_empty() {
                survey.testimony
            } else {
                Position(0)
            },
        };
        span.check_place(&chain)?;
        let sequence = chain.next_sequence;
        visitor.segment_begin(base);
        let is_whole = begun.header_is_good && begun.damage.is_empty();
        let fits =
            |summary: &Summary<'_>| is_whole && chain.continues_with(&span, &header, summary);
        match summaries.iter().position(fits) {
            Some(number) => {
                chain.take_over(&summaries[number]);
                visitor.summarized(begun.file.id, number);
            }
            None => chain.follow(&span, &mut plan, visitor)?,
        }
        let actual = begun.file.bytes.len() as u64;
        // What is behind the length that the header says is never read, so a longer file has lost nothing.
        if actual < header.segment_len {
            if chain.end <= span.present() {
                let (fault, proof) = span.lost_end();
                plan.give_up(Damage {
                    file: begun.file.name.to_owned(),
                    segment: begun.file.id,
                    offset: actual,
                    len: 0,
                    fault,
                    proof,
                })?;
            }
            plan.repairs.push(Repair::Extend {
                segment: begun.file.id,
                len: header.segment_len,
            });
        }
        visitor.segment_end(begun.file.id);
        segments.push(RecoveredSegment {
            id: begun.file.id,
            base,
            end: chain.end,
            len: header.segment_len,
            sequence,
        });
    }
    // Highest first, so that a crash on the way leaves no hole. The first segment's file stays, to be written over: a shard that has no file
    // at all has lost what it had.
    let unused = survey.unused.iter().rev();
    let unused = unused.filter(|segment| **segment != survey::FIRST);
    plan.repairs
        .extend(unused.map(|segment| Repair::Delete { segment: *segment }));
    Ok(Recovered {
        log: (!segments.is_empty()).then_some(survey.log),
        segments,
        removed,
        end: chain.end,
        next_sequence: chain.next_sequence,
        timestamp_max: chain.timestamp_max,
        clean: chain.is_clean() && plan.damage.is_empty(),
        repairs: plan.repairs,
        damage: plan.damage,
    })
}

/// What recovery decides as it goes.
struct Plan {
    salvage: bool,
    repairs: Vec<Repair>,
    damage: Vec<Damage>,
}

impl Plan {
    /// Damage is the end of it, unless the operator has asked to salvage what is left.
    fn give_up(&mut self, damage: Damage) -> Result<(), RecoveryError> {
        if !self.salvage {
            return Err(RecoveryError::Damaged(Box::new(damage)));
        }
        self.damage.push(damage);
        Ok(())
    }

    /// Ends a removal that a crash cut short: a stub is its header alone, and the files that it stands for are gone.
    fn tidy_stub(&mut self, stub: &Begun<'_>, covered: &[SegmentId]) {
        let segment = stub.file.id;
        let SegmentState::Removed(range) = stub.header.state else {
            return;
        };
        let header = stub.header.encode();
        for copy in [0, SECTOR_LEN] {
            if stub.file.bytes.get(copy..copy + SECTOR_LEN) != Some(&header[..]) {
                self.write(segment, copy as u64, header.to_vec());
            }
        }
        let left = covered
            .iter()
            .filter(|id| (range.first..segment).contains(*id));
        let left: Vec<SegmentId> = left.copied().collect();
        let is_whole = stub.file.bytes.len() > SEGMENT_HEADER_LEN;
        if is_whole || !left.is_empty() {
            self.repairs.push(Repair::Truncate {
                segment,
                len: SEGMENT_HEADER_LEN as u64,
            });
        }
        let deletes = left.into_iter().map(|segment| Repair::Delete { segment });
        self.repairs.extend(deletes);
    }

    fn write(&mut self, segment: SegmentId, offset: u64, bytes: Vec<u8>) {
        self.repairs.push(Repair::Write {
            segment,
            offset,
            bytes,
        });
    }
}

/// The file's bytes that hold log.
fn log_bytes(file: &[u8]) -> &[u8] {
    file.get(SEGMENT_HEADER_LEN..).unwrap_or_default()
}
