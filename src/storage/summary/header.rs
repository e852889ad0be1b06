//! A summary's header: which segment it is of.
//!
//! ```text
//!   0  magic [u8; 8]        "CORDUSUM"
//!   8  version u32          of this file: 1
//!  12  crc u32              over bytes 0 to 12 and 16 to 256
//!  16  body_len u64
//!  24  body_crc u32         over all that follows the header
//!  28  reserved u32         zero
//!  32  node u128            this and the following as in the segment's header
//!  48  segment u64
//!  56  segment_len u64
//!  64  created u64
//!  72  base u64
//!  80  shard u16
//!  82  shard_count u16
//!  84  log u32
//!  88  end u64              where the segment's last block ends
//!  96  first_sequence u64   number of the first block
//! 104  next_sequence u64    one more than that of the last
//! 112  durable u64          the highest of the blocks
//! 120  timestamp_max u64    the latest time of blocks and records
//! 128  fingerprint u64      of the secret of the key hash
//! 136  last u8              kind of the last block: 1 data, 3 seal
//! 137  reserved             zeros, up to 256
//! ```
//!
//! Magic, version, checksum and what the checksum covers stay as they are in every later version.

use crc32fast::Hasher;

use super::SummaryError;
use crate::limits::{SEGMENT_LEN_MAX, SEGMENT_LEN_MIN};
use crate::storage::format::{
    BlockKind, LogTag, SEGMENT_HEADER_LEN, SegmentHeader, SegmentState, is_zero, put, u16_at,
    u32_at, u64_at,
};
use crate::types::{Position, SegmentId, ShardId, WallMillis};

/// Bytes before the body.
pub const SUMMARY_HEADER_LEN: usize = 256;
/// The version that this program writes and reads.
pub const SUMMARY_VERSION: u32 = 1;

const MAGIC_BYTES: [u8; 8] = *b"CORDUSUM";
const MAGIC: usize = 0;
const VERSION: usize = 8;
const CRC: usize = 12;
const BODY_LEN: usize = 16;
const BODY_CRC: usize = 24;
const RESERVED_WORD: usize = 28;
const NODE: usize = 32;
const SEGMENT: usize = 48;
const SEGMENT_LEN: usize = 56;
const CREATED: usize = 64;
const BASE: usize = 72;
const SHARD: usize = 80;
const SHARD_COUNT: usize = 82;
const LOG: usize = 84;
const END: usize = 88;
const FIRST_SEQUENCE: usize = 96;
const NEXT_SEQUENCE: usize = 104;
const DURABLE: usize = 112;
const TIMESTAMP_MAX: usize = 120;
const FINGERPRINT: usize = 128;
const LAST: usize = 136;
const RESERVED: usize = 137;

/// Which segment a summary is of, and what its blocks say beside their records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SummaryHeader {
    /// The segment's header, with `base`.
    pub segment: SegmentHeader,
    /// Position of the segment's first block.
    pub base: Position,
    /// Where its last block ends.
    pub end: Position,
    /// Number of the first block.
    pub first_sequence: u64,
    /// One more than the last block's.
    pub next_sequence: u64,
    /// The highest `durable` of the blocks.
    pub durable: Position,
    /// The latest time of blocks and records.
    pub timestamp_max: WallMillis,
    /// Under which secret keys were hashed.
    pub fingerprint: u64,
    /// The last block; never a skip.
    pub last: BlockKind,
}

impl SummaryHeader {
    /// The whole file: this header, and `body` behind it.
    #[must_use]
    pub fn encode(&self, body: &[u8]) -> [u8; SUMMARY_HEADER_LEN] {
        let mut out = [0; SUMMARY_HEADER_LEN];
        put(&mut out, MAGIC, MAGIC_BYTES);
        put(&mut out, VERSION, SUMMARY_VERSION.to_le_bytes());
        put(&mut out, BODY_LEN, (body.len() as u64).to_le_bytes());
        put(&mut out, BODY_CRC, crc32fast::hash(body).to_le_bytes());
        put(&mut out, NODE, self.segment.node.to_le_bytes());
        put(&mut out, SEGMENT, self.segment.segment.0.to_le_bytes());
        put(
            &mut out,
            SEGMENT_LEN,
            self.segment.segment_len.to_le_bytes(),
        );
        put(&mut out, CREATED, self.segment.created.0.to_le_bytes());
        put(&mut out, BASE, self.base.0.to_le_bytes());
        put(&mut out, SHARD, self.segment.shard.0.to_le_bytes());
        put(
            &mut out,
            SHARD_COUNT,
            self.segment.shard_count.to_le_bytes(),
        );
        put(&mut out, LOG, self.segment.log.0.to_le_bytes());
        put(&mut out, END, self.end.0.to_le_bytes());
        put(&mut out, FIRST_SEQUENCE, self.first_sequence.to_le_bytes());
        put(&mut out, NEXT_SEQUENCE, self.next_sequence.to_le_bytes());
        put(&mut out, DURABLE, self.durable.0.to_le_bytes());
        put(&mut out, TIMESTAMP_MAX, self.timestamp_max.0.to_le_bytes());
        put(&mut out, FINGERPRINT, self.fingerprint.to_le_bytes());
        out[LAST] = self.last as u8;
        let crc = header_crc(&out);
        put(&mut out, CRC, crc.to_le_bytes());
        out
    }

