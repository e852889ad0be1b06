//! A segment's header: which log the file belongs to, and whether it has begun to be written.
//!
//! ```text
//!  0  magic [u8; 8]      "CORDUROY"
//!  8  version u32        of the format: 1
//! 12  crc u32            over bytes 0 to 12 and 16 to 512
//! 16  node u128
//! 32  segment u64        1, 2, 3 …
//! 40  segment_len u64    of the file, header included
//! 48  created u64        wall-clock milliseconds
//! 56  base u64           position of the first block; zero while prepared
//! 64  shard u16
//! 66  shard_count u16
//! 68  log u32            the log's tag
//! 72  state u8           1 prepared, 2 active, 3 removed
//! 73  zeros
//! 80  first u64          only if removed: the first of the segments that this file stands for
//! 88  end u64            only if removed: where the segment after it begins
//! 96  sequence u64       only if removed: no block of the segments after it has a lower number
//! 104 versions u64       only if removed: the highest that any partition had given by then, the system keyspace's not counted
//! 112 system u64         only if removed: the highest that the system keyspace's partition had given
//! 120 entries u64        only if removed: the highest index of an entry, of all partitions
//! 128 reserved           zeros, up to 4096
//! ```
//!
//! A segment is made ahead of need: its header says *prepared*, the rest is written as zeros and synced, so
//! that appending later changes no metadata. When the log reaches it, the header is written once more as
//! *active* with the base. All of it lies in one sector, so on disk it is one or the other. The order that the
//! shard keeps, in every sync mode: first everything of the segment before is synced, then the active header is
//! written, in the same fdatasync as the first block or before it.
//!
//! When compaction has taken a segment's content away, its file stays as a **stub**: a header that says *removed*, and which
//! segments and positions are gone. It is written over the active one, so on disk it is one or the other too. A second copy of it
//! stands in the sector behind: nothing else tells a range that was removed from one that was lost.
//!
//! Magic, version, checksum and what the checksum covers stay as they are in every later version, so that an
//! old program can say "too new" instead of "damaged".

use crc32fast::Hasher;
use thiserror::Error;

use super::{array_at, is_zero, put, u16_at, u32_at, u64_at};
use crate::limits::{BLOCK_ALIGN, SECTOR_LEN, SEGMENT_LEN_MAX, SEGMENT_LEN_READ_MIN};
use crate::types::{Position, SegmentId, ShardId, Version, WallMillis};

/// Bytes before the first block; a page, of which the first sector is used.
pub const SEGMENT_HEADER_LEN: usize = 4096;
/// The version of the format that this program writes.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC_BYTES: [u8; 8] = *b"CORDUROY";
const MAGIC: usize = 0;
const VERSION: usize = 8;
const CRC: usize = 12;
const NODE: usize = 16;
const SEGMENT: usize = 32;
const SEGMENT_LEN: usize = 40;
const CREATED: usize = 48;
const BASE: usize = 56;
const SHARD: usize = 64;
const SHARD_COUNT: usize = 66;
const LOG: usize = 68;
const STATE: usize = 72;
const FIRST: usize = 80;
const END: usize = 88;
const SEQUENCE: usize = 96;
const VERSIONS: usize = 104;
const SYSTEM_VERSIONS: usize = 112;
const ENTRIES: usize = 120;
const RESERVED: usize = 128;
/// Where a segment that is not removed has zeros already.
const REMOVED: usize = STATE + 1;

const STATE_PREPARED: u8 = 1;
const STATE_ACTIVE: u8 = 2;
const STATE_REMOVED: u8 = 3;

const _: () = assert!(SEGMENT_HEADER_LEN.is_multiple_of(SECTOR_LEN) && RESERVED <= SECTOR_LEN);
const _: () = assert!(SEGMENT_LEN_READ_MIN > SEGMENT_HEADER_LEN as u64);

/// A random number that a log gets when its first segment is made, and that all its segments and blocks carry.
/// No client ever sees it: that is what makes a block that recovery finds among clients' bytes a real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogTag(pub u32);

