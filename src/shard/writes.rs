//! Requests that change keys: conditions are checked here, and effects staged.

use bytes::Bytes;
use corduroy_proto_wire::{BatchItem, Condition, Delete, Put, Status, Ttl};

use super::commit::answer;
use super::lookup::{Facts, Held, KeyPlace};
use super::origin::{Origin, Replies};
use super::staging::{Pending, PendingBody, PendingItem, PendingPlace, PendingReply, Previous};
use super::statistics::Kind;
use super::{Refusal, Shard, Stop};
use crate::limits;
use crate::storage::buffer::share_part;
use crate::storage::format::{Record, RecordKind};
use crate::types::{KeyspaceId, Now, Position, Version, WallMillis};

/// What a single conditional write came to, before anything was staged.
pub(super) struct Decision {
    /// `Ok`: stage the effect. Else nothing changes and this is the answer.
    pub(super) status: Status,
    /// Of the record that the decision rests on.
    version: Version,
    timestamp: WallMillis,
    expiry: Option<WallMillis>,
    previous: Previous,
    /// There is such a record.
    exists: bool,
    /// The decision rests on an uncommitted effect.
    pending: bool,
    /// What the answer holds if nothing changes: the old or current value if it was asked for, or why there is an error.
    pub(super) body: PendingBody,
}

impl Decision {
    pub(super) fn new(facts: &Facts<'_>, status: Status, return_value: bool) -> Decision {
        let current = facts.current.as_ref();
        Decision {
            status,
            version: current.map_or(Version(0), |record| record.version),
            timestamp: current.map_or(WallMillis(0), |record| record.timestamp),
            expiry: current.and_then(|record| record.expiry),
            previous: facts.previous,
            exists: current.is_some(),
            pending: facts.pending,
            body: if return_value {
                body_of(current.map(Held::value))
            } else {
                PendingBody::Empty
            },
        }
    }

    /// What is there is no number of the kind that is added to, or the sum is none.
    pub(super) fn not_a_counter(facts: &Facts<'_>, reason: &'static str) -> Decision {
        Decision {
            body: PendingBody::Error(reason.into()),
            ..Decision::new(facts, Status::NotACounter, false)
        }
    }

    /// The same, if it rests on something that is not committed yet.
    pub(super) fn resting(self, pending: bool) -> Decision {
        Decision { pending, ..self }
    }

    /// The old or current value, if it was asked for and there is one.
    fn value(&self) -> Option<&Bytes> {
        match &self.body {
            PendingBody::Value(value) => Some(value),
            _ => None,
        }
    }
}

fn holds(condition: &Condition<'_>, current: Option<&Held<'_>>) -> bool {
    match (condition, current) {
        (Condition::Always, _) | (Condition::IfAbsent, None) | (Condition::IfPresent, Some(_)) => {
            true
        }
        (Condition::IfVersion(version), Some(record)) => record.version.0 == *version,
        (Condition::IfValue(value), Some(record)) => record.value == *value,
        (Condition::IfAbsent, Some(_))
        | (Condition::IfPresent | Condition::IfVersion(_) | Condition::IfValue(_), None) => false,
    }
}

/// Comparing with a long value would hold the core up.
fn check_compared(condition: &Condition<'_>) -> Result<(), Refusal> {
    match condition {
        Condition::IfValue(value) if value.len() > limits::COMPARE_LEN_MAX => Err(Refusal::new(
            Status::LimitExceeded,
            format!(
                "a condition on a value of {} bytes is over compare_len_max, {} bytes: go by its version",
                value.len(),
                limits::COMPARE_LEN_MAX
            ),
        )),
        _ => Ok(()),
    }
}

/// An atomic batch, or a unit, is evaluated when all the records that it needs are in memory.
pub(super) fn check_cold(records: &[(Position, u32)]) -> Result<(), Refusal> {
    let bytes: usize = records.iter().map(|(_, len)| *len as usize).sum();
    if bytes > limits::WAITING_BYTES_MAX {
        return Err(Refusal::new(
            Status::LimitExceeded,
            format!(
                "an atomic batch, or a unit, on keys whose records on disk take {bytes} bytes is over waiting_bytes_max, {} bytes: \
                 split it",
                limits::WAITING_BYTES_MAX
            ),
        ));
    }
    Ok(())
}

