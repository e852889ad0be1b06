//! The keyspaces of a node as one shard holds them: the tables of its own partitions.
//!
//! Which keyspaces exist is recorded in the system keyspace, whose one partition lives on shard 0, and is the same on every
//! shard; the driver carries creations and drops to all of them. Recovery meets records of keyspaces before it knows
//! which exist, so [`Shard::install`] either adopts what was replayed or makes empty tables, and [`Shard::drop_unknown`]
//! then lets go of what no keyspace claims: a drop that was interrupted by a crash.

use corduroy_proto_wire::Status;

use super::origin::{Origin, Replies, ShardCommand, ShardReply};
use super::reserve::Purpose;
use super::staging::{PendingBody, PendingReply, Previous};
use super::statistics::Kind;
use super::{Refusal, Shard};
use crate::limits;
use crate::storage::format::{Given, Record, RecordKind};
use crate::storage::hash::KeyHash;
use crate::storage::index::{Candidate, PartitionIndex};
use crate::types::{KeyspaceId, Now, PartitionId, Version};

/// The keyspace that always exists.
pub const DEFAULT_KEYSPACE: &str = "default";

/// What the system keyspace's record of a keyspace holds: its number of partitions.
#[must_use]
pub fn encode_partitions(partitions: u16) -> [u8; 2] {
    partitions.to_le_bytes()
}

/// Reads what [`encode_partitions`] wrote; `None` if it is not that.
#[must_use]
pub fn decode_partitions(value: &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(value.try_into().ok()?))
        .filter(|&partitions| (1..=limits::PARTITIONS_MAX).contains(&partitions))
}

/// A keyspace's number is one more than the version of the record that made it: the system partition's versions
/// only grow, over deletes and restarts too, so no number is ever used again, and 1 stays for `default`.
#[must_use]
pub fn keyspace_of_version(version: u64) -> KeyspaceId {
    KeyspaceId(
        u32::try_from(version + 1).expect("four billion keyspaces are not made in a node's life"),
    )
}

/// One partition of a keyspace on this shard.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) index: PartitionIndex,
    /// The next effect's version.
    pub(super) version_next: Version,
    /// The next entry's index in the log.
    entry_next: u64,
    /// Bytes of the records that the index points at.
    pub(super) live_bytes: u64,
    /// The version of the newest clear that was logged.
    pub(super) cleared: Version,
    /// The newest clear that is staged and not committed: requests wait for it. One of an earlier flush may commit before.
    pub(super) clearing: Option<Version>,
}

impl Partition {
    fn new(version_next: Version) -> Partition {
        Partition {
            index: PartitionIndex::new(),
            version_next,
            entry_next: 1,
            live_bytes: 0,
            cleared: Version(0),
            clearing: None,
        }
    }

    /// Takes all keys away.
    pub(super) fn drop_table(&mut self) -> DroppedTable {
        let table = std::mem::take(&mut self.index);
        DroppedTable {
            keys: table.len(),
            table,
            live_bytes: std::mem::take(&mut self.live_bytes),
        }
    }
}

/// What a cleared partition held.
pub(super) struct DroppedTable {
    pub(super) table: PartitionIndex,
    pub(super) keys: u64,
    pub(super) live_bytes: u64,
}

/// The part of a keyspace that lives on this shard.
#[derive(Debug)]
pub struct Keyspace {
    id: KeyspaceId,
    name: String,
    /// Of the whole keyspace; 0 while recovery has not yet learned it.
    partitions: u16,
    shard: u16,
    shard_count: u16,
    /// See [`Keyspace::index_of`].
    local: Vec<Partition>,
    /// The first version of a partition of which the log holds nothing.
    version_first: Version,
    keys: u64,
}

impl Keyspace {
    pub(super) fn new(id: KeyspaceId, shard: u16, shard_count: u16) -> Keyspace {
        Keyspace {
            id,
            name: String::new(),
            partitions: 0,
            shard,
            shard_count,
            local: Vec::new(),
            version_first: Version(1),
            keys: 0,
        }
    }

    /// Makes tables for all partitions of the keyspace that live here.
    fn complete(&mut self, name: String, partitions: u16) {
        let here = (0..partitions)
            .filter(|index| index % self.shard_count == self.shard)
            .count();
        assert!(
            self.local.len() <= here,
            "records were found of partitions that the keyspace does not have"
        );
        let first = self.version_first;
        self.local.resize_with(here, || Partition::new(first));
        self.name = name;
        self.partitions = partitions;
    }

