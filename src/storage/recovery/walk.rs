//! What one segment's bytes are, piece by piece, for people who look into a file: whole blocks, and between them what is none.
//!
//! Recovery judges a whole log and stops, or gives up, where it breaks; a walk knows nothing of other files and goes on behind every break, at
//! the next block of this log that is in its place. So it can't tell a torn tail from damage, and it shows blocks that recovery would cut.

use super::error::Fault;
use super::{chain, log_bytes, tear};
use crate::limits::{BLOCK_ALIGN, SECTOR_LEN};
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, LogTag, SEGMENT_HEADER_LEN, SegmentError,
    SegmentHeader, SegmentState, payload_crc,
};
use crate::types::Position;

/// A part of a segment behind its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A block that is whole.
    Block {
        /// Where it begins in the file.
        offset: u64,
        /// Its header.
        header: BlockHeader,
        /// Its payload without padding. Of a skip nothing is known, and nothing was checked.
        payload: &'a [u8],
    },
    /// Bytes that are no whole block.
    Broken {
        /// Where they begin in the file.
        offset: u64,
        /// Where they begin in the log.
        position: Position,
        /// The bytes, up to the next block that is in its place or to the last that is not zero.
        bytes: &'a [u8],
        /// What is wrong with the block that should begin here.
        fault: Fault,
    },
    /// Zeros up to the segment's end, or the file's.
    Zeros {
        /// Where they begin in the file.
        offset: u64,
        /// How many there are.
        len: u64,
    },
}

/// Goes through a segment.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    header: Result<SegmentHeader, SegmentError>,
    log: &'a [u8],
    /// The log's tag and the position of the first block, if anything in the file tells.
    place: Option<(LogTag, Position)>,
    /// Where the last byte that is not zero ends.
    used: usize,
    at: usize,
}

impl<'a> Walk<'a> {
    /// `file` are all bytes of a segment's file.
    #[must_use]
    pub fn new(file: &'a [u8]) -> Walk<'a> {
        let header = match file.first_chunk::<SECTOR_LEN>() {
            Some(sector) => SegmentHeader::decode(sector),
            None if file.is_empty() => Err(SegmentError::Blank),
            None => Err(SegmentError::Magic),
        };
        let mut log = log_bytes(file);
        if let Ok(header) = &header {
            log = &log[..log.len().min(header.capacity() as usize)];
        }
        let place = match &header {
            Ok(SegmentHeader {
                log: tag,
                state: SegmentState::Active { base },
                ..
            }) => Some((*tag, *base)),
            // The first block tells, whatever has become of the header.
            _ => tear::block_headers(log, 0).find_map(|(at, block)| {
                let base = block.position.0.checked_sub(at as u64)?;
                Some((block.log, Position(base)))
            }),
        };
        Walk {
            header,
            used: tear::used_len(log, 0),
            log,
            place,
            at: 0,
        }
    }

    /// What the file's first sector says.
    ///
    /// # Errors
    /// As [`SegmentHeader::decode`].
    pub fn header(&self) -> Result<&SegmentHeader, &SegmentError> {
        self.header.as_ref()
    }

    /// The next piece to be given begins at the first block at or after this place in the file.
    pub fn skip_to(&mut self, offset: u64) {
        while ((SEGMENT_HEADER_LEN + self.at) as u64) < offset && self.next().is_some() {}
    }

    /// The position of a place in the log's bytes; of a file that doesn't say where it begins, counted from its start.
    fn position_of(&self, at: usize) -> Position {
        let base = self.place.map_or(0, |(_, base)| base.0);
        Position(base.saturating_add(at as u64))
    }

    fn block(&self, at: usize) -> Result<(BlockHeader, &'a [u8]), Fault> {
        let header = tear::header_at(self.log, at)?;
        let misplaced = Fault::Misplaced {
            found: header.position,
        };
        match self.place {
            Some((tag, _)) if header.log != tag => return Err(Fault::OtherLog),
            Some(_) if header.position == self.position_of(at) => {}
            _ => return Err(misplaced),
        }
        let len = header.block_len();
        let Some(block) = self.log.get(at..at + len as usize) else {
            return Err(Fault::TooLong { len });
        };
        let payload = &block[BLOCK_HEADER_LEN..];
        if header.kind != BlockKind::Skip {
            let (stored, computed) = (header.payload_crc, payload_crc(payload, header.position));
            if stored != computed {
                return Err(Fault::Payload { stored, computed });
            }
        }
        let payload = &payload[..header.payload_len as usize];
        chain::check_content(&header, payload).map_err(Fault::Content)?;
        Ok((header, payload))
    }

    /// Where the next block that is in its place begins.
    fn next_in_place(&self, from: usize) -> Option<usize> {
        let (tag, _) = self.place?;
        tear::blocks(self.log, from, tag)
            .find(|(at, block)| block.position == self.position_of(*at))
            .map(|(at, _)| at)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let at = self.at;
        if at >= self.log.len() {
            return None;
        }
        let offset = (SEGMENT_HEADER_LEN + at) as u64;
        let fault = match self.block(at) {
            Ok((header, payload)) => {
                self.at = at + header.block_len() as usize;
                return Some(Piece::Block {
                    offset,
                    header,
                    payload,
                });
            }
            Err(fault) => fault,
        };
        if self.used <= at {
            self.at = self.log.len();
            let len = (self.log.len() - at) as u64;
            return Some(Piece::Zeros { offset, len });
        }
        let end = self
            .next_in_place(at + BLOCK_ALIGN)
            .unwrap_or(self.used.next_multiple_of(BLOCK_ALIGN).min(self.log.len()));
        self.at = end;
        Some(Piece::Broken {
            offset,
            position: self.position_of(at),
            bytes: &self.log[at..end],
            fault,
        })
    }
}