fn decide_put(facts: &Facts<'_>, put: &Put<'_>) -> Decision {
    let status = if holds(&put.condition, facts.current.as_ref()) {
        Status::Ok
    } else {
        Status::ConditionFailed
    };
    Decision::new(facts, status, put.return_value)
}

fn decide_delete(facts: &Facts<'_>, delete: &Delete<'_>) -> Decision {
    let status = match facts.current.as_ref() {
        None => Status::NotFound,
        Some(_) if holds(&delete.condition, facts.current.as_ref()) => Status::Ok,
        Some(_) => Status::ConditionFailed,
    };
    Decision::new(facts, status, delete.return_value)
}

pub(super) fn body_of(value: Option<Bytes>) -> PendingBody {
    value.map_or(PendingBody::Empty, PendingBody::Value)
}

impl Shard {
    pub(super) fn put(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        put: &Put<'_>,
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        self.check_value_len(put.value.len())?;
        check_compared(&put.condition)?;
        let place = self.writable(keyspace, put.key)?;
        let decision = decide_put(&self.facts(now, &place, put.key)?, put);
        let staged = match decision.status {
            Status::Ok => self.stage_put(now, origin, &place, put, &decision),
            _ => None,
        };
        match staged {
            None => self.answer_unchanged(now, origin, Kind::Put, &place, decision, out),
            Some(version) => {
                self.done_after_commit(now, origin, Kind::Put, version, decision.body);
            }
        }
        Ok(())
    }

    pub(super) fn delete(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        delete: &Delete<'_>,
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        check_compared(&delete.condition)?;
        let place = self.writable(keyspace, delete.key)?;
        let decision = decide_delete(&self.facts(now, &place, delete.key)?, delete);
        if decision.status != Status::Ok {
            self.answer_unchanged(now, origin, Kind::Delete, &place, decision, out);
            return Ok(());
        }
        let version = self.stage_delete(now, origin, &place, delete.key, decision.previous);
        self.done_after_commit(now, origin, Kind::Delete, version, decision.body);
        Ok(())
    }

    /// `touch` (a new expiry) and `persist` (none): the value is logged again with the other expiry.
    pub(super) fn set_expiry(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        ttl_ms: Option<u64>,
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let kind = if ttl_ms.is_some() {
            Kind::Touch
        } else {
            Kind::Persist
        };
        let place = self.writable(keyspace, key)?;
        let facts = self.facts(now, &place, key)?;
        let Some(current) = facts.current else {
            let decision = Decision::new(&facts, Status::NotFound, false);
            self.answer_unchanged(now, origin, kind, &place, decision, out);
            return Ok(());
        };
        // It may have been stored under a higher limit, and be too long for a segment now.
        self.check_value_len(current.value.len())?;
        let value = current.value();
        let shared = current.large_value();
        let previous = facts.previous;
        let expiry = ttl_ms.map(|ttl| expiry_at(now, ttl));
        let version = self.stage_set(now, origin, &place, key, (&value, shared), expiry, previous);
        self.done_after_commit(now, origin, kind, version, PendingBody::Empty);
        Ok(())
    }

    pub(super) fn add(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        delta: i64,
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let place = self.writable(keyspace, key)?;
        let facts = self.facts(now, &place, key)?;
        let sum = match facts.current.as_ref() {
            None => Ok(delta),
            Some(record) => parse_counter(record.value)
                .ok_or(NOT_A_COUNTER)
                .and_then(|value| value.checked_add(delta).ok_or(SUM_OVERFLOWS)),
        };
        let sum = match sum {
            Ok(sum) => sum,
            Err(reason) => {
                let decision = Decision::not_a_counter(&facts, reason);
                self.answer_unchanged(now, origin, Kind::Add, &place, decision, out);
                return Ok(());
            }
        };
        let expiry = facts.current.as_ref().and_then(|record| record.expiry);
        let previous = facts.previous;
        let version = self.stage_set(
            now,
            origin,
            &place,
            key,
            (sum.to_string().as_bytes(), None),
            expiry,
            previous,
        );
        self.done_after_commit(now, origin, Kind::Add, version, PendingBody::Counter(sum));
        Ok(())
    }

