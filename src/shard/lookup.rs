//! From a key to its record: committed, uncommitted, or on disk.

use std::ops::Deref;

use bytes::Bytes;
use corduroy_proto_wire::Status;

use super::keyspaces::Keyspace;
use super::origin::Origin;
use super::overlay::{OverlayKey, Pending, Stage};
use super::staging::Previous;
use super::{Refusal, Shard, Stop};
use crate::storage::format::{Record, RecordKind};
use crate::storage::hash::KeyHash;
use crate::types::{
    KeyspaceId, Now, PartitionId, Position, ShardId, partition_of_key, shard_of_partition,
};

/// Which shard of the node a key lives on.
#[derive(Clone, Copy, Debug)]
pub enum Whereabouts {
    /// This one.
    Here(KeyPlace),
    /// Another one.
    On(ShardId),
    /// None: there is no such keyspace.
    NoKeyspace,
}

/// Where in its shard a key belongs. Holds until the next [`Shard::command`].
#[derive(Clone, Copy, Debug)]
pub struct KeyPlace {
    pub(super) partition: PartitionId,
    /// Index into `Shard::keyspaces`.
    pub(super) keyspace: usize,
    /// Index into the keyspace's partitions of this shard.
    pub(super) local: usize,
    pub(super) hash: KeyHash,
}

impl KeyPlace {
    pub(super) fn overlay_key(&self) -> OverlayKey {
        OverlayKey {
            partition: self.partition,
            hash: self.hash,
        }
    }
}

/// A record, and the handle through which its value can be kept without copying it, if there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a> {
    record: Record<'a>,
    /// What holds a large value: at least all of it.
    owner: Option<&'a Bytes>,
}

impl<'a> Held<'a> {
    fn new((record, owner): (Record<'a>, Option<&'a Bytes>)) -> Held<'a> {
        Held { record, owner }
    }

    /// The value, if it is one that must not be copied.
    #[inline]
    pub(super) fn large_value(&self) -> Option<Bytes> {
        self.owner.map(|owner| owner.slice_ref(self.record.value))
    }

    /// The value, to be kept.
    pub(super) fn value(&self) -> Bytes {
        self.large_value()
            .unwrap_or_else(|| Bytes::copy_from_slice(self.record.value))
    }
}

impl<'a> Deref for Held<'a> {
    type Target = Record<'a>;

    fn deref(&self) -> &Record<'a> {
        &self.record
    }
}

/// A record and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located<'a> {
    pub(super) position: Position,
    pub(super) record: Held<'a>,
    pub(super) len: u32,
}

/// What evaluating a write needs to know of its key.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The live record, uncommitted ones included; `None` if the key is absent or expired.
    pub(super) current: Option<Held<'a>>,
    /// What a new effect on the key takes the place of.
    pub(super) previous: Previous,
    /// What the facts rest on is not committed yet.
    pub(super) pending: bool,
}

impl Shard {
    /// Where a key lives.
    #[inline]
    #[must_use]
    pub fn whereabouts(&self, keyspace: KeyspaceId, key: &[u8]) -> Whereabouts {
        let Some(at) = self.keyspace_index(keyspace) else {
            return Whereabouts::NoKeyspace;
        };
        let index = partition_of_key(key, self.keyspaces[at].partitions());
        let shard_count = self.config.identity.shard_count;
        let shard = shard_of_partition(index, shard_count);
        if shard != self.config.identity.shard {
            return Whereabouts::On(shard);
        }
        Whereabouts::Here(KeyPlace {
            partition: PartitionId { keyspace, index },
            keyspace: at,
            local: usize::from(index / shard_count),
            hash: self.hasher.hash(key),
        })
    }

    /// The address of a key's entry in the index, to be prefetched.
    #[inline]
    #[must_use]
    pub fn entry_address(&self, place: &KeyPlace) -> *const u8 {
        self.keyspaces[place.keyspace]
            .partition(place.local)
            .index
            .home(place.hash)
    }

    /// The address of a key's record, to be prefetched, if there may be one and it is in memory.
    #[inline]
    #[must_use]
    pub fn record_address(&self, place: &KeyPlace) -> Option<*const u8> {
        let index = &self.keyspaces[place.keyspace].partition(place.local).index;
        let candidate = index.candidates(place.hash).next()?;
        self.log.address_of(candidate.address)
    }

    /// Finds where a key of this shard belongs.
    #[inline]
    pub(super) fn locate(&self, keyspace: KeyspaceId, key: &[u8]) -> Result<KeyPlace, Refusal> {
        if let Some(place) = self.known_place.take() {
            return Ok(place);
        }
        match self.whereabouts(keyspace, key) {
            Whereabouts::Here(place) => Ok(place),
            Whereabouts::NoKeyspace => Err(Refusal::new(
                Status::UnknownKeyspace,
                format!("there is no keyspace with the number {}", keyspace.0),
            )),
            Whereabouts::On(shard) => Err(Refusal::new(
                Status::InvalidRequest,
                format!(
                    "the key lives on shard {shard}, not on shard {}",
                    self.config.identity.shard
                ),
            )),
        }
    }