/// How far a segment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Zeros, waiting for its turn.
    Prepared,
    /// Blocks are, or will be, in it.
    Active {
        /// Position of its first block: the end of the last block of the segment before.
        base: Position,
    },
    /// Its content is gone, and perhaps that of segments before it: compaction has taken what lived elsewhere.
    Removed(RemovedRange),
}

/// A range of the log that compaction has removed, as the stub says it that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedRange {
    /// The first of the segments that are gone; the last is the one whose file says so.
    pub first: SegmentId,
    /// Where the first began.
    pub base: Position,
    /// Where the last ended, and the segment after it begins.
    pub end: Position,
    /// No block behind has a lower number.
    pub sequence: u64,
    /// What was given to clients by then, and is perhaps told by nothing else any more.
    pub given: Given,
}

/// Numbers that are never given again, each the highest so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Versions, of all partitions but the system keyspace's.
    pub versions: Version,
    /// Versions of the system keyspace's partition: they number keyspaces.
    pub system_versions: Version,
    /// Indexes of entries, of all partitions.
    pub entries: u64,
}

impl Given {
    /// The higher ones of both.
    #[must_use]
    pub fn max(self, other: Given) -> Given {
        Given {
            versions: self.versions.max(other.versions),
            system_versions: self.system_versions.max(other.system_versions),
            entries: self.entries.max(other.entries),
        }
    }
}

/// What a segment's first sector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The node that wrote it.
    pub node: u128,
    /// The shard whose log it is part of.
    pub shard: ShardId,
    /// Shards that the node had: they settle which partitions are in this log.
    pub shard_count: u16,
    /// The log's tag.
    pub log: LogTag,
    /// Which segment of the log this is.
    pub segment: SegmentId,
    /// Length of the file, this header included, in bytes.
    pub segment_len: u64,
    /// When the file was made.
    pub created: WallMillis,
    /// Whether it has begun to be written.
    pub state: SegmentState,
}

impl SegmentHeader {
    /// The sector to write at the file's start.
    #[must_use]
    pub fn encode(&self) -> [u8; SECTOR_LEN] {
        let mut out = [0; SECTOR_LEN];
        let (state, base) = match self.state {
            SegmentState::Prepared => (STATE_PREPARED, Position(0)),
            SegmentState::Active { base } => (STATE_ACTIVE, base),
            SegmentState::Removed(range) => {
                put(&mut out, FIRST, range.first.0.to_le_bytes());
                put(&mut out, END, range.end.0.to_le_bytes());
                put(&mut out, SEQUENCE, range.sequence.to_le_bytes());
                put(&mut out, VERSIONS, range.given.versions.0.to_le_bytes());
                let system_versions = range.given.system_versions.0;
                put(&mut out, SYSTEM_VERSIONS, system_versions.to_le_bytes());
                put(&mut out, ENTRIES, range.given.entries.to_le_bytes());
                (STATE_REMOVED, range.base)
            }
        };
        put(&mut out, MAGIC, MAGIC_BYTES);
        put(&mut out, VERSION, FORMAT_VERSION.to_le_bytes());
        put(&mut out, NODE, self.node.to_le_bytes());
        put(&mut out, SEGMENT, self.segment.0.to_le_bytes());
        put(&mut out, SEGMENT_LEN, self.segment_len.to_le_bytes());
        put(&mut out, CREATED, self.created.0.to_le_bytes());
        put(&mut out, BASE, base.0.to_le_bytes());
        put(&mut out, SHARD, self.shard.0.to_le_bytes());
        put(&mut out, SHARD_COUNT, self.shard_count.to_le_bytes());
        put(&mut out, LOG, self.log.0.to_le_bytes());
        out[STATE] = state;
        let crc = sector_crc(&out);
        put(&mut out, CRC, crc.to_le_bytes());
        out
    }

