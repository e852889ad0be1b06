//! Starts against their schedules.

use super::{super::testing::assert_fits, *};

const SECOND_NS: u64 = 1_000_000_000;

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap()
}

/// The starts of all threads together.
fn merged(text: &str, threads: u32, seconds: u64) -> Vec<u64> {
    let mut starts: Vec<u64> = (0..threads)
        .flat_map(|index| {
            let part = Part::new(index, threads).unwrap();
            let own: Vec<u64> = schedule(text)
                .arrivals(part, Duration::from_secs(seconds), 1)
                .collect();
            assert!(own.is_sorted());
            own
        })
        .collect();
    starts.sort_unstable();
    starts
}

#[test]
fn a_constant_rate_is_exact_and_threads_take_turns() {
    let alone = merged("1000", 1, 10);
    assert_eq!(alone.len(), 10_000);
    assert!(
        alone
            .iter()
            .enumerate()
            .all(|(number, at)| *at == number as u64 * 1_000_000)
    );
    assert_eq!(merged("1000", 3, 10), alone);
    // A thread beyond the rate still has its turn in a second of its own.
    assert_eq!(
        merged("2", 4, 2),
        [0, 500_000_000, SECOND_NS, 1_500_000_000]
    );
}

// Summing up a rounded gap would be late by a third of a second after eleven days of a rate of 3.
#[test]
fn a_rate_does_not_drift() {
    let mut arrivals = schedule("3").arrivals(Part::WHOLE, Duration::MAX, 1);
    let at = arrivals.nth(3_000_000).unwrap();
    assert!(at.abs_diff(1_000_000 * SECOND_NS) <= 1, "{at}");
}

#[test]
fn a_ramp_starts_as_many_as_the_area_under_it() {
    for (text, total) in [
        ("ramp:1000..5000", 30_000),
        ("ramp:5000..1000/10s", 30_000),
        ("ramp:0..2000", 10_000),
        ("ramp:2000..0", 10_000),
    ] {
        let starts = merged(text, 3, 10);
        assert!(
            starts.len().abs_diff(total) <= 1,
            "{text}: {}",
            starts.len()
        );
        for second in 0..10 {
            let window = second * SECOND_NS..(second + 1) * SECOND_NS;
            let count = starts.iter().filter(|at| window.contains(at)).count() as f64;
            let mean = schedule(text).mean_rate(
                Duration::from_secs(second),
                Duration::from_secs(second + 1),
                Duration::from_secs(10),
            );
            assert!(
                (count - mean).abs() <= 2.0,
                "{text}, second {second}: {count} for {mean}"
            );
        }
    }
    // With a length of its own it stays at its end.
    let starts = merged("ramp:0..1000/2s", 1, 4);
    assert!(starts.len().abs_diff(3000) <= 1);
}

#[test]
fn stairs_keep_each_rate_for_their_time() {
    let starts = merged("stairs:1000,0,3000/1s", 2, 5);
    let counts: Vec<usize> = (0..5)
        .map(|second| {
            starts
                .iter()
                .filter(|at| **at / SECOND_NS == second)
                .count()
        })
        .collect();
    assert_eq!(counts, [1000, 0, 3000, 3000, 3000]);
    assert_eq!(
        schedule("stairs:1000,0,3000/1s").length(),
        Some(Duration::from_secs(3))
    );
    let ends = merged("stairs:1000,0/1s", 1, 5);
    assert_eq!(ends.len(), 1000);
}

