//! How an answer of the store looks to a Redis client.
//!
//! A native answer says what happened (a status, a version, a value); what a Redis client wants to read depends on its command: an `EXPIRE` that
//! found no key is `:0`, a `GET` that found none is a null. The shape is what is kept of a command until its answer comes.

use corduroy_proto_wire::{Body, Response, Status};

use super::commands::{CommandError, Fixed};
use super::reply::{self, Protocol};

/// How one answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The value, or null where there is none: GET, GETDEL, GETEX, GETSET, and SET with GET.
    Value,
    /// `+OK`, or null where the condition did not hold: SET.
    Ok,
    /// 1 if it was done, 0 if there was no key or the condition did not hold: SETNX, EXPIRE, PERSIST, COPY, RENAMENX, MSETNX.
    Flag,
    /// `+OK`, or the error that there is no such key: RENAME.
    OkIfFound,
    /// As [`Shape::Flag`], but no key is an error: RENAMENX.
    FlagIfFound,
    /// A counter's value or a length.
    Number,
    /// The value's length in bytes; 0 without a key: STRLEN.
    Length,
    /// A part of the value, by first and last byte, negative ones from the end: GETRANGE.
    Range(i64, i64),
    /// Time to live, -1 without one, -2 without a key, in seconds: TTL.
    TtlSeconds,
    /// The same in milliseconds: PTTL.
    TtlMillis,
    /// When it expires, in seconds since 1970, -1, -2: EXPIRETIME.
    ExpirySeconds,
    /// The same in milliseconds: PEXPIRETIME.
    ExpiryMillis,
    /// `+string` or `+none`: TYPE.
    Type,
    /// What a key and its value take, in bytes, or null; holds the key's length: MEMORY USAGE.
    Memory(u32),
    /// `int`, `embstr` or `raw`: OBJECT ENCODING.
    Encoding,
    /// This number for a key that is there, else null: OBJECT IDLETIME, REFCOUNT.
    Constant(i64),
    /// 0 for a key that is there, else the error that there is no such key: RENAMENX of a key to its own name.
    ZeroIfFound,
    /// An error for a key that is there, else null: where Redis looks for the key before it looks at the other arguments.
    RefusedIfFound(RefusedIfFound),
}

/// What is wrong with a command, which is only said if its key is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedIfFound {
    /// GETEX with a time that is no number.
    NotAnInteger,
    /// GETEX with a time that can't be.
    InvalidExpiryInGetex,
    /// OBJECT FREQ: nobody counts.
    NoFrequencies,
}

impl RefusedIfFound {
    fn error(self) -> CommandError {
        match self {
            RefusedIfFound::NotAnInteger => Fixed::NotAnInteger.into(),
            RefusedIfFound::InvalidExpiryInGetex => CommandError::InvalidExpiry("getex"),
            RefusedIfFound::NoFrequencies => Fixed::NoFrequencies.into(),
        }
    }
}

impl Shape {
    /// Whether a status that is no error of the store is one for the client: that there is no such key.
    #[must_use]
    pub fn is_refusal(self, status: Status) -> bool {
        status == Status::NotFound
            && matches!(
                self,
                Shape::OkIfFound | Shape::FlagIfFound | Shape::ZeroIfFound
            )
    }

    /// Writes the answer to a command. A [`Body::Value`] that is not copied is written by the caller, who calls this with all shapes but
    /// [`Shape::Value`].
    pub fn write(self, response: &Response<'_>, protocol: Protocol, out: &mut Vec<u8>) {
        if response.status.is_error() {
            return write_error(response, out);
        }
        let found = response.status == Status::Ok;
        match self {
            Shape::Value => match response.body {
                Body::Value(value) => reply::bulk(out, value),
                _ => reply::null(out, protocol),
            },
            Shape::Ok if found => reply::simple(out, "OK"),
            Shape::Ok => reply::null(out, protocol),
            Shape::Flag => reply::integer(out, i64::from(found)),
            Shape::OkIfFound | Shape::FlagIfFound | Shape::ZeroIfFound
                if response.status == Status::NotFound =>
            {
                reply::error(out, "ERR no such key");
            }
            Shape::OkIfFound => reply::simple(out, "OK"),
            Shape::FlagIfFound => reply::integer(out, i64::from(found)),
            Shape::Number => reply::integer(
                out,
                match response.body {
                    Body::Counter(number) => number,
                    Body::Number(number) => i64::try_from(number).unwrap_or(i64::MAX),
                    _ => 0,
                },
            ),
            Shape::Length => reply::integer(out, value_of(response).len() as i64),
            Shape::Range(first, last) => reply::bulk(out, part(value_of(response), first, last)),
            Shape::TtlSeconds => write_ttl(response, out, |ttl_ms| (ttl_ms + 500) / 1000),
            Shape::ExpirySeconds => write_ttl(response, out, |at_ms| (at_ms + 500) / 1000),
            Shape::TtlMillis | Shape::ExpiryMillis => write_ttl(response, out, |ttl_ms| ttl_ms),
            Shape::Type => reply::simple(out, if found { "string" } else { "none" }),
            Shape::Memory(key_len) if found => {
                let len = value_of(response).len() + key_len as usize + MEMORY_OVERHEAD_LEN;
                reply::integer(out, len as i64);
            }
            Shape::Encoding if found => {
                reply::bulk(out, encoding_of(value_of(response)).as_bytes());
            }
            Shape::Constant(number) if found => reply::integer(out, number),
            Shape::ZeroIfFound => reply::integer(out, 0),
            Shape::RefusedIfFound(refused) if found => {
                reply::error(out, refused.error().text());
            }
            Shape::Memory(_) | Shape::Encoding | Shape::Constant(_) | Shape::RefusedIfFound(_) => {
                reply::null(out, protocol);
            }
        }
    }
}

