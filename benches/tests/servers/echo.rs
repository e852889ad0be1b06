//! The driver against the echo servers, as they are built.

use crate::common::{Process, small_load};
use corduroy_benches::drive::{self, Config, Operations, Protocol};

fn echo_servers() -> [Process; 2] {
    [
        env!("CARGO_BIN_EXE_echo_glommio"),
        env!("CARGO_BIN_EXE_echo_epoll"),
    ]
    .map(Process::echo)
}

// A floor that loses, reorders or cuts frames would be compared with all the same, and nobody would know.
#[test]
fn every_frame_comes_back_whole() {
    for server in echo_servers() {
        for operations in [Operations::Get, Operations::Put, Operations::Mix] {
            let config = Config {
                protocol: Protocol::Echo,
                operations,
                ..small_load(server.address)
            };
            let report = drive::run(&config).unwrap();
            assert_eq!((report.errors.total(), report.errors.first), (0, None));
            assert!(report.requests >= 20_000, "{} requests", report.requests);
        }
    }
}

// More in flight than two sockets hold: the server can't send, so it must stop reading, and the driver can't send, so it
// must read. If either waited for the other, nothing would move again.
#[test]
fn more_in_flight_than_the_sockets_hold_is_no_deadlock() {
    for server in echo_servers() {
        let config = Config {
            protocol: Protocol::Echo,
            operations: Operations::Put,
            connections: 2,
            in_flight: 1_000,
            value_len: 30_000,
            requests: Some(5_000),
            ..small_load(server.address)
        };
        let report = drive::run(&config).unwrap();
        assert_eq!(report.errors.total(), 0);
    }
}

// The figure that a floor is for. A server whose CPU time is not found would look infinitely fast.
#[test]
fn the_servers_cpu_time_is_counted() {
    for server in echo_servers() {
        let config = Config {
            protocol: Protocol::Echo,
            in_flight: 64,
            requests: Some(2_000_000),
            server_pid: Some(server.pid()),
            ..small_load(server.address)
        };
        let report = drive::run(&config).unwrap();
        let cpu = report.server.unwrap();
        assert!(
            cpu.seconds > 0.0 && cpu.requests_per_cpu_second > 0.0,
            "{cpu:?}"
        );
        let by_thread: f64 = cpu.threads.iter().map(|thread| thread.seconds).sum();
        assert!(
            (by_thread - cpu.seconds).abs() < 0.1,
            "{by_thread} s in threads, {} s in all",
            cpu.seconds
        );
        assert!(report.client_cpu_share > 0.0);
        assert!(report.latency_us.p50 > 0.0 && report.latency_us.p50 <= report.latency_us.max);
    }
}
