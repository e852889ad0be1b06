//! The queue against a sorted list, and its bounds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::limits::EXPIRY_BUCKET_LEN_MAX;
use crate::types::KeyspaceId;

/// An entry that is told from all others by its address.
fn due(expiry: u64, address: u64) -> Due {
    let hash = KeyHash(address.wrapping_mul(0x9e37_79b9_7f4a_7c15) & !0xff_ffff);
    let partition = PartitionId {
        keyspace: KeyspaceId(address as u32 ^ 0xffff_0000),
        index: address as u16 % 16_384,
    };
    Due {
        expiry: WallMillis(expiry),
        partition,
        hash,
        address: Position(address),
    }
}

fn insert(queue: &mut ExpiryQueue, due: Due) {
    queue.insert(due.expiry, due.partition, due.hash, due.address);
}

/// How the expiries of a run of entries lie, relative to the clock at that time.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// All at one millisecond.
    Same(u64),
    /// One after the other, upwards or downwards.
    Up(u64),
    Down(u64),
    /// Anywhere within so many milliseconds.
    Within(u64),
    /// At the ends of time.
    Extreme,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert {
        spread: Spread,
        count: u64,
    },
    Pop {
        entries_max: usize,
    },
    /// The clock goes on, or is set.
    Advance(u64),
    Set(u64),
    /// Every `nth` entry stays valid; a pass is carried on by so many checks.
    Compact {
        nth: u64,
        checks_max: usize,
    },
}

const DAY_MS: u64 = 86_400_000;

fn step() -> impl Strategy<Value = Step> {
    let spread = prop_oneof![
        (0..2 * DAY_MS).prop_map(Spread::Same),
        (0..DAY_MS).prop_map(Spread::Up),
        (0..DAY_MS).prop_map(Spread::Down),
        prop_oneof![1u64..20, 1..DAY_MS].prop_map(Spread::Within),
        Just(Spread::Extreme),
    ];
    prop_oneof![
        4 => (spread, 1u64..1500).prop_map(|(spread, count)| Step::Insert { spread, count }),
        4 => (1usize..2000).prop_map(|entries_max| Step::Pop { entries_max }),
        2 => prop_oneof![0u64..1000, 0..2 * DAY_MS].prop_map(Step::Advance),
        1 => (0..4 * DAY_MS).prop_map(Step::Set),
        2 => (1u64..5, 1usize..3000).prop_map(|(nth, checks_max)| Step::Compact { nth, checks_max }),
    ]
}

