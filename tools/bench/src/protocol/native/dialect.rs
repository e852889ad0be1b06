//! Requests and replies of the native protocol.
//!
//! Requests are written in place, without the codec's [`corduroy_proto_wire::Request`], which would want key and value as slices first;
//! the tests hold each to what the codec reads. Replies are read by the codec, except lists, for which it would allocate
//! ([`super::items`]).

use std::{borrow::Cow, sync::Arc};

use corduroy_proto_wire::{
    Body, CONNECTION_REQUEST_ID, Cursor, KeyspaceId, LENGTH_LEN, Opcode, REQUEST_HEADER_LEN,
    Response, Status, split,
};

use super::{HEAD_LEN, items};
use crate::{
    protocol::{
        Asked, Dialect, Found, KeyBytes, Malformed, Outcome, REPLY_LEN_MAX, Reply, Step, ValueBytes,
    },
    workload::{Ask, Operation},
};

/// The id of the request in slot 0.
pub(super) const FIRST_ID: u32 = CONNECTION_REQUEST_ID + 1;

/// Longest frame that is read, in bytes behind its length field.
pub(super) const FRAME_LEN_MAX: u32 = (REPLY_LEN_MAX - LENGTH_LEN) as u32;

/// A put's flags: a time to live follows.
const TTL_MILLIS: u8 = 2 << 3;
/// A put's flags: only if the key does not exist.
const IF_ABSENT: u8 = 1;
/// A put's flags: only at the version that follows.
const IF_VERSION: u8 = 3;

/// Bytes of a get in a batch before its key.
const ITEM_HEAD_LEN: usize = 8;
/// Bytes of a batch's count.
const COUNT_LEN: usize = 4;

/// Bytes of a batch's frame behind its length field, whose keys have so many bytes together.
pub(super) fn batch_len(count: usize, keys_len: usize) -> usize {
    REQUEST_HEADER_LEN + COUNT_LEN + count * ITEM_HEAD_LEN + keys_len
}

/// The native protocol as one thread speaks it.
#[derive(Clone, Debug)]
pub struct NativeDialect<K, V> {
    keyspace: KeyspaceId,
    starts: Arc<[Cursor]>,
    keys: K,
    values: V,
}

impl<K: KeyBytes, V: ValueBytes> NativeDialect<K, V> {
    /// On this keyspace; scans begin at one of `starts`, of which there is at least one.
    pub(super) fn new(
        keyspace: KeyspaceId,
        starts: Arc<[Cursor]>,
        keys: K,
        values: V,
    ) -> NativeDialect<K, V> {
        assert!(!starts.is_empty(), "a scan has to begin somewhere");
        NativeDialect {
            keyspace,
            starts,
            keys,
            values,
        }
    }

    /// Appends length field and header of a frame with `key_len` bytes of key and `rest_len` bytes behind it. Answers where the frame must end.
    #[inline]
    fn head(
        &self,
        slot: u32,
        opcode: Opcode,
        flags: u8,
        key_len: usize,
        rest_len: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        let length = REQUEST_HEADER_LEN + key_len + rest_len;
        out.reserve(LENGTH_LEN + length);
        let end = out.len() + LENGTH_LEN + length;
        let mut head = [0; HEAD_LEN];
        head[..4].copy_from_slice(&(length as u32).to_le_bytes());
        head[4..8].copy_from_slice(&(slot + FIRST_ID).to_le_bytes());
        head[8] = opcode as u8;
        head[9] = flags;
        head[10..12].copy_from_slice(&(key_len as u16).to_le_bytes());
        head[12..].copy_from_slice(&self.keyspace.to_le_bytes());
        out.extend_from_slice(&head);
        end
    }

    /// A request that is a key and a number of bytes behind it.
    #[inline]
    fn keyed(&self, slot: u32, opcode: Opcode, ask: &Ask, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let key_len = self.keys.key_len(ask.operation, ask.key);
        let end = self.head(slot, opcode, 0, key_len, rest.len(), out);
        self.keys.append(ask.operation, ask.key, out);
        out.extend_from_slice(rest);
        end
    }

    /// A put under the condition that these flags and operand say.
    #[inline]
    fn put(&self, slot: u32, ask: &Ask, condition: u8, version: &[u8], out: &mut Vec<u8>) -> usize {
        let key_len = self.keys.key_len(ask.operation, ask.key);
        let ttl_ms = ask.ttl_ms.to_le_bytes();
        let (ttl_flags, ttl) = match ask.ttl_ms {
            0 => (0, &ttl_ms[..0]),
            _ => (TTL_MILLIS, &ttl_ms[..]),
        };
        let rest_len = ttl.len() + version.len() + ask.value_len as usize;
        let flags = ttl_flags | condition;
        let end = self.head(slot, Opcode::Put, flags, key_len, rest_len, out);
        self.keys.append(ask.operation, ask.key, out);
        out.extend_from_slice(ttl);
        out.extend_from_slice(version);
        self.values.append(ask.key, ask.stamp, ask.value_len, out);
        end
    }

