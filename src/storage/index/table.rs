//! A sub-table: the entries of one contiguous range of hashes, sorted, with gaps.
//!
//! The range is all hashes that begin with the same `depth` bits. The bits after those, read as a fraction of the range and
//! multiplied by the number of *homes*, give the slot at which a search for a hash begins. That function only grows with the
//! hash, so robin hood hashing keeps the entries **in hash order over the whole array**, and that pays for everything here:
//!
//! - an unsuccessful search ends at the first larger hash, as early as a successful one;
//! - a scan in hash order reads the array from left to right;
//! - growing, shrinking, splitting and merging stream from one array into another, without a random access;
//! - the number of slots need not be a power of two, so a table grows in steps of an eighth and less.
//!
//! # Invariants
//!
//! 1. Hashes don't decrease from slot to slot (empty slots left out).
//! 2. No entry is before its home, and no slot from its home to it is empty.
//! 3. At most 7/8 of the slots are taken.
//!
//! Insertion shifts the entries up to the next gap by one, removal shifts the displaced ones behind it back, so there are
//! no tombstones and a table doesn't age. The array doesn't wrap around: some slots behind the last home take what is
//! displaced there. When those are full, or the load is at its limit, the table takes the next size; at the largest size it
//! asks to be split. A table in which all hashes are equal can't be split and grows beyond it.
//!
//! The sizes are few (eight to a doubling), so that the memory that one table leaves behind is what another one asks for.

use super::entry::{Entry, ShortHash};
use crate::limits::INDEX_TABLE_SLOTS_MAX;
use crate::types::Position;

/// The smallest size, and the finest step between sizes.
const SLOTS_MIN: usize = 8;

/// The table is at its largest size and has to be split before it takes another entry.
#[derive(Debug)]
pub(super) struct Full;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Table {
    slots: Box<[Entry]>,
    /// Home slots are `0..homes`; at most `slots.len()`.
    homes: u32,
    /// Slots taken.
    len: u32,
    /// With fewer entries than this, the table is rebuilt smaller.
    shrink_below: u32,
    /// How many leading bits all hashes of the range share.
    depth: u8,
}

impl Table {
    /// An empty table, which takes no memory beside itself.
    pub(super) fn new(depth: u32) -> Self {
        Self {
            slots: Box::default(),
            homes: 0,
            len: 0,
            shrink_below: 0,
            depth: depth as u8,
        }
    }

    /// A table of `slots_len` slots (of a few more, if the hashes are too uneven) with the entries of the parts, which are in
    /// hash order and have gaps. There are `len` of them.
    fn build(depth: u32, parts: [&[Entry]; 2], len: usize, slots_len: usize) -> Self {
        if slots_len == 0 {
            return Self::new(depth);
        }
        let homes = slots_len - spill_len(slots_len);
        let slots = spread(parts, depth, homes, slots_len).unwrap_or_else(|| {
            // At most all entries are behind the last home, and `spread` wants a gap behind them.
            let slots_len = size_at_least(homes + len + 1 + slots_len / 8);
            spread(parts, depth, homes, slots_len)
                .expect("there is room for all entries behind the last home")
        });
        let table = Self {
            slots,
            homes: homes as u32,
            len: len as u32,
            shrink_below: (len - len / 8) as u32,
            depth: depth as u8,
        };
        if cfg!(debug_assertions) {
            table.check();
        }
        table
    }

    /// A table of entries that are in hash order, if they are not too many for one.
    pub(super) fn of_sorted(depth: u32, entries: &[Entry]) -> Option<Self> {
        let slots_len = size_for(entries.len());
        let differs = |entry: &Entry| entry.hash() != entries[0].hash();
        // Equal hashes can't be parted.
        if slots_len > INDEX_TABLE_SLOTS_MAX && entries.last().is_some_and(differs) {
            return None;
        }
        if entries.is_empty() {
            return Some(Self::new(depth));
        }
        Some(Self::build(depth, [entries, &[]], entries.len(), slots_len))
    }

