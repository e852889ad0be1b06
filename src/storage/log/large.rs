//! Finds the large values in a segment's content, when a start takes it into memory.

use std::ops::Range;

use crate::storage::format::{BLOCK_HEADER_LEN, BlockHeader, BlockKind, Entries, RecordAt};
use crate::types::Position;

/// The values longer than `large_len` in a segment's content, which recovery has checked or given up: each record's position, and where its value
/// lies in `content`, in order. `base` is the segment's.
pub(super) fn values_of(
    content: &[u8],
    base: Position,
    large_len: usize,
) -> impl Iterator<Item = (Position, Range<usize>)> {
    blocks(content)
        .filter(|(_, header)| header.kind == BlockKind::Data)
        .filter(move |(_, header)| header.payload_len as usize > large_len)
        .flat_map(move |(at, header)| {
            let payload = at + BLOCK_HEADER_LEN;
            let bytes = content.get(payload..payload + header.payload_len as usize);
            Entries::new(bytes.unwrap_or_default(), Position(base.0 + payload as u64))
        })
        // Salvage gave up blocks that make no sense, and nothing points into them: they end at their first error.
        .flatten()
        .flat_map(|entry| entry.records())
        .flatten()
        .filter(move |record| record.record.value.len() > large_len)
        .map(
            move |RecordAt {
                      position, record, ..
                  }| {
                let value_at = record.value.as_ptr() as usize - content.as_ptr() as usize;
                (position, value_at..value_at + record.value.len())
            },
        )
}

/// The blocks of a segment's content, each with where it begins.
fn blocks(content: &[u8]) -> impl Iterator<Item = (usize, BlockHeader)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = content.get(at..)?.first_chunk::<BLOCK_HEADER_LEN>()?;
        let header = BlockHeader::decode(header).ok()?;
        let begin = at;
        at += header.block_len() as usize;
        Some((begin, header))
    })
}