    fn batch(&self, slot: u32, ask: &Ask, out: &mut Vec<u8>) -> usize {
        let keys = ask.key..ask.key + u64::from(ask.count);
        let key_len = |number| self.keys.key_len(ask.operation, number);
        let keys_len = keys.clone().map(key_len).sum();
        let rest_len = batch_len(ask.count as usize, keys_len) - REQUEST_HEADER_LEN;
        let end = self.head(slot, Opcode::Batch, 0, 0, rest_len, out);
        out.extend_from_slice(&ask.count.to_le_bytes());
        for number in keys {
            let mut item = [0; ITEM_HEAD_LEN];
            item[0] = Opcode::Get as u8;
            item[2..4].copy_from_slice(&(key_len(number) as u16).to_le_bytes());
            out.extend_from_slice(&item);
            self.keys.append(ask.operation, number, out);
        }
        end
    }

    fn scan(&self, slot: u32, ask: &Ask, out: &mut Vec<u8>) -> usize {
        let start = self.starts[(ask.key % self.starts.len() as u64) as usize];
        let end = self.head(slot, Opcode::Scan, 0, 0, start.0.len() + COUNT_LEN, out);
        out.extend_from_slice(&start.0);
        out.extend_from_slice(&ask.count.to_le_bytes());
        end
    }
}

impl<K: KeyBytes, V: ValueBytes> Dialect for NativeDialect<K, V> {
    const IN_ORDER: bool = false;

    #[inline]
    fn request(&self, slot: u32, ask: &Ask, step: Step<'_>, out: &mut Vec<u8>) {
        use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, ReadModifyWrite, Scan};
        let end = match (ask.operation, step) {
            (Get, _) | (CompareAndSet | ReadModifyWrite, Step::First) => {
                self.keyed(slot, Opcode::Get, ask, &[], out)
            }
            (Put | ReadModifyWrite, _) => self.put(slot, ask, 0, &[], out),
            (CompareAndSet, Step::Second(Some(Found { token, .. }))) => {
                self.put(slot, ask, IF_VERSION, &token.to_le_bytes(), out)
            }
            (CompareAndSet, Step::Second(None)) => self.put(slot, ask, IF_ABSENT, &[], out),
            (Delete, _) => self.keyed(slot, Opcode::Delete, ask, &[], out),
            (Add, _) => self.keyed(slot, Opcode::Add, ask, &1_i64.to_le_bytes(), out),
            (Batch, _) => self.batch(slot, ask, out),
            (Scan, _) => self.scan(slot, ask, out),
        };
        assert_eq!(out.len(), end, "a key or value is as long as was said");
    }

    #[inline]
    fn reply<'a>(&self, bytes: &'a [u8], _: Option<Asked>) -> Result<Option<Reply<'a>>, Malformed> {
        let Some((frame, len)) = split(bytes, FRAME_LEN_MAX).map_err(|error| because(&error))?
        else {
            return Ok(None);
        };
        let (id, outcome) = match items::list(frame)? {
            Some(list) => (list.id, list.outcome()?),
            None => single(frame)?,
        };
        let slot = id.checked_sub(FIRST_ID).ok_or_else(|| ended(frame))?;
        Ok(Some(Reply {
            len,
            slot: Some(slot),
            outcome,
        }))
    }

    fn values<'a>(&self, ask: &Ask, reply: &'a [u8], visit: &mut dyn FnMut(u64, &'a [u8])) {
        let Ok(Some((frame, _))) = split(reply, FRAME_LEN_MAX) else {
            return;
        };
        if let Ok(Some(list)) = items::list(frame) {
            list.values(&mut |index, value| visit(ask.key.wrapping_add(index), value));
        }
    }
}

/// An answer that is no list.
#[inline]
fn single(frame: &[u8]) -> Result<(u32, Outcome<'_>), Malformed> {
    let (id, response) = Response::decode(frame).map_err(|error| because(&error))?;
    let outcome = match (response.status, response.body) {
        (Status::Ok, Body::Value(bytes)) => Outcome::Value {
            bytes,
            token: response.version,
        },
        (Status::Ok, Body::Empty) => Outcome::Done,
        (Status::Ok, Body::Counter(sum)) => Outcome::Counter(sum),
        (Status::NotFound, _) => Outcome::Missing,
        (Status::ConditionFailed, _) => Outcome::Conflict,
        (_, Body::Error(text)) => Outcome::Refused(text.as_bytes()),
        _ => {
            return Err(Malformed(Cow::Borrowed(
                "an answer to what was never asked",
            )));
        }
    };
    Ok((id, outcome))
}

#[cold]
pub(super) fn because(error: &dyn std::error::Error) -> Malformed {
    Malformed(error.to_string().into())
}

/// What an answer about the connection itself means.
#[cold]
fn ended(frame: &[u8]) -> Malformed {
    let words = match Response::decode(frame) {
        Ok((_, response)) => match response.body {
            Body::Error(text) => text.to_owned(),
            other => format!("{other:?}"),
        },
        Err(error) => error.to_string(),
    };
    Malformed(format!("the server ends the connection: {words}").into())
}

#[cfg(test)]
mod tests;
