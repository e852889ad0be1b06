//! What is known of a subject: the newest state that was acknowledged, and what was sent behind it.

use super::Found;

/// What is written to and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Cell(u64),
    Pair(u64),
}

/// What a cell, or each half of a pair, holds: the value that this write put, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) sequence: u64,
    pub(super) is_present: bool,
}

/// What is known of a cell or a pair.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The newest acknowledged state; none if it was never written.
    pub(super) known: Option<State>,
    /// The highest version that was told.
    pub(super) version: u64,
    /// Writes that were sent behind it and not answered, in that order.
    pub(super) pending: Vec<State>,
}

impl History {
    /// What a read that is sent now must show.
    pub(super) fn newest(&self) -> Option<State> {
        self.pending.last().copied().or(self.known)
    }

    /// What there was before a write that is pending.
    pub(super) fn before(&self, sequence: u64) -> Option<State> {
        self.pending
            .iter()
            .rev()
            .find(|state| state.sequence < sequence)
            .copied()
            .or(self.known)
    }

    /// Compares with what a read shows, and takes that for known.
    pub(super) fn settle(
        &mut self,
        shown: Option<u64>,
        version: u64,
        found: &mut Found,
        name: impl Fn() -> String,
    ) {
        let is_shown = |state: &State| match shown {
            Some(sequence) => state.is_present && state.sequence == sequence,
            None => !state.is_present,
        };
        let as_known = match &self.known {
            Some(state) => is_shown(state),
            None => shown.is_none(),
        };
        let pending = self.pending.iter().find(|state| is_shown(state)).copied();
        assert!(
            as_known || pending.is_some(),
            "{} shows {shown:?} after {self:?}",
            name()
        );
        found.doubtful += u64::from(!self.pending.is_empty());
        if !as_known {
            found.carried_out += 1;
            self.known = pending;
        }
        if shown.is_some() {
            assert!(
                if as_known {
                    version == self.version
                } else {
                    version > self.version
                },
                "{} has version {version} after {self:?}",
                name()
            );
            self.version = version;
        }
        self.pending.clear();
    }
}

/// What is known of a list.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) acknowledged: u64,
    pub(super) sent: u64,
    pub(super) refused: u64,
}
