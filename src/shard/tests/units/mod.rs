//! Units: requests that take effect together.

mod crashes;
mod model;

use corduroy_proto_wire::{
    Condition, Expiry, ExpiryCondition, LENGTH_LEN, Precondition, Put, Request, Status, Ttl,
};

use super::{Answer, KEYSPACE, World, config, delete, get, put, put_if};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::hold::Hold;
use crate::shard::{Origin, ShardCommand, ShardConfig, ShardReply, Target};
use crate::storage::disk::DiskOperation;
use crate::types::{KeyspaceId, ShardId};

/// Where requests come from that the world does not send.
const ORIGIN: Origin = Origin {
    shard: ShardId(0),
    client: ConnectionId {
        slot: 1,
        generation: 1,
    },
    target: Target::Client(902),
    get: false,
};

/// A unit that was sent: its own number, and those of its requests.
#[derive(Clone, Debug)]
struct Sent {
    own: u32,
    inside: Vec<u32>,
}

impl World {
    fn send_unit_as(
        &mut self,
        client: u32,
        preconditions: &[Precondition<'_>],
        requests: &[Request<'_>],
    ) -> Sent {
        let mut inside = Vec::new();
        let mut frames = Vec::new();
        for request in requests {
            inside.push(self.request_next);
            let mut frame = Vec::new();
            request.encode(self.request_next, &mut frame);
            frames.push(frame.split_off(LENGTH_LEN));
            self.request_next += 1;
        }
        let unit = Request::Unit {
            preconditions: preconditions.to_vec(),
            frames: frames.iter().map(Vec::as_slice).collect(),
        };
        let own = self.send_as(client, &unit);
        Sent { own, inside }
    }

    fn send_unit(&mut self, requests: &[Request<'_>]) -> Sent {
        self.send_unit_as(1, &[], requests)
    }

    fn status_of(&self, number: u32) -> Option<Status> {
        Some(self.inbox.answers.get(&number)?.status)
    }

    /// The answers to a unit that was carried out.
    #[track_caller]
    fn answers(&self, sent: &Sent) -> Vec<Answer> {
        assert_eq!(
            self.status_of(sent.own),
            Some(Status::Ok),
            "{:?}",
            self.inbox.answers.get(&sent.own)
        );
        sent.inside
            .iter()
            .map(|number| self.inbox.answers[number].clone())
            .collect()
    }

    #[track_caller]
    fn assert_refused(&self, sent: &Sent, status: Status, word: &str) {
        let answer = &self.inbox.answers[&sent.own];
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.text.contains(word), "{}", answer.text);
        for number in &sent.inside {
            assert_eq!(self.status_of(*number), None, "nothing inside is answered");
        }
    }
}

fn add(key: &[u8], delta: i64) -> Request<'_> {
    Request::Add {
        keyspace: KEYSPACE,
        key,
        delta,
    }
}

fn at_version(key: &[u8], version: Option<u64>) -> Precondition<'_> {
    Precondition {
        keyspace: KEYSPACE,
        key,
        version,
    }
}

/// What transactions are for: each request sees those before it, and nobody sees a part.
#[test]
fn a_unit_is_done_in_order_and_seen_at_once() {
    let mut world = World::new();
    world.put(b"a", b"1");
    let sent = world.send_unit(&[
        add(b"a", 4),
        get(b"a"),
        Request::Move {
            source: (KEYSPACE, b"a"),
            destination: (KEYSPACE, b"b"),
            if_absent: true,
            keep_source: false,
        },
        get(b"a"),
        put_if(b"b", b"no", Condition::IfAbsent),
        put(b"c", b"3"),
    ]);
    let others = [b"a", b"b", b"c"].map(|key| world.send_as(2, &get(key)));
    let seen = others.map(|number| world.inbox.answers[&number].value.clone());
    assert_eq!(
        seen,
        [Some(b"1".to_vec()), None, None],
        "others see what is committed"
    );
    assert_eq!(world.status_of(sent.own), None);
    world.settle();
    let answers = world.answers(&sent);
    let statuses: Vec<Status> = answers.iter().map(|answer| answer.status).collect();
    let (ok, failed) = (Status::Ok, Status::ConditionFailed);
    assert_eq!(statuses, [ok, ok, ok, Status::NotFound, failed, ok]);
    assert_eq!(answers[0].number, Some(5));
    assert_eq!(answers[1].value.as_deref(), Some(&b"5"[..]));
    assert_eq!(world.get(b"b").value.as_deref(), Some(&b"5"[..]));
    assert_eq!(world.get(b"c").value.as_deref(), Some(&b"3"[..]));
}

