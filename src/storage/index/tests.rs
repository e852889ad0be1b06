//! The index against a model, and its promises in numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::limits::INDEX_TABLE_SLOTS_MAX;

/// One of the values of a fixed sequence without any pattern (SplitMix64).
pub(super) fn scramble(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// How the hashes of a run of keys lie.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// As a keyed hash makes them.
    Even,
    /// All begin with this many zeros, so that one corner of the directory gets deep.
    Corner(u32),
    /// Only so many different ones.
    Few(u64),
    /// All ones in the 40 bits: the largest hash, next to the tag of an empty slot.
    Last,
}

impl Spread {
    fn hash(self, key: u64) -> KeyHash {
        KeyHash(match self {
            Spread::Even => scramble(key),
            Spread::Corner(zeros) => scramble(key) >> zeros,
            Spread::Few(distinct) => scramble(scramble(key) % distinct),
            Spread::Last => u64::MAX,
        })
    }
}

fn spread() -> impl Strategy<Value = Spread> {
    prop_oneof![
        4 => Just(Spread::Even),
        2 => (1u32..40).prop_map(Spread::Corner),
        1 => (1u64..40).prop_map(Spread::Few),
        1 => Just(Spread::Last),
    ]
}

/// What is done to a run of keys. Runs are long enough that tables split, merge and shrink.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert {
        spread: Spread,
        count: u64,
    },
    /// Every `nth` key that is there gets a new address.
    Move {
        nth: usize,
    },
    /// All but every `nth` key go.
    Thin {
        nth: usize,
    },
    /// The index is made anew, at once, of what is there.
    Bulk {
        bits: u32,
    },
    /// All keys go whose hash begins with so many zeros.
    RemoveCorner {
        zeros: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (spread(), 1u64..4000).prop_map(|(spread, count)| Step::Insert { spread, count }),
        1 => (1usize..50).prop_map(|nth| Step::Move { nth }),
        2 => (2usize..100).prop_map(|nth| Step::Thin { nth }),
        1 => (0u32..6).prop_map(|zeros| Step::RemoveCorner { zeros }),
        2 => prop_oneof![0u32..4, Just(10)].prop_map(|bits| Step::Bulk { bits }),
    ]
}

/// An index that is made at once.
fn bulk(bits: u32, entries: impl Iterator<Item = (KeyHash, Position, u32)>) -> PartitionIndex {
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    let mut entries = entries.into_iter().peekable();
    let mut index = BulkIndex::new(bits);
    for range in 0..1u64 << bits {
        let is_inside = |hash: KeyHash| bits == 0 || hash.0 >> (64 - bits) == range;
        while let Some((hash, address, len)) = entries.next_if(|(hash, _, _)| is_inside(*hash)) {
            index.push(hash, address, len);
        }
        index.end_range();
    }
    index.finish()
}

/// The index and what should be in it.
#[derive(Default)]
struct Pair {
    index: PartitionIndex,
    /// By key: its hash, its address, its record's length.
    model: BTreeMap<u64, (KeyHash, Position, u32)>,
    addresses: u64,
    keys: u64,
}

impl Pair {
    fn next_address(&mut self) -> Position {
        self.addresses += 1;
        Position(self.addresses)
    }

    fn insert(&mut self, spread: Spread) {
        self.keys += 1;
        let (hash, address, len) = (
            spread.hash(self.keys),
            self.next_address(),
            scramble(self.keys) as u32 >> (self.keys % 32),
        );
        self.index.insert(hash, address, len);
        self.model.insert(self.keys, (hash, address, len));
    }

    fn move_key(&mut self, key: u64) {
        let (hash, old, len) = self.model[&key];
        let new = self.next_address();
        assert!(self.index.replace(hash, old, new, len / 2));
        assert!(
            !self.index.replace(hash, old, new, len),
            "the old address is gone"
        );
        self.model.insert(key, (hash, new, len / 2));
    }

    fn remove(&mut self, key: u64) {
        let (hash, address, _) = self.model.remove(&key).unwrap();
        assert!(self.index.remove(hash, address));
        assert!(
            !self.index.remove(hash, address),
            "it can't be removed twice"
        );
    }

