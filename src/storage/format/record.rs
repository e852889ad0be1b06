//! A record: one effect on one key, as it lies in the log and as the index points at it.
//!
//! ```text
//!  0  crc u32          over all that follows, padding included, seeded with the record's position
//!  4  kind u8          1 set, 2 delete, 3 clear
//!  5  flags u8         bit 0: an expiry follows the fixed part; bit 1: an origin does
//!  6  key_len u16
//!  8  value_len u32
//! 12  reserved u32     zero
//! 16  version u64
//! 24  timestamp u64    wall-clock milliseconds
//! 32  [expiry u64]     wall-clock milliseconds, if flagged (only in a set)
//! 32  [origin u64]     a position, if flagged (only in a delete or a clear)
//!     key, value, zeros up to a multiple of 8
//! ```
//!
//! A record is written before its position is known (a turn gathers records, then the block gets its place), so
//! [`Record::encode`] leaves the checksum open and [`Record::seal`] closes it. Reading has two doors:
//! [`Record::parse`] for memory that we wrote ourselves or that a block's checksum has covered, a few
//! nanoseconds; [`Record::check`] for a record that comes from disk alone. Both look at structure and bounds
//! first, so neither panics on any bytes.

use crc32fast::Hasher;
use thiserror::Error;

use super::{position_seed, put, u16_at, u32_at, u64_at};
use crate::limits::{KEY_LEN_MAX, KEY_LEN_MIN, VALUE_LEN_MAX};
use crate::types::{Position, Version, WallMillis};

/// Records begin at multiples of this.
pub const RECORD_ALIGN: usize = 8;
/// The part that every record has: also the length of the shortest record, a clear.
pub const RECORD_LEN_MIN: usize = 32;

const CRC: usize = 0;
const KIND: usize = 4;
const FLAGS: usize = 5;
const KEY_LEN: usize = 6;
const VALUE_LEN: usize = 8;
const RESERVED: usize = 12;
const VERSION: usize = 16;
const TIMESTAMP: usize = 24;
/// An expiry or an origin; no record has both.
const EXPIRY: usize = 32;
const EXPIRY_LEN: usize = 8;

const FLAG_EXPIRY: u8 = 1;
const FLAG_ORIGIN: u8 = 2;

const _: () = assert!(KEY_LEN_MAX <= u16::MAX as usize && VALUE_LEN_MAX <= u32::MAX as usize);
const _: () = assert!(RECORD_LEN_MIN.is_multiple_of(RECORD_ALIGN));

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// The key has this value from now on.
    Set = 1,
    /// The key is gone.
    Delete = 2,
    /// All keys of the partition whose version is not above this record's are gone. Has no key.
    Clear = 3,
}

/// One effect, borrowed from wherever its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it does.
    pub kind: RecordKind,
    /// The key; empty in a clear and in nothing else.
    pub key: &'a [u8],
    /// The value; empty unless this is a set.
    pub value: &'a [u8],
    /// The key's version from here on.
    pub version: Version,
    /// When the effect was decided.
    pub timestamp: WallMillis,
    /// From when on the key no longer exists. Only a set has one.
    pub expiry: Option<WallMillis>,
    /// Where the effect was logged first, if this is a copy that compaction made of a delete or a clear: what it takes away lies below.
    pub origin: Option<Position>,
}

/// Length in the log of a record, padding included, in bytes. `has_extra`: it has an expiry or an origin.
#[must_use]
pub const fn record_len(key_len: usize, value_len: usize, has_extra: bool) -> usize {
    let fixed = RECORD_LEN_MIN + if has_extra { EXPIRY_LEN } else { 0 };
    (fixed + key_len + value_len).next_multiple_of(RECORD_ALIGN)
}

/// The part of a record that says how long the rest is.
struct Head {
    kind: RecordKind,
    has_extra: bool,
    key_len: usize,
    value_len: usize,
    version: Version,
    timestamp: WallMillis,
    expiry: Option<WallMillis>,
    origin: Option<Position>,
}

