//! A unit: requests on keys of this shard that take effect together, under preconditions. MULTI … EXEC, WATCH, MSET and MSETNX come to this.
//!
//! # How it is carried out
//!
//! In one call, without anything in between:
//!
//! 1. **Look.** All requests are decoded and all keys looked up, those of the preconditions too. A record that is on disk is asked for (all of them at
//!    once), and what can't be seen before a commit is waited for; the unit is then evaluated again from its start, as every request is (`waiting`).
//!    Meanwhile it stands in the queues of all its keys.
//! 2. **Decide.** The preconditions are checked, and what the unit would cost ([`cost`]). If one does not hold, or it is over a bound, nothing was done.
//! 3. **Do.** The requests are evaluated one after the other by the same code as single ones, each seeing the effects of those before it. One that
//!    fails, for a value that is no counter for instance, is answered with its error and the next one goes on: as in Redis there is no way back.
//!    Nothing can stop here: every record is in memory or among the effects that are not committed yet, and no key hides another's.
//! 4. **Answer** when the block commits: the requests' answers in their order, and the unit's own.
//!
//! # Why it is atomic and isolated
//!
//! - All its effects are in one batch, for a batch is closed only between two calls; a batch becomes one block, and recovery takes a block whole or not at
//!   all (`docs/on-disk-format.md`). At commit all effects of a block are applied before anything else is read.
//! - Nothing is evaluated between its requests, so other requests come before all of them or after all of them. Its reads see everything that was evaluated before, also
//!   what other connections wrote that is not committed: those effects are marked as shared first, so that nobody is shown what was before them any more.
//! - No answer leaves before everything that it rests on is committed. If the block fails, the unit alone is answered, with that, and none of its requests.

mod cost;

use bytes::Bytes;
use corduroy_proto_wire::{Body, Precondition, Request, RequestId, Response, Status, key_of, peek};

use super::atomic::check_cold;
use super::lookup::KeyPlace;
use super::origin::{Origin, Replies, ShardReply, Target};
use super::relocate::same_hash;
use super::reserve::Purpose;
use super::staging::{PendingBody, PendingReply, UnitAnswer};
use super::statistics::Kind;
use super::{Refusal, Shard, Stop};
use crate::types::{KeyspaceId, MonoNanos, Now, Version, WallMillis};

/// A key of a unit and where it is.
#[derive(Clone, Copy, Debug)]
struct UnitKey<'a> {
    keyspace: KeyspaceId,
    key: &'a [u8],
    place: KeyPlace,
}

