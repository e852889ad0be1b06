//! Moves from any number of shards to any other, ended at every step, against a model.

mod disk;

use std::collections::BTreeMap;

use super::*;
use crate::limits;
use crate::shard::keyspaces::encode_partitions;
use crate::shard::recover::recover_shard;
use crate::shard::{ShardConfig, SyncMode};
use crate::storage::index::HashCursor;
use crate::types::{KeyspaceId, MonoNanos, Now, Version};
use disk::{Died, Directory, Random, TestDisk, segment_files};

const SEGMENT_LEN: u64 = limits::SEGMENT_LEN_READ_MIN;
const NOW: Now = Now {
    mono: MonoNanos(1),
    wall: WallMillis(1_700_000_000_000),
};
/// A keyspace beside the default one.
const OTHER: KeyspaceId = KeyspaceId(4);
const OTHER_PARTITIONS: u16 = 5;

fn config(shard: u16, shard_count: u16) -> ShardConfig {
    ShardConfig {
        identity: Identity {
            node: 7,
            shard: ShardId(shard),
            shard_count,
        },
        log_tag: LogTag(1000 + u32::from(shard)),
        sync: SyncMode::Always,
        value_len_max: limits::VALUE_LEN_MAX,
        large_len: 5_000,
        memory_bytes: 64 << 20,
        segment_len: SEGMENT_LEN,
        compacts: true,
        scrub_period_ns: None,
        hash_secret: [3; 16],
    }
}

/// A value, its version, its time and its expiry.
type Holding = (Vec<u8>, Version, WallMillis, Option<WallMillis>);

/// What a node should hold, and the files in which it does.
#[derive(Clone)]
struct Node {
    disk: TestDisk,
    shard_count: u16,
    /// The number of shards that a move was begun to.
    moving: Option<u16>,
    random: Random,
    keys: BTreeMap<(PartitionId, Vec<u8>), Holding>,
    /// The highest version of each partition.
    versions: BTreeMap<PartitionId, Version>,
}

