//! Which keys a repair loses: the records that can still be read in what is given up, and what becomes of their keys without them.
//!
//! A record that is lost need not be a loss. If a later one of its key survives, nothing changes. If only an earlier one does, the key goes back to
//! that, and a deleted key comes back to life. People must look after the latter two, so each lost record is told with what will be there instead.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::text::{JsonBytes, partition, quoted, time};
use crate::limits::REPAIR_KEYS_MAX;
use crate::storage::format::{Entry, RecordAt, RecordKind, SEGMENT_HEADER_LEN};
use crate::storage::recovery::{Damage, Remains, SegmentFile, Visitor};
use crate::types::{KeyspaceId, PartitionId, Position, Version, WallMillis};

/// A record among what is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostRecord<'a> {
    pub(super) kind: RecordKind,
    pub(super) partition: Option<PartitionId>,
    /// Empty for a clear.
    pub(super) key: &'a [u8],
    pub(super) value_len: usize,
    pub(super) version: Version,
    pub(super) timestamp: WallMillis,
    /// Its checksum is right; else any part of it may be wrong.
    pub(super) is_whole: bool,
}

/// What becomes of a lost record's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A later record survives.
    Superseded,
    /// The key goes back to an earlier value.
    GoesBack(Version),
    /// The key is gone.
    Gone,
    /// What was deleted stays so.
    StaysDeleted,
    /// Nobody can say: the keyspace, or the key itself, can't be read.
    Unknown,
}

/// What is lost in one shard.
#[derive(Debug, Default)]
pub(super) struct Losses<'a> {
    pub(super) records: Vec<LostRecord<'a>>,
    /// Records beyond those.
    pub(super) more: u64,
    /// Not all places could be searched.
    pub(super) is_incomplete: bool,
    /// Where among the survivors each lost key is.
    keys: HashMap<(KeyspaceId, &'a [u8]), usize>,
    survivors: Vec<Survivor>,
    /// The highest version of a clear that survives.
    clears: HashMap<PartitionId, Version>,
}

/// The newest record of a key that survives.
#[derive(Clone, Copy, Debug, Default)]
struct Survivor {
    version: Version,
    is_set: bool,
}

impl<'a> Losses<'a> {
    /// Searches what recovery gave up. `position` tells where in the log a place in a file lies.
    pub(super) fn search(
        damage: &[Damage],
        files: &[SegmentFile<'a>],
        position: impl Fn(&Damage) -> Option<Position>,
    ) -> Losses<'a> {
        let mut losses = Losses::default();
        for damage in damage.iter().filter(|damage| damage.len > 0) {
            let file = files.iter().find(|file| file.id == damage.segment);
            let bytes = file.map(|file| given_up(damage, file));
            let (Some(bytes), Some(position)) = (bytes, position(damage)) else {
                losses.is_incomplete = true;
                continue;
            };
            // What is not in the file can't be searched.
            losses.is_incomplete |= (bytes.len() as u64) < damage.len;
            let mut remains = Remains::new(bytes, position);
            for remain in remains.by_ref() {
                if losses.records.len() >= REPAIR_KEYS_MAX {
                    losses.more += 1;
                    continue;
                }
                let record = remain.at.record;
                losses.records.push(LostRecord {
                    kind: record.kind,
                    partition: remain.partition,
                    key: record.key,
                    value_len: record.value.len(),
                    version: record.version,
                    timestamp: record.timestamp,
                    is_whole: remain.is_whole,
                });
            }
            losses.is_incomplete |= remains.was_broken_off();
        }
        losses
    }

    /// Looks up which records of the lost keys survive: to be shown the whole log.
    pub(super) fn survivors(&mut self) -> impl Visitor + use<'_, 'a> {
        for record in &self.records {
            if let Some(partition) = record.partition {
                let next = self.keys.len();
                self.keys
                    .entry((partition.keyspace, record.key))
                    .or_insert(next);
            }
        }
        self.survivors.resize(self.keys.len(), Survivor::default());
        Surviving(self)
    }

