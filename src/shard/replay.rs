//! Filling the index from what recovery finds in the log.
//!
//! Records come in log order, and *the highest version of a key wins*. The keys themselves are in the log, so telling an
//! overwrite from another key of the same hash means looking at the older record: the caller answers for the bytes of any
//! position that it has shown before (it has the segments mapped). A record whose time has passed counts as a delete.

use super::keyspaces::Keyspace;
use super::{Shard, ShardConfig};
use crate::limits;
use crate::storage::format::{EntryHeader, RECORD_LEN_MIN, Record, RecordKind};
use crate::storage::index::{Candidate, HashCursor};
use crate::storage::log::Log;
use crate::types::{KeyspaceId, Now, PartitionId, Position, Version, WallMillis};

/// Answers for the bytes of records that were replayed before.
pub trait Earlier {
    /// The record at a position that was replayed before.
    fn record_at(&self, position: Position) -> Record<'_>;
}

impl Shard {
    /// A shard to replay records into. Records whose time has passed are not kept.
    #[must_use]
    pub fn replaying(config: ShardConfig, now: Now) -> Shard {
        let mut shard = Shard::new(config);
        shard.wall_floor = now.wall;
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
        let live_bytes = self.log.live_bytes();
        self.log = log;
        self.log.add_live(live_bytes);
        self.pipeline.recovered(self.log.end());
        self.expire_all(proven);
    }

    /// An entry's header, before its records.
    pub fn replay_entry(&mut self, header: &EntryHeader) {
        let partition = header.partition;
        self.keyspace_or_new(partition)
            .saw_entry(partition.index, header.index);
    }

    /// Bytes of the log are gone whose versions were given to clients. None of them may be given again, so every partition goes on above
    /// the most that they can have held, at this start and, since the skip block tells of it, at each one after it.
    pub fn replay_given_up(&mut self, bytes: u64) {
        let versions = bytes / RECORD_LEN_MIN as u64;
        self.versions_lost += versions;
        for keyspace in &mut self.keyspaces {
            keyspace.skip_versions(versions);
        }
    }

    /// One record of the log.
    pub fn replay(
        &mut self,
        partition_id: PartitionId,
        position: Position,
        len: u32,
        record: &Record<'_>,
        earlier: &impl Earlier,
    ) {
        let expired = record
            .expiry
            .is_some_and(|expiry| expiry <= self.wall_floor);
        let hash = self.hasher.hash(record.key);
        let keyspace = self.keyspace_or_new(partition_id);
        let partition = keyspace.partition_or_new(partition_id.index);
        partition.version_next = partition.version_next.max(Version(record.version.0 + 1));
        if record.kind == RecordKind::Clear {
            let dropped = partition.drop_table();
            keyspace.remove_keys(dropped.keys);
            self.log.remove_live(dropped.live_bytes);
            self.graveyard.bury(dropped.table);
            return;
        }
        let before = partition.index.candidates(hash).find_map(|candidate| {
            let found = earlier.record_at(candidate.address);
            (found.key == record.key)
                .then(|| (candidate.address, found.encoded_len() as u32, found.version))
        });
        if before.is_some_and(|(_, _, version)| version > record.version) {
            return;
        }
        let lives = record.kind == RecordKind::Set && !expired;
        if lives {
            partition.live_bytes += u64::from(len);
        }
        match (before, lives) {
            (Some((old, old_len, _)), true) => {
                assert!(
                    partition.index.replace(hash, old, position, len),
                    "the entry was found just now"
                );
                partition.live_bytes -= u64::from(old_len);
                self.log.remove_live(u64::from(old_len));
            }
            (None, true) => {
                partition.index.insert(hash, position, len);
                keyspace.add_keys(1);
            }
            (Some((old, old_len, _)), false) => {
                assert!(
                    partition.index.remove(hash, old),
                    "the entry was found just now"
                );
                partition.live_bytes -= u64::from(old_len);
                keyspace.remove_keys(1);
                self.log.remove_live(u64::from(old_len));
            }
            (None, false) => {}
        }
        if lives {
            self.log.add_live(u64::from(len));
            if let Some(expiry) = record.expiry {
                self.expiry.insert(expiry, partition_id, hash, position);
            }
        }
    }

    /// Every key, value and version that the replay left in the system keyspace: how the node learns its keyspaces. The records
    /// are asked of `earlier`, not of the log's tail: a keyspace is made once and its record grows old.
    #[must_use]
    pub fn system_records(&self, earlier: &impl Earlier) -> Vec<(Vec<u8>, Vec<u8>, Version)> {
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
        let record = |(_, candidate): &(HashCursor, Candidate)| {
            let record = earlier.record_at(candidate.address);
            (record.key.to_vec(), record.value.to_vec(), record.version)
        };
        entries.iter().map(record).collect()
    }

    /// The log, to load the newest segments into memory.
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
