//! A full disk: writes are refused with a reason, reads go on, and room is all that it takes to go on.

use corduroy_proto_wire::Status;

use crate::admin::{ANY_PORT, admin_of, get};
use crate::support::forgetful::Disk;
use crate::support::node::{Node, Place, serve};
use crate::support::value::{described, describing};
use crate::support::wait_until;
use crate::support::wire::{Wire, plain_delete};

const VALUE_LEN: usize = 100_000;

/// Overwriting fills a disk only where dead space is not reclaimed.
const NEVER_RECLAIMS: [&str; 2] = ["--compaction", "no"];

/// Puts values until both shards refuse; answers how many of each key were taken.
fn fill(wire: &mut Wire, keys: u64) -> u64 {
    let mut sequence = 0;
    let mut refused_in_a_row = 0;
    let mut taken = 0;
    while refused_in_a_row < keys {
        sequence += 1;
        let key = key(sequence % keys);
        let id = wire.queue_put(&key, &describing(&key, sequence, VALUE_LEN));
        let answer = wire.answer(id);
        match answer.status {
            Status::Ok => {
                refused_in_a_row = 0;
                taken += 1;
            }
            Status::ReadOnly => {
                assert!(answer.text().contains("disk full"), "{answer:?}");
                refused_in_a_row += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    taken
}

fn key(number: u64) -> Vec<u8> {
    format!("full:{number}").into_bytes()
}

fn delete(wire: &mut Wire, key: &[u8]) {
    let (keyspace, delete) = (wire.keyspace(), plain_delete(key));
    let id = wire.queue(&corduroy_proto_wire::Request::Delete { keyspace, delete });
    let answer = wire.answer(id);
    assert_eq!(answer.status, Status::Ok, "{answer:?}");
}

fn refusals(node: &Node) -> Vec<String> {
    let status = node.status();
    let shards = status["shards"].as_array().unwrap();
    shards
        .iter()
        .filter_map(|shard| Some(shard["writes_refused"].as_str()?.to_owned()))
        .collect()
}

/// Full disks have killed nodes of every store, and the way out, freeing space, must not need a node that starts. Here it runs
/// through: it says what is wrong, lets everybody read, takes writes again by itself, and has lost nothing.
#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    const KEYS: u64 = 20;
    let place = Place::new();
    let data = place.data();
    let Some(disk) = Disk::plug_in(&data) else {
        return;
    };
    disk.image().leave_room(64 << 20);
    let node = place.start(&[ANY_PORT, NEVER_RECLAIMS].concat());
    let admin = admin_of(&node);
    assert_eq!(get(admin, "/readyz").0, 200);
    let shards = usize::from(node.connect().hello().shard_count);
    let mut wire = node.connect();
    wire.put(b"small", b"value");
    let taken = fill(&mut wire, KEYS);
    assert!(taken > KEYS, "the disk was full from the start");
    wait_until("status names the disk", || refusals(&node).len() == shards);
    for refusal in refusals(&node) {
        assert!(refusal.contains("disk full"), "{refusal}");
    }
    // A balancer is told to send writes elsewhere, and an orchestrator that restarting would not help.
    let (code, sentence) = get(admin, "/readyz");
    assert_eq!(
        (code, sentence.lines().count()),
        (503, shards),
        "{sentence}"
    );
    assert!(sentence.contains("disk full"), "{sentence}");
    assert_eq!(get(admin, "/livez").0, 200);
    // Reads go on, of what was written last too, and other connections come.
    assert_eq!(wire.get(b"small").as_deref(), Some(&b"value"[..]));
    let newest = |wire: &mut Wire| -> Vec<u64> {
        (0..KEYS)
            .map(|number| described(&key(number), &wire.get(&key(number)).unwrap()))
            .collect()
    };
    let before = newest(&mut node.connect());
    // A delete is a record too, and there is a reserve for it; somebody may have taken the last byte of the disk meanwhile.
    disk.image().leave_room(0);
    delete(&mut wire, b"small");
    assert_eq!(wire.get(b"small"), None);
    // Somebody frees space.
    disk.image().leave_room(256 << 20);
    wait_until("writes are taken again", || {
        let id = wire.queue_put(b"small", b"again");
        wire.answer(id).status == Status::Ok
    });
    wait_until("status is content", || refusals(&node).is_empty());
    wait_until("the node is ready", || get(admin, "/readyz").0 == 200);
    assert_eq!(newest(&mut wire), before);
    for number in 0..KEYS {
        wire.put(
            &key(number),
            &describing(&key(number), 1_000_000, VALUE_LEN),
        );
    }
    node.kill();
    let node = place.start(&[]);
    let mut wire = node.connect();
    assert_eq!(wire.get(b"small").as_deref(), Some(&b"again"[..]));
    assert!(
        newest(&mut wire)
            .iter()
            .all(|sequence| *sequence == 1_000_000)
    );
}

/// A crash while the disk was full leaves a segment that was not finished. The data must come back all the same, to be read.
#[test]
fn a_node_that_was_killed_on_a_full_disk_starts_there_and_serves_reads() {
    let place = Place::new();
    let data = place.data();
    let Some(disk) = Disk::plug_in(&data) else {
        return;
    };
    disk.image().leave_room(64 << 20);
    let node = place.start(&NEVER_RECLAIMS);
    let mut wire = node.connect();
    fill(&mut wire, 10);
    let count = node.client().default_keyspace().count().unwrap();
    node.kill();
    disk.image().leave_room(0);
    let node = place.start(&[]);
    let keyspace = node.client().default_keyspace();
    assert_eq!(keyspace.count().unwrap(), count);
    for entry in keyspace.scan("").with_values(true) {
        let entry = entry.unwrap();
        described(&entry.key, &entry.value.unwrap());
    }
    disk.image().leave_room(256 << 20);
    let mut wire = node.connect();
    wait_until("writes are taken", || {
        let id = wire.queue_put(b"k", b"v");
        wire.answer(id).status == Status::Ok
    });
}

/// Who finds a full disk stops the node, and must find everything again: the log is sealed though there is no room on the disk, and what was deleted
/// to make room stays deleted.
#[test]
fn a_node_on_a_full_disk_deletes_stops_cleanly_and_starts_again() {
    let place = Place::new();
    let data = place.data();
    let Some(disk) = Disk::plug_in(&data) else {
        return;
    };
    disk.image().leave_room(64 << 20);
    let node = place.start(&NEVER_RECLAIMS);
    let mut wire = node.connect();
    fill(&mut wire, 10);
    disk.image().leave_room(0);
    for number in 0..9 {
        delete(&mut wire, &key(number));
    }
    described(&key(9), &wire.get(&key(9)).unwrap());
    node.stop();
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_corduroy"))
        .args(["check".as_ref(), data.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(0), "it is clean: {checked:?}");
    let node = place.start(&[]);
    assert_eq!(node.client().default_keyspace().count().unwrap(), 1);
    disk.image().leave_room(256 << 20);
    let mut wire = node.connect();
    wait_until("writes are taken", || {
        let id = wire.queue_put(b"k", b"v");
        wire.answer(id).status == Status::Ok
    });
}

/// A first start on a full disk fails, says so, and leaves nothing that keeps the second from succeeding, nor from taking fewer cores, which need less
/// room. (It once had settled the number of cores by then.)
#[test]
fn a_first_start_on_a_full_disk_fails_with_a_sentence() {
    let place = Place::new();
    let data = place.data();
    let Some(disk) = Disk::plug_in(&data) else {
        return;
    };
    for room in [0, 4096, 5 << 20] {
        disk.image().leave_room(room);
        let Err(failed) = place.try_start(serve(&data, &[])) else {
            panic!("it started on a full disk");
        };
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        for part in ["full", "--data"] {
            assert!(failed.messages.contains(part), "{failed:?}");
        }
    }
    disk.image().leave_room(256 << 20);
    let node = place.start(&["--cores", "1"]);
    node.connect().put(b"k", b"v");
}
