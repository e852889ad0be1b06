//! A node in a few lines: a map instead of shards, and the least of a driver. What it answers to a request is what the protocol's documentation
//! says; so that these tests are about orders and shapes.

use std::collections::BTreeMap;

use corduroy_proto_wire::{
    Body, Condition, Expiry, ExpiryCondition, Put, Request, Response, Status, Ttl,
};

use crate::gateway::resp::commands::{Next, next, order};
use crate::gateway::resp::order::{Moving, Order, Precondition, SessionOrder};
use crate::gateway::resp::session::{ClientText, Session, Settings, Transaction};
use crate::gateway::resp::{Shape, glob, reply};
use crate::types::{KeyspaceId, Now, WallMillis};

/// Late in 2023.
const NOW_MS: u64 = 1_700_000_000_000;

#[derive(Clone, Debug)]
struct Held {
    value: Vec<u8>,
    expiry_ms: Option<u64>,
    version: u64,
}

/// What is answered, before it borrows.
struct Outcome {
    status: Status,
    version: u64,
    body: Answered,
}

enum Answered {
    Empty,
    Value(Vec<u8>),
    Counter(i64),
    Number(u64),
    Ttl(Option<u64>),
    Error(&'static str),
}

pub(super) struct Node {
    keys: BTreeMap<(u32, Vec<u8>), Held>,
    versions: u64,
    pub(super) session: Session,
}

fn outcome(status: Status, body: Answered) -> Outcome {
    Outcome {
        status,
        version: 0,
        body,
    }
}

fn keyspace_of(database: u32) -> KeyspaceId {
    KeyspaceId(KeyspaceId::DEFAULT.0 + database)
}

impl Node {
    pub(super) fn new(settings: Settings) -> Node {
        Node {
            keys: BTreeMap::new(),
            versions: 0,
            session: Session::new(settings),
        }
    }

    fn now() -> Now {
        Now {
            wall: WallMillis(NOW_MS),
            ..Now::default()
        }
    }

    /// The reply to a command.
    pub(super) fn command(&mut self, arguments: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        match next(arguments, &mut self.session, Node::now()) {
            Next::Do(order) => self.carry_out(&order, &mut out),
            Next::Queued => reply::simple(&mut out, "QUEUED"),
            Next::Refused(error) => reply::error(&mut out, error.text()),
        }
        out
    }

    fn carry_out(&mut self, order: &Order<'_>, out: &mut Vec<u8>) {
        let protocol = self.session.protocol();
        match order {
            Order::Reply(bytes) | Order::AfterEarlier(bytes) => out.extend_from_slice(bytes),
            Order::One(request, shape) => self.one(request, *shape, out),
            Order::Array(requests) => {
                reply::array(out, requests.len());
                for (request, shape) in requests {
                    self.one(request, *shape, out);
                }
            }
            Order::Sum(requests) => {
                let done = requests
                    .iter()
                    .filter(|request| self.request(request).status == Status::Ok)
                    .count();
                reply::integer(out, done as i64);
            }
            Order::Together {
                preconditions,
                requests,
                shape,
            } => {
                let status = if preconditions.iter().all(|it| self.holds(it)) {
                    for request in requests {
                        assert_eq!(self.request(request).status, Status::Ok);
                    }
                    Status::Ok
                } else {
                    Status::ConditionFailed
                };
                self.write(&outcome(status, Answered::Empty), *shape, out);
            }
            Order::Move(moving, shape) => {
                let moved = self.move_key(moving);
                self.write(&moved, *shape, out);
            }
            Order::Scan(scan) => {
                assert_eq!(scan.cursor, 0);
                let pattern = scan.pattern.unwrap_or(b"*");
                reply::array(out, 2);
                reply::bulk(out, b"0");
                let pattern = if scan.strings { pattern } else { b"" };
                self.list(pattern, out);
            }
            Order::Keys { pattern } => self.list(pattern, out),
            Order::RandomKey => match self.names().first() {
                Some(name) => reply::bulk(out, name),
                None => reply::null(out, protocol),
            },
            Order::DbSize => reply::integer(out, self.names().len() as i64),
            Order::Flush { all } => {
                let keyspace = self.session.keyspace().0;
                self.keys.retain(|key, _| !all && key.0 != keyspace);
                reply::simple(out, "OK");
            }
            Order::Session(order) => self.session_order(order, out),
            Order::Info(_) | Order::Sleep { .. } => panic!("{order:?} is not the model's"),
        }
    }

