//! From a segment's bytes, as they lie in its file, to a summary.
//!
//! The bytes come in pieces, so that whoever reads them needs no memory for a whole segment. Everything is checked on the way, as at a start.

use thiserror::Error;

use super::{Builder, SummaryHeader};
use crate::limits::SECTOR_LEN;
use crate::storage::content::{Step, Walk};
use crate::storage::format::{
    BlockHeader, BlockKind, Entries, SEGMENT_HEADER_LEN, SegmentError, SegmentHeader, SegmentState,
};
use crate::storage::hash::KeyIdentifier;
use crate::storage::recovery::{Fault, payload_position};
use crate::types::{Position, SegmentId, WallMillis};

/// Makes the summary of one segment. [`Maker::new`] with the file's first sector, [`Maker::feed`] with its blocks, [`Maker::finish`].
#[derive(Debug)]
pub struct Maker {
    segment: SegmentHeader,
    base: Position,
    end: Position,
    fingerprint: u64,
    walk: Walk,
    builder: Builder,
    timestamp_max: WallMillis,
}

/// What [`Maker::feed`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// So many bytes are done with, and more are there to come.
    Took(usize),
    /// Nothing was taken: so many bytes have to come at once.
    Needs(usize),
    /// That was the last block.
    Done,
}

impl Maker {
    /// Begins with the first sector of the file of `segment`, which was left at `end`.
    ///
    /// # Errors
    /// [`MakeError`]: the sector is not the header of that segment.
    pub fn new(
        identifier: KeyIdentifier,
        sector: &[u8; SECTOR_LEN],
        segment: SegmentId,
        end: Position,
    ) -> Result<Maker, MakeError> {
        let header = SegmentHeader::decode(sector)?;
        let SegmentState::Active { base } = header.state else {
            return Err(MakeError::NotBegun);
        };
        if header.segment != segment || base >= end {
            return Err(MakeError::OtherSegment);
        }
        Ok(Maker {
            segment: header,
            base,
            end,
            fingerprint: identifier.fingerprint(),
            walk: Walk::new(header.log, base, end),
            builder: Builder::new(identifier, base),
            timestamp_max: WallMillis(0),
        })
    }

    /// Goes over the blocks that are whole in `bytes`, which follow what was taken before.
    ///
    /// # Errors
    /// [`MakeError`]: there is to be no summary of this segment.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed, MakeError> {
        let mut taken = 0;
        while !self.walk.is_done() {
            match self.walk.block(&bytes[taken..])? {
                Step::Block {
                    header,
                    payload,
                    len,
                } => {
                    self.block(&header, payload)?;
                    taken += len;
                }
                Step::Needs(len) if taken == 0 => return Ok(Fed::Needs(len)),
                Step::Needs(_) => return Ok(Fed::Took(taken)),
            }
        }
        Ok(Fed::Done)
    }

    /// The summary's file.
    ///
    /// # Panics
    /// If [`Maker::feed`] has not said that it is done.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let seen = *self.walk.seen();
        assert!(self.walk.is_done(), "a summary is of a whole segment");
        let body = self.builder.finish();
        let header = SummaryHeader {
            segment: self.segment,
            base: self.base,
            end: self.end,
            first_sequence: seen.first_sequence.unwrap_or_default(),
            next_sequence: seen.next_sequence,
            durable: seen.durable,
            timestamp_max: self.timestamp_max.max(seen.written_max),
            fingerprint: self.fingerprint,
            last: seen.last.unwrap_or(BlockKind::Data),
        };
        let mut file = header.encode(&body).to_vec();
        file.extend_from_slice(&body);
        file
    }

    fn block(&mut self, header: &BlockHeader, payload: &[u8]) -> Result<(), MakeError> {
        if header.kind == BlockKind::Skip {
            return Err(MakeError::Salvaged);
        }
        for entry in Entries::new(payload, payload_position(header)).flatten() {
            self.builder.entry(&entry.header);
            for record in entry.records().flatten() {
                self.timestamp_max = self.timestamp_max.max(record.record.timestamp);
                self.builder.record(entry.header.partition, &record);
            }
        }
        Ok(())
    }
}

/// The summary of a segment whose file is in memory.
///
/// # Errors
/// [`MakeError`].
pub fn make(
    identifier: KeyIdentifier,
    file: &[u8],
    segment: SegmentId,
    end: Position,
) -> Result<Vec<u8>, MakeError> {
    let sector = file.first_chunk().ok_or(MakeError::OtherSegment)?;
    let mut maker = Maker::new(identifier, sector, segment, end)?;
    match maker.feed(file.get(SEGMENT_HEADER_LEN..).unwrap_or_default())? {
        Fed::Done => Ok(maker.finish()),
        Fed::Took(_) | Fed::Needs(_) => Err(MakeError::Damaged(Fault::Missing)),
    }
}

/// Why there is to be no summary of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MakeError {
    /// The segment's header can't be read.
    #[error(transparent)]
    Header(#[from] SegmentError),
    /// The segment's header says that it was never begun.
    #[error("the segment's header says that it was never begun")]
    NotBegun,
    /// The file holds another segment, or ends elsewhere.
    #[error("the file holds another segment")]
    OtherSegment,
    /// A block can't be read.
    #[error(transparent)]
    Damaged(#[from] Fault),
    /// Salvage gave up a part of it, and what that says of versions depends on the order in the log: such a segment is always read.
    #[error("salvage gave up a part of it")]
    Salvaged,
}
