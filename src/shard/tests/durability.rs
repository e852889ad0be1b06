//! What is acknowledged when, and what survives.

use corduroy_proto_wire::{Condition, Put, Request, Status, Ttl};

use super::{KEYSPACE, World, config, delete, get, put, put_if, put_ttl};
use crate::shard::{ShardCommand, ShardConfig, SyncMode};
use crate::storage::disk::DiskOperation;
use crate::storage::format::{BLOCK_HEADER_LEN, BlockHeader, BlockKind};
use crate::types::{KeyspaceId, WallMillis};

/// The one bug that this store exists to not have.
#[test]
fn nothing_is_acknowledged_before_its_fdatasync() {
    let mut world = World::new();
    let number = world.send(&put(b"k", b"v"));
    world.end_turn();
    assert!(
        matches!(
            world.queue.last(),
            Some((_, DiskOperation::Write { sync: true, .. }))
        ),
        "the write asks for a sync: {:?}",
        world.queue.last()
    );
    assert!(world.inbox.answers.is_empty());
    let read = world.send_as(2, &get(b"k"));
    assert_eq!(
        world.inbox.answers[&read].status,
        Status::NotFound,
        "nor is it shown to others"
    );
    world.settle();
    assert_eq!(world.inbox.answers[&number].status, Status::Ok);
}

/// The batch behind a block in flight must be one block, however many writes came: that is the group commit.
#[test]
fn what_arrives_during_a_write_goes_into_one_block() {
    let mut world = World::new();
    world.send(&put(b"first", b"v"));
    world.end_turn();
    for number in 0..100 {
        world.send(&put(format!("key {number}").as_bytes(), b"v"));
        world.end_turn();
    }
    let writes = |world: &World| {
        world
            .queue
            .iter()
            .filter(|(_, operation)| matches!(operation, DiskOperation::Write { .. }))
            .count()
    };
    assert_eq!(writes(&world), 1, "one block is in flight at a time");
    let before = world.shard.status().blocks;
    world.settle();
    assert_eq!(world.shard.status().blocks, before + 1);
}

/// After a failed fdatasync the kernel may report success for pages that it dropped: nothing may be acknowledged any more.
#[test]
fn a_failed_sync_stops_writes_for_good_and_reads_go_on() {
    let mut world = World::new();
    world.put(b"safe", b"1");
    let lost = world.send(&put(b"lost", b"2"));
    world.end_turn();
    let behind = world.send(&put(b"behind", b"3"));
    world.fail(
        |operation| matches!(operation, DiskOperation::Write { .. }),
        libc::EIO,
    );
    assert_eq!(world.inbox.answers[&lost].status, Status::OutcomeUnknown);
    assert_eq!(world.inbox.answers[&behind].status, Status::ReadOnly);
    assert_eq!(world.put(b"safe", b"4").status, Status::ReadOnly);
    assert_eq!(world.get(b"safe").value.as_deref(), Some(&b"1"[..]));
    assert_eq!(world.get(b"lost").status, Status::NotFound);
    assert!(
        world
            .shard
            .writes_refused()
            .is_some_and(|reason| reason.contains("takes no writes"))
    );
}

/// A full disk must refuse writes by name, serve reads, and take writes again when there is room.
#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let mut world = World::new();
    let value = vec![b'x'; 90_000];
    let prepare = |operation: &DiskOperation| matches!(operation, DiskOperation::Prepare { .. });
    world.put(b"first", b"1");
    let mut refused = None;
    for number in 0..100 {
        let request = world.send(&put(format!("{number}").as_bytes(), &value));
        world.end_turn();
        while !world.queue.is_empty() {
            if prepare(&world.queue[0].1) {
                world.fail(prepare, libc::ENOSPC);
            } else {
                world.step();
            }
            world.end_turn();
        }
        let answer = &world.inbox.answers[&request];
        if answer.status != Status::Ok {
            refused = Some(answer.clone());
            break;
        }
    }
    let refused = refused.expect("the segments run out");
    assert_eq!(refused.status, Status::ReadOnly);
    assert!(refused.text.contains("disk full"), "{}", refused.text);
    assert_eq!(world.get(b"first").value.as_deref(), Some(&b"1"[..]));
    world.now.mono.0 += 2_000_000_000;
    world.settle();
    assert_eq!(world.put(b"after", b"2").status, Status::Ok);
}

