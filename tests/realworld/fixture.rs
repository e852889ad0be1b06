//! Whole data directories that version 1 of the format left behind, read by every later release: `tests/fixtures/data-v1/`.
//!
//! `clean` was stopped, `torn` went on from a copy of it and was killed, with a sector of its last block never written. Both have two shards. Of the segments
//! the zeros at the end are left out; `unpack` puts them back. `tests/format_v1.rs` holds the bytes of the format; this holds that a node starts
//! on what an old one left, and that the tools read it. A new version adds directories of its own; these are never written again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use corduroy_client::blocking::Client;
use corduroy_client::{BatchOp, PutOptions};

use crate::support::needs::{cores, skip};
use crate::support::node::{Node, Place};
use crate::support::tool::tool;

const TWO_CORES: [&str; 2] = ["--cores", "2"];
/// In the year 9999.
const FAR_MS: u64 = 253_370_764_800_000;
const LARGE_LEN: usize = 300_000;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/data-v1")
        .join(name)
}

fn shards(data: &Path) -> Vec<PathBuf> {
    (0..2)
        .map(|shard| data.join(format!("shard-{shard:03}")))
        .collect()
}

fn segments(shard: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(shard)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// A copy of a fixture as the node left it.
fn unpack(name: &str, place: &Place) {
    let (from, to) = (fixture(name), place.data());
    fs::create_dir_all(&to).unwrap();
    fs::copy(from.join("MANIFEST"), to.join("MANIFEST")).unwrap();
    for (from, to) in shards(&from).iter().zip(shards(&to)) {
        fs::create_dir(&to).unwrap();
        for file in segments(from) {
            let copy = to.join(file.file_name().unwrap());
            fs::copy(&file, &copy).unwrap();
            let file = File::options().read(true).write(true).open(&copy).unwrap();
            // `segment_len` of the header: docs/on-disk-format.md.
            let mut len = [0; 8];
            file.read_exact_at(&mut len, 40).unwrap();
            file.set_len(u64::from_le_bytes(len)).unwrap();
        }
    }
}

fn large() -> Vec<u8> {
    let line = b"a value that is kept apart from the log's memory ";
    line.iter().copied().cycle().take(LARGE_LEN).collect()
}

/// What `clean` was filled with, once.
fn fill(client: &Client) {
    let default = client.default_keyspace();
    for number in 0..40 {
        default
            .put(format!("key {number}"), format!("value {number}"))
            .unwrap();
    }
    default.put("key 7", "overwritten").unwrap();
    default.delete("key 8").unwrap();
    default.put(b"\x00\xff binary", b"\xfe\x00").unwrap();
    default.put("empty", "").unwrap();
    default
        .put_with("expires", "late", PutOptions::new().expires_at_ms(FAR_MS))
        .unwrap();
    default.add("counter", 41).unwrap();
    default.add("counter", 1).unwrap();
    default.put("large", large()).unwrap();
    default
        .atomic(vec![
            BatchOp::put("{tag}one", "1"),
            BatchOp::put("{tag}two", "2"),
            BatchOp::delete("{tag}none"),
        ])
        .unwrap();
    let orders = client.create_keyspace("orders", Some(8)).unwrap();
    for number in 0..10 {
        orders.put(format!("order {number}"), "open").unwrap();
    }
    let emptied = client.create_keyspace("emptied", Some(4)).unwrap();
    for number in 0..10 {
        emptied.put(format!("before {number}"), "x").unwrap();
    }
    emptied.flush().unwrap();
    emptied.put("after", "kept").unwrap();
    client
        .create_keyspace("dropped", Some(2))
        .unwrap()
        .put("k", "v")
        .unwrap();
    client.drop_keyspace("dropped").unwrap();
}

/// That all of it is there, and nothing else.
fn verify(node: &Node) {
    let client = node.client();
    let default = client.default_keyspace();
    let value = |key: &[u8]| default.get(key).unwrap().map(|found| found.value.to_vec());
    for number in 0..40 {
        let expected = match number {
            7 => Some(b"overwritten".to_vec()),
            8 => None,
            _ => Some(format!("value {number}").into_bytes()),
        };
        assert_eq!(
            value(format!("key {number}").as_bytes()),
            expected,
            "key {number}"
        );
    }
    assert_eq!(value(b"\x00\xff binary").unwrap(), b"\xfe\x00");
    assert_eq!(value(b"empty").unwrap(), b"");
    assert_eq!(value(b"expires").unwrap(), b"late");
    assert_eq!(default.expires_at("expires").unwrap(), Some(Some(FAR_MS)));
    assert_eq!(value(b"counter").unwrap(), b"42");
    assert!(value(b"large").unwrap() == large());
    assert_eq!(value(b"{tag}one").unwrap(), b"1");
    assert_eq!(value(b"{tag}two").unwrap(), b"2");
    assert_eq!(default.count().unwrap(), 39 + 7);
    let mut names: Vec<String> = client
        .list_keyspaces()
        .unwrap()
        .into_iter()
        .map(|keyspace| keyspace.name)
        .collect();
    names.sort();
    assert_eq!(names, ["default", "emptied", "orders"]);
    assert_eq!(client.keyspace("orders").unwrap().count().unwrap(), 10);
    let emptied = client.keyspace("emptied").unwrap();
    assert_eq!(emptied.count().unwrap(), 1);
    assert_eq!(emptied.get("after").unwrap().unwrap().value, &b"kept"[..]);
}

/// The kinds of blocks and records that the dumps of all segments show.
fn kinds(place: &Place) -> Vec<String> {
    let mut kinds = Vec::new();
    for segment in shards(&place.data())
        .iter()
        .flat_map(|shard| segments(shard))
    {
        for line in tool("dump", &segment, &["--json", "--no-values"]).lines() {
            kinds.extend(line["kind"].as_str().map(str::to_owned));
        }
    }
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Somebody upgrades after a clean stop.
#[test]
fn a_directory_of_version_1_is_read() {
    let place = Place::new();
    unpack("clean", &place);
    tool("check", &place.data(), &[])
        .with(0)
        .says(&["shard 1: ", "clean: everything is there"]);
    assert_eq!(kinds(&place), ["clear", "data", "delete", "seal", "set"]);
    tool("repair", &place.data(), &[])
        .with(0)
        .says(&["nothing to repair"]);
    if cores() < 2 {
        return skip("a second core");
    }
    let node = place.start(&TWO_CORES);
    verify(&node);
    // And it can be written to, and read again.
    node.connect().put(b"key 8", b"again");
    node.connect().put(b"key 8", b"value 8");
    node.stop();
    tool("check", &place.data(), &[]).with(0);
}

/// Somebody upgrades after a crash.
#[test]
fn a_torn_directory_of_version_1_is_read() {
    let place = Place::new();
    unpack("torn", &place);
    tool("check", &place.data(), &[])
        .with(3)
        .says(&["shard-001", "torn tail"]);
    if cores() < 2 {
        return skip("a second core");
    }
    let node = place.start(&TWO_CORES);
    let mut wire = node.connect();
    assert_eq!(
        wire.get(b"{cut}whole").as_deref(),
        Some(&b"acknowledged"[..])
    );
    assert_eq!(wire.get(b"{cut}torn"), None);
    let default = node.client().default_keyspace();
    assert!(default.delete("{cut}whole").unwrap().is_some());
    drop(wire);
    verify(&node);
    node.stop();
    tool("check", &place.data(), &[]).with(0);
}

/// Copies a stopped node's data, without the zeros at the files' ends.
fn pack(place: &Place, name: &str) {
    let (from, to) = (place.data(), fixture(name));
    fs::create_dir_all(&to).unwrap();
    fs::copy(from.join("MANIFEST"), to.join("MANIFEST")).unwrap();
    for (from, to) in shards(&from).iter().zip(shards(&to)) {
        fs::create_dir_all(&to).unwrap();
        for file in segments(from) {
            let bytes = fs::read(&file).unwrap();
            let used = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            fs::write(to.join(file.file_name().unwrap()), &bytes[..used]).unwrap();
        }
    }
}

#[test]
#[ignore = "writes the fixture: only for a version that was not released yet"]
fn write_the_fixture() {
    let place = Place::new();
    let flags = [
        "--cores",
        "2",
        "--segment-len",
        "4MiB",
        "--value-len-max",
        "1MiB",
    ];
    let node = place.start(&flags);
    fill(&node.client());
    node.stop();
    pack(&place, "clean");
    let node = place.start(&flags);
    let mut wire = node.connect();
    wire.put(b"{cut}whole", b"acknowledged");
    wire.put(b"{cut}torn", &[b't'; 2000]);
    drop(wire);
    node.kill();
    let segment = &segments(&shards(&place.data())[1])[0];
    let lines = tool("dump", segment, &["--json"]).with(0).lines();
    let last = lines.iter().rfind(|line| line["type"] == "record").unwrap();
    assert_eq!(last["key"], "{cut}torn", "the tag is to be one of shard 1");
    let sector = (last["offset"].as_u64().unwrap() + 600).next_multiple_of(512);
    let file = File::options().write(true).open(segment).unwrap();
    file.write_all_at(&[0; 512], sector).unwrap();
    pack(&place, "torn");
}
