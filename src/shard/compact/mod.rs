//! Compaction at work: carries out what `storage::compaction` decides, a slice a turn.
//!
//! # The way of a victim
//!
//! 1. **Walking.** Its records are looked at one by one, or those that the index points at (`gather`); what must outlive it is staged as a copy (`copy`),
//!    and becomes part of the turn's block like any write. A key that has an uncommitted effect is waited for: its record is about to die.
//! 2. **Settling.** All copies are committed.
//! 3. **Syncing.** The log is synced up to its end as of then. That covers the copies, and also whatever made the victim's other records dead:
//!    with `--sync interval` a newer record may be committed and still be lost to a power loss, and then the older one must be there.
//! 4. **Leaving.** Nobody reads from the segment any more, and nothing holds it (or it is given up for now), and the entries of dropped tables are counted out of it: its count of live
//!    bytes is zero, which is asserted.
//! 5. **Removing.** The disk port makes its file a stub. When that is on disk, the log forgets the segment.
//!
//! Anything that goes wrong before the last step gives the victim up: what was copied is copied, and nothing is lost. A segment that can't be read, or whose
//! removal failed, is left alone until the next start.
//!
//! # How much of a turn
//!
//! While clients write, each byte that they log earns a few bytes of work (`storage::compaction::pace`). When they have written nothing for a moment,
//! compaction takes a slice each turn until nothing is worth it.

mod copy;
mod gather;

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use corduroy_proto_wire::Status;

use self::gather::Search;
use super::Shard;
use super::keyspaces::Keyspace;
use super::origin::{Origin, Replies, ShardReply};
use super::pipeline::Operation;
use crate::limits;
use crate::storage::compaction::{self, Pace, Totals, Walk};
use crate::storage::disk::{DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::format::{Given, SEGMENT_HEADER_LEN};
use crate::storage::log::{Retired, SegmentFacts};
use crate::storage::recovery::RemovedSegments;
use crate::types::{MonoNanos, Now, Position, SegmentId};

/// How far a victim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Walking,
    /// A part of its file is being read.
    Reading,
    /// All is copied, and some of that not committed.
    Settling,
    /// All is committed, and has to be synced up to here.
    Syncing(Position),
    Leaving,
    Removing,
}

/// The segment that is being compacted.
#[derive(Debug)]
struct Victim {
    id: SegmentId,
    range: Range<Position>,
    search: Search,
    walk: Walk,
    /// What was read of its file last, and from where, in bytes from its base.
    read: Option<(u64, Bytes)>,
    stage: Stage,
    file_len: u64,
}

/// A round that an operator has asked for.
#[derive(Debug)]
struct Round {
    /// Segments before this one are to be compacted.
    end: SegmentId,
    /// Who is told when it is over.
    waiters: Vec<Origin>,
}

/// The state of compaction.
#[derive(Debug)]
pub(super) struct Compaction {
    victim: Option<Victim>,
    round: Option<Round>,
    /// Bytes of work that clients' writes have earned.
    credit: u64,
    /// Bytes of work for each byte of theirs.
    pace: u64,
    /// Copies that are staged or in flight.
    uncommitted: usize,
    /// Some of them will never be committed.
    is_lost: bool,
    /// The segment whose removal has failed: its file may be a stub by now.
    half_removed: Option<SegmentId>,
    /// A read of the victim's file is under way, or of the file of one that was given up.
    is_reading: bool,
    /// The log has changed since the policy was asked.
    look_due: bool,
    /// Something has changed since it was asked while the shard was idle.
    idle_look_due: bool,
    looked_at: MonoNanos,
    /// Clients' effects were logged last then.
    client_at: MonoNanos,
    /// Not before this.
    retry_at: Option<MonoNanos>,
    /// There is work for the next turn, whatever arrives.
    pub(super) has_slice: bool,
    /// As many copies are staged as a block takes.
    is_full: bool,
    /// Segments that can't be read or removed.
    left_alone: BTreeSet<SegmentId>,
    /// Memory of segments that were removed, to be given back.
    retired: Vec<Retired>,
    pub(super) copied_bytes: u64,
    pub(super) reclaimed_bytes: u64,
    pub(super) segments_removed: u64,
    pub(super) last_error: Option<String>,
}

impl Default for Compaction {
    fn default() -> Compaction {
        Compaction {
            victim: None,
            round: None,
            credit: 0,
            pace: 1,
            uncommitted: 0,
            is_lost: false,
            half_removed: None,
            is_reading: false,
            look_due: true,
            idle_look_due: true,
            looked_at: MonoNanos(0),
            client_at: MonoNanos(0),
            retry_at: None,
            has_slice: false,
            is_full: false,
            left_alone: BTreeSet::new(),
            retired: Vec::new(),
            copied_bytes: 0,
            reclaimed_bytes: 0,
            segments_removed: 0,
            last_error: None,
        }
    }
}

