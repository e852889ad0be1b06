//! What goes in and what comes out: values with their versions, conditions, options, outcomes.
//!
//! A **version** is a number that only grows for a key, over deletes and restarts too. To read a key, compute, and write
//! with [`Condition::IfVersion`] is therefore safe against every write in between, even one that put the same bytes back.
//!
//! Values come out as [`Bytes`]: slices of what was read from the socket, not copies. Such a slice keeps the buffer that it was
//! read into alive, at least 16 KiB; whoever keeps many small values for long copies them (`Bytes::copy_from_slice`).

use std::time::Duration;

use bytes::Bytes;
use corduroy_proto_wire as wire;

/// A value as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// Its bytes.
    pub value: Bytes,
    /// Only grows for a key.
    pub version: u64,
    /// When it was written, in milliseconds since 1970.
    pub timestamp_ms: u64,
}

/// What is known of a write (or a delete) that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// Only grows for a key.
    pub version: u64,
    /// When it was written, in milliseconds since 1970.
    pub timestamp_ms: u64,
}

/// A counter after an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counter {
    /// The sum.
    pub value: i64,
    /// Only grows for a key.
    pub version: u64,
    /// When it was written, in milliseconds since 1970.
    pub timestamp_ms: u64,
}

/// A value after something was appended to it or written over a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Appended {
    /// Its length, in bytes.
    pub length: u64,
    /// Only grows for a key.
    pub version: u64,
    /// When it was written, in milliseconds since 1970.
    pub timestamp_ms: u64,
}

/// A number with a fraction after an addition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FloatSum {
    /// The sum as it is stored: decimal text without an exponent.
    pub value: Bytes,
    /// Only grows for a key.
    pub version: u64,
    /// When it was written, in milliseconds since 1970.
    pub timestamp_ms: u64,
}

/// When a key is to expire from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// Never.
    Never,
    /// After this long (at most a hundred years; parts of a millisecond count as a whole one).
    After(Duration),
    /// At this time, in milliseconds since 1970. If that has passed, the key is deleted.
    AtMs(u64),
}

impl Expiry {
    pub(crate) fn to_wire(self) -> wire::Expiry {
        match self {
            Expiry::Never => wire::Expiry::Never,
            Expiry::After(ttl) => wire::Expiry::Millis(millis_up(ttl)),
            Expiry::AtMs(at_ms) => wire::Expiry::At(at_ms),
        }
    }
}

/// Which expiry a key must have for it to get another one. Never counts as later than any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExpiryCondition {
    /// Any, or none.
    #[default]
    Always,
    /// None.
    IfNone,
    /// Any.
    IfSome,
    /// The new one is later.
    IfLater,
    /// The new one is earlier.
    IfEarlier,
}

impl ExpiryCondition {
    pub(crate) fn to_wire(self) -> wire::ExpiryCondition {
        match self {
            ExpiryCondition::Always => wire::ExpiryCondition::Always,
            ExpiryCondition::IfNone => wire::ExpiryCondition::IfNone,
            ExpiryCondition::IfSome => wire::ExpiryCondition::IfSome,
            ExpiryCondition::IfLater => wire::ExpiryCondition::IfLater,
            ExpiryCondition::IfEarlier => wire::ExpiryCondition::IfEarlier,
        }
    }
}

/// What became of a new expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireOutcome {
    /// The key has it, or is gone if it has passed.
    Done(Written),
    /// There was no such key; nothing was changed.
    NotFound,
    /// The condition did not hold; nothing was changed.
    ConditionFailed {
        /// The key's version.
        current: Option<Written>,
    },
}

/// When a write may happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Whatever the key holds.
    #[default]
    Always,
    /// Only if the key does not exist.
    IfAbsent,
    /// Only if the key exists.
    IfPresent,
    /// Only if the key exists at exactly this version.
    IfVersion(u64),
    /// Only if the key exists with exactly these bytes as its value.
    IfValue(Bytes),
}

impl Condition {
    pub(crate) fn to_wire(&self) -> wire::Condition<'_> {
        match self {
            Condition::Always => wire::Condition::Always,
            Condition::IfAbsent => wire::Condition::IfAbsent,
            Condition::IfPresent => wire::Condition::IfPresent,
            Condition::IfVersion(version) => wire::Condition::IfVersion(*version),
            Condition::IfValue(value) => wire::Condition::IfValue(value),
        }
    }
}

