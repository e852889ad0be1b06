//! Answers that are lists: a batch's results and a scan's page, walked over without being collected.
//!
//! ```text
//! answer    | id | kind | status | flags | version | timestamp | body |          24 bytes before the body
//! batch     count u32, then each: status u8, flags u8, version u64, timestamp u64 [, value_len u32, value]
//! scan      cursor 16 bytes, count u32, then each: flags u8, key_len u16, version u64, timestamp u64 [, expires_at u64], key
//!                                                  [, value_len u32, value]
//! ```
//!
//! The codec reads both, and more strictly, but into a vector; a load that allocates per operation measures its allocator.

use std::borrow::Cow;

use corduroy_proto_wire::{BodyKind, RESPONSE_HEADER_LEN, Status};

use crate::protocol::{Malformed, Outcome};

/// Bit 0 of an item's flags: a value follows.
const HAS_VALUE: u8 = 0b01;
/// Bit 1 of the flags of a scan's item: an expiry follows.
const HAS_EXPIRY: u8 = 0b10;

const BATCH: u8 = BodyKind::Batch as u8;
const SCAN: u8 = BodyKind::Scan as u8;

/// An answer that is a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a> {
    /// The request's.
    pub(super) id: u32,
    is_scan: bool,
    count: u32,
    items: &'a [u8],
}

/// The list that a frame holds: `None` if it is another answer.
#[inline]
pub(super) fn list(frame: &[u8]) -> Result<Option<List<'_>>, Malformed> {
    // Kind of body, status and flags.
    let Some(&[kind @ (BATCH | SCAN), status, flags_low, flags_high]) = frame.get(4..8) else {
        return Ok(None);
    };
    if [status, flags_low, flags_high] != [Status::Ok as u8, 0, 0] {
        return Err(cut());
    }
    parse(kind == SCAN, frame).map(Some).ok_or_else(cut)
}

fn parse(is_scan: bool, frame: &[u8]) -> Option<List<'_>> {
    let id = *frame.first_chunk::<4>()?;
    let mut rest = frame.get(RESPONSE_HEADER_LEN..)?;
    if is_scan {
        let _cursor: [u8; 16] = take(&mut rest)?;
    }
    let count = u32::from_le_bytes(take(&mut rest)?);
    Some(List {
        id: u32::from_le_bytes(id),
        is_scan,
        count,
        items: rest,
    })
}

/// One item of a list.
enum Item<'a> {
    /// A key of a page, or a result with its value.
    Found(&'a [u8]),
    /// There is no such key.
    Missing,
    /// The operation of the batch failed.
    Failed(Status),
}

impl<'a> List<'a> {
    /// How many items were found, and how many not; or that one failed.
    pub(super) fn outcome(&self) -> Result<Outcome<'a>, Malformed> {
        let (mut found, mut missing, mut failed) = (0, 0, None);
        self.walk(&mut |_, item| match item {
            Item::Found(_) => found += 1,
            Item::Missing => missing += 1,
            Item::Failed(status) => failed = Some(status),
        })
        .ok_or_else(cut)?;
        Ok(match failed {
            Some(status) => Outcome::Refused(words(status)),
            None => Outcome::Many { found, missing },
        })
    }

    /// The values of a batch, each with its place in it. None of what is malformed.
    pub(super) fn values(&self, visit: &mut dyn FnMut(u64, &'a [u8])) {
        if self.is_scan || self.outcome().is_err() {
            return;
        }
        let whole = self.walk(&mut |index, item| {
            if let Item::Found(value) = item {
                visit(u64::from(index), value);
            }
        });
        debug_assert!(whole.is_some(), "it was walked before");
    }

    /// Visits each item; `None` if the bytes are not exactly that many.
    #[inline]
    fn walk(&self, visit: &mut dyn FnMut(u32, Item<'a>)) -> Option<()> {
        let mut rest = self.items;
        for index in 0..self.count {
            let item = if self.is_scan {
                scanned(&mut rest)?
            } else {
                result(&mut rest)?
            };
            visit(index, item);
        }
        rest.is_empty().then_some(())
    }
}

/// One result of a batch.
#[inline]
fn result<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let [status, flags] = take(rest)?;
    let _version_and_timestamp: [u8; 16] = take(rest)?;
    let value = match flags {
        0 => None,
        HAS_VALUE => Some(counted(rest)?),
        _ => return None,
    };
    Some(match (Status::from_u8(status)?, value) {
        (Status::Ok, Some(value)) => Item::Found(value),
        // The batches of a load hold gets alone, and a get that was done brings a value.
        (Status::Ok, None) => return None,
        (Status::NotFound, _) => Item::Missing,
        (status, _) => Item::Failed(status),
    })
}

/// One key of a scan's page.
#[inline]
fn scanned<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let [flags, low, high] = take(rest)?;
    let _version_and_timestamp: [u8; 16] = take(rest)?;
    if flags & !(HAS_VALUE | HAS_EXPIRY) != 0 {
        return None;
    }
    if flags & HAS_EXPIRY != 0 {
        let _expires_at: [u8; 8] = take(rest)?;
    }
    let key = take_slice(rest, usize::from(u16::from_le_bytes([low, high])))?;
    if flags & HAS_VALUE != 0 {
        counted(rest)?;
    }
    (!key.is_empty()).then_some(Item::Found(key))
}

/// A `u32` length and that many bytes.
#[inline]
fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take(rest)?);
    take_slice(rest, usize::try_from(length).ok()?)
}

#[inline]
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

#[inline]
fn take_slice<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (first, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(first)
}

#[cold]
fn cut() -> Malformed {
    Malformed(Cow::Borrowed(
        "the list of an answer is not what its header says",
    ))
}

/// What became of an operation of a batch, which has a status and no text.
fn words(status: Status) -> &'static [u8] {
    match status {
        Status::LimitExceeded => b"a get of the batch: the values are too long for one answer",
        Status::Overloaded => b"a get of the batch: the server is overloaded",
        Status::ShuttingDown => b"a get of the batch: the server is stopping",
        Status::Damaged => b"a get of the batch: damaged on disk",
        _ => b"a get of the batch failed",
    }
}
