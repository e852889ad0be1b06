//! Record by record through a segment, in slices.
//!
//! [`Walk::next`] looks at what there is of the segment (a [`Window`]: its memory, or a part of its file that was read) and says what is next: a
//! record, or which part must be read, or that a slice of work is done. The same record comes again until [`Walk::advance`] is called, so whoever
//! can't deal with one now looks again later.
//!
//! What comes from a file is trusted only when its block's checksum holds. If the window no longer covers the block in hand, the block is begun
//! again: to see a record twice does no harm, for its copy is not what it was.

use crate::limits::{COMPACT_CHECK_SLICE, COMPACT_READ_LEN};
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, ENTRY_HEADER_LEN, EntryHeader, LogTag, PayloadCheck,
    Record, RecordAt,
};
use crate::types::{PartitionId, Position};

/// A part of a segment's content.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Where it begins, in bytes from the segment's base.
    pub start: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// They come from the file: nothing is known of them yet.
    pub is_read: bool,
}

impl<'a> Window<'a> {
    fn get(&self, at: u64, len: u64) -> Option<&'a [u8]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len as usize)?)
    }
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// This record.
    Record(PartitionId, RecordAt<'a>),
    /// These bytes of the segment must be in the window first; fewer if its content ends before.
    Read {
        /// In bytes from the segment's base.
        at: u64,
        /// How many.
        len: u64,
    },
    /// A slice of checking is done, and more is to come.
    Pause,
    /// The segment's end.
    End,
    /// The block that begins here is not what was written, or it stands for something that was given up.
    Damaged {
        /// In bytes from the segment's base.
        at: u64,
    },
}

/// The block in hand.
#[derive(Clone, Debug)]
struct Block {
    at: u64,
    payload_end: u64,
    end: u64,
    /// Given until the payload is known to be right.
    check: Option<PayloadCheck>,
}

/// The entry in hand.
#[derive(Clone, Copy, Debug)]
struct OpenEntry {
    partition: PartitionId,
    end: u64,
}

/// Where in a segment one is.
#[derive(Clone, Debug)]
pub struct Walk {
    base: Position,
    len: u64,
    log: LogTag,
    /// In bytes from the base.
    at: u64,
    block: Option<Block>,
    entry: Option<OpenEntry>,
}

impl Walk {
    /// From the start of a segment with this content.
    #[must_use]
    pub fn new(base: Position, end: Position, log: LogTag) -> Walk {
        Walk {
            base,
            len: end.0 - base.0,
            log,
            at: 0,
            block: None,
            entry: None,
        }
    }

    /// How far it is, in bytes from the segment's base.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The record that [`Walk::next`] showed is dealt with.
    pub fn advance(&mut self, record: &RecordAt<'_>) {
        self.at += u64::from(record.len);
    }

    /// What is next.
    pub fn next<'a>(&mut self, window: &Window<'a>) -> Step<'a> {
        loop {
            let Some(block) = &mut self.block else {
                if self.at >= self.len {
                    return Step::End;
                }
                match self.begin_block(window) {
                    Some(step) => return step,
                    None => continue,
                }
            };
            let begin = block.at;
            let Some(bytes) = window.get(begin, block.end - begin) else {
                let len = block.end - begin;
                self.back_to(begin);
                return self.read(begin, len);
            };
            if let Some(check) = &mut block.check {
                if !check.advance(&bytes[BLOCK_HEADER_LEN..], COMPACT_CHECK_SLICE) {
                    return Step::Pause;
                }
                let check = block.check.take().expect("it was there just now");
                if !check.is_right() {
                    return Step::Damaged { at: begin };
                }
            }
            if self.at == block.payload_end {
                self.at = block.end;
                self.block = None;
                continue;
            }
            let payload = &bytes[..(block.payload_end - begin) as usize];
            let rest = &payload[(self.at - begin) as usize..];
            match self.entry {
                Some(entry) if self.at == entry.end => self.entry = None,
                Some(entry) => {
                    let rest = &rest[..(entry.end - self.at) as usize];
                    let Ok(record) = Record::parse(rest) else {
                        return Step::Damaged { at: begin };
                    };
                    let record = RecordAt {
                        position: Position(self.base.0 + self.at),
                        len: record.encoded_len() as u32,
                        record,
                    };
                    return Step::Record(entry.partition, record);
                }
                None => {
                    let header = rest.first_chunk().map(EntryHeader::decode);
                    let Some(Ok(header)) = header else {
                        return Step::Damaged { at: begin };
                    };
                    self.at += ENTRY_HEADER_LEN as u64;
                    let end = self.at + u64::from(header.len);
                    if end > block.payload_end {
                        return Step::Damaged { at: begin };
                    }
                    self.entry = Some(OpenEntry {
                        partition: header.partition,
                        end,
                    });
                }
            }
        }
    }

    /// Looks at the header of the next block; says what stands in the way of going into it.
    fn begin_block<'a>(&mut self, window: &Window<'a>) -> Option<Step<'a>> {
        let at = self.at;
        let Some(header) = window.get(at, BLOCK_HEADER_LEN as u64) else {
            return Some(self.read(at, BLOCK_HEADER_LEN as u64));
        };
        let header = header.first_chunk().map(BlockHeader::decode);
        let Some(Ok(header)) = header else {
            return Some(Step::Damaged { at });
        };
        let end = at + header.block_len();
        let is_here = header.log == self.log
            && header.position.0 == self.base.0 + at
            && header.kind != BlockKind::Skip
            && end <= self.len;
        if !is_here {
            return Some(Step::Damaged { at });
        }
        if window.get(at, end - at).is_none() {
            return Some(self.read(at, end - at));
        }
        self.block = Some(Block {
            at,
            payload_end: at + BLOCK_HEADER_LEN as u64 + u64::from(header.payload_len),
            end,
            check: window.is_read.then(|| PayloadCheck::begin(&header)),
        });
        self.at = at + BLOCK_HEADER_LEN as u64;
        self.entry = None;
        None
    }

    fn back_to(&mut self, at: u64) {
        self.at = at;
        self.block = None;
        self.entry = None;
    }

    /// At least `len` bytes from `at` on, and more if the segment has them.
    fn read<'a>(&self, at: u64, len: u64) -> Step<'a> {
        Step::Read {
            at,
            len: len.max(COMPACT_READ_LEN).min(self.len - at),
        }
    }
}
