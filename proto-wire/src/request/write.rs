//! The layout that a put or delete of its own and one inside a batch have in common: the flags, and the operands that
//! they announce. An expire has the same time to live, and conditions of its own.
//!
//! ```text
//! flags    bit  7 6 | 5            | 4 3          | 2 1 0
//!               0 0 | return value | time to live | condition
//!
//! operands (each only if the flags say so, in this order)
//!     ttl_ms       u64    time to live 2 (milliseconds) or 3 (milliseconds since 1970)
//!     version      u64    condition 3 (if version)
//!     expected_len u32    condition 4 (if value)
//!     expected     bytes  condition 4
//! ```
//!
//! All flags zero is the plain put, which has no operands: its value follows the key at once.

use crate::reader::Reader;
use crate::{Condition, DecodeError, Delete, Expiry, ExpiryCondition, Put, Ttl};

const CONDITION_MASK: u8 = 0b0000_0111;
const TTL_SHIFT: u8 = 3;
const TTL_MASK: u8 = 0b0001_1000;
const RETURN_VALUE: u8 = 0b0010_0000;

/// Whatever of the flags a put does not use.
const PUT_RESERVED: u8 = !(CONDITION_MASK | TTL_MASK | RETURN_VALUE);
/// Whatever of the flags a delete does not use.
const DELETE_RESERVED: u8 = !(CONDITION_MASK | RETURN_VALUE);

const TTL_KEEP: u8 = 1;
const TTL_MILLIS: u8 = 2;
const TTL_AT: u8 = 3;

const IF_ABSENT: u8 = 1;
const IF_PRESENT: u8 = 2;
const IF_VERSION: u8 = 3;
const IF_VALUE: u8 = 4;

/// A put's flags.
#[inline]
pub(super) fn put_flags(put: &Put<'_>) -> u8 {
    let ttl = match put.ttl {
        Ttl::None => 0,
        Ttl::Keep => TTL_KEEP,
        Ttl::Millis(_) => TTL_MILLIS,
        Ttl::At(_) => TTL_AT,
    };
    condition_flags(&put.condition, put.return_value) | ttl << TTL_SHIFT
}

/// A delete's flags.
pub(super) fn delete_flags(delete: &Delete<'_>) -> u8 {
    condition_flags(&delete.condition, delete.return_value)
}

#[inline]
fn condition_flags(condition: &Condition<'_>, return_value: bool) -> u8 {
    let tag = match condition {
        Condition::Always => 0,
        Condition::IfAbsent => IF_ABSENT,
        Condition::IfPresent => IF_PRESENT,
        Condition::IfVersion(_) => IF_VERSION,
        Condition::IfValue(_) => IF_VALUE,
    };
    tag | if return_value { RETURN_VALUE } else { 0 }
}

/// How many bytes the operands take up.
#[inline]
pub(super) fn operands_len(ttl: Ttl, condition: &Condition<'_>) -> usize {
    let ttl_len = match ttl {
        Ttl::None | Ttl::Keep => 0,
        Ttl::Millis(_) | Ttl::At(_) => 8,
    };
    let condition_len = match condition {
        Condition::Always | Condition::IfAbsent | Condition::IfPresent => 0,
        Condition::IfVersion(_) => 8,
        Condition::IfValue(expected) => 4 + expected.len(),
    };
    ttl_len + condition_len
}

/// Appends the operands.
#[inline]
pub(super) fn encode_operands(ttl: Ttl, condition: &Condition<'_>, out: &mut Vec<u8>) {
    if let Ttl::Millis(ms) | Ttl::At(ms) = ttl {
        out.extend_from_slice(&ms.to_le_bytes());
    }
    match condition {
        Condition::Always | Condition::IfAbsent | Condition::IfPresent => {}
        Condition::IfVersion(version) => out.extend_from_slice(&version.to_le_bytes()),
        Condition::IfValue(expected) => {
            let expected_len =
                u32::try_from(expected.len()).expect("the frame's length, a u32, covers it");
            out.extend_from_slice(&expected_len.to_le_bytes());
            out.extend_from_slice(expected);
        }
    }
}

