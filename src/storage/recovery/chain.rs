//! Following the log from block to block, and showing what is in them.
//!
//! The chain's state is where the next block must begin and which number it must have. A block that has both,
//! belongs to this log, fits in its segment and has the payload that its header promises is accepted; its
//! structure is checked to the last record before the first is shown, so that a visitor never sees a part of a
//! block. Anything else is a break, and `tear` judges it.

use super::error::{Damage, Fault, Proof, RecoveryError};
use super::tear::{self, Verdict};
use super::{Plan, Repair, SegmentFile, Visitor};
use crate::limits::BLOCK_ALIGN;
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, Entries, EntryError, LogTag, RemovedRange,
    SEGMENT_HEADER_LEN, SegmentHeader, payload_crc,
};
use crate::storage::summary::Summary;
use crate::types::{Position, WallMillis};

/// One segment's part of the log.
pub(super) struct Span<'a> {
    pub(super) file: SegmentFile<'a>,
    /// Position of its first byte.
    pub(super) base: Position,
    /// Bytes of log that it can hold.
    pub(super) capacity: u64,
    /// The bytes that there are: `capacity` of them unless the file was truncated.
    pub(super) log: &'a [u8],
    /// The segment after this one: everything in this one was synced when it was begun.
    pub(super) next: Option<SegmentFile<'a>>,
    /// Where that one begins, if that is known: this one's blocks must end exactly there.
    pub(super) next_base: Option<Position>,
    /// Where the first later segment begins of which that is known: no block of this one reaches beyond.
    pub(super) later_base: Option<Position>,
    /// The file is not there.
    pub(super) is_missing: bool,
    /// What the files that have not begun say was synced.
    pub(super) testimony: Position,
}

impl<'a> Span<'a> {
    /// The segment must begin where the log has ended so far, and the next one must begin within it.
    pub(super) fn check_place(&self, chain: &Chain) -> Result<(), RecoveryError> {
        if self.base != chain.end {
            return Err(RecoveryError::Gap {
                file: self.file.name.to_owned(),
                base: self.base,
                reach: chain.end,
            });
        }
        let reach = self.reach();
        match self.next.zip(self.next_base) {
            Some((next, base)) if base < self.base => Err(self.overlap(next, base)),
            Some((next, base)) if base > reach => Err(RecoveryError::Gap {
                file: next.name.to_owned(),
                base,
                reach,
            }),
            _ => Ok(()),
        }
    }

    /// The position behind the last byte that the segment can hold.
    fn reach(&self) -> Position {
        Position(self.base.0.saturating_add(self.capacity))
    }

    /// The position behind the last byte of it that is there.
    pub(super) fn present(&self) -> Position {
        Position(self.base.0.saturating_add(self.log.len() as u64))
    }

    /// That the file, or its end, is not there, and how we know that it was.
    pub(super) fn lost_end(&self) -> (Fault, Proof) {
        if !self.is_missing {
            let fault = Fault::FileLength {
                expected: SEGMENT_HEADER_LEN as u64 + self.capacity,
                actual: self.file.bytes.len() as u64,
            };
            return (fault, Proof::Prepared);
        }
        (Fault::FileMissing, Proof::LaterFile)
    }

    /// Whether the block at `at` may have been there, and is not because the file has lost its end. A header that is there and is zeros
    /// was never written, and so nothing behind it was ever acknowledged.
    fn is_cut_at(&self, at: usize, fault: &Fault) -> bool {
        let (present, capacity) = (self.log.len() as u64, self.capacity);
        let at = at as u64;
        match fault {
            _ if present >= capacity => false,
            Fault::Missing => at + BLOCK_HEADER_LEN as u64 > present,
            Fault::TooLong { len } => at + len <= capacity,
            _ => false,
        }
    }

    /// The blocks of this log in `bytes`, a prefix of the segment, that are where they belong.
    pub(super) fn blocks_in_place<'b>(
        &self,
        bytes: &'b [u8],
        from: usize,
        log: LogTag,
    ) -> impl Iterator<Item = BlockHeader> + use<'b> {
        let base = self.base.0;
        tear::blocks(bytes, from, log)
            .filter(move |(at, block)| block.position.0 == base + *at as u64)
            .map(|(_, block)| block)
    }

    /// Reads the block at `at` and checks everything but its content.
    fn read(&self, chain: &Chain, at: usize) -> Result<(BlockHeader, &'a [u8]), Break> {
        let header = tear::header_at(self.log, at).map_err(|fault| Break { fault, block: None })?;
        let broken = |fault| Break {
            fault,
            block: Some(header),
        };
        if header.log != chain.log {
            return Err(broken(Fault::OtherLog));
        }
        if header.position != chain.end {
            return Err(broken(Fault::Misplaced {
                found: header.position,
            }));
        }
        if !chain.accepts(header.sequence) {
            let (expected, found) = (chain.next_sequence, header.sequence);
            return Err(broken(Fault::Sequence { expected, found }));
        }
        let end = at as u64 + header.block_len();
        let Some(block) = self.log.get(at..end as usize) else {
            return Err(broken(Fault::TooLong {
                len: header.block_len(),
            }));
        };
        let payload = &block[BLOCK_HEADER_LEN..];
        if header.kind != BlockKind::Skip {
            let (stored, computed) = (header.payload_crc, payload_crc(payload, header.position));
            if stored != computed {
                return Err(broken(Fault::Payload { stored, computed }));
            }
        }
        Ok((header, &payload[..header.payload_len as usize]))
    }

    fn overlap(&self, next: SegmentFile<'_>, base: Position) -> RecoveryError {
        RecoveryError::Overlap {
            file: self.file.name.to_owned(),
            next: next.name.to_owned(),
            base,
        }
    }
}

