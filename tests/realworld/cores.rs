//! Starts with another number of cores than the data was written with: everything is there afterwards, whatever happened on the way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corduroy_client::PutOptions;

use crate::support::forgetful::Disk;
use crate::support::needs::skip;
use crate::support::node::{Node, Place, serve};
use crate::support::random::Random;
use crate::support::wait_until;

const SEGMENT_LEN: u64 = 4 << 20;
const SHORT: [&str; 4] = ["--segment-len", "4MiB", "--value-len-max", "1MiB"];
const KEYSPACES: [&str; 2] = ["default", "other"];

/// The numbers of cores that can be tried here.
fn counts() -> Vec<usize> {
    let available = thread::available_parallelism().map_or(1, usize::from);
    (1..=available.min(4)).collect()
}

fn flags(cores: &str) -> Vec<&str> {
    [&SHORT[..], &["--cores", cores, "--sync", "never"]].concat()
}

fn start(place: &Place, cores: usize) -> Node {
    place.start(&flags(&cores.to_string()))
}

/// A value, its version and its expiry.
type Holding = (Vec<u8>, u64, Option<u64>);

/// What a node was told, and should show.
#[derive(Default)]
struct Told {
    /// By keyspace and key.
    keys: BTreeMap<(usize, String), Holding>,
    /// Deleted keys, and the version of the delete.
    deleted: BTreeMap<(usize, String), u64>,
}

impl Told {
    /// Values of all lengths, overwrites, deletes, expiries near and far, a keyspace beside the default one and one that is dropped.
    fn fill(&mut self, node: &Node, random: &mut Random, count: u64) {
        let client = node.client();
        if client.list_keyspaces().unwrap().len() == 1 {
            client.create_keyspace("other", Some(7)).unwrap();
        }
        let dropped = client.create_keyspace("dropped", Some(5)).unwrap();
        for number in 0..50 {
            dropped.put(format!("key {number}"), "gone").unwrap();
        }
        client.drop_keyspace("dropped").unwrap();
        let hour = Duration::from_secs(3600);
        for _ in 0..count {
            let at = random.below(2) as usize;
            let keyspace = client.keyspace(KEYSPACES[at]).unwrap();
            let key = format!("key {}", random.below(count));
            let place = (at, key.clone());
            let len = match random.below(40) {
                0 => 900_000,
                1..8 => random.below(60_000),
                _ => random.below(300),
            };
            let value = vec![random.below(256) as u8; len as usize];
            match random.below(10) {
                0 | 1 => {
                    if let Some(deleted) = keyspace.delete(&key).unwrap() {
                        self.keys.remove(&place);
                        self.deleted.insert(place, deleted.version);
                    }
                }
                // Gone before it is asked for.
                2 => {
                    let soon = PutOptions::new().ttl(Duration::from_millis(1));
                    keyspace.put_with(&key, &value, soon).unwrap();
                    self.keys.remove(&place);
                    self.deleted.remove(&place);
                }
                kind => {
                    let options = match kind {
                        3 => PutOptions::new().ttl(hour),
                        _ => PutOptions::new(),
                    };
                    keyspace.put_with(&key, &value, options).unwrap();
                    let version = keyspace.version(&key).unwrap().unwrap().version;
                    let expiry = keyspace.expires_at(&key).unwrap().unwrap();
                    self.deleted.remove(&place);
                    self.keys.insert(place, (value, version, expiry));
                }
            }
        }
    }

    /// Every key as it was, with its version and expiry; nothing else; and versions go on.
    #[track_caller]
    fn verify(&mut self, node: &Node) {
        let client = node.client();
        for (at, name) in KEYSPACES.iter().enumerate() {
            let keyspace = client.keyspace(name).unwrap();
            let keys = self.keys.iter().filter(|((its, _), _)| *its == at);
            let mut count = 0;
            for ((_, key), (value, version, expiry)) in keys {
                let found = keyspace.get(key).unwrap();
                let found = found.unwrap_or_else(|| panic!("{key} of {name} is gone"));
                assert!(found.value == value[..], "{key} of {name}");
                assert_eq!(found.version, *version, "{key} of {name}");
                assert_eq!(keyspace.expires_at(key).unwrap(), Some(*expiry));
                count += 1;
            }
            assert_eq!(keyspace.count().unwrap(), count, "keys of {name}");
            let deleted = self.deleted.iter_mut().filter(|((its, _), _)| *its == at);
            for ((_, key), version) in deleted {
                let again = keyspace.put(key, "again").unwrap();
                assert!(again.version > *version, "{key}: {again:?} after {version}");
                *version = keyspace.delete(key).unwrap().unwrap().version;
            }
        }
        let names = client.list_keyspaces().unwrap();
        let names: Vec<&str> = names.iter().map(|keyspace| &*keyspace.name).collect();
        assert_eq!(names, KEYSPACES);
    }
}