    /// Its number.
    #[must_use]
    #[inline]
    pub fn id(&self) -> KeyspaceId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many partitions the whole keyspace has.
    #[must_use]
    #[inline]
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// Keys here.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.keys
    }

    /// Whether no key is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// What its tables take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.local
            .iter()
            .map(|partition| partition.index.memory_bytes() as u64)
            .sum()
    }

    pub(super) fn local(&self) -> &[Partition] {
        &self.local
    }

    #[inline]
    pub(super) fn partition(&self, local: usize) -> &Partition {
        &self.local[local]
    }

    #[inline]
    pub(super) fn partition_mut(&mut self, local: usize) -> &mut Partition {
        &mut self.local[local]
    }

    /// So many versions may have been given that nothing is left of, during recovery.
    pub(super) fn skip_versions(&mut self, versions: u64) {
        let first = &mut self.version_first;
        for version in self
            .local
            .iter_mut()
            .map(|partition| &mut partition.version_next)
            .chain([first])
        {
            version.0 += versions;
        }
    }

    /// The index, in the whole keyspace, of the partition that is this shard's so-many-th.
    pub(super) fn index_of(&self, local: usize) -> u16 {
        self.shard + local as u16 * self.shard_count
    }

    /// The partition of an index during recovery, made if it is not there yet.
    pub(super) fn partition_or_new(&mut self, index: u16) -> &mut Partition {
        let local = usize::from(index / self.shard_count);
        if local >= self.local.len() {
            let first = self.version_first;
            self.local.resize_with(local + 1, || Partition::new(first));
        }
        &mut self.local[local]
    }

    /// What was given so far, and can be told by nothing but this. None of it is given again.
    pub(super) fn given(&self) -> Given {
        let versions = self.local.iter().map(|partition| partition.version_next);
        let versions = versions.max().unwrap_or(self.version_first);
        let versions = Version(versions.0 - 1);
        let entries = self.local.iter().map(|partition| partition.entry_next - 1);
        let entries = entries.max().unwrap_or(0);
        match self.id {
            KeyspaceId::SYSTEM => Given {
                system_versions: versions,
                entries,
                ..Given::default()
            },
            _ => Given {
                versions,
                entries,
                ..Given::default()
            },
        }
    }

    /// After recovery: these numbers were given, and perhaps so many versions more.
    pub(super) fn raise(&mut self, given: Given, versions_lost: u64) {
        let highest = match self.id {
            KeyspaceId::SYSTEM => given.system_versions,
            _ => given.versions,
        };
        if highest == Version(0) && given.entries == 0 {
            return;
        }
        let next = Version(highest.0 + 1 + versions_lost);
        self.version_first = self.version_first.max(next);
        for partition in &mut self.local {
            partition.version_next = partition.version_next.max(next);
            partition.entry_next = partition.entry_next.max(given.entries + 1);
        }
    }

    /// The version that the next effect in a partition of this shard gets.
    pub(crate) fn version_next(&self, index: u16) -> Option<Version> {
        let partition = self.local.get(usize::from(index / self.shard_count))?;
        Some(partition.version_next)
    }

    pub(super) fn next_entry(&mut self, index: u16) -> u64 {
        let partition = &mut self.local[usize::from(index / self.shard_count)];
        let entry = partition.entry_next;
        partition.entry_next += 1;
        entry
    }

    pub(super) fn saw_entry(&mut self, index: u16, entry: u64) {
        let partition = self.partition_or_new(index);
        partition.entry_next = partition.entry_next.max(entry + 1);
    }

    #[inline]
    pub(super) fn add_keys(&mut self, keys: u64) {
        self.keys += keys;
    }

    #[inline]
    pub(super) fn remove_keys(&mut self, keys: u64) {
        assert!(
            self.keys >= keys,
            "keys are counted in before they are counted out"
        );
        self.keys -= keys;
    }

    pub(super) fn forget_clearing(&mut self) {
        for partition in &mut self.local {
            partition.clearing = None;
        }
    }
}

/// Dropped tables, waiting to be freed a slice at a time.
#[derive(Debug, Default)]
pub(super) struct Graveyard {
    tables: Vec<crate::storage::index::Graveyard>,
}

impl Graveyard {
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub(super) fn bury(&mut self, table: PartitionIndex) {
        if !table.is_empty() {
            self.tables.push(table.into_graveyard());
        }
    }

    /// Frees about `bytes` of memory; `gone` is told of each entry.
    pub(super) fn free_slice(&mut self, bytes: usize, gone: impl FnMut(Candidate)) {
        if let Some(table) = self.tables.last_mut()
            && table.free_slice(bytes, gone)
        {
            self.tables.pop();
        }
    }
}