impl Head {
    #[inline]
    fn parse(bytes: &[u8]) -> Result<Head, RecordError> {
        let Some(fixed) = bytes.first_chunk::<RECORD_LEN_MIN>() else {
            return Err(RecordError::Truncated {
                needed: RECORD_LEN_MIN,
                available: bytes.len(),
            });
        };
        let flags = fixed[FLAGS];
        let key_len = usize::from(u16_at(fixed, KEY_LEN));
        let value_len = u32_at(fixed, VALUE_LEN) as usize;
        let kind = match fixed[KIND] {
            1 => RecordKind::Set,
            2 => RecordKind::Delete,
            3 => RecordKind::Clear,
            kind => return Err(RecordError::Kind(kind)),
        };
        if flags & !(FLAG_EXPIRY | FLAG_ORIGIN) != 0 {
            return Err(RecordError::Flags(flags));
        }
        if u32_at(fixed, RESERVED) != 0 {
            return Err(RecordError::Reserved);
        }
        let has_expiry = flags & FLAG_EXPIRY != 0;
        let has_origin = flags & FLAG_ORIGIN != 0;
        let fits_flags = match kind {
            RecordKind::Set => !has_origin,
            RecordKind::Delete | RecordKind::Clear => !has_expiry,
        };
        let fits_lengths = match kind {
            RecordKind::Set => key_len >= KEY_LEN_MIN && value_len <= VALUE_LEN_MAX,
            RecordKind::Delete => key_len >= KEY_LEN_MIN && value_len == 0,
            RecordKind::Clear => key_len == 0 && value_len == 0,
        };
        if !fits_flags || !fits_lengths {
            return Err(RecordError::Lengths {
                kind,
                key_len,
                value_len,
                has_expiry,
            });
        }
        let has_extra = has_expiry || has_origin;
        let extra = match (has_extra, bytes.get(EXPIRY..EXPIRY + EXPIRY_LEN)) {
            (false, _) => 0,
            (true, Some(_)) => u64_at(bytes, EXPIRY),
            (true, None) => {
                return Err(RecordError::Truncated {
                    needed: record_len(key_len, value_len, true),
                    available: bytes.len(),
                });
            }
        };
        Ok(Head {
            kind,
            has_extra,
            key_len,
            value_len,
            version: Version(u64_at(fixed, VERSION)),
            timestamp: WallMillis(u64_at(fixed, TIMESTAMP)),
            expiry: has_expiry.then_some(WallMillis(extra)),
            origin: has_origin.then_some(Position(extra)),
        })
    }

    fn key_at(&self) -> usize {
        RECORD_LEN_MIN + if self.has_extra { EXPIRY_LEN } else { 0 }
    }

    fn value_at(&self) -> usize {
        self.key_at() + self.key_len
    }

    fn encoded_len(&self) -> usize {
        record_len(self.key_len, self.value_len, self.has_extra)
    }

