//! Writes that make a new value of the old one: a part written over, a number with a fraction added to.
//!
//! All of the value is logged anew each time, so what may come of it is bounded, as it is in `append`.

use corduroy_proto_wire::Status;

use super::decision::Decision;
use super::float;
use super::origin::{Origin, Replies};
use super::staging::PendingBody;
use super::statistics::Kind;
use super::{Refusal, Shard, Stop};
use crate::limits;
use crate::types::{KeyspaceId, Now};

impl Shard {
    /// Whether a value of this length may be made of another one.
    pub(super) fn check_rewritten_len(&self, what: &str, len: usize) -> Result<(), Refusal> {
        self.check_value_len(len)?;
        if len > limits::APPEND_LEN_MAX {
            return Err(Refusal::new(
                Status::LimitExceeded,
                format!(
                    "{what} that makes a value of {len} bytes is over append_len_max, {} bytes: put it whole",
                    limits::APPEND_LEN_MAX
                ),
            ));
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a request and its surroundings; a struct would only rename them"
    )]
    pub(super) fn overwrite(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        offset: u32,
        bytes: &[u8],
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let place = self.writable(keyspace, key)?;
        let facts = self.facts(now, &place, key)?;
        let current = facts.current.as_ref();
        let old_len = current.map_or(0, |record| record.value.len());
        if bytes.is_empty() {
            let mut decision = Decision::new(&facts, Status::Ok, false);
            decision.body = PendingBody::Number(old_len as u64);
            self.answer_unchanged(now, origin, Kind::Overwrite, &place, decision, out);
            return Ok(());
        }
        let begin = offset as usize;
        let end = begin + bytes.len();
        let len = old_len.max(end);
        self.check_rewritten_len("an overwrite", len)?;
        let mut value = Vec::with_capacity(len);
        value.extend_from_slice(current.map_or(&[], |record| record.value));
        value.resize(len, 0);
        value[begin..end].copy_from_slice(bytes);
        let expiry = current.and_then(|record| record.expiry);
        let previous = facts.previous;
        let version = self.stage_set(now, origin, &place, key, (&value, None), expiry, previous);
        let body = PendingBody::Number(len as u64);
        self.done_after_commit(now, origin, Kind::Overwrite, version, body);
        Ok(())
    }

    pub(super) fn add_float(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        increment: &[u8],
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let place = self.writable(keyspace, key)?;
        let facts = self.facts(now, &place, key)?;
        let current = facts.current.as_ref();
        let is_short = float::is_short(increment)
            && current.is_none_or(|record| float::is_short(record.value));
        let toil = if is_short { 0 } else { limits::FLOAT_LONG_COST };
        let sum = match float::add(current.map(|record| record.value), increment) {
            Ok(sum) => sum.into_bytes(),
            Err(reason) => {
                let decision = Decision::not_a_counter(&facts, reason);
                self.answer_unchanged(now, origin, Kind::AddFloat, &place, decision, out);
                self.batch.toil += toil;
                return Ok(());
            }
        };
        self.check_value_len(sum.len())?;
        let expiry = current.and_then(|record| record.expiry);
        let previous = facts.previous;
        let version = self.stage_set(now, origin, &place, key, (&sum, None), expiry, previous);
        self.batch.toil += toil;
        let body = PendingBody::Value(sum.into());
        self.done_after_commit(now, origin, Kind::AddFloat, version, body);
        Ok(())
    }
}
