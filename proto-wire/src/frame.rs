//! Frames: where one ends and the next begins, and the fixed header that every request starts with.
//!
//! ```text
//! a frame          0        4
//!                  | length | id … the message, `length` bytes |
//!
//! a request        0    4        5       6         8          12
//! (without length) | id | opcode | flags | key_len | keyspace | key | the rest, by opcode |
//!
//! an answer        0    4           5        6       8         16          24
//! (without length) | id | body kind | status | flags | version | timestamp | body |
//! ```
//!
//! Everything is little-endian. The key is at the same place in every request about one key, so routing reads twelve
//! bytes and the key, whatever the request is.

use crate::opcode::is_single_key;
use crate::{DecodeError, FrameError, KEY_LEN_MAX, KeyspaceId, NAME_LEN_MAX, RequestId};

/// What a native connection opens with, before the hello's frame. No RESP connection begins with the first of them.
pub const PREAMBLE: [u8; 4] = [0xC0, b'R', b'D', b'Y'];

/// Bytes of the length field, which says how many bytes follow it.
pub const LENGTH_LEN: usize = 4;

/// Bytes between a request's length field and its key.
pub const REQUEST_HEADER_LEN: usize = 12;

/// Bytes between an answer's length field and its body.
pub const RESPONSE_HEADER_LEN: usize = 24;

/// Largest hello, in bytes after the length field: until the hello is there, nothing larger need be buffered.
pub const HELLO_FRAME_LEN_MAX: u32 = (REQUEST_HEADER_LEN + NAME_LEN_MAX + 6 + NAME_LEN_MAX) as u32;

/// Most bytes that a put's frame holds after the length field beside its value and the value that it is compared
/// with: the header, the longest key, a time to live, and a version or the length of the compared value.
pub const PUT_OVERHEAD_LEN_MAX: usize = REQUEST_HEADER_LEN + KEY_LEN_MAX + 8 + 8;

/// Every server takes, and every client must take, frames of this many bytes, whatever the largest value is: status,
/// lists of keyspaces and scans then never depend on how small a server's values are.
const FRAME_LEN_MAX_LEAST: u32 = 1 << 20;

/// The smallest `frame_len_max` that a server may announce beside a `value_len_max`: a put of the largest value under the
/// longest key fits, and so does the answer that brings it back.
#[must_use]
pub const fn frame_len_max_least(value_len_max: u32) -> u32 {
    let put_len = value_len_max.saturating_add(PUT_OVERHEAD_LEN_MAX as u32);
    if put_len > FRAME_LEN_MAX_LEAST {
        put_len
    } else {
        FRAME_LEN_MAX_LEAST
    }
}

const _: () = assert!(
    RESPONSE_HEADER_LEN <= PUT_OVERHEAD_LEN_MAX,
    "a value that could be put can be read again"
);

/// The id of an answer that is about the connection and not about one request: a frame that can't be followed, a timeout.
/// The connection ends after it. A client that gives its requests other ids can tell the two apart.
pub const CONNECTION_REQUEST_ID: RequestId = 0;

/// The first whole frame in `buf` without its length field, and how many bytes it takes up with it.
///
/// `Ok(None)` if there is not yet a whole frame. A length over `frame_len_max`, or below the smallest header, is an error
/// as soon as its four bytes are there, so a reader never buffers more than `LENGTH_LEN + frame_len_max` bytes.
///
/// # Errors
///
/// [`FrameError`]: the stream can't be followed any further.
#[inline]
pub fn split(buf: &[u8], frame_len_max: u32) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((length, rest)) = buf.split_first_chunk::<LENGTH_LEN>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length);
    if length > frame_len_max {
        return Err(FrameError::TooLong {
            length,
            limit: frame_len_max,
        });
    }
    if (length as usize) < REQUEST_HEADER_LEN {
        return Err(FrameError::TooShort {
            length,
            minimum: REQUEST_HEADER_LEN as u32,
        });
    }
    Ok(rest
        .get(..length as usize)
        .map(|frame| (frame, LENGTH_LEN + length as usize)))
}

/// A request's fixed header, as it stands: neither the opcode nor anything else in it has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// What the answer must echo, even if the rest of the frame is bad.
    pub id: RequestId,
    /// An [`crate::Opcode`]'s number, if it is known.
    pub opcode: u8,
    /// By opcode.
    pub flags: u8,
    /// How many bytes of key (or prefix, or name) follow the header.
    pub key_len: u16,
    /// 0 where the request is not about a keyspace.
    pub keyspace: KeyspaceId,
}

/// Reads a request's header and nothing else.
///
/// # Errors
///
/// [`DecodeError::Truncated`] if the frame is shorter than a header, which no frame from [`split`] is.
#[inline]
pub fn peek(frame: &[u8]) -> Result<RequestHead, DecodeError> {
    let Some(header) = frame.first_chunk::<REQUEST_HEADER_LEN>() else {
        return Err(DecodeError::Truncated {
            field: "request header",
            needed: REQUEST_HEADER_LEN,
            available: frame.len(),
        });
    };
    let &[i0, i1, i2, i3, opcode, flags, l0, l1, k0, k1, k2, k3] = header;
    Ok(RequestHead {
        id: u32::from_le_bytes([i0, i1, i2, i3]),
        opcode,
        flags,
        key_len: u16::from_le_bytes([l0, l1]),
        keyspace: u32::from_le_bytes([k0, k1, k2, k3]),
    })
}

/// The key of a request about one key: what decides the shard that it goes to.
///
/// `None` for any other request, and for a frame that can't be decoded for want of its key.
#[inline]
#[must_use]
pub fn key_of(frame: &[u8]) -> Option<&[u8]> {
    let head = peek(frame).ok()?;
    if !is_single_key(head.opcode) || head.key_len == 0 {
        return None;
    }
    frame.get(REQUEST_HEADER_LEN..REQUEST_HEADER_LEN + usize::from(head.key_len))
}
