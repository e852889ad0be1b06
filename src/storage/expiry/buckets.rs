//! The sorted map of buckets: a B+ tree over time whose leaves are unsorted.
//!
//! A **bucket** begins at a time and reaches to where the next one begins; inside it, entries are in no order. So an insertion is
//! a search among buckets and a push, and only a full bucket costs more: it is split at its median, or at its edge if
//! the new entry is there (which keeps buckets full when times rise, the usual case).
//! An entry before all buckets goes into the first, which then begins with it, so times that fall don't make a bucket each.
//!
//! # Invariants
//!
//! 1. All entries of a bucket are at or after its begin, and before the begin of the next bucket.
//! 2. Except: entries that expire in the same millisecond may fill many buckets, which all begin with it and are told apart by a
//!    number; all but the last of them hold nothing else.
//! 3. A bucket is never empty and never holds more than [`EXPIRY_BUCKET_LEN_MAX`].

use std::collections::BTreeMap;

use super::entry::{Due, Packed};
use crate::limits::EXPIRY_BUCKET_LEN_MAX;

/// By how many entries a bucket's memory grows.
const BUCKET_STEP: usize = EXPIRY_BUCKET_LEN_MAX / 8;
/// Neighbours that shrank are made one if they hold at most this many together.
const MERGE_LEN_MAX: usize = EXPIRY_BUCKET_LEN_MAX / 2;

/// Where a bucket begins. The number tells apart buckets that begin in the same millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BucketKey {
    begin: u64,
    number: u32,
}

impl BucketKey {
    /// Not after any bucket.
    pub(super) const START: BucketKey = BucketKey {
        begin: 0,
        number: 0,
    };

    /// Not after any bucket behind this one.
    pub(super) fn next(self) -> Self {
        Self {
            begin: self.begin,
            number: self.number + 1,
        }
    }

    fn first_at(begin: u64) -> Self {
        Self { begin, number: 0 }
    }

    fn last_at(begin: u64) -> Self {
        Self {
            begin,
            number: u32::MAX,
        }
    }
}

type Bucket = Vec<Packed>;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    map: BTreeMap<BucketKey, Bucket>,
    len: usize,
}

/// What became of one bucket's entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retained {
    pub(super) key: BucketKey,
    pub(super) kept: usize,
    pub(super) dropped: usize,
}

impl Buckets {
    pub(super) fn insert(&mut self, new: Packed) {
        self.len += 1;
        loop {
            let expiry = new.expiry();
            let found = self
                .map
                .range_mut(..=BucketKey::last_at(expiry))
                .next_back();
            let full = match found {
                Some((_, bucket)) if bucket.len() < EXPIRY_BUCKET_LEN_MAX => {
                    push(bucket, new);
                    return;
                }
                Some((&key, _)) => key,
                None => {
                    let bucket = self.pop_first_single().unwrap_or_default();
                    self.map.insert(BucketKey::first_at(expiry), bucket);
                    continue;
                }
            };
            if self.make_room(full, new) {
                return;
            }
        }
    }

    /// The begin of the first bucket: at or before the first entry.
    pub(super) fn first_begin(&self) -> Option<u64> {
        self.map.first_key_value().map(|(key, _)| key.begin)
    }

    /// Moves at most `entries_max` entries with `expiry <= now` to `out`. Whatever is left in the first bucket then is
    /// either due as well, or none of it is and the bucket begins exactly at the first of it.
    pub(super) fn pop_due(&mut self, now: u64, entries_max: usize, out: &mut Vec<Due>) {
        let out_len_max = out.len() + entries_max;
        while out.len() < out_len_max {
            let Some(first) = self
                .map
                .first_entry()
                .filter(|first| first.key().begin <= now)
            else {
                return;
            };
            let (key, mut bucket) = first.remove_entry();
            let before = bucket.len();
            let mut later = u64::MAX;
            let mut index = 0;
            while index < bucket.len() && out.len() < out_len_max {
                let expiry = bucket[index].expiry();
                if expiry <= now {
                    out.push(bucket.swap_remove(index).into());
                } else {
                    later = later.min(expiry);
                    index += 1;
                }
            }
            self.len -= before - bucket.len();
            if bucket.is_empty() {
                continue;
            }
            let nothing_due = index == bucket.len();
            let key = if nothing_due {
                BucketKey::first_at(later)
            } else {
                key
            };
            self.map.insert(key, bucket);
            if nothing_due {
                return;
            }
        }
    }

    /// Keeps of the first bucket at or after `from` only the entries for which `keep` says so. None if there is no such bucket.
    pub(super) fn retain(
        &mut self,
        from: BucketKey,
        mut keep: impl FnMut(&Due) -> bool,
    ) -> Option<Retained> {
        let (&key, bucket) = self.map.range_mut(from..).next()?;
        let before = bucket.len();
        bucket.retain(|&packed| keep(&packed.into()));
        let kept = bucket.len();
        self.len -= before - kept;
        if kept < before {
            self.settle(key);
        }
        Some(Retained {
            key,
            kept,
            dropped: before - kept,
        })
    }

