//! How a decided write becomes an effect, and what is answered to it: after its commit, or at once where nothing changes.
//!
//! An effect gets its version here, is encoded into the batch's arena (`staging`), and stands in the overlay until it is committed.

use bytes::Bytes;
use corduroy_proto_wire::{Put, Status, Ttl};

use super::Shard;
use super::commit::answer;
use super::decision::Decision;
use super::lookup::KeyPlace;
use super::origin::{Origin, Replies};
use super::staging::{PendingBody, PendingReply, Previous};
use super::statistics::Kind;
use crate::storage::buffer::share_part;
use crate::storage::format::{Record, RecordKind};
use crate::types::{Now, Version, WallMillis};

impl Shard {
    /// Stages a put's effect, if it has one: a value whose time has passed takes what is there away, and does nothing where there is nothing.
    #[inline]
    pub(super) fn stage_put(
        &mut self,
        now: Now,
        origin: Origin,
        place: &KeyPlace,
        put: &Put<'_>,
        decision: &Decision,
    ) -> Option<Version> {
        let expiry = match put.ttl {
            Ttl::None => None,
            Ttl::Keep => decision.expiry,
            Ttl::Millis(ttl) => Some(expiry_at(now, ttl)),
            Ttl::At(at) if at <= now.wall.0 => {
                let previous = decision.previous;
                return decision
                    .exists
                    .then(|| self.stage_delete(now, origin, place, put.key, previous));
            }
            Ttl::At(at) => Some(WallMillis(at)),
        };
        let shared = self.share(put.value);
        Some(self.stage_set(
            now,
            origin,
            place,
            put.key,
            (put.value, shared),
            expiry,
            decision.previous,
        ))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a record and its surroundings"
    )]
    #[inline]
    pub(super) fn stage_set(
        &mut self,
        now: Now,
        origin: Origin,
        place: &KeyPlace,
        key: &[u8],
        (value, shared): (&[u8], Option<Bytes>),
        expiry: Option<WallMillis>,
        previous: Previous,
    ) -> Version {
        let record = Record {
            kind: RecordKind::Set,
            key,
            value,
            version: self.next_version(place),
            timestamp: now.wall,
            expiry,
            origin: None,
        };
        self.stage(origin, place, &record, shared, previous)
    }

    /// The handle on a value of the request in hand, if it is one that is not to be copied.
    #[inline]
    fn share(&self, value: &[u8]) -> Option<Bytes> {
        let frame = self.frame.as_ref()?;
        if value.len() > self.config.large_len {
            share_part(frame, value)
        } else {
            None
        }
    }

    pub(super) fn stage_delete(
        &mut self,
        now: Now,
        origin: Origin,
        place: &KeyPlace,
        key: &[u8],
        previous: Previous,
    ) -> Version {
        let record = Record {
            kind: RecordKind::Delete,
            key,
            value: &[],
            version: self.next_version(place),
            timestamp: now.wall,
            expiry: None,
            origin: None,
        };
        self.stage(origin, place, &record, None, previous)
    }

    fn next_version(&mut self, place: &KeyPlace) -> Version {
        let partition = self.keyspaces[place.keyspace].partition_mut(place.local);
        let version = partition.version_next;
        partition.version_next = Version(version.0 + 1);
        version
    }

    #[inline]
    fn stage(
        &mut self,
        origin: Origin,
        place: &KeyPlace,
        record: &Record<'_>,
        shared: Option<Bytes>,
        previous: Previous,
    ) -> Version {
        debug_assert!(
            self.batch.records_len <= u32::MAX as usize / 2,
            "a batch stays far below what an offset can name"
        );
        let effect = self
            .batch
            .push(place.partition, place.hash, record, shared, previous);
        self.overlay.stage(place.overlay_key(), effect, origin);
        record.version
    }

    pub(super) fn done_after_commit(
        &mut self,
        now: Now,
        origin: Origin,
        kind: Kind,
        version: Version,
        body: PendingBody,
    ) {
        self.reply_after_commit(PendingReply {
            origin,
            kind,
            since: now.mono,
            status: Status::Ok,
            version,
            timestamp: now.wall,
            body,
        });
    }

    /// A connection is going to hear of an uncommitted effect on a key. If that is another's, its later reads must not show what was before.
    pub(super) fn told_of(&mut self, origin: &Origin, place: &KeyPlace) {
        if let Some(pending) = self.overlay.newest_mut(&place.overlay_key()) {
            pending.shared |= !pending.writer.same_client(origin);
        }
    }

    /// Nothing changes; but if the decision rests on an uncommitted effect, nobody may hear of it before that commits.
    pub(super) fn answer_unchanged(
        &mut self,
        now: Now,
        origin: Origin,
        kind: Kind,
        place: &KeyPlace,
        decision: Decision,
        out: &mut impl Replies,
    ) {
        let reply = PendingReply {
            origin,
            kind,
            since: now.mono,
            status: decision.status,
            version: decision.version,
            timestamp: decision.timestamp,
            body: decision.body,
        };
        if decision.pending {
            self.told_of(&origin, place);
            self.reply_after_commit(reply);
        } else {
            self.kind_done(kind);
            answer(&reply, self.config.large_len, out);
        }
    }
}

pub(super) fn expiry_at(now: Now, ttl_ms: u64) -> WallMillis {
    WallMillis(now.wall.0.saturating_add(ttl_ms))
}
