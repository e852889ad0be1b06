//! The background scrub, on real files: rot in what nobody reads is found, named, and served to nobody.

use crate::saved::{damage_value_of, expect_damaged};
use crate::support::node::{Node, Place};
use crate::support::wait_until;

const FLAGS: [&str; 10] = [
    "--segment-len",
    "4MiB",
    "--value-len-max",
    "256KiB",
    "--cores",
    "1",
    "--memory",
    "64MiB",
    // Segments are looked for by their numbers.
    "--compaction",
    "no",
];

fn scrub(node: &Node) -> serde_json::Value {
    node.status()["shards"][0]["scrub"].clone()
}

/// A start by saved indexes reads no old segment, and a cold record may not be asked for in years. When a bit of one turns over, the scrub says so with file and
/// offset, in the log and in `status`; the node goes on, a read of that key is an error that names the place, and every other key is what it was.
#[test]
fn rot_in_a_cold_record_is_found_before_anybody_reads_it() {
    let place = Place::new();
    let key = |number: u32| format!("key {number:06}").into_bytes();
    let value = [b'v'; 2_000];
    let count = 10_000;
    let off = [&FLAGS[..], &["--scrub-period", "0"]].concat();
    let node = place.start(&off);
    let mut wire = node.connect();
    for number in 0..count {
        wire.put(&key(number), &value);
    }
    let saved = place.data().join("shard-000/0000000000000002.sum");
    wait_until("the old segments have saved indexes", || saved.exists());
    assert_eq!(scrub(&node)["bytes"], 0, "it is off");
    drop(wire);
    node.stop();

    let file = "0000000000000001.seg";
    let segment = place.data().join("shard-000").join(file);
    let at = damage_value_of(&key(7), &segment);

    let often = [&FLAGS[..], &["--scrub-period", "2s"]].concat();
    let node = place.start(&often);
    let start = &node.status()["shards"][0]["start"];
    assert!(
        start["from_saved_indexes"].as_u64().unwrap() >= 2,
        "{start}: the start has not read what is damaged"
    );
    wait_until("a pass over everything has ended", || {
        scrub(&node)["passes"].as_u64().unwrap() >= 1
    });
    let told = scrub(&node);
    let damage = told["damage"].as_array().unwrap();
    assert_eq!(damage.len(), 1, "{told}");
    assert_eq!(damage[0]["file"], file);
    let offset = damage[0]["offset"].as_u64().unwrap();
    assert!(
        (at as u64 - offset) < 4096,
        "{told}: the block of the record at {at}"
    );
    assert!(told["last_pass_ended_ms"].as_u64().unwrap() > 1_700_000_000_000);
    assert!(told["bytes"].as_u64().unwrap() > u64::from(count) * 2_000);
    node.says("damage on disk");
    node.says(file);
    node.says(&offset.to_string());
    let times = |node: &Node| node.messages().matches("damage on disk").count();
    assert_eq!(times(&node), 1);

    let mut wire = node.connect();
    expect_damaged(&mut wire, &key(7));
    for number in (0..count).filter(|number| *number != 7).step_by(97) {
        assert_eq!(wire.get(&key(number)).as_deref(), Some(&value[..]));
    }
    wire.put(b"new", b"the node takes writes");
    assert_eq!(
        node.status()["shards"][0]["writes_refused"],
        serde_json::Value::Null
    );
    // The next passes find it again, and say nothing new.
    let passes = scrub(&node)["passes"].as_u64().unwrap();
    wait_until("two more passes", || {
        scrub(&node)["passes"].as_u64().unwrap() >= passes + 2
    });
    assert!(scrub(&node)["damage_found"].as_u64().unwrap() >= 3);
    assert_eq!(times(&node), 1, "a place is told of once");
    drop(wire);
    node.stop();
}