    fn session_order(&mut self, order: &SessionOrder<'_>, out: &mut Vec<u8>) {
        let session = &mut self.session;
        match order {
            SessionOrder::Hello { protocol, name } => {
                if let Some(protocol) = protocol {
                    session.set_protocol(*protocol);
                }
                if let Some(name) = name {
                    session.set_text(ClientText::Name, name);
                }
            }
            SessionOrder::Select(database) => session.select(*database, keyspace_of(*database)),
            SessionOrder::Reset => {
                session.reset();
                return reply::simple(out, "RESET");
            }
            SessionOrder::Multi => session.begin(),
            SessionOrder::Discard => session.discard(),
            SessionOrder::Unwatch => session.unwatch(),
            SessionOrder::Watch(keys) => {
                let keyspace = session.keyspace();
                for key in keys {
                    let held = self.keys.get(&(keyspace.0, key.to_vec()));
                    let version = held.map(|held| held.version);
                    assert!(self.session.watch(keyspace, key, version));
                }
            }
            SessionOrder::Exec => {
                return match session.execute() {
                    Ok(transaction) => self.execute(&transaction, out),
                    Err(error) => reply::error(out, error.text()),
                };
            }
            SessionOrder::SetText(which, text) => session.set_text(*which, text),
            SessionOrder::GetName => {
                return match session.text(ClientText::Name) {
                    b"" => reply::null(out, session.protocol()),
                    name => reply::bulk(out, name),
                };
            }
            SessionOrder::ReadOnly(read_only) => session.set_read_only(*read_only),
            SessionOrder::ReplyMode(mode) => assert!(session.set_reply_mode(*mode)),
            SessionOrder::ClientKill(filter) => {
                return if filter.old_form {
                    reply::error(out, "ERR No such client");
                } else {
                    reply::integer(out, 0);
                };
            }
            _ => panic!("{order:?} is not the model's"),
        }
        reply::simple(out, "OK");
    }

    fn execute(&mut self, transaction: &Transaction, out: &mut Vec<u8>) {
        if !transaction.preconditions().all(|it| self.holds(&it)) {
            return reply::null_array(out, self.session.protocol());
        }
        reply::array(out, transaction.commands().len());
        for arguments in transaction.commands().iter() {
            match order(&arguments, &self.session, Node::now()) {
                Ok(order) => self.carry_out(&order, out),
                Err(error) => reply::error(out, error.text()),
            }
        }
    }

    fn names(&self) -> Vec<&[u8]> {
        let keyspace = self.session.keyspace().0;
        let here = self.keys.keys().filter(|key| key.0 == keyspace);
        here.map(|key| key.1.as_slice()).collect()
    }

    fn list(&self, pattern: &[u8], out: &mut Vec<u8>) {
        let mut names = self.names();
        names.retain(|name| glob::matches(pattern, name));
        reply::array(out, names.len());
        for name in names {
            reply::bulk(out, name);
        }
    }

    fn holds(&self, precondition: &Precondition<'_>) -> bool {
        let place = (precondition.keyspace.0, precondition.key.to_vec());
        self.keys.get(&place).map(|held| held.version) == precondition.version
    }