/// The keys that a unit is about, each as often as it is named.
pub(super) fn keys_of<'a>(
    preconditions: &[Precondition<'a>],
    frames: &[&'a [u8]],
) -> Vec<(KeyspaceId, &'a [u8])> {
    let mut keys: Vec<(KeyspaceId, &[u8])> = preconditions
        .iter()
        .map(|precondition| (KeyspaceId(precondition.keyspace), precondition.key))
        .collect();
    for frame in frames {
        if let (Some(key), Ok(head)) = (key_of(frame), peek(frame)) {
            keys.push((KeyspaceId(head.keyspace), key));
        } else if let Ok((
            _,
            Request::Move {
                source,
                destination,
                ..
            },
        )) = Request::decode(frame)
        {
            keys.push((KeyspaceId(source.0), source.1));
            keys.push((KeyspaceId(destination.0), destination.1));
        }
    }
    keys
}

/// Whether a request of a unit may change something.
fn is_write(request: &Request<'_>) -> bool {
    !matches!(
        request,
        Request::Get { .. }
            | Request::Exists { .. }
            | Request::Ttl { .. }
            | Request::ExpiresAt { .. }
    )
}

impl Shard {
    pub(super) fn unit(
        &mut self,
        now: Now,
        origin: Origin,
        preconditions: &[Precondition<'_>],
        frames: &[&[u8]],
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let requests = decode(frames)?;
        let writes = || requests.iter().filter(|(_, request)| is_write(request));
        if writes().any(|(_, request)| !matches!(request, Request::Delete { .. })) {
            self.check_may_write(Purpose::Write)?;
        } else if writes().next().is_some() {
            self.check_may_write(Purpose::Delete)?;
        }
        let keys = self.locate_all(&keys_of(preconditions, frames))?;
        let pending = self.all_in_memory(now, &keys)?;
        let holds = self.all_hold(now, preconditions)?;
        if holds {
            self.check_unit_cost(now, &keys, &requests)?;
        }

        // From here on nothing is refused as a whole, and nothing can stop.
        for key in &keys {
            self.told_of(&origin, &key.place);
        }
        let effects_before = self.batch.effects.len();
        let (status, body) = if holds {
            let answers = requests
                .iter()
                .flat_map(|(id, request)| self.unit_request(now, origin, *id, request))
                .collect();
            (Status::Ok, PendingBody::Unit(answers))
        } else {
            (Status::ConditionFailed, PendingBody::Empty)
        };
        let reply = PendingReply {
            origin,
            kind: Kind::Unit,
            since: now.mono,
            status,
            version: Version(0),
            timestamp: WallMillis(0),
            body,
        };
        if pending || self.batch.effects.len() > effects_before {
            self.reply_after_commit(reply);
        } else {
            self.reply_now(&reply, out);
        }
        Ok(())
    }

    /// Finds each key's place, once for each key.
    fn locate_all<'a>(
        &self,
        named: &[(KeyspaceId, &'a [u8])],
    ) -> Result<Vec<UnitKey<'a>>, Refusal> {
        let mut keys = Vec::with_capacity(named.len());
        for &(keyspace, key) in named {
            if keyspace == KeyspaceId::SYSTEM {
                return Err(Refusal::new(
                    Status::UnknownKeyspace,
                    "there is no keyspace with the number 0",
                ));
            }
            let place = self.locate(keyspace, key)?;
            keys.push(UnitKey {
                keyspace,
                key,
                place,
            });
        }
        keys.sort_unstable_by_key(|key| (key.keyspace, key.key));
        keys.dedup_by_key(|key| (key.keyspace, key.key));
        let mut hashes: Vec<_> = keys.iter().map(|key| key.place.overlay_key()).collect();
        hashes.sort_unstable();
        if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
            // The newest uncommitted effect is found by the hash alone: one of the two would hide the other's.
            return Err(same_hash());
        }
        Ok(keys)
    }

    /// As [`Shard::all_in_memory`] for keys that are to be held.
    pub(super) fn unit_keys_pending(
        &self,
        now: Now,
        named: &[(KeyspaceId, &[u8])],
    ) -> Result<bool, Stop> {
        let keys = self.locate_all(named)?;
        self.all_in_memory(now, &keys)
    }

    /// Makes sure that every key's record can be seen, and says whether any of them is not committed yet.
    fn all_in_memory(&self, now: Now, keys: &[UnitKey<'_>]) -> Result<bool, Stop> {
        let mut pending = false;
        let mut cold = Vec::new();
        for key in keys {
            match self.facts(now, &key.place, key.key) {
                Ok(facts) => pending |= facts.pending,
                Err(Stop::Cold(records)) => cold.extend(records),
                Err(stop) => return Err(stop),
            }
        }
        if cold.is_empty() {
            return Ok(pending);
        }
        cold.sort_unstable();
        cold.dedup();
        check_cold(&cold)?;
        Err(Stop::Cold(cold))
    }

    pub(super) fn all_hold(
        &self,
        now: Now,
        preconditions: &[Precondition<'_>],
    ) -> Result<bool, Stop> {
        for precondition in preconditions {
            let key = precondition.key;
            let place = self.locate(KeyspaceId(precondition.keyspace), key)?;
            let facts = self.facts(now, &place, key)?;
            let version = facts.current.map(|record| record.version.0);
            if version != precondition.version {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Evaluates one request of a unit and answers what it has to say, which is one answer.
    fn unit_request(
        &mut self,
        now: Now,
        origin: Origin,
        id: RequestId,
        request: &Request<'_>,
    ) -> Vec<UnitAnswer> {
        let origin = Origin {
            target: Target::Client(id),
            get: false,
            ..origin
        };
        let mut gathered = Gathered {
            since: now.mono,
            answers: Vec::with_capacity(1),
        };
        let waiting_before = self.batch.replies.len();
        match self.evaluate(now, origin, request, &mut gathered) {
            Ok(()) => {}
            Err(Stop::Refused(refusal)) => self.refuse(origin, &refusal, &mut gathered),
            Err(stop) => unreachable!("everything that a unit needs was in memory: {stop:?}"),
        }
        let mut answers = gathered.answers;
        answers.extend(
            self.batch
                .replies
                .drain(waiting_before..)
                .map(|reply| UnitAnswer {
                    reply,
                    is_counted: false,
                }),
        );
        assert_eq!(answers.len(), 1, "a request has one answer");
        answers
    }
}

fn decode<'a>(frames: &[&'a [u8]]) -> Result<Vec<(RequestId, Request<'a>)>, Refusal> {
    frames
        .iter()
        .map(|frame| {
            Request::decode(frame)
                .map_err(|error| Refusal::new(error.status(), format!("in a unit: {error}")))
        })
        .collect()
}

/// Keeps answers for when the unit's own is given.
struct Gathered {
    since: MonoNanos,
    answers: Vec<UnitAnswer>,
}

impl Gathered {
    fn keep(&mut self, origin: Origin, response: &Response<'_>, body: PendingBody) {
        self.answers.push(UnitAnswer {
            reply: PendingReply {
                origin,
                kind: Kind::Unit,
                since: self.since,
                status: response.status,
                version: Version(response.version),
                timestamp: WallMillis(response.timestamp_ms),
                body,
            },
            is_counted: true,
        });
    }
}

impl Replies for Gathered {
    fn reply(&mut self, origin: Origin, response: &Response<'_>) {
        let body = match &response.body {
            Body::Empty => PendingBody::Empty,
            Body::Value(value) => PendingBody::Value(Bytes::copy_from_slice(value)),
            Body::Counter(value) => PendingBody::Counter(*value),
            Body::Number(value) => PendingBody::Number(*value),
            Body::Ttl(value) => PendingBody::Ttl(*value),
            Body::Error(reason) => PendingBody::Error((*reason).to_owned().into()),
            other => unreachable!("no request about one key is answered with {other:?}"),
        };
        self.keep(origin, response, body);
    }

    fn reply_large(&mut self, origin: Origin, response: &Response<'_>, value: Bytes) {
        self.keep(origin, response, PendingBody::Value(value));
    }

    fn internal(&mut self, _origin: Origin, reply: ShardReply) {
        unreachable!("a unit holds no internal commands: {reply:?}");
    }
}