fn expiry_of(spread: Spread, clock: u64, number: u64) -> u64 {
    match spread {
        Spread::Same(after) => clock + after,
        Spread::Up(after) => clock + after + number / 3,
        Spread::Down(after) => (clock + after).saturating_sub(number / 3),
        Spread::Within(range) => clock + number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % range,
        Spread::Extreme => [0, u64::MAX, u64::MAX - 1, 1][number as usize % 4],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A key that is taken away before its time is data lost; one that never is, is memory lost. The clock may do what it likes.
    #[test]
    fn the_queue_holds_what_a_sorted_list_holds(steps in prop::collection::vec(step(), 1..25)) {
        let mut queue = ExpiryQueue::new();
        let mut model: BTreeSet<(u64, u64)> = BTreeSet::new();
        let (mut clock, mut addresses) = (2 * DAY_MS, 0);
        for step in steps {
            match step {
                Step::Insert { spread, count } => for number in 0..count {
                    let expiry = expiry_of(spread, clock, number);
                    addresses += 1;
                    insert(&mut queue, due(expiry, addresses));
                    model.insert((expiry, addresses));
                },
                Step::Advance(by) => clock += by,
                Step::Set(to) => clock = to,
                Step::Pop { entries_max } => {
                    let mut out = Vec::new();
                    queue.pop_due(WallMillis(clock), entries_max, &mut out);
                    let due_count = model.range(..=(clock, u64::MAX)).count();
                    prop_assert_eq!(out.len(), due_count.min(entries_max));
                    for popped in out {
                        prop_assert!(popped.expiry.0 <= clock);
                        prop_assert_eq!(popped, due(popped.expiry.0, popped.address.0), "an entry comes out as it went in");
                        prop_assert!(model.remove(&(popped.expiry.0, popped.address.0)));
                    }
                }
                Step::Compact { nth, checks_max } => {
                    queue.begin_pass();
                    let mut dropped = Vec::new();
                    let checked = queue.compact(checks_max, |due| {
                        let valid = due.address.0 % nth == 0;
                        if !valid {
                            dropped.push((due.expiry.0, due.address.0));
                        }
                        valid
                    });
                    prop_assert!(checked <= checks_max.max(EXPIRY_BUCKET_LEN_MAX));
                    for dropped in dropped {
                        prop_assert!(model.remove(&dropped));
                    }
                }
            }
            queue.check();
            prop_assert_eq!(queue.len(), model.len());
            let first = model.first().map(|&(expiry, _)| expiry);
            prop_assert!(queue.next_due().map(|due| due.0) <= first, "woken too late");
            prop_assert_eq!(queue.next_due().is_none(), first.is_none());
        }
    }
}

/// A shard that is woken for nothing, finds nothing due and is told to wake at once again burns a core while idle.
#[test]
fn a_call_that_finds_nothing_leaves_an_exact_time() {
    let mut queue = ExpiryQueue::new();
    for address in 0..1000 {
        insert(&mut queue, due(address * 100, address));
    }
    let mut clock = 0;
    let mut out = Vec::new();
    while let Some(next) = queue.next_due() {
        assert!(
            next.0 >= clock,
            "the next time is in the past, though all that was due is out"
        );
        clock = next.0;
        let before = out.len();
        queue.pop_due(WallMillis(clock), 10, &mut out);
        if out.len() == before {
            let next = queue.next_due().unwrap();
            queue.pop_due(next, 10, &mut out);
            assert!(out.len() > before, "woken for nothing twice");
        }
    }
    assert_eq!(out.len(), 1000);
}

/// A million sessions that expire in the same millisecond, or a clock that is set forward by a day, must come out in
/// slices, and when the clock is set back in the middle the rest stays.
#[test]
fn a_million_at_once_come_out_in_slices() {
    let mut queue = ExpiryQueue::new();
    for address in 0..1_000_000 {
        insert(&mut queue, due(DAY_MS, address));
    }
    queue.check();
    let mut out = Vec::new();
    queue.pop_due(WallMillis(DAY_MS - 1), 1000, &mut out);
    assert!(out.is_empty());
    queue.pop_due(WallMillis(2 * DAY_MS), 1000, &mut out);
    assert_eq!(out.len(), 1000);
    queue.pop_due(WallMillis(0), 1000, &mut out);
    assert_eq!(out.len(), 1000, "the clock was set back");
    assert_eq!(queue.next_due(), Some(WallMillis(DAY_MS)));
    while queue.next_due().is_some() {
        queue.pop_due(WallMillis(DAY_MS), 1000, &mut out);
    }
    assert_eq!(out.len(), 1_000_000);
}

/// Of two buckets for one millisecond the first may have shrunk. It must not be taken for a bucket with room below: an earlier
/// entry in it would come out as late as the others, and in the wrong order. (Found by the test against the list.)
#[test]
fn an_early_entry_does_not_join_a_chain_of_equals() {
    let mut queue = ExpiryQueue::new();
    for address in 0..EXPIRY_BUCKET_LEN_MAX as u64 + 2 {
        insert(&mut queue, due(DAY_MS, address));
    }
    queue.begin_pass();
    queue.compact(1, |due| due.address.0 % 2 == 0);
    insert(&mut queue, due(5, 1_000));
    queue.check();
    let mut out = Vec::new();
    queue.pop_due(WallMillis(5), 10, &mut out);
    assert_eq!(out, [due(5, 1_000)]);
}

/// Expiries are the only thing besides the index that takes memory for each key, and there are as many as keys in a cache.
#[test]
fn an_entry_takes_at_most_32_bytes_when_times_rise() {
    let mut rising = ExpiryQueue::new();
    let mut scattered = ExpiryQueue::new();
    for address in 0..300_000u64 {
        insert(&mut rising, due(1000 + address / 7, address));
        insert(
            &mut scattered,
            due(
                address.wrapping_mul(0x9e37_79b9_7f4a_7c15) % DAY_MS,
                address,
            ),
        );
    }
    let bytes = |queue: &ExpiryQueue| queue.buckets.heap_bytes() as f64 / queue.len() as f64;
    assert!(bytes(&rising) <= 32.0, "{} bytes an entry", bytes(&rising));
    assert!(
        bytes(&scattered) <= 34.0,
        "{} bytes an entry",
        bytes(&scattered)
    );
}

/// A counter with a time to live of a day that is bumped all day long: each bump leaves a stale entry behind, and none of them
/// is due before the day is over.
#[test]
fn stale_entries_do_not_pile_up() {
    const VALID: u64 = 50_000;
    let mut queue = ExpiryQueue::new();
    // The newest address of each key; key and address are tied by the remainder.
    let mut newest = vec![0u64; VALID as usize];
    let mut longest = 0;
    for address in 1..3_000_000u64 {
        newest[(address % VALID) as usize] = address;
        insert(&mut queue, due(DAY_MS + address / 1000, address));
        queue.compact(EXPIRY_CHECKS_PER_INSERT, |due| {
            newest[(due.address.0 % VALID) as usize] == due.address.0
        });
        longest = longest.max(queue.len());
    }
    queue.check();
    assert!(
        longest as u64 <= 3 * VALID,
        "{longest} entries for {VALID} keys"
    );
    let left: BTreeSet<u64> = {
        let mut out = Vec::new();
        queue.pop_due(WallMillis(u64::MAX), usize::MAX / 2, &mut out);
        out.into_iter().map(|due| due.address.0).collect()
    };
    assert!(
        newest.iter().all(|address| left.contains(address)),
        "a valid entry was dropped"
    );
}

/// With all entries valid, passes must stay rare: the queue has to double for the next.
#[test]
fn passes_over_valid_entries_are_rare() {
    let mut queue = ExpiryQueue::new();
    let mut checks = 0;
    let inserts = 1_000_000;
    for address in 0..inserts {
        insert(&mut queue, due(address, address));
        checks += queue.compact(EXPIRY_CHECKS_PER_INSERT, |_| true);
    }
    assert!(
        checks as u64 <= 3 * inserts,
        "{checks} checks for {inserts} inserts"
    );
}

/// The insert's worst case and mean, at full size; of three rounds the least time of each, because the machine does other
/// things too.
///
/// `cargo test --release -p corduroy --lib expiry::tests::ten_million -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn ten_million_entries() {
    use std::time::Instant;

    const ENTRIES: u64 = 10_000_000;
    for (name, range) in [
        ("rising", 0),
        ("anywhere in a day", DAY_MS),
        ("one millisecond", 1),
    ] {
        let mut insert_ns = vec![u32::MAX; ENTRIES as usize];
        let mut pop_ns = vec![u32::MAX; ENTRIES as usize];
        for round in 0..3 {
            let mut queue = ExpiryQueue::new();
            for address in 0..ENTRIES {
                let scattered = address.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let expiry = if range == 0 {
                    address / 50
                } else {
                    scattered % range
                };
                let start = Instant::now();
                insert(&mut queue, due(expiry, address));
                let least = &mut insert_ns[address as usize];
                *least = (*least).min(start.elapsed().as_nanos() as u32);
            }
            if round == 0 {
                let bytes = queue.buckets.heap_bytes() as f64 / ENTRIES as f64;
                println!("{name}: {bytes:.1} bytes an entry");
            }
            let (mut out, mut slices) = (Vec::new(), 0);
            while !queue.is_empty() {
                out.clear();
                let start = Instant::now();
                queue.pop_due(WallMillis(DAY_MS), 1000, &mut out);
                let least = &mut pop_ns[slices];
                *least = (*least).min(start.elapsed().as_nanos() as u32);
                slices += 1;
            }
            pop_ns.truncate(slices);
        }
        for (what, times) in [("insert", &insert_ns), ("slice of 1000", &pop_ns)] {
            let mean = times.iter().map(|&ns| u64::from(ns)).sum::<u64>() / times.len() as u64;
            println!(
                "    {what}: mean {mean} ns, slowest {} ns",
                times.iter().max().unwrap()
            );
        }
    }
}
