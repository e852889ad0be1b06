//! Disk operations and batches between shards, on their way.

use std::io;

use bytes::Bytes;

use super::disk::Death;
use super::history::Time;
use super::world::{Event, Phase, World};
use crate::runtime::driver::MeshBatch;
use crate::storage::disk::{DiskDone, DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::format::{Record, SEGMENT_HEADER_LEN};
use crate::storage::log::{OutgoingBlock, SegmentMemory};
use crate::types::{SegmentId, ShardId};

/// An operation that the disk has not finished.
#[derive(Debug)]
pub(super) struct InFlight {
    operation: DiskOperation,
    stage: Stage,
    /// How far its segment was synced when it was asked for.
    synced: usize,
    /// It is a read of the background scrub.
    is_scrub: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of it is done for certain.
    Submitted,
    /// A sync is under way that covers the writes up to this number.
    Syncing(u64),
}

/// The bytes of a block, as whoever writes it seals it.
fn sealed(block: &mut OutgoingBlock) -> Vec<u8> {
    block.seal(|| {});
    block.parts().flatten().copied().collect()
}

impl World {
    pub(super) fn submit(&mut self, shard: u16, ticket: u64, operation: DiskOperation) {
        let disk = &self.shards[usize::from(shard)].disk;
        let stage = match operation {
            DiskOperation::Sync { .. } => Stage::Syncing(disk.written()),
            _ => Stage::Submitted,
        };
        let is_scrub = self.is_scrub(shard, ticket);
        if is_scrub {
            self.rot_under_scrub(shard, &operation);
        } else if let DiskOperation::Read {
            segment,
            offset,
            len,
        } = operation
        {
            self.tally.cold_reads += 1;
            self.rot_under(shard, segment, offset as usize, len);
        }
        let disk = &self.shards[usize::from(shard)].disk;
        let synced = match operation {
            DiskOperation::Write { segment, .. } => disk.synced(segment),
            _ => 0,
        };
        let in_flight = InFlight {
            operation,
            stage,
            synced,
            is_scrub,
        };
        self.shards[usize::from(shard)]
            .in_flight
            .insert(ticket, in_flight);
        self.disk_later(shard, ticket);
    }

    /// A block that is not to be synced is with the kernel.
    pub(super) fn written_at_once(
        &mut self,
        shard: u16,
        segment: SegmentId,
        offset: u64,
        bytes: &[u8],
    ) {
        self.tally.written_at_once += 1;
        let disk = &mut self.shards[usize::from(shard)].disk;
        let synced = disk.synced(segment);
        disk.write_whole(segment, offset as usize, bytes, synced);
    }

    /// The record that is about to be read may rot before it is: nothing else makes sure that damage and a read ever meet.
    fn rot_under(&mut self, shard: u16, segment: SegmentId, offset: usize, len: usize) {
        if self.habits.rot_percent == 0 || self.phase != Phase::Load || !self.random.one_in(3) {
            return;
        }
        let disk = &mut self.shards[usize::from(shard)].disk;
        // More may be read than the record, and damage behind it would be none of the reader's.
        let bytes = disk.read(segment, offset, len);
        let Ok(record) = Record::parse(&bytes) else {
            return;
        };
        let damage = disk.rot_at(segment, offset, record.encoded_len(), &mut self.random);
        if let Some(damage) = damage {
            self.tally.flips += 1;
            self.note(|| format!("shard {shard}, under a read at {offset}: {damage:?}"));
        }
    }

    fn disk_later(&mut self, shard: u16, ticket: u64) {
        let slow = if self.random.one_in(50) { 20 } else { 1 };
        self.after(self.habits.disk_ns_max * slow, Event::Disk(shard, ticket));
    }

    /// Whether an operation of a kind fails that fails once in so many.
    fn fails(&mut self, one_in: u64) -> bool {
        let fails = one_in > 0 && self.phase == Phase::Load && self.random.one_in(one_in);
        self.tally.disk_errors += u64::from(fails);
        fails
    }

    pub(super) fn disk_step(&mut self, shard: u16, ticket: u64) {
        let index = usize::from(shard);
        let mut in_flight = self.shards[index]
            .in_flight
            .remove(&ticket)
            .expect("an operation is finished once");
        let outcome = self.outcome(index, &mut in_flight);
        match outcome {
            Some(outcome) => {
                self.mix(ticket << 1 | u64::from(outcome.is_err()));
                let scrubbed = match in_flight.is_scrub {
                    true => self.scrubbed(shard, &in_flight.operation, &outcome),
                    false => None,
                };
                self.with_driver(shard, |driver| {
                    driver.disk_completed(DiskTicket(ticket), outcome);
                });
                if let Some(scrubbed) = scrubbed {
                    self.check_scrubbed(shard, &scrubbed);
                }
            }
            None => {
                self.shards[index].in_flight.insert(ticket, in_flight);
                self.disk_later(shard, ticket);
            }
        }
    }

    /// Takes an operation one step further; `None` if it isn't done then.
    fn outcome(&mut self, shard: usize, in_flight: &mut InFlight) -> Option<DiskOutcome> {
        let habits = &self.habits;
        let one_in = match (&in_flight.operation, in_flight.stage) {
            (_, Stage::Syncing(_)) => habits.sync_error_one_in,
            (DiskOperation::Prepare { .. }, _) => habits.prepare_error_one_in,
            (DiskOperation::Write { .. }, _) => habits.write_error_one_in,
            (DiskOperation::Read { .. } | DiskOperation::Load(_), _) => habits.read_error_one_in,
            (DiskOperation::Summarize { .. }, _) => habits.prepare_error_one_in,
            (DiskOperation::Remove { .. }, _) => habits.remove_error_one_in,
            (DiskOperation::Sync { .. } | DiskOperation::Release(_), _) => 0,
        };
        let is_prepare = matches!(in_flight.operation, DiskOperation::Prepare { .. });
        let fails = self.fails(one_in) || (is_prepare && self.space == Some(0));
        let disk = &mut self.shards[shard].disk;
        let random = &mut self.random;
        let error = |code| Some(Err(io::Error::from_raw_os_error(code)));
        match (&mut in_flight.operation, in_flight.stage) {
            (
                DiskOperation::Write { segment, .. } | DiskOperation::Sync { segment },
                Stage::Syncing(number),
            ) => {
                if fails {
                    disk.sync_failed(*segment, random);
                    return error(libc::EIO);
                }
                disk.sync(*segment, number);
                Some(Ok(match &in_flight.operation {
                    DiskOperation::Write { block, .. } => DiskDone::Written(block.clone()),
                    _ => DiskDone::Synced,
                }))
            }
            (
                DiskOperation::Write {
                    segment,
                    offset,
                    block,
                    sync,
                },
                _,
            ) => {
                let bytes = sealed(block);
                if fails {
                    disk.write_in_part(*segment, *offset as usize, &bytes, random);
                    return error(libc::EIO);
                }
                disk.write_whole(*segment, *offset as usize, &bytes, in_flight.synced);
                if *sync {
                    in_flight.stage = Stage::Syncing(disk.written());
                    return None;
                }
                Some(Ok(DiskDone::Written(block.clone())))
            }
            (
                DiskOperation::Prepare {
                    segment,
                    len,
                    header,
                    memory,
                    ..
                },
                _,
            ) => {
                if fails {
                    disk.prepare_in_part(*segment, *len as usize, header, random);
                    return error(libc::ENOSPC);
                }
                disk.prepare(*segment, *len as usize, header);
                self.space = self.space.map(|segments| segments - 1);
                let memory = memory.take().map_or_else(
                    || SegmentMemory::new(*len as usize - SEGMENT_HEADER_LEN),
                    Ok,
                );
                Some(memory.map(DiskDone::Prepared))
            }
            (
                DiskOperation::Read {
                    segment,
                    offset,
                    len,
                },
                _,
            ) => {
                let is_bad = fails || disk.is_rotten(*segment, *offset as usize, *len);
                if is_bad && !in_flight.is_scrub {
                    self.tally.bad_reads += 1;
                    self.bad_reads
                        .insert((ShardId(shard as u16), *segment, *offset));
                }
                if fails {
                    return error(libc::EIO);
                }
                let bytes = disk.read(*segment, *offset as usize, *len);
                Some(Ok(DiskDone::Read(Bytes::from(bytes))))
            }
            (
                DiskOperation::Summarize {
                    segment,
                    end,
                    identifier,
                },
                _,
            ) => {
                if fails {
                    return error(libc::ENOSPC);
                }
                let summary = disk.summarize(*segment, *end, *identifier);
                self.tally.summaries_saved += u64::from(summary.is_ok());
                Some(
                    summary
                        .map(|summary| {
                            disk.put_summary(*segment, summary);
                            DiskDone::Summarized
                        })
                        .map_err(io::Error::other),
                )
            }
            (DiskOperation::Load(place), _) => {
                if fails {
                    return error(libc::EIO);
                }
                let len = SEGMENT_HEADER_LEN + place.len();
                let loaded = place.check_file(&disk.read(place.segment, 0, len));
                assert!(
                    loaded.is_ok() || disk.is_rotten(place.segment, 0, len),
                    "what is as it was written can be loaded: {loaded:?}"
                );
                self.tally.segments_loaded += u64::from(loaded.is_ok());
                Some(loaded.map(DiskDone::Loaded))
            }
            (
                DiskOperation::Remove {
                    stub,
                    header,
                    delete,
                },
                _,
            ) => {
                if fails {
                    disk.remove_in_part(*stub, header, delete, random);
                    return error(libc::EIO);
                }
                disk.remove(*stub, header, delete);
                self.space = self.space.map(|segments| segments + 1);
                self.tally.removals += 1;
                Some(Ok(DiskDone::Removed))
            }
            (DiskOperation::Sync { .. }, Stage::Submitted) => {
                unreachable!("a sync begins when it is submitted")
            }
            (DiskOperation::Release(_), _) => unreachable!("the port drops it at once"),
        }
    }

    /// The process dies: what was under way is done in part, and the disk is as the death leaves it.
    pub(super) fn disks_die(&mut self, death: Death) {
        for shard in &mut self.shards {
            for in_flight in std::mem::take(&mut shard.in_flight).into_values() {
                let random = &mut self.random;
                match (in_flight.operation, in_flight.stage) {
                    (
                        DiskOperation::Write {
                            segment,
                            offset,
                            mut block,
                            ..
                        },
                        Stage::Submitted,
                    ) => {
                        let bytes = sealed(&mut block);
                        shard
                            .disk
                            .write_in_part(segment, offset as usize, &bytes, random);
                    }
                    (
                        DiskOperation::Prepare {
                            segment,
                            len,
                            header,
                            ..
                        },
                        _,
                    ) => {
                        shard
                            .disk
                            .prepare_in_part(segment, len as usize, &header, random);
                    }
                    (
                        DiskOperation::Summarize {
                            segment,
                            end,
                            identifier,
                        },
                        _,
                    ) => {
                        shard
                            .disk
                            .summarize_in_part(segment, end, identifier, random);
                    }
                    (
                        DiskOperation::Remove {
                            stub,
                            header,
                            delete,
                        },
                        _,
                    ) => shard.disk.remove_in_part(stub, &header, &delete, random),
                    _ => {}
                }
            }
            shard.disk.die(death, &mut self.random);
        }
    }

    pub(super) fn mesh_sent(&mut self, from: u16, to: ShardId, batch: MeshBatch) {
        let delay = self.random.between(1, 30_000);
        let (batches, last) = self.channels.entry((from, to.0)).or_default();
        batches.push_back(batch);
        let time: Time = (*last).max(self.now + delay);
        *last = time;
        self.at(time, Event::Mesh(from, to.0));
    }

    pub(super) fn mesh_arrives(&mut self, from: u16, to: u16) {
        let (batches, _) = self.channels.entry((from, to)).or_default();
        let batch = batches
            .pop_front()
            .expect("a batch is there when it arrives");
        let room = self.with_driver(from, |driver| {
            let room = &mut driver.ports().channels[usize::from(to)];
            *room += 1;
            *room
        });
        if room == Some(1) {
            self.after(20_000, Event::MeshReady(from, to));
        }
        self.with_driver(to, |driver| driver.mesh_received(ShardId(from), batch));
    }
}
