//! The figures that the index promises, at full size. They print, so they run on request:
//!
//! ```text
//! cargo test --release -p corduroy --lib index::measure -- --ignored --nocapture --test-threads 1
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::tests::scramble;
use super::*;
use crate::storage::hash::{HASH_SECRET_LEN, KeyHasher};
use corduroy_proto_wire::slot_of;

/// Inserts are timed in so many rounds, and the least time of each counts: what the machine does besides hits others each round.
const ROUNDS: usize = 3;

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// Memory of the process, in bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 4096
}

fn report(what: &str, operations: u64, elapsed: Duration) {
    println!(
        "  {what:<44} {:7.1} ns",
        elapsed.as_nanos() as f64 / operations as f64
    );
}

struct Measured {
    keys: u64,
    partitions: Vec<PartitionIndex>,
    hasher: KeyHasher,
}

impl Measured {
    fn new(keys: u64, partitions: usize) -> Self {
        let partitions = (0..partitions).map(|_| PartitionIndex::new()).collect();
        let hasher = KeyHasher::new(&[7; HASH_SECRET_LEN]);
        Self {
            keys,
            partitions,
            hasher,
        }
    }

    fn place(&self, number: u64) -> (usize, KeyHash) {
        let hash = self.hasher.hash(&key(number));
        // Any bits do that the index doesn't sort by.
        ((hash.0 & 0xffff) as usize % self.partitions.len(), hash)
    }

    fn bytes(&self) -> f64 {
        self.partitions
            .iter()
            .map(PartitionIndex::memory_bytes)
            .sum::<usize>() as f64
    }

    /// Inserts all keys, and keeps in `least_ns` the least time that each took in any round.
    fn fill(&mut self, least_ns: &mut [u32]) {
        let before = resident_bytes();
        let mut whole = Duration::ZERO;
        for number in 0..self.keys {
            let (partition, hash) = self.place(number);
            let start = Instant::now();
            self.partitions[partition].insert(hash, Position(number), 100);
            let elapsed = start.elapsed();
            whole += elapsed;
            let least = &mut least_ns[number as usize];
            *least = (*least).min(elapsed.as_nanos() as u32);
        }
        report("insert, with the clock's own time", self.keys, whole);
        let resident = resident_bytes().saturating_sub(before) as f64;
        println!(
            "  bytes a key: counted {:.2}, resident {:.2}",
            self.bytes() / self.keys as f64,
            resident / self.keys as f64
        );
        assert!(self.bytes() < 24.0 * self.keys as f64);
    }

    fn look_up(&self) {
        const LOOKUPS: u64 = 4_000_000;
        let places: Vec<(usize, KeyHash)> = (0..LOOKUPS)
            .map(|n| self.place(scramble(n) % self.keys))
            .collect();
        let start = Instant::now();
        let found: usize = places
            .iter()
            .map(|&(partition, hash)| self.partitions[partition].candidates(hash).count())
            .sum();
        report("look up a key that is there", LOOKUPS, start.elapsed());
        assert!(found >= LOOKUPS as usize);

        let start = Instant::now();
        let mut previous = 0;
        for turn in 0..LOOKUPS as usize {
            let (partition, hash) = places[(turn + previous) % places.len()];
            previous = self.partitions[partition]
                .candidates(hash)
                .next()
                .unwrap()
                .address
                .0 as usize
                & 1;
        }
        report(
            "the same, each waiting for the last",
            LOOKUPS,
            start.elapsed(),
        );

        let absent: Vec<(usize, KeyHash)> =
            (0..LOOKUPS).map(|n| self.place(self.keys + n)).collect();
        let start = Instant::now();
        let found: usize = absent
            .iter()
            .map(|&(partition, hash)| self.partitions[partition].candidates(hash).count())
            .sum();
        report("look up a key that isn't there", LOOKUPS, start.elapsed());
        println!("    of {LOOKUPS} absent keys {found} share their 40 bits with one that is there");
    }

