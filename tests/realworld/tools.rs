//! `check`, `dump` and `repair` on the files of real nodes. They are for the worst night of the year: what they say then must be true, and what they do
//! must not make it worse.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::node::{PROGRAM, Place, serve};
use crate::support::tool::tool;
use crate::support::wait_until;

const ONE_CORE: [&str; 2] = ["--cores", "1"];

fn segment(place: &Place) -> PathBuf {
    place.data().join("shard-000/0000000000000001.seg")
}

/// All files below a directory, with their content.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else if path.file_name().unwrap() != "LOCK" {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// The records that a dump shows.
fn records(segment: &Path) -> Vec<Value> {
    let mut lines = tool("dump", segment, &["--json"]).lines();
    lines.retain(|line| line["type"] == "record");
    lines
}

fn flip(file: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&byte, offset).unwrap();
}

/// A check that finds fault with what a clean stop left would be ignored on the night when it is right.
#[test]
fn a_clean_stop_is_clean() {
    let place = Place::new();
    let node = place.start(&[]);
    let mut wire = node.connect();
    for number in 0..100 {
        wire.put(format!("key {number}").as_bytes(), b"value");
    }
    let shards = wire.hello().shard_count;
    drop(wire);
    node.stop();
    let before = snapshot(&place.data());
    let said = tool("check", &place.data(), &[]).with(0);
    said.says(&["shard 0: ", "records", "clean: everything is there"]);
    let said = tool("check", &place.data(), &["--json"]).with(0).lines();
    assert_eq!(said[0]["verdict"], "clean");
    assert_eq!(
        said[0]["shards"].as_array().unwrap().len(),
        usize::from(shards)
    );
    let sets = said[0]["shards"].as_array().unwrap().iter();
    assert_eq!(
        sets.map(|shard| shard["sets"].as_u64().unwrap())
            .sum::<u64>(),
        100
    );
    tool("repair", &place.data(), &[])
        .with(0)
        .says(&["nothing to repair"]);
    assert!(
        snapshot(&place.data()) == before,
        "looking changed something"
    );
}

/// A saved index that is damaged, or another segment's, costs the next start a read of the segment and nothing else. Whoever checks a directory should be told, and
/// not be made to think that data is lost.
#[test]
fn saved_indexes_are_checked_too() {
    let place = Place::new();
    let flags = [
        "--cores",
        "1",
        "--segment-len",
        "4MiB",
        "--value-len-max",
        "256KiB",
        // Each segment is looked for by its number.
        "--compaction",
        "no",
    ];
    let node = place.start(&flags);
    let mut wire = node.connect();
    for number in 0..10_000_u32 {
        wire.put(&number.to_le_bytes(), &[b'v'; 2_000]);
    }
    drop(wire);
    let saved = |segment: u8| {
        let name = format!("shard-000/{segment:016x}.sum");
        place.data().join(name)
    };
    wait_until("the old segments have saved indexes", || {
        (1..=4).all(|segment| saved(segment).exists())
    });
    node.stop();
    let indexes = |checked: &str| -> Value {
        let report: Value = serde_json::from_str(checked).unwrap();
        report["shards"][0]["saved_indexes"].clone()
    };
    let clean = tool("check", &place.data(), &["--json"]).with(0);
    let clean = indexes(&clean.output);
    assert_eq!(clean["bad"], serde_json::json!([]), "{clean}");
    assert!(clean["good"].as_u64().unwrap() >= 4, "{clean}");

    flip(&saved(1), 300);
    fs::copy(saved(3), saved(2)).unwrap();
    let said = tool("check", &place.data(), &[]).with(0);
    said.says(&[
        "0000000000000001.sum: the next start does without this saved index: its checksum is",
        "0000000000000002.sum: the next start does without this saved index: it is of another segment",
        "clean",
    ]);
    let bad = tool("check", &place.data(), &["--json"]).with(0);
    assert_eq!(indexes(&bad.output)["bad"].as_array().unwrap().len(), 2);

    // The node makes others.
    let node = place.start(&flags);
    let made = |status: &Value| status["shards"][0]["saved_indexes"].as_u64().unwrap();
    wait_until("two are made again", || made(&node.status()) >= 2);
    node.stop();
    let clean = tool("check", &place.data(), &["--json"]).with(0);
    assert_eq!(indexes(&clean.output)["bad"], serde_json::json!([]));
}

