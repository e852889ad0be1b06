//! A block: what one turn appends to the log, with one write and one fdatasync.
//!
//! ```text
//!  0  magic u32          "CBLK"
//!  4  header_crc u32     over bytes 8 to 64
//!  8  position u64       where the block begins in the log
//! 16  sequence u64       one more than the block before
//! 24  durable u64        every byte below this position was known to be synced when this block was written
//! 32  written u64        wall-clock milliseconds
//! 40  payload_len u32    without padding
//! 44  payload_crc u32    over payload and padding, seeded with the position
//! 48  entries u32        in the payload
//! 52  zero_sectors u32   sectors after the first whose part of this block is all zero
//! 56  log u32            the log's tag
//! 60  kind u8            1 data, 2 skip, 3 seal
//! 61  reserved           zeros
//! 64  payload, zeros up to a multiple of 64
//! ```
//!
//! Blocks begin at multiples of 64, so a header never crosses a sector: it is on disk whole or not at all. Two
//! fields exist for recovery alone. `durable` is what a later block testifies about earlier ones: what it says
//! was synced can't have been torn by a crash, so if it can't be read it is damage. `zero_sectors` closes the
//! other half: a torn write leaves sectors of the block as zeros, and knowing how many ought to be zero tells a
//! tear from a flipped bit exactly (`recovery` argues it).
//!
//! A **skip** covers bytes that `--salvage` gave up; its payload is whatever was there. A **seal** is the last block
//! of a clean stop: written when everything before it was synced, so it proves all of that.

use crc32fast::Hasher;
use thiserror::Error;

use super::segment::LogTag;
use super::{is_zero, position_seed, put, u32_at, u64_at};
use crate::limits::{BLOCK_ALIGN, SECTOR_LEN, SEGMENT_LEN_MAX};
use crate::types::{Position, WallMillis};

/// Length of a block's header, in bytes.
pub const BLOCK_HEADER_LEN: usize = 64;

const MAGIC_BYTES: [u8; 4] = *b"CBLK";
const MAGIC: usize = 0;
const HEADER_CRC: usize = 4;
const POSITION: usize = 8;
const SEQUENCE: usize = 16;
const DURABLE: usize = 24;
const WRITTEN: usize = 32;
const PAYLOAD_LEN: usize = 40;
const PAYLOAD_CRC: usize = 44;
const ENTRIES: usize = 48;
const ZERO_SECTORS: usize = 52;
const LOG: usize = 56;
const KIND: usize = 60;
const RESERVED: usize = 61;

const _: () = assert!(BLOCK_HEADER_LEN == BLOCK_ALIGN);
const _: () = assert!(
    SEGMENT_LEN_MAX <= u32::MAX as u64,
    "a payload's length fits its field"
);

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BlockKind {
    /// The entries of one turn.
    Data = 1,
    /// Covers a range that `--salvage` gave up. Its payload means nothing.
    Skip = 2,
    /// The end of a clean stop, or of a segment: nothing was in flight. Has no payload.
    Seal = 3,
}

/// What stands before a block's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// What the block is for.
    pub kind: BlockKind,
    /// The log that it belongs to.
    pub log: LogTag,
    /// Where it begins.
    pub position: Position,
    /// One more than that of the block before; the log's first is 1. After a skip it may be higher: the numbers
    /// left out are those of the blocks that the skip covers.
    pub sequence: u64,
    /// Every byte below this was known to be synced when the block was written. Never above `position`.
    pub durable: Position,
    /// When it was written.
    pub written: WallMillis,
    /// Entries in the payload.
    pub entries: u32,
    /// Length of the payload without padding, in bytes.
    pub payload_len: u32,
    /// Checksum of payload and padding. [`BlockHeader::seal`] fills it in.
    pub payload_crc: u32,
    /// Sectors after the first in which all bytes of this block are zero. [`BlockHeader::seal`] fills it in.
    pub zero_sectors: u32,
}

/// Length in the log of a block with so much payload, padding included, in bytes.
#[must_use]
pub const fn block_len(payload_len: usize) -> usize {
    BLOCK_HEADER_LEN + payload_len.next_multiple_of(BLOCK_ALIGN)
}

