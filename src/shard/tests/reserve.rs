//! A full disk: what is kept for deletes, compaction and a clean stop.

use corduroy_proto_wire::{BatchItem, Condition, Delete, Request, Status};

use super::{KEYSPACE, World, config, delete, put};
use crate::shard::{ShardCommand, ShardConfig, ShardReply};
use crate::storage::disk::DiskOperation;
use crate::types::KeyspaceId;

static VALUE: [u8; 20_000] = [b'x'; 20_000];

impl World {
    /// As `settle`, on a disk with space for so many segments.
    fn settle_within(&mut self, space: &mut u64) {
        loop {
            self.end_turn();
            match self.queue.first().map(|(_, operation)| operation) {
                Some(DiskOperation::Prepare { .. }) if *space == 0 => self.fail(
                    |operation| matches!(operation, DiskOperation::Prepare { .. }),
                    libc::ENOSPC,
                ),
                Some(DiskOperation::Prepare { .. }) => {
                    *space -= 1;
                    self.step();
                }
                Some(DiskOperation::Remove { .. }) => {
                    *space += 1;
                    self.step();
                }
                Some(_) => {
                    self.step();
                }
                None if !self.shard.has_slices() => return,
                None => {}
            }
        }
    }

    fn ask_within(&mut self, space: &mut u64, request: &Request<'_>) -> (Status, String) {
        let number = self.send(request);
        self.settle_within(space);
        let answer = &self.inbox.answers[&number];
        (answer.status, answer.text.clone())
    }

    /// Puts new keys until they are refused; says how many were taken.
    fn fill_disk(&mut self, space: &mut u64) -> u32 {
        for number in 0.. {
            let key = format!("key {number}");
            match self.ask_within(space, &put(key.as_bytes(), &VALUE)) {
                (Status::Ok, _) => {}
                (Status::ReadOnly, text) if text.contains("disk full") => return number,
                other => panic!("{other:?}"),
            }
        }
        unreachable!("disks end")
    }
}

/// A world whose disk has space for a few segments, full of values that all live. A segment holds about fifty.
fn full() -> (World, u32) {
    let mut world = World::new();
    let taken = world.fill_disk(&mut 3);
    (world, taken)
}

/// A disk was full, and nothing could be deleted to make room, for a delete is a record too.
#[test]
fn what_fills_a_disk_can_be_deleted() {
    let (mut world, taken) = full();
    for number in 0..taken {
        let key = format!("key {number}");
        let (status, text) = world.ask_within(&mut 0, &delete(key.as_bytes()));
        assert_eq!(status, Status::Ok, "{text}");
        // And nothing else gets in between.
        let (status, _) = world.ask_within(&mut 0, &put(b"small", b"value"));
        assert_eq!(status, Status::ReadOnly);
    }
    assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 0);
    let mut again = world.restart();
    assert_eq!(again.shard.count(KeyspaceId::DEFAULT), 0);
    assert_eq!(again.put(b"small", b"value").status, Status::Ok);
}

#[test]
fn a_batch_of_deletes_and_a_flush_are_deletes() {
    let (mut world, _) = full();
    let item = |key| {
        BatchItem::Delete(Delete {
            key,
            condition: Condition::Always,
            return_value: false,
        })
    };
    let batch = Request::AtomicBatch {
        keyspace: KEYSPACE,
        items: vec![item(b"key 1")],
    };
    let (status, text) = world.ask_within(&mut 0, &batch);
    assert_eq!(status, Status::Ok, "{text}");
    world.command(ShardCommand::Flush {
        keyspace: KeyspaceId::DEFAULT,
    });
    world.settle_within(&mut 0);
    let answer = world.inbox.internal.pop();
    assert!(matches!(answer, Some(ShardReply::Done)), "{answer:?}");
    assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 0);
}

/// Deletes that went on for ever took the last bytes, and there was none left for the seal, nor for what compaction had to keep of a segment.
#[test]
fn deletes_leave_room_for_compaction_and_a_clean_stop() {
    let mut world = World::new();
    // Deletes of such keys are as long as puts.
    let key = |number: u32| format!("{number:0>20000}").into_bytes();
    let is_taken = |status| match status {
        Status::Ok => true,
        Status::ReadOnly => false,
        other => panic!("{other:?}"),
    };
    let (mut space, mut taken) = (2, 0);
    while is_taken(world.ask_within(&mut space, &put(&key(taken), b"v")).0) {
        taken += 1;
    }
    let mut deleted = 0;
    while is_taken(world.ask_within(&mut space, &delete(&key(deleted))).0) {
        deleted += 1;
    }
    assert!((10..taken).contains(&deleted), "{deleted} of {taken}");
    assert!(world.shard.log.room() >= world.shard.log.capacity() / 8);
    world.shard.stop();
    world.settle_within(&mut space);
    assert!(world.shard.is_stopped() && world.shard.is_sealed());
}

/// Service has to come back by itself: what is deleted makes room, though nobody frees space and no segment is wholly dead.
#[test]
fn compaction_makes_room_on_a_full_disk() {
    let (mut world, taken) = full();
    let mut space = 0;
    for number in (0..taken).filter(|number| number % 5 < 3) {
        let key = format!("key {number}");
        world.ask_within(&mut space, &delete(key.as_bytes()));
    }
    for _ in 0..50 {
        world.now.mono.0 += 500_000_000;
        world.settle_within(&mut space);
    }
    assert!(
        world.shard.status().segments_removed > 0,
        "{:?}",
        world.shard.status()
    );
    let (status, text) = world.ask_within(&mut space, &put(b"new", &VALUE));
    assert_eq!(status, Status::Ok, "{text}");
    for number in (0..taken).filter(|number| number % 5 >= 3) {
        let key = format!("key {number}");
        assert_eq!(world.get(key.as_bytes()).value.as_deref(), Some(&VALUE[..]));
    }
}

/// A value longer than what a segment may be filled with while the next one is being made has to wait for that, and not for ever.
#[test]
fn the_longest_value_waits_for_the_next_segment() {
    let mut world = World::with(ShardConfig {
        value_len_max: 900_000,
        ..config()
    });
    let value = vec![b'v'; 900_000];
    for number in 0..5 {
        let key = format!("key {number}");
        assert_eq!(world.put(key.as_bytes(), &value).status, Status::Ok);
    }
    assert_eq!(world.shard.status().segments, 5);
}
