//! What every language must be able to tell of every server: one story, told in each.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use corduroy_bench::{
    protocol::{Demand, Dialect, Language},
    workload::{Ask, Operation},
};

use crate::{
    engine,
    process::{PATIENCE, Process},
    support::{Ended, Plain, Wire, ask, value},
};

/// Fresh keys of a test; the number is far from 0, so that it has digits enough.
const FIRST: u64 = 1_000_000;

/// A greeted connection.
pub(crate) fn greeted<L: Language>(
    language: &L,
    server: &Process,
) -> Wire<L::Dialect<Plain, Plain>> {
    let mut stream = server.connect();
    language.greet(&mut stream, 0).unwrap();
    Wire::new(stream, language.dialect(Plain, Plain))
}

/// What this story asks of an operation.
pub(crate) fn demand(operation: Operation) -> Demand {
    Demand {
        operation,
        key_len_max: 20,
        value_len_max: 200_000,
        count_max: 10,
        ttl_ms_max: 1_000_000,
    }
}

/// The story. `met` is the stream on which the language was met.
pub(crate) fn tell<L: Language>(language: &mut L, server: &Process, met: &mut TcpStream) {
    language.reset(met).unwrap();
    let mut wire = greeted(language, server);
    reads_and_writes(&mut wire);
    read_modify_write(&mut wire);
    if language.accepts(&demand(Operation::CompareAndSet)).is_ok() {
        compare_and_set(&mut wire);
    }
    counters(&mut wire);
    batches(&mut wire);
    pipelines(&mut wire);
    language.reset(met).unwrap();
    assert_eq!(wire.run(ask(Operation::Get, FIRST, 0)), Ended::Missing);
    if language.accepts(&demand(Operation::Scan)).is_ok() {
        scans(language, server, met);
    }
    language.reset(met).unwrap();
    engine::drive(language, server);
}

fn put<D: Dialect>(wire: &mut Wire<D>, key: u64, stamp: u64) {
    assert_eq!(wire.run(ask(Operation::Put, key, stamp)), Ended::Done);
}

fn holds<D: Dialect>(wire: &mut Wire<D>, key: u64, stamp: u64) {
    let read = wire.run(ask(Operation::Get, key, 0));
    assert_eq!(read, Ended::Value(value(key, stamp, 100)));
}

