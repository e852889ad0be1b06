//! Which records fall due when: the shard's queue of expiries.
//!
//! A record with a time to live enters the queue when it is applied. The shard asks for what is due, a slice a turn, checks
//! that the index still points at the record, and deletes the key. Nobody sees a key past its time even if the queue is behind:
//! reads look at the record's expiry themselves. The queue is only what takes expired keys away.
//!
//! # How it works
//!
//! A sorted map of small buckets (`buckets`). Why not a timing wheel, which inserts in O(1)? A wheel turns in one
//! direction. A wall clock that is set back by a day would make its position wrong, and everything in it would have to be
//! placed again; one that is set forward makes the wheel cascade through all that it holds. Here nothing knows what time it
//! is: the clock is only an argument of [`ExpiryQueue::pop_due`], and its jumps cost nothing. There is no cascade either:
//! an entry moves only when its bucket is split. The price is a search among the buckets, a shift and a mask for a wheel.
//!
//! # Stale entries
//!
//! A key that is overwritten leaves its entry behind, and one that is overwritten ten thousand times a second with a time
//! to live of an hour would leave 36 million. So a **pass** goes through the queue whenever it has doubled since the last
//! one, in slices ([`ExpiryQueue::compact`]), and drops each entry of which the caller says that it isn't valid any more:
//! that the index doesn't point at its address. That needs no read and no bookkeeping for what was overwritten.
//!
//! The bound: let *v* be the number of entries that a pass left. The next one begins at 2*v* entries. If the caller has
//! [`EXPIRY_CHECKS_PER_INSERT`] (4) entries checked for each one that it inserts, the pass is over after at most 2*v*/3 more,
//! so the queue never holds more than 2⅔ times *v*, or a few times [`EXPIRY_PASS_LEN_MIN`] where *v* is small.

mod buckets;
mod entry;
#[cfg(test)]
mod tests;

pub use self::entry::Due;

use self::buckets::{BucketKey, Buckets};
use crate::limits::{EXPIRY_CHECKS_PER_INSERT, EXPIRY_PASS_LEN_MIN};
use crate::storage::hash::KeyHash;
use crate::types::{PartitionId, Position, WallMillis};

// An entry that is inserted during a pass may have to be checked by it, so at one check each a pass would never end.
const _: () = assert!(EXPIRY_CHECKS_PER_INSERT > 1);

/// A walk through all entries that drops the stale ones.
#[derive(Clone, Copy, Debug)]
struct Pass {
    /// The bucket at which it goes on.
    at: BucketKey,
    /// Entries that it has found to be valid.
    kept: usize,
}

/// The expiries of a shard. See the module's header.
///
/// A turn: `insert` for what was applied; `pop_due` with the turn's slice, then delete what the index still points at;
/// `compact` with the turn's slice. In between, `next_due` says how long the shard may sleep.
#[derive(Debug, Default)]
pub struct ExpiryQueue {
    buckets: Buckets,
    /// The pass that is under way.
    pass: Option<Pass>,
    /// How many valid entries there are, as far as the last pass and the length tell.
    valid_estimate: usize,
}

impl ExpiryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record that expires at `expiry`, which may have passed. Costs a search, and at most the split of one bucket.
    pub fn insert(
        &mut self,
        expiry: WallMillis,
        partition: PartitionId,
        hash: KeyHash,
        address: Position,
    ) {
        self.buckets.insert(
            Due {
                expiry,
                partition,
                hash,
                address,
            }
            .into(),
        );
        if self.pass.is_none() && self.len() >= EXPIRY_PASS_LEN_MIN.max(self.valid_estimate * 2) {
            self.begin_pass();
        }
    }

    /// When to call [`pop_due`](Self::pop_due) next; none if the queue is empty. Never later than the first entry is due.
    /// It may be earlier: then that call takes nothing out, and after it the answer is exact until the next insertion.
    #[must_use]
    pub fn next_due(&self) -> Option<WallMillis> {
        self.buckets.first_begin().map(WallMillis)
    }

    /// Takes out entries with `expiry <= now`, at most `entries_max`, and appends them to `out`, roughly the oldest first.
    /// There may be more of them for as long as [`next_due`](Self::next_due) isn't after `now`.
    pub fn pop_due(&mut self, now: WallMillis, entries_max: usize, out: &mut Vec<Due>) {
        self.buckets.pop_due(now.0, entries_max, out);
        self.valid_estimate = self.valid_estimate.min(self.len());
    }

    /// Lets the pass, if one is under way, ask about more entries whether they are still valid, and drop those which
    /// aren't. It asks about at most `checks_max`, but always about a whole bucket; returns about how many.
    pub fn compact(
        &mut self,
        checks_max: usize,
        mut still_valid: impl FnMut(&Due) -> bool,
    ) -> usize {
        let mut checked = 0;
        while let Some(pass) = &mut self.pass {
            let Some(bucket_len) = self.buckets.bucket_len(pass.at) else {
                self.valid_estimate = pass.kept.min(self.buckets.len());
                self.pass = None;
                break;
            };
            if checked > 0 && checked + bucket_len > checks_max {
                break;
            }
            if let Some(retained) = self.buckets.retain(pass.at, &mut still_valid) {
                pass.at = retained.key.next();
                pass.kept += retained.kept;
                checked += retained.kept + retained.dropped;
            }
        }
        checked
    }

    /// Whether a pass is under way, so that [`compact`](Self::compact) has something to do.
    #[must_use]
    pub fn is_compacting(&self) -> bool {
        self.pass.is_some()
    }

    /// Number of entries, stale ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn begin_pass(&mut self) {
        self.pass.get_or_insert(Pass {
            at: BucketKey::START,
            kept: 0,
        });
    }

    /// Asserts all invariants. Costs the size of the queue, so it is for tests.
    pub fn check(&self) {
        self.buckets.check();
    }
}