    /// The first `steps` of a step's single operations.
    fn apply(&mut self, step: Step) {
        let keys: Vec<u64> = self.model.keys().copied().collect();
        match step {
            Step::Insert { spread, count } => (0..count).for_each(|_| self.insert(spread)),
            Step::Move { nth } => keys.iter().step_by(nth).for_each(|&key| self.move_key(key)),
            Step::Thin { nth } => {
                let gone = keys
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| place % nth != 0);
                gone.for_each(|(_, &key)| self.remove(key));
            }
            Step::Bulk { bits } => self.index = bulk(bits, self.model.values().copied()),
            Step::RemoveCorner { zeros } => {
                let gone: Vec<u64> = keys
                    .into_iter()
                    .filter(|key| self.model[key].0.0.leading_zeros() >= zeros)
                    .collect();
                gone.into_iter().for_each(|key| self.remove(key));
            }
        }
    }

    fn check(&self) {
        self.index.check();
        assert_eq!(self.index.len(), self.model.len() as u64);
        let mut by_hash: HashMap<u64, BTreeSet<Position>> = HashMap::new();
        for (hash, address, _) in self.model.values() {
            by_hash.entry(hash.0 >> 24).or_default().insert(*address);
        }
        for (&hash, expected) in &by_hash {
            let found: Vec<Position> = self
                .index
                .candidates(KeyHash(hash << 24))
                .map(|found| found.address)
                .collect();
            assert_eq!(found.len(), expected.len());
            assert_eq!(&found.into_iter().collect::<BTreeSet<_>>(), expected);
        }
        for &(hash, address, len) in self.model.values().step_by(97) {
            let found = self
                .index
                .candidates(hash)
                .find(|found| found.address == address)
                .unwrap();
            assert!(
                found.len_hint == 0 || (found.len_hint >= len && found.len_hint - len < 8),
                "{len}: {}",
                found.len_hint
            );
        }
        for absent in (0..100)
            .map(|seed| scramble(!seed))
            .filter(|hash| !by_hash.contains_key(&(hash >> 24)))
        {
            assert_eq!(self.index.candidates(KeyHash(absent)).count(), 0);
        }
    }

    fn scan(&self, entries_max: usize) -> Vec<Candidate> {
        let mut out = Vec::new();
        let mut cursor = HashCursor::START;
        while let Some(next) = self.index.page(cursor, entries_max, &mut out) {
            assert!(
                next > cursor,
                "a page that doesn't move on is asked for for ever"
            );
            cursor = next;
        }
        out.into_iter().map(|(_, candidate)| candidate).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A lost entry is a lost key; a wrong one is a wrong value. Splits, merges, shrinking and shifts all move entries.
    #[test]
    fn the_index_holds_what_a_map_holds(steps in prop::collection::vec(step(), 1..12)) {
        let mut pair = Pair::default();
        for step in steps {
            pair.apply(step);
            pair.check();
        }
        let scanned = pair.scan(100);
        prop_assert_eq!(scanned.len(), pair.model.len());
        let scanned: BTreeSet<Position> = scanned.into_iter().map(|candidate| candidate.address).collect();
        prop_assert_eq!(scanned, pair.model.values().map(|&(_, address, _)| address).collect::<BTreeSet<_>>());
    }

    /// The promise of `scan`: a key that is there throughout is returned, whatever grows, splits, merges and moves between
    /// the pages, and wherever in a page the caller stops.
    #[test]
    fn a_scan_sees_all_that_was_there_throughout(
        before in prop::collection::vec(step(), 1..6),
        during in prop::collection::vec((step(), 1usize..700, any::<prop::sample::Index>()), 1..8),
    ) {
        let mut pair = Pair::default();
        before.into_iter().for_each(|step| pair.apply(step));
        let mut owed: BTreeSet<u64> = pair.model.keys().copied().collect();
        let mut cursor = Some(HashCursor::START);
        let mut pages = 0;
        while let Some(from) = cursor {
            let (step, entries_max, stop) = during[pages % during.len()];
            let mut page = Vec::new();
            cursor = pair.index.page(from, entries_max, &mut page);
            let last = page.partition_point(|&(resume, _)| resume <= from);
            if last < page.len() && pages % 3 == 0 {
                // The caller stops early, at some entry that lets it make progress.
                page.truncate(last + 1 + stop.index(page.len() - last));
                cursor = page.last().map(|&(resume, _)| resume);
            }
            let by_address: HashMap<Position, u64> = pair.model.iter().map(|(&key, &(_, address, _))| (address, key)).collect();
            for (_, candidate) in page {
                owed.remove(&by_address[&candidate.address]);
            }
            if pages < during.len() {
                pair.apply(step);
                owed.retain(|key| pair.model.contains_key(key));
            }
            pages += 1;
        }
        prop_assert!(owed.is_empty(), "{} keys were never returned", owed.len());
    }
}

/// Two keys with the same 40 bits are rare, many are unheard of, but each of them must be found, also where the run of equals
/// goes past the last home of its table, and the table can't be split.
#[test]
fn equal_hashes_coexist_in_any_number() {
    for hash in [KeyHash(0), KeyHash(scramble(1)), KeyHash(u64::MAX)] {
        let mut index = PartitionIndex::new();
        let count = 3 * INDEX_TABLE_SLOTS_MAX as u64;
        (0..count).for_each(|address| index.insert(hash, Position(address), 100));
        index.check();
        let mut page = Vec::new();
        let end = index.page(HashCursor::START, 1, &mut page);
        assert_eq!(
            page.len() as u64,
            count,
            "all entries of one hash come in one page"
        );
        assert!(end.is_none() || index.page(end.unwrap(), 1, &mut page).is_none());
        (0..count).for_each(|address| assert!(index.remove(hash, Position(address))));
        assert!(index.is_empty());
    }
}

