//! What the requests mean that Redis's commands brought: expiry at a time and under conditions, parts written over, numbers with a
//! fraction, and moves.

use corduroy_proto_wire::{Expiry, ExpiryCondition, Put, Request, Status, Ttl};

use super::{Answer, KEYSPACE, World, config, get, put, put_ttl};
use crate::limits;
use crate::shard::ShardConfig;
use crate::types::KeyspaceId;

fn expire<'a>(key: &'a [u8], expiry: Expiry, condition: ExpiryCondition) -> Request<'a> {
    Request::Expire {
        keyspace: KEYSPACE,
        key,
        expiry,
        condition,
        return_value: true,
    }
}

fn overwrite<'a>(key: &'a [u8], offset: u32, bytes: &'a [u8]) -> Request<'a> {
    Request::Overwrite {
        keyspace: KEYSPACE,
        key,
        offset,
        bytes,
    }
}

fn add_float<'a>(key: &'a [u8], increment: &'a [u8]) -> Request<'a> {
    Request::AddFloat {
        keyspace: KEYSPACE,
        key,
        increment,
    }
}

fn put_at<'a>(key: &'a [u8], value: &'a [u8], at_ms: u64) -> Request<'a> {
    let mut request = put(key, value);
    if let Request::Put { put, .. } = &mut request {
        put.ttl = Ttl::At(at_ms);
        put.return_value = true;
    }
    request
}

fn relocate<'a>(from: &'a [u8], to: &'a [u8], if_absent: bool, keep_source: bool) -> Request<'a> {
    Request::Move {
        source: (KEYSPACE, from),
        destination: (KEYSPACE, to),
        if_absent,
        keep_source,
    }
}

impl World {
    /// When a key expires: not there, never, or then.
    fn expires_at(&mut self, key: &[u8]) -> Option<Option<i64>> {
        let answer = self.ask(&Request::ExpiresAt {
            keyspace: KEYSPACE,
            key,
        });
        (answer.status == Status::Ok).then_some(answer.number)
    }

    fn value(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key).value
    }
}

fn status_and_value(answer: &Answer) -> (Status, Option<&[u8]>) {
    (answer.status, answer.value.as_deref())
}

#[test]
fn a_key_expires_at_the_time_that_was_said() {
    let mut world = World::new();
    let at = world.now.wall.0 + 500;
    world.ask(&put_at(b"k", b"v", at));
    assert_eq!(world.expires_at(b"k"), Some(Some(at as i64)));
    assert_eq!(world.restart().expires_at(b"k"), Some(Some(at as i64)));
    world.now.wall.0 += 499;
    assert_eq!(world.get(b"k").status, Status::Ok);
    world.now.wall.0 += 1;
    assert_eq!(world.get(b"k").status, Status::NotFound);
    world.ask(&put_at(b"k", b"v", i64::MAX as u64));
    assert_eq!(world.expires_at(b"k"), Some(Some(i64::MAX)));
}

/// A value that is past its time when it is put must not come back when the clock is set back, and must not leave the old one.
#[test]
fn a_put_whose_time_has_passed_takes_the_key_away() {
    let mut world = World::new();
    let old = world.put(b"k", b"old");
    let now = world.now.wall.0;
    let gone = world.ask(&put_at(b"k", b"new", now));
    assert_eq!(status_and_value(&gone), (Status::Ok, Some(&b"old"[..])));
    assert!(gone.version > old.version, "it is a delete, with a version");
    assert_eq!(world.get(b"k").status, Status::NotFound);
    assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 0);
    let nothing = world.ask(&put_at(b"k", b"new", 0));
    assert_eq!((nothing.status, nothing.version), (Status::Ok, 0));
    world.now.wall.0 -= 1000;
    assert_eq!(world.get(b"k").status, Status::NotFound);
    assert_eq!(world.restart().get(b"k").status, Status::NotFound);
}