/// What a record and its index entry take beside key and value, in bytes: `docs/on-disk-format.md` and `storage/index`.
const MEMORY_OVERHEAD_LEN: usize = 64;

/// Longest value that Redis keeps beside its key.
const EMBEDDED_LEN_MAX: usize = 44;

fn value_of<'a>(response: &Response<'a>) -> &'a [u8] {
    match response.body {
        Body::Value(value) => value,
        _ => &[],
    }
}

fn encoding_of(value: &[u8]) -> &'static str {
    let integer = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse::<i64>().ok().filter(|it| it.to_string() == text));
    match integer {
        Some(_) => "int",
        None if value.len() <= EMBEDDED_LEN_MAX => "embstr",
        None => "raw",
    }
}

fn part(value: &[u8], first: i64, last: i64) -> &[u8] {
    let len = value.len() as i64;
    if first < 0 && last < 0 && first > last {
        return &[];
    }
    let from_end = |at: i64| if at < 0 { (len + at).max(0) } else { at };
    let (first, last) = (from_end(first), from_end(last).min(len - 1));
    if len == 0 || first > last {
        return &[];
    }
    &value[first as usize..=last as usize]
}

fn write_ttl(response: &Response<'_>, out: &mut Vec<u8>, unit: impl Fn(u64) -> u64) {
    let number = match response.body {
        Body::Ttl(Some(ms)) if response.status == Status::Ok => {
            i64::try_from(unit(ms)).unwrap_or(i64::MAX)
        }
        _ if response.status == Status::Ok => -1,
        _ => -2,
    };
    reply::integer(out, number);
}

/// An error of the store under the code by which Redis clients tell what to do.
fn write_error(response: &Response<'_>, out: &mut Vec<u8>) {
    let reason = match response.body {
        Body::Error(reason) => reason,
        _ => "",
    };
    let code = match response.status {
        Status::ReadOnly => "MISCONF",
        Status::Overloaded => "TRYAGAIN",
        Status::ShuttingDown => "LOADING",
        Status::CrossPartition => "CROSSSLOT",
        Status::OutcomeUnknown => "ERR outcome unknown:",
        _ => "ERR",
    };
    reply::error(out, format!("{code} {reason}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(shape: Shape, status: Status, body: Body<'_>) -> String {
        let response = Response {
            status,
            version: 0,
            timestamp_ms: 0,
            body,
        };
        let mut out = Vec::new();
        shape.write(&response, Protocol::Resp2, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Clients decide by an error's code whether to try again, elsewhere or never.
    #[test]
    fn errors_bear_the_code_by_which_clients_act() {
        for (status, expected) in [
            (Status::NotACounter, "-ERR reason\r\n"),
            (Status::LimitExceeded, "-ERR reason\r\n"),
            (Status::ReadOnly, "-MISCONF reason\r\n"),
            (Status::Overloaded, "-TRYAGAIN reason\r\n"),
            (Status::ShuttingDown, "-LOADING reason\r\n"),
            (Status::CrossPartition, "-CROSSSLOT reason\r\n"),
            (Status::OutcomeUnknown, "-ERR outcome unknown: reason\r\n"),
        ] {
            for shape in [Shape::Value, Shape::Ok, Shape::Flag, Shape::TtlSeconds] {
                assert_eq!(written(shape, status, Body::Error("reason")), expected);
            }
        }
    }

    /// A reason with a line break in it would end the reply early, and its rest would be taken for the next one.
    #[test]
    fn an_error_is_one_line() {
        let reply = written(Shape::Ok, Status::Damaged, Body::Error("a\r\n+OK"));
        assert_eq!(reply, "-ERR a  +OK\r\n");
    }

    /// TTL rounds to the nearest second, so a key of 1.5 seconds has 2 left at Redis, and one of 400 milliseconds none.
    #[test]
    fn times_are_rounded_as_redis_rounds_them() {
        let ttl = |shape, ms| written(shape, Status::Ok, Body::Ttl(ms));
        assert_eq!(ttl(Shape::TtlSeconds, Some(1500)), ":2\r\n");
        assert_eq!(ttl(Shape::TtlSeconds, Some(1499)), ":1\r\n");
        assert_eq!(ttl(Shape::TtlSeconds, Some(400)), ":0\r\n");
        assert_eq!(ttl(Shape::TtlMillis, Some(400)), ":400\r\n");
        assert_eq!(
            ttl(Shape::ExpirySeconds, Some(i64::MAX as u64)),
            ":9223372036854776\r\n"
        );
        assert_eq!(ttl(Shape::TtlMillis, None), ":-1\r\n");
        let gone = written(Shape::TtlMillis, Status::NotFound, Body::Empty);
        assert_eq!(gone, ":-2\r\n");
    }

    /// What MEMORY USAGE says is an estimate of our own, but a key that is there takes more than its bytes.
    #[test]
    fn memory_counts_key_value_and_what_is_beside_them() {
        let reply = written(Shape::Memory(3), Status::Ok, Body::Value(b"12345"));
        assert_eq!(reply, format!(":{}\r\n", 8 + MEMORY_OVERHEAD_LEN));
    }
}