impl Compaction {
    /// Copies are committed.
    pub(super) fn committed(&mut self, copies: usize) {
        assert!(
            self.uncommitted >= copies || self.is_lost,
            "copies are staged before they are committed"
        );
        self.uncommitted = self.uncommitted.saturating_sub(copies);
    }

    /// What is staged and in flight will never be committed.
    pub(super) fn lost_copies(&mut self) {
        self.is_lost |= self.uncommitted > 0;
        self.uncommitted = 0;
    }

    /// A block was appended: so many bytes of clients' records, so many of copies.
    pub(super) fn appended(&mut self, now: Now, client_bytes: usize, copied: usize) {
        self.copied_bytes += copied as u64;
        // There is room for more while it is written. Where none could be appended, what it waits for brings the next turn.
        self.has_slice |= self.is_full;
        if client_bytes > 0 {
            let earned = client_bytes as u64 * self.pace;
            self.credit = (self.credit + earned).min(limits::COMPACT_CREDIT_MAX);
            self.client_at = now.mono;
            self.idle_look_due = true;
        }
    }

    /// The log has grown by a segment.
    pub(super) fn log_has_grown(&mut self) {
        self.look_due = true;
    }

    /// The disk has become full: what was begun may not fit any more. It looks again soon, when what is in flight is counted.
    pub(super) fn disk_is_full(&mut self, now: Now) {
        let is_walking = matches!(&self.victim, Some(victim) if victim.stage == Stage::Walking);
        if is_walking {
            self.victim = None;
            self.retry_at = Some(MonoNanos(now.mono.0 + limits::COMPACT_LOOK_NS));
        }
        self.look_due = true;
    }

    /// Keys have gone that no client took away just now.
    pub(super) fn keys_have_gone(&mut self) {
        self.idle_look_due = true;
    }

    #[cfg(test)]
    pub(super) fn uncommitted_copies(&self) -> usize {
        self.uncommitted
    }

    pub(super) fn is_removing(&self) -> bool {
        self.victim
            .as_ref()
            .is_some_and(|victim| victim.stage == Stage::Removing)
    }

    /// Whether a segment is about to go. Nothing is begun in the background then, for that may be of this segment.
    pub(super) fn is_leaving(&self) -> bool {
        let stage = self.victim.as_ref().map(|victim| victim.stage);
        matches!(stage, Some(Stage::Leaving | Stage::Removing))
    }

    /// The segment whose removal has failed, if one has: what is in its file is not known, and nothing needs it. Until the next start no other is removed.
    pub(super) fn half_removed(&self) -> Option<SegmentId> {
        self.half_removed
    }

    /// The segment that is being compacted.
    pub(super) fn victim(&self) -> Option<SegmentId> {
        self.victim.as_ref().map(|victim| victim.id)
    }

    /// Segments that it has given up.
    pub(super) fn left_alone(&self) -> u64 {
        self.left_alone.len() as u64
    }

    /// When it wants a turn though nothing arrives.
    pub(super) fn deadline(&self) -> Option<MonoNanos> {
        if let Some(victim) = &self.victim {
            let waits_for_idleness = victim.stage == Stage::Walking && self.idle_look_due;
            let idle_at = MonoNanos(self.client_at.0 + limits::COMPACT_IDLE_NS);
            return waits_for_idleness.then_some(idle_at);
        }
        let look_at = MonoNanos(self.looked_at.0 + limits::COMPACT_LOOK_NS);
        let look = self.idle_look_due.then_some(look_at);
        look.max(self.retry_at)
    }

    /// Whether clients have written nothing for a moment.
    pub(super) fn is_idle(&self, now: Now) -> bool {
        now.mono.0 >= self.client_at.0 + limits::COMPACT_IDLE_NS
    }
}

impl Shard {
    /// A round is asked for: answered when everything is compacted that is worth it.
    pub(super) fn compact_all(&mut self, origin: Origin, out: &mut impl Replies) {
        if let Some(reason) = &self.pipeline.failed {
            let failed = ShardReply::Failed(Status::ReadOnly, reason.clone());
            self.statistics.errors += 1;
            out.internal(origin, failed);
            return;
        }
        let Some(end) = self.log.active() else {
            out.internal(origin, ShardReply::Done);
            return;
        };
        let mut waiters = self
            .compaction
            .round
            .take()
            .map_or_else(Vec::new, |round| round.waiters);
        waiters.push(origin);
        self.compaction.round = Some(Round { end, waiters });
        self.compaction.look_due = true;
    }

