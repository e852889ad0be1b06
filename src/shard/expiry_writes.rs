//! `expire`: another expiry for a key, under a condition on the one that it has.
//!
//! The value is logged again with the new expiry; a large one is shared, not copied. An expiry that has passed takes the key away
//! at once, with a delete of its own, so that the answer can name its version. A key that never expired and never shall is left as it is.

use corduroy_proto_wire::{Expiry, ExpiryCondition, Status};

use super::decision::{Decision, body_of};
use super::effects::expiry_at;
use super::lookup::Held;
use super::origin::{Origin, Replies};
use super::statistics::Kind;
use super::{Shard, Stop};
use crate::types::{KeyspaceId, Now, WallMillis};

/// What `expire` asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewExpiry {
    pub(super) expiry: Expiry,
    pub(super) condition: ExpiryCondition,
    pub(super) return_value: bool,
}

impl NewExpiry {
    /// From when on the key is gone; `None` for never.
    fn at(&self, now: Now) -> Option<WallMillis> {
        match self.expiry {
            Expiry::Never => None,
            Expiry::Millis(ttl_ms) => Some(expiry_at(now, ttl_ms)),
            Expiry::At(at_ms) => Some(WallMillis(at_ms)),
        }
    }
}

/// Whether a key with this expiry may get that one.
fn holds(condition: ExpiryCondition, old: Option<WallMillis>, new: Option<WallMillis>) -> bool {
    // Never is later than any time.
    let rank = |expiry: Option<WallMillis>| expiry.map_or((1, 0), |at| (0, at.0));
    match condition {
        ExpiryCondition::Always => true,
        ExpiryCondition::IfNone => old.is_none(),
        ExpiryCondition::IfSome => old.is_some(),
        ExpiryCondition::IfLater => rank(new) > rank(old),
        ExpiryCondition::IfEarlier => rank(new) < rank(old),
        ExpiryCondition::IfSomeEarlier => old.is_some() && rank(new) < rank(old),
    }
}

impl Shard {
    pub(super) fn expire_key(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        new: NewExpiry,
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let expiry = new.at(now);
        let place = match expiry.is_some_and(|expiry| expiry <= now.wall) {
            true => self.deletable(keyspace, key)?,
            false => self.writable(keyspace, key)?,
        };
        let facts = self.facts(now, &place, key)?;
        let old = facts.current.as_ref().map(|record| record.expiry);
        let status = match old {
            None => Status::NotFound,
            Some(old) if holds(new.condition, old, expiry) => Status::Ok,
            Some(_) => Status::ConditionFailed,
        };
        let Some(current) = facts
            .current
            .filter(|record| status == Status::Ok && (record.expiry, expiry) != (None, None))
        else {
            let decision = Decision::new(&facts, status, new.return_value);
            self.answer_unchanged(now, origin, Kind::Expire, &place, decision, out);
            return Ok(());
        };
        let previous = facts.previous;
        let returned = |current: &Held<'_>| {
            let value = new.return_value.then(|| current.value());
            body_of(value)
        };
        let (version, body) = if expiry.is_some_and(|expiry| expiry <= now.wall) {
            let body = returned(&current);
            let version = self.stage_delete(now, origin, &place, key, previous);
            (version, body)
        } else {
            // It may have been stored under a higher limit, and be too long for a segment now.
            self.check_value_len(current.value.len())?;
            let body = returned(&current);
            let (value, shared) = (current.value(), current.large_value());
            let version =
                self.stage_set(now, origin, &place, key, (&value, shared), expiry, previous);
            (version, body)
        };
        self.done_after_commit(now, origin, Kind::Expire, version, body);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that never expires must not be cut short by "only if later", and Redis lets "only if earlier" always through there.
    #[test]
    fn never_is_later_than_any_time() {
        let (soon, late) = (Some(WallMillis(1)), Some(WallMillis(2)));
        let later = |old, new| holds(ExpiryCondition::IfLater, old, new);
        let earlier = |old, new| holds(ExpiryCondition::IfEarlier, old, new);
        assert!(later(soon, late) && !later(late, soon) && !later(soon, soon));
        assert!(later(soon, None) && !later(None, soon) && !later(None, None));
        assert!(earlier(late, soon) && !earlier(soon, late) && !earlier(soon, soon));
        assert!(earlier(None, soon) && !earlier(soon, None) && !earlier(None, None));
        // EXPIRE with XX and LT.
        let some_earlier = |old, new| holds(ExpiryCondition::IfSomeEarlier, old, new);
        assert!(some_earlier(late, soon) && !some_earlier(soon, late));
        assert!(!some_earlier(None, soon) && !some_earlier(None, None));
        assert!(
            holds(ExpiryCondition::IfNone, None, soon)
                && !holds(ExpiryCondition::IfNone, soon, late)
        );
        assert!(
            holds(ExpiryCondition::IfSome, soon, None)
                && !holds(ExpiryCondition::IfSome, None, soon)
        );
    }
}