/// A directory was tied to the number of cores that it was first used with: who moved to a larger machine, or a smaller container, had to export and
/// import everything.
#[test]
fn any_number_of_cores_finds_everything() {
    let counts = counts();
    if counts.len() < 2 {
        return skip("a second core");
    }
    let place = Place::new();
    let mut random = Random::new(3);
    let mut told = Told::default();
    let node = start(&place, 2);
    told.fill(&node, &mut random, 1_500);
    node.stop();
    // Up and down, and each to each where there are few.
    let mut before = 2;
    for (round, cores) in counts
        .iter()
        .rev()
        .chain(&counts)
        .cycle()
        .take(8)
        .enumerate()
    {
        let node = start(&place, *cores);
        if *cores != before {
            let said = node.messages();
            let expected = format!("was written with {before} core");
            assert!(
                said.contains(&expected) && said.contains("is moved to"),
                "{said}"
            );
        }
        before = *cores;
        assert_eq!(usize::from(node.connect().hello().shard_count), *cores);
        told.verify(&node);
        told.fill(&node, &mut random, 100);
        told.verify(&node);
        match round % 2 {
            0 => node.stop(),
            _ => node.kill(),
        }
    }
    let directories = fs::read_dir(place.data()).unwrap();
    let left = directories.filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), before, "what was moved from is gone");
}

/// Bytes on disk of all files below a directory.
fn disk_bytes(path: &Path) -> u64 {
    // A file may be deleted while it is looked at.
    let Ok(metadata) = fs::metadata(path) else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.blocks() * 512;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| disk_bytes(&entry.path())).sum()
}

/// A start that will not come to its end.
fn start_to_end(data: &Path, cores: &str) -> Child {
    serve(data, &flags(cores))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether a move has begun and not ended, by the manifest.
fn is_moving(data: &Path) -> bool {
    let manifest = fs::read_to_string(data.join("MANIFEST"));
    manifest.is_ok_and(|manifest| manifest.contains("\"moving\""))
}

/// Puts as much as fills many segments.
fn fill_much(node: &Node, told: &mut Told, count: u64) {
    let keyspace = node.client().default_keyspace();
    for number in 0..count {
        let key = format!("much {number}");
        let value = vec![number as u8; 60_000];
        let written = keyspace.put(&key, &value).unwrap();
        told.keys.insert((0, key), (value, written.version, None));
    }
}

/// A disk that holds the data and some room must do: nobody can double a disk for a restart.
#[test]
fn moving_does_not_take_twice_the_disk() {
    if counts().len() < 2 {
        return skip("a second core");
    }
    let place = Place::new();
    let mut told = Told::default();
    let node = start(&place, 2);
    told.fill(&node, &mut Random::new(4), 300);
    fill_much(&node, &mut told, 2_500);
    let live: u64 = {
        let status = node.status();
        let shards = status["shards"].as_array().unwrap();
        shards
            .iter()
            .map(|shard| shard["live_bytes"].as_u64().unwrap())
            .sum()
    };
    node.stop();
    for cores in [1, 2] {
        let done = AtomicBool::new(false);
        let (peak, node) = thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut peak = 0;
                while !done.load(Ordering::Relaxed) {
                    peak = peak.max(disk_bytes(&place.data()));
                    thread::sleep(Duration::from_millis(1));
                }
                peak
            });
            let node = start(&place, cores);
            done.store(true, Ordering::Relaxed);
            (watch.join().unwrap(), node)
        });
        eprintln!("{live} bytes live, {peak} at most on disk while they moved to {cores}");
        // Each shard of both generations has a segment that is not full, and one is prepared when the node serves.
        assert!(peak < live * 3 / 2 + 6 * SEGMENT_LEN);
        told.verify(&node);
        node.stop();
    }
}

