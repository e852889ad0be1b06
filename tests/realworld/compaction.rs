//! Overwrites far beyond the live data, with kill -9: the files stay within the promised bound, and nothing that was acknowledged is lost.

use std::fs;
use std::path::Path;

use crate::support::load::Load;
use crate::support::node::{Node, Place};
use crate::support::random::Random;
use crate::support::wait_until;

const SEGMENT_LEN: u64 = 4 << 20;
const FLAGS: [&str; 8] = [
    "--compaction",
    "yes",
    "--sync",
    "never",
    "--segment-len",
    "4MiB",
    "--value-len-max",
    "256KiB",
];

/// Bytes of all files below a directory.
fn size_of(path: &Path) -> u64 {
    // A file may be deleted while it is looked at.
    let Ok(metadata) = fs::metadata(path) else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size_of(&entry.path())).sum()
}

fn sum(node: &Node, figure: &str) -> u64 {
    let status = node.status();
    let shards = status["shards"].as_array().unwrap();
    shards
        .iter()
        .map(|shard| shard[figure].as_u64().unwrap())
        .sum()
}

/// A log that is only appended to fills every disk. Here several times the bound is written, in lives that all end with kill -9; after each the files
/// come back under one and a half times what lives and two segments a shard, whatever compaction was at when the node died.
#[test]
fn overwrites_and_kills_stay_within_the_bound() {
    let place = Place::new();
    let mut random = Random::new(11);
    let mut load = Load::new(11, 2, 4);
    let (mut written, mut copied, mut removed) = (0, 0, 0);
    for round in 0..6 {
        let node = place.start(&FLAGS);
        load.verify(node.address());
        let more = 100_000 + random.below(100_000);
        load.run(node.address(), |progress| {
            progress.wait_for(more);
            written += sum(&node, "block_bytes");
            copied += sum(&node, "copied_bytes");
            removed += sum(&node, "segments_removed");
            node.kill();
        });
        load.expect_refused_only(&[]);
        eprintln!(
            "round {round}: {written} bytes written so far, {copied} of them copied, {removed} segments removed"
        );
    }
    let node = place.start(&FLAGS);
    load.verify(node.address());
    let shards = node.status()["shards"].as_array().unwrap().len() as u64;
    let live = sum(&node, "live_bytes");
    let bound = live * 3 / 2 + 2 * SEGMENT_LEN * shards + sum(&node, "stubs") * 4096 + (1 << 20);
    assert!(
        written > 3 * bound,
        "{written} bytes were written, the bound is {bound}"
    );
    assert!(removed > 0);
    wait_until("the files are within the bound", || {
        size_of(&place.data()) <= bound
    });
    eprintln!(
        "{live} bytes live, files of {}, bound {bound}; write amplification {:.2}",
        size_of(&place.data()),
        written as f64 / (written - copied) as f64
    );
    node.stop();
}
