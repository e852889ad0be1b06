//! Which connections there are, to which shards, and what happens when they are lost.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use corduroy_client::{Client, ConnectError, Error, KeyspaceInfo, RetryPolicy, Route};
use corduroy_proto_wire::{
    Body, Opcode, Request, Status, partition_of_slot, shard_of_partition, slot_of,
};

use crate::server::{Act, Server, encode, eventually, hello};

fn key_shard(key: &[u8], shard_count: u16) -> u16 {
    shard_of_partition(partition_of_slot(slot_of(key), 64), shard_count)
}

/// A request that is sent to a wrong core is answered all the same, so only the server's load would ever show it. Every key
/// must come in on a connection that asked for its shard; the first connection asked for none and was given shard 2.
#[tokio::test]
async fn requests_go_straight_to_the_shard_of_their_key() {
    let server = Server::start_with(
        corduroy_client::HelloReply {
            shard: 2,
            ..hello(4)
        },
        |_| Act::done(),
    )
    .await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let keyspace = client.default_keyspace();
    for number in 0..100 {
        keyspace
            .put(format!("key-{number}"), "value")
            .await
            .unwrap();
    }
    for seen in server.seen() {
        let Request::Put { put, .. } = seen.request() else {
            panic!("{seen:?}")
        };
        assert_eq!(seen.shard.unwrap_or(2), key_shard(put.key, 4));
    }
    let mut hellos = server.hellos();
    hellos.sort();
    assert_eq!(hellos, [None, Some(0), Some(1), Some(3)]);
}

/// A connection costs the server memory: one that is not needed is not opened, and requests about no key use what is open.
#[tokio::test]
async fn connections_are_opened_when_they_are_needed() {
    let server = Server::start_with(hello(64), |_| Act::done()).await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    for _ in 0..10 {
        client.ping().await.unwrap();
    }
    assert_eq!(server.hellos(), [None]);
    client.default_keyspace().put("key", "value").await.unwrap();
    assert_eq!(server.hellos(), [None, Some(key_shard(b"key", 64))]);
}

/// Without routing, so many connections are opened as were asked for, and all of them are used.
#[tokio::test]
async fn without_routing_requests_take_turns_on_all_connections() {
    let server = Server::start_with(hello(4), |_| Act::done()).await;
    let client = Client::builder()
        .address(server.address.to_string())
        .route(Route::Any)
        .connections(3)
        .build()
        .await
        .unwrap();
    let keyspace = client.default_keyspace();
    eventually(|| async {
        keyspace.put("key", "value").await.unwrap();
        (0..3).all(|connection| {
            server
                .seen()
                .iter()
                .any(|seen| seen.connection == connection)
        })
    })
    .await;
    assert_eq!(server.hellos(), [None; 3]);
}

/// A hundred callers that lose a connection at once must open one new connection between them, not a hundred.
#[tokio::test]
async fn a_lost_connection_is_opened_again_once() {
    let server = Server::start(|seen| {
        if seen.connection == 0 {
            Act::HangUp
        } else {
            Act::done()
        }
    })
    .await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let keyspace = client.default_keyspace();
    let puts: Vec<_> = (0..100)
        .map(|number| {
            let keyspace = keyspace.clone();
            tokio::spawn(async move { keyspace.put(format!("key-{number}"), "value").await })
        })
        .collect();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    assert_eq!(server.hellos().len(), 2);
}

/// A server that is restarted is found again by the handles that were there before.
#[tokio::test]
async fn a_client_survives_its_servers_restart() {
    let server = Server::start(|_| Act::done()).await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let keyspace = client.default_keyspace();
    keyspace.put("key", "value").await.unwrap();
    let address = server.stop().await;
    let restart = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Server::start_at(address, hello(1), |_| Act::done()).await
    };
    let (put, server) = tokio::join!(keyspace.put("key", "value"), restart);
    put.unwrap();
    assert_eq!(server.count(Opcode::Put), 1);
}

/// A node may come back with another number of cores. A client that goes on with the old layout sends every request to a
/// wrong core, or asks for cores that are not there any more.
#[tokio::test]
async fn a_server_that_comes_back_with_other_shards_is_laid_out_anew() {
    for shard_count in [2, 16] {
        let server = Server::start_with(hello(8), |_| Act::done()).await;
        let client = Client::connect(server.address.to_string()).await.unwrap();
        let keyspace = client.default_keyspace();
        let keys: Vec<String> = (0..100).map(|number| format!("key-{number}")).collect();
        for key in &keys {
            keyspace.put(key, "value").await.unwrap();
        }
        let address = server.stop().await;
        let server = Server::start_at(address, hello(shard_count), |_| Act::done()).await;
        for key in &keys {
            keyspace.put(key, "value").await.unwrap();
        }
        assert_eq!(client.server().shard_count, shard_count);
        let before = server.seen().len();
        for key in &keys {
            keyspace.put(key, "value").await.unwrap();
        }
        for seen in &server.seen()[before..] {
            let Request::Put { put, .. } = seen.request() else {
                panic!("{seen:?}")
            };
            assert_eq!(seen.shard.unwrap_or(0), key_shard(put.key, shard_count));
        }
    }
}