/// The whole of a unit is one block: in two, a power loss between them would leave half a transaction.
#[test]
fn a_unit_is_one_block() {
    let mut world = World::new();
    let keys: Vec<String> = (0..500).map(|number| format!("key {number}")).collect();
    let before = world.shard.status().blocks;
    let puts: Vec<Request<'_>> = keys.iter().map(|key| put(key.as_bytes(), b"v")).collect();
    let sent = world.send_unit(&puts);
    world.settle();
    assert_eq!(world.answers(&sent).len(), 500);
    assert_eq!(world.shard.status().blocks, before + 1);
}

/// A request that can't be done is answered with its error, and the next one goes on: there is no way back.
#[test]
fn a_request_that_fails_inside_does_not_stop_the_others() {
    let mut world = World::new();
    world.put(b"word", b"word");
    let long = vec![b'x'; config().value_len_max + 1];
    let sent = world.send_unit(&[
        put(b"a", b"1"),
        add(b"word", 1),
        put(b"long", &long),
        put(b"b", b"2"),
    ]);
    world.settle();
    let answers = world.answers(&sent);
    assert_eq!(answers[1].text, "value is not an integer or out of range");
    assert!(
        answers[2].text.contains("value_len_max"),
        "{}",
        answers[2].text
    );
    assert_eq!(world.get(b"a").value.as_deref(), Some(&b"1"[..]));
    assert_eq!(world.get(b"b").value.as_deref(), Some(&b"2"[..]));
}

/// WATCH: a transaction must not be carried out on what has changed since it was looked at, committed or not.
#[test]
fn a_unit_is_carried_out_only_if_its_preconditions_hold() {
    let mut world = World::new();
    let version = world.put(b"a", b"1").version;
    let watched = [at_version(b"a", Some(version)), at_version(b"b", None)];
    let sent = world.send_unit_as(1, &watched, &[put(b"a", b"2")]);
    world.settle();
    assert_eq!(world.answers(&sent).len(), 1);

    let other = world.send_as(2, &put(b"b", b"there"));
    let version = world.get(b"a").version;
    for watched in [
        at_version(b"a", Some(version - 1)),
        at_version(b"a", None),
        at_version(b"b", None),
        at_version(b"c", Some(1)),
    ] {
        let sent = world.send_unit_as(1, &[watched], &[put(b"a", b"3"), get(b"a")]);
        world.settle();
        world.assert_refused(&sent, Status::ConditionFailed, "");
    }
    assert_eq!(world.status_of(other), Some(Status::Ok));
    assert_eq!(world.get(b"a").value.as_deref(), Some(&b"2"[..]));

    // That it failed because of an uncommitted write may be told only when that is committed, and then to all.
    world.send_as(2, &put(b"a", b"new"));
    let sent = world.send_unit_as(1, &[at_version(b"a", Some(version))], &[]);
    let read = world.send_as(3, &get(b"a"));
    assert_eq!(
        (world.status_of(sent.own), world.status_of(read)),
        (None, None)
    );
    world.settle();
    world.assert_refused(&sent, Status::ConditionFailed, "");
    assert_eq!(
        world.inbox.answers[&read].value.as_deref(),
        Some(&b"new"[..])
    );
}

