//! How it is said: the languages of key-value servers, reduced to what a load needs.
//!
//! A [`Dialect`] is shared by the connections of one thread. It appends whole requests to a buffer and finds whole replies in one; sockets,
//! slots and clocks are the engine's. An operation is one or two requests, its **steps**; the second may carry what the first was answered.

use crate::workload::Ask;

/// What the first of an operation's two requests was answered and the second needs: a version, a CAS unique.
pub type Token = u64;

/// Which of an operation's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first, and for most operations the only one.
    First,
    /// The second, with what the first was answered.
    Second(Token),
}

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A value was read; with what a second step needs, if the request asked for that.
    Value {
        /// The value's bytes.
        bytes: &'a [u8],
        /// For [`Step::Second`].
        token: Token,
    },
    /// So many values of a batch or keys of a page were read.
    Many {
        /// Found.
        found: u32,
        /// Asked for and not there.
        missing: u32,
    },
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

/// The bytes are no reply in this language.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub std::borrow::Cow<'static, str>);

/// A language: how requests look and how replies are read.
pub trait Dialect {
    /// Whether replies come in the order of the requests. Otherwise each names the slot of its request.
    const IN_ORDER: bool;

    /// Appends a request. `slot` is what the reply will name.
    fn request(&self, slot: u32, ask: &Ask, step: Step, out: &mut Vec<u8>);

    /// The first reply in `bytes` to a request of this kind, `None` if it isn't all there. Where replies come in any order the engine can't
    /// know which one comes next: `ask` is then asked for by slot.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are no reply, so that no later reply can be found either.
    fn reply<'a>(
        &self,
        bytes: &'a [u8],
        ask: &dyn Fn(Option<u32>) -> Option<(Ask, Step)>,
    ) -> Result<Option<Reply<'a>>, Malformed>;
}
