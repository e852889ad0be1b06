//! Backups of shards, taken while everything else goes on, and what comes out of them.
//!
//! A shard is asked for its point at some moment; the files are copied one by one, at moments of their own, while clients write, compaction removes segments
//! and the disk fails. Whatever the copies say is then recovered like any log, and held against two things:
//!
//! - **the log as it was at the point**: the same records below it, and nothing behind it; no block is torn, and nothing is to be repaired;
//! - **what clients were told**: of each key, no version that was acknowledged before the backup was asked for is missing, and none is there that was asked for
//!   after the point was named.
//!
//! A death ends a backup: it would be deleted.

use std::collections::BTreeMap;

use super::disk::SimDisk;
use super::history::{Outcome, Place, Time};
use super::random::Random;
use super::salvage::{Noted, Notes, read, state_of};
use super::world::{Event, Phase, World};
use crate::shard::backup::ShardPoint;
use crate::storage::format::{SEGMENT_HEADER_LEN, SegmentHeader, SegmentState};
use crate::storage::log::{PointFile, PointFileKind};
use crate::storage::recovery::{SegmentFile, recover};
use crate::types::{PartitionId, SegmentId, Version};

/// All backups that are being taken, and when the next ones are.
#[derive(Debug)]
pub(super) struct Backups {
    random: Random,
    /// In some worlds there are none.
    is_on: bool,
    taking: BTreeMap<u16, Taking>,
}

/// One shard's backup.
#[derive(Debug)]
struct Taking {
    asked_at: Time,
    pointed: Option<Pointed>,
}

#[derive(Debug)]
struct Pointed {
    point: ShardPoint,
    at: Time,
    /// The records below the point, as a reader saw them then.
    expected: Vec<Noted>,
    copied: Vec<(SegmentId, Vec<u8>)>,
}

impl Backups {
    pub(super) fn new(seed: u64) -> Backups {
        let mut random = Random::new(seed, 10);
        Backups {
            is_on: random.percent(60),
            random,
            taking: BTreeMap::new(),
        }
    }

    /// The process is gone.
    pub(super) fn new_life(&mut self) {
        self.taking.clear();
    }
}

impl World {
    /// In a round of load: a backup of each shard begins somewhen.
    pub(super) fn plan_backups(&mut self, round_end: Time) {
        if !self.backups.is_on {
            return;
        }
        for shard in 0..self.habits.shard_count {
            let at = self.backups.random.between(self.now, round_end);
            self.at(at, Event::Backup(shard));
        }
    }

    /// Files take long to copy, now and then very long: compaction must have the time to come to each of them.
    fn backup_later(&mut self, shard: u16) {
        let slow = if self.backups.random.one_in(4) {
            200
        } else {
            10
        };
        let longest = self.habits.disk_ns_max * slow;
        let delay = self.backups.random.between(1, longest);
        self.at(self.now + delay, Event::Backup(shard));
    }

    /// A backup goes a step further.
    pub(super) fn backup_step(&mut self, shard: u16) -> Result<(), String> {
        let index = usize::from(shard);
        let Some(driver) = self.shards[index].driver.as_mut() else {
            return Ok(());
        };
        let Some(taking) = self.backups.taking.get_mut(&shard) else {
            if self.phase == Phase::Load {
                driver.begin_backup();
                let taking = Taking {
                    asked_at: self.now,
                    pointed: None,
                };
                self.backups.taking.insert(shard, taking);
            }
            return Ok(());
        };
        let Some(pointed) = &mut taking.pointed else {
            return Ok(());
        };
        let disk = &self.shards[index].disk;
        match pointed.point.log.files.get(pointed.copied.len()) {
            Some(file) => match copy(disk, file) {
                Some(bytes) => pointed.copied.push((file.segment, bytes)),
                None => {
                    // A removal that failed may have been carried out all the same.
                    let is_excused =
                        self.habits.remove_error_one_in > 0 || !disk.rotten_segments().is_empty();
                    self.end_backup(shard);
                    return match is_excused {
                        true => Ok(()),
                        false => Err(format!("shard {shard}: a file that is held is gone")),
                    };
                }
            },
            None => {
                let taking = self.end_backup(shard);
                return taking.map_or(Ok(()), |taking| self.check_backup(shard, taking));
            }
        }
        self.backup_later(shard);
        Ok(())
    }

    fn end_backup(&mut self, shard: u16) -> Option<Taking> {
        if let Some(driver) = self.shards[usize::from(shard)].driver.as_mut() {
            driver.end_backup();
        }
        self.backups.taking.remove(&shard)
    }

