//! How it is said: the languages of key-value servers, reduced to what a load needs.
//!
//! A [`Dialect`] is shared by the connections of one thread. It appends whole requests to a buffer and finds whole replies in one; sockets,
//! slots and clocks are the engine's. An operation is one or two requests, its **steps**; the second is made of what the first was answered.
//!
//! ```text
//!            request(slot, ask, First)                      reply → outcome
//! engine ────────────────────────────────▶ server ────────────────────────────▶ engine
//!            request(slot, ask, Second(found))  ◀── Step::after(operation, outcome)
//! ```
//!
//! A [`Language`] is what all threads share: it was **met** (one blocking connection has asked the server what it is), greets each
//! further connection, makes dialects, and asks the server about itself. There are three: [`native::NativeLanguage`],
//! [`resp::RespLanguage`], [`memcached::MemcachedLanguage`].
//!
//! # Invariants
//!
//! - **No byte from the network is trusted.** A reply is found in any bytes without a panic; no length that they claim is waited for
//!   beyond [`REPLY_LEN_MAX`]; what is no reply to what was asked is [`Malformed`], for then the stream is out of step.
//! - **Where a stream is cut does not matter.** A reply is there once its last byte is, and is then the same however it came.
//! - **Nothing is allocated an operation.** Keys and values are appended where the request is encoded, and borrowed where a reply is read.

use std::borrow::Cow;

use crate::workload::{Ask, Operation};

mod bytes;
mod language;
pub mod memcached;
pub mod native;
pub mod resp;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
mod text;

pub use bytes::{KeyBytes, ValueBytes};
pub use language::{Demand, Language, MeetError, Protocol, UnknownWord, Unsupported};
pub use native::Layout;

/// What a report says where a server says nothing of itself.
pub(crate) const NOT_TOLD: &str = "not told by the server";

/// Longest reply that is read, in bytes. A server that announces more is broken, or was asked for more than a load should.
pub const REPLY_LEN_MAX: usize = 64 << 20;

/// What the first of an operation's two requests was answered and the second needs beside the value: a version, a CAS unique.
pub type Token = u64;

/// A value that the first of an operation's requests found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The value's bytes.
    pub bytes: &'a [u8],
    /// Which of the key's values it is, where the language tells.
    pub token: Token,
}

/// Which of an operation's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The first, and for most operations the only one.
    First,
    /// The second, with what the first found: nothing if there was no such key.
    Second(Option<Found<'a>>),
}

impl<'a> Step<'a> {
    /// The second step of an operation whose first request had this outcome, if one follows; otherwise the outcome is the operation's.
    ///
    /// Not to be asked after a second step: there is no third.
    #[inline]
    #[must_use]
    pub fn after(operation: Operation, outcome: &Outcome<'a>) -> Option<Step<'a>> {
        use Operation::{Add, CompareAndSet, ReadModifyWrite};
        match (operation, *outcome) {
            (CompareAndSet | ReadModifyWrite, Outcome::Value { bytes, token }) => {
                Some(Step::Second(Some(Found { bytes, token })))
            }
            // A counter that isn't there yet is made by the second step, in a language whose servers don't make it by themselves.
            (CompareAndSet | ReadModifyWrite | Add, Outcome::Missing) => Some(Step::Second(None)),
            _ => None,
        }
    }
}

/// What the reader of a reply must know of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What the operation is.
    pub operation: Operation,
    /// Whether the request was the operation's second.
    pub second: bool,
    /// [`Ask::count`].
    pub count: u32,
}

impl Asked {
    /// Of a request that [`Dialect::request`] has encoded.
    #[inline]
    #[must_use]
    pub fn of(ask: &Ask, step: Step<'_>) -> Asked {
        Asked {
            operation: ask.operation,
            second: step != Step::First,
            count: ask.count,
        }
    }

    /// Whether the reply is to bring one key's value.
    #[inline]
    fn reads_one(self) -> bool {
        use Operation::{CompareAndSet, Get, ReadModifyWrite};
        !self.second && matches!(self.operation, Get | CompareAndSet | ReadModifyWrite)
    }

