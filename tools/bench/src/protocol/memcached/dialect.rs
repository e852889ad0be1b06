//! Requests and replies of memcached's text protocol.
//!
//! A reply is a line, or lines `VALUE key flags len [unique]`, each with its value behind it, and `END`. Whether `END` alone means a key that
//! is not there, and whether further values may come, is only known with the request.

use crate::{
    protocol::{
        Asked, Dialect, Found, KeyBytes, Malformed, Outcome, Reply, Step, Token, ValueBytes,
        text::{Reader, Stop, append_decimal, bounded, in_order, malformed},
    },
    workload::{Ask, Operation},
};

/// Longest key that a server may answer with, in bytes; longer than any that it takes.
const KEY_LEN_MAX: usize = 1024;

/// memcached's text protocol as one thread speaks it.
#[derive(Clone, Debug)]
pub struct MemcachedDialect<K, V> {
    keys: K,
    values: V,
}

impl<K: KeyBytes, V: ValueBytes> MemcachedDialect<K, V> {
    pub(super) fn new(keys: K, values: V) -> MemcachedDialect<K, V> {
        MemcachedDialect { keys, values }
    }

    /// Appends a command and its key.
    #[inline]
    fn command(&self, command: &[u8], ask: &Ask, out: &mut Vec<u8>) {
        out.extend_from_slice(command);
        self.keys.append(ask.operation, ask.key, out);
    }

    /// Appends a command that stores the value; under this unique, if there is one.
    #[inline]
    fn store(&self, command: &[u8], ask: &Ask, unique: Option<Token>, out: &mut Vec<u8>) {
        let len = ask.value_len as usize;
        out.reserve(len + 96 + self.keys.key_len(ask.operation, ask.key));
        self.command(command, ask, out);
        out.extend_from_slice(b" 0 ");
        append_decimal(ask.ttl_ms.div_ceil(1000), out);
        out.push(b' ');
        append_decimal(u64::from(ask.value_len), out);
        if let Some(unique) = unique {
            out.push(b' ');
            append_decimal(unique, out);
        }
        out.extend_from_slice(b"\r\n");
        let end = out.len() + len;
        self.values.append(ask.key, ask.stamp, ask.value_len, out);
        assert_eq!(out.len(), end, "a value is as long as was said");
        out.extend_from_slice(b"\r\n");
    }
}

impl<K: KeyBytes, V: ValueBytes> Dialect for MemcachedDialect<K, V> {
    const IN_ORDER: bool = true;

    #[inline]
    fn request(&self, _: u32, ask: &Ask, step: Step<'_>, out: &mut Vec<u8>) {
        use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, ReadModifyWrite, Scan};
        match (ask.operation, step) {
            (Get, _) | (ReadModifyWrite, Step::First) => {
                self.command(b"get ", ask, out);
                out.extend_from_slice(b"\r\n");
            }
            (CompareAndSet, Step::First) => {
                self.command(b"gets ", ask, out);
                out.extend_from_slice(b"\r\n");
            }
            (Put | ReadModifyWrite, _) => self.store(b"set ", ask, None, out),
            (CompareAndSet, Step::Second(Some(Found { token, .. }))) => {
                self.store(b"cas ", ask, Some(token), out);
            }
            (CompareAndSet, Step::Second(None)) => self.store(b"add ", ask, None, out),
            (Delete, _) => {
                self.command(b"delete ", ask, out);
                out.extend_from_slice(b"\r\n");
            }
            (Add, Step::First) => {
                self.command(b"incr ", ask, out);
                out.extend_from_slice(b" 1\r\n");
            }
            (Add, Step::Second(_)) => {
                self.command(b"add ", ask, out);
                out.extend_from_slice(b" 0 0 1\r\n1\r\n");
            }
            (Batch, _) => {
                out.extend_from_slice(b"get");
                for number in ask.key..ask.key + u64::from(ask.count) {
                    out.push(b' ');
                    self.keys.append(ask.operation, number, out);
                }
                out.extend_from_slice(b"\r\n");
            }
            (Scan, _) => unreachable!("`accepts` has refused scans"),
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
        if ask.operation != Operation::Batch {
            return;
        }
        let mut reader = Reader::new(reply);
        let mut asked = Vec::new();
        let mut number = ask.key;
        // Values come in the order in which their keys were asked for, without those that aren't there.
        while let Ok(Some(item)) = next_value(&mut reader) {
            loop {
                if number - ask.key >= u64::from(ask.count) {
                    return;
                }
                asked.clear();
                self.keys.append(ask.operation, number, &mut asked);
                number += 1;
                if asked == item.key {
                    break;
                }
            }
            visit(number - 1, item.bytes);
        }
    }
}

