//! How a connection begins, and how the node ends one.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use corduroy_proto_wire::{CONNECTION_REQUEST_ID, PREAMBLE, Response, Status, split};

use crate::support::needs::cores;
use crate::support::node::Place;
use crate::support::wire::{Wire, raw};

/// A client that knows the layout asks for the shard of its keys; bytes that came with its hello must not get lost on the way.
#[test]
fn a_connection_goes_to_the_shard_that_it_names() {
    let place = Place::new();
    let node = place.start(&[]);
    for round in 0..20 {
        for shard in 0..cores() as u16 {
            let mut wire = Wire::open(node.address(), Some(shard)).unwrap();
            assert_eq!(wire.hello().shard, shard);
            let value = format!("{round} {shard}");
            wire.put(b"key", value.as_bytes());
            assert_eq!(wire.get(b"key").as_deref(), Some(value.as_bytes()));
        }
    }
    let beyond = cores() as u16;
    let refused = Wire::open(node.address(), Some(beyond)).unwrap_err();
    let refused = refused.to_string();
    for part in ["Handshake", &format!("no shard {beyond}")] {
        assert!(refused.contains(part), "{refused}");
    }
}

/// The reason for a refusal is sent just before the connection is closed; a socket that is closed with unread input resets
/// the connection, and the reason never arrives.
#[test]
fn a_client_that_goes_on_sending_still_hears_why_it_was_refused() {
    let place = Place::new();
    let node = place.start(&[]);
    for _ in 0..20 {
        let mut stream = raw(node.address()).unwrap();
        let mut garbage = PREAMBLE.to_vec();
        garbage.extend([0xff; 200_000]);
        stream.write_all(&garbage).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        let (frame, _) = split(&said, u32::MAX).unwrap().expect("an answer came");
        let (id, response) = Response::decode(frame).unwrap();
        assert_eq!(id, CONNECTION_REQUEST_ID);
        assert_ne!(response.status, Status::Ok);
    }
    node.connect().put(b"key", b"others are served");
}

/// The node is told once of bytes and of the end of the stream, and of both together when they come together: neither may be forgotten for the other.
#[test]
fn a_client_that_asks_and_closes_is_answered_and_let_go() {
    let place = Place::new();
    let node = place.start(&[]);
    for round in 0..300 {
        let mut stream = raw(node.address()).unwrap();
        stream.write_all(b"PING\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"+PONG\r\n", "round {round}");
    }
}

/// Connections that ask for nothing any more must not stay for ever where somebody said so.
#[test]
fn an_idle_connection_is_closed() {
    let place = Place::new();
    let node = place.start(&["--idle-timeout", "300ms"]);
    let mut idle = node.connect();
    let ended = idle.receive().unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::UnexpectedEof);
}
