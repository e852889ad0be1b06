//! Told to stop while everybody writes.

use std::io::Read as _;

use corduroy_proto_wire::Status;
use rustix::process::Signal;

use crate::support::load::Load;
use crate::support::node::Place;
use crate::support::value::{described, describing};
use crate::support::wire::Wire;

fn stop_under_load(signal: Signal, seed: u64) {
    let place = Place::new();
    let mut load = Load::new(seed, 2, 4);
    for _ in 0..3 {
        let mut node = place.start(&[]);
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
    let node = place.start(&[]);
    load.verify(node.address());
    // Sealed logs need no recovery: whoever stops a node politely gets a quick start.
    node.says("clean=true");
    assert!(!node.messages().contains("clean=false"));
}

/// Every rolling update is a SIGTERM under load. A server that drops what it has acknowledged, that hangs on a busy
/// connection until it is killed, or that ends with an error makes each of them an incident.
#[test]
fn sigterm_under_load_loses_nothing_and_ends_well() {
    stop_under_load(Signal::TERM, 11);
}

/// Ctrl-C in a terminal is a stop like any other.
#[test]
fn sigint_under_load_loses_nothing_and_ends_well() {
    stop_under_load(Signal::INT, 12);
}

/// A client that asked for megabytes and reads none of them, so that the node can't end what it has begun.
fn never_reads(wire: &mut Wire) {
    for _ in 0..200 {
        wire.queue_get(b"large");
    }
    wire.flush().unwrap();
}

/// An operator who asks twice means it: a stop that waits for a stuck client must not need a kill.
#[test]
fn a_second_signal_ends_a_stop_that_waits() {
    let place = Place::new();
    let patient = ["--stop-timeout", "1h", "--stall-timeout", "1h"];
    let mut node = place.start(&patient);
    let mut wire = node.connect();
    let large = describing(b"large", 1, 1 << 20);
    wire.put(b"large", &large);
    never_reads(&mut wire);
    // Once the first bytes are here, the rest is on its way.
    wire.stream().peek(&mut [0]).unwrap();
    node.signal(Signal::TERM);
    node.says("stopping");
    node.signal(Signal::TERM);
    let status = node.wait();
    assert_eq!(status.code(), Some(1), "{status}");
    let node = place.start(&[]);
    let value = node.connect().get(b"large").unwrap();
    assert_eq!(described(b"large", &value), 1);
}

/// The same stuck client, and nobody who asks twice: the stop timeout is what bounds it.
#[test]
fn a_client_that_never_reads_cannot_hold_up_a_stop() {
    let place = Place::new();
    let mut node = place.start(&["--stop-timeout", "200ms", "--stall-timeout", "1h"]);
    let mut wire = node.connect();
    wire.put(b"large", &describing(b"large", 1, 1 << 20));
    never_reads(&mut wire);
    wire.stream().peek(&mut [0]).unwrap();
    node.signal(Signal::TERM);
    let status = node.wait();
    assert!(status.success(), "{status}");
    node.says("were not answered");
    // The connection has an end, it isn't left hanging.
    let mut rest = Vec::new();
    let _ = wire.stream().take(1 << 30).read_to_end(&mut rest);
    let node = place.start(&[]);
    node.says("clean=true");
    assert!(node.connect().get(b"large").is_some());
}
