//! The background scrub: it reads everything, names what is not as it was written, and disturbs nobody.

use super::{World, config};
use crate::limits;
use crate::shard::ShardConfig;
use crate::storage::disk::DiskOperation;
use crate::storage::format::SEGMENT_HEADER_LEN;
use crate::types::{MonoNanos, SegmentId, WallMillis};

const PERIOD_MS: u64 = 10_000;

/// A log of several segments, all that is older than the last ones on disk alone. The clock stands where a period begins.
fn world(compacts: bool) -> World {
    let mut world = World::with(ShardConfig {
        compacts,
        scrub_period_ns: Some(PERIOD_MS * 1_000_000),
        memory_bytes: 1 << 20,
        ..config()
    });
    world.now.wall = WallMillis(PERIOD_MS * 1000);
    for number in 0..40 {
        let key = format!("key {number}");
        world.put(key.as_bytes(), &vec![b'v'; 90_000]);
    }
    world
}

impl World {
    /// Time goes by in steps of a millisecond.
    fn go_by(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now.mono = MonoNanos(self.now.mono.0 + 1_000_000);
            self.now.wall = WallMillis(self.now.wall.0 + 1);
            self.settle();
        }
    }

    /// Until a pass over everything has ended.
    fn scrub_all(&mut self) {
        let passes = self.shard.status().scrub.passes;
        for _ in 0..4 * PERIOD_MS {
            self.go_by(1);
            if self.shard.status().scrub.passes > passes {
                return;
            }
        }
        panic!("no pass has ended: {:?}", self.shard.status().scrub);
    }

    fn rot(&mut self, segment: u64, at: usize) {
        let file = self.files.get_mut(&SegmentId(segment));
        file.expect("such a segment")[at] ^= 4;
    }

    fn findings(&self) -> Vec<(String, u64)> {
        let scrub = self.shard.status().scrub;
        let places = scrub.damage.into_iter();
        places.map(|place| (place.file, place.offset)).collect()
    }
}

/// A log that is as it was written is read whole, and nothing is said of it.
#[test]
fn an_undamaged_log_passes() {
    let mut world = world(false);
    world.scrub_all();
    let before = world.shard.status().scrub;
    world.scrub_all();
    let after = world.shard.status().scrub;
    let log_len: u64 = world
        .shard
        .log
        .segments()
        .map(|segment| SEGMENT_HEADER_LEN as u64 + segment.end.0 - segment.base.0)
        .sum();
    assert_eq!(after.bytes - before.bytes, log_len, "all of it is read");
    assert!(after.last_pass_ended_ms > before.last_pass_ended_ms);
    assert_eq!((after.damage_found, after.damage), (0, vec![]));
    assert!(world.shard.take_scrub_news().is_empty());
}

/// The disk turns bits over in what nobody reads. Each place is named with its file and offset, told once, and counted again in the next pass; the
/// shard goes on as if nothing were.
#[test]
fn rot_is_found_and_named() {
    let mut world = world(false);
    // A value, what is dead by now, and a segment's header.
    world.rot(1, SEGMENT_HEADER_LEN + 50_000);
    for number in 20..25 {
        world.put(format!("key {number}").as_bytes(), b"newer");
    }
    let dead = SegmentId(2);
    let at = world.files[&dead].len() / 2;
    world.rot(dead.0, at);
    world.rot(3, 20);
    world.scrub_all();
    let found = world.findings();
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        found[0],
        ("0000000000000001.seg".to_owned(), SEGMENT_HEADER_LEN as u64)
    );
    assert_eq!(found[1].0, "0000000000000002.seg");
    assert!(found[1].1 <= at as u64 && found[1].1 + 100_000 > at as u64);
    assert_eq!(found[2], ("0000000000000003.seg".to_owned(), 0));
    let mut news = world.shard.take_scrub_news();
    news.sort_by_key(|place| place.file.clone());
    assert_eq!(news, world.shard.status().scrub.damage);

    // The first pass after a start begins somewhere in the middle, so some was counted twice by now.
    let before = world.shard.status().scrub.damage_found;
    world.scrub_all();
    assert_eq!(world.findings(), found);
    assert_eq!(world.shard.status().scrub.damage_found, before + 3);
    assert!(world.shard.take_scrub_news().is_empty(), "it is told once");
    assert_eq!(world.shard.status().writes_refused, None);
    world.put(b"key 1", b"the shard takes writes");
    assert_eq!(world.get(b"key 39").value, Some(vec![b'v'; 90_000]));
}