/// What a crash leaves is no damage, and whoever reads the report must not restore a backup over data that is whole. A start mends it, and so does repair.
#[test]
fn a_torn_tail_is_told_from_damage() {
    let place = Place::new();
    let node = place.start(&ONE_CORE);
    let mut wire = node.connect();
    wire.put(b"acknowledged", b"value");
    wire.put(b"torn", &[7; 2000]);
    drop(wire);
    node.kill();
    let segment = segment(&place);
    let last = records(&segment).pop().unwrap();
    assert_eq!(last["key"], "torn");
    // A sector of the last block never reached the disk.
    let offset = (last["offset"].as_u64().unwrap() + 600).next_multiple_of(512);
    let file = File::options().write(true).open(&segment).unwrap();
    file.write_all_at(&[0; 512], offset).unwrap();

    let before = snapshot(&place.data());
    let said = tool("check", &place.data(), &[]).with(3);
    said.says(&[
        "torn tail",
        "0000000000000001.seg, offset ",
        "Just start the server",
    ]);
    tool("repair", &place.data(), &["--dry-run"])
        .with(3)
        .says(&["would be cut", "nothing was changed"]);
    assert!(
        snapshot(&place.data()) == before,
        "a dry run changed something"
    );
    tool("repair", &place.data(), &[])
        .with(0)
        .says(&["repaired"]);
    tool("check", &place.data(), &[]).with(0);
    let node = place.start(&ONE_CORE);
    let mut wire = node.connect();
    assert_eq!(wire.get(b"acknowledged").as_deref(), Some(&b"value"[..]));
    assert_eq!(wire.get(b"torn"), None);
}

