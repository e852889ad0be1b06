//! Requests and replies of RESP2.
//!
//! A request is an array of bulk strings: `*2\r\n$3\r\nGET\r\n$5\r\nkey:7\r\n`. A reply's first byte says what it is; what that means is only
//! known with the request, so a reply of a kind that the request can't have means that the stream is out of step.

use std::sync::Arc;

use super::NO_IFEQ;
use crate::{
    protocol::{
        Asked, Dialect, Found, KeyBytes, Malformed, Outcome, Reply, Step, ValueBytes,
        text::{Reader, Stop, append_decimal, bounded, decimal_len, in_order, malformed},
    },
    workload::{Ask, Operation},
};

/// Bytes that a bulk string takes up beside its own and its length's digits.
const BULK_OVERHEAD_LEN: usize = 5;
/// Fewest bytes of an item of an array: `$0\r\n\r\n`, or `$-1\r\n`.
const ITEM_LEN_MIN: usize = 5;

/// RESP2 as one thread speaks it.
#[derive(Clone, Debug)]
pub struct RespDialect<K, V> {
    /// Cursors.
    starts: Arc<[u64]>,
    keys: K,
    values: V,
}

impl<K: KeyBytes, V: ValueBytes> RespDialect<K, V> {
    /// Scans begin at one of `starts`, of which there is at least one.
    pub(super) fn new(starts: Arc<[u64]>, keys: K, values: V) -> RespDialect<K, V> {
        assert!(!starts.is_empty(), "a scan has to begin somewhere");
        RespDialect {
            starts,
            keys,
            values,
        }
    }

    /// Appends the bulk string of a key.
    #[inline]
    fn key(&self, operation: Operation, number: u64, out: &mut Vec<u8>) {
        let len = self.keys.key_len(operation, number);
        bulk_head(len, out);
        let end = out.len() + len;
        self.keys.append(operation, number, out);
        assert_eq!(out.len(), end, "a key is as long as was said");
        out.extend_from_slice(b"\r\n");
    }

    /// Appends `SET key value` with what makes it conditional, and the time to live.
    #[inline]
    fn set(&self, ask: &Ask, condition: &Condition<'_>, out: &mut Vec<u8>) {
        let words = 3 + condition.words() + if ask.ttl_ms > 0 { 2 } else { 0 };
        let len = ask.value_len as usize;
        let key_len = self.keys.key_len(ask.operation, ask.key);
        out.reserve(len + key_len + 96);
        out.extend_from_slice(&[b'*', b'0' + words, b'\r', b'\n']);
        out.extend_from_slice(b"$3\r\nSET\r\n");
        self.key(ask.operation, ask.key, out);
        bulk_head(len, out);
        let end = out.len() + len;
        self.values.append(ask.key, ask.stamp, ask.value_len, out);
        assert_eq!(out.len(), end, "a value is as long as was said");
        out.extend_from_slice(b"\r\n");
        match condition {
            Condition::Always => {}
            Condition::Absent => out.extend_from_slice(b"$2\r\nNX\r\n"),
            Condition::Holds(old) => {
                out.extend_from_slice(b"$4\r\nIFEQ\r\n");
                bulk(old, out);
            }
        }
        if ask.ttl_ms > 0 {
            out.extend_from_slice(b"$2\r\nPX\r\n");
            bulk_number(ask.ttl_ms, out);
        }
    }

    fn mget(&self, ask: &Ask, out: &mut Vec<u8>) {
        out.push(b'*');
        append_decimal(u64::from(ask.count) + 1, out);
        out.extend_from_slice(b"\r\n$4\r\nMGET\r\n");
        for number in ask.key..ask.key + u64::from(ask.count) {
            self.key(ask.operation, number, out);
        }
    }

    fn scan(&self, ask: &Ask, out: &mut Vec<u8>) {
        let start = self.starts[(ask.key % self.starts.len() as u64) as usize];
        out.extend_from_slice(b"*4\r\n$4\r\nSCAN\r\n");
        bulk_number(start, out);
        out.extend_from_slice(b"$5\r\nCOUNT\r\n");
        bulk_number(u64::from(ask.count), out);
    }
}

/// When a `SET` is to happen.
enum Condition<'a> {
    Always,
    Absent,
    Holds(&'a [u8]),
}

impl Condition<'_> {
    fn words(&self) -> u8 {
        match self {
            Condition::Always => 0,
            Condition::Absent => 1,
            Condition::Holds(_) => 2,
        }
    }
}

impl<K: KeyBytes, V: ValueBytes> Dialect for RespDialect<K, V> {
    const IN_ORDER: bool = true;

    #[inline]
    fn request(&self, _: u32, ask: &Ask, step: Step<'_>, out: &mut Vec<u8>) {
        use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, ReadModifyWrite, Scan};
        match (ask.operation, step) {
            (Get, _) | (CompareAndSet | ReadModifyWrite, Step::First) => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                self.key(ask.operation, ask.key, out);
            }
            (Put | ReadModifyWrite, _) => self.set(ask, &Condition::Always, out),
            (CompareAndSet, Step::Second(Some(Found { bytes, .. }))) => {
                self.set(ask, &Condition::Holds(bytes), out);
            }
            (CompareAndSet, Step::Second(None)) => self.set(ask, &Condition::Absent, out),
            (Delete, _) => {
                out.extend_from_slice(b"*2\r\n$3\r\nDEL\r\n");
                self.key(ask.operation, ask.key, out);
            }
            (Add, _) => {
                out.extend_from_slice(b"*3\r\n$6\r\nINCRBY\r\n");
                self.key(ask.operation, ask.key, out);
                out.extend_from_slice(b"$1\r\n1\r\n");
            }
            (Batch, _) => self.mget(ask, out),
            (Scan, _) => self.scan(ask, out),
        }
    }

    #[inline]
    fn reply<'a>(
        &self,
        bytes: &'a [u8],
        oldest: Option<Asked>,
    ) -> Result<Option<Reply<'a>>, Malformed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let asked = oldest.ok_or_else(|| malformed("an answer to what was never asked"))?;
        in_order(bytes, |reader| outcome(reader, asked))
    }

    fn values<'a>(&self, ask: &Ask, reply: &'a [u8], visit: &mut dyn FnMut(u64, &'a [u8])) {
        let mut reader = Reader::new(reply);
        if ask.operation != Operation::Batch || reader.byte() != Ok(b'*') {
            return;
        }
        // All of it was read before, when its outcome was found.
        let _ = items(&mut reader, |index, item| {
            if let Some(value) = item {
                visit(ask.key.wrapping_add(index), value);
            }
        });
    }
}

