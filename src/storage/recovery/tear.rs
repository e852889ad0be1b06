//! The heart of recovery: where the chain of blocks breaks, is that the end of the log, a torn write, or damage?
//!
//! The model of a crash. What was synced is as it was written. Of what was written and not synced, each
//! 512-byte sector independently holds its bytes as of some moment since it was last synced. The log is only
//! appended to, into space that was zeros, and a block's write begins when the one before has been written. So
//! each sector holds all blocks up to some block's end, then zeros. From this follow the only shapes that a
//! torn block can have:
//!
//! - Its header's sector is from before it: the header is zeros, and so is the rest of that sector.
//! - Its header is whole. Then that sector holds all of the block's bytes that fall in it, and of the following
//!   sectors each is whole or, as far as the block goes, zeros. If the checksum fails, a sector is zeros that
//!   should not be: there are more zero sectors than the header counts.
//!
//! A block in any other shape was not torn. One in these shapes was, unless something testifies that it was synced.

use super::chain::Span;
use super::error::{Fault, Proof};
use crate::limits::{BLOCK_ALIGN, SECTOR_LEN};
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockError, BlockHeader, LogTag, is_zero, zero_sectors,
};
use crate::types::Position;

/// What a break in the chain is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Zeros from here on: nothing was ever written here.
    End,
    /// What was in flight at a crash. Not zero up to `used`, in bytes from the segment's base.
    Torn { used: usize },
    /// Data that was synced is gone.
    Damaged(Proof),
}

/// Judges a break at `at`, in bytes from the segment's base. `block` is the header there, if one can be read.
pub(super) fn judge(
    span: &Span<'_>,
    log: LogTag,
    at: usize,
    fault: &Fault,
    block: Option<&BlockHeader>,
) -> Verdict {
    let position = Position(span.base.0 + at as u64);
    let used = used_len(span.log, at);
    if let Some(next) = span.next {
        // Where the next segment begins is unknown only if neither its header nor any block of it can be read.
        if span.next_base.is_none() && used <= at {
            return Verdict::End;
        }
        return Verdict::Damaged(Proof::LaterSegment {
            file: next.name.to_owned(),
        });
    }
    if let Some(witness) = witness(span, log, at, used) {
        return Verdict::Damaged(Proof::LaterBlock {
            position: witness.position,
            durable: witness.durable,
        });
    }
    if span.testimony > position {
        return Verdict::Damaged(Proof::LaterBlock {
            position: span.testimony,
            durable: span.testimony,
        });
    }
    let is_torn = match (fault, block) {
        (Fault::Missing, _) => is_zero(rest_of_sector(span.log, at)),
        (Fault::Payload { .. }, Some(block)) => {
            let payload = &span.log[at + BLOCK_HEADER_LEN..at + block.block_len() as usize];
            zero_sectors(payload, at as u64) > block.zero_sectors
        }
        _ => false,
    };
    match is_torn {
        true if used <= at => Verdict::End,
        true => Verdict::Torn { used },
        false => Verdict::Damaged(Proof::Sectors),
    }
}

/// The first block after `at` that testifies that what is at `at` was synced. Its own payload may be torn: its
/// header was written, and that is enough.
fn witness(span: &Span<'_>, log: LogTag, at: usize, used: usize) -> Option<BlockHeader> {
    let position = Position(span.base.0 + at as u64);
    // The last header may end in zeros, so `used` may lie inside it.
    let end = used.next_multiple_of(BLOCK_ALIGN).max(at + BLOCK_ALIGN);
    let later = span.log.get(..end).unwrap_or(span.log);
    span.blocks_in_place(later, at + BLOCK_ALIGN, log)
        .find(|block| block.durable > position)
}

/// All headers of blocks of this log at or after `from`, with their offsets: those that are whole, wherever
/// they belong.
pub(super) fn blocks(
    bytes: &[u8],
    from: usize,
    log: LogTag,
) -> impl Iterator<Item = (usize, BlockHeader)> + '_ {
    block_headers(bytes, from).filter(move |(_, block)| block.log == log)
}

/// All headers of blocks of any log at or after `from`, with their offsets.
pub(super) fn block_headers(
    bytes: &[u8],
    from: usize,
) -> impl Iterator<Item = (usize, BlockHeader)> + '_ {
    let (headers, _) = bytes
        .get(from..)
        .unwrap_or_default()
        .as_chunks::<BLOCK_HEADER_LEN>();
    headers
        .iter()
        .enumerate()
        .filter_map(move |(index, header)| {
            Some((
                from + index * BLOCK_ALIGN,
                BlockHeader::decode(header).ok()?,
            ))
        })
}

/// The header at `at`. Zeros, or no bytes at all, are [`Fault::Missing`].
pub(super) fn header_at(bytes: &[u8], at: usize) -> Result<BlockHeader, Fault> {
    let Some(header) = bytes.get(at..).and_then(|bytes| bytes.first_chunk()) else {
        return Err(Fault::Missing);
    };
    match BlockHeader::decode(header) {
        Err(BlockError::Magic) if is_zero(header) => Err(Fault::Missing),
        read => read.map_err(Fault::BlockHeader),
    }
}

/// Where the last byte at or after `at` that is not zero ends; `at` if there is none.
pub(super) fn used_len(bytes: &[u8], at: usize) -> usize {
    const STEP: usize = 4096;
    let mut used = at;
    // Forwards, as disks and kernels read ahead.
    for (index, chunk) in bytes.get(at..).unwrap_or_default().chunks(STEP).enumerate() {
        if !is_zero(chunk) {
            let last = chunk
                .iter()
                .rposition(|byte| *byte != 0)
                .unwrap_or_default();
            used = at + index * STEP + last + 1;
        }
    }
    used
}

fn rest_of_sector(bytes: &[u8], at: usize) -> &[u8] {
    let end = (at + 1).next_multiple_of(SECTOR_LEN).min(bytes.len());
    bytes.get(at..end).unwrap_or_default()
}
