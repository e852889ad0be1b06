//! kill -9 in the middle of a pipelined load, again and again on the same data.

use std::thread;
use std::time::Duration;

use crate::support::load::Load;
use crate::support::node::Place;
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
