//! Segments that something still reads (a backup, later a peer): compaction leaves them alone until they are released.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::Log;
use crate::types::SegmentId;

/// Names one hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold(u64);

#[derive(Debug, Default)]
pub(super) struct Holds {
    ranges: BTreeMap<Hold, RangeInclusive<SegmentId>>,
    next: u64,
}

impl Log {
    /// Keeps these segments until the hold is [released](Log::release). One that is being removed already is not kept from it: hold first,
    /// then look which are there.
    #[must_use]
    pub fn hold(&mut self, segments: RangeInclusive<SegmentId>) -> Hold {
        self.holds.next += 1;
        let hold = Hold(self.holds.next);
        self.holds.ranges.insert(hold, segments);
        hold
    }

    /// Ends a hold.
    pub fn release(&mut self, hold: Hold) {
        let held = self.holds.ranges.remove(&hold);
        assert!(held.is_some(), "a hold is released once");
    }

    /// Whether something holds a segment.
    #[must_use]
    pub fn is_held(&self, segment: SegmentId) -> bool {
        self.holds
            .ranges
            .values()
            .any(|range| range.contains(&segment))
    }
}