    /// Reads a file's first sector.
    ///
    /// # Errors
    /// [`SegmentError`]; [`SegmentError::Blank`] if nothing was ever written there.
    pub fn decode(sector: &[u8; SECTOR_LEN]) -> Result<SegmentHeader, SegmentError> {
        if is_zero(sector) {
            return Err(SegmentError::Blank);
        }
        if sector[..VERSION] != MAGIC_BYTES {
            return Err(SegmentError::Magic);
        }
        let stored = u32_at(sector, CRC);
        let computed = sector_crc(sector);
        if stored != computed {
            return Err(SegmentError::Checksum { stored, computed });
        }
        let version = u32_at(sector, VERSION);
        if version != FORMAT_VERSION {
            return Err(SegmentError::Version(version));
        }
        let base = Position(u64_at(sector, BASE));
        let state = match sector[STATE] {
            STATE_PREPARED => SegmentState::Prepared,
            STATE_ACTIVE => SegmentState::Active { base },
            STATE_REMOVED => SegmentState::Removed(RemovedRange {
                first: SegmentId(u64_at(sector, FIRST)),
                base,
                end: Position(u64_at(sector, END)),
                sequence: u64_at(sector, SEQUENCE),
                given: Given {
                    versions: Version(u64_at(sector, VERSIONS)),
                    system_versions: Version(u64_at(sector, SYSTEM_VERSIONS)),
                    entries: u64_at(sector, ENTRIES),
                },
            }),
            _ => return Err(SegmentError::Contradiction),
        };
        let header = SegmentHeader {
            node: u128::from_le_bytes(array_at(sector, NODE)),
            shard: ShardId(u16_at(sector, SHARD)),
            shard_count: u16_at(sector, SHARD_COUNT),
            log: LogTag(u32_at(sector, LOG)),
            segment: SegmentId(u64_at(sector, SEGMENT)),
            segment_len: u64_at(sector, SEGMENT_LEN),
            created: WallMillis(u64_at(sector, CREATED)),
            state,
        };
        let state_is_sound = match header.state {
            SegmentState::Prepared => base.0 == 0 && is_zero(&sector[REMOVED..]),
            SegmentState::Active { .. } => is_zero(&sector[REMOVED..]),
            SegmentState::Removed(range) => {
                (1..=header.segment.0).contains(&range.first.0)
                    && range.base <= range.end
                    && range.end.0.is_multiple_of(BLOCK_ALIGN as u64)
                    && (1..u64::MAX).contains(&range.sequence)
                    && is_zero(&sector[REMOVED..FIRST])
            }
        };
        let sound = (SEGMENT_LEN_READ_MIN..=SEGMENT_LEN_MAX).contains(&header.segment_len)
            && header.segment_len.is_multiple_of(SECTOR_LEN as u64)
            && base.0.is_multiple_of(BLOCK_ALIGN as u64)
            && state_is_sound
            && header.segment.0 > 0
            && header.shard.0 < header.shard_count
            && is_zero(&sector[RESERVED..]);
        if sound {
            Ok(header)
        } else {
            Err(SegmentError::Contradiction)
        }
    }

    /// Bytes of log that the segment can hold.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.segment_len - SEGMENT_HEADER_LEN as u64
    }
}

/// Why a sector is not a segment's header.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SegmentError {
    /// All zeros: nothing was ever written there.
    #[error("the segment's header is blank")]
    Blank,
    /// The bytes don't begin as a header does.
    #[error("the file does not begin as a segment does")]
    Magic,
    /// The bytes are not those that were written.
    #[error("the segment's header has checksum {computed:08x} where {stored:08x} is stored")]
    Checksum {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A whole header of a format that this program doesn't know.
    #[error("the segment has format version {0}, and this program reads version {FORMAT_VERSION}")]
    Version(u32),
    /// The fields can't be true together.
    #[error("the segment's header contradicts itself")]
    Contradiction,
}

fn sector_crc(sector: &[u8; SECTOR_LEN]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&sector[..CRC]);
    hasher.update(&sector[NODE..]);
    hasher.finalize()
}
