//! A load whose every answer is remembered, and the check that a node holds to what it has answered.
//!
//! Each connection has keys of its own, so that it knows the order of what happens to them: the protocol promises that
//! requests on one key take effect in the order in which a connection sent them. For each key it keeps the newest state that was
//! acknowledged and, behind it, what was sent and not answered. After a crash the key must be in one of those states and in no
//! other; its version is the acknowledged one, or higher if a later write got through.
//!
//! | subject | requests | what would show |
//! |---|---|---|
//! | cell | put, delete, get | a lost write, a torn or foreign value, a read of an old value |
//! | pair | atomic batch on two keys | half a batch |
//! | list | append | a suffix that is lost, doubled or out of order |
//! | counter, shared by all connections | add | a lost or doubled addition |

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use corduroy_proto_wire::{BatchItem, Request, RequestId, Status};

use super::random::Random;
use super::value::{described, describing};
use super::wait_until;
use super::wire::{Answer, Wire, plain_delete, plain_put};

/// Requests that a connection has on their way at once.
const WINDOW: usize = 64;
/// Suffixes that a list takes; then a new one is begun.
const LIST_LEN: u64 = 50;
const COUNTER: &[u8] = b"counter";

/// Several connections under load, and what they know.
#[derive(Debug)]
pub(crate) struct Load {
    connections: Vec<Connection>,
    /// The counter's value when it was last looked at without anybody writing.
    counted: i64,
}

/// How far a load is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    answered: AtomicU64,
}

impl Progress {
    /// Waits until so many requests more are answered.
    #[track_caller]
    pub(crate) fn wait_for(&self, answers: u64) {
        let wanted = self.answered.load(Ordering::Relaxed) + answers;
        wait_until("the load gets its answers", || {
            self.answered.load(Ordering::Relaxed) >= wanted
        });
    }
}

/// What a check found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// Keys that are there.
    pub(crate) present: u64,
    /// Keys with writes that were not acknowledged.
    pub(crate) doubtful: u64,
    /// Those of them on which such a write was carried out.
    pub(crate) carried_out: u64,
}

impl Load {
    /// `few` connections that write the same handful of keys over and over, and `many` that write thousands.
    pub(crate) fn new(seed: u64, few: usize, many: usize) -> Load {
        let connections = (0..few + many)
            .map(|number| Connection {
                number,
                random: Random::new(seed ^ (number as u64) << 32),
                cells: if number < few { 4 } else { 2_000 },
                sequence: 0,
                histories: HashMap::new(),
                lists: vec![List::default()],
                added: 0,
                adding: 0,
                counter_max: 0,
                in_flight: HashMap::new(),
                refused: HashMap::new(),
            })
            .collect();
        Load {
            connections,
            counted: 0,
        }
    }

    /// Puts load on a node until `end` has returned and the node is gone.
    pub(crate) fn run(&mut self, address: SocketAddr, end: impl FnOnce(&Progress)) {
        let progress = Progress::default();
        thread::scope(|scope| {
            for connection in &mut self.connections {
                let progress = &progress;
                // Before `end` begins: it may be quicker with the node than the last connection.
                let wire = Wire::open(address, None).unwrap();
                scope.spawn(move || connection.run(wire, progress));
            }
            end(&progress);
        });
    }

    /// Requests that were answered with this error since the last check.
    pub(crate) fn refused(&self, status: Status) -> u64 {
        self.connections
            .iter()
            .filter_map(|connection| connection.refused.get(&status))
            .sum()
    }

    /// Requests that were answered with any other error than `allowed` since the last check.
    #[track_caller]
    pub(crate) fn expect_refused_only(&self, allowed: &[Status]) {
        for connection in &self.connections {
            let others: Vec<_> = connection
                .refused
                .iter()
                .filter(|(status, _)| !allowed.contains(status))
                .collect();
            assert!(others.is_empty(), "refused with {others:?}");
        }
    }

    /// Holds a node to everything that was ever acknowledged. What it shows now is known from then on.
    pub(crate) fn verify(&mut self, address: SocketAddr) -> Found {
        let mut wire = Wire::open(address, None).unwrap();
        let mut found = Found::default();
        for connection in &mut self.connections {
            connection.verify_cells(&mut wire, &mut found);
            connection.verify_lists(&mut wire, &mut found);
            connection.in_flight.clear();
            connection.refused.clear();
        }
        self.verify_counter(&mut wire, &mut found);
        let keyspace = wire.keyspace();
        let id = wire.queue(&Request::Count { keyspace });
        let count = wire.answer(id).number.unwrap();
        assert_eq!(count as u64, found.present, "keys that nobody wrote");
        found
    }