/// What one reply says.
#[inline]
fn outcome<'a>(reader: &mut Reader<'a>, asked: Asked) -> Result<Outcome<'a>, Stop> {
    use Operation::{Add, Batch, CompareAndSet, Delete, Put, ReadModifyWrite, Scan};
    match reader.byte()? {
        b'$' => match (bulk_value(reader)?, asked) {
            (Some(bytes), asked) if asked.reads_one() => Ok(Outcome::Value { bytes, token: 0 }),
            (None, asked) if asked.reads_one() => Ok(Outcome::Missing),
            (None, asked) if asked.is_conditional() => Ok(Outcome::Conflict),
            _ => Err(Stop::Bad("a string answers what has none")),
        },
        b'+' => match (reader.line()?, asked.operation, asked.second) {
            (b"OK", Put, _) | (b"OK", ReadModifyWrite | CompareAndSet, true) => Ok(Outcome::Done),
            (b"OK", ..) => Err(Stop::Bad("a write's answer to what writes nothing")),
            (words, ..) => Ok(Outcome::Refused(words)),
        },
        b'-' => {
            let words = reader.line()?;
            let is_unknown = asked.is_conditional() && words.starts_with(b"ERR syntax error");
            Ok(Outcome::Refused(match is_unknown {
                true => NO_IFEQ.as_bytes(),
                false => words,
            }))
        }
        b':' => match (integer(reader)?, asked.operation) {
            (sum, Add) => Ok(Outcome::Counter(sum)),
            (0, Delete) => Ok(Outcome::Missing),
            (1, Delete) => Ok(Outcome::Done),
            _ => Err(Stop::Bad("a number answers what has none")),
        },
        b'*' if asked.operation == Batch => {
            let (mut found, mut missing) = (0, 0);
            let count = items(reader, |_, item| match item {
                Some(_) => found += 1,
                None => missing += 1,
            })?;
            if count != u64::from(asked.count) {
                return Err(Stop::Bad(
                    "a batch is answered with another number of values",
                ));
            }
            Ok(Outcome::Many { found, missing })
        }
        b'*' if asked.operation == Scan => {
            let not_a_page = "a page is no cursor with a list";
            reader.expect(b"2\r\n$", not_a_page)?;
            bulk_value(reader)?.ok_or(Stop::Bad(not_a_page))?;
            reader.expect(b"*", not_a_page)?;
            let mut found = 0;
            items(reader, |_, item| found += u32::from(item.is_some()))?;
            Ok(Outcome::Many { found, missing: 0 })
        }
        _ => Err(Stop::Bad("a reply is of no kind that fits what was asked")),
    }
}

/// The rest of a bulk string behind its `$`: `None` if it is nil.
#[inline]
fn bulk_value<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Stop> {
    if reader.peek()? == b'-' {
        reader.expect(b"-1\r\n", "a length is below zero")?;
        return Ok(None);
    }
    let len = reader.length_line()?;
    reader.counted(len).map(Some)
}

/// The rest of an array of bulk strings behind its `*`; answers how many there were.
fn items<'a>(
    reader: &mut Reader<'a>,
    mut visit: impl FnMut(u64, Option<&'a [u8]>),
) -> Result<u64, Stop> {
    let count = reader.length_line()?;
    // As long as they can't all be there, there is no use in looking at those that are. More than a reply may hold never come.
    bounded((count as u64).saturating_mul(ITEM_LEN_MIN as u64))?;
    if reader.left() < count * ITEM_LEN_MIN {
        return Err(Stop::More);
    }
    for index in 0..count as u64 {
        reader.expect(b"$", "an item of a list is no string")?;
        visit(index, bulk_value(reader)?);
    }
    Ok(count as u64)
}

/// The rest of an integer behind its `:`.
#[inline]
fn integer(reader: &mut Reader<'_>) -> Result<i64, Stop> {
    let below_zero = reader.take_if(b"-")?;
    let number = reader.number()?;
    reader.expect(b"\r\n", "a number does not end its line")?;
    let signed = if below_zero {
        0_i64.checked_sub_unsigned(number)
    } else {
        i64::try_from(number).ok()
    };
    signed.ok_or(Stop::Bad("a number is beyond 64 bits"))
}

/// Appends a bulk string up to its bytes.
#[inline]
fn bulk_head(len: usize, out: &mut Vec<u8>) {
    out.push(b'$');
    append_decimal(len as u64, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a bulk string.
#[inline]
pub(super) fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + BULK_OVERHEAD_LEN + 10);
    bulk_head(bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number as a bulk string.
#[inline]
fn bulk_number(number: u64, out: &mut Vec<u8>) {
    bulk_head(decimal_len(number), out);
    append_decimal(number, out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
