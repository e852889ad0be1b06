//! What can still be told of records in bytes that recovery gives up.
//!
//! A block is taken whole or not at all, so one flipped bit costs all its records; yet each record carries a checksum of its own, seeded with its
//! place, and those that are whole can be named. Nothing that is found here is ever served: it tells people which keys to look after.

use crate::limits::{REMAINS_CHECKED_MIN, REMAINS_CHECKED_TIMES};
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, ENTRY_HEADER_LEN, EntryHeader, RECORD_ALIGN, Record, RecordAt,
    record_len,
};
use crate::types::{PartitionId, Position};

/// A record among bytes that were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remain<'a> {
    /// The record.
    pub at: RecordAt<'a>,
    /// Whose it is, as what stands before it says: bytes that have no checksum of their own.
    pub partition: Option<PartitionId>,
    /// Its checksum is right. If not, any part of it may be wrong, the key included.
    pub is_whole: bool,
}

/// Looks for records, from the first place where one can begin to the last.
#[derive(Clone, Debug)]
pub struct Remains<'a> {
    bytes: &'a [u8],
    position: Position,
    at: usize,
    /// Whose records these are, and where they end.
    entry: Option<(PartitionId, usize)>,
    /// A record or an entry is expected exactly here: what was before it ended here.
    is_in_step: bool,
    /// Bytes whose checksum may still be computed.
    budget: u64,
}

impl<'a> Remains<'a> {
    /// `bytes` lie at `position` in the log, which is a multiple of 8.
    #[must_use]
    pub fn new(bytes: &'a [u8], position: Position) -> Remains<'a> {
        Remains {
            bytes,
            position,
            at: 0,
            entry: None,
            is_in_step: false,
            budget: REMAINS_CHECKED_MIN + REMAINS_CHECKED_TIMES * bytes.len() as u64,
        }
    }

    /// Whether the search was broken off: bytes that look like records on purpose cost their length at every step.
    #[must_use]
    pub fn was_broken_off(&self) -> bool {
        self.budget == 0
    }

    /// The record at `at`, if one can be read there, and whether it is whole.
    fn record(&mut self, at: usize) -> Option<(RecordAt<'a>, bool)> {
        let bytes = self.bytes.get(at..)?;
        let record = Record::parse(bytes).ok()?;
        let len = record_len(
            record.key.len(),
            record.value.len(),
            record.expiry.is_some(),
        );
        let position = Position(self.position.0.saturating_add(at as u64));
        let found = RecordAt {
            position,
            len: len as u32,
            record,
        };
        self.budget = self.budget.saturating_sub(len as u64);
        let is_whole = self.budget > 0 && Record::check(&bytes[..len], position).is_ok();
        Some((found, is_whole))
    }

    /// Whether a block's header is here that belongs here.
    fn is_block(&self, at: usize) -> bool {
        let header = self.bytes.get(at..).and_then(|bytes| bytes.first_chunk());
        let header =
            header.and_then(|header: &[u8; BLOCK_HEADER_LEN]| BlockHeader::decode(header).ok());
        header.is_some_and(|header| header.position.0 == self.position.0.saturating_add(at as u64))
    }

    /// An entry that begins at `at`: where one is expected, or else with a whole record.
    fn entry(&mut self, at: usize) -> Option<(PartitionId, usize)> {
        let header = self.bytes.get(at..)?.first_chunk::<ENTRY_HEADER_LEN>()?;
        let header = EntryHeader::decode(header).ok()?;
        let first = at + ENTRY_HEADER_LEN;
        if header.records == 0 {
            return None;
        }
        let is_expected = self.is_in_step && self.entry.is_none();
        let fits = first + header.len as usize <= self.bytes.len();
        let is_one = (is_expected && fits) || self.record(first)?.1;
        is_one.then_some((header.partition, first + header.len as usize))
    }
}

impl<'a> Iterator for Remains<'a> {
    type Item = Remain<'a>;

    fn next(&mut self) -> Option<Remain<'a>> {
        while self.at < self.bytes.len() && self.budget > 0 {
            let at = self.at;
            if self.entry.is_some_and(|(_, end)| at >= end) {
                self.entry = None;
            }
            if self.is_block(at) {
                self.at = at + BLOCK_HEADER_LEN;
                self.entry = None;
                self.is_in_step = true;
                continue;
            }
            // A record never looks like one, so it is asked inside an entry too: the length of that may be what is damaged.
            if let Some(entry) = self.entry(at) {
                self.entry = Some(entry);
                self.at = at + ENTRY_HEADER_LEN;
                self.is_in_step = true;
                continue;
            }
            let partition = self.entry.map(|(partition, _)| partition);
            match self.record(at) {
                Some((found, true)) => {
                    self.at = at + found.len as usize;
                    self.is_in_step = true;
                    return Some(Remain {
                        at: found,
                        partition,
                        is_whole: true,
                    });
                }
                // Its length may be wrong, so the search goes on inside it.
                Some((found, false)) if self.is_in_step && partition.is_some() => {
                    self.at = at + RECORD_ALIGN;
                    self.is_in_step = false;
                    return Some(Remain {
                        at: found,
                        partition,
                        is_whole: false,
                    });
                }
                _ => {
                    self.at = at + RECORD_ALIGN;
                    self.is_in_step = false;
                }
            }
        }
        None
    }
}
