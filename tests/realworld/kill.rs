//! kill -9 in the middle of a pipelined load, again and again on the same data.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::support::load::Load;
use crate::support::needs;
use crate::support::node::{Place, written_behind};
use crate::support::random::Random;

/// Rounds that every run can afford, and rounds for a machine that has the night.
const ROUNDS: u64 = 8;
const ROUNDS_LONG: u64 = 300;

fn kill_and_verify(flags: &[&str], rounds: u64, seed: u64) {
    let place = Place::new();
    let mut random = Random::new(seed);
    let mut load = Load::new(seed, 2, 4);
    let mut doubtful = 0;
    for round in 0..rounds {
        let node = place.start(flags);
        let address = node.address();
        let found = load.verify(address);
        doubtful += found.doubtful;
        let more = 5_000 + random.below(40_000);
        let pause = Duration::from_micros(random.below(20_000));
        load.run(address, |progress| {
            progress.wait_for(more);
            // Not at an answer: anywhere between two of them.
            thread::sleep(pause);
            node.kill();
        });
        load.expect_refused_only(&[]);
        eprintln!("round {round}: {found:?}");
    }
    let node = place.start(flags);
    doubtful += load.verify(node.address()).doubtful;
    assert!(doubtful > 0, "no kill came while a write was on its way");
    node.stop();
}

/// The promise of the whole thing. A store that answers before the write is in the log, that takes a torn block for a whole one,
/// or that numbers versions anew after a restart passes every test that stops it politely.
#[test]
fn acknowledged_writes_survive_kill_9() {
    kill_and_verify(&["--sync", "always"], ROUNDS, 1);
}

/// The page cache outlives the process: only what the process itself holds back, in a buffer of its own, would be lost, and
/// `--sync never` must not be an excuse for that.
#[test]
fn kill_9_takes_nothing_even_without_syncing() {
    kill_and_verify(&["--sync", "never"], ROUNDS / 2, 2);
    kill_and_verify(&["--sync", "interval=50ms"], ROUNDS / 2, 3);
}

/// Where a shard's last writes are that are not in its log's file yet.
fn behind(place: &Place) -> PathBuf {
    written_behind(&fs::metadata(place.data().join("shard-000")).unwrap())
}

/// A node that was killed with writes that are nowhere but in `/dev/shm`, and the last of those writes.
fn killed_with_writes_behind(place: &Place) -> u32 {
    let sync = ["--sync", "never", "--cores", "1"];
    for _ in 0..50 {
        let node = place.start(&sync);
        let mut wire = node.connect();
        for number in 0..100u32 {
            wire.put(b"last", &number.to_le_bytes());
        }
        node.kill();
        let ring = fs::read(behind(place)).unwrap();
        let number = |at: usize| u64::from_ne_bytes(ring[at..at + 8].try_into().unwrap());
        if number(40) < number(48) {
            return 99;
        }
    }
    panic!("every kill came after all was written to the file");
}

/// Writes of the last ten milliseconds are nowhere but in memory that the kernel keeps. A start that doesn't look there loses what was acknowledged, and a
/// stop that leaves it there takes memory that nobody has.
#[test]
fn what_was_written_behind_comes_back_after_kill_9() {
    let place = Place::new();
    if !Path::new("/dev/shm").is_dir() {
        return needs::skip("/dev/shm");
    }
    let last = killed_with_writes_behind(&place);
    let node = place.start(&["--cores", "1"]);
    node.says("brought back what a killed node had not written");
    let found = node.connect().get(b"last").unwrap();
    assert_eq!(found, last.to_le_bytes());
    assert!(
        !behind(&place).exists(),
        "with --sync always nothing is written behind"
    );
    node.stop();
    let node = place.start(&["--sync", "interval=1s", "--cores", "1"]);
    node.connect().put(b"last", b"and more");
    assert!(behind(&place).exists());
    node.stop();
    assert!(
        !behind(&place).exists(),
        "a clean stop leaves nothing behind"
    );
}

/// A container that was killed and made anew has an empty `/dev/shm`. That costs ten milliseconds of writes, and nothing else.
#[test]
fn a_start_without_what_was_written_behind_has_what_is_older() {
    let place = Place::new();
    if !Path::new("/dev/shm").is_dir() {
        return needs::skip("/dev/shm");
    }
    let node = place.start(&["--sync", "never", "--cores", "1"]);
    node.connect().put(b"old", b"value");
    node.stop();
    killed_with_writes_behind(&place);
    fs::remove_file(behind(&place)).unwrap();
    let node = place.start(&["--cores", "1"]);
    let mut wire = node.connect();
    assert_eq!(wire.get(b"old").unwrap(), b"value");
    wire.put(b"new", b"value");
    node.stop();
}

/// Short segments, so that kills also come while one is sealed, prepared or begun.
#[test]
fn acknowledged_writes_survive_kill_9_between_segments() {
    let flags = [
        "--sync",
        "never",
        "--segment-len",
        "4MiB",
        "--value-len-max",
        "256KiB",
    ];
    kill_and_verify(&flags, ROUNDS / 2, 4);
}

/// A kill that hits the one bad instruction in a million takes many kills to find.
#[test]
#[ignore = "takes many minutes"]
fn acknowledged_writes_survive_hundreds_of_kills() {
    for (seed, sync) in (100..).zip(["always", "never", "interval=20ms"]) {
        kill_and_verify(&["--sync", sync], ROUNDS_LONG / 3, seed);
    }
}
