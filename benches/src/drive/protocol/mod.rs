//! The languages that the driver speaks, reduced to what a driver needs.
//!
//! Building a request is copying a **template** and patching key, stamp and id into it, whatever the language; so the driver
//! costs the same against each server, and little. Reading a reply is done by the language's [`Dialect`], which finds
//! the end of the first reply, checks its shape and hands out what it says. Whether that is what was asked for is the
//! engine's to judge.

use std::{borrow::Cow, net::TcpStream};

use super::{
    DriveError,
    workload::{self, KEY_LEN, Operation, STAMP_LEN},
};

mod echo;
mod memcached;
mod native;
mod resp;
mod session;

pub use echo::{EchoDialect, FRAME_OVERHEAD_LEN};
pub use memcached::MemcachedDialect;
pub use native::NativeDialect;
pub use resp::RespDialect;
pub use session::Session;

/// A language: how requests look and how replies are read.
pub trait Dialect {
    /// Replies come in the order of the requests. Otherwise each names the slot of its request.
    const IN_ORDER: bool;

    /// Says on a fresh connection what must be said before the first request: nothing, in most languages. Answers the shard
    /// that serves it, if the language knows shards.
    ///
    /// # Errors
    ///
    /// What the server refused, or the socket's error.
    fn greet(
        &mut self,
        stream: &mut TcpStream,
        connection: usize,
    ) -> Result<Option<u16>, DriveError> {
        let _ = (stream, connection);
        Ok(None)
    }

    /// A request as it looks for any key. Called once all connections are greeted.
    fn template(&self, operation: Operation, value_len: usize) -> Template;

    /// What a reply to this operation must say.
    fn expected(&self, operation: Operation) -> Expected {
        match operation {
            Operation::Get => Expected::Value,
            Operation::Put => Expected::Done,
        }
    }

    /// How long the longest expected reply is, in bytes, or more.
    fn reply_len_max(&self, value_len: usize) -> usize;

    /// Which numbers below `keys` belong to this shard, one that [`Dialect::greet`] answered: all, where there are none.
    fn keys_of(&self, shard: u16, keys: u64) -> Vec<u64> {
        let _ = shard;
        (0..keys).collect()
    }

    /// The first reply in `bytes`, `None` if it isn't all there.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are no reply, so that no later reply can be found either.
    fn reply<'a>(&self, bytes: &'a [u8]) -> Result<Option<Reply<'a>>, Malformed>;
}

/// What a reply must say to be a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The key's value.
    Value,
    /// That it is done.
    Done,
}

/// One reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// How many bytes it takes up.
    pub len: usize,
    /// Whose reply it is, unless the language answers in order.
    pub slot: Option<u32>,
    /// What it says.
    pub outcome: Outcome<'a>,
}

impl<'a> Reply<'a> {
    /// In a language that answers in order.
    #[inline]
    fn in_order(len: usize, outcome: Outcome<'a>) -> Reply<'a> {
        Reply {
            len,
            slot: None,
            outcome,
        }
    }
}

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A value was read.
    Value(&'a [u8]),
    /// The request was carried out.
    Done,
    /// There is no such key.
    Missing,
    /// The server said no, in these words.
    Refused(&'a [u8]),
}

/// The bytes are no reply in this language.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(Cow<'static, str>);

impl Malformed {
    /// For this reason.
    #[must_use]
    pub const fn of(reason: &'static str) -> Malformed {
        Malformed(Cow::Borrowed(reason))
    }

    /// For the reason that a codec gives.
    #[must_use]
    pub fn because(error: &dyn std::error::Error) -> Malformed {
        Malformed(Cow::Owned(error.to_string()))
    }
}

/// A request with gaps for what differs between one and the next.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where the key begins.
    key_at: usize,
    /// Where the value begins, and how many bytes of the stamp it can hold.
    stamp: Option<(usize, usize)>,
    /// Where the request's id is, and what is added to the slot to make one: 4 bytes little-endian.
    id: Option<(usize, u32)>,
}

impl Template {
    /// A request of `bytes`, in which the key of number 0 stands at `key_at`.
    #[must_use]
    fn new(bytes: Vec<u8>, key_at: usize) -> Template {
        assert_eq!(
            bytes[key_at..key_at + KEY_LEN],
            workload::key(0),
            "the template's key is not where it should be"
        );
        Template {
            bytes,
            key_at,
            stamp: None,
            id: None,
        }
    }

