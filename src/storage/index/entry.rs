//! One entry of the index, 16 bytes, and the values that are read out of it.
//!
//! ```text
//! tag      u64   63………………………24 23……………0
//!                hash (top 40)  record length in units of 8 bytes, the alignment of records
//! address  u64   position of the record in the shard's log
//! ```
//!
//! The hash is in the high bits so that comparing tags compares hashes. A length that doesn't fit is stored as the largest
//! one, which means "unknown". The tag of all ones is never a real one (the largest length is one below all ones) and marks an
//! empty slot: as it compares above every hash, a search stops at it without a test of its own.

use crate::storage::hash::KeyHash;
use crate::types::Position;

/// How many bits of a [`KeyHash`] the index keeps.
pub(super) const SHORT_HASH_BITS: u32 = 40;
/// The largest [`ShortHash`].
const SHORT_HASH_MAX: u64 = (1 << SHORT_HASH_BITS) - 1;
/// Bits of an entry's record length.
const LEN_BITS: u32 = u64::BITS - SHORT_HASH_BITS;
/// Stands for every length that doesn't fit.
const LEN_UNITS_UNKNOWN: u64 = (1 << LEN_BITS) - 2;
/// Bytes of one unit of a record length.
const LEN_UNIT: u32 = 8;

/// The top 40 bits of a key's hash: what the index tells keys apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShortHash(u64);

impl ShortHash {
    /// The bits `from..from + bits`, counted from the most significant of the 40.
    pub(super) fn bits(self, from: u32, bits: u32) -> usize {
        debug_assert!(from + bits <= SHORT_HASH_BITS);
        let mask = (1 << bits) - 1;
        ((self.0 >> (SHORT_HASH_BITS - from - bits)) & mask) as usize
    }

    /// The 32 bits that follow the first `from`, filled up with zeros.
    pub(super) fn fraction(self, from: u32) -> u64 {
        ((self.0 << from) & SHORT_HASH_MAX) >> (SHORT_HASH_BITS - 32)
    }

    /// Where a scan goes on after this hash.
    pub(super) fn cursor_after(self) -> HashCursor {
        HashCursor(self.0 + 1)
    }
}

impl From<KeyHash> for ShortHash {
    fn from(hash: KeyHash) -> Self {
        Self(hash.0 >> LEN_BITS)
    }
}

/// A place in hash order: a scan goes on with the first entry whose hash (its top 40 bits) is at or after it.
///
/// It names a hash and nothing of the table's structure, so it stays good over growth, splits and restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HashCursor(u64);

impl HashCursor {
    /// Before the first entry.
    pub const START: HashCursor = HashCursor(0);

    /// Takes back what [`HashCursor::as_u64`] gave away; none if it is no cursor.
    #[must_use]
    pub fn from_u64(raw: u64) -> Option<Self> {
        (raw <= SHORT_HASH_MAX + 1).then_some(Self(raw))
    }

    /// As a number, to be sent to a client. At most 2⁴⁰.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The cursor at a hash: a page from here begins with that hash's entries.
    pub(super) fn at(hash: ShortHash) -> Self {
        Self(hash.0)
    }

    /// The hash at which a page from here begins; none if it is the end.
    pub(super) fn hash(self) -> Option<ShortHash> {
        (self.0 <= SHORT_HASH_MAX).then_some(ShortHash(self.0))
    }

    /// The end of the range of all hashes that share the first `depth` bits with this one.
    pub(super) fn range_end(self, depth: u32) -> Self {
        let shift = SHORT_HASH_BITS - depth;
        Self(((self.0 >> shift) + 1) << shift)
    }
}

/// A record that may be the wanted one: its key's hash is the same in the 40 bits that the index keeps. Only the key in the
/// log decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// Where the record is.
    pub address: Position,
    /// An upper bound of the record's length in bytes, so that one read fetches it whole; 0 if it isn't known.
    pub len_hint: u32,
}

/// One slot of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    tag: u64,
    address: u64,
}

impl Entry {
    /// What a slot without an entry holds.
    pub(super) const EMPTY: Entry = Entry {
        tag: u64::MAX,
        address: u64::MAX,
    };

    pub(super) fn new(hash: ShortHash, address: Position, record_len: u32) -> Self {
        let units = u64::from(record_len.div_ceil(LEN_UNIT)).min(LEN_UNITS_UNKNOWN);
        Self {
            tag: (hash.0 << LEN_BITS) | units,
            address: address.0,
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.tag == u64::MAX
    }

    /// The entry's hash; of an empty slot the largest one.
    pub(super) fn hash(self) -> ShortHash {
        ShortHash(self.tag >> LEN_BITS)
    }

    pub(super) fn address(self) -> Position {
        Position(self.address)
    }

    pub(super) fn candidate(self) -> Candidate {
        let units = self.tag & ((1 << LEN_BITS) - 1);
        let len_hint = if units == LEN_UNITS_UNKNOWN {
            0
        } else {
            units as u32 * LEN_UNIT
        };
        Candidate {
            address: self.address(),
            len_hint,
        }
    }
}

const _: () = assert!(size_of::<Entry>() == 16);
const _: () = assert!(LEN_UNITS_UNKNOWN * (LEN_UNIT as u64) <= u32::MAX as u64);
