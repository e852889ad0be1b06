//! A start with `--salvage`: it gives up what is damaged, says what that was, and keeps all the rest.
//!
//! The disk knows which bits rotted, so the log as it was before the damage can be read too. What salvage shows is held against that, record
//! by record: whatever lies outside the ranges that it names must be there, and nothing else may be. After its repairs a start without
//! salvage must come to the same log.
//!
//! What was given up, clients were told: a key whose newest record is among it may show an older state from then on. So all that was
//! told about such a key counts as unknown; every other key is held to its whole history as ever.

use std::collections::BTreeMap;

use super::catalog::DEFAULT;
use super::disk::SimDisk;
use super::history::{Outcome, Place};
use super::world::World;
use crate::shard::recover::{RecoveredShard, recover_shard};
use crate::storage::format::{Entry, RecordAt, RecordKind, SEGMENT_HEADER_LEN};
use crate::storage::recovery::{
    Fault, Identity, Recovered, RecoveryError, SegmentFile, Visitor, recover,
};
use crate::types::{KeyspaceId, PartitionId, Position, SegmentId, Version};

/// A record, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    partition: PartitionId,
    pub(super) position: Position,
    kind: RecordKind,
    key: Vec<u8>,
    pub(super) version: Version,
    origin: Option<Position>,
}

impl Noted {
    /// Whether it takes away all keys of this partition.
    pub(super) fn is_clear_of(&self, partition: PartitionId) -> bool {
        self.kind == RecordKind::Clear && self.partition == partition
    }
}

#[derive(Debug, Default)]
pub(super) struct Notes(pub(super) Vec<Noted>);

impl Visitor for Notes {
    fn entry(&mut self, _entry: &Entry<'_>) {}

    fn record(&mut self, partition: PartitionId, record: &RecordAt<'_>) {
        self.0.push(Noted {
            partition,
            position: record.position,
            kind: record.record.kind,
            key: record.record.key.to_vec(),
            version: record.record.version,
            origin: record.record.origin,
        });
    }
}

/// What recovery makes of a disk: its plan, and the records that it shows.
pub(super) struct Reading {
    pub(super) plan: Recovered,
    pub(super) records: Vec<Noted>,
}

/// Reads a shard's log.
pub(super) fn read(
    disk: &SimDisk,
    identity: &Identity,
    salvage: bool,
) -> Result<Reading, RecoveryError> {
    let names = names(disk, identity);
    let mut notes = Notes::default();
    let plan = recover(identity, salvage, &files(disk, &names), &mut notes)?;
    Ok(Reading {
        plan,
        records: notes.0,
    })
}

/// How a person would find the files.
pub(super) fn names(disk: &SimDisk, identity: &Identity) -> Vec<String> {
    disk.files()
        .map(|(segment, _)| format!("shard-{}/{segment}", identity.shard))
        .collect()
}

/// The files, as recovery takes them.
pub(super) fn files<'a>(disk: &'a SimDisk, names: &'a [String]) -> Vec<SegmentFile<'a>> {
    let named = disk.files().zip(names);
    named
        .map(|((id, bytes), name)| SegmentFile { id, name, bytes })
        .collect()
}

/// The newest that a log holds of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Newest {
    /// The highest version of all its records.
    pub(super) version: Version,
    /// Of the record that stands, if there is one.
    stands: Option<Version>,
}

pub(super) type State = BTreeMap<(PartitionId, Vec<u8>), Newest>;

pub(super) fn state_of(records: &[Noted]) -> State {
    let mut state = State::new();
    let mut places: BTreeMap<(PartitionId, Vec<u8>), Position> = BTreeMap::new();
    for record in records {
        if record.kind == RecordKind::Clear {
            let origin = record.origin.unwrap_or(record.position);
            for (place, newest) in &mut state {
                if place.0 == record.partition && places[place] < origin {
                    newest.stands = None;
                }
            }
            continue;
        }
        let newest = state
            .entry((record.partition, record.key.clone()))
            .or_default();
        if record.version >= newest.version {
            newest.version = record.version;
            newest.stands = (record.kind == RecordKind::Set).then_some(record.version);
            places.insert((record.partition, record.key.clone()), record.position);
        }
    }
    state
}

/// Which positions salvage gave up.
fn given_up(plan: &Recovered) -> Result<Vec<(Position, Position)>, String> {
    let base = |segment: SegmentId| plan.segments.iter().find(|found| found.id == segment);
    plan.damage
        .iter()
        .filter(|damage| damage.len > 0)
        .map(|damage| {
            let segment = base(damage.segment)
                .ok_or_else(|| format!("salvage gives up a part of no segment: {damage}"))?;
            let from = segment.base.0 + damage.offset - SEGMENT_HEADER_LEN as u64;
            Ok((Position(from), Position(from + damage.len)))
        })
        .collect()
}

