//! From a request to its frame. The length is computed first, so the buffer grows at most once and the length field is
//! written once; that the two agree is asserted.

use super::unit::{encode_unit, move_flags, unit_len};
use super::write::{delete_flags, encode_operands, expire_flags, operands_len, put_flags};
use super::{HELLO_NAMES_SHARD, SCAN_WITH_VALUES};
use crate::{
    BatchItem, Expiry, KeyspaceId, LENGTH_LEN, Opcode, REQUEST_HEADER_LEN, Request, RequestId, Ttl,
};

/// Bytes of an operation of a batch before its key.
pub(super) const ITEM_HEADER_LEN: usize = 8;

impl Request<'_> {
    /// How many bytes [`Request::encode`] appends, the length field included.
    ///
    /// What follows the length field is what a server's `frame_len_max` limits.
    #[inline]
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        LENGTH_LEN + REQUEST_HEADER_LEN + self.key_field().len() + self.rest_len()
    }

    /// Appends the request as one frame.
    ///
    /// # Panics
    ///
    /// If the request can't be told in a frame: a key, prefix or name over 65,535 bytes, or a frame of 4 GiB.
    /// [`Request::validate`] and the server's `frame_len_max` rule both out. Any other invalid request is encoded as it is,
    /// for the other side to refuse.
    #[inline]
    pub fn encode(&self, id: RequestId, out: &mut Vec<u8>) {
        let frame_start = out.len();
        let encoded_len = self.encoded_len();
        let length = u32::try_from(encoded_len - LENGTH_LEN).expect("a frame's length fits a u32");
        let key = self.key_field();
        let key_len = u16::try_from(key.len()).expect("a key's length fits a u16");

        out.reserve(encoded_len);
        out.extend_from_slice(&header(
            length,
            id,
            self.opcode(),
            self.flags(),
            key_len,
            self.keyspace(),
        ));
        out.extend_from_slice(key);
        match self {
            Request::Get { .. } => {}
            Request::Put { put, .. } => {
                encode_operands(put.ttl, &put.condition, out);
                out.extend_from_slice(put.value);
            }
            other => other.encode_rest(out),
        }
        assert_eq!(
            out.len() - frame_start,
            encoded_len,
            "the length field tells the frame's length"
        );
    }

    /// What stands where a key would: a key, a prefix, or a keyspace's name.
    #[inline]
    fn key_field(&self) -> &[u8] {
        match self {
            Request::Get { key, .. }
            | Request::Exists { key, .. }
            | Request::Ttl { key, .. }
            | Request::Touch { key, .. }
            | Request::Persist { key, .. }
            | Request::Add { key, .. }
            | Request::Append { key, .. }
            | Request::Overwrite { key, .. }
            | Request::AddFloat { key, .. }
            | Request::Expire { key, .. }
            | Request::ExpiresAt { key, .. } => key,
            Request::Move { source, .. } => source.1,
            Request::Put { put, .. } => put.key,
            Request::Delete { delete, .. } => delete.key,
            Request::Scan { prefix, .. } => prefix,
            Request::Hello(hello) => hello.keyspace.as_bytes(),
            Request::KeyspaceCreate { name, .. }
            | Request::KeyspaceDrop { name }
            | Request::KeyspaceOpen { name } => name.as_bytes(),
            Request::Backup { series } => series.as_bytes(),
            Request::Ping { .. }
            | Request::Batch { .. }
            | Request::AtomicBatch { .. }
            | Request::Count { .. }
            | Request::Flush { .. }
            | Request::KeyspaceList
            | Request::Status
            | Request::Compact
            | Request::Unit { .. } => &[],
        }
    }

    /// The header's keyspace; 0 where the request is not about one.
    #[inline]
    fn keyspace(&self) -> KeyspaceId {
        match self {
            Request::Get { keyspace, .. }
            | Request::Exists { keyspace, .. }
            | Request::Ttl { keyspace, .. }
            | Request::Put { keyspace, .. }
            | Request::Delete { keyspace, .. }
            | Request::Touch { keyspace, .. }
            | Request::Persist { keyspace, .. }
            | Request::Add { keyspace, .. }
            | Request::Append { keyspace, .. }
            | Request::Overwrite { keyspace, .. }
            | Request::AddFloat { keyspace, .. }
            | Request::Expire { keyspace, .. }
            | Request::ExpiresAt { keyspace, .. }
            | Request::Batch { keyspace, .. }
            | Request::AtomicBatch { keyspace, .. }
            | Request::Scan { keyspace, .. }
            | Request::Count { keyspace }
            | Request::Flush { keyspace } => *keyspace,
            Request::Move { source, .. } => source.0,
            Request::Hello(_)
            | Request::Ping { .. }
            | Request::KeyspaceCreate { .. }
            | Request::KeyspaceDrop { .. }
            | Request::KeyspaceList
            | Request::KeyspaceOpen { .. }
            | Request::Status
            | Request::Compact
            | Request::Backup { .. }
            | Request::Unit { .. } => 0,
        }
    }

    /// The header's flags.
    #[inline]
    fn flags(&self) -> u8 {
        match self {
            Request::Put { put, .. } => put_flags(put),
            Request::Delete { delete, .. } => delete_flags(delete),
            Request::Hello(hello) if hello.shard.is_some() => HELLO_NAMES_SHARD,
            Request::Scan {
                with_values: true, ..
            } => SCAN_WITH_VALUES,
            Request::Expire {
                expiry,
                condition,
                return_value,
                ..
            } => expire_flags(*expiry, *condition, *return_value),
            Request::Move {
                if_absent,
                keep_source,
                ..
            } => move_flags(*if_absent, *keep_source),
            _ => 0,
        }
    }

    /// How many bytes follow the key.
    #[inline]
    fn rest_len(&self) -> usize {
        match self {
            Request::Get { .. } => 0,
            Request::Put { put, .. } => operands_len(put.ttl, &put.condition) + put.value.len(),
            Request::Hello(hello) => 6 + hello.client_name.len(),
            Request::Ping { payload } => payload.len(),
            Request::Delete { delete, .. } => operands_len(Ttl::None, &delete.condition),
            Request::Touch { .. } | Request::Add { .. } => 8,
            Request::Append { suffix, .. } => suffix.len(),
            Request::Overwrite { bytes, .. } => 4 + bytes.len(),
            Request::AddFloat { increment, .. } => increment.len(),
            Request::Expire { expiry, .. } => match expiry {
                Expiry::Never => 0,
                Expiry::Millis(_) | Expiry::At(_) => 8,
            },
            Request::Move { destination, .. } => 4 + destination.1.len(),
            Request::Unit {
                preconditions,
                frames,
            } => unit_len(preconditions, frames),
            Request::Batch { items, .. } | Request::AtomicBatch { items, .. } => {
                4 + items.iter().map(item_len).sum::<usize>()
            }
            Request::Scan { cursor, .. } => cursor.0.len() + 4,
            Request::KeyspaceCreate { .. } => 2,
            Request::Exists { .. }
            | Request::Ttl { .. }
            | Request::Persist { .. }
            | Request::ExpiresAt { .. }
            | Request::Count { .. }
            | Request::Flush { .. }
            | Request::KeyspaceDrop { .. }
            | Request::KeyspaceList
            | Request::KeyspaceOpen { .. }
            | Request::Status
            | Request::Compact
            | Request::Backup { .. } => 0,
        }
    }

    /// Appends what follows the key, in requests that are not worth inlining.
    fn encode_rest(&self, out: &mut Vec<u8>) {
        match self {
            Request::Hello(hello) => {
                out.extend_from_slice(&hello.version_min.to_le_bytes());
                out.extend_from_slice(&hello.version_max.to_le_bytes());
                out.extend_from_slice(&hello.shard.unwrap_or(0).to_le_bytes());
                out.extend_from_slice(hello.client_name.as_bytes());
            }
            Request::Ping { payload } => out.extend_from_slice(payload),
            Request::Put { put, .. } => {
                encode_operands(put.ttl, &put.condition, out);
                out.extend_from_slice(put.value);
            }
            Request::Delete { delete, .. } => encode_operands(Ttl::None, &delete.condition, out),
            Request::Touch { ttl_ms, .. } => out.extend_from_slice(&ttl_ms.to_le_bytes()),
            Request::Add { delta, .. } => out.extend_from_slice(&delta.to_le_bytes()),
            Request::Append { suffix, .. } => out.extend_from_slice(suffix),
            Request::Overwrite { offset, bytes, .. } => {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Request::AddFloat { increment, .. } => out.extend_from_slice(increment),
            Request::Expire { expiry, .. } => match expiry {
                Expiry::Never => {}
                Expiry::Millis(ms) | Expiry::At(ms) => out.extend_from_slice(&ms.to_le_bytes()),
            },
            Request::Move { destination, .. } => {
                out.extend_from_slice(&destination.0.to_le_bytes());
                out.extend_from_slice(destination.1);
            }
            Request::Unit {
                preconditions,
                frames,
            } => encode_unit(preconditions, frames, out),
            Request::Batch { items, .. } | Request::AtomicBatch { items, .. } => {
                let count =
                    u32::try_from(items.len()).expect("the frame's length, a u32, covers it");
                out.extend_from_slice(&count.to_le_bytes());
                for item in items {
                    encode_item(item, out);
                }
            }
            Request::Scan { cursor, limit, .. } => {
                out.extend_from_slice(&cursor.0);
                out.extend_from_slice(&limit.to_le_bytes());
            }
            Request::KeyspaceCreate { partitions, .. } => {
                out.extend_from_slice(&partitions.to_le_bytes());
            }
            Request::Get { .. }
            | Request::Exists { .. }
            | Request::Ttl { .. }
            | Request::Persist { .. }
            | Request::ExpiresAt { .. }
            | Request::Count { .. }
            | Request::Flush { .. }
            | Request::KeyspaceDrop { .. }
            | Request::KeyspaceList
            | Request::KeyspaceOpen { .. }
            | Request::Status
            | Request::Compact
            | Request::Backup { .. } => {}
        }
    }
}

