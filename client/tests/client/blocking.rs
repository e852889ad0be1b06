//! The blocking client, on a server that has a runtime of its own.

use std::thread;

use corduroy_client::Error;
use corduroy_client::blocking::{Client, Keyspace};
use corduroy_proto_wire::{Body, Opcode, Request, ScanItem, Status};
use tokio::runtime::Runtime;

use crate::server::{Act, Seen, Server};

fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> (Runtime, Server) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Server::start(script));
    (runtime, server)
}

fn echo(seen: &Seen) -> Act {
    match seen.request() {
        Request::Get { key, .. } => Act::Gather(8, Status::Ok, Body::Value(key.to_vec().leak())),
        Request::Scan { .. } => {
            let item = |key| ScanItem {
                key,
                value: None,
                version: 1,
                timestamp_ms: 1,
                expires_at_ms: None,
            };
            let items = vec![item(b"a"), item(b"b")];
            Act::Answer(
                Status::Ok,
                Body::Scan {
                    cursor: corduroy_proto_wire::Cursor::START,
                    items,
                },
            )
        }
        _ => Act::done(),
    }
}

/// Eight threads share one handle, and the server answers only when it has all eight requests: they must be in flight together.
#[test]
fn threads_share_a_connection() {
    let (_runtime, server) = start(echo);
    let client = Client::connect(server.address.to_string()).unwrap();
    let keyspace = client.default_keyspace();
    thread::scope(|scope| {
        for number in 0..8 {
            let keyspace: &Keyspace = &keyspace;
            scope.spawn(move || {
                for round in 0..100 {
                    let key = format!("{number}-{round}");
                    assert_eq!(keyspace.get(&key).unwrap().unwrap().value, key.as_bytes());
                }
            });
        }
    });
    assert_eq!(server.hellos().len(), 1);
    assert_eq!(server.count(Opcode::Get), 800);
}

/// A scan is an iterator and ends as one.
#[test]
fn a_scan_is_an_iterator() {
    let (_runtime, server) = start(echo);
    let keyspace = Client::connect(server.address.to_string())
        .unwrap()
        .default_keyspace();
    let keys: Vec<_> = keyspace.scan("").map(|entry| entry.unwrap().key).collect();
    assert_eq!(keys, ["a", "b"]);
}

/// A keyspace must keep the connection's thread alive when the client that it came from is gone; and errors come through as they are.
#[test]
fn handles_outlive_their_client() {
    let (runtime, server) = start(|_| Act::done());
    let client = Client::connect(server.address.to_string()).unwrap();
    let keyspace = client.default_keyspace();
    drop(client);
    assert_eq!(keyspace.put("key", "value").unwrap().version, 7);
    let address = runtime.block_on(server.stop());
    assert!(matches!(
        Client::connect(address.to_string()).unwrap_err(),
        Error::Connect { .. }
    ));
}