/// How a value is to be put: by default unconditionally, without expiry.
///
/// ```
/// use corduroy_client::{Condition, PutOptions};
/// use std::time::Duration;
///
/// let lease = PutOptions::new().ttl(Duration::from_secs(30)).condition(Condition::IfAbsent);
/// # let _ = lease;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    ttl: Ttl,
    condition: Condition,
    return_value: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ttl {
    #[default]
    None,
    Keep,
    After(Duration),
    AtMs(u64),
}

impl PutOptions {
    /// Unconditional, without expiry, and without asking for the old value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The key expires after this long (at least a millisecond, at most a hundred years; parts of a millisecond count
    /// as a whole one).
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Ttl::After(ttl);
        self
    }

    /// The key expires at this time, in milliseconds since 1970. If that has passed, the key is gone at once, as if it had been deleted; if there
    /// was none, the outcome's version is 0.
    #[must_use]
    pub fn expires_at_ms(mut self, at_ms: u64) -> Self {
        self.ttl = Ttl::AtMs(at_ms);
        self
    }

    /// The key keeps the expiry that it has.
    #[must_use]
    pub fn keep_ttl(mut self) -> Self {
        self.ttl = Ttl::Keep;
        self
    }

    /// When the write may happen.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Asks for the old value, or for the current one if the condition does not hold.
    #[must_use]
    pub fn return_value(mut self, wanted: bool) -> Self {
        self.return_value = wanted;
        self
    }

    pub(crate) fn to_wire<'a>(&'a self, key: &'a [u8], value: &'a [u8]) -> wire::Put<'a> {
        let ttl = match self.ttl {
            Ttl::None => wire::Ttl::None,
            Ttl::Keep => wire::Ttl::Keep,
            Ttl::After(ttl) => wire::Ttl::Millis(millis_up(ttl)),
            Ttl::AtMs(at_ms) => wire::Ttl::At(at_ms),
        };
        wire::Put {
            key,
            value,
            ttl,
            condition: self.condition.to_wire(),
            return_value: self.return_value,
        }
    }
}

/// How a key is to be deleted: by default unconditionally.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    condition: Condition,
    return_value: bool,
}

impl DeleteOptions {
    /// Unconditional, and without asking for the old value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When the delete may happen.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Asks for the old value, or for the current one if the condition does not hold.
    #[must_use]
    pub fn return_value(mut self, wanted: bool) -> Self {
        self.return_value = wanted;
        self
    }

    pub(crate) fn to_wire<'a>(&'a self, key: &'a [u8]) -> wire::Delete<'a> {
        wire::Delete {
            key,
            condition: self.condition.to_wire(),
            return_value: self.return_value,
        }
    }
}

/// What became of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It was written; with the old value if that was asked for and there was one.
    Done(Written, Option<Bytes>),
    /// The condition did not hold; nothing was changed.
    ConditionFailed {
        /// The key's version; `None` where the key never was. A key that was deleted may have one.
        current: Option<Written>,
        /// The current value, if it was asked for and there is one.
        value: Option<Bytes>,
    },
}

impl PutOutcome {
    /// What was written, if it was.
    #[must_use]
    pub fn written(&self) -> Option<Written> {
        match self {
            PutOutcome::Done(written, _) => Some(*written),
            PutOutcome::ConditionFailed { .. } => None,
        }
    }
}

/// What became of a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The key is gone; with the old value if that was asked for.
    Done(Written, Option<Bytes>),
    /// There was no such key; nothing was changed.
    NotFound,
    /// The condition did not hold; nothing was changed.
    ConditionFailed {
        /// The key's version; `None` where the key never was. A key that was deleted may have one.
        current: Option<Written>,
        /// The current value, if it was asked for and there is one.
        value: Option<Bytes>,
    },
}

/// Whole milliseconds, rounded up: what is asked to live for a while must not be gone at once.
pub(crate) fn millis_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a millisecond rounded down is no time to live at all, which the server refuses; a century of centuries must
    /// not wrap around to a second.
    #[test]
    fn times_to_live_are_rounded_up_and_saturate() {
        assert_eq!(millis_up(Duration::ZERO), 0);
        assert_eq!(millis_up(Duration::from_nanos(1)), 1);
        assert_eq!(millis_up(Duration::from_micros(1500)), 2);
        assert_eq!(millis_up(Duration::from_millis(30)), 30);
        assert_eq!(millis_up(Duration::MAX), u64::MAX);
    }
}
