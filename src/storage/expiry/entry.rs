//! One entry of the queue, packed into 28 bytes.
//!
//! As a plain struct it would take 32, and a queue of ten million entries 40 MB more.

use crate::storage::hash::KeyHash;
use crate::types::{KeyspaceId, PartitionId, Position, WallMillis};

/// A record whose time has come, or would have if nothing newer has replaced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Due {
    /// When the record expires.
    pub expiry: WallMillis,
    /// The partition of its key.
    pub partition: PartitionId,
    /// The hash of its key in the bits that the index looks at, the top 40. The others are zero.
    pub hash: KeyHash,
    /// Where the record is, or was.
    pub address: Position,
}

/// `[expiry low, expiry high, address low, address high, keyspace, hash 63..32, hash 31..24 with the partition's index above it]`
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed([u32; 7]);

impl Packed {
    pub(super) fn expiry(self) -> u64 {
        join(self.0[0], self.0[1])
    }
}

impl From<Due> for Packed {
    fn from(due: Due) -> Self {
        let (expiry_low, expiry_high) = cut(due.expiry.0);
        let (address_low, address_high) = cut(due.address.0);
        let (hash_low, hash_high) = cut(due.hash.0);
        let partition_and_hash = (u32::from(due.partition.index) << 8) | (hash_low >> 24);
        let keyspace = due.partition.keyspace.0;
        Self([
            expiry_low,
            expiry_high,
            address_low,
            address_high,
            keyspace,
            hash_high,
            partition_and_hash,
        ])
    }
}

impl From<Packed> for Due {
    fn from(packed: Packed) -> Self {
        let [
            expiry_low,
            expiry_high,
            address_low,
            address_high,
            keyspace,
            hash_high,
            partition_and_hash,
        ] = packed.0;
        Self {
            expiry: WallMillis(join(expiry_low, expiry_high)),
            partition: PartitionId {
                keyspace: KeyspaceId(keyspace),
                index: (partition_and_hash >> 8) as u16,
            },
            hash: KeyHash(join(partition_and_hash << 24, hash_high)),
            address: Position(join(address_low, address_high)),
        }
    }
}

fn cut(whole: u64) -> (u32, u32) {
    (whole as u32, (whole >> 32) as u32)
}

fn join(low: u32, high: u32) -> u64 {
    (u64::from(high) << 32) | u64::from(low)
}
