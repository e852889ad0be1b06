//! Told to stop while everybody writes.

use std::io::Read as _;

use corduroy_proto_wire::Status;
use rustix::process::Signal;

use crate::support::load::Load;
use crate::support::node::{Node, Place};
use crate::support::value::{described, describing};
use crate::support::wire::Wire;

fn stop_under_load(signal: Signal, flags: &[&str], seed: u64) {
    let place = Place::new();
    let mut load = Load::new(seed, 2, 4);
    for _ in 0..3 {
        let mut node = place.start(flags);
        let address = node.address();
        load.verify(address);
        load.run(address, |progress| {
            progress.wait_for(2_000);
            node.signal(signal);
            let status = node.wait();
            assert!(status.success(), "the node ended with {status}");
        });
        load.expect_refused_only(&[Status::ShuttingDown]);
        node.says("clean=");
        node.says("stopped");
    }
    let node = place.start(flags);
    load.verify(node.address());
    // Sealed logs need no recovery: whoever stops a node politely gets a quick start.
    node.says("clean=true");
    assert!(!node.messages().contains("clean=false"));
}

/// Every rolling update is a SIGTERM under load. A server that drops what it has acknowledged, that hangs on a busy
/// connection until it is killed, or that ends with an error makes each of them an incident.
#[test]
fn sigterm_under_load_loses_nothing_and_ends_well() {
    stop_under_load(Signal::TERM, &[], 11);
}

/// Ctrl-C in a terminal is a stop like any other, and a clean one takes nothing whatever the sync mode.
#[test]
fn sigint_under_load_loses_nothing_and_ends_well() {
    stop_under_load(Signal::INT, &["--sync", "never"], 12);
}

/// What a node holds that has values of 16 MiB.
const LARGE: [&str; 8] = [
    "--value-len-max",
    "16MiB",
    "--segment-len",
    "64MiB",
    "--memory",
    "512MiB",
    "--stall-timeout",
    "1h",
];

/// A client that asked for a value that no socket's buffers take, and reads none of it: the node can't end what it has begun.
fn never_reads(node: &Node) -> Wire {
    let mut wire = node.connect_narrow();
    let large = describing(b"large", 1, 16 << 20);
    wire.put(b"large", &large);
    wire.queue_get(b"large");
    wire.flush().unwrap();
    // Once the first bytes are here, all the others are on their way.
    wire.stream().peek(&mut [0]).unwrap();
    wire
}

/// An operator who asks twice means it: a stop that waits for a stuck client must not need a kill.
#[test]
fn a_second_signal_ends_a_stop_that_waits() {
    let place = Place::new();
    let mut node = place.start(&[&LARGE[..], &["--stop-timeout", "1h"]].concat());
    let wire = never_reads(&node);
    node.signal(Signal::TERM);
    node.says("stopping");
    node.signal(Signal::TERM);
    let status = node.wait();
    assert_eq!(status.code(), Some(1), "{status}");
    drop(wire);
    let node = place.start(&LARGE);
    let value = node.connect().get(b"large").unwrap();
    assert_eq!(described(b"large", &value), 1);
}

/// The same stuck client, and nobody who asks twice: the stop timeout is what bounds it.
#[test]
fn a_client_that_never_reads_cannot_hold_up_a_stop() {
    let place = Place::new();
    let mut node = place.start(&[&LARGE[..], &["--stop-timeout", "200ms"]].concat());
    let wire = never_reads(&node);
    node.signal(Signal::TERM);
    let status = node.wait();
    assert!(status.success(), "{status}");
    node.says("still in work");
    node.says("were not answered");
    // The connection has an end, it isn't left hanging.
    let mut rest = Vec::new();
    let _ = wire.stream().take(1 << 30).read_to_end(&mut rest);
    assert!(rest.len() < 16 << 20);
    let node = place.start(&LARGE);
    node.says("clean=true");
    let value = node.connect().get(b"large").unwrap();
    assert_eq!(described(b"large", &value), 1);
}
