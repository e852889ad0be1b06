//! From staged effects to committed ones: one block in flight, the next one filling.
//!
//! At most one block is being written at a time. Everything evaluated meanwhile gathers in the next batch, so the slower
//! the disk, the larger the groups; there is no timer. The order on disk is the order in the log, and a block's header
//! says how much of the log before it was known synced (`durable`), which is how recovery tells a torn tail from damage.
//!
//! # Rules
//!
//! - `sync always`: a block is committed when its write and the fdatasync after it have succeeded.
//! - `interval`, `never`: a block is committed when its write has succeeded; syncs follow on their own.
//! - In every mode a block that makes or drops a keyspace is committed when it is synced: if that were lost alone, the keyspace's number
//!   would be given again while other shards' logs still hold records under it.
//! - In every mode a clean stop syncs the whole log before the seal is written: the seal says that all before it is on disk.
//! - In every mode a segment is wholly synced before the first block of the next one is written.
//! - A write or sync that fails is never tried again and nothing that depends on it is acknowledged. The shard takes no
//!   writes from then on and goes on serving what is committed.
//! - Without room for a new segment (a full disk) writes are refused until preparing one succeeds; deletes, compaction and a clean stop go
//!   on in what is kept for them (`reserve`).

use std::collections::{HashMap, VecDeque};
use std::io;

use corduroy_proto_wire::Status;

use super::commit::{answer, refuse};
use super::origin::Replies;
use super::reserve::Purpose;
use super::staging::{Batch, Effect, PendingBody, PendingReply};
use super::{Shard, SyncMode};
use crate::limits;
use crate::storage::disk::{DiskDone, DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::log::{OutgoingBlock, Retired};
use crate::storage::recovery::RemovedSegments;
use crate::types::{MonoNanos, Now, Position, SegmentId};

/// What a ticket stands for.
#[derive(Debug)]
pub(super) enum Operation {
    /// The block in flight; once done, the log is on disk (or with the kernel) up to here.
    Block {
        end: Position,
        synced: bool,
    },
    /// A sync of everything up to here.
    Sync {
        end: Position,
    },
    Prepare {
        segment: SegmentId,
        len: u64,
    },
    Read {
        position: Position,
    },
    Summarize,
    Load {
        segment: SegmentId,
    },
    /// Of a part of a segment that is being compacted, from `at` bytes from its base on.
    ReadVictim {
        segment: SegmentId,
        at: u64,
        len: usize,
    },
    Remove {
        segment: SegmentId,
        stub: RemovedSegments,
    },
    /// Of a piece of a segment, to be checked.
    Scrub {
        segment: SegmentId,
        len: usize,
    },
}

/// The state of the way to the disk.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    pub(super) operations: HashMap<DiskTicket, Operation>,
    pub(super) ticket_next: u64,
    /// What the block in flight holds.
    pub(super) flight: Option<Batch>,
    /// An emptied batch, kept for its memory.
    pub(super) spare: Option<Batch>,
    /// A block that was written, kept for its memory.
    pub(super) spare_block: OutgoingBlock,
    /// Every byte of the log below this is on disk.
    pub(super) durable: Position,
    /// Every byte of the log below this is with the kernel.
    pub(super) written: Position,
    pub(super) syncing: bool,
    /// When the first write since the last sync completed.
    pub(super) unsynced_since: Option<MonoNanos>,
    pub(super) preparing: bool,
    pub(super) prepare_retry_at: Option<MonoNanos>,
    /// Writes are refused for good: the disk failed.
    pub(super) failed: Option<String>,
    /// Writes are refused for now: no room for a segment.
    pub(super) full: Option<String>,
    pub(super) stopping: bool,
    /// The last block is a seal and everything is synced.
    pub(super) sealed: bool,
    /// Keys expired since the last block: the log should prove that their time has passed.
    pub(super) time_mark_due: bool,
    pub(super) last_block_at: MonoNanos,
    /// The log has grown by a segment: older ones may have to leave memory.
    pub(super) tail_check_due: bool,
    /// A summary is being saved, or a segment loaded.
    pub(super) in_background: bool,
    /// Segments that were left and have no summary yet.
    pub(super) unsaved: VecDeque<SegmentId>,
    /// One of them may be worth one now.
    pub(super) save_look_due: bool,
    pub(super) save_looked_at: MonoNanos,
    /// After the start, older segments are still to be taken back into memory.
    pub(super) warming: bool,
    /// Segments that came back when there was no more room for them.
    pub(super) refused_loads: Vec<Retired>,
}

