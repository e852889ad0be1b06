//! What a start makes of data that was lost, changed or is old.

use std::fs;
use std::path::PathBuf;

use corduroy_proto_wire::Status;

use crate::support::needs::{cores, skip};
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
    node.says("salvage gave up");
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

/// Somebody deleted a segment's file, the first or the newest with data. A start that took what is left for the whole log would lose acknowledged writes in
/// silence; one that stops with `--salvage` too would leave the operator without all the rest.
#[test]
fn a_missing_segment_stops_the_start_until_salvage_is_asked_for() {
    let place = Place::new();
    let flags = [
        "--cores",
        "1",
        "--value-len-max",
        "256KiB",
        "--segment-len",
        "4MiB",
    ];
    let node = place.start(&flags);
    let mut wire = node.connect();
    // Each is a sixteenth of a segment.
    let key = |number: u32| format!("key {number}").into_bytes();
    for number in 0..40 {
        wire.put(&key(number), &vec![b'v'; 250_000]);
    }
    drop(wire);
    node.stop();
    let shard = place.data().join("shard-000");
    let mut sizes: Vec<PathBuf> = fs::read_dir(&shard)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    sizes.sort();
    let begun = sizes.len() - 1;
    assert!(begun >= 3, "{sizes:?}");
    for lost in [begun - 1, 1] {
        fs::remove_file(&sizes[lost]).unwrap();
        let name = sizes[lost].file_stem().unwrap().to_str().unwrap();
        let Err(failed) = place.try_start(serve(&place.data(), &flags)) else {
            panic!("the node started without {name}");
        };
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        for part in [name, "missing", "--salvage"] {
            assert!(failed.messages.contains(part), "{failed:?}");
        }
        let node = place.start(&[&flags[..], &["--salvage"]].concat());
        node.says(name);
        node.says("the file is missing");
        let mut wire = node.connect();
        // The first segment is whole, and the shard takes writes.
        assert!(wire.get(&key(0)).is_some());
        assert!(wire.get(&key(if lost == 1 { 20 } else { 39 })).is_none());
        wire.put(b"after", b"salvage");
        drop(wire);
        node.stop();
        let node = place.start(&flags);
        let mut wire = node.connect();
        assert_eq!(wire.get(b"after").as_deref(), Some(&b"salvage"[..]));
        drop(wire);
        node.stop();
    }
}

/// A shard's directory is gone, or was never restored from the backup. To begin that shard anew would be to lose half of all keys in silence. A shard that never held
/// anything is another matter: it must start after whatever kind of death.
#[test]
fn a_shard_without_files_stops_the_start_until_salvage_is_asked_for() {
    if cores() < 2 {
        return skip("a second core");
    }
    let place = Place::new();
    let flags = ["--cores", "2"];
    for _ in 0..2 {
        place.start(&flags).kill();
    }
    let node = place.start(&flags);
    let key = |number: u32| format!("key {number}").into_bytes();
    let mut wire = node.connect();
    for number in 0..100 {
        wire.put(&key(number), b"v");
    }
    drop(wire);
    node.stop();
    let shard = place.data().join("shard-001");
    fs::remove_dir_all(&shard).unwrap();
    for _ in 0..2 {
        let Err(failed) = place.try_start(serve(&place.data(), &flags)) else {
            panic!("the node started with half of its data");
        };
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        for part in ["shard 1", "lost all its files", "shard-001", "--salvage"] {
            assert!(failed.messages.contains(part), "{failed:?}");
        }
    }
    let node = place.start(&["--cores", "2", "--salvage"]);
    node.says("salvage gave up a whole shard");
    let mut wire = node.connect();
    let left = (0..100).filter(|number| wire.get(&key(*number)).is_some());
    let left = left.count();
    assert!((20..80).contains(&left), "{left} of 100 keys are left");
    wire.put(b"after", b"salvage");
    drop(wire);
    node.stop();
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
