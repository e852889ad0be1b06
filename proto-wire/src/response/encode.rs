//! From an answer to its frame.

use super::{
    HELLO_REPLY_HEADER_LEN, ITEM_HAS_EXPIRY, ITEM_HAS_VALUE, KEYSPACE_HEADER_LEN, RESULT_LEN_MIN,
    SCAN_ITEM_HEADER_LEN,
};
use crate::{
    Body, BodyKind, HelloReply, ItemResult, KeyspaceInfo, LENGTH_LEN, RESPONSE_HEADER_LEN,
    RequestId, Response, ScanItem, Status,
};

impl Response<'_> {
    /// How many bytes [`Response::encode`] appends, the length field included.
    #[inline]
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        LENGTH_LEN + RESPONSE_HEADER_LEN + body_len(&self.body)
    }

    /// Appends the answer to request `id` as one frame.
    ///
    /// # Panics
    ///
    /// If the answer breaks the protocol: an error status without [`Body::Error`] or the other way about, a name over
    /// 255 bytes, a scanned key over 65,535, or a frame of 4 GiB.
    #[inline]
    pub fn encode(&self, id: RequestId, out: &mut Vec<u8>) {
        let encoded_len = self.encoded_len();
        let frame_start = out.len();
        out.reserve(encoded_len);
        self.encode_header(id, out);
        match &self.body {
            Body::Empty => {}
            Body::Value(value) => out.extend_from_slice(value),
            other => encode_body(other, out),
        }
        assert_eq!(
            out.len() - frame_start,
            encoded_len,
            "the length field tells the frame's length"
        );
    }

    /// As [`Response::encode`], for an answer that ends with a value which is sent on its own, right behind what this appends, so that a
    /// large one need not be copied. Such are a [`Body::Value`], and a [`Body::Scan`] whose last key has a value.
    ///
    /// # Panics
    ///
    /// As [`Response::encode`], and if the answer does not end with a value.
    pub fn encode_but_last_value(&self, id: RequestId, out: &mut Vec<u8>) {
        self.encode_header(id, out);
        match &self.body {
            Body::Value(_) => {}
            Body::Scan { cursor, items } => {
                let (last, others) = items
                    .split_last()
                    .expect("an answer that ends with a value");
                let value_len = last.value.expect("an answer that ends with a value").len();
                out.extend_from_slice(&cursor.0);
                encode_u32(items.len(), out);
                others.iter().for_each(|item| encode_scan_item(item, out));
                encode_scan_key(last, out);
                encode_u32(value_len, out);
            }
            _ => panic!("an answer that ends with a value"),
        }
    }

    #[inline]
    fn encode_header(&self, id: RequestId, out: &mut Vec<u8>) {
        let kind = self.body.kind();
        assert_eq!(
            self.status.is_error(),
            kind == BodyKind::Error,
            "an error status has an error text, and only it"
        );
        let length = self.encoded_len() - LENGTH_LEN;
        out.extend_from_slice(&header(
            u32::try_from(length).expect("a frame's length fits a u32"),
            id,
            kind,
            self.status,
            self.version,
            self.timestamp_ms,
        ));
    }
}

/// The length field and the header behind it.
#[inline]
fn header(
    length: u32,
    id: RequestId,
    kind: BodyKind,
    status: Status,
    version: u64,
    timestamp_ms: u64,
) -> [u8; LENGTH_LEN + RESPONSE_HEADER_LEN] {
    let mut bytes = [0; LENGTH_LEN + RESPONSE_HEADER_LEN];
    bytes[0..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&id.to_le_bytes());
    bytes[8] = kind as u8;
    bytes[9] = status as u8;
    // Bytes 10 and 11 are flags, of which none has a meaning yet.
    bytes[12..20].copy_from_slice(&version.to_le_bytes());
    bytes[20..28].copy_from_slice(&timestamp_ms.to_le_bytes());
    bytes
}

#[inline]
fn body_len(body: &Body<'_>) -> usize {
    match body {
        Body::Empty => 0,
        Body::Value(value) => value.len(),
        Body::Counter(_) | Body::Number(_) => 8,
        Body::Ttl(left) => left.map_or(0, |_| 8),
        Body::Batch(results) => 4 + results.iter().map(result_len).sum::<usize>(),
        Body::Scan { cursor, items } => {
            cursor.0.len() + 4 + items.iter().map(scan_item_len).sum::<usize>()
        }
        Body::Keyspaces(keyspaces) => 4 + keyspaces.iter().map(keyspace_len).sum::<usize>(),
        Body::Status(text) | Body::Error(text) => text.len(),
        Body::Hello(reply) => {
            HELLO_REPLY_HEADER_LEN
                + reply.keyspace.as_ref().map_or(0, keyspace_len)
                + reply.server_name.len()
        }
    }
}