impl Pipeline {
    pub(super) fn refusing(&self) -> Option<&str> {
        self.failed.as_deref().or(self.full.as_deref())
    }

    pub(super) fn deadline(&self, sync: SyncMode) -> Option<MonoNanos> {
        if self.failed.is_some() {
            return None;
        }
        let sync_at = match (sync, self.unsynced_since) {
            (SyncMode::Interval { nanos }, Some(since)) if !self.syncing => {
                Some(MonoNanos(since.0 + nanos))
            }
            _ => None,
        };
        // See `append_batch`.
        let mark_at = (self.time_mark_due && self.full.is_none())
            .then(|| MonoNanos(self.last_block_at.0 + limits::TIME_MARK_INTERVAL_NS));
        [sync_at, mark_at, self.prepare_retry_at]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn mark_time(&mut self) {
        self.time_mark_due = true;
    }

    /// After recovery everything that was found is synced.
    pub(super) fn recovered(&mut self, end: Position) {
        self.durable = end;
        self.written = end;
    }

    /// An effect of the block in flight.
    #[inline]
    pub(super) fn in_flight(&self, number: u32) -> &Effect {
        let flight = self.flight.as_ref();
        &flight
            .expect("the overlay names effects that are in flight")
            .effects[number as usize]
    }

    /// Blocks and their replies that are not committed yet.
    pub(super) fn replies_in_flight(&self) -> usize {
        self.flight.as_ref().map_or(0, |batch| batch.replies.len())
    }

    pub(super) fn submit(
        &mut self,
        operation: Operation,
        disk: DiskOperation,
        out: &mut Vec<(DiskTicket, DiskOperation)>,
    ) {
        let ticket = self.next_ticket();
        self.operations.insert(ticket, operation);
        out.push((ticket, disk));
    }

    pub(super) fn next_ticket(&mut self) -> DiskTicket {
        let ticket = DiskTicket(self.ticket_next);
        self.ticket_next += 1;
        ticket
    }
}

impl Shard {
    /// Gives a reply once everything staged so far is committed.
    pub(super) fn reply_after_commit(&mut self, reply: PendingReply) {
        if let PendingBody::Value(value) = &reply.body
            && value.len() <= self.config.large_len
        {
            // It is a copy.
            self.batch.toil += value.len();
        }
        self.batch.replies.push(reply);
    }

    pub(super) fn reply_now(&mut self, reply: &PendingReply, out: &mut impl Replies) {
        self.statistics.finished(reply.kind, 0);
        answer(reply, self.config.large_len, out);
    }

    /// Ends a turn: appends what was staged if the disk is free, and adds the disk operations that this asks for.
    /// Refused writes are answered through `out`.
    pub fn end_turn(
        &mut self,
        now: Now,
        turn_began: MonoNanos,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
        out: &mut impl Replies,
    ) {
        self.expire(now);
        let log = &mut self.log;
        self.graveyard
            .free_slice(limits::FREE_SLICE_BYTES, |entry| {
                log.forget_live(entry.address, u64::from(entry.len_hint));
            });
        self.check_slice(now, out);
        self.submit_reads(disk);
        self.prepare_segment(now, disk);
        self.compact(now, disk, out);
        if self.pipeline.failed.is_none() {
            self.append_batch(now, disk, out);
            self.sync_on_time(now, disk);
        }
        self.approach_point(disk);
        if std::mem::take(&mut self.pipeline.tail_check_due) {
            let budget = self.tail_budget();
            let retired = self.log.shrink_tail(budget, self.pipeline.written);
            if !retired.is_empty() {
                // Memory is full: what was taken back just now would be read again and again.
                self.pipeline.warming = false;
                // Nothing comes back, so the ticket stands for nothing.
                let ticket = self.pipeline.next_ticket();
                disk.push((ticket, DiskOperation::Release(retired)));
            }
        }
        self.ask_background(now, disk);
        self.scrub(now, disk);
        self.statistics
            .turn_ended(now.mono.0.saturating_sub(turn_began.0));
    }