impl Shard {
    /// Carries out a command of the node.
    pub fn command(
        &mut self,
        now: Now,
        origin: Origin,
        command: ShardCommand,
        out: &mut impl Replies,
    ) {
        match command {
            ShardCommand::Count { keyspace } => match self.keyspace(keyspace) {
                Some(found) => out.internal(origin, ShardReply::Count(found.len())),
                None => self.unknown(origin, keyspace, out),
            },
            ShardCommand::Flush { keyspace } => self.flush(now, origin, keyspace, out),
            ShardCommand::Scan(step) => self.scan(now, origin, step, out),
            ShardCommand::Install {
                keyspace,
                partitions,
                name,
            } => {
                self.install(keyspace, partitions, &name);
                out.internal(origin, ShardReply::Done);
            }
            ShardCommand::Remove { keyspace } => {
                self.remove(keyspace);
                out.internal(origin, ShardReply::Done);
            }
            ShardCommand::Hold(hold) => self.hold(now, origin, hold, out),
            ShardCommand::Run(hold, frame) => self.run_held(now, origin, hold, frame, out),
            ShardCommand::Release(hold) => self.release(now, hold, out),
            ShardCommand::Compact => self.compact_all(origin, out),
            ShardCommand::Status => {
                let status = self.status();
                out.internal(origin, ShardReply::Status(Box::new(status)));
            }
        }
    }

    /// Makes a keyspace exist on this shard; nothing happens if it does.
    pub fn install(&mut self, id: KeyspaceId, partitions: u16, name: &str) {
        assert!(partitions > 0, "a keyspace has partitions");
        if self.removed_early.remove(&id) {
            return;
        }
        let identity = &self.config.identity;
        let at = match self.keyspaces.binary_search_by_key(&id, Keyspace::id) {
            Ok(at) if self.keyspaces[at].partitions > 0 => return,
            Ok(at) => at,
            Err(at) => {
                let mut keyspace = Keyspace::new(id, identity.shard.0, identity.shard_count);
                keyspace.skip_versions(self.versions_lost);
                keyspace.raise(self.given, self.versions_lost);
                self.keyspaces.insert(at, keyspace);
                at
            }
        };
        self.keyspaces[at].complete(name.to_owned(), partitions);
    }

    /// After all keyspaces are installed: forgets the records of those that are not.
    pub fn drop_unknown(&mut self) {
        let unknown: Vec<KeyspaceId> = self
            .keyspaces
            .iter()
            .filter(|keyspace| keyspace.partitions == 0)
            .map(Keyspace::id)
            .collect();
        for id in unknown {
            self.remove(id);
        }
    }

    /// The keyspaces that clients can use, in the order of their numbers.
    pub fn keyspaces(&self) -> impl Iterator<Item = &Keyspace> {
        self.keyspaces
            .iter()
            .filter(|keyspace| keyspace.id != KeyspaceId::SYSTEM && keyspace.partitions > 0)
    }

    fn remove(&mut self, id: KeyspaceId) {
        let Ok(at) = self.keyspaces.binary_search_by_key(&id, Keyspace::id) else {
            // Two coordinators' words may cross: the one that made it is still to come. Numbers are never used again.
            self.removed_early.insert(id);
            return;
        };
        self.compaction.keys_have_gone();
        let keyspace = self.keyspaces.remove(at);
        self.overlay.forget(id);
        for partition in keyspace.local {
            self.log.drop_live(partition.live_bytes);
            self.graveyard.bury(partition.index);
        }
    }

    /// Stages a clear of every partition that anything was ever written to. One that is empty now may not be after a restart: its keys may
    /// have expired by a clock that is set back later.
    fn flush(&mut self, now: Now, origin: Origin, id: KeyspaceId, out: &mut impl Replies) {
        let Some(at) = self.keyspace_index(id) else {
            return self.unknown(origin, id, out);
        };
        if let Err(refusal) = self.check_may_write(Purpose::Delete) {
            let failed = ShardReply::Failed(refusal.status, refusal.reason);
            self.statistics.errors += 1;
            out.internal(origin, failed);
            return;
        }
        for local in 0..self.keyspaces[at].local.len() {
            let partition_id = PartitionId {
                keyspace: id,
                index: self.keyspaces[at].index_of(local),
            };
            let partition = &mut self.keyspaces[at].local[local];
            if partition.version_next == Version(1) {
                continue;
            }
            let version = partition.version_next;
            partition.clearing = Some(version);
            partition.version_next = Version(version.0 + 1);
            let record = Record {
                kind: RecordKind::Clear,
                key: &[],
                value: &[],
                version,
                timestamp: now.wall,
                expiry: None,
                origin: None,
            };
            self.batch
                .push(partition_id, KeyHash(0), &record, None, Previous::Nothing);
        }
        self.reply_after_commit(PendingReply {
            origin,
            kind: Kind::Part,
            since: now.mono,
            status: Status::Ok,
            version: Version(0),
            timestamp: now.wall,
            body: PendingBody::Done,
        });
    }

    fn unknown(&mut self, origin: Origin, keyspace: KeyspaceId, out: &mut impl Replies) {
        self.statistics.errors += 1;
        let refusal = Refusal::new(
            Status::UnknownKeyspace,
            format!("there is no keyspace with the number {}", keyspace.0),
        );
        out.internal(origin, ShardReply::Failed(refusal.status, refusal.reason));
    }
}