/// Appends the body, of kinds that are not worth inlining.
fn encode_body(body: &Body<'_>, out: &mut Vec<u8>) {
    match body {
        Body::Empty => {}
        Body::Value(value) => out.extend_from_slice(value),
        Body::Counter(value) => out.extend_from_slice(&value.to_le_bytes()),
        Body::Number(number) => out.extend_from_slice(&number.to_le_bytes()),
        Body::Ttl(left) => {
            if let Some(left_ms) = left {
                out.extend_from_slice(&left_ms.to_le_bytes());
            }
        }
        Body::Batch(results) => {
            encode_u32(results.len(), out);
            results.iter().for_each(|result| encode_result(result, out));
        }
        Body::Scan { cursor, items } => {
            out.extend_from_slice(&cursor.0);
            encode_u32(items.len(), out);
            items.iter().for_each(|item| encode_scan_item(item, out));
        }
        Body::Keyspaces(keyspaces) => {
            encode_u32(keyspaces.len(), out);
            keyspaces
                .iter()
                .for_each(|keyspace| encode_keyspace(keyspace, out));
        }
        Body::Status(text) | Body::Error(text) => out.extend_from_slice(text.as_bytes()),
        Body::Hello(reply) => encode_hello(reply, out),
    }
}

fn encode_hello(reply: &HelloReply, out: &mut Vec<u8>) {
    out.extend_from_slice(&reply.version.to_le_bytes());
    out.extend_from_slice(&reply.shard_count.to_le_bytes());
    out.extend_from_slice(&reply.shard.to_le_bytes());
    out.extend_from_slice(&u16::from(reply.keyspace.is_some()).to_le_bytes());
    out.extend_from_slice(&reply.frame_len_max.to_le_bytes());
    out.extend_from_slice(&reply.value_len_max.to_le_bytes());
    out.extend_from_slice(&reply.in_flight_max.to_le_bytes());
    out.extend_from_slice(&reply.batch_len_max.to_le_bytes());
    if let Some(keyspace) = &reply.keyspace {
        encode_keyspace(keyspace, out);
    }
    out.extend_from_slice(reply.server_name.as_bytes());
}

fn keyspace_len(keyspace: &KeyspaceInfo) -> usize {
    KEYSPACE_HEADER_LEN + keyspace.name.len()
}

fn encode_keyspace(keyspace: &KeyspaceInfo, out: &mut Vec<u8>) {
    out.extend_from_slice(&keyspace.id.to_le_bytes());
    out.extend_from_slice(&keyspace.partitions.to_le_bytes());
    out.push(u8::try_from(keyspace.name.len()).expect("a keyspace's name has at most 255 bytes"));
    out.extend_from_slice(keyspace.name.as_bytes());
}

fn result_len(result: &ItemResult<'_>) -> usize {
    RESULT_LEN_MIN + value_len(result.value)
}

fn encode_result(result: &ItemResult<'_>, out: &mut Vec<u8>) {
    out.push(result.status as u8);
    out.push(if result.value.is_some() {
        ITEM_HAS_VALUE
    } else {
        0
    });
    out.extend_from_slice(&result.version.to_le_bytes());
    out.extend_from_slice(&result.timestamp_ms.to_le_bytes());
    encode_value(result.value, out);
}

fn scan_item_len(item: &ScanItem<'_>) -> usize {
    SCAN_ITEM_HEADER_LEN
        + item.expires_at_ms.map_or(0, |_| 8)
        + item.key.len()
        + value_len(item.value)
}

fn encode_scan_item(item: &ScanItem<'_>, out: &mut Vec<u8>) {
    encode_scan_key(item, out);
    encode_value(item.value, out);
}

/// All of an item but its value.
fn encode_scan_key(item: &ScanItem<'_>, out: &mut Vec<u8>) {
    let has_value = if item.value.is_some() {
        ITEM_HAS_VALUE
    } else {
        0
    };
    let has_expiry = if item.expires_at_ms.is_some() {
        ITEM_HAS_EXPIRY
    } else {
        0
    };
    let key_len = u16::try_from(item.key.len()).expect("a key's length fits a u16");
    out.push(has_value | has_expiry);
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&item.version.to_le_bytes());
    out.extend_from_slice(&item.timestamp_ms.to_le_bytes());
    if let Some(expires_at_ms) = item.expires_at_ms {
        out.extend_from_slice(&expires_at_ms.to_le_bytes());
    }
    out.extend_from_slice(item.key);
}

fn value_len(value: Option<&[u8]>) -> usize {
    value.map_or(0, |value| 4 + value.len())
}

fn encode_value(value: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        encode_u32(value.len(), out);
        out.extend_from_slice(value);
    }
}

fn encode_u32(length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).expect("the frame's length, a u32, covers it");
    out.extend_from_slice(&length.to_le_bytes());
}