#[test]
fn everything_acknowledged_is_there_after_a_restart() {
    let mut world = World::new();
    for number in 0..500 {
        world.put(
            format!("key {}", number % 50).as_bytes(),
            format!("value {number}").as_bytes(),
        );
    }
    world.ask(&delete(b"key 7"));
    let version = world.get(b"key 8").version;
    let mut again = world.restart();
    assert_eq!(again.shard.count(KeyspaceId::DEFAULT), 49);
    assert_eq!(again.get(b"key 7").status, Status::NotFound);
    assert_eq!(
        again.get(b"key 8").value.as_deref(),
        Some(&b"value 458"[..])
    );
    assert_eq!(again.get(b"key 8").version, version);
    assert!(
        again.put(b"key 7", b"x").version > world.put(b"key 7", b"x").version - 1,
        "versions grow over restarts"
    );
    let statistics = (world.shard.status(), again.shard.status());
    assert_eq!(statistics.0.keys, statistics.1.keys);
}

/// A key that had expired must not come back because the clock was set back before the restart.
#[test]
fn expired_keys_stay_expired_when_the_clock_goes_back() {
    let mut world = World::new();
    world.ask(&put_ttl(b"k", b"v", 1000));
    world.now.wall = WallMillis(world.now.wall.0 + 5000);
    world.now.mono.0 += 5_000_000_000;
    world.settle();
    world.now.mono.0 += 5_000_000_000;
    world.settle();
    world.now.wall = WallMillis(world.now.wall.0 - 5000);
    let mut again = world.restart();
    assert_eq!(again.get(b"k").status, Status::NotFound);
}

/// A flush found the partition empty, for its key had expired, and logged nothing; after a crash the clock was set back, and the key was
/// there again though the flush had been acknowledged.
#[test]
fn a_flush_takes_expired_keys_away_for_good() {
    let mut world = World::new();
    world.ask(&put_ttl(b"k", b"v", 1));
    world.now.wall = WallMillis(world.now.wall.0 + 5000);
    world.settle();
    world.now.wall = WallMillis(world.now.wall.0 - 5000);
    world.command(ShardCommand::Flush {
        keyspace: KeyspaceId::DEFAULT,
    });
    world.settle();
    assert_eq!(world.restart().get(b"k").status, Status::NotFound);
}

/// With a tail far smaller than the data, reads come from disk, checked, and in order with writes on the same key.
#[test]
fn cold_records_are_read_from_disk() {
    let mut world = World::with(ShardConfig {
        memory_bytes: 1,
        ..config()
    });
    let value = |number: usize| format!("{number:0>50000}").into_bytes();
    for number in 0..200 {
        world.put(format!("{number}").as_bytes(), &value(number));
    }
    let status = world.shard.status();
    assert!(
        status.segments > 5 && status.tail_bytes < 3 << 20,
        "the tail was evicted: {status:?}"
    );
    let number = world.send(&get(b"3"));
    assert!(
        !world.inbox.answers.contains_key(&number),
        "it is not in memory"
    );
    let replaced = world.send(&put_if(b"3", b"new", Condition::IfPresent));
    let after = world.send(&get(b"3"));
    world.settle();
    assert_eq!(
        world.inbox.answers[&number].value.as_deref(),
        Some(&value(3)[..])
    );
    assert_eq!(world.inbox.answers[&replaced].status, Status::Ok);
    assert_eq!(
        world.inbox.answers[&after].value.as_deref(),
        Some(&b"new"[..])
    );
    assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 200);
}

