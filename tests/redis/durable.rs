//! What a Redis client was told is on disk, is there after kill -9.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use crate::connection::{Connection, encode};
use crate::support::node::Place;
use crate::support::random::Random;

/// Kills of a test.
const ROUNDS: u64 = 12;

/// A team that comes from Redis with `appendfsync always` gets no less: each `+OK` is on disk, however deep the pipeline.
#[test]
fn every_set_that_was_answered_survives_kill_9() {
    let place = Place::new();
    let mut random = Random::new(11);
    // The last value that was answered, and those that were sent after it.
    let mut written: HashMap<u64, (u64, Vec<u64>)> = HashMap::new();
    let mut next = 1_u64;
    let mut in_doubt = 0;
    for _ in 0..ROUNDS {
        let node = place.start(&["--sync", "always"]);
        let mut client = Connection::open(node.address());
        for (key, (answered, later)) in &mut written {
            let key = format!("key:{key}");
            let found = client.ask(&[b"GET", key.as_bytes()]);
            let found: u64 = found.bulk.map_or(0, |value| number(&value));
            assert!(
                found == *answered || later.contains(&found),
                "{key} is {found}, not {answered} nor one of {later:?}"
            );
            in_doubt += usize::from(!later.is_empty());
            (*answered, *later) = (found, Vec::new());
        }
        let mut pending = std::collections::VecDeque::new();
        let mut node = Some(node);
        let mut left = 2_000 + random.below(6_000);
        let pause = Duration::from_micros(random.below(3_000));
        loop {
            let mut bytes = Vec::new();
            while pending.len() < 64 {
                let key = random.below(500);
                let value = next.to_string();
                let name = format!("key:{key}");
                encode(&[b"SET", name.as_bytes(), value.as_bytes()], &mut bytes);
                written.entry(key).or_default().1.push(next);
                pending.push_back((key, next));
                next += 1;
            }
            if client.send(&bytes).is_err() {
                break;
            }
            if left == 0
                && let Some(node) = node.take()
            {
                thread::sleep(pause);
                node.kill();
            }
            let Ok(reply) = client.receive() else {
                break;
            };
            assert_eq!(reply.line, b"+OK");
            let (key, value) = pending.pop_front().unwrap();
            let (answered, later) = written.get_mut(&key).unwrap();
            *answered = value;
            later.retain(|&it| it > value);
            left = left.saturating_sub(1);
        }
    }
    assert!(in_doubt > 0, "no kill came while a write was on its way");
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

/// Half a transaction is what the application could never have written. Keys with one tag are on one shard, and there EXEC and MSET are
/// all or nothing, whenever the node dies.
#[test]
fn exec_and_mset_on_one_shard_are_all_or_nothing_over_kill_9() {
    let place = Place::new();
    let mut random = Random::new(12);
    let keys: Vec<String> = (0..8).map(|key| format!("{{tag}}:{key}")).collect();
    let mut answered = 0_u64;
    let mut sent = 0_u64;
    for round in 0..ROUNDS {
        let node = place.start(&["--sync", "always"]);
        let mut client = Connection::open(node.address());
        let mut mget: Vec<&[u8]> = vec![b"MGET"];
        mget.extend(keys.iter().map(|key| key.as_bytes()));
        let found: Vec<String> = client
            .ask(&mget)
            .items
            .iter()
            .map(crate::reply::Reply::text)
            .collect();
        assert!(
            found.iter().all(|value| *value == found[0]),
            "round {round}: half a transaction: {found:?}"
        );
        if round > 0 {
            let found: u64 = found[0].parse().unwrap();
            assert!(
                (answered..=sent).contains(&found),
                "{found} is there; {answered} was answered"
            );
            sent = found;
            answered = found;
        }
        let mut node = Some(node);
        let mut left = 200 + random.below(600);
        let pause = Duration::from_micros(random.below(3_000));
        let mut pending = 0;
        'load: loop {
            let mut bytes = Vec::new();
            while pending < 16 {
                sent += 1;
                pending += 1;
                let value = sent.to_string();
                if sent.is_multiple_of(2) {
                    encode(&[b"MULTI"], &mut bytes);
                    for key in &keys {
                        encode(&[b"SET", key.as_bytes(), value.as_bytes()], &mut bytes);
                    }
                    encode(&[b"EXEC"], &mut bytes);
                } else {
                    let mut mset: Vec<&[u8]> = vec![b"MSET"];
                    for key in &keys {
                        mset.extend([key.as_bytes(), value.as_bytes()]);
                    }
                    encode(&mset, &mut bytes);
                }
            }
            if client.send(&bytes).is_err() {
                break;
            }
            if left == 0
                && let Some(node) = node.take()
            {
                thread::sleep(pause);
                node.kill();
            }
            let replies = if (answered + 1).is_multiple_of(2) {
                10
            } else {
                1
            };
            for _ in 0..replies {
                let Ok(reply) = client.receive() else {
                    break 'load;
                };
                assert!(!reply.is_error(), "{reply:?}");
            }
            answered += 1;
            pending -= 1;
            left = left.saturating_sub(1);
        }
    }
}
