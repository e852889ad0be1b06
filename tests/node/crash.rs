//! What was acknowledged is there, however the server ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use corduroy_proto_wire::Status;
use rustix::process::Signal;

use crate::support::{DEFAULT, Server, cores, put};

const WRITERS: usize = 4;
const IN_FLIGHT: usize = 32;

/// Writers that put keys of their own, one after the other, until the connection ends. Each gives the numbers that were
/// acknowledged.
struct Load {
    acknowledged: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Vec<u64>>>,
}

fn key(round: usize, writer: usize, number: u64) -> Vec<u8> {
    format!("round {round} writer {writer} number {number}").into_bytes()
}

fn value(number: u64) -> Vec<u8> {
    let len = 1 + (number as usize * 37) % 700;
    (0..len).map(|at| (at as u64 + number) as u8).collect()
}

impl Load {
    fn start(server: &Server, round: usize) -> Load {
        let acknowledged = Arc::<AtomicU64>::default();
        let writers = (0..WRITERS)
            .map(|writer| {
                let mut wire = server.connect();
                let acknowledged = Arc::clone(&acknowledged);
                thread::spawn(move || {
                    let mut sent = 0;
                    let mut waiting = std::collections::HashMap::new();
                    let mut done = Vec::new();
                    loop {
                        while waiting.len() < IN_FLIGHT {
                            let (key, value) = (key(round, writer, sent), value(sent));
                            let Ok(id) = wire.send(&put(DEFAULT, &key, &value)) else {
                                break;
                            };
                            waiting.insert(id, sent);
                            sent += 1;
                        }
                        let Some(answer) = wire.receive() else {
                            return done;
                        };
                        let number = waiting.remove(&answer.id).expect("one answer a request");
                        if answer.status == Status::Ok {
                            done.push(number);
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        Load {
            acknowledged,
            writers,
        }
    }

    fn wait_for(&self, count: u64) {
        while self.acknowledged.load(Ordering::Relaxed) < count {
            thread::yield_now();
        }
    }

    fn finish(self) -> Vec<Vec<u64>> {
        self.writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    }
}

fn check(server: &Server, round: usize, done: &[Vec<u64>]) {
    let mut wire = server.connect();
    for (writer, numbers) in done.iter().enumerate() {
        for &number in numbers {
            let answer = wire.get(&key(round, writer, number));
            assert_eq!(
                answer.status,
                Status::Ok,
                "round {round} writer {writer} number {number}"
            );
            assert_eq!(answer.body, value(number));
        }
    }
}

/// A process that dies takes everything with it that it had only in memory; what it had acknowledged must not be among it. The
/// segments are small, so that some rounds end while one is being made or begun.
#[test]
fn a_killed_server_has_lost_nothing_that_it_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let mut rounds: Vec<Vec<Vec<u64>>> = Vec::new();
    for round in 0..4 {
        let server = Server::start(data.path(), &[]);
        for (round, done) in rounds.iter().enumerate() {
            check(&server, round, done);
        }
        let load = Load::start(&server, round);
        load.wait_for(1500 * (round as u64 + 1));
        server.kill();
        rounds.push(load.finish());
    }
    let server = Server::start(data.path(), &[]);
    for (round, done) in rounds.iter().enumerate() {
        check(&server, round, done);
    }
}

/// A clean stop answers what it has read and loses nothing of it; a log that was sealed is taken up without repairs.
#[test]
fn a_stop_under_load_loses_nothing_that_was_acknowledged() {
    for sync in ["always", "never"] {
        let data = tempfile::tempdir().unwrap();
        let server = Server::start(data.path(), &["--sync", sync]);
        let load = Load::start(&server, 0);
        load.wait_for(2000);
        server.signal(Signal::TERM);
        let (status, log) = server.wait();
        assert!(status.success(), "{log}");
        let done = load.finish();
        let server = Server::start(data.path(), &["--sync", sync]);
        check(&server, 0, &done);
        let log = server.stop();
        assert_eq!(log.matches("clean=true").count(), cores(), "{log}");
    }
}