/// Where the chain broke.
struct Break {
    fault: Fault,
    /// The header that is there, if one can be read.
    block: Option<BlockHeader>,
}

/// How far the log was followed.
pub(super) struct Chain {
    pub(super) log: LogTag,
    /// Where the next block begins.
    pub(super) end: Position,
    /// Its number.
    pub(super) next_sequence: u64,
    /// The latest time seen.
    pub(super) timestamp_max: WallMillis,
    /// The highest `durable` of the blocks so far.
    durable: Position,
    /// The last block.
    last: Option<BlockKind>,
    /// Something was cut.
    torn: bool,
}

impl Chain {
    pub(super) fn new(log: LogTag) -> Chain {
        Chain {
            log,
            end: Position(0),
            next_sequence: 1,
            timestamp_max: WallMillis(0),
            durable: Position(0),
            last: None,
            torn: false,
        }
    }

    /// Follows the log through a segment, to the next one's base or to where nothing was ever written.
    pub(super) fn follow(
        &mut self,
        span: &Span<'_>,
        plan: &mut Plan,
        visitor: &mut impl Visitor,
    ) -> Result<(), RecoveryError> {
        loop {
            let at = (self.end.0 - span.base.0) as usize;
            if span.later_base == Some(self.end) || (at + BLOCK_HEADER_LEN) as u64 > span.capacity {
                return Ok(());
            }
            let read = span.read(self, at).and_then(|(header, payload)| {
                check_content(&header, payload).map_err(|error| Break {
                    fault: Fault::Content(error),
                    block: Some(header),
                })?;
                Ok((header, payload))
            });
            let broken = match read {
                Ok((header, payload)) => {
                    self.accept(span, &header, payload, visitor)?;
                    continue;
                }
                Err(broken) => broken,
            };
            let from = self.end;
            if span.is_cut_at(at, &broken.fault) {
                let reach = span.reach();
                let end = span.later_base.map_or(reach, |base| base.min(reach));
                let (fault, proof) = span.lost_end();
                self.skip(span, plan, at, end, fault, proof)?;
                visitor.given_up(self.end.0 - from.0);
                continue;
            }
            match tear::judge(span, self.log, at, &broken.fault, broken.block.as_ref()) {
                Verdict::End => return Ok(()),
                Verdict::Torn { used } => {
                    self.torn = true;
                    plan.repairs.push(Repair::Zero {
                        segment: span.file.id,
                        offset: (SEGMENT_HEADER_LEN + at) as u64,
                        len: (used - at) as u64,
                    });
                    return Ok(());
                }
                Verdict::Damaged(proof) => {
                    let end = self.skip_end(span, at, broken.block.as_ref());
                    self.skip(span, plan, at, end, broken.fault, proof)?;
                    visitor.given_up(self.end.0 - from.0);
                }
            }
        }
    }

    /// Whether a summary can stand for a segment. It must be of just this segment, which was left: the next one begins where the summary
    /// ends, so no block of it is left out, and none was in flight. It must follow the chain so far. And the file must be there to its end.
    pub(super) fn continues_with(
        &self,
        span: &Span<'_>,
        header: &SegmentHeader,
        summary: &Summary<'_>,
    ) -> bool {
        let is_whole = !span.is_missing && span.log.len() as u64 >= span.capacity;
        span.next_base.is_some_and(|next_base| {
            is_whole
                && span.base == self.end
                && summary.is_of(header, span.base, next_base)
                && self.accepts(summary.header.first_sequence)
        })
    }

    /// Goes on behind a segment of which this is the summary.
    pub(super) fn take_over(&mut self, summary: &Summary<'_>) {
        let header = &summary.header;
        self.end = header.end;
        self.next_sequence = header.next_sequence;
        self.timestamp_max = self.timestamp_max.max(header.timestamp_max);
        self.durable = self.durable.max(header.durable);
        self.last = Some(header.last);
    }

    /// Goes over a range that was removed.
    pub(super) fn pass(
        &mut self,
        file: SegmentFile<'_>,
        range: &RemovedRange,
    ) -> Result<(), RecoveryError> {
        if range.base != self.end {
            return Err(RecoveryError::Gap {
                file: file.name.to_owned(),
                base: range.base,
                reach: self.end,
            });
        }
        self.end = range.end;
        self.next_sequence = self.next_sequence.max(range.sequence);
        // The numbers of the last blocks in there need not have been without gaps.
        self.last = Some(BlockKind::Skip);
        Ok(())
    }