/// Salvage shows what was there outside the ranges that it names, and at most what a crash left unfinished besides.
fn check_records(sound: &Reading, saved: &Reading) -> Result<(), String> {
    let lost = given_up(&saved.plan)?;
    let is_lost = |record: &&Noted| {
        let mut ranges = lost.iter();
        ranges.any(|(from, to)| (*from..*to).contains(&record.position))
    };
    let kept: Vec<&Noted> = sound
        .records
        .iter()
        .filter(|record| !is_lost(record))
        .collect();
    let shown: Vec<&Noted> = saved
        .records
        .iter()
        .filter(|record| record.position < sound.plan.end)
        .collect();
    if kept == shown {
        return Ok(());
    }
    let missing = kept.iter().find(|record| !shown.contains(record));
    let added = shown.iter().find(|record| !kept.contains(record));
    Err(format!(
        "salvage gave up {lost:?}; of the rest it lacks {missing:?} and has {added:?} too much"
    ))
}

impl World {
    /// No version that was given with what is lost is given again, at this start or any later one: a client may go by it.
    pub(super) fn check_lost_versions(&self, recovered: &RecoveredShard) -> Result<(), String> {
        for (partition, lost) in &self.lost_versions {
            let mut keyspaces = recovered.shard.keyspaces();
            let next = keyspaces
                .find(|keyspace| keyspace.id() == partition.keyspace)
                .and_then(|keyspace| keyspace.version_next(partition.index));
            if next.is_some_and(|next| next <= *lost) {
                return Err(format!(
                    "version {next:?} of {partition:?} would be given again, and {lost:?} was given up"
                ));
            }
        }
        Ok(())
    }

    /// Starts a shard with salvage, after a start without it reported `first`. `None` if that is not possible.
    pub(super) fn salvage(
        &mut self,
        shard: u16,
        first: &RecoveryError,
    ) -> Result<Option<RecoveredShard>, String> {
        let config = self.shard_config(shard);
        let disk = &self.shards[usize::from(shard)].disk;
        let mut healed = disk.clone();
        healed.heal();
        let sound = read(&healed, &config.identity, false).map_err(|error| {
            format!("shard {shard} does not start though it was healed: {error}")
        })?;
        let saved = match read(disk, &config.identity, true) {
            Ok(saved) => saved,
            Err(RecoveryError::Unreadable { .. }) => return Ok(None),
            Err(error) => return Err(format!("shard {shard} can't be salvaged: {error}")),
        };
        let is_said = match (first, saved.plan.damage.first()) {
            (RecoveryError::Damaged(first), Some(given_up)) => **first == *given_up,
            (RecoveryError::MissingSegment { missing, .. }, Some(given_up)) => {
                given_up.segment == *missing && given_up.fault == Fault::FileMissing
            }
            (RecoveryError::Damaged(_) | RecoveryError::MissingSegment { .. }, None) => false,
            _ => return Ok(None),
        };
        if !is_said {
            return Err(format!(
                "a start of shard {shard} says: {first}; salvage gives up {:?}",
                saved.plan.damage
            ));
        }
        check_records(&sound, &saved).map_err(|reason| format!("shard {shard}: {reason}"))?;
        let mut repaired = disk.clone();
        for repair in &saved.plan.repairs {
            repaired.repair(repair);
        }
        let again = read(&repaired, &config.identity, false)
            .map_err(|error| format!("shard {shard} does not start after salvage: {error}"))?;
        if again.records != saved.records || again.plan.end != saved.plan.end {
            return Err(format!("shard {shard} is another after salvage than in it"));
        }
        let names = names(disk, &config.identity);
        let recovered = recover_shard(
            &config,
            self.clocks(),
            true,
            &files(disk, &names),
            &disk.summaries(),
            &mut |_| {},
        );
        let recovered = recovered.map_err(|error| format!("shard {shard}: {error}"))?;
        if recovered.damage != saved.plan.damage {
            return Err(format!("shard {shard} does not say what it gave up"));
        }
        self.shards[usize::from(shard)].disk.back_up();
        self.tally.salvages += 1;
        self.tally.records_given_up +=
            sound.records.len().saturating_sub(saved.records.len()) as u64;
        self.note(|| format!("shard {shard} is salvaged: {:?}", saved.plan.damage));
        self.gave_up(&sound, &saved);
        Ok(Some(recovered))
    }