/// The length field and the header behind it.
#[inline]
fn header(
    length: u32,
    id: RequestId,
    opcode: Opcode,
    flags: u8,
    key_len: u16,
    keyspace: KeyspaceId,
) -> [u8; LENGTH_LEN + REQUEST_HEADER_LEN] {
    let [n0, n1, n2, n3] = length.to_le_bytes();
    let [i0, i1, i2, i3] = id.to_le_bytes();
    let [l0, l1] = key_len.to_le_bytes();
    let [k0, k1, k2, k3] = keyspace.to_le_bytes();
    [
        n0,
        n1,
        n2,
        n3,
        i0,
        i1,
        i2,
        i3,
        opcode as u8,
        flags,
        l0,
        l1,
        k0,
        k1,
        k2,
        k3,
    ]
}

/// How many bytes one operation of a batch takes up.
fn item_len(item: &BatchItem<'_>) -> usize {
    ITEM_HEADER_LEN
        + match item {
            BatchItem::Get { key } => key.len(),
            BatchItem::Put(put) => {
                put.key.len() + operands_len(put.ttl, &put.condition) + put.value.len()
            }
            BatchItem::Delete(delete) => {
                delete.key.len() + operands_len(Ttl::None, &delete.condition)
            }
        }
}

fn encode_item(item: &BatchItem<'_>, out: &mut Vec<u8>) {
    let (opcode, flags, key, value) = match item {
        BatchItem::Get { key } => (Opcode::Get, 0, *key, [].as_slice()),
        BatchItem::Put(put) => (Opcode::Put, put_flags(put), put.key, put.value),
        BatchItem::Delete(delete) => (
            Opcode::Delete,
            delete_flags(delete),
            delete.key,
            [].as_slice(),
        ),
    };
    let key_len = u16::try_from(key.len()).expect("a key's length fits a u16");
    let value_len = u32::try_from(value.len()).expect("the frame's length, a u32, covers it");
    out.push(opcode as u8);
    out.push(flags);
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(key);
    match item {
        BatchItem::Get { .. } => {}
        BatchItem::Put(put) => encode_operands(put.ttl, &put.condition, out),
        BatchItem::Delete(delete) => encode_operands(Ttl::None, &delete.condition, out),
    }
    out.extend_from_slice(value);
}
