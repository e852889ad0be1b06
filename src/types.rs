//! The small types that every layer speaks: ids that can't be mixed up, positions, times.
//!
//! A **slot** is CRC16 of the key (of its `{tag}` if it has one) modulo 16,384, as in Redis Cluster. A **partition** is a
//! contiguous range of slots of one keyspace, and lives on exactly one **shard** of a node. A **position** is a byte
//! address in a shard's log: it only grows, is never used twice, and says nothing about which segment holds it.

use std::fmt;

use corduroy_proto_wire::{partition_of_slot, slot_of};

/// One core's executor with its log, its index and its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// As an index into per-shard arrays.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A keyspace's number: never used again after a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyspaceId(pub u32);

impl KeyspaceId {
    /// The keyspace in which the node keeps the list of keyspaces. Not reachable by clients.
    pub const SYSTEM: KeyspaceId = KeyspaceId(0);
    /// The keyspace `default`, which always exists.
    pub const DEFAULT: KeyspaceId = KeyspaceId(1);
}

/// One partition: a contiguous range of slots of one keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// 0 to the keyspace's number of partitions, exclusive.
    pub index: u16,
}

/// The partition of a keyspace that holds a key.
#[must_use]
#[inline]
pub fn partition_of_key(key: &[u8], partitions: u16) -> u16 {
    partition_of_slot(slot_of(key), partitions)
}

/// The shard of this node on which a partition lives.
#[must_use]
#[inline]
pub fn shard_of_partition(index: u16, shard_count: u16) -> ShardId {
    ShardId(corduroy_proto_wire::shard_of_partition(index, shard_count))
}

/// A number that only grows for a key, over deletes and restarts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

/// A byte address in a shard's log. Only grows; never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A segment's number in its shard: 1, 2, 3 …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Wall-clock time in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WallMillis(pub u64);

/// Time on a clock that never goes back, in nanoseconds since some start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MonoNanos(pub u64);

/// Both clocks, read once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For durations and deadlines inside the process.
    pub mono: MonoNanos,
    /// For expiry and timestamps.
    pub wall: WallMillis,
}
