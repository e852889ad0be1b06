//! An entry: what one turn appends for one partition, a batch of records under one header.
//!
//! ```text
//!  0  keyspace u32
//!  4  partition u16     its index in the keyspace
//!  6  kind u8           1 effects
//!  7  reserved u8       zero
//!  8  records u32       how many
//! 12  len u32           of the records, in bytes
//! 16  term u64
//! 24  index u64
//! 32  records
//! ```
//!
//! Term and index are those of the replicated log that the entry belongs to; on one node alone the term is zero
//! and the index counts the partition's entries. An entry has no checksum of its own: the block's covers it.

use thiserror::Error;

use super::record::{RECORD_ALIGN, RECORD_LEN_MIN, RecordError, Records};
use super::{array_at, put, u16_at, u32_at, u64_at};
use crate::types::{KeyspaceId, PartitionId, Position};

/// Length of an entry's header, in bytes.
pub const ENTRY_HEADER_LEN: usize = 32;

const KEYSPACE: usize = 0;
const PARTITION: usize = 4;
const KIND: usize = 6;
const RESERVED: usize = 7;
const RECORDS: usize = 8;
const LEN: usize = 12;
const TERM: usize = 16;
const INDEX: usize = 24;

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// Records to apply.
    Effects = 1,
}

/// What stands before an entry's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// Whose entry it is.
    pub partition: PartitionId,
    /// What it holds.
    pub kind: EntryKind,
    /// Number of records.
    pub records: u32,
    /// Length of the records, in bytes; the header is not counted.
    pub len: u32,
    /// Term of the replicated log.
    pub term: u64,
    /// Index in the replicated log.
    pub index: u64,
}

impl EntryHeader {
    /// Writes the header in its place before the records.
    pub fn encode(&self, out: &mut [u8; ENTRY_HEADER_LEN]) {
        debug_assert!((self.len as usize).is_multiple_of(RECORD_ALIGN));
        debug_assert!(self.len as usize >= self.records as usize * RECORD_LEN_MIN);
        put(out, KEYSPACE, self.partition.keyspace.0.to_le_bytes());
        put(out, PARTITION, self.partition.index.to_le_bytes());
        out[KIND] = self.kind as u8;
        out[RESERVED] = 0;
        put(out, RECORDS, self.records.to_le_bytes());
        put(out, LEN, self.len.to_le_bytes());
        put(out, TERM, self.term.to_le_bytes());
        put(out, INDEX, self.index.to_le_bytes());
    }

    /// Reads a header. Structure only: the block's checksum has to be checked before.
    ///
    /// # Errors
    /// [`EntryError`]: not a header of this format.
    pub fn decode(bytes: &[u8; ENTRY_HEADER_LEN]) -> Result<EntryHeader, EntryError> {
        let kind = match bytes[KIND] {
            1 => EntryKind::Effects,
            kind => return Err(EntryError::Kind(kind)),
        };
        let header = EntryHeader {
            partition: PartitionId {
                keyspace: KeyspaceId(u32_at(bytes, KEYSPACE)),
                index: u16_at(bytes, PARTITION),
            },
            kind,
            records: u32_at(bytes, RECORDS),
            len: u32_at(bytes, LEN),
            term: u64_at(bytes, TERM),
            index: u64_at(bytes, INDEX),
        };
        let fits = u64::from(header.len) >= u64::from(header.records) * RECORD_LEN_MIN as u64;
        if bytes[RESERVED] != 0 || !fits || !(header.len as usize).is_multiple_of(RECORD_ALIGN) {
            return Err(EntryError::Header {
                records: header.records,
                len: header.len,
            });
        }
        Ok(header)
    }
}

/// An entry in a block's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its header.
    pub header: EntryHeader,
    /// Where the header lies; the records follow at once.
    pub position: Position,
    /// The bytes of its records.
    pub records: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The records, one by one.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records::new(
            self.records,
            Position(self.position.0 + ENTRY_HEADER_LEN as u64),
        )
    }
}

/// The entries of a block's payload, in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    payload: &'a [u8],
    position: Position,
}

impl<'a> Entries<'a> {
    /// `payload` is a block's payload without its padding, `position` where it begins.
    #[must_use]
    pub fn new(payload: &'a [u8], position: Position) -> Entries<'a> {
        Entries { payload, position }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.payload.is_empty() {
            return None;
        }
        let payload = std::mem::take(&mut self.payload);
        if payload.len() < ENTRY_HEADER_LEN {
            return Some(Err(EntryError::Truncated {
                needed: ENTRY_HEADER_LEN,
                available: payload.len(),
            }));
        }
        let header = match EntryHeader::decode(&array_at(payload, 0)) {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        let end = ENTRY_HEADER_LEN + header.len as usize;
        if payload.len() < end {
            return Some(Err(EntryError::Truncated {
                needed: end,
                available: payload.len(),
            }));
        }
        let position = self.position;
        let (entry, rest) = payload.split_at(end);
        self.payload = rest;
        self.position = Position(position.0 + end as u64);
        Some(Ok(Entry {
            header,
            position,
            records: &entry[ENTRY_HEADER_LEN..],
        }))
    }
}

/// Why bytes are not entries.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    /// The entry goes on after the block's payload.
    #[error("an entry needs {needed} bytes and {available} are there")]
    Truncated {
        /// Bytes that would do, or would say how many do.
        needed: usize,
        /// Bytes that are left of the payload.
        available: usize,
    },
    /// No entry of this format has that kind.
    #[error("unknown kind of entry {0}")]
    Kind(u8),
    /// The header contradicts itself.
    #[error(
        "an entry's header claims {records} records in {len} bytes, or its reserved byte is not zero"
    )]
    Header {
        /// Number of records that it claims.
        records: u32,
        /// Length of the records that it claims, in bytes.
        len: u32,
    },
    /// The entry's header counts other records than follow it.
    #[error("an entry claims {claimed} records and holds {found}")]
    Count {
        /// As the header says.
        claimed: u32,
        /// As they follow.
        found: u32,
    },
    /// The block's header counts other entries than follow it.
    #[error("a block claims {claimed} entries and holds {found}")]
    Entries {
        /// As the block's header says.
        claimed: u32,
        /// As they follow.
        found: u32,
    },
    /// One of its records is none.
    #[error(transparent)]
    Record(#[from] RecordError),
}