/// Reads the operands of a put whose key has been read, and its value: the next `value_len` bytes, or the rest.
pub(super) fn decode_put<'a>(
    flags: u8,
    key: &'a [u8],
    value_len: Option<u32>,
    reader: &mut Reader<'a>,
) -> Result<Put<'a>, DecodeError> {
    refuse_reserved(flags, PUT_RESERVED)?;
    let ttl = match (flags & TTL_MASK) >> TTL_SHIFT {
        0 => Ttl::None,
        TTL_KEEP => Ttl::Keep,
        TTL_MILLIS => Ttl::Millis(reader.u64("time to live")?),
        _ => Ttl::At(reader.u64("expiry")?),
    };
    let condition = decode_condition(flags, reader)?;
    let value = match value_len {
        Some(len) => reader.take(len as usize, "value")?,
        None => reader.rest(),
    };
    Ok(Put {
        key,
        value,
        ttl,
        condition,
        return_value: flags & RETURN_VALUE != 0,
    })
}

/// Reads the operands of a delete whose key has been read.
pub(super) fn decode_delete<'a>(
    flags: u8,
    key: &'a [u8],
    reader: &mut Reader<'a>,
) -> Result<Delete<'a>, DecodeError> {
    refuse_reserved(flags, DELETE_RESERVED)?;
    let condition = decode_condition(flags, reader)?;
    Ok(Delete {
        key,
        condition,
        return_value: flags & RETURN_VALUE != 0,
    })
}

fn decode_condition<'a>(flags: u8, reader: &mut Reader<'a>) -> Result<Condition<'a>, DecodeError> {
    Ok(match flags & CONDITION_MASK {
        0 => Condition::Always,
        IF_ABSENT => Condition::IfAbsent,
        IF_PRESENT => Condition::IfPresent,
        IF_VERSION => Condition::IfVersion(reader.u64("expected version")?),
        IF_VALUE => Condition::IfValue(reader.bytes_u32("expected value")?),
        tag => {
            return Err(DecodeError::UnknownTag {
                field: "condition tag",
                tag,
            });
        }
    })
}

/// Flags that a message does not use must be zero.
#[inline]
pub(super) fn refuse_reserved(flags: u8, reserved: u8) -> Result<(), DecodeError> {
    match flags & reserved {
        0 => Ok(()),
        bits => Err(DecodeError::ReservedNotZero {
            field: "flags",
            value: u64::from(bits),
        }),
    }
}

const EXPIRE_RESERVED: u8 = !(CONDITION_MASK | TTL_MASK | RETURN_VALUE);

const IF_NONE: u8 = 1;
const IF_SOME: u8 = 2;
const IF_LATER: u8 = 3;
const IF_EARLIER: u8 = 4;
const IF_SOME_EARLIER: u8 = 5;

/// An expire's flags.
pub(super) fn expire_flags(expiry: Expiry, condition: ExpiryCondition, return_value: bool) -> u8 {
    let expiry = match expiry {
        Expiry::Never => 0,
        Expiry::Millis(_) => TTL_MILLIS,
        Expiry::At(_) => TTL_AT,
    };
    let condition = match condition {
        ExpiryCondition::Always => 0,
        ExpiryCondition::IfNone => IF_NONE,
        ExpiryCondition::IfSome => IF_SOME,
        ExpiryCondition::IfLater => IF_LATER,
        ExpiryCondition::IfEarlier => IF_EARLIER,
        ExpiryCondition::IfSomeEarlier => IF_SOME_EARLIER,
    };
    condition | expiry << TTL_SHIFT | if return_value { RETURN_VALUE } else { 0 }
}

/// Reads what an expire's flags announce.
pub(super) fn decode_expire(
    flags: u8,
    reader: &mut Reader<'_>,
) -> Result<(Expiry, ExpiryCondition, bool), DecodeError> {
    refuse_reserved(flags, EXPIRE_RESERVED)?;
    let expiry = match (flags & TTL_MASK) >> TTL_SHIFT {
        0 => Expiry::Never,
        TTL_MILLIS => Expiry::Millis(reader.u64("time to live")?),
        TTL_AT => Expiry::At(reader.u64("expiry")?),
        tag => {
            return Err(DecodeError::UnknownTag {
                field: "time to live tag",
                tag,
            });
        }
    };
    let condition = match flags & CONDITION_MASK {
        0 => ExpiryCondition::Always,
        IF_NONE => ExpiryCondition::IfNone,
        IF_SOME => ExpiryCondition::IfSome,
        IF_LATER => ExpiryCondition::IfLater,
        IF_EARLIER => ExpiryCondition::IfEarlier,
        IF_SOME_EARLIER => ExpiryCondition::IfSomeEarlier,
        tag => {
            return Err(DecodeError::UnknownTag {
                field: "condition tag",
                tag,
            });
        }
    };
    Ok((expiry, condition, flags & RETURN_VALUE != 0))
}
