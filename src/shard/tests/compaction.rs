//! Compaction: what is dead goes, what lives stays, and nothing comes back that is gone.

use std::collections::BTreeMap;

use corduroy_proto_wire::{Request, Status};

use super::{World, config, delete, get, put, put_ttl};
use crate::shard::{ShardCommand, ShardReply};
use crate::storage::disk::DiskOperation;
use crate::types::{KeyspaceId, MonoNanos, SegmentId, WallMillis};

impl World {
    /// Writes until the log goes on in the next segment.
    fn fill_segment(&mut self) {
        let active = self.shard.log.active();
        let filler = vec![b'f'; 50_000];
        while self.shard.log.active() == active {
            self.put(b"filler", &filler);
        }
    }

    /// Compacts all that is worth it.
    fn compact(&mut self) {
        self.command(ShardCommand::Compact);
        self.settle();
        let answer = self.inbox.internal.pop();
        assert!(matches!(answer, Some(ShardReply::Done)), "{answer:?}");
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now.mono = MonoNanos(self.now.mono.0 + ms * 1_000_000);
        self.now.wall = WallMillis(self.now.wall.0 + ms);
        self.settle();
    }

    /// Long enough for the shard to think that nothing is asked of it.
    fn let_time_pass(&mut self) {
        self.now.mono = MonoNanos(self.now.mono.0 + crate::limits::COMPACT_IDLE_NS);
    }

    fn flush(&mut self) {
        let keyspace = KeyspaceId::DEFAULT;
        self.command(ShardCommand::Flush { keyspace });
        self.settle();
        self.inbox.internal.clear();
    }

    /// What a restart finds, before it does anything.
    fn restart_without_a_turn(&self) -> World {
        self.restarted(false)
    }

    fn status_for(&mut self, key: &[u8]) -> Status {
        self.get(key).status
    }

    /// Bytes of deletes and clears in sealed segments.
    fn tombstones(&self) -> u64 {
        let sealed = self.shard.log.sealed_segments();
        sealed.map(|segment| segment.tombstones).sum()
    }

    pub(super) fn hold_first(&mut self) {
        self.holds_first = true;
        let _ = self.shard.log.hold(SegmentId(1)..=SegmentId(1));
    }

    fn has_first(&self) -> bool {
        let mut sealed = self.shard.log.sealed_segments();
        sealed.any(|segment| segment.id == SegmentId(1))
    }
}

/// A log that is only appended to grows for ever. What lives must survive all of this with its version, large values and cold ones too, and be
/// found after a start.
#[test]
fn what_lives_stays_and_the_rest_goes() {
    for memory_bytes in [64 << 20, 1 << 20] {
        let mut world = World::with(crate::shard::ShardConfig {
            memory_bytes,
            ..config()
        });
        let mut model = BTreeMap::new();
        for round in 0..30_u8 {
            for number in 0..12_u32 {
                // Some are written once and grow cold; some are large.
                if number < 3 && round > 0 {
                    continue;
                }
                let key = format!("key {number}").into_bytes();
                let value = vec![round; 100 + number as usize * 3000];
                let version = world.put(&key, &value).version;
                model.insert(key, (value, version));
            }
        }
        let before = world.shard.status();
        world.compact();
        let after = world.shard.status();
        assert!(after.segments_removed > 0 && after.reclaimed_bytes > 0);
        assert!(after.segments < before.segments || before.segments_removed > 0);
        assert!(
            after.segments <= 3,
            "{} segments for {} bytes that live",
            after.segments,
            after.live_bytes
        );
        let mut world = world.restart();
        for (key, (value, version)) in &model {
            let answer = world.get(key);
            assert_eq!(answer.value.as_ref(), Some(value));
            assert_eq!(answer.version, *version, "a copy is no new version");
        }
        assert_eq!(world.shard.status().live_bytes, after.live_bytes);
    }
}