    fn verify_counter(&mut self, wire: &mut Wire, found: &mut Found) {
        let added: i64 = self.connections.iter().map(|one| one.added).sum();
        let adding: i64 = self.connections.iter().map(|one| one.adding).sum();
        let told = self.connections.iter().map(|one| one.counter_max).max();
        let value = wire.get(COUNTER).map(|text| {
            let text = String::from_utf8(text).unwrap();
            text.parse::<i64>().unwrap()
        });
        found.present += u64::from(value.is_some());
        let value = value.unwrap_or(0);
        let least = self.counted + added;
        assert!(
            (least..=least + adding).contains(&value),
            "the counter is {value} after {least} additions and {adding} that were not acknowledged"
        );
        assert!(Some(value) >= told, "{told:?} was told, and it is {value}");
        self.counted = value;
        for connection in &mut self.connections {
            connection.added = 0;
            connection.adding = 0;
        }
    }
}

/// One connection's keys and what it knows of them.
#[derive(Debug)]
struct Connection {
    number: usize,
    random: Random,
    cells: u64,
    /// Numbers its writes.
    sequence: u64,
    histories: HashMap<Subject, History>,
    /// The last one is written to.
    lists: Vec<List>,
    /// Additions to the shared counter since it was last looked at: acknowledged, and sent but not answered.
    added: i64,
    adding: i64,
    counter_max: i64,
    in_flight: HashMap<RequestId, Sent>,
    refused: HashMap<Status, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Cell(u64),
    Pair(u64),
}

/// A request that is on its way.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Write(Subject, u64),
    /// A read, and the write whose result it must show.
    Read(Subject, State),
    Append(usize),
    Add,
}

/// What a cell, or each half of a pair, holds: the value that this write put, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    sequence: u64,
    is_present: bool,
}

/// What is known of a cell or a pair.
#[derive(Debug, Default)]
struct History {
    /// The newest acknowledged state; none if it was never written.
    known: Option<State>,
    /// The highest version that was told.
    version: u64,
    /// Writes that were sent behind it and not answered, in that order.
    pending: Vec<State>,
}

impl History {
    /// What a read that is sent now must show.
    fn newest(&self) -> Option<State> {
        self.pending.last().copied().or(self.known)
    }

    /// What there was before a write that is pending.
    fn before(&self, sequence: u64) -> Option<State> {
        self.pending
            .iter()
            .rev()
            .find(|state| state.sequence < sequence)
            .copied()
            .or(self.known)
    }
}

#[derive(Debug, Default)]
struct List {
    acknowledged: u64,
    sent: u64,
    refused: u64,
}