impl Node {
    /// A node of which nothing is known but that it has another keyspace.
    fn new(seed: u64, shard_count: u16) -> Node {
        let mut node = Node {
            disk: TestDisk::new(Random(seed)),
            shard_count,
            moving: None,
            random: Random(seed + 1),
            keys: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        for shard in 0..shard_count {
            let identity = config(shard, shard_count).identity;
            let tag = LogTag(u32::from(shard) + 1);
            let given = Given::default();
            let made = new_log::make(
                &mut node.disk,
                identity,
                tag,
                SEGMENT_LEN,
                given,
                WallMillis(1),
            );
            made.unwrap();
        }
        node.disk.switch();
        let system = PartitionId {
            keyspace: KeyspaceId::SYSTEM,
            index: 0,
        };
        node.versions
            .insert(system, Version(u64::from(OTHER.0) - 2));
        node.write(0, 1);
        node
    }

    fn recover(&mut self, side: Side, shard_count: u16) -> Result<Vec<RecoveredShard>, Died> {
        let mut shards = Vec::new();
        for shard in 0..shard_count {
            let directory = self.disk.directory(side, ShardId(shard));
            let recovered = recover(&directory, shard, shard_count);
            assert_eq!(recovered.damage, []);
            let repairs = &recovered.repairs;
            self.disk.repair(side, ShardId(shard), repairs)?;
            shards.push(recovered);
        }
        Ok(shards)
    }

    /// What a start with this number of shards does before it serves.
    fn start(&mut self, shard_count: u16) -> Result<(), Died> {
        loop {
            let wanted = match self.moving {
                Some(moving) => moving,
                None if self.shard_count == shard_count => return Ok(()),
                None => shard_count,
            };
            let old = self.recover(Side::Old, self.shard_count)?;
            if self.moving.is_none() {
                self.disk.forget(Side::New);
                let logs = (0..wanted).map(|n| (ShardId(n), LogTag(u32::from(n) + 77)));
                make(&mut self.disk, &old, logs, wanted, SEGMENT_LEN)?;
                self.disk.step()?;
                self.moving = Some(wanted);
                self.disk.step()?;
            }
            let new = self.recover(Side::New, wanted)?;
            let keyspaces = keyspaces(&old, &new);
            let moving = Move::new(old, new, &keyspaces, SEGMENT_LEN);
            let mut left = moving.len_bytes();
            let moved = moving.run(&mut self.disk, &mut |bytes| left -= bytes);
            match moved {
                Ok(_) => assert_eq!(left, 0, "progress comes to its end"),
                Err(MoveError::Files(Died)) => return Err(Died),
                Err(error) => panic!("{error:?}"),
            }
            self.disk.step()?;
            self.shard_count = wanted;
            self.moving = None;
            self.disk.switch();
        }
    }

    /// As clients would: sets, overwrites, deletes and clears, with and without expiry.
    fn write(&mut self, count: usize, catalog: usize) {
        let shards = self.recover(Side::Old, self.shard_count).unwrap();
        let mut logs: Vec<NewLog> = shards
            .iter()
            .map(|recovered| NewLog::go_on(&recovered.shard, SEGMENT_LEN, NOW.wall))
            .collect();
        // What the helper writes to is the new generation.
        self.disk.switch_back();
        for number in 0..catalog + count {
            let (partition, kind, key, value) = match number < catalog {
                true => {
                    let system = PartitionId {
                        keyspace: KeyspaceId::SYSTEM,
                        index: 0,
                    };
                    let value = encode_partitions(OTHER_PARTITIONS).to_vec();
                    (system, RecordKind::Set, b"other".to_vec(), value)
                }
                false => self.effect(),
            };
            let version = self.versions.entry(partition).or_default();
            *version = Version(version.0 + 1);
            let version = *version;
            let is_set = kind == RecordKind::Set;
            let expiry = match self.random.below(6) {
                0 if is_set && number >= catalog => Some(WallMillis(NOW.wall.0 - 5)),
                1 if is_set && number >= catalog => Some(WallMillis(NOW.wall.0 + 1_000_000)),
                _ => None,
            };
            let timestamp = WallMillis(NOW.wall.0 - 100 + self.random.below(50));
            let record = Record {
                kind,
                key: &key,
                value: &value,
                version,
                timestamp,
                expiry,
                origin: None,
            };
            let mut encoded = Vec::new();
            record.encode(&mut encoded);
            let owner = shard_of_partition(partition.index, self.shard_count).index();
            logs[owner]
                .push(&mut self.disk, partition, &encoded)
                .unwrap();
            if self.random.one_in(5) {
                logs[owner].flush(&mut self.disk).unwrap();
            }
            match kind {
                RecordKind::Clear => self.keys.retain(|(of, _), _| *of != partition),
                _ => {
                    self.keys.remove(&(partition, key.clone()));
                }
            }
            if is_set && expiry.is_none_or(|expiry| expiry > NOW.wall) {
                let holding = (value, version, timestamp, expiry);
                self.keys.insert((partition, key), holding);
            }
        }
        for log in &mut logs {
            log.flush(&mut self.disk).unwrap();
            let active = log.active();
            self.disk.sync(&[active]).unwrap();
            log.synced();
        }
        self.disk.switch();
    }

    fn effect(&mut self) -> (PartitionId, RecordKind, Vec<u8>, Vec<u8>) {
        let random = &mut self.random;
        let (keyspace, partitions) = match random.one_in(3) {
            true => (OTHER, OTHER_PARTITIONS),
            false => (KeyspaceId::DEFAULT, limits::PARTITIONS_DEFAULT),
        };
        let key = format!("key {}", random.below(40)).into_bytes();
        let index = crate::types::partition_of_key(&key, partitions);
        let partition = PartitionId { keyspace, index };
        match random.below(20) {
            0 => (partition, RecordKind::Clear, Vec::new(), Vec::new()),
            1..6 => (partition, RecordKind::Delete, key, Vec::new()),
            // Longer than a segment.
            6 => (partition, RecordKind::Set, key, vec![6; 70_000]),
            7..10 => (partition, RecordKind::Set, key, vec![7; 6_000]),
            _ => {
                let value = random.below(u64::MAX).to_le_bytes().repeat(20);
                (partition, RecordKind::Set, key, value)
            }
        }
    }

    /// Everything is there that should be, nothing else, and no version will be given again.
    fn check(&mut self) {
        assert_eq!(self.moving, None);
        let shards = self.recover(Side::Old, self.shard_count).unwrap();
        let stored = keyspaces(&shards, &[]);
        let mut found = BTreeMap::new();
        for recovered in shards {
            let mut shard = recovered.shard;
            install_keyspaces(&mut shard, &stored);
            let id = shard.config.identity.shard;
            let directory = self.disk.directory(Side::Old, id);
            for keyspace in &shard.keyspaces {
                for (local, partition) in keyspace.local().iter().enumerate() {
                    let partition_id = PartitionId {
                        keyspace: keyspace.id(),
                        index: id.0 + local as u16 * self.shard_count,
                    };
                    let given = self.versions.get(&partition_id);
                    let given = given.copied().unwrap_or_default();
                    assert!(
                        partition.version_next > given,
                        "{given:?} was given in {partition_id:?}, and {:?} will be next",
                        partition.version_next
                    );
                    let mut entries = Vec::new();
                    let mut from = Some(HashCursor::START);
                    while let Some(cursor) = from {
                        from = partition.index.page(cursor, 100, &mut entries);
                    }
                    for (_, candidate) in entries {
                        let place = shard.log.place_of(candidate.address).unwrap();
                        let bytes = &directory[&place.segment][place.offset as usize..];
                        let record = Record::check(bytes, candidate.address).unwrap();
                        let holding = (
                            record.value.to_vec(),
                            record.version,
                            record.timestamp,
                            record.expiry,
                        );
                        let key = (partition_id, record.key.to_vec());
                        assert_eq!(found.insert(key, holding), None);
                    }
                }
            }
        }
        let keys = |of: &BTreeMap<(PartitionId, Vec<u8>), Holding>| {
            of.iter()
                .map(|(key, holding)| (key.clone(), holding.1, holding.3))
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&found), keys(&self.keys));
        assert!(found == self.keys, "values and times are what they were");
    }
}

