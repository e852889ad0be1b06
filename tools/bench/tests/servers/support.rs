//! One connection that is driven by hand.

use std::{
    cell::Cell,
    io::{Read, Write},
    net::TcpStream,
};

use corduroy_bench::{
    protocol::{Asked, Dialect, Found, KeyBytes, Outcome, Step, Token, ValueBytes},
    workload::{Ask, Heat, Operation},
};

/// Keys and values that a person can read.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl KeyBytes for Plain {
    fn key_len(&self, operation: Operation, number: u64) -> usize {
        let mut key = Vec::new();
        KeyBytes::append(self, operation, number, &mut key);
        key.len()
    }

    fn append(&self, operation: Operation, number: u64, out: &mut Vec<u8>) {
        let kind = match operation {
            Operation::Add => "counter",
            _ => "key",
        };
        write!(out, "{kind}:{number}").unwrap();
    }
}

impl ValueBytes for Plain {
    fn append(&self, key: u64, stamp: u64, len: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&value(key, stamp, len));
    }
}

/// What a write of this stamp leaves under a key. Line ends are in it, and bytes that are no text.
pub(crate) fn value(key: u64, stamp: u64, len: u32) -> Vec<u8> {
    let mut value = format!("{key}\r\n{stamp}\0\u{e9}").into_bytes();
    value.resize(len as usize, b'\n');
    value
}

/// An operation on a key, writing 100 bytes, with 10 keys where there are several.
pub(crate) fn ask(operation: Operation, key: u64, stamp: u64) -> Ask {
    Ask {
        operation,
        key,
        heat: Heat::Cold,
        value_len: 100,
        stamp,
        ttl_ms: 0,
        count: 10,
    }
}

/// An outcome that outlives its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Value(Vec<u8>),
    Many { found: u32, missing: u32 },
    Counter(i64),
    Done,
    Missing,
    Conflict,
    Refused(String),
}

/// What a second step is made of, owned: nothing if there was no such key.
type Seen = Option<(Vec<u8>, Token)>;

/// A connection whose requests are sent together and whose replies are read as they come, a few bytes at a time.
pub(crate) struct Wire<D> {
    stream: TcpStream,
    dialect: D,
    bytes: Vec<u8>,
    /// Values that batches brought.
    pub(crate) batch: Vec<(u64, Vec<u8>)>,
    piece: Cell<usize>,
}

impl<D: Dialect> Wire<D> {
    /// On a stream that was greeted.
    pub(crate) fn new(stream: TcpStream, dialect: D) -> Wire<D> {
        Wire {
            stream,
            dialect,
            bytes: Vec::new(),
            batch: Vec::new(),
            piece: Cell::new(1),
        }
    }

    /// Carries one operation out, both steps if there are two.
    pub(crate) fn run(&mut self, ask: Ask) -> Ended {
        self.run_between(ask, |_| ())
    }

    /// As [`Wire::run`]; between the steps, if there are two, others may act.
    pub(crate) fn run_between(&mut self, ask: Ask, act: impl FnOnce(&mut Wire<D>)) -> Ended {
        match self.step(ask, None) {
            (_, Some(seen)) => {
                act(self);
                self.step(ask, Some(&seen)).0
            }
            (ended, None) => ended,
        }
    }

    /// One request: the second if something was seen. Answers what it saw if a second one follows.
    fn step(&mut self, ask: Ask, seen: Option<&Seen>) -> (Ended, Option<Seen>) {
        let step = match seen {
            None => Step::First,
            Some(seen) => Step::Second(seen.as_ref().map(|(bytes, token)| Found {
                bytes,
                token: *token,
            })),
        };
        let mut out = Vec::new();
        self.dialect.request(3, &ask, step, &mut out);
        self.stream.write_all(&out).unwrap();
        let asked = Asked::of(&ask, step);
        let (slot, ended, second) = self.next(&ask, asked);
        assert!(slot.is_none_or(|slot| slot == 3), "{slot:?}");
        assert!(self.bytes.is_empty(), "more was answered than was asked");
        (ended, second.filter(|_| step == Step::First))
    }

    /// Sends first steps together; answers their ends in the order of the requests.
    pub(crate) fn pipeline(&mut self, asks: &[Ask]) -> Vec<Ended> {
        let mut out = Vec::new();
        for (slot, ask) in asks.iter().enumerate() {
            self.dialect
                .request(slot as u32, ask, Step::First, &mut out);
        }
        self.stream.write_all(&out).unwrap();
        let mut ends = vec![None; asks.len()];
        for (oldest, ask) in asks.iter().enumerate() {
            let (slot, ended, _) = self.next(ask, Asked::of(ask, Step::First));
            let slot = slot.map_or(oldest, |slot| slot as usize);
            assert!(ends[slot].replace(ended).is_none(), "two answers to one");
        }
        ends.into_iter().map(Option::unwrap).collect()
    }

    /// The next reply: its slot, how it ended, and what a second step needs.
    fn next(&mut self, ask: &Ask, asked: Asked) -> (Option<u32>, Ended, Option<Seen>) {
        loop {
            let reply = self.dialect.reply(&self.bytes, Some(asked)).unwrap();
            if let Some(reply) = reply {
                let second = match Step::after(ask.operation, &reply.outcome) {
                    Some(Step::Second(found)) => {
                        Some(found.map(|found| (found.bytes.to_vec(), found.token)))
                    }
                    _ => None,
                };
                let ended = match reply.outcome {
                    Outcome::Value { bytes, .. } => Ended::Value(bytes.to_vec()),
                    Outcome::Many { found, missing } => Ended::Many { found, missing },
                    Outcome::Counter(sum) => Ended::Counter(sum),
                    Outcome::Done => Ended::Done,
                    Outcome::Missing => Ended::Missing,
                    Outcome::Conflict => Ended::Conflict,
                    Outcome::Refused(words) => {
                        Ended::Refused(String::from_utf8_lossy(words).into_owned())
                    }
                };
                let (slot, len) = (reply.slot, reply.len);
                let batch = &mut self.batch;
                let mut keep = |key, value: &[u8]| batch.push((key, value.to_vec()));
                self.dialect.values(ask, &self.bytes[..len], &mut keep);
                self.bytes.drain(..len);
                return (slot, ended, second);
            }
            // One byte, then two, three …: a reply comes in pieces of all lengths.
            let mut piece = vec![0; self.piece.get()];
            self.piece.set(self.piece.get() % 61 + 1);
            let received = self.stream.read(&mut piece).unwrap();
            assert!(received > 0, "the server closed the connection");
            self.bytes.extend_from_slice(&piece[..received]);
        }
    }
}