/// What one reply says.
#[inline]
fn outcome<'a>(reader: &mut Reader<'a>, asked: Asked) -> Result<Outcome<'a>, Stop> {
    use Operation::{Add, Batch, CompareAndSet, Delete, Put, ReadModifyWrite};
    let first = reader.peek()?;
    if first == b'V' || (first == b'E' && is_end(reader)?) {
        return if asked.reads_one() {
            one_value(reader)
        } else if asked.operation == Batch {
            values(reader, asked.count)
        } else {
            Err(Stop::Bad("a value answers what has none"))
        };
    }
    if first.is_ascii_digit() && asked.operation == Add && !asked.second {
        let sum = reader.number()?;
        reader.expect(b"\r\n", "a number does not end its line")?;
        return Ok(Outcome::Counter(i64::try_from(sum).unwrap_or(i64::MAX)));
    }
    let line = reader.line()?;
    match (line, asked.operation, asked.second) {
        (b"STORED", Put, _) | (b"STORED", CompareAndSet | ReadModifyWrite, true) => {
            Ok(Outcome::Done)
        }
        (b"STORED", Add, true) => Ok(Outcome::Counter(1)),
        (b"DELETED", Delete, _) => Ok(Outcome::Done),
        (b"NOT_FOUND", Delete, _) | (b"NOT_FOUND", Add, false) => Ok(Outcome::Missing),
        // Changed, gone, or made by somebody else since the first step.
        (b"EXISTS" | b"NOT_FOUND" | b"NOT_STORED", CompareAndSet, true)
        | (b"NOT_STORED", Add, true) => Ok(Outcome::Conflict),
        (b"NOT_STORED" | b"ERROR", ..) => Ok(Outcome::Refused(line)),
        _ if line.starts_with(b"SERVER_ERROR") || line.starts_with(b"CLIENT_ERROR") => {
            Ok(Outcome::Refused(line))
        }
        _ => Err(Stop::Bad("a line is no answer to what was asked")),
    }
}

/// Whether the next line is `END`. It begins as `EXISTS` and `ERROR` do.
#[inline]
fn is_end(reader: &Reader<'_>) -> Result<bool, Stop> {
    let mut ahead = *reader;
    ahead.take_if(b"EN")
}

/// At most one value, and the end.
#[inline]
fn one_value<'a>(reader: &mut Reader<'a>) -> Result<Outcome<'a>, Stop> {
    let Some(item) = next_value(reader)? else {
        return Ok(Outcome::Missing);
    };
    match next_value(reader)? {
        Some(_) => Err(Stop::Bad("two values answer what has one")),
        None => Ok(Outcome::Value {
            bytes: item.bytes,
            token: item.unique,
        }),
    }
}

/// As many values as there are, and the end.
fn values<'a>(reader: &mut Reader<'a>, count: u32) -> Result<Outcome<'a>, Stop> {
    let mut found = 0;
    while next_value(reader)?.is_some() {
        found += 1;
        if found > count {
            return Err(Stop::Bad("more values came than were asked for"));
        }
    }
    Ok(Outcome::Many {
        found,
        missing: count - found,
    })
}

/// One value of a reply.
struct Item<'a> {
    key: &'a [u8],
    bytes: &'a [u8],
    /// 0 if it was not asked for.
    unique: Token,
}

/// The next value, `None` at the end, which is passed over.
#[inline]
fn next_value<'a>(reader: &mut Reader<'a>) -> Result<Option<Item<'a>>, Stop> {
    if reader.peek()? == b'E' {
        reader.expect(b"END\r\n", "a list of values does not end with END")?;
        return Ok(None);
    }
    reader.expect(b"VALUE ", "a line is neither a value nor the end")?;
    let key = reader.word(KEY_LEN_MAX)?;
    reader.number()?;
    reader.expect(b" ", "a value has no length")?;
    let len = bounded(reader.number()?)?;
    let mut unique = 0;
    if reader.peek()? == b' ' {
        reader.byte()?;
        unique = reader.number()?;
    }
    reader.expect(b"\r\n", "a value's line does not end")?;
    let bytes = reader.counted(len)?;
    Ok(Some(Item { key, bytes, unique }))
}

#[cfg(test)]
mod tests;
