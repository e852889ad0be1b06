//! A value's bytes: they say who wrote them, to which key and how many there are, and all the rest follows from that, so that whoever reads
//! them can tell a value that was written from one that never was.
//!
//! Little-endian, from the first byte:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | CRC-32 of the 20 bytes behind it |
//! | 4 | 8 | stamp: which write it is ([`Stamp`]) |
//! | 12 | 8 | number of the key |
//! | 20 | 4 | length of the whole value |
//! | 24 | … | filler |
//!
//! **Filler** is cut from one block of random bytes, the same in every run, at an offset that the key's number and the stamp decide. Writing it is a
//! copy and checking it a comparison, both as fast as memory; and since each byte is known beforehand, a comparison finds whatever a checksum
//! over it would find, and more. The block's length is a prime, so that no two pages or sectors of a value are alike, even in the largest:
//! one that is in another's place is found.
//!
//! **Short values** hold as much as fits. From 8 to 23 bytes, a value is the table above, cut off; the checksum is computed as if
//! all of it were there, except that bytes of the stamp that didn't fit count as 0. From 1 to 7 bytes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | a hash of the key's number and the length, 8 bits, xor all bytes behind it |
//! | 1 | 0 to 6 | the lowest bytes of the stamp |
//!
//! An empty value says nothing and is always right.
//!
//! | length | a flipped byte | a value of another key, or cut off | the write |
//! |---|---|---|---|
//! | 1 to 7 | always found | found but for 1 in 256 | its stamp's low 0 to 48 bits |
//! | 8 to 23 | always found | found but for 1 in 2^32 | its stamp's low 32 bits, or all from 12 bytes on |
//! | 24 and more | always found | always found, and named | all of its stamp |
//!
//! Random bytes don't compress: stores that compress show their worst here.

mod filler;

use self::filler::Filler;
use super::random::mix;

const STAMP_AT: usize = 4;
const KEY_AT: usize = 12;
const LEN_AT: usize = 20;
/// Length of what stands before the filler.
pub const HEADER_LEN: usize = 24;
/// Values from this length on carry the whole stamp.
pub const STAMPED_LEN_MIN: u32 = KEY_AT as u32;
/// Values from this length on carry the checksum of 4 bytes.
const CHECKSUM_LEN_MIN: usize = 8;

const WRITER_BITS: u32 = 24;
const SEQUENCE_BITS: u32 = 40;

/// Which write it is: who wrote it, and its number among the writes of that writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// The writer's number, below 2^24: one for each connection of each run, if runs write the same keys.
    pub writer: u32,
    /// From 1, below 2^40.
    pub sequence: u64,
}

impl Stamp {
    /// Numbers of writers are below this.
    pub const WRITERS_MAX: u32 = 1 << WRITER_BITS;

    /// Both in one number, the writer in its upper 24 bits. This is what [`Ask::stamp`](super::Ask::stamp) holds.
    #[inline]
    #[must_use]
    pub fn pack(self) -> u64 {
        debug_assert!(self.writer < Stamp::WRITERS_MAX && self.sequence >> SEQUENCE_BITS == 0);
        u64::from(self.writer) << SEQUENCE_BITS | self.sequence
    }

    /// The two of a number.
    #[must_use]
    pub fn unpack(packed: u64) -> Stamp {
        Stamp {
            writer: (packed >> SEQUENCE_BITS) as u32,
            sequence: packed & ((1 << SEQUENCE_BITS) - 1),
        }
    }
}

/// What a right value says of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The stamp, packed: as many of its low bits as the value has room for.
    pub stamp: u64,
    /// How many those are: 0 to 64.
    pub stamp_bits: u32,
}

impl Written {
    /// Whether it can be the write with this stamp, as far as the value had room to say.
    #[must_use]
    pub fn may_be(self, stamp: u64) -> bool {
        low_bits(stamp, self.stamp_bits) == self.stamp
    }
}

/// Why a value was never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Its checksum doesn't fit. A value of less than 24 bytes may also be another key's or cut off.
    #[error("its first bytes are damaged")]
    Header,
    /// It is another key's.
    #[error("it is the value of key number {key}")]
    Key {
        /// Whose.
        key: u64,
        /// Which write.
        stamp: u64,
    },
    /// It was cut off or something stands behind it.
    #[error("it was written with {written} bytes and has {found}")]
    Length {
        /// Bytes that it says it has.
        written: u32,
        /// Bytes that it has.
        found: usize,
    },
    /// Its filler isn't what follows from its stamp.
    #[error("it differs from what was written at byte {at}")]
    Filler {
        /// The first byte that differs.
        at: usize,
    },
}

/// How much of a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Depth {
    /// All of it.
    #[default]
    Whole,
    /// Its header, so that reading large values costs the generator nothing.
    Header,
}

/// Makes values and checks them. Cheap to clone.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    filler: Filler,
    depth: Depth,
}

