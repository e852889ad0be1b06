//! How much of each segment lives: what compaction decides by.
//!
//! A record lives while the index points at it. Each put counts one record in and mostly another out, so finding a position's segment must
//! cost next to nothing: the newest segment is looked at first, for there new records are; then the segments' bases are searched, which lie
//! close together and are few enough to stay in the processor's cache.
//!
//! A segment's count may be too high for a while, never too low: the entries of a dropped table are counted out one by one as it is freed.

use crate::types::Position;

/// What is known of one segment's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes of records that the index points at.
    pub live: u64,
    /// Bytes that may have to outlive the segment though the index doesn't point at them: deletes, clears, and what deletes would take that stand for
    /// records whose time has passed.
    pub tombstones: u64,
    /// A part of it was given up. What may have been there counts at each start, so the segment must stay.
    pub has_skip: bool,
}

/// The accounts of all segments, in the log's order.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    bases: Vec<Position>,
    accounts: Vec<Account>,
}

impl Ledger {
    /// The next segment begins.
    pub fn begin(&mut self, base: Position) {
        assert!(
            self.bases.last().is_none_or(|last| *last <= base),
            "segments begin in order"
        );
        self.bases.push(base);
        self.accounts.push(Account::default());
    }

    /// A segment is gone.
    pub(super) fn remove(&mut self, segment: usize) {
        self.bases.remove(segment);
        self.accounts.remove(segment);
    }

    /// The segment that a position lies in, or behind which it would: the last that begins at or before it.
    #[inline]
    pub(super) fn find(&self, position: Position) -> Option<usize> {
        let last = self.bases.len().checked_sub(1)?;
        if self.bases[last] <= position {
            return Some(last);
        }
        self.bases
            .partition_point(|base| *base <= position)
            .checked_sub(1)
    }

    #[inline]
    pub(super) fn at_mut(&mut self, position: Position) -> &mut Account {
        let found = self.find(position).expect("a record lies in a segment");
        &mut self.accounts[found]
    }

    pub(super) fn account(&self, segment: usize) -> Account {
        self.accounts[segment]
    }

    pub(super) fn len(&self) -> usize {
        self.bases.len()
    }

    /// The newest segment's account.
    pub(super) fn newest_mut(&mut self) -> Option<&mut Account> {
        self.accounts.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two segments that begin at one place the first is empty: a position there lies in the second.
    #[test]
    fn a_position_is_found_in_its_segment() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.find(Position(0)), None);
        for base in [0, 100, 100, 300] {
            ledger.begin(Position(base));
        }
        let found = |at| ledger.find(Position(at));
        assert_eq!(
            [0, 99, 100, 299, 300, 1000].map(found),
            [0, 0, 2, 2, 3, 3].map(Some)
        );
        ledger.remove(2);
        ledger.remove(0);
        assert_eq!(ledger.find(Position(99)), None, "it is gone");
        assert_eq!(ledger.find(Position(200)), Some(0));
    }
}