fn reads_and_writes<D: Dialect>(wire: &mut Wire<D>) {
    assert_eq!(wire.run(ask(Operation::Get, FIRST, 0)), Ended::Missing);
    assert_eq!(wire.run(ask(Operation::Delete, FIRST, 0)), Ended::Missing);
    put(wire, FIRST, 1);
    holds(wire, FIRST, 1);
    put(wire, FIRST, 2);
    holds(wire, FIRST, 2);
    assert_eq!(wire.run(ask(Operation::Delete, FIRST, 0)), Ended::Done);
    assert_eq!(wire.run(ask(Operation::Get, FIRST, 0)), Ended::Missing);
    // None at all, and one that comes in many pieces.
    for value_len in [0, 1, 200_000] {
        let put = Ask {
            value_len,
            ..ask(Operation::Put, FIRST, 3)
        };
        assert_eq!(wire.run(put), Ended::Done);
        let read = wire.run(ask(Operation::Get, FIRST, 0));
        assert_eq!(read, Ended::Value(value(FIRST, 3, value_len)));
    }
    // A key that is to expire much later is there now; one that is to expire at once goes.
    for (ttl_ms, stays) in [(1_000_000, true), (1, false)] {
        let expiring = Ask {
            ttl_ms,
            ..ask(Operation::Put, FIRST + 1, 4)
        };
        assert_eq!(wire.run(expiring), Ended::Done);
        let get = ask(Operation::Get, FIRST + 1, 0);
        let began = Instant::now();
        while !stays && wire.run(get) != Ended::Missing {
            assert!(began.elapsed() < PATIENCE, "it does not expire");
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(wire.run(get) != Ended::Missing, stays);
    }
}

fn read_modify_write<D: Dialect>(wire: &mut Wire<D>) {
    let key = FIRST + 10;
    let modify = |stamp| ask(Operation::ReadModifyWrite, key, stamp);
    assert_eq!(wire.run(modify(1)), Ended::Done);
    holds(wire, key, 1);
    // Whatever others do meanwhile.
    let ended = wire.run_between(modify(2), |wire| put(wire, key, 3));
    assert_eq!(ended, Ended::Done);
    holds(wire, key, 2);
}

fn compare_and_set<D: Dialect>(wire: &mut Wire<D>) {
    let key = FIRST + 20;
    let swap = |stamp| ask(Operation::CompareAndSet, key, stamp);
    let delete = ask(Operation::Delete, key, 0);
    // There was none and there is none.
    assert_eq!(wire.run(swap(1)), Ended::Done);
    holds(wire, key, 1);
    // Nobody else wrote.
    assert_eq!(wire.run(swap(2)), Ended::Done);
    holds(wire, key, 2);
    // Somebody wrote.
    let ended = wire.run_between(swap(3), |wire| put(wire, key, 4));
    assert_eq!(ended, Ended::Conflict);
    holds(wire, key, 4);
    // Somebody deleted.
    let ended = wire.run_between(swap(5), |wire| {
        assert_eq!(wire.run(delete), Ended::Done);
    });
    assert_eq!(ended, Ended::Conflict);
    // There was none, and somebody was first to make one.
    let ended = wire.run_between(swap(6), |wire| put(wire, key, 7));
    assert_eq!(ended, Ended::Conflict);
    holds(wire, key, 7);
}

fn counters<D: Dialect>(wire: &mut Wire<D>) {
    for sum in 1..=12 {
        let ended = wire.run(ask(Operation::Add, FIRST, 0));
        assert_eq!(ended, Ended::Counter(sum));
    }
    // Counters are keys of their own.
    assert!(matches!(
        wire.run(ask(Operation::Get, FIRST, 0)),
        Ended::Value(_)
    ));
}

fn batches<D: Dialect>(wire: &mut Wire<D>) {
    let first = FIRST + 30;
    let batch = ask(Operation::Batch, first, 0);
    let many = |found, missing| Ended::Many { found, missing };
    assert_eq!(wire.run(batch), many(0, 10));
    for key in [first, first + 4, first + 9, first + 10] {
        put(wire, key, key);
    }
    wire.batch.clear();
    assert_eq!(wire.run(batch), many(3, 7));
    let values = [first, first + 4, first + 9].map(|key| (key, value(key, key, 100)));
    assert_eq!(wire.batch, values);
    let one = Ask { count: 1, ..batch };
    assert_eq!(wire.run(one), many(1, 0));
}

fn pipelines<D: Dialect>(wire: &mut Wire<D>) {
    let first = FIRST + 50;
    let puts: Vec<Ask> = (0..300)
        .map(|number| ask(Operation::Put, first + number, number))
        .collect();
    assert!(
        wire.pipeline(&puts)
            .iter()
            .all(|ended| *ended == Ended::Done)
    );
    let mixed: Vec<Ask> = (0..300)
        .map(|number| {
            let operation =
                [Operation::Get, Operation::Batch, Operation::Delete][number as usize % 3];
            ask(operation, first + 1000 * (number % 2) + number, 0)
        })
        .collect();
    for (ask, ended) in mixed.iter().zip(wire.pipeline(&mixed)) {
        let is_there = ask.key < first + 300;
        match (ask.operation, is_there) {
            (Operation::Get, true) => {
                let stamp = ask.key - first;
                assert_eq!(ended, Ended::Value(value(ask.key, stamp, 100)));
            }
            (Operation::Delete, true) => assert_eq!(ended, Ended::Done),
            (Operation::Batch, _) => {
                let Ended::Many { found, missing } = ended else {
                    panic!("{ended:?}")
                };
                assert_eq!((found > 0, found + missing), (is_there, 10));
            }
            _ => assert_eq!(ended, Ended::Missing),
        }
    }
}

fn scans<L: Language>(language: &mut L, server: &Process, met: &mut TcpStream) {
    let mut wire = greeted(language, server);
    let puts: Vec<Ask> = (0..20_000)
        .map(|number| ask(Operation::Put, FIRST + number, number))
        .collect();
    for puts in puts.chunks(100) {
        assert!(
            wire.pipeline(puts)
                .iter()
                .all(|ended| *ended == Ended::Done)
        );
    }
    let page = |wire: &mut Wire<_>, key| {
        let Ended::Many { found, missing } = wire.run(ask(Operation::Scan, key, 0)) else {
            panic!("a page is many")
        };
        assert_eq!(missing, 0);
        found
    };
    assert!(page(&mut wire, 7) > 0);
    // With the places that a walk finds, pages begin elsewhere than at the start, and are as full.
    let places = language.learn_scans(met, 1000).unwrap();
    assert!(places > 3, "{places}");
    let mut wire = greeted(language, server);
    for key in 0..places as u64 {
        assert!(page(&mut wire, key) > 0, "at place {key} of {places}");
    }
    // A walk that is cut short is as good, for the part that it saw.
    assert_eq!(language.learn_scans(met, 2).unwrap(), 3);
}
