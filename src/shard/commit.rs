//! A block is what its sync mode asks for: its effects become what the index says, and whoever waited is answered. Or it will never be: then
//! whoever waited is told that.

use corduroy_proto_wire::{Body, ItemResult, Response, Status};

use super::Shard;
use super::origin::{Replies, ShardReply};
use super::staging::{Effect, PendingBody, PendingItem, PendingReply, Previous};
use crate::storage::format::RecordKind;
use crate::storage::prefetch::prefetch;
use crate::types::Now;

/// How many effects ahead of the one that is applied the index is asked for.
const APPLY_AHEAD: usize = 8;

impl Shard {
    /// The block in flight is what its sync mode asks for: apply it, answer, and look again at what waited for it.
    pub(super) fn commit(&mut self, now: Now, out: &mut impl Replies) {
        let mut batch = self
            .pipeline
            .flight
            .take()
            .expect("a block that completes was in flight");
        for number in 0..batch.effects.len() {
            if let Some(ahead) = batch.effects.get(number + APPLY_AHEAD) {
                self.prefetch_entry(ahead);
            }
            self.apply(&batch.effects[number]);
        }
        self.overlay.landed();
        self.compaction.committed(batch.copies);
        for group in batch
            .replies
            .chunk_by(|one, next| one.kind == next.kind && one.since == next.since)
        {
            let nanos = now.mono.0.saturating_sub(group[0].since.0);
            self.statistics
                .finished_many(group[0].kind, nanos, group.len() as u64);
        }
        for reply in &batch.replies {
            self.count_inside(now, reply);
            answer(reply, self.config.large_len, out);
        }
        batch.clear();
        self.pipeline.spare = Some(batch);
        self.resume_waiting(now, out);
    }

    /// Asks for the memory that [`Shard::apply`] will look at.
    #[inline]
    fn prefetch_entry(&self, effect: &Effect) {
        let shard_count = self.config.identity.shard_count;
        if let Some(keyspace) = self.keyspace(effect.partition.keyspace) {
            let partition = keyspace.partition(usize::from(effect.partition.index / shard_count));
            prefetch(partition.index.home(effect.hash));
        }
    }

    fn apply(&mut self, effect: &Effect) {
        let shard_count = self.config.identity.shard_count;
        let Some(keyspace) = self
            .keyspaces
            .iter_mut()
            .find(|keyspace| keyspace.id() == effect.partition.keyspace)
        else {
            return;
        };
        let partition = keyspace.partition_mut(usize::from(effect.partition.index / shard_count));
        if matches!(effect.kind, RecordKind::Delete | RecordKind::Clear) {
            self.log
                .add_tombstone(effect.position, u64::from(effect.len));
        }
        if effect.is_copy {
            self.apply_copy(effect);
            return;
        }
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
                        self.log.remove_live(old, u64::from(old_len));
                        true
                    }
                    _ => false,
                };
                partition.live_bytes += u64::from(effect.len);
                self.log.add_live(effect.position, u64::from(effect.len));
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
                    self.log.remove_live(old, u64::from(old_len));
                    keyspace.remove_keys(1);
                }
            }
            (RecordKind::Delete, _) => {}
            (RecordKind::Clear, _) => {
                if partition.clearing == Some(effect.version) {
                    partition.clearing = None;
                }
                partition.cleared = partition.cleared.max(effect.version);
                let dropped = partition.drop_table();
                keyspace.remove_keys(dropped.keys);
                self.log.drop_live(dropped.live_bytes);
                self.graveyard.bury(dropped.table);
            }
        }
    }

    /// What compaction has logged again is committed: the index follows, if it still points at what was copied. If not, the copy is dead: its key
    /// expired or was cleared meanwhile.
    fn apply_copy(&mut self, effect: &Effect) {
        let (RecordKind::Set, Previous::At(old, len)) = (effect.kind, effect.previous) else {
            return;
        };
        let shard_count = self.config.identity.shard_count;
        let Some(at) = self.keyspace_index(effect.partition.keyspace) else {
            return;
        };
        let local = usize::from(effect.partition.index / shard_count);
        let index = &mut self.keyspaces[at].partition_mut(local).index;
        if index.replace(effect.hash, old, effect.position, effect.len) {
            self.log.remove_live(old, u64::from(len));
            self.log.add_live(effect.position, u64::from(effect.len));
            if let Some(expiry) = effect.expiry {
                self.expiry
                    .insert(expiry, effect.partition, effect.hash, effect.position);
            }
        }
    }

    /// Counts the requests of a unit, if the reply is to one.
    fn count_inside(&mut self, now: Now, reply: &PendingReply) {
        if let PendingBody::Unit(answers) = &reply.body {
            for answer in answers.iter().filter(|answer| !answer.is_counted) {
                let nanos = now.mono.0.saturating_sub(answer.reply.since.0);
                self.statistics.finished(answer.reply.kind, nanos);
            }
        }
    }

    /// Replies of a batch without effects: whatever they depended on is committed.
    pub(super) fn answer_ready(&mut self, now: Now, out: &mut impl Replies) {
        let toil = std::mem::take(&mut self.batch.toil);
        let replies = std::mem::take(&mut self.batch.replies);
        for reply in &replies {
            self.statistics
                .finished(reply.kind, now.mono.0.saturating_sub(reply.since.0));
            self.count_inside(now, reply);
            answer(reply, self.config.large_len, out);
        }
        if toil > 0 {
            // It filled the batch, and nothing will commit.
            self.resume_waiting(now, out);
        }
    }

    /// Nothing of the current batch will be written: forget it. What waited for its commit must then be looked at again.
    pub(super) fn refuse_batch(&mut self, status: Status, reason: &str, out: &mut impl Replies) {
        assert!(
            self.pipeline.flight.is_none(),
            "a batch is refused only when nothing is in flight"
        );
        self.overlay.clear();
        self.compaction.lost_copies();
        for keyspace in &mut self.keyspaces {
            keyspace.forget_clearing();
        }
        for reply in std::mem::take(&mut self.batch.replies) {
            self.statistics.errors += 1;
            refuse(&reply, status, reason, out);
        }
        self.batch.clear();
    }
}

pub(super) fn refuse(reply: &PendingReply, status: Status, reason: &str, out: &mut impl Replies) {
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

pub(super) fn answer(reply: &PendingReply, large_len: usize, out: &mut impl Replies) {
    let items: Vec<ItemResult<'_>>;
    let body = match &reply.body {
        PendingBody::Done => {
            out.internal(reply.origin, ShardReply::Done);
            return;
        }
        PendingBody::Error(reason) => Body::Error(reason),
        PendingBody::Unit(answers) => {
            for one in answers {
                answer(&one.reply, large_len, out);
            }
            Body::Empty
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
