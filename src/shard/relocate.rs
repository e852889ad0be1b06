//! `move`: a value gets another key, or a second one, together with its expiry. Both keys are this shard's, in whichever partitions.
//!
//! Two effects, a set and a delete, in one batch and so in one block: after a crash both are there or neither. A large value is
//! shared with the record it comes from, not copied.

use corduroy_proto_wire::Status;

use super::decision::Decision;
use super::lookup::KeyPlace;
use super::origin::{Origin, Replies};
use super::staging::PendingBody;
use super::statistics::Kind;
use super::{Refusal, Shard, Stop};
use crate::types::{KeyspaceId, Now, Position};

/// What a move asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation<'a> {
    pub(super) source: (KeyspaceId, &'a [u8]),
    pub(super) destination: (KeyspaceId, &'a [u8]),
    pub(super) if_absent: bool,
    pub(super) keep_source: bool,
}

impl Shard {
    pub(super) fn relocate(
        &mut self,
        now: Now,
        origin: Origin,
        relocation: &Relocation<'_>,
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let Relocation {
            source: (_, source_key),
            destination: (_, destination_key),
            ..
        } = *relocation;
        let source = self.writable(relocation.source.0, source_key)?;
        let destination = self.writable(relocation.destination.0, destination_key)?;
        let is_same = relocation.source == relocation.destination;
        if !is_same && source.overlay_key() == destination.overlay_key() {
            return Err(same_hash().into());
        }
        self.both_in_memory(
            now,
            [(&source, source_key), (&destination, destination_key)],
        )?;

        let from = self.facts(now, &source, source_key)?;
        let to = self.facts(now, &destination, destination_key)?;
        let status = match (&from.current, &to.current) {
            (None, _) => Status::NotFound,
            (Some(_), Some(_)) if relocation.if_absent => Status::ConditionFailed,
            (Some(_), _) => Status::Ok,
        };
        let current = match from.current {
            Some(current) if status == Status::Ok && !is_same => current,
            _ => {
                // The answer rests on both keys.
                let pending = from.pending || to.pending;
                let rests_on = if status == Status::NotFound {
                    &from
                } else {
                    &to
                };
                let decision = Decision::new(rests_on, status, false).resting(pending);
                if pending {
                    self.told_of(&origin, &source);
                }
                self.answer_unchanged(now, origin, Kind::Move, &destination, decision, out);
                return Ok(());
            }
        };
        // It may have been stored under a higher limit, and be too long for a segment now.
        self.check_value_len(current.value.len())?;
        let (value, shared) = (current.value(), current.large_value());
        let expiry = current.expiry;
        let (source_previous, destination_previous) = (from.previous, to.previous);
        let version = self.stage_set(
            now,
            origin,
            &destination,
            destination_key,
            (&value, shared),
            expiry,
            destination_previous,
        );
        if relocation.keep_source {
            // What is copied may be another's uncommitted value: whoever asks for it after this must not see the one before.
            self.told_of(&origin, &source);
        } else {
            self.stage_delete(now, origin, &source, source_key, source_previous);
        }
        self.done_after_commit(now, origin, Kind::Move, version, PendingBody::Empty);
        Ok(())
    }

    /// Asks for all cold records at once.
    fn both_in_memory(&self, now: Now, keys: [(&KeyPlace, &[u8]); 2]) -> Result<(), Stop> {
        let mut cold: Vec<(Position, u32)> = Vec::new();
        for (place, key) in keys {
            match self.facts(now, place, key) {
                Ok(_) => {}
                Err(Stop::Cold(records)) => cold.extend(records),
                Err(stop) => return Err(stop),
            }
        }
        if cold.is_empty() {
            Ok(())
        } else {
            // The same record twice, of a key that is moved to itself, is waited for once.
            cold.sort_unstable();
            cold.dedup();
            Err(Stop::Cold(cold))
        }
    }
}

/// Two keys of one request whose 64-bit hashes are the same in the same partition: rarer than any fault of the machine.
pub(super) fn same_hash() -> Refusal {
    Refusal::new(
        Status::Unsupported,
        "two keys have the same 64-bit hash and can't be written together: give one of them another name",
    )
}
