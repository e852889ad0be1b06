//! Requests that wait, and what may not happen meanwhile. The simulator found each of these first.

use corduroy_proto_wire::{BatchItem, Condition, Delete, Put, Request, Status, Ttl};

use super::{KEYSPACE, World, config, get, put, put_if};
use crate::shard::{ShardCommand, ShardConfig, SyncMode};
use crate::storage::disk::DiskOperation;
use crate::types::KeyspaceId;

/// A world in which the record of `cold` is on disk alone.
fn with_cold_record(value: &[u8]) -> World {
    let mut world = World::with(ShardConfig {
        memory_bytes: 1 << 20,
        ..config()
    });
    world.put(b"{tag}cold", value);
    for number in 0..60 {
        world.put(format!("filler {number}").as_bytes(), &[7; 50_000]);
    }
    world
}

/// A put that fails because of another's uncommitted write tells its client of that write; if the client's next read then showed what
/// was before, time would run backwards on one connection.
#[test]
fn a_failed_condition_is_not_followed_by_an_older_read() {
    let mut world = World::new();
    world.put(b"k", b"old");
    world.send_as(1, &put(b"k", b"new"));
    let condition = Condition::IfValue(b"old");
    let failed = world.send_as(2, &put_if(b"k", b"other", condition));
    let read = world.send_as(2, &get(b"k"));
    assert!(
        !world.inbox.answers.contains_key(&read),
        "the read waits for what its connection was told of"
    );
    world.settle();
    assert_eq!(world.inbox.answers[&failed].status, Status::ConditionFailed);
    assert_eq!(
        world.inbox.answers[&read].value.as_deref(),
        Some(&b"new"[..])
    );
}

/// An atomic batch that waits for one cold key must not be overtaken on its other keys: the later put would be overwritten by the
/// earlier batch.
#[test]
fn an_atomic_batch_keeps_its_place_on_all_its_keys() {
    let mut world = with_cold_record(b"cold");
    let write = |key, value, condition| {
        BatchItem::Put(Put {
            key,
            value,
            ttl: Ttl::None,
            condition,
            return_value: false,
        })
    };
    let batch = world.send(&Request::AtomicBatch {
        keyspace: KEYSPACE,
        items: vec![
            write(b"{tag}cold", b"1", Condition::IfValue(b"cold")),
            write(b"{tag}warm", b"1", Condition::Always),
        ],
    });
    let later = world.send(&put(b"{tag}warm", b"2"));
    world.settle();
    assert_eq!(world.inbox.answers[&batch].status, Status::Ok);
    assert_eq!(world.inbox.answers[&later].status, Status::Ok);
    assert_eq!(world.get(b"{tag}warm").value.as_deref(), Some(&b"2"[..]));
}

/// A touch logs the whole value again. A few hundred of them, all waiting for one cold record, must become as many blocks as they need,
/// not one that fits no segment.
#[test]
fn what_waits_for_one_record_does_not_become_one_block() {
    let mut world = with_cold_record(&[5; 90_000]);
    let touches: Vec<u32> = (0..100)
        .map(|_| {
            world.send(&Request::Touch {
                keyspace: KEYSPACE,
                key: b"{tag}cold",
                ttl_ms: 1_000_000,
            })
        })
        .collect();
    world.settle();
    for number in touches {
        assert_eq!(world.inbox.answers[&number].status, Status::Ok);
    }
}

