//! Filling the index from what recovery finds in the log.
//!
//! Recovery goes over the log in order, or takes a segment's summary for it; what it finds of each segment becomes sorted lists of records, one a
//! partition, in both cases (`storage::summary`). Only when all of them are there, the lists of a partition are merged, and its index is
//! made at once. *The highest version of a key wins*, so the order in which records lie in the log plays no part. A record whose time has
//! passed counts as a delete.
//!
//! Versions are counted on the way: what salvage gave up raises the next version of each partition as it was at that place in the log.

use std::collections::BTreeMap;

use super::keyspaces::Keyspace;
use super::{Shard, ShardConfig};
use crate::limits;
use crate::storage::format::{RECORD_LEN_MIN, RemovedRange};
use crate::storage::index::{BulkIndex, Candidate, HashCursor};
use crate::storage::log::Log;
use crate::storage::summary::{Body, Item, Run, newest, range_bits};
use crate::types::{KeyspaceId, Now, PartitionId, Position, Version, WallMillis};

impl Shard {
    /// A shard to replay records into. Records whose time has passed are not kept.
    #[must_use]
    pub fn replaying(config: ShardConfig, now: Now) -> Shard {
        let mut shard = Shard::new(config);
        shard.wall_floor = now.wall;
        shard.wall_max = now.wall;
        shard
    }

    /// Ends the replay: this is the log that the records came from, and the latest time that it proves. Keys that had expired by
    /// then stay expired, though the clock may have been set back since.
    pub fn recovered(&mut self, log: Log, proven: WallMillis) {
        assert_eq!(
            self.log.end(),
            Position(0),
            "a shard recovers one log, once"
        );
        self.log = log;
        for keyspace in &mut self.keyspaces {
            keyspace.raise(self.given, self.versions_lost);
        }
        self.wall_max = self.wall_max.max(proven);
        self.pipeline.recovered(self.log.end());
        self.expire_all(proven);
    }

    /// A segment begins in the log.
    pub fn replay_segment(&mut self, base: Position) {
        self.log.replaying(base);
    }

    /// Compaction has removed a range of the log.
    pub fn replay_removed(&mut self, range: &RemovedRange) {
        self.given = self.given.max(range.given);
    }

    /// Records of a partition were found up to this version, and entries up to this index.
    pub fn replay_partition(&mut self, partition: PartitionId, version: Version, entry: u64) {
        let keyspace = self.keyspace_or_new(partition);
        keyspace.saw_entry(partition.index, entry);
        let partition = keyspace.partition_or_new(partition.index);
        partition.version_next = partition.version_next.max(Version(version.0 + 1));
    }

    /// Bytes of the log are gone whose versions were given to clients. None of them may be given again, so every partition goes on above
    /// the most that they can have held, at this start and, since the skip block tells of it, at each one after it.
    pub fn replay_given_up(&mut self, bytes: u64) {
        let versions = bytes / RECORD_LEN_MIN as u64;
        self.log.replayed_skip();
        self.versions_lost += versions;
        for keyspace in &mut self.keyspaces {
            keyspace.skip_versions(versions);
        }
    }

    /// The records of all segments, with the position from which each segment's are counted: makes the index.
    pub fn replay_records<'a>(&mut self, bodies: impl Iterator<Item = (Position, &'a Body<'a>)>) {
        let mut partitions: BTreeMap<PartitionId, Vec<Run<'a>>> = BTreeMap::new();
        for (base, body) in bodies {
            for &group in body.groups() {
                let runs = partitions.entry(group.partition).or_default();
                runs.push(Run { base, group });
            }
        }
        for (partition, runs) in &partitions {
            self.replay_runs(*partition, runs);
        }
    }

    fn replay_runs(&mut self, id: PartitionId, runs: &[Run<'_>]) {
        let now = self.wall_floor;
        let bits = range_bits(runs);
        let mut index = BulkIndex::new(bits);
        let mut live_bytes = 0;
        self.count_tombstones(runs);
        newest(runs, bits, |items| {
            for item in items {
                let (hash, position, len) = (item.key().hash, item.position(), item.record_len());
                if let Some(expiry) = item.expiry() {
                    if expiry <= now {
                        let tombstone = len.min(limits::EXPIRED_TOMBSTONE_LEN);
                        self.log.add_tombstone(position, u64::from(tombstone));
                        continue;
                    }
                    self.expiry.insert(expiry, id, hash, position);
                }
                index.push(hash, position, len);
                self.log.add_live(position, u64::from(len));
                live_bytes += u64::from(len);
            }
            index.end_range();
        });
        let index = index.finish();
        let keyspace = self.keyspace_or_new(id);
        keyspace.add_keys(index.len());
        let partition = keyspace.partition_or_new(id.index);
        assert!(partition.index.is_empty(), "a partition is filled once");
        partition.index = index;
        partition.live_bytes = live_bytes;
        let cleared = runs.iter().filter_map(|run| run.group.clear).max();
        partition.cleared = partition.cleared.max(cleared.unwrap_or_default());
    }

    /// How much of each segment may have to outlive it though the index doesn't point at it. Of several deletes of a key in one segment one counts.
    fn count_tombstones(&mut self, runs: &[Run<'_>]) {
        for run in runs {
            for delete in run.group.items(run.base).filter(Item::is_delete) {
                let len = u64::from(delete.record_len());
                self.log.add_tombstone(delete.position(), len);
            }
            if run.group.clear.is_some() {
                self.log.add_tombstone(run.base, RECORD_LEN_MIN as u64);
            }
        }
    }

    /// Where the records are that the replay left in the system keyspace: how the node learns its keyspaces.
    #[must_use]
    pub fn system_records(&self) -> Vec<Position> {
        let Some(system) = self.keyspace(KeyspaceId::SYSTEM) else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        for partition in system.local() {
            let mut from = Some(HashCursor::START);
            while let Some(cursor) = from {
                from = partition
                    .index
                    .page(cursor, limits::SCAN_STEP_ENTRIES_MAX, &mut entries);
            }
        }
        let address = |(_, candidate): &(HashCursor, Candidate)| candidate.address;
        entries.iter().map(address).collect()
    }

    /// The log, to load the active segment into memory.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// How many bytes of the log may be kept in memory beside the index.
    #[must_use]
    pub fn tail_budget(&self) -> u64 {
        let index: u64 = self.keyspaces.iter().map(Keyspace::memory_bytes).sum();
        self.config.memory_bytes.saturating_sub(index)
    }

    fn keyspace_or_new(&mut self, partition: PartitionId) -> &mut Keyspace {
        let identity = &self.config.identity;
        let at = match self
            .keyspaces
            .binary_search_by_key(&partition.keyspace, Keyspace::id)
        {
            Ok(at) => at,
            Err(at) => {
                let mut keyspace =
                    Keyspace::new(partition.keyspace, identity.shard.0, identity.shard_count);
                keyspace.skip_versions(self.versions_lost);
                self.keyspaces.insert(at, keyspace);
                at
            }
        };
        &mut self.keyspaces[at]
    }
}