    /// What becomes of the key of one of the records.
    pub(super) fn fate(&self, record: &LostRecord<'_>) -> Fate {
        let (Some(partition), true) = (record.partition, record.is_whole) else {
            return Fate::Unknown;
        };
        let cleared = self.clears.get(&partition).copied().unwrap_or_default();
        if record.kind == RecordKind::Clear {
            return match cleared >= record.version {
                true => Fate::Superseded,
                false => Fate::Unknown,
            };
        }
        let survivor = self.keys.get(&(partition.keyspace, record.key));
        let survivor = survivor.map(|at| self.survivors[*at]);
        let survivor = survivor.filter(|survivor| survivor.version > Version(0));
        let newest = survivor.map_or(cleared, |survivor| survivor.version.max(cleared));
        if newest > record.version {
            return Fate::Superseded;
        }
        match (survivor, record.kind) {
            (Some(survivor), _) if survivor.is_set && survivor.version > cleared => {
                Fate::GoesBack(survivor.version)
            }
            (_, RecordKind::Delete) => Fate::StaysDeleted,
            _ => Fate::Gone,
        }
    }
}

/// The bytes of a file that recovery gives up.
pub(super) fn given_up<'a>(damage: &Damage, file: &SegmentFile<'a>) -> &'a [u8] {
    let from = (damage.offset.max(SEGMENT_HEADER_LEN as u64) as usize).min(file.bytes.len());
    let end = damage
        .offset
        .saturating_add(damage.len)
        .min(file.bytes.len() as u64) as usize;
    &file.bytes[from..end.max(from)]
}

struct Surviving<'a, 'b>(&'b mut Losses<'a>);

impl Visitor for Surviving<'_, '_> {
    fn entry(&mut self, _: &Entry<'_>) {}

    fn record(&mut self, partition: PartitionId, found: &RecordAt<'_>) {
        let record = &found.record;
        if record.kind == RecordKind::Clear {
            let cleared = self.0.clears.entry(partition).or_default();
            *cleared = record.version.max(*cleared);
            return;
        }
        let Losses {
            keys, survivors, ..
        } = &mut *self.0;
        let keys: &HashMap<(KeyspaceId, &[u8]), usize> = keys;
        let Some(at) = keys.get(&(partition.keyspace, record.key)) else {
            return;
        };
        let survivor = &mut survivors[*at];
        if record.version > survivor.version {
            survivor.version = record.version;
            survivor.is_set = record.kind == RecordKind::Set;
        }
    }
}

impl LostRecord<'_> {
    /// For people.
    pub(super) fn text(&self, fate: Fate) -> String {
        let what = match self.kind {
            RecordKind::Set => format!("set {} ({} bytes)", quoted(self.key, 64), self.value_len),
            RecordKind::Delete => format!("delete {}", quoted(self.key, 64)),
            RecordKind::Clear => "clear of the whole partition".to_owned(),
        };
        let fate = match (fate, self.kind) {
            (Fate::Superseded, _) => "no loss: a later record survives".to_owned(),
            (Fate::GoesBack(version), RecordKind::Delete) => {
                format!("the key comes back as of version {}", version.0)
            }
            (Fate::GoesBack(version), _) => {
                format!("the key goes back to version {}", version.0)
            }
            (Fate::Gone, _) => "the key is gone".to_owned(),
            (Fate::StaysDeleted, _) => "no loss: the key stays deleted".to_owned(),
            (Fate::Unknown, RecordKind::Clear) => {
                "keys of the partition up to that version may come back".to_owned()
            }
            (Fate::Unknown, _) if !self.is_whole => {
                "its checksum is wrong, the key may be another".to_owned()
            }
            (Fate::Unknown, _) => "what becomes of it can't be told".to_owned(),
        };
        format!(
            "{what}, {}, version {}, {}: {fate}",
            partition(self.partition),
            self.version.0,
            time(self.timestamp)
        )
    }

    /// For programs.
    pub(super) fn json(&self, shard: u16, fate: Fate) -> Value {
        let (fate, version) = match fate {
            Fate::Superseded => ("superseded", None),
            Fate::GoesBack(version) => ("goes back", Some(version.0)),
            Fate::Gone => ("gone", None),
            Fate::StaysDeleted => ("stays deleted", None),
            Fate::Unknown => ("unknown", None),
        };
        let kind = match self.kind {
            RecordKind::Set => "set",
            RecordKind::Delete => "delete",
            RecordKind::Clear => "clear",
        };
        json!({
            "type": "record", "shard": shard, "kind": kind, "keyspace": self.partition.map(|of| of.keyspace.0),
            "partition": self.partition.map(|of| of.index), "key": JsonBytes(self.key), "value_len": self.value_len,
            "version": self.version.0, "timestamp_ms": self.timestamp.0, "is_whole": self.is_whole,
            "fate": fate, "back_to_version": version,
        })
    }
}
