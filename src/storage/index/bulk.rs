//! A whole index at once, from entries that are in hash order.
//!
//! One entry after the other, a growing index copies each table a dozen times and splits it again and again, and finds every place by a
//! cache miss. A start has all entries before it needs the first, so it sorts them and has each table made once, in its final size.

use super::PartitionIndex;
use super::directory::{Directory, Node};
use super::entry::{Entry, ShortHash};
use crate::limits::INDEX_DIRECTORY_BITS_MAX;
use crate::storage::hash::KeyHash;
use crate::types::Position;

/// An index that is made. [`BulkIndex::push`] each entry of a range, ascending by hash, then [`BulkIndex::end_range`], for all ranges in
/// order; then [`BulkIndex::finish`].
#[derive(Debug)]
pub struct BulkIndex {
    /// Ranges are told apart by so many first bits of the hash.
    bits: u32,
    /// Ranges that are done with.
    ranges: u64,
    nodes: Vec<Node>,
    /// The entries of the range in hand.
    entries: Vec<Entry>,
    len: u64,
}

impl BulkIndex {
    /// An index whose entries come in `2^bits` ranges of the hash; so many that one range has more than a table's worth of entries, or one.
    #[must_use]
    pub fn new(bits: u32) -> BulkIndex {
        assert!(
            bits <= INDEX_DIRECTORY_BITS_MAX,
            "ranges fit into a directory"
        );
        BulkIndex {
            bits,
            ranges: 0,
            nodes: Vec::new(),
            entries: Vec::new(),
            len: 0,
        }
    }

    /// Adds an entry for a record of `record_len` bytes at `address`.
    #[inline]
    pub fn push(&mut self, hash: KeyHash, address: Position, record_len: u32) {
        let hash = ShortHash::from(hash);
        debug_assert_eq!(hash.bits(0, self.bits) as u64, self.ranges);
        self.entries.push(Entry::new(hash, address, record_len));
    }

    /// That was the range's last entry.
    pub fn end_range(&mut self) {
        let is_sorted = self.entries.is_sorted_by_key(|entry| entry.hash());
        assert!(is_sorted, "entries come in hash order");
        Directory::cut(&self.entries, self.bits, 0, &mut self.nodes);
        self.len += self.entries.len() as u64;
        self.entries.clear();
        self.ranges += 1;
    }

    /// The index.
    #[must_use]
    pub fn finish(self) -> PartitionIndex {
        assert_eq!(self.ranges, 1 << self.bits, "all ranges have come");
        PartitionIndex {
            len: self.len,
            root: Directory::of_nodes(0, self.nodes),
        }
    }
}
