//! An answer's kinds of body. An answer can be read without knowing the request: the header names the kind.

mod decode;
mod encode;

use crate::Body;

/// The number of a body's kind, in an answer's header. Never changed, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BodyKind {
    /// [`Body::Empty`]
    Empty = 0,
    /// [`Body::Value`]
    Value = 1,
    /// [`Body::Counter`]
    Counter = 2,
    /// [`Body::Number`]
    Number = 3,
    /// [`Body::Ttl`]
    Ttl = 4,
    /// [`Body::Batch`]
    Batch = 5,
    /// [`Body::Scan`]
    Scan = 6,
    /// [`Body::Keyspaces`]
    Keyspaces = 7,
    /// [`Body::Status`]
    Status = 8,
    /// [`Body::Hello`]
    Hello = 9,
    /// [`Body::Error`]
    Error = 10,
}

impl BodyKind {
    /// The kind of this number, if there is one.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<BodyKind> {
        Some(match number {
            0 => BodyKind::Empty,
            1 => BodyKind::Value,
            2 => BodyKind::Counter,
            3 => BodyKind::Number,
            4 => BodyKind::Ttl,
            5 => BodyKind::Batch,
            6 => BodyKind::Scan,
            7 => BodyKind::Keyspaces,
            8 => BodyKind::Status,
            9 => BodyKind::Hello,
            10 => BodyKind::Error,
            _ => return None,
        })
    }
}

impl Body<'_> {
    /// Its number on the wire.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> BodyKind {
        match self {
            Body::Empty => BodyKind::Empty,
            Body::Value(_) => BodyKind::Value,
            Body::Counter(_) => BodyKind::Counter,
            Body::Number(_) => BodyKind::Number,
            Body::Ttl(_) => BodyKind::Ttl,
            Body::Batch(_) => BodyKind::Batch,
            Body::Scan { .. } => BodyKind::Scan,
            Body::Keyspaces(_) => BodyKind::Keyspaces,
            Body::Status(_) => BodyKind::Status,
            Body::Hello(_) => BodyKind::Hello,
            Body::Error(_) => BodyKind::Error,
        }
    }
}

/// Bit 0 of an item's flags, in a batch's and a scan's answer: a value follows.
const ITEM_HAS_VALUE: u8 = 0b01;
/// Bit 1 of an item's flags, in a scan's answer: an expiry follows.
const ITEM_HAS_EXPIRY: u8 = 0b10;

/// Fewest bytes of one result in a batch's answer: status, flags, version, timestamp.
const RESULT_LEN_MIN: usize = 1 + 1 + 8 + 8;
/// Bytes of one key in a scan's answer before its expiry or key: flags, key length, version, timestamp.
const SCAN_ITEM_HEADER_LEN: usize = 1 + 2 + 8 + 8;
/// Bytes of a keyspace before its name: id, partitions, name length.
const KEYSPACE_HEADER_LEN: usize = 4 + 2 + 1;
/// Bytes of a hello's answer before the keyspace.
const HELLO_REPLY_HEADER_LEN: usize = 4 * 2 + 4 * 4;
