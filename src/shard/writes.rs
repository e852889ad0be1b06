//! Requests that change one key: their conditions are decided (`decision`) and their effects staged (`effects`).

use corduroy_proto_wire::{Delete, Put, Status};

use super::decision::{Decision, check_compared, decide_delete, decide_put};
use super::effects::expiry_at;
use super::lookup::KeyPlace;
use super::origin::{Origin, Replies};
use super::reserve::Purpose;
use super::staging::PendingBody;
use super::statistics::Kind;
use super::{Refusal, Shard, Stop};
use crate::types::{KeyspaceId, Now};

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
        let place = self.deletable(keyspace, delete.key)?;
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
        self.check_may_write(Purpose::Write)?;
        self.locate(keyspace, key)
    }

    /// As [`Shard::writable`], of a request that takes the key away: a full disk has a reserve for those.
    pub(super) fn deletable(&self, keyspace: KeyspaceId, key: &[u8]) -> Result<KeyPlace, Refusal> {
        self.check_may_write(Purpose::Delete)?;
        self.locate(keyspace, key)
    }
}

/// What `add` says where the value is no 64-bit number, and where the sum is none; Redis's words.
const NOT_A_COUNTER: &str = "value is not an integer or out of range";
const SUM_OVERFLOWS: &str = "increment or decrement would overflow";

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
