//! The driver and the comparison against the real peers, where they are installed.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::common::{answers, has, has_two_cores, programs, small_load};
use corduroy_benches::{
    compare::{
        Options,
        arena::Arena,
        duel,
        outcome::Outcome,
        redis_benchmark::RedisBenchmark,
        row::{Contender, Duel, Load, Metric},
        server::Server,
    },
    drive::{self, Config, Operations, Protocol},
};

fn arena(directory: &tempfile::TempDir) -> Arena {
    Arena::new(programs(), directory.path()).unwrap()
}

fn drive_all_operations(server: Server, protocol: Protocol) {
    let directory = tempfile::tempdir().unwrap();
    let running = arena(&directory).start(server).unwrap();
    for (operations, preload) in [
        (Operations::Get, true),
        (Operations::Put, false),
        (Operations::Mix, false),
    ] {
        let config = Config {
            protocol,
            operations,
            preload,
            ..small_load(running.address)
        };
        let report = drive::run(&config).unwrap();
        assert_eq!((report.errors.total(), report.errors.first), (0, None));
        assert!(report.requests >= 20_000);
    }
    // Nothing was preloaded beyond these keys, so some must be missing.
    let config = Config {
        protocol,
        keys: 2_000,
        ..small_load(running.address)
    };
    assert!(drive::run(&config).unwrap().errors.missing > 0);
}

// The peers' figures are half of every ratio: their protocols must be spoken to the letter, not as we remember them.
#[test]
fn redis_answers_what_the_driver_expects() {
    if has_two_cores() && has("redis-server") {
        drive_all_operations(
            Server::Redis {
                append_always: false,
            },
            Protocol::Resp,
        );
        drive_all_operations(
            Server::Redis {
                append_always: true,
            },
            Protocol::Resp,
        );
    }
}

#[test]
fn memcached_answers_what_the_driver_expects() {
    if has_two_cores() && has("memcached") {
        drive_all_operations(Server::Memcached, Protocol::Memcached);
    }
}

// A comparison that left a server behind would slow down every one after it, and one that ended somebody else's would be worse.
#[test]
fn a_duel_measures_both_and_leaves_no_server_behind() {
    if !(has_two_cores() && has("redis-server") && has("memcached")) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        rows: Vec::new(),
        seconds: 1,
        rounds: 1,
        keys: 1,
        directory: directory.path().to_path_buf(),
        json: directory.path().join("json"),
        no_build: true,
    };
    let load = Load {
        operations: Operations::Get,
        connections: 5,
        in_flight: 4,
        value_len: 64,
    };
    let duel = Duel {
        subject: Contender::driven(
            Server::Redis {
                append_always: false,
            },
            load,
        ),
        peer: Contender::driven(Server::Memcached, load),
        metric: Metric::CpuRate,
        metric_if_not_full: None,
        at_least: None,
    };
    let mut said = Vec::new();
    let outcome = duel::measure(&arena(&directory), &options, &duel, &mut |line| {
        said.push(line);
    })
    .unwrap();
    let Outcome::Ratio(ratio) = outcome else {
        panic!("{outcome}")
    };
    assert!(ratio.median > 0.0 && ratio.rounds.len() == 1, "{ratio:?}");
    assert_eq!(said.len(), 2);
    for side in [&ratio.subject, &ratio.peer] {
        let pid = side.runs[0].config.server_pid.unwrap();
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "{} is still there",
            side.command
        );
    }
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "a server's data is still there"
    );
}

// If it asked other keys than those that were written, its gets would find nothing, which is faster, and both sides of a ratio would look fine.
#[test]
fn redis_benchmark_asks_the_keys_that_were_written() {
    if !(has_two_cores() && has("redis-server") && has("redis-benchmark")) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = Server::Redis {
        append_always: false,
    };
    let arena = arena(&directory);
    let running = arena.start(server).unwrap();
    let config = Config {
        protocol: Protocol::Resp,
        operations: Operations::Put,
        preload: true,
        core: Some(arena.driver_core()),
        ..small_load(running.address)
    };
    drive_in_a_thread(&config);
    let config = Config {
        window: Duration::from_millis(10),
        in_flight: 4,
        ..config
    };
    let client = RedisBenchmark::find().unwrap();
    let report = client.run(server, running.pid(), &config).unwrap();
    assert!(report.requests >= 200_000);
    let used = report.server.unwrap();
    assert!(used.seconds > 0.0 && report.client_cpu_share > 0.0);

    let mut stream = TcpStream::connect(running.address).unwrap();
    stream.write_all(b"DBSIZE\r\n").unwrap();
    let mut answer = [0; 16];
    let len = stream.read(&mut answer).unwrap();
    assert_eq!(&answer[..len], b":1000\r\n");
}

/// The driver stays on its core; a test's own thread must not.
fn drive_in_a_thread(config: &Config) {
    let report = std::thread::scope(|scope| scope.spawn(|| drive::run(config)).join().unwrap());
    assert_eq!(report.unwrap().errors.total(), 0);
}

// A server that refuses what it is asked must not be measured as a fast one.
#[test]
fn redis_benchmark_ends_at_a_refusal_and_its_words_are_in_the_error() {
    if !has("redis-benchmark") {
        return;
    }
    let config = small_load(answers(b"-ERR not today\r\n"));
    let server = Server::Redis {
        append_always: false,
    };
    let client = RedisBenchmark::find().unwrap();
    let error = client.run(server, std::process::id(), &config).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("redis-benchmark") && error.contains("not today"),
        "{error}"
    );
}

// A missing program must be told from a slow one, with a word on how to get it.
#[test]
fn a_missing_program_says_how_to_get_it() {
    if !has_two_cores() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let arena = Arena::new(directory.path(), directory.path()).unwrap();
    let error = arena.start(Server::EchoGlommio).unwrap_err().to_string();
    assert!(
        error.contains("echo_glommio is missing") && error.contains("cargo build"),
        "{error}"
    );
}