/// A start that is killed in the middle of a move, again and again, and is followed by one with another number.
#[test]
fn kills_in_the_middle_of_a_move_lose_nothing() {
    if counts().len() < 2 {
        return skip("a second core");
    }
    let counts = counts();
    let place = Place::new();
    let mut random = Random::new(5);
    let mut told = Told::default();
    let node = start(&place, 2);
    told.fill(&node, &mut random, 300);
    fill_much(&node, &mut told, 1_200);
    node.stop();
    let began = Instant::now();
    start(&place, 1).stop();
    let whole = began.elapsed();
    let (mut finished, mut cut) = (0, 0);
    for round in 0..12 {
        for _ in 0..1 + random.below(3) {
            let cores = counts[random.below(counts.len() as u64) as usize].to_string();
            let mut starting = start_to_end(&place.data(), &cores);
            // Anywhere in the start, or in the move if there is one.
            let mut longest = whole;
            if random.below(3) > 0 {
                let until = Instant::now() + whole;
                while !is_moving(&place.data()) && Instant::now() < until {
                    thread::sleep(Duration::from_millis(1));
                }
                longest = whole / 4;
            }
            thread::sleep(longest.mul_f64(random.below(1000) as f64 / 1000.0));
            starting.kill().unwrap();
            starting.wait().unwrap();
            match is_moving(&place.data()) {
                true => cut += 1,
                false => finished += 1,
            }
        }
        let cores = counts[round % counts.len()];
        let node = start(&place, cores);
        assert_eq!(usize::from(node.connect().hello().shard_count), cores);
        told.verify(&node);
        node.kill();
    }
    eprintln!("a move takes {whole:?}; {cut} kills came in the middle of one, {finished} not");
    assert!(cut > 0, "no kill came in the middle of a move");
}

/// What a move takes from its old place must be on disk in the new one, not in the page cache alone: a kill would never tell.
#[test]
fn power_losses_in_the_middle_of_a_move_lose_nothing() {
    if counts().len() < 2 {
        return skip("a second core");
    }
    let place = Place::new();
    let data = place.data();
    let Some(mut disk) = Disk::plug_in(&data) else {
        return;
    };
    let mut random = Random::new(7);
    let mut told = Told::default();
    let node = start(&place, 2);
    told.fill(&node, &mut random, 200);
    fill_much(&node, &mut told, 800);
    node.stop();
    let mut cut = 0;
    for round in 0..10 {
        let other = ["1", "2"][round % 2];
        let mut starting = start_to_end(&data, other);
        wait_until("the move has begun", || is_moving(&data));
        thread::sleep(Duration::from_micros(random.below(100_000)));
        disk.image().cut(&mut random);
        starting.kill().unwrap();
        starting.wait().unwrap();
        disk.plug_in_again();
        cut += u32::from(is_moving(&data));
        // Now and then with a number that is not the one that data was moving to.
        let node = start(&place, [1, 2, 2, 1][random.below(4) as usize]);
        told.verify(&node);
        node.stop();
        start(&place, [1, 2][round % 2]).stop();
    }
    eprintln!("{cut} of 10 power losses came in the middle of a move");
    assert!(cut > 0, "no power loss came in the middle of a move");
}

/// A disk that fills up in the middle of a move: the node says so, and goes on when there is room, with any number of cores.
#[test]
fn a_disk_that_is_full_in_the_middle_of_a_move_only_delays_it() {
    if counts().len() < 2 {
        return skip("a second core");
    }
    let place = Place::new();
    let data = place.data();
    let Some(disk) = Disk::plug_in(&data) else {
        return;
    };
    let mut told = Told::default();
    let node = start(&place, 2);
    told.fill(&node, &mut Random::new(6), 200);
    fill_much(&node, &mut told, 400);
    node.stop();
    let refused = |parts: &[&str]| {
        // Segments that don't fit into what an old one leaves.
        let flags = ["--cores", "1", "--segment-len", "64MiB"];
        let Err(failed) = place.try_start(serve(&data, &flags)) else {
            panic!("there was no room to move");
        };
        for part in parts {
            let messages = &failed.messages;
            assert!(messages.contains(part), "{part:?} is not in {messages}");
        }
    };
    // Before it has begun nothing ties the data to the other number.
    disk.image().leave_room(8 << 20);
    refused(&["over 2 shards", "moving it to 1", "--cores 2"]);
    disk.image().leave_room(1 << 30);
    let node = start(&place, 2);
    told.verify(&node);
    node.stop();
    let mut starting = start_to_end(&data, "1");
    wait_until("the move has begun", || is_moving(&data));
    starting.kill().unwrap();
    starting.wait().unwrap();
    disk.image().leave_room(1 << 20);
    refused(&["from 2 to 1", "disk is full", "Nothing is lost"]);
    disk.image().leave_room(1 << 30);
    let node = start(&place, 2);
    let said = node.messages();
    assert!(said.contains("was being moved from 2 cores to 1"), "{said}");
    told.verify(&node);
    node.stop();
}