    /// Makes unknown what was told of that which is not as it was.
    fn gave_up(&mut self, sound: &Reading, saved: &Reading) {
        for record in &sound.records {
            if record.position < saved.plan.end && !saved.records.contains(record) {
                let lost = self.lost_versions.entry(record.partition).or_default();
                *lost = record.version.max(*lost);
            }
        }
        let (before, after) = (state_of(&sound.records), state_of(&saved.records));
        let keys = before.keys().chain(after.keys());
        let changed: Vec<_> = keys
            .filter(|key| before.get(*key) != after.get(*key))
            .collect();
        let mut places: Vec<Place> = Vec::new();
        for (partition, key) in &changed {
            if let Some(key) = self.keys.number(key) {
                places.push(Place {
                    keyspace: partition.keyspace.0,
                    key,
                });
            }
        }
        for place in &places {
            for entry in self.history.keys.get_mut(place).into_iter().flatten() {
                entry.outcome = match entry.outcome {
                    Outcome::Refused => Outcome::Refused,
                    _ if entry.act.is_write() => Outcome::Unknown,
                    _ => Outcome::Lost,
                };
            }
        }
        self.atomics
            .retain(|batch| batch.iter().all(|id| !places.contains(&id.place)));
        for client in &mut self.clients {
            client.scan = None;
        }
        let clears = sound
            .records
            .iter()
            .filter(|record| record.kind == RecordKind::Clear && !saved.records.contains(record));
        let cleared: Vec<KeyspaceId> = clears.map(|record| record.partition.keyspace).collect();
        for flush in &mut self.history.flushes {
            if flush.is_certain && cleared.contains(&KeyspaceId(flush.keyspace)) {
                flush.is_certain = false;
                flush.closed = flush.answered;
            }
        }
        // What proved that a time had passed may be among what is gone.
        if saved.plan.timestamp_max < sound.plan.timestamp_max {
            self.history.stops.clear();
        }
        let is_system = |partition: &PartitionId| partition.keyspace == KeyspaceId::SYSTEM;
        if changed.iter().any(|(partition, _)| is_system(partition)) {
            self.catalog.forget();
            self.history.keep_keyspace(DEFAULT);
            self.atomics
                .retain(|batch| batch.iter().all(|id| id.place.keyspace == DEFAULT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::recovery::{Damage, Proof, RecoveredSegment};
    use crate::types::WallMillis;

    const BASE: u64 = 1000;

    fn noted(position: u64, version: u64) -> Noted {
        Noted {
            partition: PartitionId {
                keyspace: KeyspaceId::DEFAULT,
                index: 0,
            },
            position: Position(BASE + position),
            kind: RecordKind::Set,
            key: b"k".to_vec(),
            version: Version(version),
            origin: None,
        }
    }

    /// A log of one segment that shows these records, and of which so many bytes were given up from an offset on.
    fn reading(records: &[Noted], given_up: Option<(u64, u64)>) -> Reading {
        let segment = SegmentId(7);
        let damage = given_up.map(|(from, len)| Damage {
            file: "a file".to_owned(),
            segment,
            offset: SEGMENT_HEADER_LEN as u64 + from,
            len,
            fault: Fault::Missing,
            proof: Proof::Sectors,
        });
        let end = Position(BASE + 300);
        Reading {
            plan: Recovered {
                log: None,
                segments: vec![RecoveredSegment {
                    id: segment,
                    base: Position(BASE),
                    end,
                    len: 4096,
                    sequence: 1,
                }],
                removed: Vec::new(),
                end,
                next_sequence: 1,
                timestamp_max: WallMillis(0),
                clean: false,
                repairs: Vec::new(),
                damage: damage.into_iter().collect(),
            },
            records: records.to_vec(),
        }
    }

    /// A salvage that lost more than it said, or brought up what it said was lost, would go unseen if the ranges were not looked at.
    #[test]
    fn salvage_is_held_to_the_ranges_that_it_names() {
        let (first, second, third) = (noted(0, 1), noted(100, 2), noted(200, 3));
        let sound = reading(&[first.clone(), second.clone(), third.clone()], None);
        let told = Some((100, 100));
        let saved = |records: &[Noted]| reading(records, told);
        let kept = [first.clone(), third.clone()];
        assert_eq!(check_records(&sound, &saved(&kept)), Ok(()));
        assert!(check_records(&sound, &saved(std::slice::from_ref(&first))).is_err());
        let all = [first.clone(), second, third];
        assert!(check_records(&sound, &saved(&all)).is_err());
        // Behind the log's end lies what a crash left unfinished: it may come up.
        let more = [first, kept[1].clone(), noted(300, 4)];
        assert_eq!(check_records(&sound, &saved(&more)), Ok(()));
    }

    /// A key counts as changed also if only the proof of its highest version is gone: that version may be given again.
    #[test]
    fn what_is_newest_of_a_key_knows_versions_of_deletes() {
        let delete = Noted {
            kind: RecordKind::Delete,
            ..noted(100, 2)
        };
        let clear = Noted {
            kind: RecordKind::Clear,
            key: Vec::new(),
            ..noted(200, 3)
        };
        let state = |records: &[Noted]| state_of(records).into_values().next();
        let newest = |version, stands: Option<u64>| {
            Some(Newest {
                version: Version(version),
                stands: stands.map(Version),
            })
        };
        assert_eq!(state(&[noted(0, 1)]), newest(1, Some(1)));
        assert_eq!(state(&[noted(0, 1), delete]), newest(2, None));
        assert_eq!(state(&[noted(0, 1), clear]), newest(1, None));
    }
}