/// A disk that can't read a piece is as bad as one that reads it wrongly; the rest is read all the same. So is a file that has lost its end.
#[test]
fn unreadable_pieces_are_named_and_passed_over() {
    let mut world = world(false);
    world.scrub_all();
    let is_first = |operation: &DiskOperation| matches!(operation, DiskOperation::Read { segment, offset: 0, .. } if *segment == SegmentId(1));
    while !world.queue.iter().any(|(_, operation)| is_first(operation)) {
        world.now.mono = MonoNanos(world.now.mono.0 + 1_000_000);
        world.end_turn();
    }
    world.fail(is_first, libc::EIO);
    let short = SEGMENT_HEADER_LEN + 300_000;
    let file = world.files.get_mut(&SegmentId(2));
    file.expect("such a segment").truncate(short);
    world.scrub_all();
    let found = world.findings();
    assert_eq!(found[0], ("0000000000000001.seg".to_owned(), 0));
    assert!(found.len() > 1, "{found:?}");
    for (file, offset) in &found[1..] {
        assert_eq!(file, "0000000000000002.seg");
        assert!(*offset + limits::SCRUB_PIECE_BYTES > short as u64);
    }
}

/// Compaction removes a segment while a pass is in the middle of it: neither waits for the other for longer than a read takes, and nothing is found.
#[test]
fn a_segment_goes_in_the_middle_of_a_pass() {
    let mut world = world(true);
    world.scrub_all();
    let at = |world: &World| world.shard.status().scrub.segment;
    while at(&world) != Some(2) {
        world.go_by(1);
    }
    // One more piece of it is asked for, and not read yet.
    let asks = |world: &World| {
        let mut queue = world.queue.iter();
        queue.any(|(_, operation)| matches!(operation, DiskOperation::Read { segment, .. } if *segment == SegmentId(2)))
    };
    while !asks(&world) {
        world.now.mono = MonoNanos(world.now.mono.0 + 1_000_000);
        world.end_turn();
    }
    let held = world.queue.remove(0);
    for number in 0..40 {
        world.put(format!("key {number}").as_bytes(), b"newer");
    }
    world.go_by(1000);
    let is_there = |world: &World| world.shard.log.end_of(SegmentId(2)).is_some();
    assert!(is_there(&world), "a segment that is being read stays");
    world.queue.push(held);
    world.go_by(1000);
    assert!(!is_there(&world), "it goes when the read is done");
    world.scrub_all();
    assert!(world.findings().is_empty());
}

/// The pieces of a pass are spread over its period: a client that reads meanwhile finds the disk idle nearly always.
#[test]
fn a_pass_takes_its_period() {
    let mut world = world(false);
    world.scrub_all();
    world.scrub_all();
    let start = world.now.mono.0;
    let before = world.shard.status().scrub.bytes;
    world.scrub_all();
    let took_ms = (world.now.mono.0 - start) / 1_000_000;
    assert!(took_ms > PERIOD_MS * 9 / 10, "{took_ms} ms");
    let whole = world.shard.status().scrub.bytes - before;
    let before = world.shard.status().scrub.bytes;
    world.go_by(PERIOD_MS / 2);
    let half = world.shard.status().scrub.bytes - before;
    assert!(
        (half as i64 - whole as i64 / 2).unsigned_abs() <= 2 * limits::SCRUB_PIECE_BYTES,
        "{half} of {whole} bytes in half of the period"
    );
}

/// A node that is restarted more often than the period goes by would check the beginning of its log for ever.
#[test]
fn restarts_do_not_keep_it_from_the_end() {
    let mut world = world(false);
    let rotten = [1, 2];
    for segment in rotten {
        world.rot(segment, SEGMENT_HEADER_LEN + 200_000);
    }
    let mut found = std::collections::BTreeSet::new();
    for _ in 0..22 {
        world.go_by(PERIOD_MS / 10);
        found.extend(world.findings().into_iter().map(|(file, _)| file));
        world = world.restart();
    }
    assert_eq!(found.len(), rotten.len(), "{found:?}");
}
