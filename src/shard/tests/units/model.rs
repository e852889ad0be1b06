//! Any requests, in units and alone, against a model: a map of keys, and one request after the other.

use std::collections::BTreeMap;

use corduroy_proto_wire::{Condition, Expiry, ExpiryCondition, Request, Status, Ttl};
use proptest::prelude::*;
use proptest::sample::select;

use super::{KEYSPACE, Sent, World, add, at_version, delete, get, put_with};
use crate::types::{Now, WallMillis};

/// What a key holds in the model.
type Held = (Vec<u8>, Option<u64>);

/// The state, and what must be answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model(BTreeMap<&'static [u8], Held>);

/// What is compared of an answer.
type Said = (Status, Option<Vec<u8>>, Option<i64>);

/// A request of the model's clients. Keys and values are few, so that requests meet.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Get(&'static [u8]),
    ExpiresAt(&'static [u8]),
    Put(&'static [u8], &'static [u8], Ttl, bool),
    Delete(&'static [u8]),
    Add(&'static [u8], i64),
    Append(&'static [u8], &'static [u8]),
    Overwrite(&'static [u8], u32, &'static [u8]),
    Expire(&'static [u8], Expiry, ExpiryCondition),
    Move(&'static [u8], &'static [u8], bool, bool),
}

const KEYS: [&[u8]; 5] = [b"a", b"b", b"{t}c", b"{t}d", b"e"];
const VALUES: [&[u8]; 4] = [b"", b"7", b"word", b"a somewhat longer value"];
const NOW: u64 = 1_700_000_000_000;

pub(super) fn op() -> impl Strategy<Value = Op> {
    let key = || select(&KEYS[..]);
    let value = || select(&VALUES[..]);
    let ttl = select(vec![
        Ttl::None,
        Ttl::Keep,
        Ttl::Millis(50),
        Ttl::At(NOW + 90),
        Ttl::At(NOW),
    ]);
    let expiry = select(vec![
        Expiry::Never,
        Expiry::Millis(0),
        Expiry::Millis(60),
        Expiry::At(NOW + 70),
    ]);
    let condition = select(vec![
        ExpiryCondition::Always,
        ExpiryCondition::IfNone,
        ExpiryCondition::IfSome,
        ExpiryCondition::IfLater,
        ExpiryCondition::IfEarlier,
        ExpiryCondition::IfSomeEarlier,
    ]);
    prop_oneof![
        2 => key().prop_map(Op::Get),
        1 => key().prop_map(Op::ExpiresAt),
        4 => (key(), value(), ttl, any::<bool>()).prop_map(|(key, value, ttl, if_absent)| Op::Put(key, value, ttl, if_absent)),
        1 => key().prop_map(Op::Delete),
        2 => (key(), -9i64..9).prop_map(|(key, delta)| Op::Add(key, delta)),
        1 => (key(), value()).prop_map(|(key, suffix)| Op::Append(key, suffix)),
        1 => (key(), 0u32..9, value()).prop_map(|(key, offset, bytes)| Op::Overwrite(key, offset, bytes)),
        2 => (key(), expiry, condition).prop_map(|(key, expiry, condition)| Op::Expire(key, expiry, condition)),
        3 => (key(), key(), any::<bool>(), any::<bool>()).prop_map(|(from, to, if_absent, keep)| Op::Move(from, to, if_absent, keep)),
    ]
}

impl Op {
    pub(super) fn request(&self) -> Request<'static> {
        let keyspace = KEYSPACE;
        match *self {
            Op::Get(key) => get(key),
            Op::ExpiresAt(key) => Request::ExpiresAt { keyspace, key },
            Op::Put(key, value, ttl, if_absent) => {
                let condition = if if_absent {
                    Condition::IfAbsent
                } else {
                    Condition::Always
                };
                put_with(key, value, ttl, condition)
            }
            Op::Delete(key) => delete(key),
            Op::Add(key, delta) => add(key, delta),
            Op::Append(key, suffix) => Request::Append {
                keyspace,
                key,
                suffix,
            },
            Op::Overwrite(key, offset, bytes) => Request::Overwrite {
                keyspace,
                key,
                offset,
                bytes,
            },
            Op::Expire(key, expiry, condition) => Request::Expire {
                keyspace,
                key,
                expiry,
                condition,
                return_value: true,
            },
            Op::Move(from, to, if_absent, keep_source) => Request::Move {
                source: (keyspace, from),
                destination: (keyspace, to),
                if_absent,
                keep_source,
            },
        }
    }
}

impl Model {
    pub(super) fn get(&self, key: &[u8], now: Now) -> Option<&Held> {
        self.0
            .get(key)
            .filter(|(_, expiry)| expiry.is_none_or(|at| at > now.wall.0))
    }

    fn set(&mut self, key: &'static [u8], value: Vec<u8>, expiry: Option<u64>) {
        self.0.insert(key, (value, expiry));
    }

    pub(super) fn apply(&mut self, op: &Op, now: Now) -> Said {
        let ok = (Status::Ok, None, None);
        let key = match *op {
            Op::Get(key)
            | Op::ExpiresAt(key)
            | Op::Put(key, ..)
            | Op::Delete(key)
            | Op::Add(key, _)
            | Op::Append(key, _)
            | Op::Overwrite(key, ..)
            | Op::Expire(key, ..)
            | Op::Move(key, ..) => key,
        };
        let held = self.get(key, now).cloned();
        let old = held.as_ref().map(|(value, _)| value.clone());
        let expiry = held.as_ref().and_then(|(_, expiry)| *expiry);
        let value = old.clone().unwrap_or_default();
        match *op {
            Op::Get(_) | Op::ExpiresAt(_) | Op::Delete(_) | Op::Expire(..) | Op::Move(..)
                if held.is_none() =>
            {
                (Status::NotFound, None, None)
            }
            Op::Get(_) => (Status::Ok, old, None),
            Op::ExpiresAt(_) => (Status::Ok, None, expiry.map(|at| at as i64)),
            Op::Put(_, _, _, true) if held.is_some() => (Status::ConditionFailed, old, None),
            Op::Put(key, value, ttl, _) => {
                match ttl {
                    Ttl::At(at) if at <= now.wall.0 => {
                        self.0.remove(key);
                    }
                    Ttl::None => self.set(key, value.to_vec(), None),
                    Ttl::Keep => self.set(key, value.to_vec(), expiry),
                    Ttl::Millis(ms) => self.set(key, value.to_vec(), Some(now.wall.0 + ms)),
                    Ttl::At(at) => self.set(key, value.to_vec(), Some(at)),
                }
                (Status::Ok, old, None)
            }
            Op::Delete(key) => {
                self.0.remove(key);
                ok
            }
            Op::Add(key, delta) => {
                let text = String::from_utf8(value).unwrap();
                // A counter is text that prints back as itself.
                let counter = text
                    .parse::<i64>()
                    .ok()
                    .filter(|number| number.to_string() == text);
                let number = match (held, counter) {
                    (None, _) => Some(delta),
                    (Some(_), counter) => counter.and_then(|number| number.checked_add(delta)),
                };
                let Some(number) = number else {
                    return (Status::NotACounter, None, None);
                };
                self.set(key, number.to_string().into_bytes(), expiry);
                (Status::Ok, None, Some(number))
            }
            Op::Append(key, suffix) => {
                let value = [&value, suffix].concat();
                let len = value.len() as i64;
                self.set(key, value, expiry);
                (Status::Ok, None, Some(len))
            }
            Op::Overwrite(_, _, b"") => (Status::Ok, None, Some(value.len() as i64)),
            Op::Overwrite(key, offset, bytes) => {
                let mut value = value;
                let (begin, end) = (offset as usize, offset as usize + bytes.len());
                value.resize(value.len().max(end), 0);
                value[begin..end].copy_from_slice(bytes);
                let len = value.len() as i64;
                self.set(key, value, expiry);
                (Status::Ok, None, Some(len))
            }
            Op::Expire(key, new, condition) => {
                let new = match new {
                    Expiry::Never => None,
                    Expiry::Millis(ms) => Some(now.wall.0 + ms),
                    Expiry::At(at) => Some(at),
                };
                let (was, will) = (expiry.unwrap_or(u64::MAX), new.unwrap_or(u64::MAX));
                let holds = match condition {
                    ExpiryCondition::Always => true,
                    ExpiryCondition::IfNone => expiry.is_none(),
                    ExpiryCondition::IfSome => expiry.is_some(),
                    ExpiryCondition::IfLater => will > was,
                    ExpiryCondition::IfEarlier => will < was,
                    ExpiryCondition::IfSomeEarlier => expiry.is_some() && will < was,
                };
                if !holds {
                    return (Status::ConditionFailed, old, None);
                }
                if will <= now.wall.0 {
                    self.0.remove(key);
                } else {
                    self.set(key, value, new);
                }
                (Status::Ok, old, None)
            }
            Op::Move(from, to, if_absent, keep) => {
                if if_absent && self.get(to, now).is_some() {
                    return (Status::ConditionFailed, None, None);
                }
                if from != to && !keep {
                    self.0.remove(from);
                }
                self.set(to, value, expiry);
                ok
            }
        }
    }

    /// Compares all keys.
    #[track_caller]
    pub(super) fn check(&self, world: &mut World) {
        for key in KEYS {
            let there = world.get(key).value;
            let expected = self.get(key, world.now).map(|(value, _)| value.clone());
            assert_eq!(there, expected, "{key:?}");
        }
    }

    /// Whether all keys are as they are here.
    pub(super) fn is_in(&self, world: &mut World) -> bool {
        KEYS.iter().all(|key| {
            let expected = self.get(key, world.now).map(|(value, _)| value.clone());
            world.get(key).value == expected
        })
    }
}

/// What a client does next.
#[derive(Clone, Debug)]
enum Step {
    /// Client 1 asks for one thing. Its reads see its own writes, and units', at once.
    One(Op),
    /// Any client asks for several.
    Unit(u32, Vec<Op>, Watch),
    /// A turn ends.
    Turn,
    /// The disk does something.
    Disk,
    /// Milliseconds pass.
    Pass(u64),
    /// The node is killed and started again, when all is answered.
    Restart,
}

/// What is watched before a unit.
#[derive(Clone, Copy, Debug)]
enum Watch {
    Nothing,
    /// This key, as it is.
    Holds(&'static [u8]),
    /// This key at a version that it never had.
    Fails(&'static [u8]),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || select(&KEYS[..]);
    let watch = prop_oneof![
        4 => Just(Watch::Nothing),
        1 => key().prop_map(Watch::Holds),
        1 => key().prop_map(Watch::Fails),
    ];
    let ops = proptest::collection::vec(op(), 0..9);
    prop_oneof![
        6 => op().prop_map(Step::One),
        6 => (1u32..4, ops, watch).prop_map(|(client, ops, watch)| Step::Unit(client, ops, watch)),
        4 => Just(Step::Turn),
        3 => Just(Step::Disk),
        1 => (1u64..40).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

/// What was sent and what must be answered.
enum Expected {
    One(u32, Said),
    Unit(Sent, Vec<Said>),
    Failed(Sent),
}

fn check_answers(world: &World, expected: Vec<Expected>) {
    let said = |number: u32| {
        let answer = &world.inbox.answers[&number];
        (answer.status, answer.value.clone(), answer.number)
    };
    for each in expected {
        match each {
            Expected::One(number, expected) => assert_eq!(said(number), expected),
            Expected::Unit(sent, expected) => {
                world.answers(&sent);
                let inside: Vec<Said> = sent.inside.iter().map(|number| said(*number)).collect();
                assert_eq!(inside, expected);
            }
            Expected::Failed(sent) => world.assert_refused(&sent, Status::ConditionFailed, ""),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is asked, by whom, and however far the disk has come: it is as if one thing had been done after the other.
    #[test]
    fn units_and_single_requests_are_as_if_done_one_after_the_other(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        world.now.wall = WallMillis(NOW);
        let mut model = Model::default();
        let mut expected = Vec::new();
        for step in steps {
            match step {
                Step::One(op) => {
                    // Alone, client 1 is not to be shown what others have not committed; so all is, if it may read that.
                    if matches!(op, Op::Get(_) | Op::ExpiresAt(_)) {
                        world.settle();
                    }
                    let said = model.apply(&op, world.now);
                    expected.push(Expected::One(world.send(&op.request()), said));
                }
                Step::Unit(client, ops, watch) => {
                    let watched = match watch {
                        Watch::Nothing => vec![],
                        Watch::Fails(key) => vec![at_version(key, Some(u64::MAX))],
                        Watch::Holds(key) => {
                            world.settle();
                            let answer = world.get(key);
                            let version = (answer.status == Status::Ok).then_some(answer.version);
                            vec![at_version(key, version)]
                        }
                    };
                    let requests: Vec<Request<'_>> = ops.iter().map(Op::request).collect();
                    let sent = world.send_unit_as(client, &watched, &requests);
                    if matches!(watch, Watch::Fails(_)) {
                        expected.push(Expected::Failed(sent));
                    } else {
                        let said = ops.iter().map(|op| model.apply(op, world.now)).collect();
                        expected.push(Expected::Unit(sent, said));
                    }
                }
                Step::Turn => world.end_turn(),
                Step::Disk => {
                    world.step();
                }
                Step::Pass(ms) => world.now.wall.0 += ms,
                Step::Restart => {
                    world.settle();
                    check_answers(&world, std::mem::take(&mut expected));
                    world = world.restart();
                    model.check(&mut world);
                }
            }
        }
        world.settle();
        check_answers(&world, expected);
        model.check(&mut world);
        model.check(&mut world.restart());
    }
}