    /// One turn's part of compaction: before the turn's block is put together.
    pub(super) fn compact(
        &mut self,
        now: Now,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
        out: &mut impl Replies,
    ) {
        self.compaction.has_slice = false;
        self.compaction.is_full = false;
        let retired = std::mem::take(&mut self.compaction.retired);
        if !retired.is_empty() {
            let ticket = self.pipeline.next_ticket();
            disk.push((ticket, DiskOperation::Release(retired)));
        }
        if std::mem::take(&mut self.compaction.is_lost) && !self.compaction.is_removing() {
            self.compaction.victim = None;
            self.compaction.retry_at = Some(MonoNanos(now.mono.0 + limits::COMPACT_RETRY_NS));
            self.compaction.look_due = true;
        }
        if self.pipeline.failed.is_some() || self.pipeline.stopping {
            self.end_round(out);
            return;
        }
        if self.compaction.victim.is_none() && !self.choose_victim(now, out) {
            return;
        }
        while self.compaction_step(now, disk) {}
    }

    /// Asks the policy. Says whether there is a victim.
    fn choose_victim(&mut self, now: Now, out: &mut impl Replies) -> bool {
        let compaction = &mut self.compaction;
        if compaction.retry_at.is_some_and(|at| now.mono < at) || compaction.is_reading {
            return false;
        }
        compaction.retry_at = None;
        let is_time = now.mono.0 >= compaction.looked_at.0 + limits::COMPACT_LOOK_NS;
        let is_due = compaction.look_due || (compaction.idle_look_due && is_time);
        if !is_due {
            return false;
        }
        let is_asked = self.config.compacts || compaction.round.is_some();
        if compaction.half_removed.is_some() || !is_asked {
            compaction.look_due = false;
            compaction.idle_look_due = false;
            self.end_round(out);
            return false;
        }
        let is_idle = compaction.is_idle(now);
        compaction.look_due = false;
        compaction.idle_look_due &= !is_idle;
        compaction.looked_at = now.mono;
        let is_full = self.pipeline.full.is_some();
        let eagerness = match (&compaction.round, self.log.active()) {
            (Some(round), _) => Pace::Forced(round.end),
            // All that can be gained is wanted now.
            (None, Some(active)) if is_full => Pace::Forced(active),
            _ if is_idle => Pace::Idle,
            _ => Pace::Loaded,
        };
        let left_alone = &self.compaction.left_alone;
        let segments: Vec<SegmentFacts> = self
            .log
            .sealed_segments()
            .map(|segment| {
                let kept = segment.live + segment.tombstones;
                SegmentFacts {
                    must_stay: segment.must_stay
                        || left_alone.contains(&segment.id)
                        || !self.has_room_to_copy(kept),
                    ..segment
                }
            })
            .collect();
        let totals = Totals {
            live: self.log.live_bytes(),
            files: segments.iter().map(|segment| segment.file_len).sum(),
            segment_len: self.log.segment_len(),
        };
        self.compaction.pace = compaction::pace(&totals);
        let chosen = compaction::choose(&segments, &totals, eagerness);
        let Some(chosen) = chosen.and_then(|id| segments.iter().find(|segment| segment.id == id))
        else {
            self.end_round(out);
            return false;
        };
        let is_free = chosen.live + chosen.tombstones == 0;
        let search = self.search_for(chosen);
        self.compaction.victim = Some(Victim {
            id: chosen.id,
            range: chosen.base..chosen.end,
            search,
            walk: Walk::new(chosen.base, chosen.end, self.log.tag()),
            read: None,
            stage: if is_free {
                Stage::Settling
            } else {
                Stage::Walking
            },
            file_len: chosen.file_len,
        });
        true
    }

    fn end_round(&mut self, out: &mut impl Replies) {
        let Some(round) = self.compaction.round.take() else {
            return;
        };
        let failed = self.pipeline.refusing().map(str::to_owned);
        for origin in round.waiters {
            let reply = match &failed {
                None => ShardReply::Done,
                Some(reason) => ShardReply::Failed(Status::ReadOnly, reason.clone()),
            };
            out.internal(origin, reply);
        }
    }

