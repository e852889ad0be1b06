//! From a frame to its answer. Empty answers and values, which is nearly all traffic, are decoded in place.

use super::{
    BodyKind, ITEM_HAS_EXPIRY, ITEM_HAS_VALUE, KEYSPACE_HEADER_LEN, RESULT_LEN_MIN,
    SCAN_ITEM_HEADER_LEN,
};
use crate::reader::{Reader, utf8};
use crate::request::{KEYSPACE_NAME, SERVER_NAME, within};
use crate::{
    Body, Cursor, DecodeError, HelloReply, ItemResult, KeyspaceInfo, PARTITIONS_MAX,
    RESPONSE_HEADER_LEN, RequestId, Response, ScanItem, Status,
};

const EMPTY: u8 = BodyKind::Empty as u8;
const VALUE: u8 = BodyKind::Value as u8;

/// Fewest bytes of one key in a scan's answer.
const SCAN_ITEM_LEN_MIN: usize = SCAN_ITEM_HEADER_LEN + 1;
/// Fewest bytes of a keyspace.
const KEYSPACE_LEN_MIN: usize = KEYSPACE_HEADER_LEN + 1;

impl<'a> Response<'a> {
    /// Reads the answer of one frame, without its length field, as [`crate::split`] gives it, and the id of the request
    /// that it answers.
    ///
    /// Keys and values are borrowed from the frame. Only lists and names allocate, and no more than a small multiple of the
    /// frame's own length.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the server does not keep to the protocol.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<(RequestId, Response<'a>), DecodeError> {
        let Some((header, rest)) = frame.split_first_chunk::<RESPONSE_HEADER_LEN>() else {
            return Err(DecodeError::Truncated {
                field: "answer's header",
                needed: RESPONSE_HEADER_LEN,
                available: frame.len(),
            });
        };
        let &[
            i0,
            i1,
            i2,
            i3,
            kind,
            status,
            f0,
            f1,
            v0,
            v1,
            v2,
            v3,
            v4,
            v5,
            v6,
            v7,
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            t6,
            t7,
        ] = header;
        let id = u32::from_le_bytes([i0, i1, i2, i3]);
        let Some(status) = Status::from_u8(status) else {
            return Err(DecodeError::UnknownTag {
                field: "status",
                tag: status,
            });
        };
        let flags = u16::from_le_bytes([f0, f1]);
        if flags != 0 {
            return Err(DecodeError::ReservedNotZero {
                field: "flags",
                value: u64::from(flags),
            });
        }
        let body = if kind == VALUE && !status.is_error() {
            Body::Value(rest)
        } else if kind == EMPTY && rest.is_empty() && !status.is_error() {
            Body::Empty
        } else {
            decode_body(kind, status, rest)?
        };
        let version = u64::from_le_bytes([v0, v1, v2, v3, v4, v5, v6, v7]);
        let timestamp_ms = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        Ok((
            id,
            Response {
                status,
                version,
                timestamp_ms,
                body,
            },
        ))
    }
}

/// The long way: any body, and a precise error for each that is none.
#[inline(never)]
fn decode_body(kind: u8, status: Status, rest: &[u8]) -> Result<Body<'_>, DecodeError> {
    let kind = BodyKind::from_u8(kind).ok_or(DecodeError::UnknownTag {
        field: "kind of body",
        tag: kind,
    })?;
    if status.is_error() != (kind == BodyKind::Error) {
        return Err(DecodeError::StatusBodyMismatch { status, kind });
    }
    let mut reader = Reader::new(rest);
    let body = match kind {
        BodyKind::Empty => Body::Empty,
        BodyKind::Value => Body::Value(reader.rest()),
        BodyKind::Counter => Body::Counter(i64::from_le_bytes(reader.array("counter")?)),
        BodyKind::Number => Body::Number(reader.u64("number")?),
        BodyKind::Ttl => Body::Ttl(match reader.remaining() {
            0 => None,
            _ => Some(reader.u64("time to live")?),
        }),
        BodyKind::Batch => Body::Batch(decode_list(&mut reader, RESULT_LEN_MIN, decode_result)?),
        BodyKind::Scan => Body::Scan {
            cursor: Cursor(reader.array("cursor")?),
            items: decode_list(&mut reader, SCAN_ITEM_LEN_MIN, decode_scan_item)?,
        },
        BodyKind::Keyspaces => {
            Body::Keyspaces(decode_list(&mut reader, KEYSPACE_LEN_MIN, decode_keyspace)?)
        }
        BodyKind::Status => Body::Status(utf8(reader.rest(), "status text")?),
        BodyKind::Hello => Body::Hello(decode_hello(&mut reader)?),
        BodyKind::Error => Body::Error(utf8(reader.rest(), "error text")?),
    };
    reader.finish()?;
    Ok(body)
}

