//! Whole sequences: every distribution as a connection sees it, against its formula.

use std::collections::{BTreeMap, HashSet};

use super::{
    super::{share::Share, testing::assert_fits, ycsb::Ycsb},
    *,
};

mod limits;

const START: Duration = Duration::ZERO;

fn spec(distribution: &str, mix: &str, keys: u64) -> Spec {
    Spec {
        keys,
        distribution: distribution.parse().unwrap(),
        mix: mix.parse().unwrap(),
        ..Spec::default()
    }
}

fn part(index: u32, of: u32) -> Part {
    Part::new(index, of).unwrap()
}

fn source(spec: Spec) -> Source {
    Workload::new(spec)
        .unwrap()
        .source(Seat::of(Part::WHOLE))
        .unwrap()
}

/// How often each key is asked.
fn counts(source: &mut Source, keys: u64, draws: u32) -> Vec<u64> {
    let mut counts = vec![0; keys as usize];
    for _ in 0..draws {
        counts[source.next(START).key as usize] += 1;
    }
    counts
}

/// Zipf's probabilities, from the most popular.
fn zipf(keys: u64, theta: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=keys).map(|rank| (rank as f64).powf(-theta)).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

fn hot_share(source: &mut Source, draws: u32) -> f64 {
    let hot = (0..draws)
        .filter(|_| source.next(START).heat == Heat::Hot)
        .count();
    hot as f64 / f64::from(draws)
}

#[test]
fn uniform_asks_each_key_equally_often() {
    let mut source = source(spec("uniform", "get", 1000));
    assert_fits(&counts(&mut source, 1000, 200_000), &[0.001; 1000]);
    assert_eq!(hot_share(&mut source, 1000), 0.0);
}

// The most popular key is whichever the permutation made it: sorted by their counts, keys must show Zipf's law, and the ones called
// hot must be the most popular twentieth.
#[test]
fn zipfian_asks_by_popularity() {
    let keys = 200;
    for theta in [0.5, 0.99, 1.2] {
        let mut source = source(spec(&format!("zipfian:{theta}"), "get", keys));
        let mut by_key = vec![0u64; keys as usize];
        let mut hot = HashSet::new();
        for _ in 0..400_000 {
            let ask = source.next(START);
            by_key[ask.key as usize] += 1;
            if ask.heat == Heat::Hot {
                hot.insert(ask.key);
            }
        }
        let space = KeySpace::new(keys, Distribution::Zipfian { theta }, &Hot::default());
        let by_rank: Vec<u64> = space.places().map(|key| by_key[key as usize]).collect();
        assert_fits(&by_rank, &zipf(keys, theta));
        assert_eq!(hot, space.places().take(10).collect());
        assert!(hot.iter().any(|key| *key < 100) && hot.iter().any(|key| *key >= 100));
    }
}

// The figure that the documentation of `keys` gives.
#[test]
fn the_hottest_twentieth_gets_its_share_of_a_zipfian_load() {
    let expected: f64 = zipf(1_000_000, 0.99).iter().take(50_000).sum();
    assert!((expected - 0.78).abs() < 0.005, "{expected}");
    let mut source = source(spec("zipfian:0.99", "get", 1_000_000));
    let share = hot_share(&mut source, 200_000);
    assert!((share - expected).abs() < 0.005, "{share}");
}

#[test]
fn hot_and_cold_keys_get_their_shares() {
    let hot = Hot {
        keys: Some(Share::percent(10)),
        ops: Some(Share::percent(80)),
        move_every: None,
    };
    let spec = Spec {
        hot,
        ..spec("hot-cold", "get", 500)
    };
    let mut by_heat = [BTreeMap::new(), BTreeMap::new()];
    let mut source = source(spec);
    for _ in 0..200_000 {
        let ask = source.next(START);
        *by_heat[ask.heat as usize].entry(ask.key).or_insert(0u64) += 1;
    }
    let [hot, cold] = by_heat.map(|counts| counts.into_values().collect::<Vec<_>>());
    assert_eq!((hot.len(), cold.len()), (50, 450));
    assert_fits(&hot, &[1.0 / 50.0; 50]);
    assert_fits(&cold, &[1.0 / 450.0; 450]);
    assert_fits(&[hot.iter().sum(), cold.iter().sum()], &[0.8, 0.2]);
}