/// A flipped bit on disk must come back as an error that names the place, never as other bytes.
#[test]
fn a_damaged_cold_record_is_an_error() {
    let mut world = World::with(ShardConfig {
        memory_bytes: 1,
        ..config()
    });
    for number in 0..200 {
        world.put(format!("{number}").as_bytes(), &vec![b'v'; 50_000]);
    }
    let first = *world.files.keys().next().expect("a segment");
    let file = world.files.get_mut(&first).expect("the segment");
    let at = file.iter().position(|&byte| byte == b'v').expect("a value") + 100;
    file[at] ^= 1;
    let answer = world.get(b"0");
    assert_eq!(answer.status, Status::Damaged);
    assert!(answer.text.contains("offset"), "{}", answer.text);
    assert_eq!(world.get(b"1").status, Status::Ok);
}

/// `never` and `interval` acknowledge what the kernel has: a write may not be acknowledged while it is still ours alone.
#[test]
fn without_sync_the_kernel_has_what_is_acknowledged() {
    for sync in [SyncMode::Never, SyncMode::Interval { nanos: 1_000_000 }] {
        let mut world = World::with(ShardConfig { sync, ..config() });
        let number = world.send(&put(b"k", b"v"));
        world.end_turn();
        assert!(world.inbox.answers.is_empty(), "{sync:?}");
        world.settle();
        assert_eq!(world.inbox.answers[&number].status, Status::Ok, "{sync:?}");
        world.now.mono.0 += 2_000_000;
        world.end_turn();
        let syncs = world
            .queue
            .iter()
            .filter(|(_, operation)| matches!(operation, DiskOperation::Sync { .. }))
            .count();
        assert_eq!(syncs, usize::from(sync != SyncMode::Never), "{sync:?}");
    }
}

#[test]
fn a_clean_stop_seals_the_log() {
    let mut world = World::new();
    world.put(b"k", b"v");
    let pending = world.send(&put(b"last", b"v"));
    world.shard.stop();
    world.settle();
    assert!(world.shard.is_stopped());
    assert_eq!(
        world.inbox.answers[&pending].status,
        Status::Ok,
        "what was taken in is written before the seal"
    );
    let mut again = world.restart();
    assert_eq!(again.get(b"last").status, Status::Ok);
    assert_eq!(
        again
            .ask(&Request::Exists {
                keyspace: KEYSPACE,
                key: b"k"
            })
            .status,
        Status::Ok
    );
}

/// The record that made a keyspace was lost in a power cut, and other shards' logs kept records under its number: the next keyspace got
/// the number and what was left under it.
#[test]
fn a_keyspace_is_made_when_that_is_synced() {
    for sync in LAZY {
        let mut world = World::with(ShardConfig { sync, ..config() });
        world.shard.install(KeyspaceId::SYSTEM, 1, "system");
        world.send(&Request::Put {
            keyspace: KeyspaceId::SYSTEM.0,
            put: Put {
                key: b"orders",
                value: &[8, 0],
                ttl: Ttl::None,
                condition: Condition::Always,
                return_value: false,
            },
        });
        world.end_turn();
        assert!(
            matches!(
                world.queue.last(),
                Some((_, DiskOperation::Write { sync: true, .. }))
            ),
            "{sync:?}: {:?}",
            world.queue.last()
        );
    }
}

/// A world with a write that is acknowledged and not synced, about to stop.
fn unsynced(sync: SyncMode) -> World {
    let mut world = World::with(ShardConfig { sync, ..config() });
    world.put(b"k", b"v");
    world.shard.stop();
    world.end_turn();
    world
}

/// A segment with large values takes more memory than its length says. After a start it was taken into memory, left it because there was no more room, and was read again, for ever.
#[test]
fn a_segment_that_does_not_fit_into_memory_is_taken_back_once() {
    let mut world = World::new();
    let value = [b'x'; 90_000];
    for number in 0..60 {
        let key = format!("key {number}");
        assert_eq!(world.put(key.as_bytes(), &value).status, Status::Ok);
    }
    let mut loads = 0;
    for memory in 12..40 {
        world.config.memory_bytes = memory << 18;
        let mut again = world.restarted(false);
        let mut these = 0;
        loop {
            again.end_turn();
            let next = again.queue.first().map(|(_, operation)| operation);
            these += u64::from(matches!(next, Some(DiskOperation::Load(_))));
            assert!(these < 20, "with {memory} parts a segment is read for ever");
            if !again.step() && !again.shard.has_slices() {
                break;
            }
        }
        loads += these;
    }
    assert!(loads > 0, "nothing is taken back");
}