/// The old value is in a segment that stays, the delete is in one that goes: were the delete dropped, the next start would bring the value back.
#[test]
fn a_deleted_key_stays_gone_while_its_old_record_is_there() {
    let mut world = World::new();
    world.hold_first();
    world.put(b"k", b"old");
    world.fill_segment();
    world.ask(&delete(b"k"));
    world.fill_segment();
    for round in 0..3 {
        world.compact();
        assert!(world.has_first());
        world.fill_segment();
        world = world.restart();
        assert_eq!(world.status_for(b"k"), Status::NotFound, "round {round}");
    }
    // Nothing holds the old segment now: it goes, and then the delete may.
    world.holds_first = false;
    let mut world = world.restart();
    world.compact();
    world.fill_segment();
    world.compact();
    assert!(!world.has_first());
    assert_eq!(world.tombstones(), 0, "deletes are not kept for ever");
    let mut world = world.restart();
    assert_eq!(world.status_for(b"k"), Status::NotFound);
}

/// A value without an expiry, then one with; when that one's time has passed, nothing is logged. Its record is all that hides the older one.
#[test]
fn an_expired_record_that_goes_does_not_uncover_an_older_one() {
    let mut world = World::new();
    world.hold_first();
    world.put(b"k", b"for ever");
    world.fill_segment();
    world.ask(&put_ttl(b"k", b"for a while", 1000));
    world.fill_segment();
    world.pass_ms(2000);
    world.compact();
    assert!(world.has_first());
    let mut world = world.restart();
    assert_eq!(world.status_for(b"k"), Status::NotFound);
    // It may be written again, and that stays.
    world.put(b"k", b"new");
    world.fill_segment();
    world.compact();
    let mut world = world.restart();
    assert_eq!(world.get(b"k").value, Some(b"new".to_vec()));
}

/// A flush is one record a partition. Copied behind what was written after it, it must not take that away, and still take away what was before.
#[test]
fn a_flush_that_is_copied_takes_what_was_before_it_and_nothing_else() {
    let mut world = World::new();
    world.hold_first();
    for number in 0..20 {
        world.put(format!("old {number}").as_bytes(), b"v");
    }
    world.fill_segment();
    world.flush();
    for number in 0..20 {
        world.put(format!("new {number}").as_bytes(), b"v");
    }
    world.fill_segment();
    // What was flushed is counted out at once, after a start too.
    let live = world.shard.log.live_bytes();
    let restarted = world.restart_without_a_turn();
    assert_eq!(restarted.shard.log.live_bytes(), live);
    for _ in 0..3 {
        world.compact();
        assert!(world.has_first());
        world.fill_segment();
        world = world.restart();
        for number in 0..20 {
            let old = format!("old {number}");
            assert_eq!(world.status_for(old.as_bytes()), Status::NotFound);
            let new = format!("new {number}");
            assert_eq!(world.status_for(new.as_bytes()), Status::Ok);
        }
        let count = world.shard.count(KeyspaceId::DEFAULT);
        assert_eq!(count, 21, "the filler is the last");
    }
}

/// A client may rely on a version that it was told: after a start the next one must be higher, though the record that had it is gone from the disk,
/// and so is every other record of its partition.
#[test]
fn versions_grow_though_the_highest_went() {
    let mut world = World::new();
    let mut version = 0;
    for _ in 0..50 {
        version = world.put(b"k", b"v").version;
    }
    let last = world.ask(&delete(b"k")).version.max(version + 1);
    world.fill_segment();
    world.compact();
    assert!(!world.has_first());
    for _ in 0..2 {
        world = world.restart();
        world.fill_segment();
        world.compact();
    }
    assert!(world.put(b"k", b"v").version > last);
}

/// A write that came before the copy and is committed after it was looked at, or the other way round: whatever the order, the write stands, and whoever
/// only reads a key that is being copied doesn't wait for the disk.
#[test]
fn a_write_stands_whenever_its_key_is_copied() {
    // From memory, and from the disk: then who reads a key sees the copy, for the record itself is on disk alone.
    for memory_bytes in [64 << 20, 1 << 20] {
        write_while_copying(memory_bytes);
    }
}