/// A read behind a flush waits for the flush to commit. If the disk turns out to be full the flush is refused with the writes beside it, and the
/// read must be answered though nothing will ever commit.
#[test]
fn who_waits_for_a_flush_is_answered_when_the_disk_is_full() {
    let is_prepare = |operation: &DiskOperation| matches!(operation, DiskOperation::Prepare { .. });
    let mut world = World::new();
    let large = vec![b'x'; 90_000];
    world.put(b"k", b"v");
    // Nobody makes the segment that is waited for.
    let refused = loop {
        let number = world.send(&put(b"filler", &large));
        world.end_turn();
        while let Some(at) = world.queue.iter().position(|(_, disk)| !is_prepare(disk)) {
            world.queue.swap(0, at);
            world.step();
            world.end_turn();
        }
        if !world.inbox.answers.contains_key(&number) {
            break number;
        }
    };
    world.command(ShardCommand::Flush {
        keyspace: KeyspaceId::DEFAULT,
    });
    let read = world.send(&get(b"k"));
    assert!(
        !world.inbox.answers.contains_key(&read),
        "it waits for the flush"
    );
    world.fail(is_prepare, libc::ENOSPC);
    world.end_turn();
    assert_eq!(world.inbox.answers[&refused].status, Status::ReadOnly);
    assert_eq!(world.inbox.answers[&read].value.as_deref(), Some(&b"v"[..]));
}

/// With `interval` a sync may fail while a block is being written. When that block's write then succeeds, nobody waits for it
/// any more: it must neither end the process nor be acknowledged.
#[test]
fn a_sync_may_fail_while_a_block_is_being_written() {
    let mut world = World::with(ShardConfig {
        sync: SyncMode::Interval { nanos: 1_000_000 },
        ..config()
    });
    world.put(b"k", b"old");
    world.now.mono.0 += 2_000_000;
    world.end_turn();
    let number = world.send(&put(b"k", b"new"));
    world.end_turn();
    world.fail(
        |operation| matches!(operation, DiskOperation::Sync { .. }),
        libc::EIO,
    );
    assert_eq!(world.inbox.answers[&number].status, Status::OutcomeUnknown);
    world.settle();
    assert_eq!(world.get(b"k").value.as_deref(), Some(&b"old"[..]));
    assert_eq!(world.put(b"k", b"newer").status, Status::ReadOnly);
}

/// What is in the page cache the kernel copies at once, on the shard's core: a hundred records that are asked for in one turn held it up for
/// as long as copying all of them takes.
#[test]
fn cold_records_are_asked_for_a_slice_a_turn() {
    let mut world = with_cold_record(b"cold");
    let keys: Vec<String> = (0..40).map(|number| format!("filler {number}")).collect();
    let gets: Vec<u32> = keys
        .iter()
        .map(|key| world.send(&get(key.as_bytes())))
        .collect();
    let most = crate::limits::TURN_READ_BYTES / 50_000 + 1;
    let mut turns = 0;
    while turns == 0 || world.shard.has_slices() {
        let before = world.queue.len();
        world.end_turn();
        let asked = world.queue.len() - before;
        assert!(asked <= most, "{asked} reads in a turn");
        turns += 1;
    }
    assert!(turns > 1, "there was too little to read");
    world.settle();
    for get in gets {
        assert_eq!(world.inbox.answers[&get].status, Status::Ok);
    }
}

/// All old values that an atomic batch gives back stand in one answer, which is copied together: a thousand of 16 MiB each would need 16 GiB.
#[test]
fn an_atomic_batch_gives_back_no_more_than_fits_into_an_answer() {
    let mut world = World::new();
    let keys: Vec<String> = (0..11).map(|number| format!("{{tag}}{number}")).collect();
    for key in &keys {
        world.put(key.as_bytes(), &[7; 99_000]);
    }
    let mut batch = |keys: &[String]| {
        let items = keys.iter().map(|key| {
            BatchItem::Put(Put {
                key: key.as_bytes(),
                value: b"new",
                ttl: Ttl::None,
                condition: Condition::Always,
                return_value: true,
            })
        });
        world.ask(&Request::AtomicBatch {
            keyspace: KEYSPACE,
            items: items.collect(),
        })
    };
    let refused = batch(&keys);
    assert_eq!(refused.status, Status::LimitExceeded);
    assert!(refused.text.contains("batch_bytes_max"), "{}", refused.text);
    assert_eq!(batch(&keys[..7]).status, Status::Ok);
    assert_eq!(
        world
            .get(keys[10].as_bytes())
            .value
            .map(|value| value.len()),
        Some(99_000),
        "nothing of the refused batch was done"
    );
}