    /// Takes the victim a step further. Says whether it can go on at once.
    fn compaction_step(&mut self, now: Now, disk: &mut Vec<(DiskTicket, DiskOperation)>) -> bool {
        let Some(victim) = &self.compaction.victim else {
            return false;
        };
        let (id, range) = (victim.id, victim.range.clone());
        let next = match victim.stage {
            Stage::Walking => match self.walk_victim(now, disk) {
                Some(stage) => stage,
                None => return false,
            },
            Stage::Settling if self.compaction.uncommitted > 0 => return false,
            Stage::Settling if self.is_incomplete(victim) => Stage::Walking,
            Stage::Settling => Stage::Syncing(self.log.end()),
            Stage::Syncing(end) if self.pipeline.durable >= end => Stage::Leaving,
            Stage::Syncing(_) => {
                self.sync_now(disk);
                return false;
            }
            // A backup may take minutes: others can go meanwhile, and this one is chosen again when it is let go of.
            Stage::Leaving if self.log.is_held(id) => {
                self.compaction.victim = None;
                self.compaction.look_due = true;
                return false;
            }
            Stage::Leaving => {
                let is_read = self.waiting.reads_in(&range);
                let is_read = is_read || self.pipeline.in_background || self.scrub.is_reading(id);
                if is_read || !self.graveyard.is_empty() {
                    return false;
                }
                self.submit_removal(now, id, disk);
                Stage::Removing
            }
            Stage::Reading | Stage::Removing => return false,
        };
        if let Some(victim) = &mut self.compaction.victim {
            if victim.stage == Stage::Settling && next == Stage::Walking {
                victim.search = Search::Records;
            }
            victim.stage = next;
        }
        !matches!(next, Stage::Reading | Stage::Removing)
    }

    fn submit_removal(
        &mut self,
        now: Now,
        segment: SegmentId,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
    ) {
        let given = self.keyspaces.iter().map(Keyspace::given);
        let given = given.fold(self.given, Given::max);
        // Not before any block that holds a copy: a backup can be restored to any later moment.
        let removal = self
            .log
            .removal(segment, given, self.wall_max.max(now.wall));
        self.pipeline.submit(
            Operation::Remove {
                segment,
                stub: removal.stub,
            },
            DiskOperation::Remove {
                stub: removal.stub.stub,
                header: removal.header,
                delete: removal.delete,
            },
            disk,
        );
    }

    /// The victim's file is a stub, or it could not be made one.
    pub(super) fn removal_done(
        &mut self,
        segment: SegmentId,
        stub: RemovedSegments,
        outcome: DiskOutcome,
    ) {
        let victim = self
            .compaction
            .victim
            .take()
            .expect("a segment that is removed is the victim");
        assert_eq!(victim.id, segment, "one segment is removed at a time");
        match outcome {
            Ok(_) => {
                let retired = self.log.removed(segment, stub);
                self.compaction.retired.extend(retired);
                self.compaction.reclaimed_bytes += victim.file_len - SEGMENT_HEADER_LEN as u64;
                self.compaction.segments_removed += 1;
            }
            // Whether the file is a stub now is not known, and either is right: nothing needs what is in it. But nothing may rely on its being gone.
            // Nor may another stub go in whose range this one's file may lie by now: until the next start, which looks at the files, no other segment is removed.
            Err(error) => {
                self.compaction.half_removed = Some(segment);
                self.leave_alone(segment, 0, &format!("can't be removed: {error}"));
            }
        }
        self.compaction.look_due = true;
    }

    /// A part of the victim's file was read.
    pub(super) fn victim_read(
        &mut self,
        segment: SegmentId,
        at: u64,
        len: usize,
        outcome: DiskOutcome,
    ) {
        self.compaction.is_reading = false;
        let read = outcome.map(|done| done.into_bytes());
        let Some(victim) = self
            .compaction
            .victim
            .as_mut()
            .filter(|victim| victim.id == segment && victim.stage == Stage::Reading)
        else {
            // It was given up.
            self.compaction.look_due = true;
            return;
        };
        match read {
            Ok(bytes) if bytes.len() >= len => {
                victim.read = Some((at, bytes));
                victim.stage = Stage::Walking;
            }
            Ok(bytes) => {
                let reason = format!("ends after {} of {len} bytes", bytes.len());
                self.leave_alone(segment, at, &reason);
            }
            Err(error) => self.leave_alone(segment, at, &format!("can't be read: {error}")),
        }
    }

    /// Gives a segment up until the next start.
    fn leave_alone(&mut self, segment: SegmentId, at: u64, reason: &str) {
        let shard = self.config.identity.shard;
        let offset = SEGMENT_HEADER_LEN as u64 + at;
        self.compaction.last_error = Some(format!(
            "shard {shard}, segment {segment}, file offset {offset}: the segment is not compacted: {reason}"
        ));
        self.compaction.left_alone.insert(segment);
        self.compaction.victim = None;
        self.compaction.look_due = true;
    }
}
