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

mod answers;
mod connection;
mod history;
mod verify;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use corduroy_proto_wire::{Request, Status};

use super::wait_until;
use super::wire::Wire;
use connection::Connection;

/// Requests that a connection has on their way at once.
const WINDOW: usize = 64;
/// Suffixes that a list takes; then a new one is begun.
const LIST_LEN: u64 = 50;
const COUNTER: &[u8] = b"counter";
/// Length of what is appended to lists, in bytes.
const SUFFIX_LEN: i64 = 8;

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
            .map(|number| {
                let cells = if number < few { 4 } else { 2_000 };
                Connection::new(number, cells, seed)
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

/// The suffix of this number of any list.
fn suffix(number: u64) -> Vec<u8> {
    format!("{number:07};").into_bytes()
}