/// Conditions on an expiry decide who keeps a lease: each must hold exactly where it should, and say so.
#[test]
fn an_expiry_changes_under_its_condition() {
    use ExpiryCondition::{Always, IfEarlier, IfLater, IfNone, IfSome};
    let mut world = World::new();
    let now = world.now.wall.0;
    assert_eq!(
        world.ask(&expire(b"k", Expiry::Millis(5), Always)).status,
        Status::NotFound
    );
    let first = world.put(b"k", b"v");
    let done = |world: &mut World, expiry, condition| {
        let answer = world.ask(&expire(b"k", expiry, condition));
        assert_eq!(
            answer.value.as_deref(),
            Some(&b"v"[..]),
            "the value comes with it"
        );
        match answer.status {
            Status::Ok => true,
            Status::ConditionFailed => false,
            other => panic!("{other:?}"),
        }
    };
    let world = &mut world;
    assert!(!done(world, Expiry::Millis(50), IfSome));
    assert!(!done(world, Expiry::Millis(50), IfLater), "never is later");
    assert!(done(world, Expiry::Millis(50), IfEarlier));
    assert_eq!(world.expires_at(b"k"), Some(Some(now as i64 + 50)));
    assert!(!done(world, Expiry::Millis(90), IfNone));
    assert!(
        !done(world, Expiry::At(now + 50), IfLater),
        "it is the same"
    );
    assert!(done(world, Expiry::At(now + 51), IfLater));
    assert!(!done(world, Expiry::Never, IfEarlier));
    assert!(done(world, Expiry::Never, IfLater));
    assert_eq!(world.expires_at(b"k"), Some(None));
    assert!(done(world, Expiry::Millis(70), IfNone));
    assert!(done(world, Expiry::Never, IfSome), "persist");
    let before = world.get(b"k").version;
    assert!(before > first.version);
    assert!(done(world, Expiry::Never, Always));
    assert_eq!(world.get(b"k").version, before, "nothing changed");
    assert!(
        !done(world, Expiry::Millis(0), IfSome),
        "the condition comes first"
    );
    assert!(done(world, Expiry::Millis(0), Always));
    assert_eq!(world.get(b"k").status, Status::NotFound);
    assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 0);
}

#[test]
fn a_part_of_a_value_is_written_over() {
    let mut world = World::new();
    let nothing = world.ask(&overwrite(b"k", 70_000, b""));
    assert_eq!(
        (nothing.status, nothing.number, nothing.version),
        (Status::Ok, Some(0), 0)
    );
    assert_eq!(world.get(b"k").status, Status::NotFound);
    assert_eq!(world.ask(&overwrite(b"k", 3, b"abc")).number, Some(6));
    assert_eq!(world.value(b"k").as_deref(), Some(&b"\0\0\0abc"[..]));
    world.ask(&put_ttl(b"k", b"Hello World", 500));
    assert_eq!(world.ask(&overwrite(b"k", 6, b"Redis")).number, Some(11));
    assert_eq!(world.value(b"k").as_deref(), Some(&b"Hello Redis"[..]));
    assert_eq!(world.ask(&overwrite(b"k", 0, b"J")).number, Some(11));
    assert_eq!(world.ask(&overwrite(b"k", 0, b"")).number, Some(11));
    assert_eq!(world.value(b"k").as_deref(), Some(&b"Jello Redis"[..]));
    let at = world.now.wall.0 as i64 + 500;
    assert_eq!(world.expires_at(b"k"), Some(Some(at)), "it keeps its time");
}

/// Four bytes of offset must not make four gigabytes.
#[test]
fn what_an_overwrite_makes_is_bounded() {
    let mut world = World::new();
    let answer = world.ask(&overwrite(b"k", 100_000, b"x"));
    assert_eq!(answer.status, Status::LimitExceeded);
    assert!(answer.text.contains("value_len_max"), "{}", answer.text);
    let mut world = World::with(ShardConfig {
        value_len_max: 4 << 20,
        segment_len: 16 << 20,
        ..config()
    });
    let most = limits::APPEND_LEN_MAX as u32;
    assert_eq!(
        world.ask(&overwrite(b"k", most - 1, b"x")).number,
        Some(i64::from(most))
    );
    for offset in [most, u32::MAX] {
        let answer = world.ask(&overwrite(b"k", offset, b"x"));
        assert_eq!(answer.status, Status::LimitExceeded);
    }
    let answer = world.ask(&overwrite(b"k", most, b"x"));
    assert!(answer.text.contains("append_len_max"), "{}", answer.text);
}