    #[inline]
    fn record<'a>(&self, bytes: &'a [u8], value: &'a [u8]) -> Record<'a> {
        let key_at = self.key_at();
        Record {
            kind: self.kind,
            key: &bytes[key_at..key_at + self.key_len],
            value,
            version: self.version,
            timestamp: self.timestamp,
            expiry: self.expiry,
            origin: self.origin,
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a record at the start of `bytes`, which may be longer than it. Structure and bounds only: for
    /// bytes that we wrote ourselves or that a block's checksum has covered.
    ///
    /// # Errors
    /// [`RecordError`], never [`RecordError::Checksum`]. [`RecordError::Truncated`] says how many bytes would do, so a
    /// reader who guessed too short a length can fetch again.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let head = Head::parse(bytes)?;
        let needed = head.encoded_len();
        if bytes.len() < needed {
            return Err(RecordError::Truncated {
                needed,
                available: bytes.len(),
            });
        }
        let value_at = head.value_at();
        Ok(head.record(bytes, &bytes[value_at..value_at + head.value_len]))
    }

    /// Reads a record whose value is kept apart from the rest of it, both written by ourselves: `bytes` hold what comes before the value.
    ///
    /// # Errors
    /// As [`Record::parse`], and if the value has not the length that the record says.
    pub fn parse_apart(bytes: &'a [u8], value: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let head = Head::parse(bytes)?;
        if bytes.len() < head.value_at() || value.len() != head.value_len {
            return Err(RecordError::Truncated {
                needed: head.encoded_len(),
                available: bytes.len() + value.len(),
            });
        }
        Ok(head.record(bytes, value))
    }

    /// Reads a record that was fetched alone from disk: structure, bounds, checksum, and that it belongs to
    /// `position`.
    ///
    /// # Errors
    /// [`RecordError`]: nothing of the bytes can be used.
    pub fn check(bytes: &'a [u8], position: Position) -> Result<Record<'a>, RecordError> {
        let mut check = RecordCheck::begin(bytes, position)?;
        check.advance(bytes, usize::MAX);
        check.finish()?;
        Record::parse(bytes)
    }

    /// Closes the checksum of one encoded record (exactly its bytes, padding included), once its place is known.
    pub fn seal(bytes: &mut [u8], position: Position) {
        debug_assert!(Record::parse(bytes).is_ok_and(|record| record.encoded_len() == bytes.len()));
        debug_assert!(position.0.is_multiple_of(RECORD_ALIGN as u64));
        let crc = record_crc(bytes, position);
        put(bytes, CRC, crc.to_le_bytes());
    }

    /// As [`Record::seal`], of a record whose value is kept apart and comes in slices: `head` is what comes before the value, `padding` what
    /// comes after it.
    pub fn seal_apart<'b>(
        head: &mut [u8],
        value: impl Iterator<Item = &'b [u8]>,
        padding: &[u8],
        position: Position,
    ) {
        let mut hasher = Hasher::new_with_initial(position_seed(position));
        hasher.update(&head[KIND..]);
        for slice in value {
            hasher.update(slice);
        }
        hasher.update(padding);
        put(head, CRC, hasher.finalize().to_le_bytes());
    }

    /// Appends the record with its checksum still open: see [`Record::seal`].
    ///
    /// # Panics
    /// If key or value break the limits or the kind's shape: whoever accepted them should have refused.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.encoded_len();
        out.reserve(self.encoded_len());
        self.encode_head(out);
        out.extend_from_slice(self.value);
        out.resize(end, 0);
    }

    /// Appends what comes before the value, the checksum still open.
    ///
    /// # Panics
    /// As [`Record::encode`].
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        let key_fits = (KEY_LEN_MIN..=KEY_LEN_MAX).contains(&self.key.len());
        match self.kind {
            RecordKind::Set => assert!(
                key_fits && self.value.len() <= VALUE_LEN_MAX && self.origin.is_none(),
                "the key or the value of a set is outside the limits"
            ),
            RecordKind::Delete => assert!(
                key_fits && self.value.is_empty() && self.expiry.is_none(),
                "a delete has a key and no value"
            ),
            RecordKind::Clear => assert!(
                self.key.is_empty() && self.value.is_empty() && self.expiry.is_none(),
                "a clear has neither key nor value"
            ),
        }
        let mut fixed = [0; RECORD_LEN_MIN];
        fixed[KIND] = self.kind as u8;
        fixed[FLAGS] = match (self.expiry, self.origin) {
            (None, None) => 0,
            (Some(_), _) => FLAG_EXPIRY,
            (None, Some(_)) => FLAG_ORIGIN,
        };
        put(&mut fixed, KEY_LEN, (self.key.len() as u16).to_le_bytes());
        put(
            &mut fixed,
            VALUE_LEN,
            (self.value.len() as u32).to_le_bytes(),
        );
        put(&mut fixed, VERSION, self.version.0.to_le_bytes());
        put(&mut fixed, TIMESTAMP, self.timestamp.0.to_le_bytes());
        out.extend_from_slice(&fixed);
        if let Some(extra) = self.extra() {
            out.extend_from_slice(&extra.to_le_bytes());
        }
        out.extend_from_slice(self.key);
    }

    /// What follows the fixed part.
    #[inline]
    fn extra(&self) -> Option<u64> {
        let origin = self.origin.map(|origin| origin.0);
        self.expiry.map(|expiry| expiry.0).or(origin)
    }

    /// Bytes between the value and the record's end.
    #[must_use]
    pub fn padding_len(&self) -> usize {
        let fixed = RECORD_LEN_MIN
            + match self.extra() {
                Some(_) => EXPIRY_LEN,
                None => 0,
            };
        self.encoded_len() - fixed - self.key.len() - self.value.len()
    }

    /// Length in the log, padding included, in bytes.
    #[must_use]
    #[inline]
    pub fn encoded_len(&self) -> usize {
        record_len(self.key.len(), self.value.len(), self.extra().is_some())
    }
}

