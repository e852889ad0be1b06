//! The figures that the index promises, at full size. They print, so they run on request:
//!
//! ```text
//! cargo test --release -p corduroy --lib index::measure -- --ignored --nocapture --test-threads 1
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::tests::scramble;
use super::*;
use crate::storage::hash::{HASH_SECRET_LEN, KeyHasher, slot_of};

const KEYS: u64 = 10_000_000;

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
    partitions: Vec<PartitionIndex>,
    hasher: KeyHasher,
}

impl Measured {
    fn place(&self, number: u64) -> (usize, KeyHash) {
        let hash = self.hasher.hash(&key(number));
        // Any bits do that the index doesn't sort by.
        ((hash.0 & 0xffff) as usize % self.partitions.len(), hash)
    }

    fn fill(&mut self) {
        let (mut slowest, mut whole) = (Histogram::<u64>::new(3).unwrap(), Duration::ZERO);
        let before = resident_bytes();
        for number in 0..KEYS {
            let (partition, hash) = self.place(number);
            let start = Instant::now();
            self.partitions[partition].insert(hash, Position(number), 100);
            let elapsed = start.elapsed();
            whole += elapsed;
            slowest.record(elapsed.as_nanos() as u64).unwrap();
        }
        report("insert, with the clock's own time", KEYS, whole);
        for quantile in [0.5, 0.99, 0.999, 0.9999, 0.99999, 1.0] {
            println!(
                "    {:>9} of them within {:9.1} us",
                quantile,
                slowest.value_at_quantile(quantile) as f64 / 1000.0
            );
        }
        let bytes: usize = self
            .partitions
            .iter()
            .map(PartitionIndex::memory_bytes)
            .sum();
        println!(
            "  bytes a key, counted                         {:7.2}",
            bytes as f64 / KEYS as f64
        );
        println!(
            "  bytes a key, resident                        {:7.2}",
            (resident_bytes() - before) as f64 / KEYS as f64
        );
        assert!((bytes as u64) < 24 * KEYS);
    }

    fn look_up(&self) {
        const LOOKUPS: u64 = 4_000_000;
        let places: Vec<(usize, KeyHash)> = (0..LOOKUPS)
            .map(|n| self.place(scramble(n) % KEYS))
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

        let start = Instant::now();
        let mut found = 0;
        for batch in places.chunks(32) {
            batch
                .iter()
                .for_each(|&(partition, hash)| self.partitions[partition].warm(hash));
            found += batch
                .iter()
                .map(|&(partition, hash)| self.partitions[partition].candidates(hash).count())
                .sum::<usize>();
        }
        report(
            "the same in batches of 32, warmed",
            LOOKUPS,
            start.elapsed(),
        );
        assert!(found >= LOOKUPS as usize);

        let absent: Vec<(usize, KeyHash)> = (0..LOOKUPS).map(|n| self.place(KEYS + n)).collect();
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
        assert_eq!(found, KEYS);
        report("scan, an entry", KEYS, start.elapsed());
        println!("    slowest page of 1000                       {slowest:?}");

        let places: Vec<(usize, KeyHash)> = (0..KEYS)
            .step_by(2)
            .map(|number| self.place(number))
            .collect();
        let (mut slowest, start) = (Duration::ZERO, Instant::now());
        for (&(partition, hash), number) in places.iter().zip((0..KEYS).step_by(2)) {
            let start = Instant::now();
            assert!(self.partitions[partition].remove(hash, Position(number)));
            slowest = slowest.max(start.elapsed());
        }
        report(
            "remove every second, with the clock's time",
            KEYS / 2,
            start.elapsed(),
        );
        let bytes: usize = self
            .partitions
            .iter()
            .map(PartitionIndex::memory_bytes)
            .sum();
        println!("    slowest                                    {slowest:?}");
        println!(
            "  bytes a key then, counted                    {:7.2}",
            bytes as f64 / (KEYS / 2) as f64
        );

        let (mut slowest, start) = (Duration::ZERO, Instant::now());
        for index in self.partitions {
            let mut graveyard = index.into_graveyard();
            loop {
                let start = Instant::now();
                let done = graveyard.free_slice(1 << 20);
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

fn measure(partitions: usize) {
    println!("{KEYS} keys in {partitions} partitions");
    let partitions = (0..partitions).map(|_| PartitionIndex::new()).collect();
    let mut measured = Measured {
        partitions,
        hasher: KeyHasher::new(&[7; HASH_SECRET_LEN]),
    };
    measured.fill();
    measured.look_up();
    measured.scan_and_empty();
}

#[test]
#[ignore = "takes a minute and prints figures"]
fn ten_million_keys_in_64_partitions() {
    measure(64);
}

#[test]
#[ignore = "takes a minute and prints figures"]
fn ten_million_keys_in_one_partition() {
    measure(1);
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
