//! Many requests at once on one connection.

use corduroy_client::{Client, Keyspace};
use corduroy_proto_wire::{Body, Opcode, Request, Status};

use crate::server::{Act, Seen, Server};

/// The key's own bytes as its value: an answer that reaches the wrong caller shows.
fn echo_key(seen: &Seen) -> Body<'static> {
    match seen.request() {
        Request::Get { key, .. } => Body::Value(key.to_vec().leak()),
        other => panic!("{other:?}"),
    }
}

async fn get_all(keyspace: &Keyspace, count: usize) {
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let keyspace = keyspace.clone();
            tokio::spawn(async move {
                let key = format!("key-{number}");
                let found = keyspace.get(&key).await.unwrap().unwrap();
                assert_eq!(found.value, key.as_bytes());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// A slow request must not hold up those behind it, nor may an answer that overtakes another be given to its caller. The
/// server keeps a hundred answers back and sends them in reverse; all of them were therefore in flight at once, on one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_in_any_order_find_their_callers() {
    let server = Server::start(|seen| Act::Gather(100, Status::Ok, echo_key(seen))).await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    get_all(&client.default_keyspace(), 1000).await;
    assert_eq!(server.count(Opcode::Get), 1000);
    assert_eq!(server.hellos().len(), 1);
}

/// A request that never gets an answer holds its place until the connection ends, and nobody else up.
#[tokio::test]
async fn requests_pass_one_that_is_never_answered() {
    let server = Server::start(|seen| match seen.opcode {
        Opcode::Count => Act::Ignore,
        _ => Act::Answer(Status::Ok, echo_key(seen)),
    })
    .await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let keyspace = client.default_keyspace();
    tokio::select! {
        answer = keyspace.count() => panic!("{answer:?}"),
        () = get_all(&keyspace, 100) => {}
    }
}

/// Values are handed out as slices of the buffer that they were read into; the buffer must not be written to again while
/// somebody holds one.
#[tokio::test]
async fn values_that_are_kept_keep_their_bytes() {
    let server = Server::start(|seen| Act::Answer(Status::Ok, echo_key(seen))).await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let keyspace = client.default_keyspace();
    let mut kept = Vec::new();
    for number in 0..2000 {
        let key = format!("{number:0>width$}", width = number % 500 + 5);
        kept.push((
            key.clone(),
            keyspace.get(&key).await.unwrap().unwrap().value,
        ));
    }
    for (key, value) in kept {
        assert_eq!(value, key.as_bytes());
    }
}