/// The whole way of the worst night: a start that stops, a check that says where, a dump that shows what is there, a dry run that says which keys go, and a
/// repair that takes those and no others, keeps what it cut, and leaves a directory that a start takes.
#[test]
fn damage_is_found_shown_and_repaired() {
    let place = Place::new();
    let node = place.start(&ONE_CORE);
    let mut wire = node.connect();
    for number in 0..20 {
        wire.put(format!("whole {number}").as_bytes(), b"value");
    }
    let old = wire.put(b"goes back", b"old");
    wire.put(b"goes back", b"damaged");
    wire.put(b"gone", b"was here once");
    wire.put(b"later", b"damaged");
    wire.put(b"later", b"new");
    drop(wire);
    node.stop();

    // One bit in the value of each of three records.
    let segment = segment(&place);
    for record in records(&segment) {
        let is_hit = record["value"] == "damaged" || record["key"] == "gone";
        if is_hit {
            let end = record["offset"].as_u64().unwrap() + record["len"].as_u64().unwrap();
            let key = record["key"].as_str().unwrap().len() as u64;
            let value = record["offset"].as_u64().unwrap() + 32 + key;
            assert!(value < end);
            flip(&segment, value);
        }
    }
    let Err(failed) = place.try_start(serve(&place.data(), &ONE_CORE)) else {
        panic!("the node started on damage");
    };
    for tool in ["corduroy check", "corduroy repair"] {
        assert!(failed.messages.contains(tool), "{failed:?}");
    }
    let said = tool("check", &place.data(), &["--json"]).with(4).lines();
    assert_eq!(said[0]["verdict"], "damaged");
    let wounds = said[0]["shards"][0]["damage"].as_array().unwrap();
    assert_eq!(wounds.len(), 3, "{wounds:?}");
    assert!(
        wounds[0]["file"]
            .as_str()
            .unwrap()
            .ends_with("0000000000000001.seg")
    );

    // The dump goes on behind each, and shows what is left in it.
    let dumped = tool("dump", &segment, &["--json"]).with(4).lines();
    let damaged: Vec<&Value> = dumped
        .iter()
        .filter(|line| line["type"] == "damage")
        .collect();
    assert_eq!(damaged.len(), 3);
    assert_eq!(damaged[0]["offset"], wounds[0]["offset"]);
    let remains = dumped.iter().filter(|line| line["in_damage"] == true);
    let remains: Vec<_> = remains
        .map(|line| (line["key"].as_str().unwrap(), &line["is_whole"]))
        .collect();
    let no = &Value::Bool(false);
    assert_eq!(remains, [("goes back", no), ("gone", no), ("later", no)]);
    assert!(dumped.iter().any(|line| line["value"] == "new"));

    let before = snapshot(&place.data());
    let said = tool("repair", &place.data(), &["--dry-run"]).with(4);
    said.says(&[
        "bytes of the log: would be given up",
        "set \"gone\" (13 bytes)",
        "its checksum is wrong, the key may be another",
        "nothing was changed",
    ]);
    assert!(
        snapshot(&place.data()) == before,
        "a dry run changed something"
    );
    let said = tool("repair", &place.data(), &[]).with(0);
    said.says(&[
        "is given up",
        "report.jsonl",
        "repaired: a start takes this directory now",
    ]);
    let kept = fs::read_dir(place.data())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("repair-")
        })
        .unwrap();
    // What was cut is there, byte for byte.
    let report = fs::read_to_string(kept.join("report.jsonl")).unwrap();
    let mut cuts = 0;
    for line in report.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["type"] == "cut" {
            let cut = fs::read(kept.join(line["file"].as_str().unwrap())).unwrap();
            let offset = line["offset"].as_u64().unwrap() as usize;
            assert_eq!(cut, before[&segment][offset..offset + cut.len()]);
            assert_eq!(line["len"], cut.len());
            cuts += 1;
        }
    }
    assert_eq!(cuts, 3);
    // Nothing but the covers was written over.
    let after = fs::read(&segment).unwrap();
    let changed = after
        .iter()
        .zip(&before[&segment])
        .filter(|(one, other)| one != other)
        .count();
    assert!(changed <= 3 * 64, "{changed} bytes changed");

    let said = tool("check", &place.data(), &[]).with(0);
    said.says(&["given up by an earlier repair"]);
    let node = place.start(&ONE_CORE);
    let mut wire = node.connect();
    for number in 0..20 {
        assert!(wire.get(format!("whole {number}").as_bytes()).is_some());
    }
    assert_eq!(wire.get(b"goes back").as_deref(), Some(&b"old"[..]));
    assert_eq!(wire.get(b"gone"), None);
    assert_eq!(wire.get(b"later").as_deref(), Some(&b"new"[..]));
    // No version is given twice, though the highest of one key is lost.
    assert!(wire.put(b"goes back", b"anew") > old + 1);
}

