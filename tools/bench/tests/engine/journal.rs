//! The journal of a run against a server that forgets.

use corduroy_bench::{
    engine::{Config, Length},
    measure::{Entry, Journal, Seen, Verdict, verify},
    workload::{Ask, Operation},
};

use crate::common::{Act, Asks, LineLoad, Server, ask, closed, errors, try_run};

const KEYS: u64 = 40;
const CONNECTIONS: u32 = 4;

/// Writes and deletes, each key through one connection, with stamps that grow.
fn writes(connection: u32) -> Asks {
    let mut number = 0;
    Box::new(move |_| -> Option<Ask> {
        number += 1;
        let own = KEYS / u64::from(CONNECTIONS);
        let key = u64::from(connection) + u64::from(CONNECTIONS) * (number % own);
        let operation = match number % 7 {
            0 => Operation::Delete,
            3 => Operation::ReadModifyWrite,
            _ => Operation::Put,
        };
        Some(ask(operation, key, number))
    })
}

fn journal_of(server: &Server) -> Journal {
    let config = Config {
        journal: true,
        length: Length::Operations(4_000),
        threads: 2,
        ..closed(server, CONNECTIONS, 3, 0)
    };
    let finished = try_run(&LineLoad::<false>::new(writes), &config).unwrap();
    assert_eq!(
        errors(&finished.run, "wrong reply"),
        0,
        "{:?}",
        finished.run.errors
    );
    finished.journal.unwrap()
}

fn seen(server: &Server, key: u64) -> Seen {
    match server.store.lock().unwrap().get(&key) {
        Some(&(stamp, _)) => Seen::Value { stamp },
        None => Seen::Absent,
    }
}

// Connections that break in the middle of everything leave writes of unknown outcome, and nothing that a sound server could be accused of.
#[test]
fn a_sound_server_is_not_accused() {
    let server = Server::start(|request| match request.number % 97 {
        // Carried out or not: the answer never comes.
        96 => Act::Close,
        _ => Act::Serve,
    });
    let journal = journal_of(&server);
    assert_eq!(journal.keys().len() as u64, KEYS);
    let entries: Vec<Entry> = journal
        .keys()
        .into_iter()
        .map(|key| journal.get(key))
        .collect();
    assert!(entries.iter().any(|entry| !entry.unknown.is_empty()));
    for key in journal.keys() {
        let verdict = verify(&journal.get(key), seen(&server, key));
        assert!(
            !verdict.is_fault(),
            "key {key}: {verdict:?}, {:?}",
            journal.get(key)
        );
    }
}

// What the check is for: a server that acknowledges and forgets.
#[test]
fn a_server_that_forgets_is_caught() {
    let server = Server::start(|request| {
        let key: u64 = request.words[2].parse().unwrap();
        if request.words[0] == "P" && key.is_multiple_of(8) {
            Act::Say(format!("D {}\n", request.slot))
        } else {
            Act::Serve
        }
    });
    let journal = journal_of(&server);
    let mut faults = 0;
    for key in journal.keys() {
        let verdict = verify(&journal.get(key), seen(&server, key));
        if key.is_multiple_of(8) {
            let was_deleted = journal.get(key).acknowledged.unwrap().is_delete;
            assert_eq!(verdict.is_fault(), !was_deleted, "key {key}: {verdict:?}");
            faults += u64::from(verdict.is_fault());
        } else {
            assert_eq!(verdict, Verdict::Ok, "key {key}");
        }
    }
    assert!(faults > 0);
}
