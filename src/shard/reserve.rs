//! A reserve for a full disk: the end of the segment that is being filled.
//!
//! A segment's space is claimed when its file is made, long before it is written to. So the shard has space that nobody can take from it; it
//! only must not give it away to the writes that made the disk full. As long as the **next** segment is not ready, the active one is filled up to a limit
//! that depends on what the block is for:
//!
//! | a block with | leaves free of the active segment |
//! |---|---|
//! | writes, if making the next segment has failed | a half |
//! | writes, while the next segment is being made | a quarter |
//! | deletes and clears (and copies beside them) | an eighth |
//! | copies of compaction alone | the seal's header |
//! | the seal of a clean stop | nothing |
//!
//! When the next segment is ready, all of the active one may be filled: the next one is the reserve then.
//!
//! While the shard is full, writes are refused before they are staged, so that no block mixes them with what may go on. Compaction takes the
//! segments whose living records fit into what is left, with the greatest gain first; each one that goes gives a whole segment's
//! space back, the next segment can be made, and writes are taken again.
//!
//! In order: `disk_is_full` when a segment can't be made, or when what was staged finds no place; then [`Shard::check_may_write`] for each request
//! and [`Shard::fits_reserve`] for each block, until a segment is ready.

use corduroy_proto_wire::Status;

use super::staging::Batch;
use super::{Refusal, Shard};
use crate::limits;
use crate::storage::format::BLOCK_HEADER_LEN;
use crate::types::Now;

/// What a block is for, as far as the reserve is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// There is a new value in it.
    Write,
    /// It takes keys away, or tells the time.
    Delete,
    /// It holds what compaction keeps of a segment that is going.
    Copy,
    /// It ends the log.
    Seal,
}

impl Purpose {
    /// Of what is staged.
    pub(super) fn of(batch: &Batch) -> Purpose {
        if batch.sets > 0 {
            Purpose::Write
        } else if batch.copies > 0 && batch.copies == batch.effects.len() {
            Purpose::Copy
        } else {
            Purpose::Delete
        }
    }
}

impl Shard {
    /// Whether a block of `len` bytes fits into what it may use of the active segment.
    pub(super) fn fits_reserve(&self, purpose: Purpose, len: usize) -> bool {
        let left = self.log.room();
        let kept = match purpose {
            Purpose::Seal => 0,
            _ if self.log.can_rotate() => BLOCK_HEADER_LEN as u64,
            Purpose::Copy => BLOCK_HEADER_LEN as u64,
            Purpose::Delete => self.log.capacity() / limits::RESERVE_DELETE_SHARE,
            Purpose::Write if self.lacks_space() => {
                self.log.capacity() / limits::RESERVE_WRITE_SHARE
            }
            Purpose::Write => self.log.capacity() / limits::RESERVE_UNKNOWN_SHARE,
        };
        len as u64 + kept <= left
    }

    /// Whether the last attempt at the next segment has failed.
    fn lacks_space(&self) -> bool {
        self.pipeline.full.is_some() || self.pipeline.prepare_retry_at.is_some()
    }

    /// Whether the shard takes requests of this purpose.
    pub(super) fn check_may_write(&self, purpose: Purpose) -> Result<(), Refusal> {
        let Some(reason) = self.pipeline.refusing() else {
            return Ok(());
        };
        let goes_on = self.pipeline.failed.is_none()
            && purpose == Purpose::Delete
            // Not counting what is staged: what one request of a unit may, all may.
            && self.fits_reserve(purpose, 0);
        if goes_on {
            return Ok(());
        }
        Err(Refusal::new(Status::ReadOnly, reason))
    }

    /// There is no room for a segment: from now on, until there is, writes are refused.
    pub(super) fn disk_is_full(&mut self, now: Now, reason: String) {
        if self.pipeline.full.replace(reason).is_none() {
            self.compaction.disk_is_full(now);
        }
    }

    /// Whether what lives in a segment, so many bytes, can be copied. Blocks have headers, and padding.
    pub(super) fn has_room_to_copy(&self, bytes: u64) -> bool {
        self.pipeline.full.is_none()
            || bytes + bytes / 4 + limits::RESERVE_COPY_SLACK <= self.log.room()
    }

    /// Whether a clean stop can write its seal without another segment.
    pub(super) fn has_room_to_seal(&self) -> bool {
        self.fits_reserve(Purpose::Seal, BLOCK_HEADER_LEN)
    }
}