impl Values {
    /// The first one of a process makes the filler, which takes about a millisecond.
    #[must_use]
    pub fn new(depth: Depth) -> Values {
        Values {
            filler: Filler::new(),
            depth,
        }
    }

    /// Appends the value of `len` bytes that this write gives this key. Allocates only if `out` has no room.
    #[inline]
    pub fn append(&self, key: u64, stamp: u64, len: u32, out: &mut Vec<u8>) {
        let whole = len as usize;
        if whole < CHECKSUM_LEN_MIN {
            let short = short(key, stamp, whole);
            out.extend_from_slice(&short[..whole]);
            return;
        }
        let header = header(key, low_bits(stamp, stamp_bits(whole)), len);
        if whole < HEADER_LEN {
            out.extend_from_slice(&header[..whole]);
            return;
        }
        out.reserve(whole);
        out.extend_from_slice(&header);
        self.filler.append(key, stamp, whole - HEADER_LEN, out);
    }

    /// Which write gave this key these bytes.
    ///
    /// # Errors
    ///
    /// [`Wrong`] if none did.
    #[inline]
    pub fn check(&self, key: u64, bytes: &[u8]) -> Result<Written, Wrong> {
        let Some(found) = bytes.first_chunk::<HEADER_LEN>() else {
            return check_short(key, bytes);
        };
        let (stamp, said_key, said_len) = (
            number(found, STAMP_AT),
            number(found, KEY_AT),
            u32::from_le_bytes([found[20], found[21], found[22], found[23]]),
        );
        if *found != header(said_key, stamp, said_len) {
            return Err(Wrong::Header);
        }
        if said_key != key {
            return Err(Wrong::Key {
                key: said_key,
                stamp,
            });
        }
        if said_len as usize != bytes.len() {
            return Err(Wrong::Length {
                written: said_len,
                found: bytes.len(),
            });
        }
        if self.depth == Depth::Whole
            && let Some(at) = self.filler.differs(key, stamp, &bytes[HEADER_LEN..])
        {
            return Err(Wrong::Filler {
                at: HEADER_LEN + at,
            });
        }
        Ok(Written {
            stamp,
            stamp_bits: 64,
        })
    }
}

/// The header of a value with at least 8 bytes. Bits of the stamp for which there is no room are 0.
#[inline]
fn header(key: u64, stamp: u64, len: u32) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[STAMP_AT..KEY_AT].copy_from_slice(&stamp.to_le_bytes());
    header[KEY_AT..LEN_AT].copy_from_slice(&key.to_le_bytes());
    header[LEN_AT..].copy_from_slice(&len.to_le_bytes());
    let checksum = crc32fast::hash(&header[STAMP_AT..]);
    header[..STAMP_AT].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// A value of less than 8 bytes, of which the first `len` count.
fn short(key: u64, stamp: u64, len: usize) -> [u8; CHECKSUM_LEN_MIN] {
    let stamp = low_bits(stamp, stamp_bits(len)).to_le_bytes();
    let mut short = [0; CHECKSUM_LEN_MIN];
    short[0] = mix(mix(key) ^ len as u64) as u8;
    for (at, byte) in stamp[..CHECKSUM_LEN_MIN - 1].iter().enumerate() {
        short[0] ^= byte;
        short[1 + at] = *byte;
    }
    short
}

/// What a value without the whole header says.
fn check_short(key: u64, bytes: &[u8]) -> Result<Written, Wrong> {
    let len = bytes.len();
    let stamp_bits = stamp_bits(len);
    let stamp_at = if len < CHECKSUM_LEN_MIN { 1 } else { STAMP_AT };
    let mut stamp = [0; 8];
    let present = stamp_bits as usize / 8;
    stamp[..present].copy_from_slice(&bytes[stamp_at.min(len)..][..present]);
    let stamp = u64::from_le_bytes(stamp);
    let right = if len < CHECKSUM_LEN_MIN {
        short(key, stamp, len)[..len] == *bytes
    } else {
        header(key, stamp, len as u32)[..len] == *bytes
    };
    if right {
        Ok(Written { stamp, stamp_bits })
    } else {
        Err(Wrong::Header)
    }
}

/// For how many bits of a stamp a value of this length has room.
#[inline]
fn stamp_bits(len: usize) -> u32 {
    let bytes = if len < CHECKSUM_LEN_MIN {
        len.saturating_sub(1)
    } else {
        (len - STAMP_AT).min(8)
    };
    bytes as u32 * 8
}

#[inline]
fn low_bits(number: u64, bits: u32) -> u64 {
    match bits {
        0 => 0,
        64.. => number,
        _ => number & ((1 << bits) - 1),
    }
}

/// The number of 8 bytes at `at`.
#[inline]
fn number(header: &[u8; HEADER_LEN], at: usize) -> u64 {
    header[at..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
