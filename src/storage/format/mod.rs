//! The on-disk format, version 1: what a shard's log looks like, byte by byte, and nothing about files or syscalls.
//!
//! ```text
//! log      segment 1 │ segment 2 │ segment 3 (active) │ segment 4 (prepared: zeros)
//! segment  header, 4096 bytes │ block │ block │ block │ zeros …
//! block    header, 64 bytes │ entry │ entry │ zeros up to a multiple of 64          one a turn: one write, one fdatasync
//! entry    header, 32 bytes │ record │ record │ record                              one a partition touched in that turn
//! record   32 or 40 bytes │ key │ value │ zeros up to a multiple of 8               one effect
//! ```
//!
//! Everything is little-endian. `docs/on-disk-format.md` draws each structure and argues each crash; the
//! offsets there and the constants here are the same.
//!
//! **Positions.** The log is one long sequence of bytes, and a [`Position`] is an address in it. Segment
//! headers are not part of it: a segment that was activated at `base` holds position `p` at file offset
//! `SEGMENT_HEADER_LEN + (p - base)`, and the next segment's base is exactly the end of this one's last block.
//! The index points at records by position.
//!
//! **Who checks what.** Each layer is trusted only after its own checksum: the segment's header and the block's
//! header fit in one sector and carry a checksum each; a block's payload has one that recovery checks once for
//! all that is in it; a record has its own, for the reads that fetch it alone. Checksums of payloads and
//! records are seeded with the position at which the bytes belong, so that bytes that are right but in the
//! wrong place (a misdirected read or write) are refused too.
//!
//! **Why a log tag.** Recovery looks for blocks among bytes that clients chose. A block's header carries a
//! random number that the log got when it was created and that no client ever sees, so no value can pass for a
//! block.

mod block;
mod entry;
mod record;
mod segment;
#[cfg(test)]
mod tests;

pub use block::{
    BLOCK_HEADER_LEN, BlockError, BlockHeader, BlockKind, PayloadCheck, block_len, payload_crc,
    zero_sectors,
};
pub use entry::{ENTRY_HEADER_LEN, Entries, Entry, EntryError, EntryHeader, EntryKind};
pub use record::{
    RECORD_ALIGN, RECORD_LEN_MIN, Record, RecordAt, RecordCheck, RecordError, RecordKind, Records,
    record_len,
};
pub use segment::{
    FORMAT_VERSION, Given, LogTag, RemovedRange, SEGMENT_HEADER_LEN, SegmentError, SegmentHeader,
    SegmentState,
};

use crate::types::Position;

/// What a checksum over bytes at a position starts from: different positions give different seeds (but for one
/// in 2³²).
#[inline]
fn position_seed(position: Position) -> u32 {
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): 2⁶⁴ divided by the
    // golden ratio.
    (position.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

/// Whether all bytes are zero: the state of space that was prepared and never written.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| *chunk == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

#[inline]
pub(in crate::storage) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

#[inline]
pub(in crate::storage) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

#[inline]
pub(in crate::storage) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// The field at a constant offset of a structure whose length the caller has checked.
#[inline]
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..]
        .first_chunk()
        .expect("fields lie inside the structure, whose length was checked")
}

#[inline]
pub(in crate::storage) fn put<const N: usize>(out: &mut [u8], at: usize, field: [u8; N]) {
    out[at..at + N].copy_from_slice(&field);
}