#[test]
fn numbers_with_a_fraction_are_added_to() {
    let mut world = World::new();
    let first = world.ask(&add_float(b"n", b"10.5"));
    assert_eq!(status_and_value(&first), (Status::Ok, Some(&b"10.5"[..])));
    let numbers: Vec<u32> = (0..100)
        .map(|_| world.send(&add_float(b"n", b"0.1")))
        .collect();
    world.settle();
    let last = &world.inbox.answers[numbers.last().unwrap()];
    assert_eq!(last.value.as_deref(), Some(&b"20.5"[..]));
    assert_eq!(world.value(b"n").as_deref(), Some(&b"20.5"[..]));
    for (increment, reason) in [
        (&b"x"[..], "value is not a valid float"),
        (b"", "value is not a valid float"),
        (b"inf", "increment would produce NaN or Infinity"),
    ] {
        let answer = world.ask(&add_float(b"n", increment));
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (Status::NotACounter, reason)
        );
    }
    world.put(b"n", b"a word");
    let answer = world.ask(&add_float(b"n", b"1"));
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (Status::NotACounter, "value is not a valid float")
    );
    assert_eq!(world.value(b"n").as_deref(), Some(&b"a word"[..]));
}

/// A value of five thousand digits, and a pipeline of increments of one digit: each takes half a millisecond, thousands in a turn would take
/// seconds. Failing ones take as long.
#[test]
fn long_sums_fill_a_batch_soon() {
    let mut world = World::new();
    let long = "9".repeat(4_900);
    for (value, increment) in [
        (long.as_str(), "1"),
        ("1", long.as_str()),
        ("word", long.as_str()),
    ] {
        world.put(b"n", value.as_bytes());
        let sums = (0..100)
            .take_while(|_| {
                let had_room = world.shard.has_room();
                if had_room {
                    world.send(&add_float(b"n", increment.as_bytes()));
                }
                had_room
            })
            .count();
        assert!((1..=4).contains(&sums), "{sums} before the batch is full");
        world.settle();
        assert!(world.shard.has_room());
    }
    for number in 0..100 {
        let increment = format!("1.5e{}", number % 20);
        world.send(&add_float(b"short", increment.as_bytes()));
    }
    assert!(world.shard.has_room());
}

/// A client that is told "not an integer" of a counter that is one looks for a bug that isn't there. That must hold, too, where the
/// answer waits for another's commit.
#[test]
fn why_a_counter_was_not_added_to_is_told() {
    let add = |delta| Request::Add {
        keyspace: KEYSPACE,
        key: b"n",
        delta,
    };
    for (value, reason) in [
        (
            &b"9223372036854775807"[..],
            "increment or decrement would overflow",
        ),
        (b"ten", "value is not an integer or out of range"),
        (
            b"9223372036854775808",
            "value is not an integer or out of range",
        ),
    ] {
        let mut world = World::new();
        world.send_as(1, &put(b"n", value));
        let pending = world.send_as(2, &add(1));
        assert!(
            !world.inbox.answers.contains_key(&pending),
            "it waits for the put"
        );
        world.settle();
        let committed = world.ask(&add(1));
        for answer in [&world.inbox.answers[&pending], &committed] {
            assert_eq!(
                (answer.status, answer.text.as_str()),
                (Status::NotACounter, reason)
            );
        }
    }
}