    fn move_key(&mut self, moving: &Moving<'_>) -> Outcome {
        let keyspace = moving.database.map_or(moving.destination.0, keyspace_of).0;
        let source = (moving.source.0.0, moving.source.1.to_vec());
        let destination = (keyspace, moving.destination.1.to_vec());
        let Some(held) = self.keys.get(&source).cloned() else {
            return outcome(Status::NotFound, Answered::Empty);
        };
        if moving.if_absent && self.keys.contains_key(&destination) {
            return outcome(Status::ConditionFailed, Answered::Empty);
        }
        if !moving.keep_source {
            self.keys.remove(&source);
        }
        self.keys.insert(destination, held);
        outcome(Status::Ok, Answered::Empty)
    }

    fn one(&mut self, request: &Request<'_>, shape: Shape, out: &mut Vec<u8>) {
        assert_eq!(request.validate(), Ok(()));
        let outcome = self.request(request);
        self.write(&outcome, shape, out);
    }

    fn write(&self, outcome: &Outcome, shape: Shape, out: &mut Vec<u8>) {
        let response = Response {
            status: outcome.status,
            version: outcome.version,
            timestamp_ms: 0,
            body: match &outcome.body {
                Answered::Empty => Body::Empty,
                Answered::Value(value) => Body::Value(value),
                Answered::Counter(number) => Body::Counter(*number),
                Answered::Number(number) => Body::Number(*number),
                Answered::Ttl(ttl) => Body::Ttl(*ttl),
                Answered::Error(reason) => Body::Error(reason),
            },
        };
        shape.write(&response, self.session.protocol(), out);
    }

    fn set(&mut self, place: (u32, Vec<u8>), value: Vec<u8>, expiry_ms: Option<u64>) {
        self.versions += 1;
        if expiry_ms.is_some_and(|at| at <= NOW_MS) {
            self.keys.remove(&place);
            return;
        }
        let version = self.versions;
        self.keys.insert(
            place,
            Held {
                value,
                expiry_ms,
                version,
            },
        );
    }

    fn request(&mut self, request: &Request<'_>) -> Outcome {
        let (keyspace, key) = place_of(request);
        let place = (keyspace, key.to_vec());
        let held = self.keys.get(&place).cloned();
        match request {
            Request::Put { put, .. } => return self.put(place, held.as_ref(), put),
            Request::Append { suffix, .. } => {
                let mut value = held.as_ref().map_or(Vec::new(), |held| held.value.clone());
                value.extend_from_slice(suffix);
                return self.grown(place, held.as_ref(), value);
            }
            Request::Overwrite { offset, bytes, .. } => {
                let mut value = held.as_ref().map_or(Vec::new(), |held| held.value.clone());
                if bytes.is_empty() {
                    return outcome(Status::Ok, Answered::Number(value.len() as u64));
                }
                let end = *offset as usize + bytes.len();
                value.resize(value.len().max(end), 0);
                value[*offset as usize..end].copy_from_slice(bytes);
                return self.grown(place, held.as_ref(), value);
            }
            Request::Add { delta, .. } => return self.add(place, held.as_ref(), *delta),
            Request::AddFloat { .. } => {
                return outcome(
                    Status::NotACounter,
                    Answered::Error("value is not a valid float"),
                );
            }
            _ => {}
        }
        let Some(held) = held else {
            return outcome(Status::NotFound, Answered::Empty);
        };
        match request {
            Request::Get { .. } => outcome(Status::Ok, Answered::Value(held.value)),
            Request::Exists { .. } => outcome(Status::Ok, Answered::Empty),
            Request::Ttl { .. } => {
                let left = held.expiry_ms.map(|at| at - NOW_MS);
                outcome(Status::Ok, Answered::Ttl(left))
            }
            Request::ExpiresAt { .. } => outcome(Status::Ok, Answered::Ttl(held.expiry_ms)),
            Request::Delete { delete, .. } => {
                let status = match delete.condition {
                    Condition::IfValue(value) if value != held.value => Status::ConditionFailed,
                    _ => Status::Ok,
                };
                if status == Status::Ok {
                    self.keys.remove(&place);
                }
                let value = delete.return_value.then_some(held.value);
                outcome(status, value.map_or(Answered::Empty, Answered::Value))
            }
            Request::Expire {
                expiry,
                condition,
                return_value,
                ..
            } => {
                let new = match expiry {
                    Expiry::Never => None,
                    Expiry::Millis(millis) => Some(NOW_MS + millis),
                    Expiry::At(at) => Some(*at),
                };
                let old = held.expiry_ms;
                let later = |one: Option<u64>, other: Option<u64>| {
                    one.unwrap_or(u64::MAX) > other.unwrap_or(u64::MAX)
                };
                let holds = match condition {
                    ExpiryCondition::Always => true,
                    ExpiryCondition::IfNone => old.is_none(),
                    ExpiryCondition::IfSome => old.is_some(),
                    ExpiryCondition::IfLater => later(new, old),
                    ExpiryCondition::IfEarlier => later(old, new),
                    ExpiryCondition::IfSomeEarlier => old.is_some() && later(old, new),
                };
                let status = if holds {
                    self.set(place, held.value.clone(), new);
                    Status::Ok
                } else {
                    Status::ConditionFailed
                };
                let value = return_value.then_some(held.value);
                outcome(status, value.map_or(Answered::Empty, Answered::Value))
            }
            _ => panic!("{request:?} is not the model's"),
        }
    }