    /// With a value of `value_len` bytes at `value_at`.
    #[must_use]
    fn with_value(mut self, value_at: usize, value_len: usize) -> Template {
        assert!(
            value_at + value_len <= self.bytes.len(),
            "the template's value is beyond its end"
        );
        self.stamp = Some((value_at, value_len.min(STAMP_LEN)));
        self
    }

    /// With an id at `id_at`: the slot plus `base`.
    #[must_use]
    fn with_id(mut self, id_at: usize, base: u32) -> Template {
        assert!(
            id_at + 4 <= self.bytes.len(),
            "the template's id is beyond its end"
        );
        self.id = Some((id_at, base));
        self
    }

    /// Appends the request for a key.
    #[inline]
    pub fn append(&self, slot: u32, number: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let request = &mut out[start..];
        request[self.key_at..self.key_at + KEY_LEN].copy_from_slice(&workload::key(number));
        if let Some((at, len)) = self.stamp {
            request[at..at + len].copy_from_slice(&workload::stamp(number)[..len]);
        }
        if let Some((at, base)) = self.id {
            request[at..at + 4].copy_from_slice(&(slot + base).to_le_bytes());
        }
    }
}

/// The line at the start of `bytes` without its `\r\n`, and its length with them. `None` while there is no end of line.
///
/// # Errors
///
/// If no line of the text protocols can be so long.
fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    const LINE_LEN_MAX: usize = 4096;
    let seen = &bytes[..bytes.len().min(LINE_LEN_MAX)];
    match seen.iter().position(|&byte| byte == b'\n') {
        Some(0) => Err(Malformed::of("a line ends in a bare line feed")),
        Some(end) if bytes[end - 1] == b'\r' => Ok(Some((&bytes[..end - 1], end + 1))),
        Some(_) => Err(Malformed::of("a line ends in a bare line feed")),
        None if seen.len() == LINE_LEN_MAX => {
            Err(Malformed::of("a line is longer than any reply's"))
        }
        None => Ok(None),
    }
}

/// A decimal number that is all of `digits`.
fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |number, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        number.checked_mul(10)?.checked_add(usize::from(digit))
    })
}

/// The `len` bytes of a value that begins at `at` and the end of what follows it, if `tail` does; `None` while it isn't
/// all there.
fn value_and_tail<'a>(
    bytes: &'a [u8],
    at: usize,
    len: usize,
    tail: &[u8],
) -> Result<Option<(&'a [u8], usize)>, Malformed> {
    let too_long = Malformed::of("a value's length is beyond all memory");
    let ends = at
        .checked_add(len)
        .and_then(|end| Some((end, end.checked_add(tail.len())?)));
    let (value_end, end) = ends.ok_or(too_long)?;
    if bytes.len() < end {
        return Ok(None);
    }
    if bytes[value_end..end] != *tail {
        return Err(Malformed::of("a value does not end where its length says"));
    }
    Ok(Some((&bytes[at..value_end], end)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every split of a stream must give the same replies: sockets deliver what they like.
    pub(crate) fn assert_needs_all_of<D: Dialect>(dialect: &D, bytes: &[u8], outcome: Outcome<'_>) {
        for end in 0..bytes.len() {
            assert_eq!(
                dialect.reply(&bytes[..end]),
                Ok(None),
                "the first {end} bytes of {}",
                bytes.escape_ascii()
            );
        }
        let mut longer = bytes.to_vec();
        longer.extend_from_slice(bytes);
        let reply = dialect.reply(&longer).unwrap().unwrap();
        assert_eq!((reply.len, reply.outcome), (bytes.len(), outcome));
    }

    // A number that overflows, or is none, must end the run and not be read as a short value.
    #[test]
    fn decimals_are_all_digits_and_fit() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"16777216"), Some(16_777_216));
        for bad in [&b""[..], b"-1", b"1 ", b"99999999999999999999999"] {
            assert_eq!(decimal(bad), None, "{}", bad.escape_ascii());
        }
    }

    // A server that sends garbage without an end of line must not be waited for until memory is full.
    #[test]
    fn a_line_has_an_end() {
        assert_eq!(line(b"OK\r\nrest"), Ok(Some((&b"OK"[..], 4))));
        assert_eq!(line(b"OK\r"), Ok(None));
        assert!(line(b"OK\n").is_err());
        assert!(line(b"\n").is_err());
        assert!(line(&[b'x'; 5000]).is_err());
    }
}
