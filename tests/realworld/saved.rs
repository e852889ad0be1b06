//! Saved indexes, on real files: starts by them, and starts that must do without.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use corduroy_proto_wire::Status;

use crate::support::load::Load;
use crate::support::node::{Node, Place, serve};
use crate::support::random::Random;
use crate::support::wait_until;
use crate::support::wire::Wire;

const SHORT: [&str; 4] = ["--segment-len", "4MiB", "--value-len-max", "256KiB"];

/// The saved indexes that there are.
fn saved(place: &Place) -> Vec<PathBuf> {
    let shards = fs::read_dir(place.data()).unwrap();
    let shards = shards.map(|entry| entry.unwrap().path());
    let files = shards
        .filter(|path| path.is_dir())
        .flat_map(|shard| fs::read_dir(shard).unwrap())
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "sum"))
        .collect()
}

/// How many segments the node did not read when it started, and how many saved indexes it could not use.
fn told(node: &Node) -> (u64, u64) {
    let status = node.status();
    let shards = status["shards"].as_array().unwrap();
    let sum = |figure: &str| {
        let figures = shards
            .iter()
            .map(|shard| shard["start"][figure].as_u64().unwrap());
        figures.sum::<u64>()
    };
    (sum("from_saved_indexes"), sum("bad_saved_indexes"))
}

/// What happens to saved indexes between a kill and the next start.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Deleted,
    /// In one of the parts of each a bit turns over.
    Flipped,
    Cut,
    /// Each gets the content of another.
    Mixed,
}

fn befall(fate: Fate, files: &[PathBuf], random: &mut Random) {
    match fate {
        Fate::Kept => {}
        Fate::Deleted => files.iter().for_each(|path| fs::remove_file(path).unwrap()),
        Fate::Flipped => {
            for (number, path) in files.iter().enumerate() {
                let file = fs::File::options()
                    .read(true)
                    .write(true)
                    .open(path)
                    .unwrap();
                let len = file.metadata().unwrap().len();
                // The magic, the version, the header's fields, its reserved part; the body's table, its records and its last byte.
                let places = [0, 8, 40, 90, 200, 260, len / 2, len - 1, random.below(len)];
                let at = places[number % places.len()];
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 1 << (at % 8)], at).unwrap();
            }
        }
        Fate::Cut => {
            for path in files {
                let file = fs::File::options().write(true).open(path).unwrap();
                let len = file.metadata().unwrap().len();
                file.set_len(random.below(len)).unwrap();
            }
        }
        Fate::Mixed => {
            let contents: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
            for (number, path) in files.iter().enumerate() {
                fs::write(path, &contents[(number + 1) % contents.len()]).unwrap();
            }
        }
    }
}

/// A start by saved indexes must come to what a start that reads everything comes to, after any kill, whatever has become of them: one that
/// trusted a damaged one, or one of another segment, would lose acknowledged keys or show old values.
#[test]
fn acknowledged_writes_survive_kill_9_whatever_becomes_of_saved_indexes() {
    let place = Place::new();
    // The load overwrites: with compaction there would be about as many segments in each round.
    let flags = [&SHORT[..], &["--compaction", "no"]].concat();
    let mut random = Random::new(11);
    let mut load = Load::new(11, 2, 4);
    let fates = [
        Fate::Kept,
        Fate::Flipped,
        Fate::Deleted,
        Fate::Kept,
        Fate::Mixed,
        Fate::Cut,
        Fate::Kept,
    ];
    for (round, fate) in fates.into_iter().enumerate() {
        let node = place.start(&flags);
        let address = node.address();
        let found = load.verify(address);
        let before = saved(&place).len();
        load.run(address, |progress| {
            progress.wait_for(20_000);
            wait_until("more segments have a saved index", || {
                saved(&place).len() >= before.max(2) + 2
            });
            node.kill();
        });
        load.expect_refused_only(&[]);
        let files = saved(&place);
        befall(fate, &files, &mut random);
        let node = place.start(&flags);
        let (used, bad) = told(&node);
        let count = files.len() as u64;
        eprintln!(
            "round {round}: {fate:?}, {count} saved indexes, {used} used, {bad} bad; {found:?}"
        );
        match fate {
            // One may be of a segment that is the last: the kill came before the next one was begun.
            Fate::Kept => assert!(used + 2 >= count && used > 0, "{used} of {count} are used"),
            Fate::Deleted => assert_eq!((used, bad), (0, 0)),
            Fate::Flipped | Fate::Cut | Fate::Mixed => assert_eq!((used, bad), (0, count)),
        }
        load.verify(node.address());
        // They come back by themselves.
        wait_until("every left segment has a saved index again", || {
            let status = node.status();
            let shards = status["shards"].as_array().unwrap();
            let sum = |figure: &str| -> u64 {
                let figures = shards.iter().map(|shard| shard[figure].as_u64());
                figures.map(Option::unwrap).sum()
            };
            // Bad ones lie where the new ones will.
            let are_anew = sum("saved_indexes") >= bad;
            are_anew && saved(&place).len() as u64 + shards.len() as u64 >= sum("segments")
        });
        node.stop();
        let node = place.start(&flags);
        assert!(
            told(&node).0 > 0,
            "a clean stop leaves them in their places"
        );
        load.verify(node.address());
        node.kill();
    }
}

