//! Holding keys: how requests on keys of several shards of a node take effect together.
//!
//! The shard that coordinates such a transaction asks the shards that have its keys, one after the other in the order of their numbers, to
//! **hold** those keys: the hold stands in the queues of all of them (`waiting`), and when it is the first in each, nothing else touches them. It then checks the
//! preconditions, reads what the coordinator wants to know, and answers. When every shard holds, the coordinator has each **run** its part, a unit,
//! in the place of its hold; or **release** it.
//!
//! # Why it is isolated, and where atomicity ends
//!
//! - This is two-phase locking: no part runs before all keys of all parts are held, so transactions, and requests on single keys, come in one order
//!   everywhere (Eswaran et al., *The notions of consistency and predicate locks in a database system*, 1976, §2). FLUSHDB, FLUSHALL and scans take no part in it.
//! - A part's effects are shared with everybody from when it has run: a read of its keys waits for its commit, for another part may be committed already.
//! - It can't deadlock: shards are asked in one order, and a hold enters all its queues of a shard at once. Nobody outside the node is waited for
//!   while keys are held.
//! - Each part is atomic on its own: one block. A crash between the parts' commits, or a disk that fails just then, may leave one part without the other,
//!   and such a transaction was not acknowledged.

use bytes::Bytes;
use corduroy_proto_wire::{Precondition, Request, Status};

use super::origin::{Origin, Replies, ShardReply};
use super::reserve::Purpose;
use super::waiting::{Task, WaiterId};
use super::{Refusal, Shard, Stop, unit};
use crate::types::{KeyspaceId, Now, WallMillis};

/// A key with its keyspace.
pub type OwnedKey = (KeyspaceId, Vec<u8>);

/// What is to be held, and what must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Keys of this shard.
    pub keys: Vec<OwnedKey>,
    /// What must hold of some of them: the version, or that there is none.
    pub preconditions: Vec<(OwnedKey, Option<u64>)>,
    /// A key whose value and expiry the coordinator wants.
    pub read: Option<OwnedKey>,
    /// Something is going to be written.
    pub writes: bool,
}

/// Names a hold on its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldId(pub(super) WaiterId);

/// What a shard that holds has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// To run or release it.
    pub id: HoldId,
    /// Whether the preconditions hold.
    pub allowed: bool,
    /// The value and the expiry of the key that was to be read, if it is there.
    pub read: Option<(Bytes, Option<WallMillis>)>,
}

impl Hold {
    pub(super) fn bytes(&self) -> usize {
        let key = |(_, key): &OwnedKey| key.len() + size_of::<OwnedKey>();
        self.keys.iter().map(key).sum::<usize>()
            + self
                .preconditions
                .iter()
                .map(|(owned, _)| key(owned))
                .sum::<usize>()
    }
}

impl Shard {
    /// Begins to hold keys. Answered by [`ShardReply::Held`] once it does, or by a failure, and then nothing is held.
    pub(super) fn hold(&mut self, now: Now, origin: Origin, hold: Hold, out: &mut impl Replies) {
        let keys = hold
            .keys
            .iter()
            .map(|(keyspace, key)| (*keyspace, &key[..]));
        let queues = self.key_queues(keys);
        if queues.is_empty() {
            let refusal = Refusal::new(Status::UnknownKeyspace, "the keyspace was dropped");
            return refuse_hold(origin, &refusal, out);
        }
        self.enter_waiting(now, queues, origin, Task::Hold(hold), out);
    }

    /// Looks whether everything is there that a hold, which is the first in its queues, has to tell.
    pub(super) fn try_hold(
        &mut self,
        now: Now,
        origin: Origin,
        id: WaiterId,
        hold: &Hold,
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        if hold.writes {
            self.check_may_write(Purpose::Write)?;
        }
        let keys: Vec<(KeyspaceId, &[u8])> = hold
            .keys
            .iter()
            .map(|(keyspace, key)| (*keyspace, &key[..]))
            .collect();
        if self.unit_keys_pending(now, &keys)? {
            // What another shard is going to be told must be committed.
            return Err(Stop::Commit);
        }
        let preconditions: Vec<Precondition<'_>> = hold
            .preconditions
            .iter()
            .map(|((keyspace, key), version)| Precondition {
                keyspace: keyspace.0,
                key,
                version: *version,
            })
            .collect();
        let allowed = self.all_hold(now, &preconditions)?;
        let read = match &hold.read {
            None => None,
            Some((keyspace, key)) => {
                let place = self.locate(*keyspace, key)?;
                let current = self.facts(now, &place, key)?.current;
                current.map(|record| (record.value(), record.expiry))
            }
        };
        let held = Held {
            id: HoldId(id),
            allowed,
            read,
        };
        out.internal(origin, ShardReply::Held(held));
        Ok(())
    }

    /// Carries out a part in the place of its hold. `frame` is a unit's, without its length field, and answered as one.
    pub(super) fn run_held(
        &mut self,
        now: Now,
        origin: Origin,
        id: HoldId,
        frame: Bytes,
        out: &mut impl Replies,
    ) {
        self.replace_task(id.0, origin, Task::Part(frame));
        self.go_on_with(now, id.0, out);
    }

    /// A part was carried out and lets go of its keys. Another part may be committed, and seen, before this one is: then nobody may be shown what was
    /// before this one any more, and whoever reads its keys waits for its commit.
    pub(super) fn share_part(&mut self, part: &Request<'_>) {
        let Request::Unit {
            preconditions,
            frames,
        } = part
        else {
            unreachable!("a part is a unit");
        };
        for (keyspace, key) in unit::keys_of(preconditions, frames) {
            if let Ok(place) = self.locate(keyspace, key)
                && let Some(pending) = self.overlay.newest_mut(&place.overlay_key())
            {
                pending.shared = true;
            }
        }
    }

    /// Lets go of keys.
    pub(super) fn release(&mut self, now: Now, id: HoldId, out: &mut impl Replies) {
        self.leave_waiting(now, id.0, out);
    }
}

pub(super) fn refuse_hold(origin: Origin, refusal: &Refusal, out: &mut impl Replies) {
    out.internal(
        origin,
        ShardReply::Failed(refusal.status, refusal.reason.clone()),
    );
}
