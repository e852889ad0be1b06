//! A thousand connections at once, and one too many.

use std::io::Read as _;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::needs::{cores, skip};
use crate::support::node::Place;
use crate::support::value::{described, describing};
use crate::support::wait_until;
use crate::support::wire::{Wire, greeting, raw};

const CONNECTIONS: usize = 1_000;

/// Whether this process may open a socket for each of them.
fn may_open_enough() -> bool {
    let wanted = CONNECTIONS as u64 + 200;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return true;
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    let may = setrlimit(Resource::Nofile, raised).is_ok();
    if !may {
        skip("a limit of 1,200 open files (ulimit -n)");
    }
    may
}

/// A server that looks at each of its connections to find the one with work, or that gives each a thread and a buffer, is fine in a
/// test with five. One that forgets a descriptor a connection runs out of them on some busy evening.
#[test]
fn a_thousand_connections_are_served_and_leave_nothing_behind() {
    if !may_open_enough() {
        return;
    }
    let place = Place::new();
    let node = place.start(&["--connections-max", "1000"]);
    let address = node.address();
    // A first client: what the node opens once, it has opened.
    node.connect().put(b"first", b"1");
    wait_until("the first connection is gone", || connections(&node) == 1);
    let before = node.descriptors();
    let mut wires: Vec<Wire> = (0..CONNECTIONS)
        .map(|number| {
            Wire::open(address, None).unwrap_or_else(|error| panic!("connection {number}: {error}"))
        })
        .collect();
    // Dealt out by count: a core with twice as many connections as another is half as fast.
    let mut by_shard = vec![0_usize; cores()];
    for wire in &wires {
        by_shard[usize::from(wire.hello().shard)] += 1;
    }
    let fair = CONNECTIONS / by_shard.len();
    assert!(
        by_shard.iter().all(|here| here.abs_diff(fair) <= 1),
        "{by_shard:?}"
    );
    for round in 0..5 {
        for (number, wire) in wires.iter_mut().enumerate() {
            // Each writes a key of its own and reads its neighbour's.
            let key = key(number);
            wire.queue_put(&key, &describing(&key, round, 100));
            wire.flush().unwrap();
        }
        for wire in &mut wires {
            assert!(!wire.receive().unwrap().status.is_error());
        }
        for (number, wire) in wires.iter_mut().enumerate() {
            wire.queue_get(&key((number + 1) % CONNECTIONS));
            wire.flush().unwrap();
        }
        for (number, wire) in wires.iter_mut().enumerate() {
            let value = wire.receive().unwrap().value.unwrap();
            let key = key((number + 1) % CONNECTIONS);
            assert_eq!(described(&key, &value), round);
        }
    }
    one_too_many_is_refused(address);
    for wire in &mut wires {
        assert!(wire.get(b"first").is_some());
    }
    drop(wires);
    wait_until("the node has closed a thousand sockets", || {
        // An executor that waits holds a few descriptors that a busy one doesn't.
        node.descriptors() <= before + 20
    });
    // And there is room again.
    assert!(node.connect().get(&key(0)).is_some());
    node.stop();
}

/// Client connections as the node counts them, the one that asks included.
fn connections(node: &crate::support::node::Node) -> u64 {
    let status = node.status();
    let shards = status["shards"].as_array().unwrap().len();
    assert!(shards > 0);
    status["answered_by"]["connections"].as_u64().unwrap()
}

fn key(number: usize) -> Vec<u8> {
    format!("many:{number}").into_bytes()
}

/// Beyond the limit a client must learn why at once, and not wait for an answer that never comes.
fn one_too_many_is_refused(address: std::net::SocketAddr) {
    for _ in 0..20 {
        let error = Wire::open(address, None).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("all the connections that it may have, 1000"),
            "refused with {error:?}"
        );
    }
    // One that speaks another language is closed too, with the same care.
    let mut stream = raw(address).unwrap();
    std::io::Write::write_all(&mut stream, &greeting(None)[..2]).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}