/// Turns a bit over in the value of a key; answers where in the file the key is.
pub(crate) fn damage_value_of(key: &[u8], segment: &Path) -> usize {
    let mut bytes = fs::read(segment).unwrap();
    let at = bytes.windows(key.len()).position(|bytes| bytes == key);
    let at = at.expect("the key is in this segment");
    bytes[at + 50] ^= 1;
    fs::write(segment, &bytes).unwrap();
    at
}

/// A read of the key is an error that names the first segment.
pub(crate) fn expect_damaged(wire: &mut Wire, key: &[u8]) {
    let id = wire.queue_get(key);
    let damaged = wire.answer(id);
    assert_eq!(damaged.status, Status::Damaged, "{damaged:?}");
    assert!(damaged.text().contains("0000000000000001"), "{damaged:?}");
}

/// What is damaged inside of a segment that is not read at the start is found when it is read: an error that names the place, and never other
/// bytes. A start with salvage reads everything, and then the damage is covered.
#[test]
fn damage_behind_a_saved_index_is_found_by_reads_and_by_salvage() {
    let place = Place::new();
    // The least memory, so that old records are read from disk.
    let flags = [&SHORT[..], &["--cores", "1", "--memory", "64MiB"]].concat();
    let key = |number: u32| format!("key {number:06}").into_bytes();
    let value = [b'v'; 2_000];
    let count = 10_000;
    let node = place.start(&flags);
    let mut wire = node.connect();
    for number in 0..count {
        wire.put(&key(number), &value);
    }
    wait_until("several segments have a saved index", || {
        saved(&place).len() >= 3
    });
    node.kill();
    let segment = place.data().join("shard-000/0000000000000001.seg");
    damage_value_of(&key(7), &segment);

    let node = place.start(&flags);
    assert!(told(&node).0 >= 3);
    let mut wire = node.connect();
    expect_damaged(&mut wire, &key(7));
    for number in (0..count).filter(|number| *number != 7).step_by(97) {
        assert_eq!(wire.get(&key(number)).as_deref(), Some(&value[..]));
    }
    node.kill();

    // Without its saved index the segment is read, and the start says what is wrong with it.
    fs::remove_file(segment.with_extension("sum")).unwrap();
    let Err(failed) = place.try_start(serve(&place.data(), &flags)) else {
        panic!("the node started");
    };
    assert!(
        failed.messages.contains("0000000000000001.seg"),
        "{failed:?}"
    );
    let salvage = [&flags[..], &["--salvage"]].concat();
    let node = place.start(&salvage);
    assert_eq!(told(&node).0, 0, "salvage reads everything");
    let mut wire = node.connect();
    assert_eq!(wire.get(&key(7)), None);
    assert_eq!(wire.get(&key(count - 1)).as_deref(), Some(&value[..]));
    node.stop();
    place.start(&flags).stop();
}

/// A start serves at once and takes older segments into memory behind it, as far as they fit: then nothing is read from disk any more.
#[test]
fn older_segments_come_back_into_memory() {
    let place = Place::new();
    let key = |number: u32| format!("key {number:06}").into_bytes();
    let value = |number: u32| vec![number as u8; 1_500];
    let flags = [&SHORT[..], &["--cores", "1", "--memory", "256MiB"]].concat();
    let node = place.start(&flags);
    let mut wire = node.connect();
    let count = 10_000;
    for number in 0..count {
        wire.put(&key(number), &value(number));
    }
    // And a value that is kept apart.
    let large = vec![b'l'; 250_000];
    wire.put(b"large", &large);
    drop(wire);
    node.stop();
    let node = place.start(&flags);
    wait_until("the log is in memory", || {
        let shard = &node.status()["shards"][0];
        shard["is_warming"] == false && shard["tail_bytes"].as_u64().unwrap() > 10 << 20
    });
    let before = node.status()["shards"][0]["cold_reads"].as_u64();
    let mut wire = node.connect();
    for number in 0..count {
        assert_eq!(wire.get(&key(number)), Some(value(number)));
    }
    assert_eq!(wire.get(b"large"), Some(large));
    let shard = &node.status()["shards"][0];
    assert_eq!(shard["cold_reads"].as_u64(), before);
    assert_eq!(shard["load_failures"], 0);
    assert_eq!(shard["saved_index_failures"], 0);
    node.stop();
}