    /// After a turn: the shard may have named its point.
    pub(super) fn look_for_point(&mut self, shard: u16) -> Result<(), String> {
        let index = usize::from(shard);
        if !self.backups.taking.contains_key(&shard) {
            return Ok(());
        }
        let driver = self.shards[index].driver.as_mut();
        let Some(point) = driver.and_then(super::super::driver::Driver::backup_point) else {
            return Ok(());
        };
        let Ok(point) = point else {
            self.end_backup(shard);
            return Ok(());
        };
        let identity = self.shard_config(shard).identity;
        let disk = &self.shards[index].disk;
        // What rots is found by whoever checks the backup. Nothing can be compared with it.
        let reading = match read(disk, &identity, false) {
            Ok(reading) if disk.rotten_segments().is_empty() => reading,
            _ => {
                self.end_backup(shard);
                return Ok(());
            }
        };
        let end = point.log.end;
        if reading.plan.end < end {
            return Err(format!(
                "shard {shard} names the point {end:?}, and its log is there up to {:?}",
                reading.plan.end
            ));
        }
        let mut expected = reading.records;
        expected.retain(|record| record.position < end);
        let taking = self.backups.taking.get_mut(&shard);
        taking.expect("it was found above").pointed = Some(Pointed {
            point,
            at: self.now,
            expected,
            copied: Vec::new(),
        });
        let (asked, now) = (self.backups.taking[&shard].asked_at, self.now);
        self.note(|| format!("shard {shard}, asked at {asked}, names its point at {now}: {end:?}"));
        self.backup_later(shard);
        Ok(())
    }

    fn check_backup(&mut self, shard: u16, taking: Taking) -> Result<(), String> {
        let Some(pointed) = taking.pointed else {
            return Ok(());
        };
        if !self.shards[usize::from(shard)]
            .disk
            .rotten_segments()
            .is_empty()
        {
            return Ok(());
        }
        let identity = self.shard_config(shard).identity;
        let files = pointed.copied.iter();
        let named: Vec<(SegmentId, String, &[u8])> = files
            .map(|(id, bytes)| (*id, format!("backup-{shard}/{id}"), &bytes[..]))
            .collect();
        let files: Vec<SegmentFile<'_>> = named
            .iter()
            .map(|(id, name, bytes)| SegmentFile {
                id: *id,
                name,
                bytes,
            })
            .collect();
        let mut notes = Notes::default();
        let plan = recover(&identity, false, &files, &mut notes)
            .map_err(|error| format!("a backup of shard {shard} does not start: {error}"))?;
        if plan.end != pointed.point.log.end || !plan.repairs.is_empty() {
            return Err(format!(
                "a backup of shard {shard} ends at {:?} and not at {:?}, with the repairs {:?}",
                plan.end, pointed.point.log.end, plan.repairs
            ));
        }
        if notes.0 != pointed.expected {
            return Err(format!(
                "a backup of shard {shard} has other records than the log had at the point"
            ));
        }
        self.check_told(&notes.0, taking.asked_at, pointed.at)
            .map_err(|reason| format!("a backup of shard {shard}: {reason}"))?;
        self.tally.backups += 1;
        Ok(())
    }

    /// What was acknowledged before is there, and what came after is not.
    fn check_told(&self, records: &[Noted], asked: Time, pointed: Time) -> Result<(), String> {
        for ((partition, key), newest) in state_of(records) {
            // Of what a flush took away later versions may be gone and older ones be left.
            let newest = newest.version.max(cleared_up_to(records, partition));
            let Some(number) = self.keys.number(&key) else {
                continue;
            };
            let place = Place {
                keyspace: partition.keyspace.0,
                key: number,
            };
            // Of one that was dropped anything may be left.
            if !self.catalog.is_there(place.keyspace) {
                continue;
            }
            for entry in self.history.keys.get(&place).into_iter().flatten() {
                let Outcome::Wrote { version, .. } = entry.outcome else {
                    continue;
                };
                if entry.answered < asked && version > newest.0 {
                    return Err(format!("it lacks what was acknowledged before: {entry:?}"));
                }
                if entry.invoked > pointed && version <= newest.0 {
                    return Err(format!("it has what was asked for after it: {entry:?}"));
                }
            }
        }
        Ok(())
    }
}

/// Up to which version a partition was flushed.
fn cleared_up_to(records: &[Noted], partition: PartitionId) -> Version {
    let clears = records
        .iter()
        .filter(|record| record.is_clear_of(partition));
    clears
        .map(|record| record.version)
        .max()
        .unwrap_or_default()
}

/// A file as the node copies it; `None` if it is not what it should be.
fn copy(disk: &SimDisk, file: &PointFile) -> Option<Vec<u8>> {
    let (_, image) = disk.files().find(|(segment, _)| *segment == file.segment)?;
    let header = SegmentHeader::decode(image.first_chunk()?).ok()?;
    let mut bytes = image.to_vec();
    match (file.kind, header.state) {
        (PointFileKind::Stub, SegmentState::Removed(_)) => bytes.truncate(SEGMENT_HEADER_LEN),
        (PointFileKind::Sealed { base, .. }, SegmentState::Active { base: found })
            if base == found => {}
        (PointFileKind::Active { base, end }, SegmentState::Active { base: found })
            if base == found =>
        {
            let len = SEGMENT_HEADER_LEN + (end.0 - base.0) as usize;
            bytes.get_mut(len..)?.fill(0);
        }
        _ => return None,
    }
    Some(bytes)
}
