//! For a key, the newest effect on it that is not committed yet.
//!
//! There are two maps: of the batch that gathers, and of the block in flight. When a batch departs its map goes with it, and when the block has landed that map is
//! emptied in one go; so an effect costs one insertion and no removal. Whoever asks for a key looks into the batch's first, which is the newer one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use super::origin::Origin;
use crate::storage::hash::KeyHash;
use crate::types::{KeyspaceId, PartitionId};

/// The newest uncommitted effect on a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// Its number in its batch.
    pub(super) effect: u32,
    /// Who wrote it. A read over the same connection must see it, so waits for it; others read what is committed.
    pub(super) writer: Origin,
    /// More than one connection has uncommitted effects on the key, or was told of one: then every reader waits.
    pub(super) shared: bool,
    /// It is what is committed, on its way to another position: it may be shown at once, and the next write takes its place.
    pub(super) is_copy: bool,
}

/// Which batch an effect is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The one that gathers.
    Batch,
    /// The one in flight to the disk; its records are in the log's memory.
    Flight,
}

/// Overlay keys hold a keyed hash already: hashing it again would only cost time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OverlayKey {
    pub(super) partition: PartitionId,
    pub(super) hash: KeyHash,
}

impl std::hash::Hash for OverlayKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(
            self.hash.0
                ^ (u64::from(self.partition.index) << 32)
                ^ u64::from(self.partition.keyspace.0),
        );
    }
}

/// Passes a number through, spread over all bits.
#[derive(Debug, Default)]
pub(super) struct PassHasher(u64);

impl Hasher for PassHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only whole numbers are hashed here");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

pub(super) type PassMap<K, V> = HashMap<K, V, BuildHasherDefault<PassHasher>>;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    batch: PassMap<OverlayKey, Pending>,
    flight: PassMap<OverlayKey, Pending>,
}

impl Overlay {
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.flight.is_empty()
    }

    /// The newest effect on a key.
    #[inline]
    pub(super) fn newest(&self, key: &OverlayKey) -> Option<(Stage, &Pending)> {
        // An empty map still hashes.
        if !self.batch.is_empty()
            && let Some(pending) = self.batch.get(key)
        {
            return Some((Stage::Batch, pending));
        }
        if self.flight.is_empty() {
            return None;
        }
        Some((Stage::Flight, self.flight.get(key)?))
    }

    /// The same, to mark it.
    pub(super) fn newest_mut(&mut self, key: &OverlayKey) -> Option<&mut Pending> {
        match self.batch.get_mut(key) {
            Some(pending) => Some(pending),
            None => self.flight.get_mut(key),
        }
    }

    /// The batch has a new effect on a key.
    #[inline]
    pub(super) fn stage(&mut self, key: OverlayKey, effect: u32, writer: Origin) {
        let slot = self.batch.entry(key);
        let before = match &slot {
            Entry::Occupied(occupied) => Some(*occupied.get()),
            Entry::Vacant(_) if self.flight.is_empty() => None,
            Entry::Vacant(_) => self.flight.get(&key).copied(),
        };
        let pending = match before {
            Some(before) if !before.is_copy => Pending {
                effect,
                shared: before.shared || !before.writer.same_client(&writer),
                ..before
            },
            _ => Pending {
                effect,
                writer,
                shared: false,
                is_copy: false,
            },
        };
        slot.insert_entry(pending);
    }

    /// The batch has a copy of what a key without uncommitted effects holds. `nobody` wrote it.
    pub(super) fn stage_copy(&mut self, key: OverlayKey, effect: u32, nobody: Origin) {
        let pending = Pending {
            effect,
            writer: nobody,
            shared: false,
            is_copy: true,
        };
        self.batch.insert(key, pending);
    }

    /// The batch goes into flight.
    pub(super) fn depart(&mut self) {
        assert!(
            self.flight.is_empty(),
            "a batch departs when the one before it has landed"
        );
        std::mem::swap(&mut self.batch, &mut self.flight);
    }

    /// The block in flight is committed, or never will be.
    pub(super) fn landed(&mut self) {
        self.flight.clear();
    }

    /// Nothing uncommitted is left.
    pub(super) fn clear(&mut self) {
        self.batch.clear();
        self.flight.clear();
    }

    /// Nothing is left of a keyspace.
    pub(super) fn forget(&mut self, keyspace: KeyspaceId) {
        for map in [&mut self.batch, &mut self.flight] {
            map.retain(|key, _| key.partition.keyspace != keyspace);
        }
    }
}
