//! What requests mean.

use corduroy_proto_wire::{BatchItem, Condition, Delete, Put, Request, Status, Ttl};

use super::{KEYSPACE, World, config, delete, get, put, put_if, put_ttl};
use crate::shard::{ShardCommand, ShardReply};
use crate::types::{KeyspaceId, WallMillis};

#[test]
fn what_was_put_is_got_until_it_is_deleted() {
    let mut world = World::new();
    assert_eq!(world.get(b"a").status, Status::NotFound);
    let written = world.put(b"a", b"1");
    assert_eq!(written.status, Status::Ok);
    let read = world.get(b"a");
    assert_eq!(
        (read.status, read.value.as_deref(), read.version),
        (Status::Ok, Some(&b"1"[..]), written.version)
    );
    let deleted = world.ask(&delete(b"a"));
    assert!(
        deleted.version > written.version,
        "a delete is a version too"
    );
    assert_eq!(world.get(b"a").status, Status::NotFound);
    assert_eq!(world.ask(&delete(b"a")).status, Status::NotFound);
    assert!(
        world.put(b"a", b"2").version > deleted.version,
        "versions grow over deletes"
    );
}

/// A condition that looked at committed state only would let two clients of one turn both take the same lock.
#[test]
fn conditions_see_what_is_not_committed_yet() {
    let mut world = World::new();
    let first = world.send_as(1, &put_if(b"lock", b"one", Condition::IfAbsent));
    let second = world.send_as(2, &put_if(b"lock", b"two", Condition::IfAbsent));
    assert!(
        world.inbox.answers.is_empty(),
        "the loser may not hear of a winner that is not durable yet"
    );
    world.settle();
    assert_eq!(world.inbox.answers[&first].status, Status::Ok);
    assert_eq!(world.inbox.answers[&second].status, Status::ConditionFailed);
    assert_eq!(
        world.inbox.answers[&second].version,
        world.inbox.answers[&first].version
    );
    assert_eq!(world.get(b"lock").value.as_deref(), Some(&b"one"[..]));
}

#[test]
fn counters_pipeline_within_a_turn() {
    let mut world = World::new();
    let add = |delta| Request::Add {
        keyspace: KEYSPACE,
        key: b"n",
        delta,
    };
    let numbers: Vec<u32> = (0..100).map(|_| world.send(&add(2))).collect();
    world.settle();
    let sums: Vec<Option<i64>> = numbers
        .iter()
        .map(|number| world.inbox.answers[number].number)
        .collect();
    assert_eq!(sums, (1..=100).map(|n| Some(2 * n)).collect::<Vec<_>>());
    assert_eq!(world.get(b"n").value.as_deref(), Some(&b"200"[..]));
    assert_eq!(world.ask(&add(i64::MAX)).status, Status::NotACounter);
}

/// Over one connection a get behind a put must see it, and must not see the put behind itself.
#[test]
fn reads_keep_their_place_among_writes_of_their_connection() {
    let mut world = World::new();
    world.put(b"k", b"old");
    world.send_as(1, &put(b"k", b"new"));
    let mine = world.send_as(1, &get(b"k"));
    world.send_as(1, &put(b"k", b"newer"));
    let other = world.send_as(2, &get(b"k"));
    assert_eq!(
        world.inbox.answers[&other].value.as_deref(),
        Some(&b"old"[..]),
        "others see what is committed"
    );
    world.settle();
    assert_eq!(
        world.inbox.answers[&mine].value.as_deref(),
        Some(&b"new"[..])
    );
}

#[test]
fn an_atomic_batch_is_all_or_nothing() {
    let mut world = World::new();
    world.put(b"{t}a", b"1");
    let item = |key, condition| {
        BatchItem::Put(Put {
            key,
            value: b"2",
            ttl: Ttl::None,
            condition,
            return_value: false,
        })
    };
    let fails = vec![
        item(b"{t}a", Condition::Always),
        item(b"{t}b", Condition::IfPresent),
    ];
    assert_eq!(
        world
            .ask(&Request::AtomicBatch {
                keyspace: KEYSPACE,
                items: fails
            })
            .status,
        Status::ConditionFailed
    );
    assert_eq!(world.get(b"{t}a").value.as_deref(), Some(&b"1"[..]));
    let holds = vec![
        item(b"{t}a", Condition::IfPresent),
        item(b"{t}b", Condition::IfAbsent),
        BatchItem::Delete(Delete {
            key: b"{t}c",
            condition: Condition::Always,
            return_value: false,
        }),
    ];
    assert_eq!(
        world
            .ask(&Request::AtomicBatch {
                keyspace: KEYSPACE,
                items: holds
            })
            .status,
        Status::Ok
    );
    assert_eq!(world.get(b"{t}a").value.as_deref(), Some(&b"2"[..]));
    assert_eq!(world.get(b"{t}b").value.as_deref(), Some(&b"2"[..]));
    let spread = vec![item(b"x", Condition::Always), item(b"y", Condition::Always)];
    assert_eq!(
        world
            .ask(&Request::AtomicBatch {
                keyspace: KEYSPACE,
                items: spread
            })
            .status,
        Status::CrossPartition
    );
    let twice = vec![
        item(b"{t}a", Condition::Always),
        item(b"{t}a", Condition::Always),
    ];
    assert_eq!(
        world
            .ask(&Request::AtomicBatch {
                keyspace: KEYSPACE,
                items: twice
            })
            .status,
        Status::InvalidRequest
    );
}

