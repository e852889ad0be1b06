//! Writing replies: RESP2's types, and RESP3's where the client asked for them.
//!
//! | | RESP2 | RESP3 |
//! |---|---|---|
//! | null | `$-1` | `_` |
//! | null instead of an array | `*-1` | `_` |
//! | map of n pairs | array of 2n | `%n` |
//! | double | bulk string | `,` |
//! | text for people | bulk string | `=`, with `txt:` before it |
//! | set | array | `~` |
//!
//! The rest is the same in both. Source: the Redis serialization protocol specification.

/// Which version of RESP a connection speaks: 2 until a `HELLO 3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Every Redis client's first language.
    #[default]
    Resp2,
    /// With maps, nulls, doubles and sets of their own.
    Resp3,
}

/// `+text`.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    out.push(b'+');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `-CODE text`. Line breaks in it become spaces; those at its end are left out.
pub fn error(out: &mut Vec<u8>, text: &str) {
    out.push(b'-');
    let text = text.trim_end_matches(['\r', '\n']);
    out.extend(text.bytes().map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        byte => byte,
    }));
    out.extend_from_slice(b"\r\n");
}

/// The same, as a reply of its own.
#[must_use]
pub fn error_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    error(&mut bytes, text);
    bytes
}

/// `:number`.
pub fn integer(out: &mut Vec<u8>, number: i64) {
    number_line(out, b':', number);
}

/// `$length`, the bytes, and a line break.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    bulk_head(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Text for people to read: a verbatim string in RESP3.
pub fn verbatim(out: &mut Vec<u8>, protocol: Protocol, text: &str) {
    match protocol {
        Protocol::Resp2 => bulk(out, text.as_bytes()),
        Protocol::Resp3 => {
            number_line(out, b'=', (VERBATIM_KIND.len() + text.len()) as i64);
            out.extend_from_slice(VERBATIM_KIND);
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// What stands before a verbatim string's text: that it is plain.
const VERBATIM_KIND: &[u8] = b"txt:";

/// What comes before a bulk string's bytes.
pub fn bulk_head(out: &mut Vec<u8>, len: usize) {
    number_line(out, b'$', len as i64);
}

/// No value.
pub fn null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// No array.
pub fn null_array(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// The head of an array of `len` replies.
pub fn array(out: &mut Vec<u8>, len: usize) {
    number_line(out, b'*', len as i64);
}

/// The head of a map of `len` pairs.
pub fn map(out: &mut Vec<u8>, protocol: Protocol, len: usize) {
    match protocol {
        Protocol::Resp2 => number_line(out, b'*', 2 * len as i64),
        Protocol::Resp3 => number_line(out, b'%', len as i64),
    }
}

/// The head of a set of `len` replies.
pub fn set(out: &mut Vec<u8>, protocol: Protocol, len: usize) {
    match protocol {
        Protocol::Resp2 => number_line(out, b'*', len as i64),
        Protocol::Resp3 => number_line(out, b'~', len as i64),
    }
}

fn number_line(out: &mut Vec<u8>, sign: u8, number: i64) {
    out.push(sign);
    push_decimal(out, number);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number as decimal text.
fn push_decimal(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}
