//! From what all segments say of a partition to the newest record of each of its keys.
//!
//! Each segment's records are sorted by hash. They are taken a range of hashes at a time, of so many records that they stay in the cache, and
//! put in order by a stable sort, which finds that they are sorted runs and merges them.

use super::body::{Group, Item};
use crate::limits::{INDEX_DIRECTORY_BITS_MAX, SUMMARY_MERGE_RECORDS};
use crate::storage::hash::KeyHash;
use crate::types::Position;

/// What one segment holds of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Where its positions count from.
    pub base: Position,
    /// Its records.
    pub group: Group<'a>,
}

/// Into how many ranges of hashes [`newest`] cuts a partition: as many as this power of two.
#[must_use]
pub fn range_bits(runs: &[Run<'_>]) -> u32 {
    let records: usize = runs.iter().map(|run| run.group.len()).sum();
    let ranges = records.div_ceil(SUMMARY_MERGE_RECORDS).max(1);
    ranges
        .next_power_of_two()
        .ilog2()
        .min(INDEX_DIRECTORY_BITS_MAX)
}

/// The newest record of each key that is there, by ranges of the hash's first `bits` bits (see [`range_bits`]): for each range in order, those in it,
/// ascending. Keys that were deleted or cleared are left out; whether one has expired is for the caller to ask.
pub fn newest(runs: &[Run<'_>], bits: u32, mut range: impl FnMut(&[Item])) {
    let clear = runs.iter().filter_map(|run| run.group.clear).max();
    let mut at = vec![0; runs.len()];
    let mut items: Vec<Item> = Vec::new();
    for number in 0..1u64 << bits {
        items.clear();
        for (run, at) in runs.iter().zip(&mut at) {
            let end = end_of(run, *at, number, bits);
            items.extend((*at..end).map(|record| run.group.item(record, run.base)));
            *at = end;
        }
        items.sort_by_key(Item::order);
        keep_newest(&mut items);
        items.retain(|item| !item.is_delete() && clear.is_none_or(|clear| item.version() > clear));
        range(&items);
    }
}

/// The first record of a run, from `from` on, whose hash is behind the range with this number.
fn end_of(run: &Run<'_>, from: usize, number: u64, bits: u32) -> usize {
    let is_inside = |hash: KeyHash| match bits {
        0 => true,
        bits => hash.0 >> (u64::BITS - bits) <= number,
    };
    let (mut low, mut high) = (from, run.group.len());
    while low < high {
        let middle = low.midpoint(high);
        match is_inside(run.group.hash(middle)) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

/// Of several records of one key, which follow one another, keeps the last.
pub(super) fn keep_newest(items: &mut Vec<Item>) {
    let mut kept = 0;
    for number in 0..items.len() {
        let item = items[number];
        let is_newest = items
            .get(number + 1)
            .is_none_or(|next| next.key() != item.key());
        items[kept] = item;
        kept += usize::from(is_newest);
    }
    items.truncate(kept);
}
