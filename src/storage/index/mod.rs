//! A partition's index: from the hash of a key to the addresses of the records that may be that key's.
//!
//! The key's bytes stay in the log, so an entry is 16 bytes whatever the key's length: the top 40 bits of the hash, a hint at the
//! record's length (so that a cold read asks for the right number of bytes at once) and the address. The index never sees a
//! key: it yields the *candidates* of equal hash, almost always none or one, and the caller compares the key in the record.
//!
//! # How it works
//!
//! ```text
//! hash  0110…  ──► directory (by its top bits) ──► table: the entries of one range of hashes, sorted, with gaps
//! ```
//!
//! No operation may stall a turn, so there is no table that is rebuilt as a whole: the range of hashes is cut into ranges of at
//! most some two thousand entries, each with a small table of its own that grows in small steps and splits in two when it is
//! full. `table` is the searching, `directory` the cutting, `graveyard` what lets a dropped index go in slices.
//!
//! Everything is kept in hash order, down to the slots of a table. So a scan is a walk, and its cursor is a hash: it says
//! nothing about tables, and what grows, splits or moves meanwhile can't make it skip an entry that was there throughout.
//! A lookup costs one miss for the entry, seldom two; the directory and the headers of the tables are small enough to be cached.
//!
//! # Whose duty is what
//!
//! The index takes what it is told. That no address is entered twice and that each key has one entry is the caller's part.
//! Hashes are keyed ([`KeyHasher`](super::hash::KeyHasher)), so they are as good as random; equal ones are correct in any number
//! but slow in large ones.

mod bulk;
mod directory;
mod entry;
mod graveyard;
#[cfg(test)]
mod measure;
mod table;
#[cfg(test)]
mod tests;

pub use self::bulk::BulkIndex;
pub use self::entry::{Candidate, HashCursor};
pub use self::graveyard::Graveyard;

use self::directory::Directory;
use self::entry::{Entry, ShortHash};
use crate::limits::{INDEX_PAGE_TABLES_FULL_MAX, INDEX_PAGE_TABLES_MAX};
use crate::storage::hash::KeyHash;
use crate::types::Position;

/// The index of one partition. See the module's header.
#[derive(Debug)]
pub struct PartitionIndex {
    len: u64,
    root: Directory,
}

impl PartitionIndex {
    /// An empty index; it takes some hundred bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            len: 0,
            root: Directory::new(),
        }
    }

    /// Adds an entry for a record of `record_len` bytes at `address`. Takes some tens of microseconds at most.
    pub fn insert(&mut self, hash: KeyHash, address: Position, record_len: u32) {
        self.root
            .insert(Entry::new(hash.into(), address, record_len));
        self.len += 1;
    }

    /// Points the entry of this hash that points at `old` to `new`; says no, and does nothing, if there is none.
    pub fn replace(
        &mut self,
        hash: KeyHash,
        old: Position,
        new: Position,
        record_len: u32,
    ) -> bool {
        self.root
            .replace(old, Entry::new(hash.into(), new, record_len))
    }

    /// Takes out the entry of this hash that points at `address`; says no if there is none.
    pub fn remove(&mut self, hash: KeyHash, address: Position) -> bool {
        let removed = self.root.remove(hash.into(), address);
        self.len -= u64::from(removed);
        removed
    }

    /// Empties the index. What it held is for the caller to free in slices.
    #[must_use = "dropping a large graveyard frees it all at once, which stalls the turn"]
    pub fn clear(&mut self) -> Graveyard {
        self.len = 0;
        Graveyard::new(std::mem::replace(&mut self.root, Directory::new()))
    }

    /// Gives up the index, to be freed in slices.
    #[must_use = "dropping a large graveyard frees it all at once, which stalls the turn"]
    pub fn into_graveyard(self) -> Graveyard {
        Graveyard::new(self.root)
    }

    /// The records whose key may be the one with this hash.
    pub fn candidates(&self, hash: KeyHash) -> impl Iterator<Item = Candidate> {
        let hash = ShortHash::from(hash);
        let run = self.root.table(hash).from(hash).iter();
        run.take_while(move |entry| entry.hash() == hash && !entry.is_empty())
            .map(|entry| entry.candidate())
    }

    /// Whether an entry of this hash points at `address`: that is, whether the record there is still the newest of its key.
    #[must_use]
    pub fn contains(&self, hash: KeyHash, address: Position) -> bool {
        self.candidates(hash)
            .any(|candidate| candidate.address == address)
    }

    /// The address at which a search for this hash begins. Only for prefetching: it may be that of anything by the time
    /// that it is looked at.
    #[must_use]
    pub fn home(&self, hash: KeyHash) -> *const u8 {
        let hash = ShortHash::from(hash);
        self.root.table(hash).first_slot(hash)
    }

    /// A page of a scan: appends the entries at or after `from` in hash order to `out`, each with the cursor at which a
    /// later page goes on after it, and returns where the next page begins, or none at the end.
    ///
    /// About `entries_max` entries: those of one hash always come in one page, so it can be some more; and a page ends
    /// early rather than touch many tables, so it can be fewer, even none. Only the answer says whether the scan is over.
    ///
    /// An entry's own cursor is for callers that stop in the middle of a page. It never skips anything: of several entries
    /// of one hash all but the last carry the cursor *at* that hash, so a caller has to take such a group whole to make
    /// progress.
    pub fn page(
        &self,
        from: HashCursor,
        entries_max: usize,
        out: &mut Vec<(HashCursor, Candidate)>,
    ) -> Option<HashCursor> {
        assert!(entries_max > 0, "a page without entries never ends");
        let out_len_max = out.len() + entries_max;
        let mut cursor = from;
        let mut tables_full = 0;
        for _ in 0..INDEX_PAGE_TABLES_MAX {
            let hash = cursor.hash()?;
            let table = self.root.table(hash);
            let mut last: Option<ShortHash> = None;
            for entry in table.from(hash).iter().filter(|entry| !entry.is_empty()) {
                if last == Some(entry.hash()) {
                    if let Some((resume, _)) = out.last_mut() {
                        *resume = HashCursor::at(entry.hash());
                    }
                } else if out.len() >= out_len_max {
                    return Some(HashCursor::at(entry.hash()));
                }
                out.push((entry.hash().cursor_after(), entry.candidate()));
                last = Some(entry.hash());
            }
            cursor = cursor.range_end(table.depth());
            tables_full += usize::from(last.is_some());
            if out.len() >= out_len_max || tables_full >= INDEX_PAGE_TABLES_FULL_MAX {
                break;
            }
        }
        cursor.hash().map(HashCursor::at)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the index takes, free slots included, the allocator's own overhead not.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.root.heap_bytes()
    }

    /// Asserts all invariants. Costs the size of the index, so it is for tests.
    pub fn check(&self) {
        assert_eq!(
            self.root.check() as u64,
            self.len,
            "the count of entries is wrong"
        );
    }
}

impl Default for PartitionIndex {
    fn default() -> Self {
        Self::new()
    }
}
