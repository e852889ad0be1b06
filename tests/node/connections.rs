//! Many connections, unusual ones, hostile ones.

use std::io::{Read, Write};
use std::net::TcpStream;

use corduroy_proto_wire::{CONNECTION_REQUEST_ID, PREAMBLE, Request, Response, Status, split};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{DEFAULT, Server, Wire, cores, put};

fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

/// A descriptor that leaks with every connection ends a server after a day of reconnecting clients, with an error that names none of them.
#[test]
fn a_thousand_connections_come_and_go_and_leave_nothing() {
    raise_open_files();
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--sync", "never"]);
    let before = server.sockets();
    let mut wires: Vec<Wire> = (0..1000).map(|_| server.connect()).collect();
    assert_eq!(server.sockets(), before + wires.len());
    let mut by_shard = vec![0; cores()];
    for (number, wire) in wires.iter_mut().enumerate() {
        let key = format!("key {number}");
        wire.put(key.as_bytes(), b"value");
        by_shard[usize::from(wire.hello.shard)] += 1;
    }
    let fair = wires.len() / by_shard.len();
    assert!(
        by_shard
            .iter()
            .all(|&here: &usize| here.abs_diff(fair) <= 1),
        "connections are spread evenly: {by_shard:?}"
    );
    for wire in &mut wires {
        assert_eq!(wire.get(b"key 999").body, b"value");
    }
    drop(wires);
    while server.sockets() > before {
        std::thread::yield_now();
    }
}

/// A client that knows the layout asks for the shard of its keys; bytes that came with its hello must not get lost on the way.
#[test]
fn a_connection_goes_to_the_shard_that_it_names() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    for round in 0..20 {
        for shard in 0..cores() as u16 {
            let mut wire = server.connect_to_shard(shard);
            assert_eq!(wire.hello.shard, shard);
            let value = format!("{round} {shard}");
            wire.put(b"key", value.as_bytes());
            assert_eq!(wire.get(b"key").body, value.as_bytes());
        }
    }
    let refused = Wire::open(server.address(), Some(cores() as u16))
        .err()
        .unwrap();
    assert_eq!(refused.status, Status::Handshake);
}

/// A node that is full must say so: a client that is only hung up on takes it for a crash and comes again at once.
#[test]
fn one_connection_too_many_is_told_so() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--connections-max", "2"]);
    let first = server.connect();
    let mut second = server.connect();
    let refused = Wire::open(server.address(), None).err().unwrap();
    assert_eq!(refused.id, CONNECTION_REQUEST_ID);
    assert_eq!(refused.status, Status::LimitExceeded);
    assert!(String::from_utf8(refused.body).unwrap().contains('2'));
    second.put(b"key", b"those that are in are served");
    drop(first);
    // Its place is free once the server has seen it go.
    while Wire::open(server.address(), None).is_err() {
        std::thread::yield_now();
    }
}

/// Requests on keys of all shards over one connection, many in flight: each must be answered once, with its own value.
#[test]
fn pipelined_requests_cross_cores_and_come_back() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--sync", "never"]);
    let mut wire = server.connect();
    let keys: Vec<String> = (0..500).map(|number| format!("key {number}")).collect();
    for round in 0..20 {
        let value = |key: &str| format!("{key} in round {round}");
        let mut waiting = std::collections::HashMap::new();
        for key in &keys {
            let value = value(key);
            let id = wire
                .send(&put(DEFAULT, key.as_bytes(), value.as_bytes()))
                .unwrap();
            waiting.insert(id, None);
            let get = Request::Get {
                keyspace: DEFAULT,
                key: key.as_bytes(),
            };
            waiting.insert(wire.send(&get).unwrap(), Some(value));
        }
        while !waiting.is_empty() {
            let answer = wire.receive().unwrap();
            let expected = waiting.remove(&answer.id).expect("one answer a request");
            assert_eq!(answer.status, Status::Ok, "{answer:?}");
            if let Some(expected) = expected {
                assert_eq!(answer.body, expected.as_bytes());
            }
        }
    }
}

/// A client that asks for much and reads late fills its socket: what is left must follow when it reads, complete and in its place.
#[test]
fn a_full_socket_is_written_to_when_it_has_room() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    let mut wire = server.connect();
    let value: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
    wire.put(b"large", &value);
    let get = Request::Get {
        keyspace: DEFAULT,
        key: b"large",
    };
    let mut writer = wire.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for id in 1000..1250 {
            let mut frame = Vec::new();
            get.encode(id, &mut frame);
            writer.write_all(&frame).unwrap();
        }
    });
    // Some of the requests are held back now, because of the answers that nobody reads.
    let mut other = server.connect();
    for _ in 0..50 {
        assert_eq!(other.get(b"large").body.len(), value.len());
    }
    let mut ids = Vec::new();
    for _ in 1000..1250 {
        let answer = wire.receive().unwrap();
        assert_eq!(answer.body, value);
        ids.push(answer.id);
    }
    sender.join().unwrap();
    ids.sort_unstable();
    assert_eq!(ids, (1000..1250).collect::<Vec<_>>());
}

/// The reason for a refusal is sent just before the connection is closed; a socket that is closed with unread input resets
/// the connection, and the reason never arrives.
#[test]
fn a_client_that_goes_on_sending_still_hears_why_it_was_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
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
    server.connect().put(b"key", b"others are served");
}

/// Connections that never say anything must not stay for ever.
#[test]
fn silent_connections_are_closed() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(
        data.path(),
        &["--handshake-timeout", "100ms", "--idle-timeout", "300ms"],
    );
    let mut silent = TcpStream::connect(server.address()).unwrap();
    let mut idle = server.connect();
    let mut nothing = Vec::new();
    // Both end because the server ends them.
    assert_eq!(silent.read_to_end(&mut nothing).unwrap_or(0), 0);
    assert_eq!(idle.receive(), None);
}