    pub(super) fn append(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        suffix: &[u8],
        _out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let place = self.writable(keyspace, key)?;
        let facts = self.facts(now, &place, key)?;
        let current = facts.current.as_ref();
        let len = current.map_or(0, |record| record.value.len()) + suffix.len();
        self.check_rewritten_len("an append", len)?;
        let mut value = current.map_or_else(Vec::new, |record| record.value.to_vec());
        value.extend_from_slice(suffix);
        let expiry = current.and_then(|record| record.expiry);
        let previous = facts.previous;
        let version = self.stage_set(now, origin, &place, key, (&value, None), expiry, previous);
        self.done_after_commit(
            now,
            origin,
            Kind::Append,
            version,
            PendingBody::Number(value.len() as u64),
        );
        Ok(())
    }

    /// All of the writes or none. Every condition is checked against the state before the batch, and a key may appear once.
    pub(super) fn atomic(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        items: &[BatchItem<'_>],
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let mut places: Vec<KeyPlace> = Vec::with_capacity(items.len());
        let mut keys: Vec<&[u8]> = Vec::with_capacity(items.len());
        for item in items {
            let key = match item {
                BatchItem::Put(put) => {
                    self.check_value_len(put.value.len())?;
                    put.key
                }
                BatchItem::Delete(delete) => delete.key,
                BatchItem::Get { .. } => {
                    return Err(Refusal::new(
                        Status::InvalidRequest,
                        "an atomic batch holds writes only",
                    )
                    .into());
                }
            };
            let place = self.writable(keyspace, key)?;
            if places
                .first()
                .is_some_and(|first| first.partition != place.partition)
            {
                return Err(Refusal::new(
                    Status::CrossPartition,
                    "the keys of an atomic batch must be in one partition: give them the same {tag}",
                )
                .into());
            }
            places.push(place);
            keys.push(key);
        }
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Refusal::new(
                Status::InvalidRequest,
                "a key appears twice in an atomic batch",
            )
            .into());
        }

