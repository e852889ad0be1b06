//! Connections that may not ask or write every key: the distribution must stay what was asked for.

use super::*;

// With a journal a connection, `verify` can only say what a key must hold if no other connection wrote it.
#[test]
fn owned_writes_go_to_keys_of_ones_own_and_keep_the_distribution() {
    // Not a multiple, so that the last owners have no key among the last ones.
    let (keys, of) = (1003, 8);
    for distribution in [
        "uniform",
        "sequential",
        "zipfian",
        "latest",
        "hot-cold",
        "moving",
        "single",
    ] {
        let workload = Workload::new(spec(
            distribution,
            "get=1,put=4,add=1,delete=1,insert=1",
            keys,
        ))
        .unwrap();
        let mut writers: BTreeMap<u64, u32> = BTreeMap::new();
        let mut by_key = vec![0u64; keys as usize];
        for index in 0..of {
            let seat = Seat {
                owned_writes: Some(part(index, of)),
                ..Seat::of(part(index, of))
            };
            let mut source = workload.source(seat).unwrap();
            for turn in 0..10_000 {
                let ask = source.next(Duration::from_millis(turn * 10));
                source.over(&ask);
                if ask.operation.writes() {
                    let writer = *writers.entry(ask.key).or_insert(index);
                    assert_eq!(
                        writer, index,
                        "{distribution}: key {} has two writers",
                        ask.key
                    );
                }
                if ask.operation == Operation::Put && ask.key < keys {
                    by_key[ask.key as usize] += 1;
                }
            }
        }
        by_key.sort_unstable_by(|a, b| b.cmp(a));
        let total: u64 = by_key.iter().sum();
        let hottest = by_key[..50].iter().sum::<u64>() as f64 / total as f64;
        let expected = match distribution {
            "uniform" | "sequential" => 0.05..0.08,
            "zipfian" | "latest" => 0.5..0.7,
            "hot-cold" => 0.85..0.97,
            "single" => 1.0..1.1,
            _ => 0.0..1.0,
        };
        assert!(expected.contains(&hottest), "{distribution}: {hottest}");
    }
}

// A connection that talks straight to one shard asks no other's keys, and the shares stay as they were asked.
#[test]
fn a_shards_keys_keep_their_proportions() {
    let within = |key: u64| key % 4 == 1;
    for distribution in ["uniform", "zipfian", "hot-cold"] {
        let mut source = source(spec(distribution, "get", 400));
        let mut restricted = vec![0u64; 400];
        let mut hot = 0;
        for _ in 0..100_000 {
            let ask = source.next_within(START, &within).unwrap();
            assert!(within(ask.key));
            restricted[ask.key as usize] += 1;
            hot += u64::from(ask.heat == Heat::Hot);
        }
        let all = counts(&mut source, 400, 1_000_000);
        let own: f64 = (0..400)
            .filter(|key| within(*key))
            .map(|key| all[key as usize] as f64)
            .sum();
        for key in (0..400usize).filter(|key| within(*key as u64)) {
            let (share, expected) = (restricted[key] as f64 / 100_000.0, all[key] as f64 / own);
            if distribution != "hot-cold" {
                assert!(
                    (share - expected).abs() < 0.01,
                    "{distribution} {key}: {share} for {expected}"
                );
            }
        }
        if distribution == "hot-cold" {
            assert!((hot as f64 / 100_000.0 - 0.95).abs() < 0.005, "{hot}");
        }
    }
}

#[test]
fn a_shard_without_a_hot_key_gets_one_beside_it() {
    let mut source = source(spec("single", "get=1,put=1", 1000));
    let key = source.next(START).key;
    let elsewhere = move |number: u64| number % 2 != key % 2;
    let asks: Vec<Ask> = (0..1000)
        .map(|_| source.next_within(START, &elsewhere).unwrap())
        .collect();
    assert!(
        asks.iter()
            .all(|ask| ask.key == asks[0].key && elsewhere(ask.key) && ask.heat == Heat::Hot)
    );
}

#[test]
fn sequences_and_inserts_of_a_shard_leave_nothing_out() {
    let workload = Workload::new(spec("sequential", "get=1,insert=1", 1000)).unwrap();
    let mut source = workload.source(Seat::of(part(0, 2))).unwrap();
    let within = |key: u64| key.is_multiple_of(3);
    let mut gets = Vec::new();
    for _ in 0..500 {
        let ask = source.next_within(START, &within).unwrap();
        assert!(within(ask.key));
        source.over(&ask);
        if ask.operation == Operation::Get {
            gets.push(ask.key);
        } else {
            assert!(ask.key >= 1000);
        }
    }
    // The even ones of every third.
    let pass: Vec<u64> = (0..1000).step_by(6).collect();
    assert_eq!(gets[..pass.len()], pass);
    assert!(workload.key_count() > 1000);
}

#[test]
fn a_shard_without_keys_ends_the_search() {
    for distribution in ["uniform", "sequential", "zipfian", "single"] {
        let mut source = source(spec(distribution, "get", 1000));
        assert_eq!(source.next_within(START, &|_| false), None);
    }
}
