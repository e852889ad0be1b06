//! What a shard has done behind its back, one thing at a time, by the thread that also makes its segments ready: older segments are taken back into
//! memory after a start, newest first, and segments that were left get their summaries.
//!
//! A summary costs a read of the whole segment. Under overwrites most segments are dead and gone soon after they were left, so where there is
//! compaction a segment's summary waits until some younger segments were left too, and for as long as less than half of it lives: then it is
//! compaction's next. When clients have written nothing for a moment, every segment gets its own.
//!
//! Neither is needed for anything that was promised. A record that is not in memory is read from disk, and a segment without a summary is
//! read whole at the next start. So a failure is counted and not tried again, a stop doesn't wait, and both stand behind what is needed.

use super::Shard;
use super::pipeline::Operation;
use super::statistics::StartStatus;
use crate::limits;
use crate::storage::disk::{DiskDone, DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::hash::KeyIdentifier;
use crate::types::{MonoNanos, Now, SegmentId};

impl Shard {
    /// After a start: older segments are to be taken back into memory, and these have no summary.
    pub(super) fn recovered_behind(&mut self, without_summary: Vec<SegmentId>) {
        self.pipeline.warming = true;
        self.pipeline.unsaved = without_summary.into();
    }

    /// How the shard started.
    pub(super) fn started(&mut self, start: StartStatus) {
        self.statistics.start = start;
    }

    /// The active segment is being left, and all of it is synced.
    pub(super) fn segment_left(&mut self) {
        self.pipeline.unsaved.extend(self.log.active());
        self.pipeline.save_look_due = true;
    }

    /// When it wants a turn though nothing arrives: segments wait for the clients to be quiet.
    pub(super) fn background_deadline(&self) -> Option<MonoNanos> {
        let pipeline = &self.pipeline;
        let waits = !pipeline.unsaved.is_empty()
            && !pipeline.in_background
            && pipeline.full.is_none()
            && !self.compaction.is_leaving();
        waits.then_some(MonoNanos(
            pipeline.save_looked_at.0 + limits::COMPACT_LOOK_NS,
        ))
    }

    /// Asks for the next thing that can be done in the background.
    pub(super) fn ask_background(&mut self, now: Now, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
        if !self.pipeline.refused_loads.is_empty() {
            let retired = std::mem::take(&mut self.pipeline.refused_loads);
            // Nothing comes back, so the ticket stands for nothing.
            let ticket = self.pipeline.next_ticket();
            disk.push((ticket, DiskOperation::Release(retired)));
        }
        let pipeline = &self.pipeline;
        let is_bad_time = pipeline.stopping || pipeline.failed.is_some();
        if pipeline.in_background || is_bad_time || self.compaction.is_leaving() {
            return;
        }
        if pipeline.warming {
            self.pipeline.warming = self.load_older(disk);
        }
        if !self.pipeline.in_background && self.pipeline.full.is_none() {
            self.save_next(now, disk);
        }
    }

    /// Asks for the newest segment that is not in memory, if there is room for it and for the segment that is made ready next.
    fn load_older(&mut self, disk: &mut Vec<(DiskTicket, DiskOperation)>) -> bool {
        let Some(place) = self.log.next_to_load(self.config.large_len) else {
            return false;
        };
        let next = match self.log.can_rotate() {
            true => 0,
            false => self.log.segment_len(),
        };
        if self.log.tail_bytes() + place.capacity + next > self.tail_budget() {
            return false;
        }
        let segment = place.segment;
        self.pipeline.in_background = true;
        self.pipeline.submit(
            Operation::Load { segment },
            DiskOperation::Load(place),
            disk,
        );
        true
    }

    fn save_next(&mut self, now: Now, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
        let pipeline = &mut self.pipeline;
        let is_time = now.mono.0 >= pipeline.save_looked_at.0 + limits::COMPACT_LOOK_NS;
        if pipeline.unsaved.is_empty() || !(pipeline.save_look_due || is_time) {
            return;
        }
        pipeline.save_look_due = false;
        pipeline.save_looked_at = now.mono;
        // Compaction may have taken some.
        let log = &self.log;
        pipeline.unsaved.retain(|id| log.end_of(*id).is_some());
        let takes_all = !self.config.compacts || self.compaction.is_idle(now);
        let chosen = self
            .pipeline
            .unsaved
            .iter()
            .position(|id| takes_all || self.is_worth_saving(*id));
        let Some(segment) = chosen.and_then(|at| self.pipeline.unsaved.remove(at)) else {
            return;
        };
        let Some(end) = self.log.end_of(segment) else {
            return;
        };
        self.pipeline.in_background = true;
        let identifier = KeyIdentifier::new(&self.config.hash_secret);
        self.pipeline.submit(
            Operation::Summarize,
            DiskOperation::Summarize {
                segment,
                end,
                identifier,
            },
            disk,
        );
    }

    /// Whether it looks as if a segment will still be there at the next start.
    fn is_worth_saving(&self, segment: SegmentId) -> bool {
        let is_old = self
            .log
            .active()
            .is_some_and(|active| active.0 > segment.0 + limits::SUMMARY_AGE_SEGMENTS);
        is_old
            && self
                .log
                .facts(segment)
                .is_some_and(|facts| facts.live >= (facts.end.0 - facts.base.0) / 2)
    }

    /// A segment's content has come back, or can't be read.
    pub(super) fn load_done(&mut self, segment: SegmentId, outcome: DiskOutcome) {
        self.pipeline.in_background = false;
        let loaded = match outcome {
            Ok(DiskDone::Loaded(loaded)) => loaded,
            Ok(other) => unreachable!("loading a segment does not end with {other:?}"),
            Err(_) => {
                self.pipeline.warming = false;
                self.statistics.load_failures += 1;
                return;
            }
        };
        // What has left memory meanwhile left it because there was no more room.
        if let Some(refused) = self.log.loaded(segment, loaded) {
            self.pipeline.warming = false;
            self.pipeline.refused_loads.push(refused);
        }
        self.pipeline.tail_check_due = true;
    }

    /// A summary is on disk, or will not be.
    pub(super) fn save_done(&mut self, outcome: &DiskOutcome) {
        self.pipeline.in_background = false;
        self.pipeline.save_look_due = true;
        match outcome {
            Ok(_) => self.statistics.summaries_saved += 1,
            Err(_) => self.statistics.summary_failures += 1,
        }
    }
}
