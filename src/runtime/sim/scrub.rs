//! The background scrub on disks that rot: what it says is true, and what it has read it has judged.

use super::random::Random;
use super::world::{Phase, World};
use crate::limits::{SCRUB_PIECE_BYTES, SECTOR_LEN};
use crate::storage::disk::{DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::format::SEGMENT_HEADER_LEN;
use crate::types::SegmentId;

/// Draws of its own, so that the other worlds stay what they are.
const STREAM: u64 = 12;
/// Of its reads, one in so many is of what has rotted just then.
const ROTS_ONE_IN: u64 = 6;
/// Longer than any file.
const WHOLE_FILE: usize = 1 << 40;

pub(super) fn random(seed: u64) -> Random {
    Random::new(seed, STREAM)
}

/// A piece that the scrub has read: what may be expected of it.
pub(super) struct Scrubbed {
    segment: SegmentId,
    /// It holds rot, and everything in it is judged at once.
    must_be_found: bool,
    /// There is something to be found.
    may_be_found: bool,
    found_before: u64,
}

impl World {
    pub(super) fn is_scrub(&self, shard: u16, ticket: u64) -> bool {
        let driver = self.shards[usize::from(shard)].driver.as_ref();
        driver.is_some_and(|driver| driver.shard().is_scrub(DiskTicket(ticket)))
    }

    /// What is about to be read rots now and then: nothing else makes sure that damage and a read ever meet.
    pub(super) fn rot_under_scrub(&mut self, shard: u16, operation: &DiskOperation) {
        let DiskOperation::Read {
            segment,
            offset,
            len,
        } = *operation
        else {
            return;
        };
        self.tally.scrub_reads += 1;
        let rots = self.habits.rot_percent > 0
            && self.phase == Phase::Load
            && self.scrub_random.one_in(ROTS_ONE_IN);
        let disk = &mut self.shards[usize::from(shard)].disk;
        // Not one that is being written to: what rots there may look like a write that a crash has torn.
        if !rots || !disk.is_old(segment) {
            return;
        }
        let damage = disk.rot_at(segment, offset as usize, len, &mut self.scrub_random);
        if let Some(damage) = damage {
            self.tally.flips += 1;
            self.note(|| format!("shard {shard}, under a scrub: {damage:?}"));
        }
    }

    /// A read is going to end like this. If it is the scrub's: what is known of its piece.
    pub(super) fn scrubbed(
        &self,
        shard: u16,
        operation: &DiskOperation,
        outcome: &DiskOutcome,
    ) -> Option<Scrubbed> {
        let DiskOperation::Read {
            segment,
            offset,
            len,
        } = *operation
        else {
            return None;
        };
        let place = &self.shards[usize::from(shard)];
        let is_rotten = |at: usize, len: usize| place.disk.is_rotten(segment, at, len);
        let is_whole = offset == 0 && (len as u64) < SCRUB_PIECE_BYTES;
        // What salvage has given up is not checked, and in a header's padding there is nothing.
        let is_checked = self.tally.salvages == 0
            && (is_rotten(0, SECTOR_LEN)
                || is_rotten(SEGMENT_HEADER_LEN, len - SEGMENT_HEADER_LEN.min(len)));
        let driver = place.driver.as_ref()?;
        Some(Scrubbed {
            segment,
            must_be_found: outcome.is_err() || (is_whole && is_checked),
            may_be_found: outcome.is_err() || is_rotten(0, WHOLE_FILE),
            found_before: driver.shard().scrub_status().damage_found,
        })
    }

    /// The shard has taken the piece.
    pub(super) fn check_scrubbed(&mut self, shard: u16, scrubbed: &Scrubbed) {
        let taken = self.with_driver(shard, |driver| {
            let _ = driver.take_scrub_news();
            driver.shard().scrub_status()
        });
        let Some(status) = taken else {
            return;
        };
        let found = status.damage_found - scrubbed.found_before;
        self.tally.scrub_found += found;
        let segment = scrubbed.segment;
        assert!(
            found == 0 || scrubbed.may_be_found,
            "the scrub of shard {shard} finds damage in segment {segment}, which is as it was written: {:?}",
            status.damage
        );
        assert!(
            found > 0 || !scrubbed.must_be_found,
            "the scrub of shard {shard} has read damage in segment {segment}, and says nothing"
        );
        let name = format!("{segment}.seg");
        assert!(
            found == 0 || status.damage.iter().any(|place| place.file == name),
            "the scrub of shard {shard} counts damage in {name}, and does not name it"
        );
    }
}
