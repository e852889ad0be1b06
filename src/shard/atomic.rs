//! The atomic batch: all of its writes or none, in one partition and one entry of the log.

use bytes::Bytes;
use corduroy_proto_wire::{BatchItem, Condition, Status};

use super::decision::{Decision, decide_delete, decide_put};
use super::lookup::KeyPlace;
use super::origin::{Origin, Replies};
use super::staging::{PendingBody, PendingItem, PendingReply};
use super::statistics::Kind;
use super::{Refusal, Shard, Stop};
use crate::limits;
use crate::types::{KeyspaceId, Now, Position, Version, WallMillis};

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

impl Shard {
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
            let place = match item {
                BatchItem::Delete(_) => self.deletable(keyspace, key)?,
                _ => self.writable(keyspace, key)?,
            };
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
}
