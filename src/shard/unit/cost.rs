//! What a unit costs at most, found out before anything of it is done: afterwards there is no way back.
//!
//! A unit is done in one go, so what it copies and writes must be bounded, and the block that its batch becomes must fit into a segment. Its frames are, by the
//! protocol; but an `expire` of forty bytes logs a whole value anew. So the requests are gone through once with lengths alone: for each key the longest that its value may be
//! by then, conditions or not.
//!
//! | bound | of |
//! |---|---|
//! | `BATCH_BYTES_MAX` | the records that are written, beside the longest of them: that one may be a large value, which is shared |
//! | `BATCH_BYTES_MAX` | the values that are given back by copying them |
//! | `WAITING_BYTES_MAX` | all values that are given back |

use std::collections::HashMap;

use corduroy_proto_wire::{Condition, Delete, Put, Request, RequestId, Status};

use super::UnitKey;
use crate::limits;
use crate::shard::{Refusal, Shard, Stop, float};
use crate::storage::format::record_len;
use crate::types::{KeyspaceId, Now};

/// Longest text of a counter.
const COUNTER_LEN_MAX: usize = 20;

/// What is known of a key's value at some point of a unit.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    /// It is at most this long.
    len: usize,
    /// It is a number that is quickly added to, or no number.
    is_short: bool,
}

impl Estimate {
    fn of(value: &[u8]) -> Estimate {
        Estimate {
            len: value.len(),
            is_short: float::is_short(value),
        }
    }

    /// It may be the one or the other.
    fn or(self, other: Estimate) -> Estimate {
        Estimate {
            len: self.len.max(other.len),
            is_short: self.is_short && other.is_short,
        }
    }
}

const ABSENT: Estimate = Estimate {
    len: 0,
    is_short: true,
};

#[derive(Debug, Default)]
struct Cost {
    written: usize,
    longest: usize,
    copied: usize,
    returned: usize,
}

impl Cost {
    fn write(&mut self, key: &[u8], len: usize) {
        let len = record_len(key.len(), len, true);
        self.written += len;
        self.longest = self.longest.max(len);
    }

    fn give_back(&mut self, len: usize, large_len: usize) {
        self.returned += len;
        if len <= large_len {
            self.copied += len;
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        let over = |what: &str, bytes: usize, limit: &str, most: usize| {
            if bytes <= most {
                return Ok(());
            }
            Err(Refusal::new(
                Status::LimitExceeded,
                format!(
                    "a unit of requests that {what} {bytes} bytes is over {limit}, {most} bytes: split it"
                ),
            ))
        };
        let beside_longest = self.written - self.longest;
        over(
            "may write, beside its longest record,",
            beside_longest,
            "batch_bytes_max",
            limits::BATCH_BYTES_MAX,
        )?;
        over(
            "may give back values of",
            self.copied,
            "batch_bytes_max",
            limits::BATCH_BYTES_MAX,
        )?;
        over(
            "may give back large values of",
            self.returned,
            "waiting_bytes_max",
            limits::WAITING_BYTES_MAX,
        )
    }
}

type Estimates<'a> = HashMap<(KeyspaceId, &'a [u8]), Estimate>;