/// One bad byte costs a whole block. The records in it that are whole can still be named, and what becomes of their keys can be said: that
/// list is what somebody works through the next morning.
#[test]
fn the_keys_that_are_lost_are_named() {
    let place = Place::new();
    let node = place.start(&ONE_CORE);
    let mut wire = node.connect();
    let keyspace = wire.keyspace();
    // All in one block: the batch is atomic. One tag, so one partition.
    let old = wire.put(b"{t}back", b"old");
    wire.put(b"{t}deleted", b"old");
    let item = |key, value| {
        corduroy_proto_wire::BatchItem::Put(crate::support::wire::plain_put(key, value))
    };
    let items = vec![
        item(&b"{t}back"[..], &b"new"[..]),
        item(b"{t}\xff\x00", b"binary"),
        corduroy_proto_wire::BatchItem::Delete(crate::support::wire::plain_delete(b"{t}deleted")),
        item(b"{t}overwritten", b"lost"),
        item(b"{t}hit", b"the byte is in here"),
    ];
    let id = wire.queue(&corduroy_proto_wire::Request::AtomicBatch { keyspace, items });
    wire.answer(id);
    wire.put(b"{t}overwritten", b"later");
    drop(wire);
    node.stop();
    let segment = segment(&place);
    let hit = records(&segment)
        .into_iter()
        .find(|record| record["key"] == "{t}hit")
        .unwrap();
    flip(&segment, hit["offset"].as_u64().unwrap() + 45);

    let said = tool("repair", &place.data(), &["--dry-run"]).with(4);
    let expected = [
        format!(
            "set \"{{t}}back\" (3 bytes), keyspace 1 (default) partition {}",
            hit["partition"]
        ),
        format!("the key goes back to version {old}"),
        "set b\"{t}\\xff\\x00\" (6 bytes)".to_owned(),
        "delete \"{t}deleted\"".to_owned(),
        "the key comes back as of version".to_owned(),
        "no loss: a later record survives".to_owned(),
        "set \"{t}hit\"".to_owned(),
        "its checksum is wrong, the key may be another".to_owned(),
    ];
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    said.says(&expected);
    let elsewhere = place.path().join("cut here");
    tool(
        "repair",
        &place.data(),
        &["--keep", elsewhere.to_str().unwrap()],
    )
    .with(0);
    let report = fs::read_to_string(elsewhere.join("report.jsonl")).unwrap();
    let fates: BTreeMap<String, String> = report
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "record")
        .map(|line| {
            (
                line["key"].to_string(),
                line["fate"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let fate = |key: &str| fates[key].as_str();
    assert_eq!(fate("\"{t}back\""), "goes back");
    assert_eq!(fate("\"{t}deleted\""), "goes back");
    assert_eq!(fate("\"{t}overwritten\""), "superseded");
    assert_eq!(fate("{\"base64\":\"e3R9/wA=\"}"), "gone");
    assert_eq!(fate("\"{t}hit\""), "unknown");
    // And so it comes.
    let node = place.start(&ONE_CORE);
    let mut wire = node.connect();
    assert_eq!(wire.get(b"{t}back").as_deref(), Some(&b"old"[..]));
    assert_eq!(wire.get(b"{t}deleted").as_deref(), Some(&b"old"[..]));
    assert_eq!(wire.get(b"{t}overwritten").as_deref(), Some(&b"later"[..]));
    assert_eq!(wire.get(b"{t}\xff\x00"), None);
    assert_eq!(wire.get(b"{t}hit"), None);
}

/// A repair beside a server that appends would destroy what the server writes. Looking at files that are being written tells nothing true either.
#[test]
fn files_that_a_server_uses_are_left_alone() {
    let place = Place::new();
    let node = place.start(&ONE_CORE);
    node.connect().put(b"k", b"v");
    let process = format!("process {}", node.id());
    for (name, flags) in [
        ("check", &[][..]),
        ("repair", &[]),
        ("repair", &["--dry-run"]),
    ] {
        let said = tool(name, &place.data(), flags).with(1);
        said.complains(&["works on the data directory", &process, "Stop it"]);
    }
    // One file can be looked at.
    tool("dump", &segment(&place), &[])
        .with(0)
        .says(&["set \"k\" = \"v\""]);
    node.stop();
    tool("check", &place.data(), &[]).with(0);
}

/// Mistakes at night: the wrong directory, a shard's instead of the node's, a file that is none.
#[test]
fn what_is_no_data_is_refused_with_a_sentence() {
    let place = Place::new();
    let empty = place.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for name in ["check", "repair"] {
        tool(name, &empty, &[])
            .with(1)
            .complains(&["no node's data", "--data"]);
        tool(name, &place.path().join("nowhere"), &[])
            .with(1)
            .complains(&["nowhere"]);
    }
    assert_eq!(
        fs::read_dir(&empty).unwrap().count(),
        0,
        "a lock file was left"
    );
    tool("dump", &empty, &[])
        .with(1)
        .complains(&["it is a directory"]);
    let other = place.path().join("other");
    fs::write(&other, b"something else altogether").unwrap();
    tool("dump", &other, &[])
        .with(4)
        .says(&["does not begin as a segment does"]);
    // A setting of the server has no meaning here, and --salvage would sound as if it had.
    tool("check", &empty, &["--salvage"])
        .with(2)
        .complains(&["none of the server's settings"]);

    place.start(&ONE_CORE).stop();
    fs::remove_file(place.data().join("MANIFEST")).unwrap();
    tool("check", &place.data(), &[])
        .with(4)
        .complains(&["no MANIFEST"]);
}

/// A shard whose files are all gone, and one with a file that is missing: the first can't be repaired, and then nothing is; the second can.
#[test]
fn missing_files_are_told() {
    let place = Place::new();
    let node = place.start(&ONE_CORE);
    let value = vec![9; 1 << 20];
    for number in 0..12 {
        node.connect()
            .put(format!("key {number}").as_bytes(), &value);
    }
    node.stop();
    let first = segment(&place);
    let aside = place.path().join("aside");
    fs::rename(&first, &aside).unwrap();
    tool("check", &place.data(), &[])
        .with(4)
        .says(&["0000000000000001.seg", "the file is missing"]);
    let said = tool("repair", &place.data(), &["--dry-run"]).with(4);
    said.says(&["which keys were in it can't be told"]);
    assert!(!first.exists());
    let all = place.path().join("all");
    fs::rename(place.data().join("shard-000"), &all).unwrap();
    tool("check", &place.data(), &[])
        .with(4)
        .says(&["has lost all its files"]);
    let said = tool("repair", &place.data(), &[]).with(4);
    said.complains(&["nothing was changed", "has lost all its files"]);
    fs::rename(&all, place.data().join("shard-000")).unwrap();
    tool("repair", &place.data(), &[]).with(0);
    let node = place.start(&ONE_CORE);
    assert!(node.connect().get(b"key 11").is_some());
    assert!(node.connect().get(b"key 0").is_none());
}

/// The range and the limit of a dump, and a reader that has seen enough.
#[test]
fn a_dump_can_be_cut() {
    let place = Place::new();
    let node = place.start(&ONE_CORE);
    let mut wire = node.connect();
    for number in 0..2000 {
        let id = wire.queue_put(format!("key {number}").as_bytes(), &[b'x'; 100]);
        wire.answer(id);
    }
    drop(wire);
    node.stop();
    let segment = segment(&place);
    let all = records(&segment);
    assert_eq!(all.len(), 2000);
    let from = all[500]["offset"].to_string();
    let to = all[510]["offset"].to_string();
    let range = tool("dump", &segment, &["--json", "--from", &from, "--to", &to])
        .with(0)
        .lines();
    let range: Vec<&Value> = range
        .iter()
        .filter(|line| line["type"] == "record")
        .collect();
    // A block whose record begins there began before.
    assert_eq!(range.len(), 10);
    assert_eq!(range[0]["key"], "key 501");
    let three = tool("dump", &segment, &["--json", "--limit", "3", "--no-values"])
        .with(0)
        .lines();
    let three: Vec<&Value> = three
        .iter()
        .filter(|line| line["type"] == "record")
        .collect();
    assert_eq!(three.len(), 3);
    assert!(
        three
            .iter()
            .all(|record| record["value"].is_null() && record["value_len"] == 100)
    );
    let short = tool("dump", &segment, &["--limit", "1"]).with(0).output;
    assert!(short.contains("… (100 bytes)"), "{short}");
    let long = tool("dump", &segment, &["--limit", "1", "--values"])
        .with(0)
        .output;
    assert!(long.contains(&"x".repeat(100)), "{long}");

    let mut command = Command::new(PROGRAM);
    command
        .arg("dump")
        .arg(&segment)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("0: segment 1 of shard 0"), "{line}");
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