    /// Takes the outcome of a disk operation.
    pub fn disk_completed(
        &mut self,
        now: Now,
        ticket: DiskTicket,
        outcome: DiskOutcome,
        out: &mut impl Replies,
    ) {
        let operation = self
            .pipeline
            .operations
            .remove(&ticket)
            .expect("a completion belongs to an operation");
        match (operation, outcome) {
            // A sync failed while the block was being written: who waited for the block was told so already.
            (Operation::Block { .. }, Ok(_)) if self.pipeline.failed.is_some() => {}
            (Operation::Block { end, synced }, Ok(done)) => {
                let DiskDone::Written(block) = done else {
                    unreachable!("a block's write does not end with {done:?}")
                };
                self.log.written(end, &block);
                self.pipeline.spare_block = block.emptied();
                self.pipeline.written = end;
                if synced {
                    self.pipeline.unsynced_since = None;
                    self.pipeline.durable = end;
                } else {
                    self.pipeline.unsynced_since.get_or_insert(now.mono);
                }
                self.commit(now, out);
            }
            (Operation::Block { .. }, Err(error)) => self.fail(now, "write", &error, out),
            (Operation::Sync { end }, Ok(_)) => {
                self.pipeline.syncing = false;
                self.pipeline.durable = self.pipeline.durable.max(end);
                self.pipeline.unsynced_since =
                    (self.pipeline.written > self.pipeline.durable).then_some(now.mono);
            }
            (Operation::Sync { .. }, Err(error)) => {
                self.pipeline.syncing = false;
                self.fail(now, "fdatasync", &error, out);
            }
            (Operation::Prepare { segment, len }, Ok(done)) => {
                let DiskDone::Prepared(memory) = done else {
                    unreachable!("preparing a segment does not end with {done:?}")
                };
                self.pipeline.preparing = false;
                self.pipeline.prepare_retry_at = None;
                self.pipeline.full = None;
                self.log.prepared(segment, len, memory);
                self.pipeline.tail_check_due = true;
            }
            (Operation::Prepare { segment, .. }, Err(error)) => {
                self.pipeline.preparing = false;
                self.pipeline.prepare_retry_at =
                    Some(MonoNanos(now.mono.0 + limits::PREPARE_RETRY_NS));
                self.statistics.prepare_failures += 1;
                let reason = prepare_failure(segment, &error);
                self.statistics.last_prepare_error = Some(reason.clone());
                if self.pipeline.full.is_some() || !self.fits_reserve(Purpose::Write, 0) {
                    self.disk_is_full(now, reason);
                }
            }
            (Operation::Read { position }, outcome) => {
                self.cold_read_done(now, position, outcome, out);
            }
            (Operation::Summarize, outcome) => self.save_done(&outcome),
            (Operation::Load { segment }, outcome) => self.load_done(segment, outcome),
            (Operation::ReadVictim { segment, at, len }, outcome) => {
                self.victim_read(segment, at, len, outcome);
            }
            (Operation::Remove { segment, stub }, outcome) => {
                self.removal_done(segment, stub, outcome);
            }
            (Operation::Scrub { segment, len }, outcome) => {
                self.scrub_read(now, segment, len, outcome);
            }
        }
    }

    /// Begins a clean stop: what is staged is still written, then the log is sealed and synced.
    pub fn stop(&mut self) {
        self.pipeline.stopping = true;
    }

    /// Whether a block is on its way to disk, whose writers wait for it.
    #[must_use]
    pub fn has_block_in_flight(&self) -> bool {
        self.pipeline.flight.is_some()
    }

