//! The two requests that shards of a node send to each other: a move, and a unit of requests.
//!
//! ```text
//! move    flags bit 0: if the destination is absent   bit 1: the source stays
//!     header (keyspace and key of the source) | source | keyspace u32 | destination: the rest
//!
//! unit    flags 0, no keyspace, no key
//!     header | count u32 | precondition, count times | count u32 | frame, count times
//!
//!     precondition    flags u8 | key_len u16 | keyspace u32 | [version u64] | key
//!                     bit 0: the version is there, and the key must be at it; else the key must not exist
//!     frame           length u32 | that many bytes, as in a stream
//! ```
//!
//! The decoder looks at a unit's frames as far as their headers: each must be of a request about one key, or of a move. Whoever carries the unit out decodes
//! them one by one.

use super::{MOVE_IF_ABSENT, MOVE_KEEP_SOURCE, validate_key, within};
use crate::opcode::is_single_key;
use crate::reader::Reader;
use crate::{
    ATOMIC_LEN_MAX, BATCH_BYTES_MAX, DecodeError, KeyspaceId, LENGTH_LEN, Opcode, Precondition,
    REQUEST_HEADER_LEN, Request, peek,
};

/// Bytes of a precondition before its version or key: flags, key length, keyspace.
const PRECONDITION_HEADER_LEN: usize = 1 + 2 + 4;
/// Bit 0 of a precondition's flags: a version follows.
const HAS_VERSION: u8 = 1;

/// A move's flags.
pub(super) fn move_flags(if_absent: bool, keep_source: bool) -> u8 {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    bit(if_absent, MOVE_IF_ABSENT) | bit(keep_source, MOVE_KEEP_SOURCE)
}

/// Reads what follows a move's source.
pub(super) fn decode_move<'a>(
    flags: u8,
    source: (KeyspaceId, &'a [u8]),
    reader: &mut Reader<'a>,
) -> Result<Request<'a>, DecodeError> {
    Ok(Request::Move {
        source,
        destination: (reader.u32("destination's keyspace")?, reader.rest()),
        if_absent: flags & MOVE_IF_ABSENT != 0,
        keep_source: flags & MOVE_KEEP_SOURCE != 0,
    })
}

/// How many bytes a unit has behind its header.
pub(super) fn unit_len(preconditions: &[Precondition<'_>], frames: &[&[u8]]) -> usize {
    4 + preconditions.iter().map(precondition_len).sum::<usize>() + 4 + frames_len(frames)
}

fn precondition_len(precondition: &Precondition<'_>) -> usize {
    PRECONDITION_HEADER_LEN + precondition.version.map_or(0, |_| 8) + precondition.key.len()
}

fn frames_len(frames: &[&[u8]]) -> usize {
    frames.iter().map(|frame| LENGTH_LEN + frame.len()).sum()
}

/// Appends what follows a unit's header.
pub(super) fn encode_unit(preconditions: &[Precondition<'_>], frames: &[&[u8]], out: &mut Vec<u8>) {
    encode_u32(preconditions.len(), out);
    for precondition in preconditions {
        let key_len = u16::try_from(precondition.key.len()).expect("a key's length fits a u16");
        out.push(precondition.version.map_or(0, |_| HAS_VERSION));
        out.extend_from_slice(&key_len.to_le_bytes());
        out.extend_from_slice(&precondition.keyspace.to_le_bytes());
        if let Some(version) = precondition.version {
            out.extend_from_slice(&version.to_le_bytes());
        }
        out.extend_from_slice(precondition.key);
    }
    encode_u32(frames.len(), out);
    for frame in frames {
        encode_u32(frame.len(), out);
        out.extend_from_slice(frame);
    }
}

fn encode_u32(number: usize, out: &mut Vec<u8>) {
    let number = u32::try_from(number).expect("the frame's length, a u32, covers it");
    out.extend_from_slice(&number.to_le_bytes());
}

/// Reads what follows a unit's header.
pub(super) fn decode_unit<'a>(reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    let count = reader.u32("number of preconditions")?;
    within("number of preconditions", count as usize, 0, ATOMIC_LEN_MAX)?;
    let least = PRECONDITION_HEADER_LEN + 1;
    let mut preconditions = Vec::with_capacity(reader.reserve_for(count, least));
    for _ in 0..count {
        preconditions.push(decode_precondition(reader)?);
    }
    let count = reader.u32("number of requests in a unit")?;
    within(
        "number of requests in a unit",
        count as usize,
        0,
        ATOMIC_LEN_MAX,
    )?;
    let least = LENGTH_LEN + REQUEST_HEADER_LEN;
    let mut frames = Vec::with_capacity(reader.reserve_for(count, least));
    for _ in 0..count {
        frames.push(reader.bytes_u32("request in a unit")?);
    }
    Ok(Request::Unit {
        preconditions,
        frames,
    })
}

fn decode_precondition<'a>(reader: &mut Reader<'a>) -> Result<Precondition<'a>, DecodeError> {
    let flags = reader.u8("precondition's flags")?;
    super::write::refuse_reserved(flags, !HAS_VERSION)?;
    let key_len = reader.u16("precondition's key length")?;
    let keyspace = reader.u32("precondition's keyspace")?;
    let version = if flags & HAS_VERSION != 0 {
        Some(reader.u64("expected version")?)
    } else {
        None
    };
    Ok(Precondition {
        keyspace,
        key: reader.take(usize::from(key_len), "key")?,
        version,
    })
}

/// What the protocol demands of a unit.
pub(super) fn validate_unit(
    preconditions: &[Precondition<'_>],
    frames: &[&[u8]],
) -> Result<(), DecodeError> {
    within(
        "number of preconditions",
        preconditions.len(),
        0,
        ATOMIC_LEN_MAX,
    )?;
    within(
        "number of requests in a unit",
        frames.len(),
        0,
        ATOMIC_LEN_MAX,
    )?;
    preconditions
        .iter()
        .try_for_each(|precondition| validate_key(precondition.key))?;
    let conditions_len = preconditions.iter().map(precondition_len).sum();
    within(
        "length of a unit's preconditions",
        conditions_len,
        0,
        BATCH_BYTES_MAX,
    )?;
    within(
        "length of a unit's requests",
        frames_len(frames),
        0,
        BATCH_BYTES_MAX,
    )?;
    frames.iter().try_for_each(|frame| {
        let head = peek(frame)?;
        if is_single_key(head.opcode) || head.opcode == Opcode::Move as u8 {
            return Ok(());
        }
        Err(DecodeError::UnknownTag {
            field: "opcode of a request in a unit",
            tag: head.opcode,
        })
    })
}