    /// Adds an entry, behind those with the same hash. The table is unchanged if it is full.
    pub(super) fn insert(&mut self, entry: Entry) -> Result<(), Full> {
        if self.has_room() && self.place(entry) {
            return Ok(());
        }
        let size = size_at_least(self.slots.len() + 1);
        if size > INDEX_TABLE_SLOTS_MAX && self.can_split(entry.hash()) {
            return Err(Full);
        }
        self.rebuild(size);
        let placed = self.place(entry);
        assert!(placed, "a table that was just enlarged has no room");
        Ok(())
    }

    /// Overwrites the entry of this hash with the address `old`.
    pub(super) fn replace(&mut self, old: Position, new: Entry) -> bool {
        match self.find(new.hash(), old) {
            Some(slot) => {
                self.slots[slot] = new;
                true
            }
            None => false,
        }
    }

    /// Takes out the entry of this hash and address.
    pub(super) fn remove(&mut self, hash: ShortHash, address: Position) -> bool {
        let Some(removed) = self.find(hash, address) else {
            return false;
        };
        let mut end = removed + 1;
        while end < self.slots.len()
            && !self.slots[end].is_empty()
            && self.home(self.slots[end].hash()) < end
        {
            end += 1;
        }
        self.slots.copy_within(removed + 1..end, removed);
        self.slots[end - 1] = Entry::EMPTY;
        self.len -= 1;
        if self.len < self.shrink_below {
            self.rebuild(size_for(self.len()));
        }
        true
    }

    /// The two halves of the range.
    pub(super) fn split(&self) -> (Self, Self) {
        let depth = self.depth();
        let is_left = |entry: &Entry| entry.is_empty() || entry.hash().bits(depth, 1) == 0;
        let middle = self
            .slots
            .iter()
            .position(|entry| !is_left(entry))
            .unwrap_or(self.slots.len());
        let (left, right) = self.slots.split_at(middle);
        let left_len = left.iter().filter(|entry| !entry.is_empty()).count();
        let right_len = self.len() - left_len;
        (
            Self::build(depth + 1, [left, &[]], left_len, size_for(left_len)),
            Self::build(depth + 1, [right, &[]], right_len, size_for(right_len)),
        )
    }

    /// The table over both ranges, which are the halves of one.
    pub(super) fn merge(left: &Self, right: &Self) -> Self {
        debug_assert!(left.depth == right.depth && left.depth > 0);
        let len = left.len() + right.len();
        Self::build(
            left.depth() - 1,
            [&left.slots, &right.slots],
            len,
            size_for(len),
        )
    }

    /// The slots from the first entry whose hash is at or after `hash`; they begin with an empty one if there is a gap there.
    pub(super) fn from(&self, hash: ShortHash) -> &[Entry] {
        let mut slot = self.home(hash);
        // Counting smaller hashes in windows of eight slots, without a branch, was measured: no gain for independent
        // lookups, and half as slow again where one waits for the other, because a branch lets the processor go on before
        // memory has answered.
        while slot < self.slots.len() && self.slots[slot].hash() < hash {
            slot += 1;
        }
        &self.slots[slot..]
    }

    /// The slot at which a search for the hash begins.
    pub(super) fn first_slot(&self, hash: ShortHash) -> *const u8 {
        self.slots.as_ptr().wrapping_add(self.home(hash)).cast()
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// All entries, in hash order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter(|entry| !entry.is_empty())
    }

    pub(super) fn depth(&self) -> u32 {
        u32::from(self.depth)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val::<[Entry]>(&self.slots)
    }

    fn home(&self, hash: ShortHash) -> usize {
        home(hash, self.depth(), self.homes as usize)
    }

    fn has_room(&self) -> bool {
        (self.len() + 1) * 8 <= self.slots.len() * 7
    }