fn write_while_copying(memory_bytes: u64) {
    let mut world = World::with(crate::shard::ShardConfig {
        memory_bytes,
        ..config()
    });
    world.hold_first();
    for number in 0..10 {
        world.put(format!("k {number}").as_bytes(), &[b'o'; 3000]);
    }
    world.fill_segment();
    world.fill_segment();
    // What holds it is gone from here on.
    world.holds_first = false;
    let mut world = world.restart_without_a_turn();
    let mut staged_at = None;
    for turn in 0..200 {
        if staged_at.is_none() {
            // Before the copies are staged.
            world.send_as(2, &put(b"k 0", b"early"));
        }
        world.let_time_pass();
        world.end_turn();
        if staged_at.is_none() && world.shard.compaction.uncommitted_copies() > 0 {
            staged_at = Some(turn);
            let read = world.send_as(3, &get(b"k 9"));
            let answer = &world.inbox.answers[&read];
            assert_eq!(answer.value, Some(vec![b'o'; 3000]), "answered at once");
            // After it.
            world.send_as(2, &put(b"k 9", b"late"));
        }
        world.step();
    }
    world.settle();
    assert!(staged_at.is_some() && !world.has_first());
    let check = |world: &mut World| {
        assert_eq!(world.get(b"k 0").value, Some(b"early".to_vec()));
        assert_eq!(world.get(b"k 9").value, Some(b"late".to_vec()));
        assert_eq!(world.get(b"k 8").value, Some(vec![b'o'; 3000]));
    };
    check(&mut world);
    check(&mut world.restart());
}

/// The process may die at any moment of it.
#[test]
fn a_death_between_any_two_steps_loses_nothing_and_brings_nothing_back() {
    let mut world = World::new();
    world.hold_first();
    for number in 0..20 {
        world.put(format!("flushed {number}").as_bytes(), b"v");
    }
    world.put(b"deleted", b"v");
    world.put(b"expired", b"v");
    world.fill_segment();
    world.flush();
    world.put(b"deleted", b"again");
    world.put(b"lives", b"v");
    world.fill_segment();
    world.ask(&put_ttl(b"expired", b"v", 1000));
    world.ask(&delete(b"deleted"));
    world.fill_segment();
    world.pass_ms(2000);
    let check = |world: &World| {
        let mut world = world.restart();
        assert_eq!(world.get(b"lives").value, Some(b"v".to_vec()));
        assert_eq!(world.status_for(b"filler"), Status::Ok);
        for gone in ["deleted", "expired", "flushed 0", "flushed 19"] {
            assert_eq!(
                world.status_for(gone.as_bytes()),
                Status::NotFound,
                "{gone}"
            );
        }
        assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 2);
    };
    let (mut steps, mut removals) = (0, 0);
    for round in 0..4 {
        // At first the oldest segment stays, and what is copied hides what is in it.
        world.holds_first = round < 2;
        world = world.restart_without_a_turn();
        world.command(ShardCommand::Compact);
        loop {
            world.let_time_pass();
            world.end_turn();
            check(&world);
            steps += 1;
            let mut queued = world.queue.iter();
            let removes = |(_, operation): &(_, DiskOperation)| {
                matches!(operation, DiskOperation::Remove { .. })
            };
            removals += u32::from(queued.any(removes));
            if !world.step() && !world.shard.has_slices() {
                break;
            }
        }
        world.fill_segment();
    }
    assert!(
        steps >= 10 && removals >= 2,
        "{steps} steps, {removals} removals"
    );
    assert!(world.shard.log.statistics().stubs > 0);
}

/// With `--sync interval` a newer record may be committed and not on disk. Its older one must not go before that, or a power loss takes both.
#[test]
fn a_segment_goes_only_when_what_made_it_dead_is_on_disk() {
    let mut world = World::with(crate::shard::ShardConfig {
        sync: crate::shard::SyncMode::Interval {
            nanos: 1_000_000_000_000,
        },
        ..config()
    });
    world.hold_first();
    world.put(b"k", b"old");
    world.fill_segment();
    world.holds_first = false;
    let mut world = world.restart_without_a_turn();
    world.send(&put(b"k", b"new"));
    let mut removals = 0;
    loop {
        world.let_time_pass();
        world.end_turn();
        for (_, operation) in &world.queue {
            if matches!(operation, DiskOperation::Remove { .. }) {
                removals += 1;
                assert_eq!(world.shard.pipeline.durable, world.shard.log.end());
            }
        }
        if !world.step() && !world.shard.has_slices() {
            break;
        }
    }
    assert!(removals > 0);
}