/// When the server is down, each request fails within its attempts, and says why.
#[tokio::test]
async fn a_server_that_is_down_is_reported_after_the_last_attempt() {
    let server = Server::start(|_| Act::done()).await;
    let client = Client::builder()
        .address(server.address.to_string())
        .retry(
            RetryPolicy::default()
                .attempts_max(3)
                .backoff_max(Duration::from_millis(5)),
        )
        .build()
        .await
        .unwrap();
    let address = server.stop().await;
    // Whatever was sent before the client noticed would be unknown; a ping that fails has noticed.
    let noticed = client.ping().await.unwrap_err();
    assert!(matches!(noticed, Error::Connect { .. }), "{noticed:?}");
    let error = client.default_keyspace().add("key", 1).await.unwrap_err();
    match &error {
        Error::Connect {
            address: named,
            source: ConnectError::Io(source),
        } => {
            assert_eq!(**named, *address.to_string());
            assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        other => panic!("{other:?}"),
    }
    assert!(!error.is_outcome_unknown() && error.is_retryable());
}

/// A caller that gives up on a connection that is being opened must not stop it for the others, or leave the place blocked.
#[tokio::test]
async fn giving_up_on_an_opening_leaves_it_to_the_others() {
    let server = Server::start_with(hello(2), |_| Act::done()).await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let keyspace = client.default_keyspace();
    let key = (0..)
        .map(|number| format!("key-{number}"))
        .find(|key| key_shard(key.as_bytes(), 2) == 1)
        .unwrap();
    for _ in 0..10 {
        let put = std::pin::pin!(keyspace.put(&key, "value"));
        tokio::select! {
            biased;
            _ = put => {}
            () = tokio::task::yield_now() => {}
        }
    }
    keyspace.put(&key, "value").await.unwrap();
    assert_eq!(server.hellos().len(), 2);
}

/// A keyspace that was dropped and made again has another number. Handles follow the name, once; a name that is gone is said to be.
#[tokio::test]
async fn a_keyspace_that_was_made_again_is_found_under_its_name() {
    let info = |id| KeyspaceInfo {
        id,
        partitions: 64,
        name: "orders".to_owned(),
    };
    let opened = AtomicU32::new(0);
    let server = Server::start(move |seen| match seen.request() {
        Request::KeyspaceOpen { name: "orders" } => {
            let id = 5 + opened.fetch_add(1, Ordering::Relaxed);
            Act::Answer(Status::Ok, Body::Keyspaces(vec![info(id)]))
        }
        Request::KeyspaceOpen { .. } => Act::Answer(Status::NotFound, Body::Empty),
        Request::Add { keyspace: 6, .. } => Act::Answer(Status::Ok, Body::Counter(1)),
        Request::Add { .. } => Act::Answer(Status::UnknownKeyspace, Body::Error("no keyspace 5")),
        other => panic!("{other:?}"),
    })
    .await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let keyspace = client.keyspace("orders").await.unwrap();
    assert_eq!(keyspace.add("key", 1).await.unwrap().value, 1);
    assert_eq!(keyspace.add("key", 1).await.unwrap().value, 1);
    assert_eq!(server.count(Opcode::KeyspaceOpen), 2);
    assert_eq!(server.count(Opcode::Add), 3);

    let error = client.keyspace("gone").await.unwrap_err();
    assert!(
        matches!(&error, Error::KeyspaceNotFound { name } if name == "gone"),
        "{error:?}"
    );
}

/// A number that the server does not know although it goes with the name is the server's mistake: to ask again and again would
/// never end.
#[tokio::test]
async fn a_keyspace_is_resolved_once_a_request() {
    let server = Server::start(|seen| match seen.opcode {
        Opcode::KeyspaceOpen => Act::Answer(
            Status::Ok,
            Body::Keyspaces(vec![KeyspaceInfo {
                id: 1,
                partitions: 64,
                name: "default".to_owned(),
            }]),
        ),
        _ => Act::Answer(Status::UnknownKeyspace, Body::Error("no keyspace 1")),
    })
    .await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let error = client.default_keyspace().add("key", 1).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::UnknownKeyspace));
    assert_eq!(server.count(Opcode::Add), 1);
    assert_eq!(server.count(Opcode::KeyspaceOpen), 1);
}

/// A server that is full says so to the hello, and may have room in a moment; a server of another version never will.
#[tokio::test]
async fn a_refused_hello_is_quoted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async {
        for status in [Status::Overloaded, Status::Handshake] {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &encode(0, status, Body::Error("no")))
                .await
                .unwrap();
            // What has not been read when a socket is closed takes what was written with it.
            let mut hello = [0; 1024];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut hello)
                .await
                .unwrap();
        }
    };
    let connect = async {
        for (status, retryable) in [(Status::Overloaded, true), (Status::Handshake, false)] {
            let error = Client::connect(&address).await.unwrap_err();
            assert_eq!(error.status(), Some(status));
            assert_eq!(error.is_retryable(), retryable);
        }
    };
    tokio::join!(serve, connect);
}