    /// Whether something waited for the block that was committed since the turn began: what was evaluated and is in no block yet, a segment whose last records
    /// were copied, the point of a backup. The outcome of an operation brings the next turn otherwise; that of a block that was written at once doesn't.
    #[must_use]
    pub fn goes_on_after_commit(&self) -> bool {
        !self.batch.effects.is_empty()
            || !self.batch.replies.is_empty()
            || self.compaction.victim().is_some()
            || self.waits_for_point()
    }

    /// Whether everything is on disk and nothing more will be submitted.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.pipeline.stopping
            && self.pipeline.flight.is_none()
            && !self.pipeline.syncing
            && !self.pipeline.preparing
            && !self.compaction.is_removing()
            && (self.pipeline.failed.is_some()
                || self.pipeline.sealed
                || (self.pipeline.full.is_some() && !self.has_room_to_seal()))
    }

    pub(super) fn prepare_segment(
        &mut self,
        now: Now,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
    ) {
        let pipeline = &mut self.pipeline;
        let too_early = pipeline.prepare_retry_at.is_some_and(|at| now.mono < at);
        let enough =
            pipeline.stopping && self.log.active().is_some() && self.batch.effects.is_empty();
        if pipeline.preparing || pipeline.failed.is_some() || enough || too_early {
            return;
        }
        let Some((segment, len)) = self.log.wants_prepared() else {
            return;
        };
        pipeline.preparing = true;
        pipeline.prepare_retry_at = None;
        let header = self.log.prepared_header(segment, len, now.wall);
        let memory = self.log.take_spare();
        pipeline.submit(
            Operation::Prepare { segment, len },
            DiskOperation::Prepare {
                segment,
                len,
                header,
                memory,
                zeros: self.config.sync == SyncMode::Always,
            },
            disk,
        );
    }

    pub(super) fn sync_on_time(&mut self, now: Now, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
        if let (SyncMode::Interval { nanos }, Some(since)) =
            (self.config.sync, self.pipeline.unsynced_since)
            && now.mono.0 >= since.0 + nanos
        {
            self.sync_now(disk);
        }
    }

    pub(super) fn sync_now(&mut self, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
        let Some(segment) = self.log.active() else {
            return;
        };
        if self.pipeline.syncing || self.pipeline.written <= self.pipeline.durable {
            return;
        }
        self.pipeline.syncing = true;
        let end = self.pipeline.written;
        self.pipeline.submit(
            Operation::Sync { end },
            DiskOperation::Sync { segment },
            disk,
        );
    }

    /// The disk failed under the block in flight or under a sync.
    pub(super) fn fail(&mut self, now: Now, what: &str, error: &io::Error, out: &mut impl Replies) {
        let reason = format!(
            "shard {} takes no writes: {what} of its log failed ({error}); restart the node on a healthy disk",
            self.config.identity.shard
        );
        if let Some(batch) = self.pipeline.flight.take() {
            for reply in &batch.replies {
                refuse(reply, Status::OutcomeUnknown, &reason, out);
            }
            self.overlay.landed();
        }
        self.pipeline.failed.get_or_insert(reason.clone());
        self.refuse_batch(Status::ReadOnly, &reason, out);
        self.resume_waiting(now, out);
    }

    pub(super) fn submit_read(
        &mut self,
        position: Position,
        len: u32,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
    ) -> bool {
        let Some(place) = self.log.place_of(position) else {
            return false;
        };
        let len = u64::from(len).min(place.available) as usize;
        self.pipeline.submit(
            Operation::Read { position },
            DiskOperation::Read {
                segment: place.segment,
                offset: place.offset,
                len,
            },
            disk,
        );
        true
    }
}

fn prepare_failure(segment: SegmentId, error: &io::Error) -> String {
    if error.raw_os_error() == Some(libc::ENOSPC) {
        format!(
            "disk full: there is no room for segment {segment} of the log; free space and writes are taken again"
        )
    } else {
        format!("segment {segment} of the log can't be made: {error}")
    }
}