/// A unit that read what was before another connection's write, and wrote what comes after it, would be neither before it nor after it.
#[test]
fn reads_in_a_unit_see_what_others_have_not_committed_yet() {
    let mut world = World::new();
    world.put(b"a", b"old");
    world.send_as(2, &put(b"a", b"new"));
    let sent = world.send_unit_as(1, &[], &[get(b"a"), get(b"b")]);
    assert_eq!(
        world.status_of(sent.own),
        None,
        "it tells of what is not committed"
    );
    let read = world.send_as(3, &get(b"a"));
    assert_eq!(
        world.status_of(read),
        None,
        "nobody is shown what was before any more"
    );
    world.settle();
    let answers = world.answers(&sent);
    assert_eq!(answers[0].value.as_deref(), Some(&b"new"[..]));
    assert_eq!(answers[1].status, Status::NotFound);
    // Without anything to wait for it is answered at once.
    let sent = world.send_unit(&[get(b"a")]);
    assert_eq!(world.answers(&sent)[0].value.as_deref(), Some(&b"new"[..]));
}

/// The keys of a unit are in any partitions, some of them on disk; what comes later must not overtake it on any of them.
#[test]
fn a_unit_that_waits_for_the_disk_keeps_its_place() {
    let mut world = World::with(ShardConfig {
        memory_bytes: 1 << 20,
        ..config()
    });
    world.put(b"cold", b"1");
    world.put(b"colder", b"10");
    for number in 0..60 {
        world.put(format!("filler {number}").as_bytes(), &[7; 50_000]);
    }
    world.put(b"warm", b"100");
    let sent = world.send_unit(&[add(b"warm", 1), add(b"cold", 1), add(b"colder", 1)]);
    let later = world.send_as(2, &add(b"warm", 1000));
    let precondition = [at_version(b"warm", None)];
    let last = world.send_unit_as(2, &precondition, &[]);
    assert_eq!(world.status_of(later), None);
    world.settle();
    let numbers: Vec<_> = world
        .answers(&sent)
        .iter()
        .map(|answer| answer.number)
        .collect();
    assert_eq!(numbers, [Some(101), Some(2), Some(11)]);
    assert_eq!(world.inbox.answers[&later].number, Some(1101));
    world.assert_refused(&last, Status::ConditionFailed, "");
}

/// A unit behind a flush waits for it as a whole: half of it before and half after would be half a unit.
#[test]
fn a_unit_behind_a_flush_comes_after_it() {
    let mut world = World::new();
    world.put(b"a", b"1");
    world.put(b"b", b"1");
    world.command(ShardCommand::Flush {
        keyspace: KeyspaceId::DEFAULT,
    });
    let sent = world.send_unit(&[add(b"a", 5), add(b"b", 5), get(b"c")]);
    world.settle();
    let answers = world.answers(&sent);
    assert_eq!((answers[0].number, answers[1].number), (Some(5), Some(5)));
    assert_eq!(world.restart().get(b"a").value.as_deref(), Some(&b"5"[..]));
}

/// A unit whose block fails must not be answered in parts.
#[test]
fn a_unit_that_fails_is_answered_as_a_whole() {
    let mut world = World::new();
    world.put(b"a", b"1");
    let lost = world.send_unit(&[get(b"a"), put(b"a", b"2")]);
    world.end_turn();
    let behind = world.send_unit(&[get(b"b"), put(b"b", b"2")]);
    world.fail(
        |operation| matches!(operation, DiskOperation::Write { .. }),
        libc::EIO,
    );
    world.assert_refused(&lost, Status::OutcomeUnknown, "");
    world.assert_refused(&behind, Status::ReadOnly, "");
    let refused = world.send_unit(&[get(b"a"), put(b"a", b"2")]);
    world.assert_refused(&refused, Status::ReadOnly, "takes no writes");
    let read = world.send_unit(&[get(b"a")]);
    assert_eq!(world.answers(&read)[0].value.as_deref(), Some(&b"1"[..]));
}