/// Hashes that differ in the last of the 40 bits only split a table at each of its bits, one after the other.
#[test]
fn neighbouring_hashes_are_told_apart() {
    let mut index = PartitionIndex::new();
    let hashes = [
        KeyHash(0x5555_5555_5500_0000),
        KeyHash(0x5555_5555_5400_0000),
    ];
    let count = 2 * INDEX_TABLE_SLOTS_MAX as u64;
    (0..count).for_each(|address| index.insert(hashes[address as usize % 2], Position(address), 1));
    index.check();
    for (parity, hash) in hashes.into_iter().enumerate() {
        assert_eq!(index.candidates(hash).count() as u64, count / 2);
        assert!(
            index
                .candidates(hash)
                .all(|found| found.address.0 as usize % 2 == parity)
        );
    }
}

/// A cursor comes from the network: whatever it is, it must not panic, and the end must be told from the beginning.
#[test]
fn a_cursor_from_outside_is_checked() {
    assert_eq!(HashCursor::from_u64(u64::MAX), None);
    assert_eq!(HashCursor::from_u64((1 << 40) + 1), None);
    let mut index = PartitionIndex::new();
    index.insert(KeyHash(u64::MAX), Position(1), 1);
    let end = HashCursor::from_u64(1 << 40).unwrap();
    let mut page = Vec::new();
    assert_eq!(index.page(end, 10, &mut page), None);
    assert!(page.is_empty());
    let last = HashCursor::from_u64((1 << 40) - 1).unwrap();
    assert_eq!(index.page(last, 10, &mut page), None);
    assert_eq!(
        page,
        [(
            end,
            Candidate {
                address: Position(1),
                len_hint: 8
            }
        )]
    );
}

/// Ten million keys have to fit in what was promised, and after a mass expiry the memory has to come back.
#[test]
fn memory_stays_close_to_the_entries_while_growing_and_shrinking() {
    const KEYS: u64 = 300_000;
    let bytes_per_key = |index: &PartitionIndex| index.memory_bytes() as f64 / index.len() as f64;
    let mut index = PartitionIndex::new();
    let (mut worst, mut sum) = (0f64, 0f64);
    for key in 0..KEYS {
        index.insert(KeyHash(scramble(key)), Position(key), 100);
        if key >= 1000 {
            let now = bytes_per_key(&index);
            worst = worst.max(now);
            sum += now;
        }
    }
    index.check();
    let mean = sum / (KEYS - 1000) as f64;
    assert!(mean < 21.0, "mean while growing: {mean} bytes a key");
    assert!(worst < 24.0, "worst while growing: {worst} bytes a key");
    let mut worst = 0f64;
    for key in 0..KEYS - 1000 {
        assert!(index.remove(KeyHash(scramble(key)), Position(key)));
        worst = worst.max(bytes_per_key(&index));
    }
    index.check();
    assert!(worst < 32.0, "worst while shrinking: {worst} bytes a key");
}

/// One page must not cost a turn, and neither may the walk over what a mass expiry has left empty.
#[test]
fn a_page_looks_into_few_tables() {
    let mut index = PartitionIndex::new();
    let keys = 20 * INDEX_TABLE_SLOTS_MAX as u64;
    (0..keys).for_each(|key| index.insert(KeyHash(scramble(key)), Position(key), 100));
    let mut page = Vec::new();
    assert!(
        index
            .page(HashCursor::START, usize::MAX / 2, &mut page)
            .is_some()
    );
    assert!(
        page.len() <= INDEX_PAGE_TABLES_FULL_MAX * INDEX_TABLE_SLOTS_MAX,
        "{} entries in one page",
        page.len()
    );
}

/// `flush` of a big keyspace must not stop the shard while memory is given back.
#[test]
fn a_dropped_index_is_freed_in_slices() {
    let mut index = PartitionIndex::new();
    // A corner makes the directory two levels deep.
    (0..100_000)
        .for_each(|key| index.insert(KeyHash(scramble(key) >> (key % 2 * 9)), Position(key), 100));
    let bytes = index.memory_bytes();
    let mut graveyard = index.clear();
    assert!(index.is_empty() && index.memory_bytes() < 1000);
    index.check();
    let mut slices = 1;
    let mut gone = 0;
    while !graveyard.free_slice(100_000, |_| gone += 1) {
        slices += 1;
    }
    assert!(
        slices >= bytes / 150_000 && slices <= bytes / 50_000 + 2,
        "{slices} slices for {bytes} bytes"
    );
    assert!(
        graveyard.free_slice(1, |_| gone += 1),
        "what is free stays free"
    );
    assert_eq!(gone, 100_000, "each entry is told of once");
}

/// A start of a partition of millions: directories below directories, each table of its final size.
#[test]
fn a_large_index_is_made_at_once() {
    let count = 2_000_000u64;
    let entries = |number| (KeyHash(scramble(number)), Position(number * 8), 40);
    let index = bulk(3, (0..count).map(entries));
    index.check();
    assert_eq!(index.len(), count);
    let bytes = index.memory_bytes() as u64 / count;
    assert!(bytes < 22, "{bytes} bytes an entry");
    for number in (0..count).step_by(9973) {
        let (hash, address, _) = entries(number);
        assert!(index.contains(hash, address), "{number}");
    }
}