fn recover(directory: &Directory, shard: u16, shard_count: u16) -> RecoveredShard {
    let names: Vec<String> = directory
        .keys()
        .map(|id| format!("{shard}/{id}.seg"))
        .collect();
    let files = segment_files(directory, &names);
    let config = config(shard, shard_count);
    let recovered = recover_shard(&config, NOW, false, &files, &[], &mut |_| {});
    recovered.expect("whatever a crash leaves recovers")
}

/// A directory was tied to the number of cores that it was first used with: on a larger machine, or a smaller one, its node could not start.
#[test]
fn any_number_of_shards_becomes_any_other() {
    for (number, from) in (1..=4).enumerate() {
        let mut node = Node::new(10 * number as u64, from);
        node.write(600, 0);
        for to in [1, 4, 2, 3, 1] {
            node.start(to).unwrap();
            assert_eq!(node.shard_count, to);
            node.check();
            node.write(60, 0);
            node.check();
        }
    }
}

/// A move that dies at any step, by whatever death, and is taken up with a third number of shards: a key that was in neither generation at some
/// moment would be lost, a deleted one whose delete went first would come back.
#[test]
fn a_death_at_every_step_loses_nothing_and_brings_nothing_back() {
    let mut node = Node::new(5, 2);
    node.write(500, 0);
    let mut unharmed = node.clone();
    unharmed.disk.steps = 0;
    unharmed.start(3).unwrap();
    let steps = unharmed.disk.steps;
    unharmed.check();
    assert!(steps > 50, "{steps} steps are a move of many segments");
    for step in 0..steps {
        for power in [false, true] {
            let mut dying = node.clone();
            dying.disk.steps_left = step;
            assert_eq!(dying.start(3), Err(Died));
            dying.disk.die(power);
            dying.start(if step % 2 == 0 { 4 } else { 1 }).unwrap();
            dying.check();
        }
    }
}

/// A machine that dies again and again must come to an end of the move, and its disk must not fill up with what each attempt wrote.
#[test]
fn deaths_in_a_row_come_to_an_end_and_write_nothing_twice() {
    for seed in 0..15 {
        let mut node = Node::new(seed, 1 + seed as u16 % 4);
        node.write(500, 0);
        let before: u64 = {
            node.disk.peak_bytes = 0;
            node.disk.step().unwrap();
            node.disk.peak_bytes
        };
        let mut deaths = 0;
        loop {
            let wanted = 1 + node.random.below(4) as u16;
            // Some attempts come hardly further than the one before.
            node.disk.steps_left = 1 + node.random.below(60);
            match node.start(wanted) {
                Ok(()) => break,
                Err(Died) => deaths += 1,
            }
            let power = node.random.one_in(2);
            node.disk.die(power);
        }
        node.check();
        let peak = node.disk.peak_bytes;
        // Each new log has a segment that is not full, and the long value may be in one of its own; the largest old one is in both generations.
        let bound = before + 4 * 2 * (SEGMENT_LEN + 80_000);
        assert!(
            peak <= bound,
            "{deaths} deaths: {peak} bytes where {before} were before"
        );
    }
}