/// An expiry of forty bytes logs a value of any length anew, and a thousand of them fit into a small frame: what they come to is found out before
/// anything is done.
#[test]
fn a_unit_is_bounded_by_what_it_would_write_and_give_back() {
    let mut world = World::with(ShardConfig {
        value_len_max: 4 << 20,
        large_len: 256 << 10,
        segment_len: 16 << 20,
        ..config()
    });
    let value = vec![b'v'; 200 << 10];
    world.put(b"a", &value);
    let touch = Request::Touch {
        keyspace: KEYSPACE,
        key: b"a",
        ttl_ms: 1_000_000,
    };
    let copy = Request::Move {
        source: (KEYSPACE, b"a"),
        destination: (KEYSPACE, b"b"),
        if_absent: false,
        keep_source: true,
    };
    let append = Request::Append {
        keyspace: KEYSPACE,
        key: b"new",
        suffix: &value,
    };
    let overwrite = Request::Overwrite {
        keyspace: KEYSPACE,
        key: b"other",
        offset: 1_000_000,
        bytes: b"x",
    };
    let long_float = "0".repeat(5_000) + "1";
    let add_float = Request::AddFloat {
        keyspace: KEYSPACE,
        key: b"f",
        increment: long_float.as_bytes(),
    };
    let before = world.shard.status().blocks;
    for (request, count) in [
        (touch, 7),
        (copy, 7),
        (append, 5),
        (overwrite, 3),
        (add_float, 17),
    ] {
        let sent = world.send_unit(&vec![request.clone(); count]);
        world.assert_refused(&sent, Status::LimitExceeded, "batch_bytes_max");
        assert_eq!(world.shard.status().blocks, before);
    }
    let sent = world.send_unit(&vec![get(b"a"); 6]);
    world.assert_refused(&sent, Status::LimitExceeded, "give back values");
    assert_eq!(world.get(b"new").status, Status::NotFound);

    // Just within, and one large value beside.
    let large = vec![b'l'; 3 << 20];
    world.put(b"large", &large);
    let expire = Request::Expire {
        keyspace: KEYSPACE,
        key: b"large",
        expiry: Expiry::Millis(1_000_000),
        condition: ExpiryCondition::Always,
        return_value: true,
    };
    let touch = |key| Request::Touch {
        keyspace: KEYSPACE,
        key,
        ttl_ms: 5,
    };
    let requests = [expire, get(b"large"), touch(b"a"), touch(b"a"), get(b"a")];
    let sent = world.send_unit(&requests);
    world.settle();
    let answers = world.answers(&sent);
    assert_eq!(answers[0].value.as_deref(), Some(&large[..]));
    assert_eq!(answers[4].value.as_deref(), Some(&value[..]));
    let numbers = vec![
        Request::AddFloat {
            keyspace: KEYSPACE,
            key: b"short",
            increment: b"0.1",
        };
        1000
    ];
    let sent = world.send_unit(&numbers);
    world.settle();
    assert_eq!(
        world.answers(&sent)[999].value.as_deref(),
        Some(&b"100"[..])
    );
}

/// A value that is kept where it was received, in a frame that many other requests came in.
#[test]
fn a_large_value_may_be_in_a_unit() {
    let mut world = World::new();
    let large: Vec<u8> = (0..90_000).map(|at| (at % 251) as u8).collect();
    let mut frames = Vec::new();
    for (id, request) in [(900, put(b"large", &large)), (901, put(b"small", b"s"))] {
        let mut frame = Vec::new();
        request.encode(id, &mut frame);
        frames.push(frame.split_off(LENGTH_LEN));
    }
    let mut whole = Vec::new();
    Request::Unit {
        preconditions: vec![],
        frames: frames.iter().map(Vec::as_slice).collect(),
    }
    .encode(902, &mut whole);
    let whole = bytes::Bytes::from(whole).slice(LENGTH_LEN..);
    let (_, unit) = Request::decode(&whole).unwrap();
    world
        .shard
        .execute_large(world.now, ORIGIN, &whole, &unit, &mut world.inbox);
    world.settle();
    assert_eq!(world.status_of(902), Some(Status::Ok));
    assert_eq!(world.get(b"large").value.as_deref(), Some(&large[..]));
    let mut after = world.restart();
    assert_eq!(after.get(b"large").value.as_deref(), Some(&large[..]));
    assert_eq!(after.get(b"small").value.as_deref(), Some(&b"s"[..]));
}