/// A key past its time is never shown, whether it was taken away yet or not; and it is taken away by itself.
#[test]
fn expired_keys_are_gone() {
    let mut world = World::new();
    world.ask(&put_ttl(b"k", b"v", 1000));
    assert_eq!(
        world
            .ask(&Request::Ttl {
                keyspace: KEYSPACE,
                key: b"k"
            })
            .number,
        Some(1000)
    );
    world.now.wall = WallMillis(world.now.wall.0 + 1000);
    let number = world.send(&get(b"k"));
    assert_eq!(world.inbox.answers[&number].status, Status::NotFound);
    assert_eq!(
        world.shard.count(KeyspaceId::DEFAULT),
        1,
        "no turn has ended since"
    );
    world.settle();
    assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 0);
    assert_eq!(
        world.ask(&put_if(b"k", b"w", Condition::IfAbsent)).status,
        Status::Ok
    );
}

#[test]
fn touch_and_persist_change_the_expiry_only() {
    let mut world = World::new();
    assert_eq!(
        world
            .ask(&Request::Touch {
                keyspace: KEYSPACE,
                key: b"k",
                ttl_ms: 5
            })
            .status,
        Status::NotFound
    );
    world.put(b"k", b"v");
    assert_eq!(
        world
            .ask(&Request::Touch {
                keyspace: KEYSPACE,
                key: b"k",
                ttl_ms: 50
            })
            .status,
        Status::Ok
    );
    assert_eq!(
        world
            .ask(&Request::Ttl {
                keyspace: KEYSPACE,
                key: b"k"
            })
            .number,
        Some(50)
    );
    world.ask(&Request::Append {
        keyspace: KEYSPACE,
        key: b"k",
        suffix: b"w",
    });
    assert_eq!(
        world
            .ask(&Request::Ttl {
                keyspace: KEYSPACE,
                key: b"k"
            })
            .number,
        Some(50),
        "append keeps it"
    );
    assert_eq!(
        world
            .ask(&Request::Persist {
                keyspace: KEYSPACE,
                key: b"k"
            })
            .status,
        Status::Ok
    );
    assert_eq!(
        world
            .ask(&Request::Ttl {
                keyspace: KEYSPACE,
                key: b"k"
            })
            .number,
        None
    );
    assert_eq!(world.get(b"k").value.as_deref(), Some(&b"vw"[..]));
}

#[test]
fn a_flush_drops_what_was_staged_before_it_and_nothing_after() {
    let mut world = World::new();
    world.put(b"a", b"1");
    world.send(&put(b"b", b"2"));
    world.command(ShardCommand::Flush {
        keyspace: KeyspaceId::DEFAULT,
    });
    let after = world.send(&put(b"c", b"3"));
    world.settle();
    assert!(matches!(world.inbox.internal[..], [ShardReply::Done]));
    assert_eq!(world.inbox.answers[&after].status, Status::Ok);
    assert_eq!(world.get(b"a").status, Status::NotFound);
    assert_eq!(world.get(b"b").status, Status::NotFound);
    assert_eq!(world.get(b"c").value.as_deref(), Some(&b"3"[..]));
    assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 1);
    assert_eq!(world.restart().shard.count(KeyspaceId::DEFAULT), 1);
}

#[test]
fn what_is_outside_a_limit_names_it() {
    let mut world = World::new();
    let value = vec![0; config().value_len_max + 1];
    let answer = world.put(b"k", &value);
    assert_eq!(answer.status, Status::LimitExceeded);
    assert!(answer.text.contains("value_len_max"), "{}", answer.text);
    world.put(b"k", &value[1..]);
    let answer = world.ask(&Request::Append {
        keyspace: KEYSPACE,
        key: b"k",
        suffix: b"x",
    });
    assert_eq!(answer.status, Status::LimitExceeded);
    let unknown = world.ask(&Request::Get {
        keyspace: 99,
        key: b"k",
    });
    assert_eq!(unknown.status, Status::UnknownKeyspace);
}

/// Two connections on two shards make and drop a keyspace; the word of the drop may overtake that of the making.
#[test]
fn a_removal_that_comes_first_wins() {
    let mut world = World::new();
    let keyspace = KeyspaceId(9);
    world.command(ShardCommand::Remove { keyspace });
    world.command(ShardCommand::Install {
        keyspace,
        partitions: 4,
        name: "late".to_owned(),
    });
    assert!(world.shard.keyspaces().all(|known| known.id() != keyspace));
}