impl Shard {
    pub(super) fn check_unit_cost(
        &self,
        now: Now,
        keys: &[UnitKey<'_>],
        requests: &[(RequestId, Request<'_>)],
    ) -> Result<(), Stop> {
        let mut estimates: Estimates<'_> = HashMap::with_capacity(keys.len());
        for key in keys {
            let facts = self.facts(now, &key.place, key.key)?;
            let estimate = facts
                .current
                .map_or(ABSENT, |record| Estimate::of(record.value));
            estimates.insert((key.keyspace, key.key), estimate);
        }
        let mut cost = Cost::default();
        for (_, request) in requests {
            add_request(request, self.config.large_len, &mut estimates, &mut cost);
            // Before the sums can grow out of hand.
            cost.check()?;
        }
        Ok(())
    }
}

/// Adds one request, and what it may make of its key.
fn add_request<'a>(
    request: &Request<'a>,
    large_len: usize,
    estimates: &mut Estimates<'a>,
    cost: &mut Cost,
) {
    if let Request::Move {
        source,
        destination,
        ..
    } = request
    {
        let moved = estimates[&(KeyspaceId(source.0), source.1)];
        cost.write(destination.1, moved.len);
        cost.write(source.1, 0);
        let there = estimates
            .get_mut(&(KeyspaceId(destination.0), destination.1))
            .expect("all keys of a unit were looked up");
        *there = there.or(moved);
        return;
    }
    let (keyspace, key) = key_of(request);
    let value = estimates
        .get_mut(&(KeyspaceId(keyspace), key))
        .expect("all keys of a unit were looked up");
    match request {
        Request::Get { .. } => cost.give_back(value.len, large_len),
        Request::Put { put, .. } => {
            if put.return_value {
                cost.give_back(value.len, large_len);
            }
            let new = Estimate::of(put.value);
            cost.write(key, new.len);
            *value = match put.condition {
                Condition::Always => new,
                _ => value.or(new),
            };
        }
        Request::Delete { delete, .. } => {
            if delete.return_value {
                cost.give_back(value.len, large_len);
            }
            cost.write(key, 0);
        }
        Request::Touch { .. } | Request::Persist { .. } => cost.write(key, value.len),
        Request::Expire { return_value, .. } => {
            if *return_value {
                cost.give_back(value.len, large_len);
            }
            cost.write(key, value.len);
        }
        Request::Add { .. } => {
            cost.write(key, COUNTER_LEN_MAX);
            value.len = value.len.max(COUNTER_LEN_MAX);
        }
        Request::AddFloat { increment, .. } => {
            value.is_short &= float::is_short(increment);
            let len = if value.is_short {
                float::SHORT_SUM_LEN_MAX
            } else {
                cost.copied += limits::FLOAT_LONG_COST;
                limits::FLOAT_TEXT_LEN_MAX
            };
            cost.write(key, len);
            cost.give_back(len, large_len);
            value.len = value.len.max(len);
        }
        Request::Append { suffix, .. } => {
            let end = value.len + suffix.len();
            rewrite(key, end, value, cost);
        }
        Request::Overwrite { offset, bytes, .. } => {
            let end = (*offset as usize + bytes.len()).max(value.len);
            rewrite(key, end, value, cost);
        }
        _ => {}
    }
}

/// A value of at most `len` bytes is made of the old one, unless it is over the bound for that; then the old one stays.
fn rewrite(key: &[u8], len: usize, value: &mut Estimate, cost: &mut Cost) {
    let len = len.min(limits::APPEND_LEN_MAX);
    cost.write(key, len);
    *value = Estimate {
        len: value.len.max(len),
        is_short: false,
    };
}

/// Keyspace and key of a request about one key.
fn key_of<'a>(request: &Request<'a>) -> (u32, &'a [u8]) {
    match *request {
        Request::Get { keyspace, key }
        | Request::Exists { keyspace, key }
        | Request::Ttl { keyspace, key }
        | Request::ExpiresAt { keyspace, key }
        | Request::Touch { keyspace, key, .. }
        | Request::Persist { keyspace, key }
        | Request::Expire { keyspace, key, .. }
        | Request::Add { keyspace, key, .. }
        | Request::AddFloat { keyspace, key, .. }
        | Request::Append { keyspace, key, .. }
        | Request::Overwrite { keyspace, key, .. }
        | Request::Put {
            keyspace,
            put: Put { key, .. },
        }
        | Request::Delete {
            keyspace,
            delete: Delete { key, .. },
        } => (keyspace, key),
        ref other => unreachable!("the protocol lets no {:?} into a unit", other.opcode()),
    }
}
