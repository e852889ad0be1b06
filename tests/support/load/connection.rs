//! One connection under load: what it sends, and what of it is on its way.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use corduroy_proto_wire::{BatchItem, Request, RequestId, Status};

use super::history::{History, List, State, Subject};
use super::{COUNTER, LIST_LEN, Progress, WINDOW, suffix};
use crate::support::random::Random;
use crate::support::value::describing;
use crate::support::wire::{Wire, plain_delete, plain_put};

/// One connection's keys and what it knows of them.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: usize,
    random: Random,
    cells: u64,
    /// Numbers its writes.
    sequence: u64,
    pub(super) histories: HashMap<Subject, History>,
    /// The last one is written to.
    pub(super) lists: Vec<List>,
    /// Additions to the shared counter since it was last looked at: acknowledged, and sent but not answered.
    pub(super) added: i64,
    pub(super) adding: i64,
    pub(super) counter_max: i64,
    pub(super) in_flight: HashMap<RequestId, Sent>,
    pub(super) refused: HashMap<Status, u64>,
}

/// A request that is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    Write(Subject, u64),
    /// A read, and the write whose result it must show.
    Read(Subject, State),
    Append(usize),
    Add,
}

impl Connection {
    /// The connection of this number, which writes so many cells.
    pub(super) fn new(number: usize, cells: u64, seed: u64) -> Connection {
        Connection {
            number,
            random: Random::new(seed ^ (number as u64) << 32),
            cells,
            sequence: 0,
            histories: HashMap::new(),
            lists: vec![List::default()],
            added: 0,
            adding: 0,
            counter_max: 0,
            in_flight: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    /// Sends and receives until the connection ends.
    pub(super) fn run(&mut self, mut wire: Wire, progress: &Progress) {
        loop {
            while self.in_flight.len() < WINDOW {
                self.send(&mut wire);
            }
            if wire.flush().is_err() {
                // What was answered before the end counts.
                while let Ok(answer) = wire.receive() {
                    self.answered(&answer);
                }
                return;
            }
            let Ok(first) = wire.receive() else {
                return;
            };
            let mut answers = 1;
            self.answered(&first);
            while let Some(answer) = wire.received() {
                answers += 1;
                self.answered(&answer);
            }
            progress.answered.fetch_add(answers, Ordering::Relaxed);
        }
    }

    fn send(&mut self, wire: &mut Wire) {
        let keyspace = wire.keyspace();
        let (id, sent) = match self.random.below(100) {
            0..4 => {
                self.adding += 1;
                let add = Request::Add {
                    keyspace,
                    key: COUNTER,
                    delta: 1,
                };
                (wire.queue(&add), Sent::Add)
            }
            4..8 => self.send_append(wire),
            8..18 => {
                let pair = Subject::Pair(self.random.below(self.cells / 4));
                self.send_write(wire, pair)
            }
            18..78 => {
                let cell = Subject::Cell(self.random.below(self.cells));
                self.send_write(wire, cell)
            }
            _ => {
                let cell = Subject::Cell(self.random.below(self.cells));
                let newest = self.histories.get(&cell).and_then(History::newest);
                let expected = newest.unwrap_or(State {
                    sequence: 0,
                    is_present: false,
                });
                let key = self.keys(cell).swap_remove(0);
                (wire.queue_get(&key), Sent::Read(cell, expected))
            }
        };
        self.in_flight.insert(id, sent);
    }

    fn send_write(&mut self, wire: &mut Wire, subject: Subject) -> (RequestId, Sent) {
        let keyspace = wire.keyspace();
        self.sequence += 1;
        let sequence = self.sequence;
        let is_present = !self.random.percent(15);
        let state = State {
            sequence,
            is_present,
        };
        let len = self.value_len();
        let keys = self.keys(subject);
        let values: Vec<Vec<u8>> = keys
            .iter()
            .map(|key| describing(key, sequence, len))
            .collect();
        let request = match subject {
            Subject::Cell(_) if is_present => Request::Put {
                keyspace,
                put: plain_put(&keys[0], &values[0]),
            },
            Subject::Cell(_) => Request::Delete {
                keyspace,
                delete: plain_delete(&keys[0]),
            },
            Subject::Pair(_) => {
                let item = |(key, value)| match is_present {
                    true => BatchItem::Put(plain_put(key, value)),
                    false => BatchItem::Delete(plain_delete(key)),
                };
                let keys = keys.iter().map(Vec::as_slice);
                let values = values.iter().map(Vec::as_slice);
                Request::AtomicBatch {
                    keyspace,
                    items: keys.zip(values).map(item).collect(),
                }
            }
        };
        let id = wire.queue(&request);
        self.histories
            .entry(subject)
            .or_default()
            .pending
            .push(state);
        (id, Sent::Write(subject, sequence))
    }

    fn send_append(&mut self, wire: &mut Wire) -> (RequestId, Sent) {
        if self.lists.last().is_none_or(|list| list.sent == LIST_LEN) {
            self.lists.push(List::default());
        }
        let at = self.lists.len() - 1;
        let suffix = suffix(self.lists[at].sent);
        self.lists[at].sent += 1;
        let keyspace = wire.keyspace();
        let key = self.list_key(at);
        let id = wire.queue(&Request::Append {
            keyspace,
            key: &key,
            suffix: &suffix,
        });
        (id, Sent::Append(at))
    }

    /// Mostly short, now and then over several sectors or over what one write takes.
    fn value_len(&mut self) -> usize {
        let max = match self.random.below(200) {
            0 => 60_000,
            1..20 => 3_000,
            _ => 150,
        };
        self.random.below(max) as usize
    }

    /// The key of a cell, or both of a pair.
    pub(super) fn keys(&self, subject: Subject) -> Vec<Vec<u8>> {
        let number = self.number;
        match subject {
            Subject::Cell(cell) => vec![format!("cell:{number}:{cell}").into_bytes()],
            Subject::Pair(pair) => ["left", "right"]
                .map(|half| format!("pair:{{{number}:{pair}}}:{half}").into_bytes())
                .into(),
        }
    }

    pub(super) fn list_key(&self, at: usize) -> Vec<u8> {
        format!("list:{}:{at}", self.number).into_bytes()
    }
}