    #[inline]
    pub(super) fn keyspace_index(&self, id: KeyspaceId) -> Option<usize> {
        self.keyspaces
            .iter()
            .position(|keyspace| keyspace.id() == id)
    }

    pub(super) fn keyspace(&self, id: KeyspaceId) -> Option<&Keyspace> {
        self.keyspace_index(id).map(|at| &self.keyspaces[at])
    }

    /// The record at a committed address: in the tail, or read from disk for a waiting request. `Ok(None)`: not in memory.
    pub(super) fn record_at(&self, position: Position) -> Result<Option<Held<'_>>, Refusal> {
        if let Some(found) = self.log.record_at(position) {
            return Ok(Some(Held::new(found)));
        }
        match self.waiting.warm(position) {
            None => Ok(None),
            Some(Ok(bytes)) => {
                let record =
                    Record::parse(bytes).expect("what was checked when it was read parses");
                let is_large = record.value.len() > self.config.large_len;
                Ok(Some(Held::new((record, is_large.then_some(bytes)))))
            }
            Some(Err(reason)) => Err(Refusal::new(Status::Damaged, reason)),
        }
    }

    /// The committed record of a key, expired or not.
    #[inline]
    pub(super) fn committed(
        &self,
        place: &KeyPlace,
        key: &[u8],
    ) -> Result<Option<Located<'_>>, Stop> {
        let partition = self.keyspaces[place.keyspace].partition(place.local);
        let mut cold = Vec::new();
        for candidate in partition.index.candidates(place.hash) {
            match self.record_at(candidate.address)? {
                Some(record) if record.key == key => {
                    let len = record.encoded_len() as u32;
                    return Ok(Some(Located {
                        position: candidate.address,
                        record,
                        len,
                    }));
                }
                Some(_) => {}
                None => cold.push((candidate.address, candidate.len_hint)),
            }
        }
        if cold.is_empty() {
            Ok(None)
        } else {
            Err(Stop::Cold(cold))
        }
    }

    /// The newest uncommitted effect on a key, and its record.
    #[inline]
    pub(super) fn pending(
        &self,
        place: &KeyPlace,
        key: &[u8],
    ) -> Result<Option<(Pending, Previous, Held<'_>)>, Stop> {
        if self.overlay.is_empty() {
            return Ok(None);
        }
        let Some((stage, pending)) = self.overlay.newest(&place.overlay_key()) else {
            return Ok(None);
        };
        let (found, as_previous) = match stage {
            Stage::Batch => (
                self.batch.record(pending.effect),
                Previous::Effect(pending.effect),
            ),
            Stage::Flight => {
                let effect = self.pipeline.in_flight(pending.effect);
                let record = self
                    .log
                    .record_at(effect.position)
                    .expect("a block in flight is in the tail's memory");
                (record, Previous::At(effect.position, effect.len))
            }
        };
        let record = Held::new(found);
        if record.key != key {
            // Another key with the same 64-bit hash is being written. That is rare beyond measuring, and waiting is correct.
            return Err(Stop::Commit);
        }
        Ok(Some((*pending, as_previous, record)))
    }

    /// All that a write has to know of its key.
    pub(super) fn facts(&self, now: Now, place: &KeyPlace, key: &[u8]) -> Result<Facts<'_>, Stop> {
        if self.keyspaces[place.keyspace]
            .partition(place.local)
            .clearing
            .is_some()
        {
            return Err(Stop::Commit);
        }
        if let Some((pending, previous, record)) = self.pending(place, key)? {
            let current =
                (record.kind == RecordKind::Set && !is_expired(&record, now)).then_some(record);
            return Ok(Facts {
                current,
                previous,
                pending: !pending.is_copy,
            });
        }
        Ok(match self.committed(place, key)? {
            None => Facts {
                current: None,
                previous: Previous::Nothing,
                pending: false,
            },
            Some(Located {
                position,
                record,
                len,
            }) => Facts {
                current: (!is_expired(&record, now)).then_some(record),
                previous: Previous::At(position, len),
                pending: false,
            },
        })
    }

    /// The record that a read of a key over this connection must see, and whether it is uncommitted.
    pub(super) fn visible(
        &self,
        now: Now,
        origin: &Origin,
        place: &KeyPlace,
        key: &[u8],
    ) -> Result<(Option<Held<'_>>, bool), Stop> {
        if self.keyspaces[place.keyspace]
            .partition(place.local)
            .clearing
            .is_some()
        {
            return Err(Stop::Commit);
        }
        if let Some((pending, _, record)) = self.pending(place, key)?
            && (pending.is_copy || pending.shared || pending.writer.same_client(origin))
        {
            // A copy is what is committed, and it is in memory, which the other need not be.
            let live = record.kind == RecordKind::Set && !is_expired(&record, now);
            return Ok((live.then_some(record), !pending.is_copy));
        }
        let found = self.committed(place, key)?;
        Ok((
            found
                .map(|located| located.record)
                .filter(|record| !is_expired(record, now)),
            false,
        ))
    }
}

/// Whether a record's time has passed.
#[inline]
pub(super) fn is_expired(record: &Record<'_>, now: Now) -> bool {
    record.expiry.is_some_and(|expiry| expiry <= now.wall)
}