    /// Whether the entries and one more of this hash have two hashes or more among them.
    fn can_split(&self, hash: ShortHash) -> bool {
        let differs = |entry: &Entry| !entry.is_empty() && entry.hash() != hash;
        self.slots.iter().any(differs)
    }

    fn find(&self, hash: ShortHash, address: Position) -> Option<usize> {
        let run = self.from(hash);
        let first = self.slots.len() - run.len();
        let same = run
            .iter()
            .take_while(|entry| entry.hash() == hash && !entry.is_empty());
        same.enumerate()
            .find(|(_, entry)| entry.address() == address)
            .map(|(offset, _)| first + offset)
    }

    /// Puts the entry where it belongs; says no if there is no gap behind that place.
    fn place(&mut self, entry: Entry) -> bool {
        let hash = entry.hash();
        let mut slot = self.home(hash);
        while slot < self.slots.len()
            && self.slots[slot].hash() <= hash
            && !self.slots[slot].is_empty()
        {
            slot += 1;
        }
        let Some(shift) = self.slots[slot..].iter().position(|entry| entry.is_empty()) else {
            return false;
        };
        self.slots.copy_within(slot..slot + shift, slot + 1);
        self.slots[slot] = entry;
        self.len += 1;
        true
    }

    fn rebuild(&mut self, slots_len: usize) {
        *self = Self::build(self.depth(), [&self.slots, &[]], self.len(), slots_len);
    }

    /// Asserts the invariants; for debug builds and tests.
    pub(super) fn check(&self) {
        let mut count = 0;
        let mut before: Option<ShortHash> = None;
        let mut reachable_from = 0;
        for (slot, entry) in self.slots.iter().enumerate() {
            if entry.is_empty() {
                reachable_from = slot + 1;
                continue;
            }
            let home = self.home(entry.hash());
            assert!(
                home <= slot && home >= reachable_from,
                "slot {slot} can't be reached from its home {home}"
            );
            assert!(before <= Some(entry.hash()), "slot {slot} is out of order");
            before = Some(entry.hash());
            count += 1;
        }
        assert_eq!(count, self.len(), "the count of entries is wrong");
        assert!(
            self.len() * 8 <= self.slots.len() * 7,
            "too many entries: {} of {}",
            self.len(),
            self.slots.len()
        );
    }
}

/// The home of a hash: the fraction of the range at which it lies, of all homes. Grows with the hash.
fn home(hash: ShortHash, depth: u32, homes: usize) -> usize {
    ((hash.fraction(depth) * homes as u64) >> 32) as usize
}

/// Puts the entries of the parts where they belong among `slots_len` slots, if that leaves a gap behind the last.
///
/// Each entry passes here again and again while its table grows, so the loop has no branch that can't be foretold: an empty
/// slot is written to the next free place, which is empty.
fn spread(
    parts: [&[Entry]; 2],
    depth: u32,
    homes: usize,
    slots_len: usize,
) -> Option<Box<[Entry]>> {
    let mut slots = vec![Entry::EMPTY; slots_len].into_boxed_slice();
    let mut next = 0;
    for entry in parts.into_iter().flatten() {
        let taken = usize::from(!entry.is_empty());
        let slot = (home(entry.hash(), depth, homes) * taken).max(next);
        *slots.get_mut(slot)? = *entry;
        next = slot + taken;
    }
    (next < slots_len).then_some(slots)
}

/// How many of the slots are behind the last home.
fn spill_len(slots_len: usize) -> usize {
    if slots_len == 0 {
        0
    } else {
        2 + slots_len / 32
    }
}

/// The smallest size of at least `slots_len` slots. There are eight sizes to a doubling.
fn size_at_least(slots_len: usize) -> usize {
    let step = (slots_len.next_power_of_two() / 16).max(SLOTS_MIN);
    slots_len.next_multiple_of(step)
}

/// The size that leaves some room above `len` entries: a load of 13/16 and less.
fn size_for(len: usize) -> usize {
    size_at_least(len * 16 / 13)
}
