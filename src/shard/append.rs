//! From staged effects to a block in the log's memory and on its way to the disk.
//!
//! A turn ends with at most one block: the effects of one partition together, each partition's in the order in which they were staged. Where the
//! block does not fit the log goes on in the next segment, once everything before it is synced.

use corduroy_proto_wire::Status;

use super::origin::Replies;
use super::pipeline::Operation;
use super::reserve::Purpose;
use super::staging::{Batch, Effect, Previous};
use super::{Shard, SyncMode};
use crate::limits;
use crate::storage::disk::{DiskOperation, DiskTicket};
use crate::storage::format::{BLOCK_HEADER_LEN, BlockKind};
use crate::storage::log::{BlockBuilder, BlockStamp};
use crate::types::{KeyspaceId, Now};

impl Shard {
    pub(super) fn append_batch(
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
        // Nor on a full disk: every second a little of the reserve would be gone.
        let mark =
            self.pipeline.time_mark_due && mark_interval_over && self.pipeline.full.is_none();
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
        let purpose = match seal {
            true => Purpose::Seal,
            false => Purpose::of(&self.batch),
        };
        let fits = self.fits_reserve(purpose, len);
        if !fits && !self.make_room(now, purpose, len, disk, out) {
            return;
        }
        self.write_block(now, &order, len, seal, disk);
    }

    /// Rotates to the next segment if that is possible now.
    pub(super) fn make_room(
        &mut self,
        now: Now,
        purpose: Purpose,
        len: usize,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
        out: &mut impl Replies,
    ) -> bool {
        if !self.log.can_rotate() {
            let is_full = self.pipeline.full.is_some() || self.pipeline.prepare_retry_at.is_some();
            if is_full {
                let reason = self
                    .statistics
                    .last_prepare_error
                    .clone()
                    .unwrap_or_default();
                self.refuse_batch(Status::ReadOnly, &reason, out);
                self.disk_is_full(now, reason);
                self.resume_waiting(now, out);
            }
            return false;
        }
        if self.pipeline.durable < self.log.end() {
            self.sync_now(disk);
            return false;
        }
        self.segment_left();
        self.log.rotate(now.wall);
        self.pipeline.tail_check_due = true;
        self.compaction.log_has_grown();
        assert!(
            len + BLOCK_HEADER_LEN <= self.log.capacity() as usize,
            "an empty segment holds the largest block, and a seal"
        );
        // A very long block waits for the segment after this, and nothing else may bring the turn in which that is asked for.
        self.prepare_segment(now, disk);
        self.fits_reserve(purpose, len)
    }

    /// The batch's effects, those of one partition together, each partition's in the order in which they were staged.
    pub(super) fn block_order(&self) -> Vec<u32> {
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

    pub(super) fn write_block(
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
        let written = self.wall_max.max(now.wall);
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
                // The latest time that the clock has shown, and not what it shows now: then the newest block proves as much as all before it
                // together, and those may go.
                written,
                kind,
            })
        });
        let client_bytes = batch.records_len - batch.copied_len;
        self.compaction
            .appended(now, client_bytes, batch.copied_len);
        place_in_flight(&mut batch);
        self.overlay.depart();
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
}

/// The batch's records are in the log's memory now: points effects that follow each other there.
fn place_in_flight(batch: &mut Batch) {
    for number in 0..batch.effects.len() {
        if let Previous::Effect(before) = batch.effects[number].previous {
            let before = &batch.effects[before as usize];
            batch.effects[number].previous = Previous::At(before.position, before.len);
        }
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