/// [`Record::check`] in slices, for records so long that their checksum takes its time.
#[derive(Clone, Debug)]
pub struct RecordCheck {
    position: Position,
    /// The record's length, padding included.
    len: usize,
    /// How far it is checked.
    at: usize,
    hasher: Hasher,
    stored: u32,
}

impl RecordCheck {
    /// Looks at structure and bounds of the record that `bytes` begin with.
    ///
    /// # Errors
    /// As [`Record::check`].
    pub fn begin(bytes: &[u8], position: Position) -> Result<RecordCheck, RecordError> {
        let record = Record::parse(bytes)?;
        Ok(RecordCheck {
            position,
            len: record.encoded_len(),
            at: KIND,
            hasher: Hasher::new_with_initial(position_seed(position)),
            stored: u32_at(bytes, CRC),
        })
    }

    /// Goes on over at most `len` bytes of the same record.
    pub fn advance(&mut self, bytes: &[u8], len: usize) {
        let end = self.len.min(self.at.saturating_add(len));
        self.hasher.update(&bytes[self.at..end]);
        self.at = end;
    }

    /// Whether all of the record was gone over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at == self.len
    }

    /// The record's length, if its checksum is right.
    ///
    /// # Errors
    /// [`RecordError::Checksum`].
    pub fn finish(self) -> Result<usize, RecordError> {
        assert!(self.is_done(), "a check ends at the record's end");
        let computed = self.hasher.finalize();
        if computed == self.stored {
            return Ok(self.len);
        }
        Err(RecordError::Checksum {
            position: self.position,
            stored: self.stored,
            computed,
        })
    }
}

/// A record and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAt<'a> {
    /// Its address in the log: what the index keeps.
    pub position: Position,
    /// Its length in the log, in bytes.
    pub len: u32,
    /// The record.
    pub record: Record<'a>,
}

/// The records of one entry, in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    position: Position,
}

impl<'a> Records<'a> {
    /// `bytes` are exactly the records of an entry, the first of which lies at `position`.
    #[must_use]
    pub fn new(bytes: &'a [u8], position: Position) -> Records<'a> {
        Records { bytes, position }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordAt<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        match Record::parse(self.bytes) {
            Ok(record) => {
                let len = record.encoded_len();
                let position = self.position;
                self.bytes = &self.bytes[len..];
                self.position = Position(position.0 + len as u64);
                Some(Ok(RecordAt {
                    position,
                    len: len as u32,
                    record,
                }))
            }
            Err(error) => {
                self.bytes = &[];
                Some(Err(error))
            }
        }
    }
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The record goes on after the bytes that there are. `needed` counts from its start.
    #[error("a record needs {needed} bytes and {available} are there")]
    Truncated {
        /// Bytes that would do, or would say how many do.
        needed: usize,
        /// Bytes that were given.
        available: usize,
    },
    /// No record of this format has that kind.
    #[error("unknown kind of record {0}")]
    Kind(u8),
    /// No record of this format has those flags.
    #[error("unknown flags {0:#04x} in a record")]
    Flags(u8),
    /// A field that must be zero isn't.
    #[error("a reserved field of a record is not zero")]
    Reserved,
    /// Key, value or expiry don't go with the kind or break a limit.
    #[error(
        "a {kind:?} record can't have a key of {key_len} bytes, a value of {value_len} bytes, expiry: {has_expiry}"
    )]
    Lengths {
        /// What the record does.
        kind: RecordKind,
        /// Length of the key, in bytes.
        key_len: usize,
        /// Length of the value, in bytes.
        value_len: usize,
        /// Whether it has an expiry.
        has_expiry: bool,
    },
    /// The bytes are not those that were written at this position.
    #[error(
        "the record at position {position} has checksum {computed:08x} where {stored:08x} is stored"
    )]
    Checksum {
        /// Where the record was looked for.
        position: Position,
        /// The checksum in the record.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
}

fn record_crc(bytes: &[u8], position: Position) -> u32 {
    let mut hasher = Hasher::new_with_initial(position_seed(position));
    hasher.update(&bytes[KIND..]);
    hasher.finalize()
}