    fn scan_and_empty(mut self) {
        let start = Instant::now();
        let (mut slowest, mut found, mut page) = (Duration::ZERO, 0, Vec::new());
        for partition in &self.partitions {
            let mut cursor = Some(HashCursor::START);
            while let Some(from) = cursor {
                page.clear();
                let start = Instant::now();
                cursor = partition.page(from, 1000, &mut page);
                slowest = slowest.max(start.elapsed());
                found += page.len() as u64;
            }
        }
        assert_eq!(found, self.keys);
        report("scan, an entry", self.keys, start.elapsed());
        println!("    slowest page of 1000                       {slowest:?}");

        let places: Vec<(usize, KeyHash)> = (0..self.keys)
            .step_by(2)
            .map(|number| self.place(number))
            .collect();
        let (mut slowest, start) = (Duration::ZERO, Instant::now());
        for (&(partition, hash), number) in places.iter().zip((0..self.keys).step_by(2)) {
            let start = Instant::now();
            assert!(self.partitions[partition].remove(hash, Position(number)));
            slowest = slowest.max(start.elapsed());
        }
        report(
            "remove every second, with the clock's time",
            self.keys / 2,
            start.elapsed(),
        );
        println!("    slowest                                    {slowest:?}");
        println!(
            "  bytes a key then, counted                    {:7.2}",
            self.bytes() / (self.keys / 2) as f64
        );

        let (mut slowest, start) = (Duration::ZERO, Instant::now());
        for index in self.partitions {
            let mut graveyard = index.into_graveyard();
            loop {
                let start = Instant::now();
                let done = graveyard.free_slice(1 << 20, |_| {});
                slowest = slowest.max(start.elapsed());
                if done {
                    break;
                }
            }
        }
        println!(
            "  free it all in slices of 1 MiB: {:?}, slowest slice {slowest:?}",
            start.elapsed()
        );
    }
}

fn measure(keys: u64, partitions: usize) {
    println!("{keys} keys in {partitions} partitions");
    let mut least_ns = vec![u32::MAX; keys as usize];
    for round in 1..=ROUNDS {
        let mut measured = Measured::new(keys, partitions);
        measured.fill(&mut least_ns);
        if round == ROUNDS {
            measured.look_up();
            measured.scan_and_empty();
        }
    }
    least_ns.sort_unstable();
    println!("  time of an insert, the least of {ROUNDS} rounds");
    for share in [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1.0] {
        let place = (keys as f64 * share) as usize;
        println!(
            "    {share:>7} of them within {:8.2} us",
            f64::from(least_ns[place.min(least_ns.len() - 1)]) / 1000.0
        );
    }
}

/// What memory itself costs here: loads from as many bytes as the index has.
#[test]
#[ignore = "prints figures"]
fn loads_from_memory_of_that_size() {
    const LOADS: u64 = 4_000_000;
    let memory: Vec<u64> = (0..24_000_000).collect();
    let places: Vec<usize> = (0..LOADS)
        .map(|n| (scramble(n) % memory.len() as u64) as usize)
        .collect();
    let start = Instant::now();
    let sum = places.iter().fold(0, |sum, &place| sum ^ memory[place]);
    report("load, independent", LOADS, start.elapsed());
    let start = Instant::now();
    let mut previous = 0;
    for &place in &places {
        previous = memory[place ^ (previous as usize & 1)];
    }
    report("load, each waiting for the last", LOADS, start.elapsed());
    assert!(sum != 0 && previous != 0);
}

#[test]
#[ignore = "takes a minute and prints figures"]
fn ten_million_keys_in_64_partitions() {
    measure(10_000_000, 64);
}

#[test]
#[ignore = "takes a minute and prints figures"]
fn ten_million_keys_in_one_partition() {
    measure(10_000_000, 1);
}

#[test]
#[ignore = "prints figures"]
fn what_fits_in_the_cache() {
    measure(100_000, 64);
}

#[test]
#[ignore = "prints figures"]
fn hashes_of_16_byte_keys() {
    const ROUNDS: u64 = 20_000_000;
    let hasher = KeyHasher::new(&[7; HASH_SECRET_LEN]);
    let start = Instant::now();
    let slots: u64 = (0..ROUNDS)
        .map(|number| u64::from(black_box(key(number))[15]))
        .sum();
    let baseline = start.elapsed();
    let start = Instant::now();
    let sum: u64 = (0..ROUNDS)
        .map(|number| u64::from(slot_of(&black_box(key(number)))))
        .sum();
    report("slot", ROUNDS, start.elapsed().saturating_sub(baseline));
    let start = Instant::now();
    let xor = (0..ROUNDS)
        .map(|number| hasher.hash(&black_box(key(number))).0)
        .fold(0, |a, b| a ^ b);
    report(
        "index hash",
        ROUNDS,
        start.elapsed().saturating_sub(baseline),
    );
    assert!(slots > 0 && sum > 0 && xor != 0);
}
