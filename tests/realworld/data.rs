//! What a start makes of data that was lost, changed or is old.

use std::fs;

use corduroy_proto_wire::Status;

use crate::support::node::{Place, serve};

/// A directory whose manifest was lost or changed must not be taken for an empty one, nor be read with another secret.
#[test]
fn a_lost_or_changed_manifest_is_refused() {
    let place = Place::new();
    place.start(&[]).stop();
    let refusal = || {
        let Err(failed) = place.try_start(serve(&place.data(), &[])) else {
            panic!("the node started");
        };
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        failed.messages
    };
    let path = place.data().join("MANIFEST");
    let good = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let said = refusal();
    assert!(said.contains("no MANIFEST"), "{said}");
    let at = good.find("hash_secret").unwrap() + "hash_secret\": \"".len();
    let digit = if good.as_bytes()[at] == b'0' {
        "1"
    } else {
        "0"
    };
    fs::write(&path, format!("{}{digit}{}", &good[..at], &good[at + 1..])).unwrap();
    let said = refusal();
    assert!(said.contains("checksum"), "{said}");
    fs::write(&path, good).unwrap();
    place.start(&[]).stop();
}

/// A byte that the disk changed in the middle of the log is acknowledged data that is gone: starting without a word would hide it.
#[test]
fn damage_stops_the_start_until_salvage_is_asked_for() {
    let place = Place::new();
    let flags = ["--cores", "1"];
    let node = place.start(&flags);
    let key = |number: u32| format!("key {number}").into_bytes();
    let mut wire = node.connect();
    for number in 0..10 {
        wire.put(&key(number), &[b'v'; 100]);
    }
    drop(wire);
    node.stop();
    let segment = place.data().join("shard-000/0000000000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|bytes| bytes == key(3)).unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();

    let Err(failed) = place.try_start(serve(&place.data(), &flags)) else {
        panic!("the node started on damage");
    };
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    for part in ["0000000000000001.seg", "offset ", "--salvage"] {
        assert!(failed.messages.contains(part), "{failed:?}");
    }
    let node = place.start(&["--cores", "1", "--salvage"]);
    node.says("given up for good");
    let mut wire = node.connect();
    for number in 0..10 {
        assert_eq!(
            wire.get(&key(number)).is_some(),
            number != 3,
            "key {number}"
        );
    }
    drop(wire);
    node.stop();
    // What was given up is known to be: the next start is an ordinary one.
    place.start(&flags).stop();
}

/// A keyspace is recorded once, when it is made. When the log had grown beyond the memory, a start that asked the log's tail for
/// the record did not find it, and dropped the keyspace with all its keys.
#[test]
fn a_keyspace_whose_record_is_old_survives() {
    let place = Place::new();
    let flags = [
        "--cores",
        "1",
        "--value-len-max",
        "256KiB",
        "--segment-len",
        "4MiB",
        "--memory",
        "28MiB",
        "--sync",
        "never",
    ];
    let node = place.start(&flags);
    let client = node.client();
    client.create_keyspace("old", Some(4)).unwrap();
    let old = client.keyspace("old").unwrap();
    old.put("key", "kept").unwrap();
    let mut wire = node.connect();
    let large = vec![7; 200 << 10];
    for number in 0..120 {
        let id = wire.queue_put(format!("filler {number}").as_bytes(), &large);
        assert_eq!(wire.answer(id).status, Status::Ok);
    }
    drop((wire, client));
    node.stop();
    let node = place.start(&flags);
    let old = node.client().keyspace("old").unwrap();
    let read = old.get("key").unwrap().unwrap();
    assert_eq!(&read.value[..], b"kept");
}