#[test]
fn a_value_moves_with_its_expiry() {
    let mut world = World::new();
    let at = world.now.wall.0 as i64 + 500;
    assert_eq!(
        world.ask(&relocate(b"a", b"b", false, false)).status,
        Status::NotFound
    );
    assert_eq!(
        world.ask(&relocate(b"a", b"a", false, false)).status,
        Status::NotFound
    );
    world.ask(&put_ttl(b"a", b"v", 500));
    world.put(b"b", b"other");
    let failed = world.ask(&relocate(b"a", b"b", true, false));
    assert_eq!(failed.status, Status::ConditionFailed);
    assert_eq!(
        world.ask(&relocate(b"a", b"a", false, false)).status,
        Status::Ok
    );
    assert_eq!(
        world.ask(&relocate(b"a", b"a", true, false)).status,
        Status::ConditionFailed
    );
    assert_eq!(world.value(b"a").as_deref(), Some(&b"v"[..]));

    let moved = world.ask(&relocate(b"a", b"b", false, false));
    assert_eq!(moved.status, Status::Ok);
    let mut after = world.restart();
    for world in [&mut world, &mut after] {
        assert_eq!(world.get(b"a").status, Status::NotFound);
        let there = world.get(b"b");
        assert_eq!(
            (there.value.as_deref(), there.version),
            (Some(&b"v"[..]), moved.version)
        );
        assert_eq!(world.expires_at(b"b"), Some(Some(at)));
        assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 1);
    }
    assert_eq!(
        world.ask(&relocate(b"b", b"c", true, true)).status,
        Status::Ok
    );
    assert_eq!(world.value(b"b"), world.value(b"c"));
    assert_eq!(world.expires_at(b"c"), Some(Some(at)));
}

/// Large values are not copied by a move, and cold ones are read first, both of them.
#[test]
fn large_and_cold_values_move_too() {
    let large: Vec<u8> = (0..90_000).map(|at| (at % 251) as u8).collect();
    let mut world = World::with(ShardConfig {
        memory_bytes: 1 << 20,
        ..config()
    });
    world.put(b"from", &large);
    world.put(b"to", b"overwritten");
    for number in 0..60 {
        world.put(format!("filler {number}").as_bytes(), &[7; 50_000]);
    }
    let moved = world.send(&relocate(b"from", b"to", false, false));
    assert!(!world.inbox.answers.contains_key(&moved));
    let copied = world.send(&relocate(b"to", b"copy", false, true));
    let behind = world.send(&get(b"copy"));
    world.settle();
    for number in [moved, copied] {
        assert_eq!(world.inbox.answers[&number].status, Status::Ok);
    }
    assert_eq!(
        world.inbox.answers[&behind].value.as_deref(),
        Some(&large[..])
    );
    let mut after = world.restart();
    assert_eq!(after.get(b"from").status, Status::NotFound);
    for key in [b"to".as_slice(), b"copy"] {
        assert_eq!(after.value(key).as_deref(), Some(&large[..]));
    }
}

/// A copy of another's uncommitted value tells of it: the same connection must not read what was there before.
#[test]
fn a_copy_of_what_is_not_committed_is_not_followed_by_an_older_read() {
    let mut world = World::new();
    world.put(b"a", b"old");
    world.send_as(1, &put(b"a", b"new"));
    world.send_as(2, &relocate(b"a", b"b", false, true));
    let copy = world.send_as(2, &get(b"b"));
    let source = world.send_as(2, &get(b"a"));
    world.settle();
    for number in [copy, source] {
        assert_eq!(
            world.inbox.answers[&number].value.as_deref(),
            Some(&b"new"[..])
        );
    }
}

/// An atomic batch knows puts with an expiry of any kind.
#[test]
fn an_atomic_batch_takes_away_what_is_past_its_time() {
    let mut world = World::new();
    world.put(b"{t}a", b"1");
    let item = |key, ttl| {
        corduroy_proto_wire::BatchItem::Put(Put {
            key,
            value: b"2",
            ttl,
            condition: corduroy_proto_wire::Condition::Always,
            return_value: false,
        })
    };
    let items = vec![
        item(b"{t}a", Ttl::At(1)),
        item(b"{t}b", Ttl::At(1)),
        item(b"{t}c", Ttl::None),
    ];
    let answer = world.ask(&Request::AtomicBatch {
        keyspace: KEYSPACE,
        items,
    });
    assert_eq!(answer.status, Status::Ok);
    assert_eq!(world.shard.count(KeyspaceId::DEFAULT), 1);
    assert_eq!(world.value(b"{t}c").as_deref(), Some(&b"2"[..]));
}
