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
//! - Without room for a new segment (a full disk) writes are refused until preparing one succeeds.

use std::collections::HashMap;
use std::io;

use corduroy_proto_wire::{Body, ItemResult, Response, Status};

use super::origin::{Replies, ShardReply};
use super::staging::{
    Batch, Effect, OverlayKey, PendingBody, PendingItem, PendingPlace, PendingReply, Previous,
};
use super::{Shard, SyncMode};
use crate::limits;
use crate::storage::disk::{DiskDone, DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::format::{BlockKind, RecordKind};
use crate::storage::log::{BlockBuilder, BlockStamp, OutgoingBlock};
use crate::types::{KeyspaceId, MonoNanos, Now, Position, SegmentId};

/// What a ticket stands for.
#[derive(Debug)]
enum Operation {
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
}

/// The state of the way to the disk.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    operations: HashMap<DiskTicket, Operation>,
    ticket_next: u64,
    /// What the block in flight holds.
    flight: Option<Batch>,
    /// An emptied batch, kept for its memory.
    spare: Option<Batch>,
    /// A block that was written, kept for its memory.
    spare_block: OutgoingBlock,
    /// Every byte of the log below this is on disk.
    durable: Position,
    /// Every byte of the log below this is with the kernel.
    written: Position,
    syncing: bool,
    /// When the first write since the last sync completed.
    unsynced_since: Option<MonoNanos>,
    preparing: bool,
    prepare_retry_at: Option<MonoNanos>,
    /// Writes are refused for good: the disk failed.
    failed: Option<String>,
    /// Writes are refused for now: no room for a segment.
    full: Option<String>,
    stopping: bool,
    /// The last block is a seal and everything is synced.
    sealed: bool,
    /// Keys expired since the last block: the log should prove that their time has passed.
    time_mark_due: bool,
    last_block_at: MonoNanos,
    /// The log has grown by a segment: older ones may have to leave memory.
    tail_check_due: bool,
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
        let mark_at = self
            .time_mark_due
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

    /// Blocks and their replies that are not committed yet.
    pub(super) fn replies_in_flight(&self) -> usize {
        self.flight.as_ref().map_or(0, |batch| batch.replies.len())
    }

    fn submit(
        &mut self,
        operation: Operation,
        disk: DiskOperation,
        out: &mut Vec<(DiskTicket, DiskOperation)>,
    ) {
        let ticket = self.next_ticket();
        self.operations.insert(ticket, operation);
        out.push((ticket, disk));
    }

    fn next_ticket(&mut self) -> DiskTicket {
        let ticket = DiskTicket(self.ticket_next);
        self.ticket_next += 1;
        ticket
    }
}

