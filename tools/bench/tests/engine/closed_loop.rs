//! Closed loops: pipelines that are kept full, operations of two steps, ends of all kinds, many connections.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use corduroy_bench::{
    engine::{self, Config, Length, Pace},
    measure::Phase,
    workload::{Heat, Operation},
};

use crate::common::{Act, LineLoad, Server, all, ask, closed, errors, run};

/// Reads with a write now and then, compare-and-sets and blind ones, on a few keys that all connections share.
fn mix<const IN_ORDER: bool>() -> LineLoad<IN_ORDER> {
    LineLoad::new(|connection| {
        let mut number = u64::from(connection);
        Box::new(move |_| {
            number += 7;
            let operation = match number % 4 {
                0 => Operation::Put,
                1 => Operation::Get,
                2 => Operation::CompareAndSet,
                _ => Operation::ReadModifyWrite,
            };
            Some(corduroy_bench::workload::Ask {
                heat: if number.is_multiple_of(3) {
                    Heat::Hot
                } else {
                    Heat::Cold
                },
                ..ask(operation, number % 5, number)
            })
        })
    })
}

// The test server answers a read-modify-write's second step by version, so of two that race one finds it gone.
fn assert_mix_adds_up<const IN_ORDER: bool>() {
    let server = Server::start(|request| {
        if request.words[0] == "C" && request.number.is_multiple_of(10) {
            Act::Say(format!("X {}\n", request.slot))
        } else {
            Act::Serve
        }
    });
    let load = LineLoad {
        server_cores: 2,
        ..mix::<IN_ORDER>()
    };
    let run = run(&load, &closed(&server, 3, 5, 500));
    let only_conflicts = run.errors.keys().all(|kind| kind == "wrong reply");
    assert!(only_conflicts, "{:?}", run.errors);
    assert!(run.conflicts > 0, "{run:?}");
    let of = |operation, heat, core| {
        run.latencies
            .iter()
            .find(|row| (row.operation, row.heat, row.server_core) == (operation, heat, core))
            .unwrap_or_else(|| panic!("no {operation:?} {heat:?} {core:?}"))
            .response
            .count
    };
    let whole = all(&run).response.count;
    let by_operation: u64 = [0, 1, 3, 4]
        .map(|at| of(Some(Operation::ALL[at]), None, None))
        .iter()
        .sum();
    assert_eq!(by_operation, whole);
    assert_eq!(
        of(None, Some(Heat::Hot), None) + of(None, Some(Heat::Cold), None),
        whole
    );
    assert_eq!(of(None, None, Some(0)) + of(None, None, Some(1)), whole);
    assert!(of(Some(Operation::Get), Some(Heat::Hot), None) > 0);
    assert!(of(None, Some(Heat::Hot), Some(1)) > 0);
}

#[test]
fn operations_of_two_steps_count_once_where_replies_come_in_order() {
    assert_mix_adds_up::<true>();
}

#[test]
fn operations_of_two_steps_count_once_where_replies_name_their_slot() {
    assert_mix_adds_up::<false>();
}

// A fill that leaves a key out, or writes one twice, makes every later figure wrong.
#[test]
fn a_fill_writes_every_key_once() {
    let server = Server::sound();
    let config = Config {
        threads: 3,
        length: Length::Sources,
        ..closed(&server, 7, 4, 0)
    };
    let load = LineLoad::<true>::new(|connection| {
        let mut keys = (u64::from(connection)..1_000).step_by(7);
        Box::new(move |_| keys.next().map(|key| ask(Operation::Put, key, 1)))
    });
    let run = run(&load, &config);
    assert_eq!(run.operations, 1_000);
    assert_eq!(server.store.lock().unwrap().len(), 1_000);
    let versions = server.store.lock().unwrap();
    assert!(versions.values().all(|&(_, version)| version == 1));
    assert!(run.throughput > 0.0 && run.seconds > 0.0);
}

#[test]
fn a_number_of_operations_is_carried_out_exactly() {
    let server = Server::sound();
    let config = Config {
        threads: 2,
        length: Length::Operations(5_003),
        warm_up: Duration::from_millis(100),
        ..closed(&server, 5, 3, 0)
    };
    let run = run(&LineLoad::<false>::puts(), &config);
    assert_eq!((run.operations, all(&run).response.count), (5_003, 5_003));
}

#[test]
fn time_to_think_slows_down() {
    let server = Server::sound();
    let config = Config {
        pace: Pace::Closed {
            think: Duration::from_millis(20),
        },
        ..closed(&server, 4, 2, 500)
    };
    let run = run(&LineLoad::<true>::puts(), &config);
    // Eight slots, at most 26 operations each.
    assert!((8..=208).contains(&run.operations), "{}", run.operations);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
}

// Thousands of connections must neither fail at the usual limit of files nor take seconds each to open.
#[test]
fn twelve_hundred_connections_all_take_part() {
    let server = Server::sound();
    let config = Config {
        threads: 2,
        length: Length::Sources,
        ..closed(&server, 1_200, 2, 0)
    };
    let load = LineLoad::<false>::new(|connection| {
        let mut left = 3;
        Box::new(move |_| {
            left -= 1;
            (left >= 0).then(|| ask(Operation::Put, u64::from(connection), 1))
        })
    });
    let run = run(&load, &config);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    assert_eq!(run.operations, 3_600);
    assert_eq!(server.store.lock().unwrap().len(), 1_200);
    assert_eq!(server.accepted.load(Ordering::Relaxed), 1_200);
}

// Someone who presses Ctrl-C wants what was measured so far.
#[test]
fn a_run_that_is_stopped_reports_what_it_has() {
    let server = Server::sound();
    let stop = AtomicBool::new(false);
    let mut views = Vec::new();
    let begun = Instant::now();
    let finished = engine::run(
        &LineLoad::<true>::puts(),
        &Config {
            warm_up: Duration::from_millis(200),
            ..closed(&server, 2, 2, 60_000)
        },
        &stop,
        &mut |live| {
            views.push(live.clone());
            stop.store(live.elapsed > Duration::from_millis(900), Ordering::Relaxed);
        },
    )
    .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(finished.run.operations > 0);
    assert!(finished.run.seconds < 30.0);
    assert!(views.len() >= 3, "{}", views.len());
    let last = views.last().unwrap();
    assert_eq!((last.phase, last.connections), (Phase::Window, 2));
    assert!(last.operations > 0);
    // A busy machine may leave a view without anything new.
    let is_sound =
        |live: &corduroy_bench::measure::Live| live.throughput > 0.0 && live.p99 >= live.p50;
    assert!(views.iter().any(is_sound));
}

#[test]
fn the_server_is_asked_for_its_cpu_time() {
    let server = Server::sound();
    let config = Config {
        // The test's own process is the server here.
        server_pid: Some(std::process::id()),
        ..closed(&server, 2, 8, 600)
    };
    let run = run(&LineLoad::<true>::puts(), &config);
    assert!(run.server_cpu_seconds > Some(0.0), "{run:?}");
    assert_eq!(errors(&run, "timeout"), 0);
}