/// A `u32` count, and that many items of at least `item_len_min` bytes.
fn decode_list<'a, T>(
    reader: &mut Reader<'a>,
    item_len_min: usize,
    decode_item: fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.u32("number of items")?;
    let mut items = Vec::with_capacity(reader.reserve_for(count, item_len_min));
    for _ in 0..count {
        items.push(decode_item(reader)?);
    }
    Ok(items)
}

fn decode_result<'a>(reader: &mut Reader<'a>) -> Result<ItemResult<'a>, DecodeError> {
    let status = reader.u8("result's status")?;
    let status = Status::from_u8(status).ok_or(DecodeError::UnknownTag {
        field: "result's status",
        tag: status,
    })?;
    let flags = decode_item_flags(reader, ITEM_HAS_VALUE)?;
    Ok(ItemResult {
        status,
        version: reader.u64("version")?,
        timestamp_ms: reader.u64("timestamp")?,
        value: decode_value(flags, reader)?,
    })
}

fn decode_scan_item<'a>(reader: &mut Reader<'a>) -> Result<ScanItem<'a>, DecodeError> {
    let flags = decode_item_flags(reader, ITEM_HAS_VALUE | ITEM_HAS_EXPIRY)?;
    let key_len = usize::from(reader.u16("key length")?);
    within("key length", key_len, 1, crate::KEY_LEN_MAX)?;
    let version = reader.u64("version")?;
    let timestamp_ms = reader.u64("timestamp")?;
    let expires_at_ms = match flags & ITEM_HAS_EXPIRY {
        0 => None,
        _ => Some(reader.u64("expiry")?),
    };
    let key = reader.take(key_len, "key")?;
    Ok(ScanItem {
        key,
        value: decode_value(flags, reader)?,
        version,
        timestamp_ms,
        expires_at_ms,
    })
}

fn decode_item_flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, DecodeError> {
    let flags = reader.u8("item's flags")?;
    match flags & !known {
        0 => Ok(flags),
        bits => Err(DecodeError::ReservedNotZero {
            field: "item's flags",
            value: u64::from(bits),
        }),
    }
}

fn decode_value<'a>(flags: u8, reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    match flags & ITEM_HAS_VALUE {
        0 => Ok(None),
        _ => reader.bytes_u32("value").map(Some),
    }
}

fn decode_keyspace(reader: &mut Reader<'_>) -> Result<KeyspaceInfo, DecodeError> {
    let id = reader.u32("keyspace's id")?;
    let partitions = reader.u16("number of partitions")?;
    within(
        "number of partitions",
        usize::from(partitions),
        1,
        usize::from(PARTITIONS_MAX),
    )?;
    let name_len = usize::from(reader.u8("name length")?);
    let name = utf8(reader.take(name_len, "keyspace name")?, "keyspace name")?;
    KEYSPACE_NAME.validate(name)?;
    Ok(KeyspaceInfo {
        id,
        partitions,
        name: name.to_owned(),
    })
}

fn decode_hello(reader: &mut Reader<'_>) -> Result<HelloReply, DecodeError> {
    let version = reader.u16("version")?;
    let shard_count = reader.u16("number of shards")?;
    let shard = reader.u16("shard")?;
    if shard >= shard_count {
        return Err(DecodeError::ShardOutsideCount { shard, shard_count });
    }
    let has_keyspace = match reader.u16("keyspace marker")? {
        0 => false,
        1 => true,
        marker => {
            return Err(DecodeError::ReservedNotZero {
                field: "keyspace marker",
                value: u64::from(marker),
            });
        }
    };
    let frame_len_max = reader.u32("largest frame")?;
    let value_len_max = reader.u32("largest value")?;
    let in_flight_max = reader.u32("most requests in flight")?;
    let batch_len_max = reader.u32("longest batch")?;
    let keyspace = if has_keyspace {
        Some(decode_keyspace(reader)?)
    } else {
        None
    };
    let server_name = utf8(reader.rest(), "server name")?;
    SERVER_NAME.validate(server_name)?;
    Ok(HelloReply {
        version,
        shard_count,
        shard,
        frame_len_max,
        value_len_max,
        in_flight_max,
        batch_len_max,
        keyspace,
        server_name: server_name.to_owned(),
    })
}