impl Connection {
    fn run(&mut self, mut wire: Wire, progress: &Progress) {
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
    fn keys(&self, subject: Subject) -> Vec<Vec<u8>> {
        let number = self.number;
        match subject {
            Subject::Cell(cell) => vec![format!("cell:{number}:{cell}").into_bytes()],
            Subject::Pair(pair) => ["left", "right"]
                .map(|half| format!("pair:{{{number}:{pair}}}:{half}").into_bytes())
                .into(),
        }
    }

    fn list_key(&self, at: usize) -> Vec<u8> {
        format!("list:{}:{at}", self.number).into_bytes()
    }

    fn answered(&mut self, answer: &Answer) {
        let Some(sent) = self.in_flight.remove(&answer.id) else {
            panic!("an answer to nothing that was asked: {answer:?}");
        };
        if answer.status.is_error() {
            *self.refused.entry(answer.status).or_default() += 1;
            if answer.status.outcome_known() {
                self.not_done(sent);
            }
            return;
        }
        match sent {
            Sent::Write(subject, sequence) => self.written(subject, sequence, answer),
            Sent::Read(subject, expected) => self.has_read(subject, expected, answer),
            Sent::Append(at) => {
                self.lists[at].acknowledged += 1;
                assert!(answer.number.unwrap() % SUFFIX_LEN == 0, "{answer:?}");
            }
            Sent::Add => {
                self.adding -= 1;
                self.added += 1;
                let value = answer.number.unwrap();
                assert!(
                    value > self.counter_max,
                    "the counter went from {} to {value}",
                    self.counter_max
                );
                self.counter_max = value;
            }
        }
    }

    fn not_done(&mut self, sent: Sent) {
        match sent {
            Sent::Write(subject, sequence) => {
                let history = self.histories.get_mut(&subject).unwrap();
                history.pending.retain(|state| state.sequence != sequence);
            }
            Sent::Read(..) => {}
            Sent::Append(at) => self.lists[at].refused += 1,
            Sent::Add => self.adding -= 1,
        }
    }

    fn written(&mut self, subject: Subject, sequence: u64, answer: &Answer) {
        let history = self.histories.get_mut(&subject).unwrap();
        let at = history
            .pending
            .iter()
            .position(|state| state.sequence == sequence);
        // A later write to the key was acknowledged first.
        let Some(at) = at else { return };
        let state = history.pending[at];
        let (status, version) = match subject {
            Subject::Cell(_) => (answer.status, answer.version),
            Subject::Pair(_) => answer.items[0],
        };
        if status == Status::NotFound {
            let before = history.before(sequence);
            assert!(
                !state.is_present && before.is_none_or(|before| !before.is_present),
                "{subject:?}: write {sequence} found nothing where {before:?} was"
            );
        } else {
            assert_eq!(status, Status::Ok, "{subject:?}: {answer:?}");
            assert!(
                version > history.version,
                "{subject:?}: version {version} after {}",
                history.version
            );
            history.version = version;
        }
        history.known = Some(state);
        history.pending.drain(..=at);
    }

    fn has_read(&mut self, subject: Subject, expected: State, answer: &Answer) {
        // What was refused before it makes the expectation void.
        if !self.refused.is_empty() {
            return;
        }
        let key = self.keys(subject).swap_remove(0);
        let shown = answer.value.as_ref().map(|value| described(&key, value));
        let wanted = expected.is_present.then_some(expected.sequence);
        assert_eq!(
            shown,
            wanted,
            "{} was read behind write {expected:?}",
            key.escape_ascii()
        );
    }

    fn verify_cells(&mut self, wire: &mut Wire, found: &mut Found) {
        let subjects: Vec<Subject> = self.histories.keys().copied().collect();
        for chunk in subjects.chunks(WINDOW) {
            let keys: Vec<Vec<Vec<u8>>> = chunk.iter().map(|&subject| self.keys(subject)).collect();
            let mut answers = read_all(wire, keys.iter().flatten()).into_iter();
            for (&subject, keys) in chunk.iter().zip(&keys) {
                let halves: Vec<(Option<u64>, u64)> = keys
                    .iter()
                    .zip(&mut answers)
                    .map(|(key, answer)| {
                        let value = answer.value.as_ref();
                        (value.map(|value| described(key, value)), answer.version)
                    })
                    .collect();
                let (shown, version) = halves[0];
                assert!(
                    halves.iter().all(|half| half.0 == shown),
                    "half of {subject:?} of connection {} is there: {halves:?}",
                    self.number
                );
                found.present += keys.len() as u64 * u64::from(shown.is_some());
                let history = self.histories.get_mut(&subject).unwrap();
                let number = self.number;
                history.settle(shown, version, found, || {
                    format!("{subject:?} of connection {number}")
                });
            }
        }
    }

    fn verify_lists(&mut self, wire: &mut Wire, found: &mut Found) {
        let first_open = self
            .lists
            .iter()
            .position(|list| list.acknowledged + list.refused < LIST_LEN)
            .unwrap_or(0);
        let keys: Vec<Vec<u8>> = (0..self.lists.len()).map(|at| self.list_key(at)).collect();
        let mut open = Vec::new();
        for (at, answer) in keys
            .chunks(WINDOW)
            .flat_map(|chunk| read_all(wire, chunk.iter()))
            .enumerate()
        {
            let list = &self.lists[at];
            let value = answer.value.unwrap_or_default();
            found.present += u64::from(!value.is_empty());
            let len = value.len() as u64 / SUFFIX_LEN as u64;
            let whole: Vec<u8> = (0..len).flat_map(suffix).collect();
            assert!(
                value == whole && (list.acknowledged..=list.sent - list.refused).contains(&len),
                "list {at} of connection {} after {list:?}: {}",
                self.number,
                value.escape_ascii()
            );
            open.push(len);
        }
        // Lists are not gone on with after a crash: their next suffix is not certain.
        for (list, len) in self.lists.iter_mut().zip(open).skip(first_open) {
            *list = List {
                acknowledged: len,
                sent: len,
                refused: 0,
            };
        }
        self.lists.push(List::default());
    }
}

impl History {
    /// Compares with what a read shows, and takes that for known.
    fn settle(
        &mut self,
        shown: Option<u64>,
        version: u64,
        found: &mut Found,
        name: impl Fn() -> String,
    ) {
        let is_shown = |state: &State| match shown {
            Some(sequence) => state.is_present && state.sequence == sequence,
            None => !state.is_present,
        };
        let as_known = match &self.known {
            Some(state) => is_shown(state),
            None => shown.is_none(),
        };
        let pending = self.pending.iter().find(|state| is_shown(state)).copied();
        assert!(
            as_known || pending.is_some(),
            "{} shows {shown:?} after {self:?}",
            name()
        );
        found.doubtful += u64::from(!self.pending.is_empty());
        if !as_known {
            found.carried_out += 1;
            self.known = pending;
        }
        if shown.is_some() {
            assert!(
                if as_known {
                    version == self.version
                } else {
                    version > self.version
                },
                "{} has version {version} after {self:?}",
                name()
            );
            self.version = version;
        }
        self.pending.clear();
    }
}

/// Reads keys, all at once.
fn read_all<'a>(wire: &mut Wire, keys: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Answer> {
    let ids: Vec<RequestId> = keys.map(|key| wire.queue_get(key)).collect();
    wire.flush().unwrap();
    let mut answers: HashMap<RequestId, Answer> = HashMap::new();
    while answers.len() < ids.len() {
        let answer = wire.receive().unwrap();
        assert!(!answer.status.is_error(), "{answer:?}");
        answers.insert(answer.id, answer);
    }
    ids.iter().map(|id| answers.remove(id).unwrap()).collect()
}

const SUFFIX_LEN: i64 = 8;

fn suffix(number: u64) -> Vec<u8> {
    format!("{number:07};").into_bytes()
}