// A cache that has just learnt the hot keys must learn all of them anew.
#[test]
fn a_moving_set_moves_and_comes_around() {
    let mut source = source(spec("moving", "get", 1000));
    let mut hot_at = |seconds: f64| -> HashSet<u64> {
        let asks = (0..5000).map(|_| source.next(Duration::from_secs_f64(seconds)));
        asks.filter(|ask| ask.heat == Heat::Hot)
            .map(|ask| ask.key)
            .collect()
    };
    let sets: Vec<HashSet<u64>> = (0..21)
        .map(|turn| hot_at(f64::from(turn) * 10.0 + 5.0))
        .collect();
    assert!(sets.iter().all(|set| set.len() == 50));
    assert!(sets.windows(2).all(|pair| pair[0].is_disjoint(&pair[1])));
    let all: HashSet<u64> = sets[..20].iter().flatten().copied().collect();
    assert_eq!(all.len(), 1000);
    assert_eq!(sets[20], sets[0]);
    // Within an interval it stays, at its ends it changes, and time that goes back finds the old one.
    assert_eq!(hot_at(0.0), sets[0]);
    assert_eq!(hot_at(9.999), sets[0]);
    assert_eq!(hot_at(10.0), sets[1]);
    assert_eq!(hot_at(0.1), sets[0]);
}

#[test]
fn a_single_key_gets_all_or_its_share() {
    let mut all = source(spec("single", "get", 1000));
    let keys: HashSet<u64> = (0..1000).map(|_| all.next(START).key).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(hot_share(&mut all, 1000), 1.0);
    let hot = Hot {
        ops: Some(Share::percent(30)),
        ..Hot::default()
    };
    let mut some = source(Spec {
        hot,
        ..spec("single", "get", 1000)
    });
    let counts = counts(&mut some, 1000, 100_000);
    let key = *keys.iter().next().unwrap() as usize;
    let rest: u64 = counts.iter().sum::<u64>() - counts[key];
    assert_fits(&[counts[key], rest], &[0.3, 0.7]);
    assert!(counts.iter().all(|count| *count > 0));
}

#[test]
fn sequential_connections_together_cover_each_key_once_a_pass() {
    for (keys, of) in [(10, 3), (1000, 7), (7, 7)] {
        let workload = Workload::new(spec("sequential", "get", keys)).unwrap();
        let mut sources: Vec<Source> = (0..of)
            .map(|index| workload.source(Seat::of(part(index, of))).unwrap())
            .collect();
        for _pass in 0..3 {
            let mut asked = Vec::new();
            for (index, source) in sources.iter_mut().enumerate() {
                let own = (keys - index as u64).div_ceil(u64::from(of));
                asked.extend((0..own).map(|_| source.next(START).key));
            }
            asked.sort_unstable();
            assert!(
                asked.into_iter().eq(0..keys),
                "{keys} keys, {of} connections"
            );
        }
    }
    // More connections than keys: each asks its one key again and again.
    let workload = Workload::new(spec("sequential", "get", 3)).unwrap();
    let mut source = workload.source(Seat::of(part(4, 5))).unwrap();
    assert_eq!([source.next(START).key, source.next(START).key], [1, 1]);
}

// YCSB D: what is newest is read most, and nothing is read before it is there.
#[test]
fn latest_follows_inserts() {
    let mut d = source(Spec {
        keys: 1000,
        mix: Ycsb::D.mix(),
        distribution: Ycsb::D.distribution(),
        ..Spec::default()
    });
    let mut age = vec![0u64; 1000];
    let mut unanswered = None;
    let mut readable = 1000;
    for _ in 0..200_000 {
        let ask = d.next(START);
        match ask.operation {
            Operation::Get => {
                assert!(ask.key < readable, "key {} of {readable}", ask.key);
                let age_now = readable - 1 - ask.key;
                if age_now < 1000 {
                    age[age_now as usize] += 1;
                }
                assert_eq!(ask.heat == Heat::Hot, age_now < 50);
            }
            Operation::Put => {
                assert!(ask.value_len == 64 && ask.stamp != 0);
                // Each insert is answered when the next one is asked.
                if let Some(before) = unanswered.replace(ask) {
                    d.over(&before);
                    readable = before.key + 1;
                }
            }
            other => panic!("{other}"),
        }
    }
    assert!((9_000..11_000).contains(&(readable - 1000)), "{readable}");
    // The probabilities of the first ranks change with the number of keys, their proportions don't.
    let total: f64 = zipf(1000, 0.99).iter().take(100).sum();
    let expected: Vec<f64> = zipf(1000, 0.99)
        .iter()
        .take(100)
        .map(|p| p / total)
        .collect();
    assert_fits(&age[..100], &expected);
}