    /// Reads the header that a file begins with, checks its checksum and the body's, and gives back the body.
    ///
    /// # Errors
    /// [`SummaryError`].
    pub fn decode(file: &[u8]) -> Result<(SummaryHeader, &[u8]), SummaryError> {
        let actual = file.len() as u64;
        let Some((bytes, body)) = file.split_first_chunk::<SUMMARY_HEADER_LEN>() else {
            let expected = SUMMARY_HEADER_LEN as u64;
            return Err(SummaryError::Length { expected, actual });
        };
        if bytes[MAGIC..VERSION] != MAGIC_BYTES {
            return Err(SummaryError::Magic);
        }
        check(u32_at(bytes, CRC), header_crc(bytes))?;
        let version = u32_at(bytes, VERSION);
        if version != SUMMARY_VERSION {
            return Err(SummaryError::Version(version));
        }
        let body_len = u64_at(bytes, BODY_LEN);
        if body_len != body.len() as u64 {
            let expected = body_len.saturating_add(SUMMARY_HEADER_LEN as u64);
            return Err(SummaryError::Length { expected, actual });
        }
        check(u32_at(bytes, BODY_CRC), crc32fast::hash(body))?;
        Ok((SummaryHeader::fields(bytes)?, body))
    }

    fn fields(bytes: &[u8; SUMMARY_HEADER_LEN]) -> Result<SummaryHeader, SummaryError> {
        let last = match bytes[LAST] {
            1 => BlockKind::Data,
            3 => BlockKind::Seal,
            _ => return Err(SummaryError::Contradiction),
        };
        let base = Position(u64_at(bytes, BASE));
        let node = u128::from(u64_at(bytes, NODE)) | u128::from(u64_at(bytes, NODE + 8)) << 64;
        let header = SummaryHeader {
            segment: SegmentHeader {
                node,
                shard: ShardId(u16_at(bytes, SHARD)),
                shard_count: u16_at(bytes, SHARD_COUNT),
                log: LogTag(u32_at(bytes, LOG)),
                segment: SegmentId(u64_at(bytes, SEGMENT)),
                segment_len: u64_at(bytes, SEGMENT_LEN),
                created: WallMillis(u64_at(bytes, CREATED)),
                state: SegmentState::Active { base },
            },
            base,
            end: Position(u64_at(bytes, END)),
            first_sequence: u64_at(bytes, FIRST_SEQUENCE),
            next_sequence: u64_at(bytes, NEXT_SEQUENCE),
            durable: Position(u64_at(bytes, DURABLE)),
            timestamp_max: WallMillis(u64_at(bytes, TIMESTAMP_MAX)),
            fingerprint: u64_at(bytes, FINGERPRINT),
            last,
        };
        let segment_len = header.segment.segment_len;
        let is_sound = is_zero(&bytes[RESERVED..])
            && is_zero(&bytes[RESERVED_WORD..NODE])
            && (SEGMENT_LEN_MIN..=SEGMENT_LEN_MAX).contains(&segment_len)
            && header.first_sequence < header.next_sequence
            && header.base < header.end
            && header.end.0 - header.base.0 <= segment_len - SEGMENT_HEADER_LEN as u64;
        match is_sound {
            true => Ok(header),
            false => Err(SummaryError::Contradiction),
        }
    }
}

fn check(stored: u32, computed: u32) -> Result<(), SummaryError> {
    match stored == computed {
        true => Ok(()),
        false => Err(SummaryError::Checksum { stored, computed }),
    }
}

fn header_crc(bytes: &[u8; SUMMARY_HEADER_LEN]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&bytes[..CRC]);
    hasher.update(&bytes[BODY_LEN..]);
    hasher.finalize()
}