/// An atomic batch is evaluated with all its records in memory; a thousand cold ones of 16 MiB would take 16 GiB.
#[test]
fn an_atomic_batch_asks_for_a_bounded_number_of_bytes_from_disk() {
    let mut world = World::with(ShardConfig {
        memory_bytes: 1 << 20,
        value_len_max: 4 << 20,
        segment_len: 8 << 20,
        ..config()
    });
    let value = vec![7; 4 << 20];
    let keys: Vec<String> = (0..20).map(|number| format!("{{tag}}{number}")).collect();
    for key in &keys {
        world.put(key.as_bytes(), &value);
    }
    let mut delete = |keys: &[String]| {
        let items = keys.iter().map(|key| {
            BatchItem::Delete(Delete {
                key: key.as_bytes(),
                condition: Condition::Always,
                return_value: false,
            })
        });
        world.ask(&Request::AtomicBatch {
            keyspace: KEYSPACE,
            items: items.collect(),
        })
    };
    let refused = delete(&keys);
    assert_eq!(refused.status, Status::LimitExceeded);
    assert!(
        refused.text.contains("waiting_bytes_max"),
        "{}",
        refused.text
    );
    assert_eq!(delete(&keys[..10]).status, Status::Ok);
    assert_eq!(delete(&keys[10..]).status, Status::Ok);
}

/// A sum that was evaluated while a flush was on its way to the disk went on from what the flush takes away, and stood after it.
#[test]
fn a_write_behind_a_flush_starts_from_nothing() {
    let add = |delta| Request::Add {
        keyspace: KEYSPACE,
        key: b"counter",
        delta,
    };
    let mut world = World::new();
    world.ask(&add(5));
    world.command(ShardCommand::Flush {
        keyspace: KeyspaceId::DEFAULT,
    });
    world.send(&add(1));
    world.settle();
    assert_eq!(world.get(b"counter").value.as_deref(), Some(&b"1"[..]));
}

/// Sums that take long and come to nothing fill a batch that never commits; who waits behind them for the same record must go on.
#[test]
fn who_waits_behind_long_failing_sums_is_answered() {
    let mut world = with_cold_record(b"no number");
    let long = "9".repeat(4_900);
    let sums: Vec<u32> = (0..100)
        .map(|_| {
            world.send(&Request::AddFloat {
                keyspace: KEYSPACE,
                key: b"{tag}cold",
                increment: long.as_bytes(),
            })
        })
        .collect();
    world.settle();
    for number in sums {
        assert_eq!(world.inbox.answers[&number].status, Status::NotACounter);
    }
}

/// The simulator's seed 3125: while flush after flush is on its way, the commit of one let requests through though the next one's clear was
/// staged already. A sum went on from an acknowledged one, over a flush that was asked for after that.
#[test]
fn a_write_behind_several_flushes_waits_for_the_last_one() {
    let add = |delta| Request::Add {
        keyspace: KEYSPACE,
        key: b"counter",
        delta,
    };
    let flush = |world: &mut World| {
        world.command(ShardCommand::Flush {
            keyspace: KeyspaceId::DEFAULT,
        });
    };
    let mut world = World::new();
    world.ask(&add(100));
    flush(&mut world);
    world.end_turn();
    let mut before_the_last = Vec::new();
    for delta in [5, 1] {
        // One clear is in flight and one staged when the first commits.
        flush(&mut world);
        world.step();
        before_the_last.push((world.send(&add(delta)), delta));
        world.end_turn();
    }
    let acknowledged = before_the_last
        .into_iter()
        .filter(|(number, _)| world.inbox.answers.contains_key(number));
    let gone: i64 = acknowledged.map(|(_, delta)| delta).sum();
    flush(&mut world);
    world.step();
    let last = world.send(&add(10));
    world.settle();
    assert_eq!(world.inbox.answers[&last].number, Some(16 - gone));
}