/// A frame inside that is none, a keyspace that is not there or not theirs: refused as a whole.
#[test]
fn a_unit_with_something_wrong_in_it_is_refused_as_a_whole() {
    let mut world = World::new();
    let elsewhere = |keyspace| Request::Get {
        keyspace,
        key: b"k",
    };
    for keyspace in [99, KeyspaceId::SYSTEM.0] {
        let sent = world.send_unit(&[put(b"k", b"v"), elsewhere(keyspace)]);
        world.assert_refused(&sent, Status::UnknownKeyspace, "no keyspace");
    }
    let mut frame = Vec::new();
    put(b"k", b"v").encode(70, &mut frame);
    let frame = frame.split_off(LENGTH_LEN);
    let own = world.send(&Request::Unit {
        preconditions: vec![],
        frames: vec![&frame, &frame[..12]],
    });
    assert_eq!(world.status_of(own), Some(Status::InvalidRequest));
    world.settle();
    assert_eq!(world.get(b"k").status, Status::NotFound);
}

/// The node's figures: each request inside counts as its kind, once, and the unit as one.
#[test]
fn requests_inside_are_counted() {
    let mut world = World::new();
    let sent = world.send_unit(&[put(b"a", b"1"), get(b"a"), get(b"b"), delete(b"c")]);
    world.settle();
    world.answers(&sent);
    let status = world.shard.status();
    let counted = |kind: &str| {
        status
            .requests
            .iter()
            .find(|status| status.kind == kind)
            .map_or(0, |status| status.requests)
    };
    let kinds = ["put", "get", "delete", "unit"].map(counted);
    assert_eq!(kinds, [1, 2, 1, 1]);
}

/// What the model and the crashes use, too.
fn put_with<'a>(key: &'a [u8], value: &'a [u8], ttl: Ttl, condition: Condition<'a>) -> Request<'a> {
    Request::Put {
        keyspace: KEYSPACE,
        put: Put {
            key,
            value,
            ttl,
            condition,
            return_value: true,
        },
    }
}

/// Relations that the tests above rest on.
const _: () =
    assert!(limits::BATCH_BYTES_MAX == 1 << 20 && limits::FLOAT_LONG_COST * 16 >= 1 << 20);

/// The parts of a transaction commit on their shards one after the other. Whoever had seen the first and then read a key of the second was shown what was
/// before it: that part had let go of its keys, and was not committed. The simulator found this (seed 813).
#[test]
fn nobody_reads_past_a_part_that_is_not_committed() {
    let mut world = World::new();
    world.put(b"k", b"old");
    world.command(ShardCommand::Hold(Hold {
        keys: vec![(KeyspaceId::DEFAULT, b"k".to_vec())],
        writes: true,
        ..Hold::default()
    }));
    let Some(ShardReply::Held(held)) = world.inbox.internal.pop() else {
        panic!("the key is held at once");
    };
    let mut frame = Vec::new();
    put(b"k", b"new").encode(901, &mut frame);
    let frame = frame.split_off(LENGTH_LEN);
    let mut part = Vec::new();
    Request::Unit {
        preconditions: vec![],
        frames: vec![&frame],
    }
    .encode(902, &mut part);
    let part = bytes::Bytes::from(part.split_off(LENGTH_LEN));
    let run = ShardCommand::Run(held.id, part);
    world
        .shard
        .command(world.now, ORIGIN, run, &mut world.inbox);
    let read = world.send_as(2, &get(b"k"));
    assert_eq!(world.status_of(read), None, "it waits for the commit");
    world.settle();
    let read = &world.inbox.answers[&read];
    assert_eq!(read.value.as_deref(), Some(&b"new"[..]));
}

/// What a shard that holds says of its keys goes into what other shards write; if that was not committed, the power could fail on this one alone.
#[test]
fn a_hold_waits_until_its_keys_are_committed() {
    let mut world = World::new();
    world.send_as(1, &put(b"k", b"new"));
    world.command(ShardCommand::Hold(Hold {
        keys: vec![(KeyspaceId::DEFAULT, b"k".to_vec())],
        ..Hold::default()
    }));
    assert!(world.inbox.internal.is_empty(), "the put is not committed");
    world.settle();
    assert!(matches!(world.inbox.internal[..], [ShardReply::Held(_)]));
}