impl BlockHeader {
    /// Completes a block in place. `block` is the whole block: 64 bytes for the header, the payload, the
    /// padding; `base` is that of the segment that it goes into, because how it falls on sectors depends on
    /// that. Computes what depends on the payload, writes the header, and gives it back.
    ///
    /// # Panics
    /// If `block` hasn't the length that the header says, or lies before `base`.
    pub fn seal(mut self, block: &mut [u8], base: Position) -> BlockHeader {
        assert_eq!(
            block.len(),
            self.block_len() as usize,
            "the header says how long the block is"
        );
        let (header, payload) = block.split_first_chunk_mut().expect("a block has a header");
        debug_assert!(
            is_zero(&payload[self.payload_len as usize..]),
            "padding is zeros"
        );
        self.complete(std::iter::once(&*payload), base);
        self.encode(header);
        self
    }

    /// Fills in what depends on the payload, which comes in parts, padding included.
    ///
    /// # Panics
    /// As [`BlockHeader::seal`].
    pub fn complete<'a>(&mut self, payload: impl Iterator<Item = &'a [u8]>, base: Position) {
        assert!(self.position >= base, "a block lies in its segment");
        let mut hasher = Hasher::new_with_initial(position_seed(self.position));
        let mut sectors = ZeroSectors::new(self.position.0 - base.0);
        let mut len = BLOCK_HEADER_LEN as u64;
        for part in payload {
            hasher.update(part);
            sectors.update(part);
            len += part.len() as u64;
        }
        assert_eq!(
            len,
            self.block_len(),
            "the header says how long the block is"
        );
        self.payload_crc = hasher.finalize();
        self.zero_sectors = sectors.finish();
    }

    /// Writes the header, its checksum included.
    pub fn encode(&self, out: &mut [u8; BLOCK_HEADER_LEN]) {
        assert!(
            self.durable <= self.position,
            "a block can't testify about itself"
        );
        debug_assert!(self.position.0.is_multiple_of(BLOCK_ALIGN as u64));
        put(out, MAGIC, MAGIC_BYTES);
        put(out, POSITION, self.position.0.to_le_bytes());
        put(out, SEQUENCE, self.sequence.to_le_bytes());
        put(out, DURABLE, self.durable.0.to_le_bytes());
        put(out, WRITTEN, self.written.0.to_le_bytes());
        put(out, PAYLOAD_LEN, self.payload_len.to_le_bytes());
        put(out, PAYLOAD_CRC, self.payload_crc.to_le_bytes());
        put(out, ENTRIES, self.entries.to_le_bytes());
        put(out, ZERO_SECTORS, self.zero_sectors.to_le_bytes());
        put(out, LOG, self.log.0.to_le_bytes());
        out[KIND] = self.kind as u8;
        out[RESERVED..].fill(0);
        let crc = crc32fast::hash(&out[POSITION..]);
        put(out, HEADER_CRC, crc.to_le_bytes());
    }

    /// Reads a header and checks that it is whole. Whether it belongs where it was found (log, position,
    /// sequence) is for the caller to ask.
    ///
    /// # Errors
    /// [`BlockError`]: there is no header here that can be used.
    pub fn decode(bytes: &[u8; BLOCK_HEADER_LEN]) -> Result<BlockHeader, BlockError> {
        if bytes[..HEADER_CRC] != MAGIC_BYTES {
            return Err(BlockError::Magic);
        }
        let stored = u32_at(bytes, HEADER_CRC);
        let computed = crc32fast::hash(&bytes[POSITION..]);
        if stored != computed {
            return Err(BlockError::Checksum { stored, computed });
        }
        let kind = match bytes[KIND] {
            1 => BlockKind::Data,
            2 => BlockKind::Skip,
            3 => BlockKind::Seal,
            kind => return Err(BlockError::Kind(kind)),
        };
        let header = BlockHeader {
            kind,
            log: LogTag(u32_at(bytes, LOG)),
            position: Position(u64_at(bytes, POSITION)),
            sequence: u64_at(bytes, SEQUENCE),
            durable: Position(u64_at(bytes, DURABLE)),
            written: WallMillis(u64_at(bytes, WRITTEN)),
            entries: u32_at(bytes, ENTRIES),
            payload_len: u32_at(bytes, PAYLOAD_LEN),
            payload_crc: u32_at(bytes, PAYLOAD_CRC),
            zero_sectors: u32_at(bytes, ZERO_SECTORS),
        };
        let sound = header.durable <= header.position
            && header.position.0.is_multiple_of(BLOCK_ALIGN as u64)
            // The next block's number is one more.
            && header.sequence < u64::MAX
            && u64::from(header.payload_len) <= SEGMENT_LEN_MAX
            && (kind != BlockKind::Seal || (header.payload_len == 0 && header.entries == 0))
            && is_zero(&bytes[RESERVED..]);
        if sound {
            Ok(header)
        } else {
            Err(BlockError::Contradiction)
        }
    }

    /// Length in the log, header and padding included, in bytes.
    #[must_use]
    pub fn block_len(&self) -> u64 {
        block_len(self.payload_len as usize) as u64
    }
}