    /// Whether the log ends as a clean stop leaves it.
    pub(super) fn is_clean(&self) -> bool {
        !self.torn && matches!(self.last, None | Some(BlockKind::Seal))
    }

    fn accepts(&self, sequence: u64) -> bool {
        sequence == self.next_sequence
            || (self.last == Some(BlockKind::Skip) && sequence > self.next_sequence)
    }

    fn accept(
        &mut self,
        span: &Span<'_>,
        header: &BlockHeader,
        payload: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<(), RecoveryError> {
        let end = Position(self.end.0 + header.block_len());
        if let Some((next, base)) = span.next.zip(span.next_base)
            && end > base
        {
            return Err(span.overlap(next, base));
        }
        match header.kind {
            BlockKind::Data => self.show(header, payload, visitor),
            BlockKind::Skip => visitor.given_up(header.block_len()),
            BlockKind::Seal => {}
        }
        self.advance(header, end);
        Ok(())
    }

    fn show(&mut self, header: &BlockHeader, payload: &[u8], visitor: &mut impl Visitor) {
        for entry in Entries::new(payload, payload_position(header)).flatten() {
            visitor.entry(&entry);
            for record in entry.records().flatten() {
                self.timestamp_max = self.timestamp_max.max(record.record.timestamp);
                visitor.record(entry.header.partition, &record);
            }
        }
    }

    fn advance(&mut self, header: &BlockHeader, end: Position) {
        self.end = end;
        self.next_sequence = header.sequence + 1;
        self.timestamp_max = self.timestamp_max.max(header.written);
        self.durable = self.durable.max(header.durable);
        self.last = Some(header.kind);
    }

    /// Gives up what is between here and `end`, and covers it with a skip block.
    fn skip(
        &mut self,
        span: &Span<'_>,
        plan: &mut Plan,
        at: usize,
        end: Position,
        fault: Fault,
        proof: Proof,
    ) -> Result<(), RecoveryError> {
        let offset = (SEGMENT_HEADER_LEN + at) as u64;
        plan.give_up(Damage {
            file: span.file.name.to_owned(),
            segment: span.file.id,
            offset,
            len: end.0 - self.end.0,
            fault,
            proof,
        })?;
        let header = BlockHeader {
            kind: BlockKind::Skip,
            log: self.log,
            position: self.end,
            sequence: self.next_sequence,
            // No more than what earlier blocks say: the skip itself proves nothing about them.
            durable: self.durable,
            written: self.timestamp_max,
            entries: 0,
            payload_len: (end.0 - self.end.0) as u32 - BLOCK_HEADER_LEN as u32,
            payload_crc: 0,
            zero_sectors: 0,
        };
        let mut bytes = [0; BLOCK_HEADER_LEN];
        header.encode(&mut bytes);
        plan.write(span.file.id, offset, bytes.to_vec());
        self.advance(&header, end);
        Ok(())
    }

    /// Where a damaged range ends: at the next block that is in its place, else at the next segment's base,
    /// else where this block would have ended, else behind the last byte that is not zero or, if that is further, where
    /// what is known to have been synced ends.
    fn skip_end(&self, span: &Span<'_>, at: usize, block: Option<&BlockHeader>) -> Position {
        let limit = span.next_base;
        let next = span
            .blocks_in_place(span.log, at + BLOCK_ALIGN, self.log)
            .next();
        if let Some(next) = next
            && limit.is_none_or(|limit| next.position < limit)
        {
            return next.position;
        }
        if let Some(limit) = limit {
            return limit;
        }
        // In one go: a step for each block's worth of zeros, with a look at all that follows, would take hours.
        let synced = span.testimony.0.saturating_sub(span.base.0);
        let used = tear::used_len(span.log, at)
            .max(at + 1)
            .max(synced.min(span.capacity) as usize)
            .next_multiple_of(BLOCK_ALIGN);
        let len = block
            .filter(|block| block.position == self.end)
            .map_or(0, BlockHeader::block_len);
        let fits = len > 0 && at as u64 + len <= span.capacity;
        let end = if fits { at as u64 + len } else { used as u64 };
        Position(span.base.0 + end)
    }
}

/// The whole structure of a block's payload, before anything of it is shown.
pub(in crate::storage) fn check_content(
    header: &BlockHeader,
    payload: &[u8],
) -> Result<(), EntryError> {
    if header.kind != BlockKind::Data {
        return Ok(());
    }
    let mut entries = 0;
    for entry in Entries::new(payload, payload_position(header)) {
        let entry = entry?;
        let mut records = 0;
        for record in entry.records() {
            record?;
            records += 1;
        }
        if records != entry.header.records {
            return Err(EntryError::Count {
                claimed: entry.header.records,
                found: records,
            });
        }
        entries += 1;
    }
    if entries != header.entries {
        return Err(EntryError::Entries {
            claimed: header.entries,
            found: entries,
        });
    }
    Ok(())
}

pub(in crate::storage) fn payload_position(header: &BlockHeader) -> Position {
    Position(header.position.0 + BLOCK_HEADER_LEN as u64)
}
