//! Time to live by the real clock, and scans beside writers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corduroy_client::PutOptions;
use corduroy_client::blocking::Keyspace;
use corduroy_proto_wire::{Put, Request, Status, Ttl};

use crate::support::node::{Node, Place};
use crate::support::wait_until;
use crate::support::wire::plain_put;

/// Puts so many keys that all expire after the same time.
fn put_expiring(node: &Node, prefix: &str, count: u64, ttl: Duration) {
    let mut wire = node.connect();
    let keyspace = wire.keyspace();
    for number in 0..count {
        let key = format!("{prefix}{number}").into_bytes();
        let put = Put {
            ttl: Ttl::Millis(ttl.as_millis() as u64),
            ..plain_put(&key, b"short-lived")
        };
        wire.queue(&Request::Put { keyspace, put });
        if number % 500 == 499 || number + 1 == count {
            wire.flush().unwrap();
            for _ in 0..=number % 500 {
                assert_eq!(wire.receive().unwrap().status, Status::Ok);
            }
        }
    }
}

fn count(node: &Node) -> u64 {
    node.client().default_keyspace().count().unwrap()
}

/// Sessions are put with a time to live and never looked at again. A store that takes keys away only when they are asked for
/// keeps them all; one that takes them away all at once stands still at full hours.
#[test]
fn expired_keys_go_by_themselves_all_at_once_too() {
    let place = Place::new();
    let node = place.start(&["--sync", "never"]);
    node.connect().put(b"stays", b"v");
    put_expiring(&node, "a:", 50_000, Duration::from_millis(1_500));
    assert!(count(&node) > 1, "the keys live for a while");
    wait_until("only one key is left", || count(&node) == 1);
    let status = node.status();
    assert_eq!(status["sync"], "never", "what was asked for");
    let expired: u64 = status["shards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|shard| shard["expired"].as_u64().unwrap())
        .sum();
    assert_eq!(expired, 50_000);
    assert!(node.connect().get(b"stays").is_some());
}

/// A key that is past its time must never be seen, whether it has been taken away yet or not, by no kind of request.
#[test]
fn no_key_is_seen_past_its_time() {
    let place = Place::new();
    let node = place.start(&["--sync", "never"]);
    let keyspace = node.client().default_keyspace();
    for round in 0..30 {
        let key = format!("k{round}");
        let ttl = Duration::from_millis(5 + round);
        let before = Instant::now();
        keyspace
            .put_with(&key, "v", PutOptions::new().ttl(ttl))
            .unwrap();
        let put = Instant::now();
        loop {
            let asked = Instant::now();
            let found = keyspace.get(&key).unwrap().is_some();
            // The server took the put between `before` and `put`; a millisecond is the clock's step.
            if found {
                assert!(
                    asked <= put + ttl + Duration::from_millis(2),
                    "round {round}"
                );
            } else {
                assert!(
                    Instant::now() + Duration::from_millis(2) >= before + ttl,
                    "round {round}"
                );
                break;
            }
        }
        assert!(!keyspace.exists(&key).unwrap());
        assert_eq!(keyspace.ttl(&key).unwrap(), None);
        assert_eq!(keyspace.scan(&key).count(), 0);
        assert!(keyspace.delete(&key).unwrap().is_none());
    }
}

/// The time to live goes on while the node is down: what expired in the meantime must not come back from the log.
#[test]
fn times_to_live_go_on_over_a_kill() {
    let place = Place::new();
    let node = place.start(&[]);
    put_expiring(&node, "short:", 2_000, Duration::from_millis(1_200));
    put_expiring(&node, "long:", 100, Duration::from_secs(3_600));
    let keyspace = node.client().default_keyspace();
    keyspace.put("kept", "v").unwrap();
    // A key that was put again without an expiry, and one whose expiry was taken away.
    keyspace.put("short:0", "for good").unwrap();
    keyspace.persist("short:1").unwrap();
    let expiring = Instant::now();
    node.kill();
    thread::sleep(Duration::from_millis(1_300).saturating_sub(expiring.elapsed()));
    let node = place.start(&[]);
    let keyspace = node.client().default_keyspace();
    assert_eq!(keyspace.scan("short:").count(), 2);
    assert_eq!(keyspace.get("short:0").unwrap().unwrap().value, "for good");
    assert_eq!(keyspace.ttl("short:1").unwrap(), Some(None));
    wait_until("the expired ones are gone", || count(&node) == 103);
    let left = keyspace.ttl("long:7").unwrap().unwrap().unwrap();
    assert!(left < Duration::from_secs(3_600) && left > Duration::from_secs(3_000));
}

/// Keys that are there from the first page to the last.
const STABLE: usize = 5_000;

fn scan_all(keyspace: &Keyspace, page: u32) -> BTreeSet<Vec<u8>> {
    keyspace
        .scan("stable:")
        .page_size(page)
        .map(|entry| entry.unwrap().key.to_vec())
        .collect()
}

/// Every backup and every migration is a scan of a store that is being written. A key that the scan misses though it was there all
/// the time is missing in the copy.
#[test]
fn scans_find_every_key_that_is_there_throughout() {
    let place = Place::new();
    let node = place.start(&["--sync", "never"]);
    let stable: BTreeSet<Vec<u8>> = (0..STABLE)
        .map(|number| format!("stable:{number}").into_bytes())
        .collect();
    let mut wire = node.connect();
    for key in &stable {
        wire.put(key, b"v");
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3 {
            let mut wire = node.connect();
            let over = &over;
            scope.spawn(move || {
                let mut number = 0u64;
                while !over.load(Ordering::Relaxed) {
                    // It grows and shrinks the index under the scan, and moves the stable keys' values.
                    let key = format!("stable:moving:{writer}:{}", number % 20_000).into_bytes();
                    match number % 3 {
                        0 => drop(wire.put(&key, b"v")),
                        1 => drop(wire.get(&key)),
                        _ => {
                            let key = format!("stable:{}", number as usize % STABLE);
                            wire.put(key.as_bytes(), format!("{number}").as_bytes());
                        }
                    }
                    number += 1;
                }
            });
        }
        let keyspace = node.client().default_keyspace();
        for page in [7, 100, 1_000, 4_096] {
            let found = scan_all(&keyspace, page);
            let missing: Vec<_> = stable.difference(&found).collect();
            assert!(
                missing.is_empty(),
                "page of {page}: {} missing",
                missing.len()
            );
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// An export that is resumed after a crash of the server goes on with a cursor of the old process.
#[test]
fn a_cursor_outlives_the_node_that_gave_it() {
    let place = Place::new();
    let mut node = place.start(&[]);
    let stable: BTreeSet<Vec<u8>> = (0..1_000)
        .map(|number| format!("stable:{number}").into_bytes())
        .collect();
    for key in &stable {
        let mut wire = node.connect();
        wire.put(key, b"v");
    }
    let mut found = BTreeSet::new();
    let mut cursor = None;
    let mut pages = 0;
    loop {
        let keyspace = node.client().default_keyspace();
        let mut scan = keyspace.scan("stable:").page_size(100).with_values(true);
        if let Some(cursor) = cursor.take() {
            scan = scan.from_cursor(cursor);
        }
        let page = scan.next_page().unwrap();
        found.extend(page.into_iter().flatten().map(|entry| entry.key.to_vec()));
        cursor = scan.cursor();
        if cursor.is_none() {
            break;
        }
        pages += 1;
        node.connect()
            .put(format!("other:{pages}").as_bytes(), b"v");
        node.kill();
        node = place.start(&[]);
    }
    assert!(pages > 2, "the scan ended before the node did");
    assert_eq!(stable.difference(&found).count(), 0);
}