        let decisions = self.decide_all(now, items, &places)?;
        let allowed = decisions
            .iter()
            .zip(items)
            .all(|(decision, item)| match item {
                // Deleting what is not there is no failure, unless the delete was conditional.
                BatchItem::Delete(delete) => {
                    decision.status == Status::Ok
                        || (decision.status == Status::NotFound
                            && delete.condition == Condition::Always)
                }
                _ => decision.status == Status::Ok,
            });
        let pending = decisions.iter().any(|decision| decision.pending);
        let mut results = Vec::with_capacity(items.len());
        for ((item, place), decision) in items.iter().zip(&places).zip(decisions) {
            if decision.pending {
                self.told_of(&origin, place);
            }
            let mut version = decision.version;
            let mut timestamp = decision.timestamp;
            if allowed && decision.status == Status::Ok {
                let staged = match item {
                    BatchItem::Put(put) => self.stage_put(now, origin, place, put, &decision),
                    BatchItem::Delete(delete) => {
                        Some(self.stage_delete(now, origin, place, delete.key, decision.previous))
                    }
                    BatchItem::Get { .. } => unreachable!("refused above"),
                };
                if let Some(staged) = staged {
                    version = staged;
                    timestamp = now.wall;
                }
            }
            results.push(PendingItem {
                status: decision.status,
                version: version.0,
                timestamp_ms: timestamp.0,
                value: decision.value().cloned(),
            });
        }
        let changed = allowed && results.iter().any(|result| result.status == Status::Ok);
        let reply = PendingReply {
            origin,
            kind: Kind::Atomic,
            since: now.mono,
            status: if allowed {
                Status::Ok
            } else {
                Status::ConditionFailed
            },
            version: Version(0),
            timestamp: WallMillis(0),
            body: PendingBody::Items(results),
        };
        if changed || pending {
            self.reply_after_commit(reply);
        } else {
            self.reply_now(&reply, out);
        }
        Ok(())
    }

    /// Decides each item; if several need cold records, asks for all of them at once.
    fn decide_all(
        &self,
        now: Now,
        items: &[BatchItem<'_>],
        places: &[KeyPlace],
    ) -> Result<Vec<Decision>, Stop> {
        let mut decisions: Vec<Decision> = Vec::with_capacity(items.len());
        let mut cold = Vec::new();
        let mut given_back = 0;
        for (item, place) in items.iter().zip(places) {
            let key = match item {
                BatchItem::Put(put) => put.key,
                BatchItem::Delete(delete) => delete.key,
                BatchItem::Get { key } => key,
            };
            match (self.facts(now, place, key), item) {
                (Ok(facts), BatchItem::Put(put)) => decisions.push(decide_put(&facts, put)),
                (Ok(facts), BatchItem::Delete(delete)) => {
                    decisions.push(decide_delete(&facts, delete));
                }
                (Ok(_), BatchItem::Get { .. }) => unreachable!("refused by the caller"),
                (Err(Stop::Cold(records)), _) => cold.extend(records),
                (Err(stop), _) => return Err(stop),
            }
            let value = decisions.last().and_then(Decision::value);
            if cold.is_empty() {
                given_back += value.map_or(0, Bytes::len);
                self.check_given_back(given_back)?;
            }
        }
        if cold.is_empty() {
            Ok(decisions)
        } else {
            check_cold(&cold)?;
            Err(Stop::Cold(cold))
        }
    }

    /// All values that an atomic batch gives back are in one answer, and are copied there.
    fn check_given_back(&self, bytes: usize) -> Result<(), Refusal> {
        let most = limits::batch_values_max(self.config.value_len_max);
        if bytes > most {
            return Err(Refusal::new(
                Status::LimitExceeded,
                format!(
                    "the values that an atomic batch gives back are over batch_bytes_max, {most} bytes: ask for fewer"
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn check_value_len(&self, len: usize) -> Result<(), Refusal> {
        if len > self.config.value_len_max {
            return Err(Refusal::new(
                Status::LimitExceeded,
                format!(
                    "a value of {len} bytes is over value_len_max, {} bytes",
                    self.config.value_len_max
                ),
            ));
        }
        Ok(())
    }

    /// Finds a key's place for a write, unless the shard takes no writes.
    #[inline]
    pub(super) fn writable(&self, keyspace: KeyspaceId, key: &[u8]) -> Result<KeyPlace, Refusal> {
        if let Some(reason) = self.pipeline.refusing() {
            return Err(Refusal::new(Status::ReadOnly, reason));
        }
        self.locate(keyspace, key)
    }

    /// Stages a put's effect, if it has one: a value whose time has passed takes what is there away, and does nothing where there is nothing.
    #[inline]
    fn stage_put(
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
        let len = self.batch.effects[effect as usize].len;
        self.overlay
            .entry(place.overlay_key())
            .and_modify(|pending| {
                pending.shared |= !pending.writer.same_client(&origin);
                pending.place = PendingPlace::Batch(effect);
                pending.version = record.version;
                pending.len = len;
            })
            .or_insert(Pending {
                place: PendingPlace::Batch(effect),
                version: record.version,
                len,
                writer: origin,
                shared: false,
            });
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
        if let Some(pending) = self.overlay.get_mut(&place.overlay_key()) {
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

/// What `add` says where the value is no 64-bit number, and where the sum is none; Redis's words.
const NOT_A_COUNTER: &str = "value is not an integer or out of range";
const SUM_OVERFLOWS: &str = "increment or decrement would overflow";

pub(super) fn expiry_at(now: Now, ttl_ms: u64) -> WallMillis {
    WallMillis(now.wall.0.saturating_add(ttl_ms))
}

/// A counter is decimal text that prints back as itself: no plus sign, no leading zeros, no spaces.
fn parse_counter(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::parse_counter;

    /// Redis refuses to count in what it would not print itself; a store that accepted `+1` would change a value's bytes
    /// by adding 0 to it.
    #[test]
    fn counters_are_canonical_decimal_text() {
        assert_eq!(parse_counter(b"-42"), Some(-42));
        assert_eq!(parse_counter(b"9223372036854775807"), Some(i64::MAX));
        for refused in [
            &b"+1"[..],
            b"01",
            b" 1",
            b"1 ",
            b"",
            b"-0",
            b"9223372036854775808",
            b"\xff",
        ] {
            assert_eq!(parse_counter(refused), None, "{refused:?}");
        }
    }
}
