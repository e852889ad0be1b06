//! From a frame to its request. A plain get and a plain put, which is nearly all traffic, are told by two comparisons and
//! decoded in place. Everything else, and everything that is wrong with those two, goes the long way, which says exactly
//! what is wrong.

use super::encode::ITEM_HEADER_LEN;
use super::unit::{decode_move, decode_unit};
use super::write::{decode_delete, decode_expire, decode_put, refuse_reserved};
use super::{
    HELLO_NAMES_SHARD, MOVE_IF_ABSENT, MOVE_KEEP_SOURCE, SCAN_WITH_VALUES, validate_batch_len,
};
use crate::reader::{Reader, utf8};
use crate::{
    ATOMIC_LEN_MAX, BATCH_LEN_MAX, BatchItem, Condition, Cursor, DecodeError, Hello, Opcode, Put,
    REQUEST_HEADER_LEN, Request, RequestHead, RequestId, Ttl, peek,
};

const GET: u8 = Opcode::Get as u8;
const PUT: u8 = Opcode::Put as u8;
const DELETE: u8 = Opcode::Delete as u8;

/// Fewest bytes of an operation of a batch: its header, and a key of one byte.
const ITEM_LEN_MIN: usize = ITEM_HEADER_LEN + 1;

impl<'a> Request<'a> {
    /// Reads the request of one frame, without its length field, as [`crate::split`] gives it.
    ///
    /// Keys and values are borrowed from the frame. Only batches allocate, and no more than a small multiple of the
    /// frame's own length.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what is wrong and, by [`DecodeError::status`], what to answer. The id to answer to is
    /// [`peek`]'s.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<(RequestId, Request<'a>), DecodeError> {
        let head = peek(frame)?;
        let rest = &frame[REQUEST_HEADER_LEN..];
        let key_len = usize::from(head.key_len);
        if head.flags == 0 && key_len != 0 {
            if head.opcode == GET && rest.len() == key_len {
                return Ok((
                    head.id,
                    Request::Get {
                        keyspace: head.keyspace,
                        key: rest,
                    },
                ));
            }
            if head.opcode == PUT
                && let Some((key, value)) = rest.split_at_checked(key_len)
            {
                let put = Put {
                    key,
                    value,
                    ttl: Ttl::None,
                    condition: Condition::Always,
                    return_value: false,
                };
                return Ok((
                    head.id,
                    Request::Put {
                        keyspace: head.keyspace,
                        put,
                    },
                ));
            }
        }
        decode_any(head, rest).map(|request| (head.id, request))
    }
}

/// The long way: any request, and a precise error for each that is none.
#[inline(never)]
fn decode_any(head: RequestHead, rest: &[u8]) -> Result<Request<'_>, DecodeError> {
    let opcode = Opcode::from_u8(head.opcode).ok_or(DecodeError::UnknownOpcode {
        opcode: head.opcode,
    })?;
    refuse_unused(opcode, head)?;
    let mut reader = Reader::new(rest);
    let key = reader.take(usize::from(head.key_len), "key")?;
    let keyspace = head.keyspace;
    let request = match opcode {
        Opcode::Hello => Request::Hello(decode_hello(head.flags, key, &mut reader)?),
        Opcode::Ping => Request::Ping {
            payload: reader.rest(),
        },
        Opcode::Status => Request::Status,
        Opcode::Compact => Request::Compact,
        Opcode::Backup => Request::Backup {
            series: utf8(key, "name of a series of backups")?,
        },
        Opcode::Get => Request::Get { keyspace, key },
        Opcode::Exists => Request::Exists { keyspace, key },
        Opcode::Ttl => Request::Ttl { keyspace, key },
        Opcode::Put => Request::Put {
            keyspace,
            put: decode_put(head.flags, key, None, &mut reader)?,
        },
        Opcode::Delete => Request::Delete {
            keyspace,
            delete: decode_delete(head.flags, key, &mut reader)?,
        },
        Opcode::Touch => Request::Touch {
            keyspace,
            key,
            ttl_ms: reader.u64("time to live")?,
        },
        Opcode::Persist => Request::Persist { keyspace, key },
        Opcode::Add => Request::Add {
            keyspace,
            key,
            delta: i64::from_le_bytes(reader.array("delta")?),
        },
        Opcode::Append => Request::Append {
            keyspace,
            key,
            suffix: reader.rest(),
        },
        Opcode::Overwrite => Request::Overwrite {
            keyspace,
            key,
            offset: reader.u32("offset")?,
            bytes: reader.rest(),
        },
        Opcode::AddFloat => Request::AddFloat {
            keyspace,
            key,
            increment: reader.rest(),
        },
        Opcode::Expire => {
            let (expiry, condition, return_value) = decode_expire(head.flags, &mut reader)?;
            Request::Expire {
                keyspace,
                key,
                expiry,
                condition,
                return_value,
            }
        }
        Opcode::ExpiresAt => Request::ExpiresAt { keyspace, key },
        Opcode::Batch => Request::Batch {
            keyspace,
            items: decode_items(&mut reader, BATCH_LEN_MAX)?,
        },
        Opcode::AtomicBatch => Request::AtomicBatch {
            keyspace,
            items: decode_items(&mut reader, ATOMIC_LEN_MAX)?,
        },
        Opcode::Scan => Request::Scan {
            keyspace,
            prefix: key,
            cursor: Cursor(reader.array("cursor")?),
            limit: reader.u32("scan limit")?,
            with_values: head.flags & SCAN_WITH_VALUES != 0,
        },
        Opcode::Count => Request::Count { keyspace },
        Opcode::Flush => Request::Flush { keyspace },
        Opcode::KeyspaceCreate => Request::KeyspaceCreate {
            name: utf8(key, "keyspace name")?,
            partitions: reader.u16("number of partitions")?,
        },
        Opcode::KeyspaceDrop => Request::KeyspaceDrop {
            name: utf8(key, "keyspace name")?,
        },
        Opcode::KeyspaceList => Request::KeyspaceList,
        Opcode::KeyspaceOpen => Request::KeyspaceOpen {
            name: utf8(key, "keyspace name")?,
        },
        Opcode::Move => decode_move(head.flags, (keyspace, key), &mut reader)?,
        Opcode::Unit => decode_unit(&mut reader)?,
    };
    reader.finish()?;
    request.validate()?;
    Ok(request)
}

