//! Errors by kind. Never in the percentiles, and never a reason to end a run unless that was asked for.

use std::collections::BTreeMap;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault<'a> {
    /// The server said no, in these words.
    Refused(&'a [u8]),
    /// The connection ended under the operation.
    Broken,
    /// No answer in time.
    Timeout,
    /// In flight on a connection that was closed because something else on it timed out or couldn't be read.
    GivenUp,
    /// A value that the key cannot hold.
    WrongValue,
    /// An answer that does not fit the question.
    WrongReply,
    /// No such key, where it must be there.
    MissingKey,
    /// A connection could not be opened again.
    CannotConnect,
    /// Bytes that are no reply.
    Malformed(&'a str),
    /// An arrival for which there was no slot in all the time that it could wait.
    NotSent,
    /// In flight when the time to drain was over.
    Unanswered,
}

/// Refusals' words are cut here, in characters.
const WORDS_MAX: usize = 60;
/// Kinds that are told apart: a server that puts the key in its refusals would otherwise make one a key.
const KINDS_MAX: usize = 64;

impl Fault<'_> {
    /// The name that it is counted under.
    pub(crate) fn kind(&self) -> String {
        match self {
            Fault::Refused(words) => format!("refused: {}", cut(&words.escape_ascii().to_string())),
            Fault::Broken => "broken connection".to_owned(),
            Fault::Timeout => "timeout".to_owned(),
            Fault::GivenUp => "given up with its connection".to_owned(),
            Fault::WrongValue => "wrong value".to_owned(),
            Fault::WrongReply => "wrong reply".to_owned(),
            Fault::MissingKey => "missing key".to_owned(),
            Fault::CannotConnect => "cannot connect".to_owned(),
            Fault::Malformed(why) => format!("malformed reply: {}", cut(why)),
            Fault::NotSent => "not sent".to_owned(),
            Fault::Unanswered => "unanswered at the end".to_owned(),
        }
    }
}

fn cut(words: &str) -> &str {
    match words.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => &words[..end],
        None => words,
    }
}

/// How many of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errors {
    by_kind: BTreeMap<String, u64>,
    total: u64,
}

impl Errors {
    /// Counts some of a kind.
    #[cold]
    pub(crate) fn count(&mut self, fault: &Fault<'_>, number: u64) {
        self.add(fault.kind(), number);
    }

    /// Adds another thread's.
    pub(crate) fn merge(&mut self, other: Errors) {
        for (kind, number) in other.by_kind {
            self.add(kind, number);
        }
    }

    /// Of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// For the report.
    pub(crate) fn into_kinds(self) -> BTreeMap<String, u64> {
        self.by_kind
    }

    fn add(&mut self, kind: String, number: u64) {
        if number == 0 {
            return;
        }
        self.total += number;
        let is_known = self.by_kind.contains_key(&kind);
        let kind = if !is_known && self.by_kind.len() >= KINDS_MAX {
            "refused: in other words".to_owned()
        } else {
            kind
        };
        *self.by_kind.entry(kind).or_default() += number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A server that names the key in each refusal must not fill the generator's memory and the report.
    #[test]
    fn kinds_are_bounded_and_no_error_is_lost() {
        let mut errors = Errors::default();
        for key in 0..10_000 {
            errors.count(&Fault::Refused(format!("no key {key}").as_bytes()), 1);
        }
        assert_eq!(errors.total(), 10_000);
        let kinds = errors.into_kinds();
        assert!(kinds.len() <= KINDS_MAX + 1, "{}", kinds.len());
        assert_eq!(kinds.values().sum::<u64>(), 10_000);
    }

    #[test]
    fn long_words_are_cut_and_bytes_are_escaped() {
        let kind = Fault::Refused(&[b'\xff'; 300]).kind();
        assert_eq!(kind.len(), "refused: ".len() + WORDS_MAX);
        assert!(kind.starts_with("refused: \\xff"), "{kind}");
    }
}