#[test]
fn a_seed_repeats_its_load() {
    let asks = |seed, index| -> Vec<Ask> {
        let spec = Spec {
            seed,
            value_len: "16-1024".parse().unwrap(),
            ttls: "60s:50%".parse().unwrap(),
            ..spec("zipfian", "get=5,put=3,scan=1,batch=1", 10_000)
        };
        let workload = Workload::new(spec).unwrap();
        let mut source = workload.source(Seat::of(part(index, 4))).unwrap();
        (0..1000).map(|_| source.next(START)).collect()
    };
    assert_eq!(asks(1, 2), asks(1, 2));
    let keys = |asks: Vec<Ask>| asks.into_iter().map(|ask| ask.key).collect::<Vec<_>>();
    assert_ne!(keys(asks(1, 2)), keys(asks(2, 2)));
    assert_ne!(keys(asks(1, 2)), keys(asks(1, 3)));
}

#[test]
fn each_operation_carries_what_it_needs() {
    let mut source = source(Spec {
        ttls: "1s".parse().unwrap(),
        batch: "5-8".parse().unwrap(),
        scan: Sizes::fixed(20),
        ..spec(
            "uniform",
            "get=1,put=1,delete=1,cas=1,rmw=1,add=1,batch=1,scan=1",
            10,
        )
    });
    let mut stamps = HashSet::new();
    for _ in 0..2000 {
        let ask = source.next(START);
        let operation = ask.operation;
        assert_eq!(ask.value_len, if operation.writes_value() { 64 } else { 0 });
        assert_eq!(ask.ttl_ms, if operation.writes_value() { 1000 } else { 0 });
        assert_eq!(ask.key & COUNTER != 0, operation == Operation::Add);
        assert!((ask.key & !COUNTER) < 10);
        if operation.writes() {
            assert!(stamps.insert(ask.stamp), "{operation}: a stamp twice");
        } else {
            assert_eq!(ask.stamp, 0);
        }
        match operation {
            Operation::Batch => {
                assert!((5..=8).contains(&ask.count) && ask.key + u64::from(ask.count) <= 10);
            }
            Operation::Scan => assert_eq!(ask.count, 20),
            _ => assert_eq!(ask.count, 0),
        }
    }
}

#[test]
fn one_key_and_small_counts_work_everywhere() {
    for distribution in [
        "uniform",
        "sequential",
        "zipfian",
        "latest",
        "hot-cold",
        "moving",
        "single",
    ] {
        for keys in [1, 2, 3] {
            let mut source = source(spec(distribution, "get=1,put=1,batch=1", keys));
            for second in 0..200 {
                assert!(source.next(Duration::from_secs(second)).key < keys);
            }
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |change: &dyn Fn(&mut Spec)| {
        let mut spec = Spec::default();
        change(&mut spec);
        Workload::new(spec).unwrap_err()
    };
    refused(&|spec| spec.keys = 0);
    refused(&|spec| spec.keys = KEYS_MAX + 1);
    refused(&|spec| spec.batch = Sizes::fixed(0));
    refused(&|spec| spec.scan = Sizes::fixed(COUNT_MAX + 1));
    refused(&|spec| {
        spec.distribution = Distribution::Moving;
        spec.hot.move_every = Some(Duration::ZERO);
    });
    let workload = Workload::new(spec("uniform", "put", 3)).unwrap();
    let seat = Seat::of(part(3, 4));
    let owned = Seat {
        owned_writes: Some(part(3, 4)),
        ..seat
    };
    assert!(matches!(
        workload.source(owned),
        Err(SpecError::TooFewKeys { .. })
    ));
    let unstamped = Seat {
        writer: Stamp::WRITERS_MAX,
        ..seat
    };
    assert!(workload.source(unstamped).is_err());
    assert!(Part::new(4, 4).is_err());
}