impl Shard {
    /// Gives a reply once everything staged so far is committed.
    pub(super) fn reply_after_commit(&mut self, reply: PendingReply) {
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
        self.graveyard.free_slice(limits::FREE_SLICE_BYTES);
        self.check_slice(now, out);
        self.submit_reads(disk);
        self.prepare_segment(now, disk);
        if self.pipeline.failed.is_none() {
            self.append_batch(now, disk, out);
            self.sync_on_time(now, disk);
        }
        if std::mem::take(&mut self.pipeline.tail_check_due) {
            let budget = self.tail_budget();
            let retired = self.log.shrink_tail(budget, self.pipeline.written);
            if !retired.is_empty() {
                // Nothing comes back, so the ticket stands for nothing.
                let ticket = self.pipeline.next_ticket();
                disk.push((ticket, DiskOperation::Release(retired)));
            }
        }
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
                self.pipeline.full = None;
                self.statistics.last_prepare_error = Some(prepare_failure(segment, &error));
            }
            (Operation::Read { position }, outcome) => {
                self.cold_read_done(now, position, outcome, out);
            }
        }
    }

    /// Begins a clean stop: what is staged is still written, then the log is sealed and synced.
    pub fn stop(&mut self) {
        self.pipeline.stopping = true;
    }

    /// Whether everything is on disk and nothing more will be submitted.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.pipeline.stopping
            && self.pipeline.flight.is_none()
            && !self.pipeline.syncing
            && !self.pipeline.preparing
            && (self.pipeline.failed.is_some()
                || self.pipeline.full.is_some()
                || self.pipeline.sealed)
    }

    fn prepare_segment(&mut self, now: Now, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
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

    fn append_batch(
        &mut self,
        now: Now,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
        out: &mut impl Replies,
    ) {
        if self.pipeline.flight.is_some() || self.pipeline.sealed {
            return;
        }
        let mark_interval_over =
            now.mono.0 >= self.pipeline.last_block_at.0 + limits::TIME_MARK_INTERVAL_NS;
        let mark = self.pipeline.time_mark_due && mark_interval_over;
        let seal = self.pipeline.stopping && self.batch.is_empty() && self.waiting.is_idle();
        if self.batch.effects.is_empty() && !mark && !seal {
            // Replies that depend on nothing in flight any more.
            self.answer_ready(now, out);
            return;
        }
        if seal && self.pipeline.durable < self.log.end() {
            // The seal testifies for all before it. In one sync with a block it might be there and that block torn, which
            // recovery would have to take for damage.
            self.sync_now(disk);
            return;
        }
        let order = self.block_order();
        let entries = count_entries(&order, &self.batch);
        let len = BlockBuilder::block_len(entries, self.batch.records_len);
        let fits = if seal {
            self.log.fits_as_last(len)
        } else {
            self.log.fits(len)
        };
        if !fits && !self.make_room(now, len, disk, out) {
            return;
        }
        self.write_block(now, &order, len, seal, disk);
    }

    /// Rotates to the next segment if that is possible now.
    fn make_room(
        &mut self,
        now: Now,
        len: usize,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
        out: &mut impl Replies,
    ) -> bool {
        if !self.log.can_rotate() {
            let waiting_for_retry = self.pipeline.prepare_retry_at.is_some();
            if waiting_for_retry {
                let reason = self
                    .statistics
                    .last_prepare_error
                    .clone()
                    .unwrap_or_default();
                self.refuse_batch(Status::ReadOnly, &reason, out);
                self.pipeline.full = Some(reason);
                self.resume_waiting(now, out);
            }
            return false;
        }
        if self.pipeline.durable < self.log.end() {
            self.sync_now(disk);
            return false;
        }
        self.log.rotate(now.wall);
        self.pipeline.tail_check_due = true;
        assert!(
            self.log.fits(len),
            "an empty segment holds the largest block"
        );
        true
    }

    /// The batch's effects, those of one partition together, each partition's in the order in which they were staged.
    fn block_order(&self) -> Vec<u32> {
        // Keyspace, partition and number fit into one integer, and sorting integers needs no stability.
        const _: () = assert!(limits::BATCH_EFFECTS_MAX + limits::BATCH_LEN_MAX <= 1 << 16);
        let key = |(number, effect): (usize, &Effect)| {
            let partition = effect.partition;
            u64::from(partition.keyspace.0) << 32 | u64::from(partition.index) << 16 | number as u64
        };
        let mut keys: Vec<u64> = self.batch.effects.iter().enumerate().map(key).collect();
        assert!(
            keys.len() <= 1 << 16,
            "a batch's effects are numbered in 16 bits"
        );
        keys.sort_unstable();
        keys.into_iter().map(|key| (key & 0xffff) as u32).collect()
    }

    fn write_block(
        &mut self,
        now: Now,
        order: &[u32],
        len: usize,
        seal: bool,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
    ) {
        let mut batch = std::mem::replace(
            &mut self.batch,
            self.pipeline.spare.take().unwrap_or_default(),
        );
        // Of the batch's keyspaces the lowest number comes first.
        let names_keyspaces = order.first().is_some_and(|&first| {
            batch.effects[first as usize].partition.keyspace == KeyspaceId::SYSTEM
        });
        let durable = self.pipeline.durable;
        let kind = if seal {
            BlockKind::Seal
        } else {
            BlockKind::Data
        };
        let keyspaces = &mut self.keyspaces;
        let spare = std::mem::take(&mut self.pipeline.spare_block);
        let plan = self.log.append(len, spare, |mut block, sequence| {
            let mut entry = None;
            for &number in order {
                let effect = batch.effects[number as usize];
                if entry != Some(effect.partition) {
                    entry = Some(effect.partition);
                    let index = keyspaces
                        .iter_mut()
                        .find(|keyspace| keyspace.id() == effect.partition.keyspace)
                        .map_or(0, |keyspace| keyspace.next_entry(effect.partition.index));
                    block.begin_entry(effect.partition, 0, index);
                }
                let position = match batch.encoded(&effect) {
                    (record, None) => block.push(record),
                    (head, Some(value)) => {
                        let padding = effect.len as usize - head.len() - value.len();
                        block.push_large(head, value, padding)
                    }
                };
                batch.effects[number as usize].position = position;
            }
            block.finish(BlockStamp {
                sequence,
                durable,
                written: now.wall,
                kind,
            })
        });
        self.place_in_flight(&mut batch);
        self.pipeline.flight = Some(batch);
        self.pipeline.time_mark_due = false;
        self.pipeline.last_block_at = now.mono;
        self.pipeline.sealed = seal;
        self.statistics.blocks += 1;
        self.statistics.block_bytes += len as u64;
        let sync =
            self.config.sync == SyncMode::Always || self.pipeline.stopping || names_keyspaces;
        self.pipeline.submit(
            Operation::Block {
                end: plan.end,
                synced: sync,
            },
            DiskOperation::Write {
                segment: plan.segment,
                offset: plan.offset,
                block: plan.block,
                sync,
            },
            disk,
        );
    }

    /// The batch's records are in the log's memory now: point the overlay, and effects that follow each other, there.
    fn place_in_flight(&mut self, batch: &mut Batch) {
        for number in 0..batch.effects.len() {
            let mut effect = batch.effects[number];
            if let Previous::Effect(before) = effect.previous {
                let before = &batch.effects[before as usize];
                effect.previous = Previous::At(before.position, before.len);
                batch.effects[number].previous = effect.previous;
            }
            let key = OverlayKey {
                partition: effect.partition,
                hash: effect.hash,
            };
            if let Some(pending) = self.overlay.get_mut(&key)
                && pending.version == effect.version
            {
                pending.place = PendingPlace::Flight(effect.position);
            }
        }
    }

    /// The block in flight is what its sync mode asks for: apply it, answer, and look again at what waited for it.
    fn commit(&mut self, now: Now, out: &mut impl Replies) {
        let mut batch = self
            .pipeline
            .flight
            .take()
            .expect("a block that completes was in flight");
        for number in 0..batch.effects.len() {
            self.apply(number, &batch);
        }
        for group in batch
            .replies
            .chunk_by(|one, next| one.kind == next.kind && one.since == next.since)
        {
            let nanos = now.mono.0.saturating_sub(group[0].since.0);
            self.statistics
                .finished_many(group[0].kind, nanos, group.len() as u64);
        }
        for reply in &batch.replies {
            answer(reply, self.config.large_len, out);
        }
        batch.clear();
        self.pipeline.spare = Some(batch);
        self.resume_waiting(now, out);
    }

    fn apply(&mut self, number: usize, batch: &Batch) {
        let effect = &batch.effects[number];
        let key = OverlayKey {
            partition: effect.partition,
            hash: effect.hash,
        };
        if self
            .overlay
            .get(&key)
            .is_some_and(|pending| pending.version == effect.version)
        {
            self.overlay.remove(&key);
        }
        let shard_count = self.config.identity.shard_count;
        let Some(keyspace) = self
            .keyspaces
            .iter_mut()
            .find(|keyspace| keyspace.id() == effect.partition.keyspace)
        else {
            return;
        };
        let partition = keyspace.partition_mut(usize::from(effect.partition.index / shard_count));
        match (effect.kind, effect.previous) {
            (RecordKind::Set, previous) => {
                let replaced = match previous {
                    Previous::At(old, old_len)
                        if partition.index.replace(
                            effect.hash,
                            old,
                            effect.position,
                            effect.len,
                        ) =>
                    {
                        partition.live_bytes -= u64::from(old_len);
                        self.log.remove_live(u64::from(old_len));
                        true
                    }
                    _ => false,
                };
                partition.live_bytes += u64::from(effect.len);
                self.log.add_live(u64::from(effect.len));
                if !replaced {
                    partition
                        .index
                        .insert(effect.hash, effect.position, effect.len);
                    keyspace.add_keys(1);
                }
                if let Some(expiry) = effect.expiry {
                    self.expiry
                        .insert(expiry, effect.partition, effect.hash, effect.position);
                }
            }
            (RecordKind::Delete, Previous::At(old, old_len)) => {
                if partition.index.remove(effect.hash, old) {
                    partition.live_bytes -= u64::from(old_len);
                    self.log.remove_live(u64::from(old_len));
                    keyspace.remove_keys(1);
                }
            }
            (RecordKind::Delete, _) => {}
            (RecordKind::Clear, _) => {
                partition.clearing = false;
                let dropped = partition.drop_table();
                keyspace.remove_keys(dropped.keys);
                self.log.remove_live(dropped.live_bytes);
                self.graveyard.bury(dropped.table);
            }
        }
    }

    /// Replies of a batch without effects: whatever they depended on is committed.
    fn answer_ready(&mut self, now: Now, out: &mut impl Replies) {
        let replies = std::mem::take(&mut self.batch.replies);
        for reply in &replies {
            self.statistics
                .finished(reply.kind, now.mono.0.saturating_sub(reply.since.0));
            answer(reply, self.config.large_len, out);
        }
    }

    fn sync_on_time(&mut self, now: Now, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
        if let (SyncMode::Interval { nanos }, Some(since)) =
            (self.config.sync, self.pipeline.unsynced_since)
            && now.mono.0 >= since.0 + nanos
        {
            self.sync_now(disk);
        }
    }

    fn sync_now(&mut self, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
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
    fn fail(&mut self, now: Now, what: &str, error: &io::Error, out: &mut impl Replies) {
        let reason = format!(
            "shard {} takes no writes: {what} of its log failed ({error}); restart the node on a healthy disk",
            self.config.identity.shard
        );
        if let Some(batch) = self.pipeline.flight.take() {
            for reply in &batch.replies {
                refuse(reply, Status::OutcomeUnknown, &reason, out);
            }
        }
        self.pipeline.failed.get_or_insert(reason.clone());
        self.refuse_batch(Status::ReadOnly, &reason, out);
        self.resume_waiting(now, out);
    }

    /// Nothing of the current batch will be written: forget it. What waited for its commit must then be looked at again.
    fn refuse_batch(&mut self, status: Status, reason: &str, out: &mut impl Replies) {
        assert!(
            self.pipeline.flight.is_none(),
            "a batch is refused only when nothing is in flight"
        );
        self.overlay.clear();
        for keyspace in &mut self.keyspaces {
            keyspace.forget_clearing();
        }
        for reply in std::mem::take(&mut self.batch.replies) {
            refuse(&reply, status, reason, out);
        }
        self.batch.clear();
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

fn count_entries(order: &[u32], batch: &Batch) -> usize {
    let partitions = order
        .iter()
        .map(|&effect| batch.effects[effect as usize].partition);
    let mut last = None;
    partitions
        .filter(|partition| last.replace(*partition) != Some(*partition))
        .count()
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

fn refuse(reply: &PendingReply, status: Status, reason: &str, out: &mut impl Replies) {
    if matches!(reply.body, PendingBody::Done) {
        out.internal(reply.origin, ShardReply::Failed(status, reason.to_owned()));
    } else {
        out.reply(
            reply.origin,
            &Response {
                status,
                version: 0,
                timestamp_ms: 0,
                body: Body::Error(reason),
            },
        );
    }
}

fn answer(reply: &PendingReply, large_len: usize, out: &mut impl Replies) {
    let items: Vec<ItemResult<'_>>;
    let body = match &reply.body {
        PendingBody::Done => {
            out.internal(reply.origin, ShardReply::Done);
            return;
        }
        PendingBody::Empty if reply.status == Status::NotACounter => {
            Body::Error(super::writes::NOT_A_COUNTER)
        }
        PendingBody::Empty => Body::Empty,
        PendingBody::Value(value) => Body::Value(value),
        PendingBody::Counter(value) => Body::Counter(*value),
        PendingBody::Number(value) => Body::Number(*value),
        PendingBody::Ttl(value) => Body::Ttl(*value),
        PendingBody::Items(results) => {
            items = results.iter().map(item).collect();
            Body::Batch(items)
        }
    };
    let response = Response {
        status: reply.status,
        version: reply.version.0,
        timestamp_ms: reply.timestamp.0,
        body,
    };
    match &reply.body {
        PendingBody::Value(value) if value.len() > large_len => {
            out.reply_large(reply.origin, &response, value.clone());
        }
        _ => out.reply(reply.origin, &response),
    }
}

fn item(result: &PendingItem) -> ItemResult<'_> {
    ItemResult {
        status: result.status,
        version: result.version,
        timestamp_ms: result.timestamp_ms,
        value: result.value.as_deref(),
    }
}