// The gaps of a Poisson process are exponential: were they not, a store would be spared the bursts that make its tail.
#[test]
fn poisson_gaps_are_exponential_whatever_the_number_of_threads() {
    for threads in [1, 2, 7] {
        let starts = merged("poisson:10000", threads, 10);
        let mean = 100_000.0f64;
        assert!(
            (starts.len() as f64 - mean).abs() < 5.0 * mean.sqrt(),
            "{}",
            starts.len()
        );
        // Twenty categories of equal probability.
        let mut counts = [0; 20];
        for pair in starts.windows(2) {
            let gap = (pair[1] - pair[0]) as f64 / 100_000.0;
            counts[((1.0 - (-gap).exp()) * 20.0) as usize] += 1;
        }
        assert_fits(&counts, &[0.05; 20]);
        // And no gap tells anything of the next.
        let long = |pair: &&[u64]| pair[1] - pair[0] > 100_000;
        let both = starts
            .windows(3)
            .filter(|three| long(&&three[..2]) && long(&&three[1..]))
            .count();
        let share = both as f64 / starts.len() as f64;
        assert!((share - (-2.0f64).exp()).abs() < 0.005, "{share}");
    }
}

#[test]
fn poisson_follows_a_ramp() {
    let starts = merged("poisson:ramp:0..20000", 3, 10);
    let mut counts = [0; 10];
    for at in &starts {
        counts[(at / SECOND_NS) as usize] += 1;
    }
    let probabilities: Vec<f64> = (0..10)
        .map(|second| f64::from(2 * second + 1) / 100.0)
        .collect();
    assert_fits(&counts, &probabilities);
}

#[test]
fn a_seed_repeats_its_starts() {
    let starts = |seed| -> Vec<u64> {
        schedule("poisson:1000")
            .arrivals(Part::WHOLE, Duration::from_secs(1), seed)
            .collect()
    };
    assert_eq!(starts(1), starts(1));
    assert_ne!(starts(1), starts(2));
    assert_ne!(starts(1)[0], 0);
}

#[test]
fn mean_rates_come_from_the_schedule() {
    let seconds = Duration::from_secs;
    for (text, from, to, mean) in [
        ("5k", 0, 10, 5000.0),
        ("poisson:5k", 3, 4, 5000.0),
        ("ramp:0..10k", 0, 10, 5000.0),
        ("ramp:0..10k", 5, 10, 7500.0),
        ("ramp:0..10k/5s", 5, 10, 10_000.0),
        ("stairs:1k,2k/5s", 0, 10, 1500.0),
        ("stairs:1k,2k/2s", 0, 10, 1800.0),
        ("ramp:0..10k", 5, 5, 5000.0),
    ] {
        let found = schedule(text).mean_rate(seconds(from), seconds(to), seconds(10));
        assert!((found - mean).abs() < 1e-6, "{text}: {found}");
    }
    let half = schedule("stairs:1k,2k/5s").scaled(0.5);
    assert_eq!(half.to_string(), "stairs:500,1000/5s");
}

#[test]
fn schedules_read_as_they_are_written() {
    for (text, shown, name) in [
        ("20000", "20000", "constant"),
        ("1.5k", "1500", "constant"),
        ("poisson:1M", "poisson:1000000", "poisson"),
        ("ramp:1k..50k", "ramp:1000..50000", "ramp"),
        ("ramp:1k..50k/1m30s", "ramp:1000..50000/1m30s", "ramp"),
        (
            "stairs:1000,2000,5000/10s",
            "stairs:1000,2000,5000/10s",
            "staircase",
        ),
        (
            "poisson:stairs:1k,2k/10s",
            "poisson:stairs:1000,2000/10s",
            "poisson staircase",
        ),
    ] {
        assert_eq!(schedule(text).to_string(), shown);
        assert_eq!(schedule(shown), schedule(text));
        assert_eq!(schedule(text).name(), name);
    }
    for text in [
        "",
        "fast",
        "0",
        "-5",
        "NaN",
        "2000M",
        "poisson:",
        "ramp:1000",
        "ramp:0..0",
        "ramp:1..2/0s",
        "stairs:1,2",
        "stairs:/10s",
        "stairs:1,2/x",
        "k",
    ] {
        let error = text.parse::<Schedule>().unwrap_err();
        assert!(!error.to_string().is_empty(), "{text}");
    }
}