/// A segment whose file has rotted is left alone, said so, and the others are compacted; what lives in it and can be read stays readable.
#[test]
fn a_segment_that_can_not_be_read_is_left_alone() {
    let mut world = World::with(crate::shard::ShardConfig {
        memory_bytes: 1 << 20,
        ..config()
    });
    world.hold_first();
    world.put(b"k", b"v");
    world.fill_segment();
    world.put(b"other", b"v");
    for _ in 0..4 {
        world.fill_segment();
    }
    // Its index is saved before it rots.
    world.pass_ms(1000);
    world.holds_first = false;
    let mut world = world.restart_without_a_turn();
    world.files.get_mut(&SegmentId(1)).expect("it is held")[100_000] ^= 1;
    world.settle();
    world.compact();
    assert!(world.has_first());
    let status = world.shard.status();
    assert_eq!(status.segments_left_alone, 1);
    let error = status.compaction_error.expect("it is told");
    assert!(error.contains(&SegmentId(1).to_string()), "{error}");
    assert_eq!(world.get(b"k").value, Some(b"v".to_vec()));
    assert_eq!(world.get(b"other").value, Some(b"v".to_vec()));
}

/// A summary costs a read of the whole segment, and under overwrites a segment is gone soon: it would be made for nothing. What is still there
/// when clients are quiet gets one all the same.
#[test]
fn what_is_overwritten_is_not_summarised_first() {
    let mut world = World::new();
    for _ in 0..8 {
        world.fill_segment();
    }
    assert_eq!(world.shard.statistics.summaries_saved, 0);
    let value = vec![1; 50_000];
    let begin = world.shard.log.active();
    for number in 0.. {
        world.put(format!("lives {number}").as_bytes(), &value);
        let active = world.shard.log.active();
        if active
            .zip(begin)
            .is_some_and(|(active, begin)| active.0 > begin.0 + 5)
        {
            break;
        }
    }
    let written_by_load = world.shard.statistics.summaries_saved;
    assert!(written_by_load > 0, "what lives is saved under load too");
    world.pass_ms(1000);
    let saved = world.shard.statistics.summaries_saved;
    assert!(saved > written_by_load);
    assert_eq!(
        saved,
        world.summaries.len() as u64,
        "what was removed had none"
    );
}

/// A deadline that has passed asks for turn after turn: beside a removal that the disk is at, they would take the core from the thread that does it.
#[test]
fn a_shard_that_waits_for_its_disk_asks_for_no_turns() {
    let mut world = World::new();
    let filler = vec![b'f'; 50_000];
    let mut waited = false;
    for _ in 0..400 {
        world.send(&put(b"filler", &filler));
        loop {
            world.end_turn();
            if world.shard.compaction.is_removing() {
                waited = true;
                // It takes a while.
                world.now.mono.0 += 1_000_000_000;
                world.end_turn();
                assert!(!world.shard.has_slices());
                let deadline = world.shard.deadline(world.now);
                assert!(
                    deadline.is_none_or(|at| at > world.now.mono),
                    "{deadline:?} has passed"
                );
            }
            if !world.step() && !world.shard.has_slices() {
                break;
            }
        }
    }
    assert!(waited, "something is removed");
}

/// A keyspace's old records are dead when it is dropped, and need no deletes.
#[test]
fn a_dropped_keyspace_leaves_nothing() {
    let mut world = World::new();
    world.hold_first();
    world.shard.install(KeyspaceId(9), 4, "other");
    let value = [1; 2000];
    for number in 0..100 {
        let key = format!("k {number}");
        let mut request = put(key.as_bytes(), &value);
        if let Request::Put { keyspace, .. } = &mut request {
            *keyspace = 9;
        }
        assert_eq!(world.ask(&request).status, Status::Ok);
    }
    world.fill_segment();
    world.holds_first = false;
    let mut world = world.restart_without_a_turn();
    world.shard.install(KeyspaceId(9), 4, "other");
    let keyspace = KeyspaceId(9);
    world.command(ShardCommand::Remove { keyspace });
    world.settle();
    world.inbox.internal.clear();
    world.compact();
    assert!(!world.has_first());
    assert_eq!(world.tombstones(), 0);
}