/// Checksum of a block's payload with its padding; `position` is that of the block.
#[must_use]
pub fn payload_crc(payload: &[u8], position: Position) -> u32 {
    let mut hasher = Hasher::new_with_initial(position_seed(position));
    hasher.update(payload);
    hasher.finalize()
}

/// The check of a block's payload in slices, for blocks so long that it takes its time.
#[derive(Clone, Debug)]
pub struct PayloadCheck {
    hasher: Hasher,
    stored: u32,
    /// Bytes of the payload, padding included, that are gone over.
    done: usize,
    len: usize,
}

impl PayloadCheck {
    /// The check of the block with this header.
    #[must_use]
    pub fn begin(header: &BlockHeader) -> PayloadCheck {
        PayloadCheck {
            hasher: Hasher::new_with_initial(position_seed(header.position)),
            stored: header.payload_crc,
            done: 0,
            len: header.block_len() as usize - BLOCK_HEADER_LEN,
        }
    }

    /// Goes over at most `len` more bytes of the payload; says whether that was the rest of it.
    pub fn advance(&mut self, payload: &[u8], len: usize) -> bool {
        let end = self.len.min(self.done + len);
        self.feed(&payload[self.done..end]);
        self.done == self.len
    }

    /// Goes over the next bytes of a payload that comes in parts.
    ///
    /// # Panics
    /// If they are more than there are of it.
    pub fn feed(&mut self, part: &[u8]) {
        self.done += part.len();
        assert!(self.done <= self.len, "a payload's parts are as long as it");
        self.hasher.update(part);
    }

    /// Whether the payload is what was written.
    #[must_use]
    pub fn is_right(self) -> bool {
        self.done == self.len && self.hasher.finalize() == self.stored
    }
}

/// How many sectors after the one that holds the header are all zero as far as they belong to this block.
/// `payload` has its padding; `offset` is where the block begins, counted in bytes from the segment's base, on
/// which sectors are aligned.
#[must_use]
pub fn zero_sectors(payload: &[u8], offset: u64) -> u32 {
    let mut sectors = ZeroSectors::new(offset);
    sectors.update(payload);
    sectors.finish()
}

/// Counts the sectors of [`zero_sectors`] in a payload that comes in parts.
struct ZeroSectors {
    /// Where the next byte lies, from the segment's base.
    at: u64,
    /// Where the sector that holds the header ends.
    counted_from: u64,
    /// Everything so far of the sector that `at` lies in is zero.
    is_zero: bool,
    count: u32,
}

impl ZeroSectors {
    /// Of the block that begins at `offset`.
    fn new(offset: u64) -> ZeroSectors {
        ZeroSectors {
            at: offset + BLOCK_HEADER_LEN as u64,
            counted_from: (offset + 1).next_multiple_of(SECTOR_LEN as u64),
            is_zero: true,
            count: 0,
        }
    }

    fn update(&mut self, mut payload: &[u8]) {
        while !payload.is_empty() {
            let sector_end = (self.at + 1).next_multiple_of(SECTOR_LEN as u64);
            let taken = payload.len().min((sector_end - self.at) as usize);
            let (part, rest) = payload.split_at(taken);
            payload = rest;
            self.is_zero = self.is_zero && is_zero(part);
            self.at += taken as u64;
            if self.at == sector_end {
                self.count += u32::from(self.is_zero && self.at > self.counted_from);
                self.is_zero = true;
            }
        }
    }

    fn finish(self) -> u32 {
        let begun = !self.at.is_multiple_of(SECTOR_LEN as u64) && self.at > self.counted_from;
        self.count + u32::from(begun && self.is_zero)
    }
}

/// Why 64 bytes are not a block's header.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The bytes don't begin as a header does.
    #[error("no block begins here")]
    Magic,
    /// The header's bytes are not those that were written.
    #[error("the block's header has checksum {computed:08x} where {stored:08x} is stored")]
    Checksum {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// No block of this format has that kind.
    #[error("unknown kind of block {0}")]
    Kind(u8),
    /// The fields can't be true together.
    #[error("the block's header contradicts itself")]
    Contradiction,
}
