//! What a conditional write on one key comes to: pure functions of the facts and the request, before anything is staged.

use bytes::Bytes;
use corduroy_proto_wire::{Condition, Delete, Put, Status};

use super::Refusal;
use super::lookup::{Facts, Held};
use super::staging::{PendingBody, Previous};
use crate::limits;
use crate::types::{Version, WallMillis};

/// What a single conditional write came to, before anything was staged.
pub(super) struct Decision {
    /// `Ok`: stage the effect. Else nothing changes and this is the answer.
    pub(super) status: Status,
    /// Of the record that the decision rests on.
    pub(super) version: Version,
    pub(super) timestamp: WallMillis,
    pub(super) expiry: Option<WallMillis>,
    pub(super) previous: Previous,
    /// There is such a record.
    pub(super) exists: bool,
    /// The decision rests on an uncommitted effect.
    pub(super) pending: bool,
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
    pub(super) fn value(&self) -> Option<&Bytes> {
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
pub(super) fn check_compared(condition: &Condition<'_>) -> Result<(), Refusal> {
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

pub(super) fn decide_put(facts: &Facts<'_>, put: &Put<'_>) -> Decision {
    let status = if holds(&put.condition, facts.current.as_ref()) {
        Status::Ok
    } else {
        Status::ConditionFailed
    };
    Decision::new(facts, status, put.return_value)
}

pub(super) fn decide_delete(facts: &Facts<'_>, delete: &Delete<'_>) -> Decision {
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