    /// Whether the request was a write under a condition.
    #[inline]
    fn is_conditional(self) -> bool {
        self.second && matches!(self.operation, Operation::CompareAndSet)
    }
}

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A value was read.
    Value {
        /// The value's bytes.
        bytes: &'a [u8],
        /// For [`Step::Second`]: 0 where the language tells none, or was not asked for one.
        token: Token,
    },
    /// So many values of a batch or keys of a page were read. [`Dialect::values`] hands out a batch's values.
    Many {
        /// Found.
        found: u32,
        /// Asked for and not there.
        missing: u32,
    },
    /// The counter's value after the addition.
    Counter(i64),
    /// The write was carried out.
    Done,
    /// There is no such key.
    Missing,
    /// A condition failed: somebody else was first.
    Conflict,
    /// The server said no, in these words.
    Refused(&'a [u8]),
}

/// One reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// How many bytes it takes up.
    pub len: usize,
    /// The slot of its request, unless the language answers in order.
    pub slot: Option<u32>,
    /// What it says.
    pub outcome: Outcome<'a>,
}

/// The bytes are no reply in this language, or none to what was asked. The connection can't be read any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub Cow<'static, str>);

/// A language as one thread speaks it: how requests look and how replies are read.
pub trait Dialect {
    /// Whether replies come in the order of the requests. Otherwise each names the slot of its request.
    const IN_ORDER: bool;

    /// Appends a request.
    ///
    /// `slot` is what the reply will name, below `u32::MAX`. A batch is of the keys `ask.key`, `ask.key + 1` …, `ask.count` of them; a page
    /// of a scan begins at a place that `ask.key` chooses among those that [`Language::learn_scans`] found.
    ///
    /// # Panics
    ///
    /// If a key's or value's bytes are not as many as was said ([`KeyBytes`], [`ValueBytes`]), or the operation is one that
    /// [`Language::accepts`] refuses.
    fn request(&self, slot: u32, ask: &Ask, step: Step<'_>, out: &mut Vec<u8>);

    /// The first reply in `bytes`, `None` if it isn't all there.
    ///
    /// `oldest` is the request that has waited longest on this connection. A language that answers in order needs it, as its
    /// replies don't say what they are replies to; one that names slots doesn't look at it.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are no reply to it, so that no later reply can be found either.
    fn reply<'a>(
        &self,
        bytes: &'a [u8],
        oldest: Option<Asked>,
    ) -> Result<Option<Reply<'a>>, Malformed>;

    /// Hands out the values that a batch found, with their keys' numbers, so that they can be checked. `reply` is all of its reply's bytes
    /// and the outcome was [`Outcome::Many`]; from any other reply nothing comes.
    fn values<'a>(&self, ask: &Ask, reply: &'a [u8], visit: &mut dyn FnMut(u64, &'a [u8]));
}

#[cfg(test)]
mod tests {
    use super::*;

    // An operation that never sends its second request would be counted as faster than it is; one that sends a request after its last
    // would be answered into somebody else's slot.
    #[test]
    fn a_second_step_follows_only_where_an_operation_has_two() {
        let value = Outcome::Value {
            bytes: b"old",
            token: 7,
        };
        let found = Step::Second(Some(Found {
            bytes: b"old",
            token: 7,
        }));
        for operation in Operation::ALL {
            let two = matches!(
                operation,
                Operation::CompareAndSet | Operation::ReadModifyWrite
            );
            assert_eq!(Step::after(operation, &value), two.then_some(found));
            let made = two || operation == Operation::Add;
            assert_eq!(
                Step::after(operation, &Outcome::Missing),
                made.then_some(Step::Second(None))
            );
            for last in [Outcome::Done, Outcome::Conflict, Outcome::Refused(b"no")] {
                assert_eq!(Step::after(operation, &last), None, "{operation:?}");
            }
        }
    }

    // What the engine keeps for each request in flight should stay small enough to be handed over in a register.
    #[test]
    fn what_the_reader_must_know_is_one_word() {
        assert_eq!(size_of::<Option<Asked>>(), 8);
    }
}
