//! A left segment's content, gone over from block to block while the node runs: when its summary is made, and when it is taken back
//! into memory.
//!
//! The start has its own way through the log (`recovery`), which has to judge what a crash left. Here nothing is to be judged: a segment that was
//! left was synced whole, so whatever is not as it was written is damage, and ends the walk. The same is looked at as there: that each block
//! belongs to this log and this place, follows the one before, and has its payload's checksum and sound entries.

use super::format::{
    BLOCK_HEADER_LEN, BlockError, BlockHeader, BlockKind, LogTag, is_zero, payload_crc,
};
use super::recovery::{Fault, check_content};
use crate::types::{Position, WallMillis};

/// A walk over the blocks of one segment, which come in pieces.
#[derive(Debug)]
pub struct Walk {
    log: LogTag,
    /// Where the next block begins.
    position: Position,
    /// Where the last one ends.
    end: Position,
    seen: Seen,
}

/// What the blocks so far say beside their records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The number of the first block, if there was one.
    pub first_sequence: Option<u64>,
    /// The number that follows that of the last one.
    pub next_sequence: u64,
    /// The highest `durable`.
    pub durable: Position,
    /// The latest time of a block.
    pub written_max: WallMillis,
    /// The last block.
    pub last: Option<BlockKind>,
    /// Some block covers what salvage gave up.
    pub is_salvaged: bool,
}

/// What [`Walk::block`] came to.
#[derive(Debug)]
pub enum Step<'a> {
    /// A sound block.
    Block {
        /// Its header.
        header: BlockHeader,
        /// Its payload without padding; that of a skip means nothing.
        payload: &'a [u8],
        /// Its length in the log, in bytes: what the next one begins after.
        len: usize,
    },
    /// So many bytes, counted from where the block begins, show more.
    Needs(usize),
}

impl Walk {
    /// A walk over what a segment of this log holds from `base` to `end`.
    #[must_use]
    pub fn new(log: LogTag, base: Position, end: Position) -> Walk {
        Walk {
            log,
            position: base,
            end,
            seen: Seen::default(),
        }
    }

    /// Whether all blocks were gone over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.position >= self.end
    }

    /// What the blocks so far say.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Goes over one block, with which `bytes` begin.
    ///
    /// # Errors
    /// [`Fault`]: what is wrong with it.
    pub fn block<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, Fault> {
        let room = self.end.0.saturating_sub(self.position.0);
        if room < BLOCK_HEADER_LEN as u64 {
            return Err(Fault::Missing);
        }
        let Some(start) = bytes.first_chunk() else {
            return Ok(Step::Needs(BLOCK_HEADER_LEN));
        };
        let header = match BlockHeader::decode(start) {
            Err(BlockError::Magic) if is_zero(start) => return Err(Fault::Missing),
            read => read.map_err(Fault::BlockHeader)?,
        };
        self.check_place(&header)?;
        let len = header.block_len();
        if len > room {
            return Err(Fault::TooLong { len });
        }
        let len = len as usize;
        let Some(block) = bytes.get(..len) else {
            return Ok(Step::Needs(len));
        };
        let padded = &block[BLOCK_HEADER_LEN..];
        let payload = &padded[..header.payload_len as usize];
        if header.kind != BlockKind::Skip {
            let (stored, computed) = (header.payload_crc, payload_crc(padded, header.position));
            if stored != computed {
                return Err(Fault::Payload { stored, computed });
            }
        }
        check_content(&header, payload).map_err(Fault::Content)?;
        self.saw(&header);
        Ok(Step::Block {
            header,
            payload,
            len,
        })
    }

    fn check_place(&self, header: &BlockHeader) -> Result<(), Fault> {
        if header.log != self.log {
            return Err(Fault::OtherLog);
        }
        if header.position != self.position {
            let found = header.position;
            return Err(Fault::Misplaced { found });
        }
        let (expected, found) = (self.seen.next_sequence, header.sequence);
        let follows = match self.seen.last {
            None => true,
            Some(BlockKind::Skip) => found >= expected,
            Some(BlockKind::Data | BlockKind::Seal) => found == expected,
        };
        match follows {
            true => Ok(()),
            false => Err(Fault::Sequence { expected, found }),
        }
    }

    fn saw(&mut self, header: &BlockHeader) {
        let seen = &mut self.seen;
        seen.first_sequence.get_or_insert(header.sequence);
        seen.next_sequence = header.sequence + 1;
        seen.durable = seen.durable.max(header.durable);
        seen.written_max = seen.written_max.max(header.written);
        seen.last = Some(header.kind);
        seen.is_salvaged |= header.kind == BlockKind::Skip;
        self.position = Position(self.position.0 + header.block_len());
    }
}
