//! The driver's native protocol against a small node in this process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::common::{FOREVER, Seen, native_node, small_load};
use corduroy_benches::drive::{self, Config, Operations, Route, protocol::Session, workload};
use corduroy_proto_wire::{partition_of_slot, shard_of_partition, slot_of};

// Answers come in any order; a driver that matched them by position would count half of the values as wrong, or worse,
// measure latencies of other requests.
#[test]
fn answers_in_any_order_find_their_requests() {
    let address = native_node(Arc::default());
    for operations in [Operations::Get, Operations::Put, Operations::Mix] {
        let config = Config {
            preload: true,
            operations,
            ..small_load(address)
        };
        let report = drive::run(&config).unwrap();
        assert_eq!((report.errors.total(), report.errors.first), (0, None));
        assert!(report.requests >= 20_000);
    }
}

// The price of a hop is the difference between two loads. If "direct" connections asked for keys of the other shard, it would
// come out as nothing.
#[test]
fn direct_connections_ask_for_keys_of_their_own_shard() {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let config = Config {
        preload: true,
        route: Route::Direct,
        ..small_load(native_node(Arc::clone(&seen)))
    };
    drive::run(&config).unwrap();
    let connections = &seen.lock().unwrap().connections;
    let shards: Vec<_> = connections
        .iter()
        .map(|(shard, _)| shard.unwrap())
        .collect();
    assert_eq!(shards, [0, 1, 0, 1, 0]);
    for (shard, keys) in connections {
        assert!(!keys.is_empty());
        for key in keys {
            let partition = partition_of_slot(slot_of(key), 64);
            assert_eq!(
                Some(shard_of_partition(partition, 2)),
                *shard,
                "{}",
                key.escape_ascii()
            );
        }
    }
}

#[test]
fn a_session_tells_a_right_value_from_none() {
    let address = native_node(Arc::default());
    let config = Config {
        preload: true,
        keys: 10,
        ..small_load(address)
    };
    drive::run(&config).unwrap();
    let mut session = Session::connect(address, FOREVER).unwrap();
    assert!(session.holds(9).unwrap());
    assert!(!session.holds(10).unwrap());
    assert_eq!(session.status().unwrap(), r#"{"shards":[]}"#);
    assert_eq!(workload::key(9).len(), workload::KEY_LEN);
}

// How much memory a key takes is a division by the number of keys: a fill that wrote some twice, or asked for more
// afterwards, would have the store count other keys, versions or log bytes than the driver does.
#[test]
fn a_run_without_time_fills_and_asks_no_more() {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let config = Config {
        preload: true,
        operations: Operations::Put,
        window: Duration::ZERO,
        requests: None,
        ..small_load(native_node(Arc::clone(&seen)))
    };
    let report = drive::run(&config).unwrap();
    assert_eq!((report.requests, report.requests_per_second), (0, 0.0));
    assert_eq!(seen.lock().unwrap().puts as u64, config.keys);
}