    /// How many entries the first bucket at or after `from` has.
    pub(super) fn bucket_len(&self, from: BucketKey) -> Option<usize> {
        self.map
            .range(from..)
            .next()
            .map(|(_, bucket)| bucket.len())
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes on the heap; costs the number of buckets.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        // A node of the map is at least half full, so it takes at most twice its keys and values.
        let per_bucket = 2 * size_of::<(BucketKey, Bucket)>();
        self.map
            .values()
            .map(|bucket| per_bucket + bucket.capacity() * size_of::<Packed>())
            .sum()
    }

    /// Takes the first bucket out, unless the next one begins where it does: such a bucket has to stay where it is.
    fn pop_first_single(&mut self) -> Option<Bucket> {
        let mut keys = self.map.keys();
        let first = keys.next()?;
        if keys.next().is_some_and(|next| next.begin == first.begin) {
            return None;
        }
        self.map.pop_first().map(|(_, bucket)| bucket)
    }

    /// Cuts the full bucket into whose range the new entry falls; says whether the new entry found its place by that.
    fn make_room(&mut self, key: BucketKey, new: Packed) -> bool {
        let Some(bucket) = self.map.remove(&key) else {
            unreachable!("the caller has just found this bucket");
        };
        let expiry = new.expiry();
        let (min, max) = bucket.iter().fold((u64::MAX, 0), |(min, max), entry| {
            let expiry = entry.expiry();
            (min.min(expiry), max.max(expiry))
        });
        if expiry < min {
            self.map.insert(BucketKey::first_at(min), bucket);
            self.map.insert(key, single(new));
            return true;
        }
        if expiry > max {
            self.map.insert(key, bucket);
            self.map.insert(BucketKey::first_at(expiry), single(new));
            return true;
        }
        if min == max {
            // All the same millisecond: one more bucket for it.
            let key = if key.begin == min {
                key
            } else {
                BucketKey::first_at(min)
            };
            self.map.insert(key, bucket);
            self.map.insert(key.next(), single(new));
            return true;
        }
        // Where times rise or fall, what is behind won't get more: leave it full.
        let above_min = || {
            bucket
                .iter()
                .map(|entry| entry.expiry())
                .filter(|&expiry| expiry > min)
                .min()
        };
        let pivot = if expiry == max {
            max
        } else if expiry == min {
            above_min().unwrap_or(max)
        } else {
            let mut times: Vec<u64> = bucket.iter().map(|entry| entry.expiry()).collect();
            let (_, &mut median, _) = times.select_nth_unstable(bucket.len() / 2);
            if median > min {
                median
            } else {
                above_min().unwrap_or(max)
            }
        };
        let (low, high) = bucket
            .iter()
            .partition::<Bucket, _>(|entry| entry.expiry() < pivot);
        for (key, mut half) in [(key, low), (BucketKey::first_at(pivot), high)] {
            fit(&mut half);
            self.map.insert(key, half);
        }
        false
    }

    /// Puts a bucket that has shrunk in order: none if it is empty, one with the bucket before it if both are small.
    fn settle(&mut self, key: BucketKey) {
        let begin_after = self
            .map
            .range(key.next()..)
            .next()
            .map(|(key, _)| key.begin);
        let before = self
            .map
            .range(..key)
            .next_back()
            .map(|(&before, bucket)| (before, bucket.len()));
        let len = self.map[&key].len();
        let target = before.filter(|&(before, before_len)| {
            // The second condition keeps invariant 2: a bucket may hold the begin of the next one only if it begins there itself.
            before_len + len <= MERGE_LEN_MAX
                && (before.begin == key.begin || begin_after != Some(key.begin))
        });
        if len == 0 {
            self.map.remove(&key);
        } else if let Some((target, _)) = target {
            let bucket = self.map.remove(&key).unwrap_or_default();
            let target = self.map.entry(target).or_default();
            for packed in bucket {
                push(target, packed);
            }
        } else if let Some(bucket) = self.map.get_mut(&key) {
            fit(bucket);
        }
    }

    /// Asserts the invariants; for tests.
    pub(super) fn check(&self) {
        let mut len = 0;
        let mut buckets = self.map.iter().peekable();
        while let Some((key, bucket)) = buckets.next() {
            assert!(
                !bucket.is_empty() && bucket.len() <= EXPIRY_BUCKET_LEN_MAX,
                "{key:?} holds {}",
                bucket.len()
            );
            let next = buckets.peek().map(|(next, _)| next.begin);
            for entry in bucket {
                let fits = match next {
                    Some(next) if next == key.begin => entry.expiry() == key.begin,
                    Some(next) => (key.begin..next).contains(&entry.expiry()),
                    None => entry.expiry() >= key.begin,
                };
                assert!(
                    fits,
                    "{} is in the bucket {key:?}, the next one begins at {next:?}",
                    entry.expiry()
                );
            }
            len += bucket.len();
        }
        assert_eq!(len, self.len, "the count of entries is wrong");
    }
}

/// A bucket with one entry.
fn single(packed: Packed) -> Bucket {
    let mut bucket = Bucket::new();
    push(&mut bucket, packed);
    bucket
}

/// Adds an entry; memory grows in steps, not twofold.
fn push(bucket: &mut Bucket, packed: Packed) {
    if bucket.len() == bucket.capacity() {
        bucket.reserve_exact(BUCKET_STEP);
    }
    bucket.push(packed);
}

/// Gives back memory that a step doesn't need.
fn fit(bucket: &mut Bucket) {
    bucket.shrink_to(bucket.len().next_multiple_of(BUCKET_STEP));
}