const LAZY: [SyncMode; 2] = [SyncMode::Never, SyncMode::Interval { nanos: 1 << 40 }];

/// A power cut in the middle of a clean stop left the seal there and the block before it torn. The seal testifies that the block was
/// synced, so the next start called it damage and refused.
#[test]
fn the_seal_is_written_when_all_before_it_is_synced() {
    for sync in LAZY {
        let mut world = unsynced(sync);
        assert!(
            matches!(&world.queue[..], [(_, DiskOperation::Sync { .. })]),
            "{sync:?}: {:?}",
            world.queue
        );
        world.end_turn();
        assert_eq!(world.queue.len(), 1, "{sync:?}: it waits for the sync");
        world.step();
        world.end_turn();
        let [(_, DiskOperation::Write { block, sync, .. })] = &world.queue[..] else {
            panic!("the seal follows: {:?}", world.queue);
        };
        assert!(sync, "the seal is synced itself");
        let bytes: Vec<u8> = block.parts().flatten().copied().collect();
        let header = bytes.last_chunk::<BLOCK_HEADER_LEN>().expect("a block");
        let seal = BlockHeader::decode(header).expect("a sound header");
        assert_eq!(seal.kind, BlockKind::Seal);
        assert_eq!(
            seal.durable, seal.position,
            "it testifies for all before it"
        );
        assert!(!world.shard.is_stopped());
        world.settle();
        assert!(world.shard.is_stopped());
        assert_eq!(world.restart().get(b"k").status, Status::Ok);
    }
}

/// If that sync fails, nobody knows what is on disk: a seal would be a lie. The stop still comes to its end.
#[test]
fn a_log_that_can_not_be_synced_gets_no_seal() {
    for sync in LAZY {
        let mut world = unsynced(sync);
        world.fail(
            |operation| matches!(operation, DiskOperation::Sync { .. }),
            libc::EIO,
        );
        world.settle();
        assert!(world.shard.is_stopped());
        assert!(world.shard.writes_refused().is_some());
        let blocks = world.shard.status().blocks;
        assert_eq!(blocks, 1, "{sync:?}: the key's block is the last");
    }
}

/// A client that goes by a version must not take a new value for the lost one that it knows.
#[test]
fn versions_that_salvage_gave_up_are_not_given_again() {
    let mut world = World::new();
    for number in 0..5 {
        world.put(b"k", format!("value {number}").as_bytes());
    }
    let lost = world.get(b"k").version;
    let damaged = world.files.values_mut().find_map(|file| {
        let at = file.windows(7).rposition(|bytes| bytes == b"value 4")?;
        file[at] ^= 1;
        Some(at)
    });
    damaged.expect("the last value is in the log");

    let mut world = world.restart_with(true);
    assert!(world.get(b"k").version < lost, "the newest record is gone");
    // Without salvage, as each later start is: only the skip block tells.
    let mut world = world.restart();
    let again = world.put(b"k", b"another value");
    assert!(again.version > lost, "{again:?} after {lost}");
    // All records of this partition might have been among what is gone.
    assert!(world.put(b"other", b"value").version > 1);
}

/// A file that lost its end, in the middle of a block or of the log: salvage gives that up and the shard starts.
#[test]
fn a_segment_that_was_cut_off_can_be_salvaged() {
    let mut world = World::new();
    let value = vec![7; 3000];
    for number in 0..9 {
        world.put(format!("k{number}").as_bytes(), &value);
    }
    for len in [16_384, 16_384 + 100, 8192, 5000, 4096] {
        let mut cut = world.restart();
        cut.files.values_mut().next().unwrap().truncate(len);
        let mut saved = cut.restart_with(true);
        assert!(saved.get(b"k8").status != Status::Damaged);
        saved.put(b"k8", b"again");
        let mut again = saved.restart();
        assert_eq!(
            again.get(b"k8").value.as_deref(),
            Some(&b"again"[..]),
            "cut to {len} bytes"
        );
    }
}