    fn grown(&mut self, place: (u32, Vec<u8>), held: Option<&Held>, value: Vec<u8>) -> Outcome {
        let len = value.len() as u64;
        self.set(place, value, held.and_then(|held| held.expiry_ms));
        outcome(Status::Ok, Answered::Number(len))
    }

    fn add(&mut self, place: (u32, Vec<u8>), held: Option<&Held>, delta: i64) -> Outcome {
        let error = |reason| outcome(Status::NotACounter, Answered::Error(reason));
        let text = held.map_or(b"0".as_slice(), |held| &held.value);
        let Some(number) = super::number::integer(text) else {
            return error("value is not an integer or out of range");
        };
        let Some(sum) = number.checked_add(delta) else {
            return error("increment or decrement would overflow");
        };
        let expiry_ms = held.and_then(|held| held.expiry_ms);
        self.set(place, sum.to_string().into_bytes(), expiry_ms);
        outcome(Status::Ok, Answered::Counter(sum))
    }

    fn put(&mut self, place: (u32, Vec<u8>), held: Option<&Held>, put: &Put<'_>) -> Outcome {
        let holds = match put.condition {
            Condition::Always => true,
            Condition::IfAbsent => held.is_none(),
            Condition::IfPresent => held.is_some(),
            Condition::IfValue(value) => held.is_some_and(|held| held.value == value),
            Condition::IfVersion(version) => held.is_some_and(|held| held.version == version),
        };
        let old = held.filter(|_| put.return_value);
        let body = old.map_or(Answered::Empty, |held| Answered::Value(held.value.clone()));
        if !holds {
            return outcome(Status::ConditionFailed, body);
        }
        let expiry_ms = match put.ttl {
            Ttl::None => None,
            Ttl::Keep => held.and_then(|held| held.expiry_ms),
            Ttl::Millis(millis) => Some(NOW_MS + millis),
            Ttl::At(at) => Some(at),
        };
        self.set(place, put.value.to_vec(), expiry_ms);
        outcome(Status::Ok, body)
    }
}

fn place_of<'a>(request: &Request<'a>) -> (u32, &'a [u8]) {
    match *request {
        Request::Get { keyspace, key }
        | Request::Exists { keyspace, key }
        | Request::Ttl { keyspace, key }
        | Request::ExpiresAt { keyspace, key }
        | Request::Append { keyspace, key, .. }
        | Request::Overwrite { keyspace, key, .. }
        | Request::Add { keyspace, key, .. }
        | Request::AddFloat { keyspace, key, .. }
        | Request::Expire { keyspace, key, .. } => (keyspace, key),
        Request::Put { keyspace, put } => (keyspace, put.key),
        Request::Delete { keyspace, delete } => (keyspace, delete.key),
        _ => panic!("{request:?} is about no key"),
    }
}