/// Header fields that the request does not use must be zero. (The flags of a put, a delete and an expire are checked where
/// they are read.)
fn refuse_unused(opcode: Opcode, head: RequestHead) -> Result<(), DecodeError> {
    match opcode {
        Opcode::Put | Opcode::Delete | Opcode::Expire => {}
        Opcode::Hello => refuse_reserved(head.flags, !HELLO_NAMES_SHARD)?,
        Opcode::Scan => refuse_reserved(head.flags, !SCAN_WITH_VALUES)?,
        Opcode::Move => refuse_reserved(head.flags, !(MOVE_IF_ABSENT | MOVE_KEEP_SOURCE))?,
        _ => refuse_reserved(head.flags, u8::MAX)?,
    }
    let has_key_field = match opcode {
        Opcode::Hello | Opcode::Scan | Opcode::Move => true,
        Opcode::KeyspaceCreate | Opcode::KeyspaceDrop | Opcode::KeyspaceOpen => true,
        Opcode::Backup => true,
        other => other.has_key(),
    };
    if !has_key_field && head.key_len != 0 {
        return Err(DecodeError::ReservedNotZero {
            field: "key length",
            value: u64::from(head.key_len),
        });
    }
    let has_keyspace = match opcode {
        Opcode::Batch
        | Opcode::AtomicBatch
        | Opcode::Scan
        | Opcode::Count
        | Opcode::Flush
        | Opcode::Move => true,
        other => other.has_key(),
    };
    if !has_keyspace && head.keyspace != 0 {
        return Err(DecodeError::ReservedNotZero {
            field: "keyspace",
            value: u64::from(head.keyspace),
        });
    }
    Ok(())
}

fn decode_hello<'a>(
    flags: u8,
    keyspace: &'a [u8],
    reader: &mut Reader<'a>,
) -> Result<Hello<'a>, DecodeError> {
    let version_min = reader.u16("lowest version")?;
    let version_max = reader.u16("highest version")?;
    let shard = reader.u16("shard")?;
    let names_shard = flags & HELLO_NAMES_SHARD != 0;
    if !names_shard && shard != 0 {
        return Err(DecodeError::ReservedNotZero {
            field: "shard",
            value: u64::from(shard),
        });
    }
    Ok(Hello {
        version_min,
        version_max,
        shard: names_shard.then_some(shard),
        keyspace: utf8(keyspace, "keyspace name")?,
        client_name: utf8(reader.rest(), "client name")?,
    })
}

fn decode_items<'a>(
    reader: &mut Reader<'a>,
    len_max: usize,
) -> Result<Vec<BatchItem<'a>>, DecodeError> {
    let count = reader.u32("batch length")?;
    validate_batch_len(count as usize, len_max)?;
    let mut items = Vec::with_capacity(reader.reserve_for(count, ITEM_LEN_MIN));
    for _ in 0..count {
        items.push(decode_item(reader)?);
    }
    Ok(items)
}

fn decode_item<'a>(reader: &mut Reader<'a>) -> Result<BatchItem<'a>, DecodeError> {
    let opcode = reader.u8("operation's opcode")?;
    let flags = reader.u8("operation's flags")?;
    let key_len = reader.u16("operation's key length")?;
    let value_len = reader.u32("operation's value length")?;
    let key = reader.take(usize::from(key_len), "key")?;
    if opcode == PUT {
        return Ok(BatchItem::Put(decode_put(
            flags,
            key,
            Some(value_len),
            reader,
        )?));
    }
    let item = match opcode {
        GET => {
            refuse_reserved(flags, u8::MAX)?;
            BatchItem::Get { key }
        }
        DELETE => BatchItem::Delete(decode_delete(flags, key, reader)?),
        tag => {
            return Err(DecodeError::UnknownTag {
                field: "operation's opcode",
                tag,
            });
        }
    };
    match value_len {
        0 => Ok(item),
        len => Err(DecodeError::ReservedNotZero {
            field: "value length",
            value: u64::from(len),
        }),
    }
}
