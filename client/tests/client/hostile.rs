//! Servers that are broken, hostile, or something else altogether.

use std::time::Duration;

use corduroy_client::{Client, ConnectError, Error, LostReason, Outcome, ProtocolError};
use corduroy_proto_wire::{Body, FrameError, Opcode, Status};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::server::{Act, Server, encode, hello};

/// A server that claims a frame of four gigabytes must not get four gigabytes: the connection ends before anything of it is kept.
#[tokio::test]
async fn a_frame_over_the_limit_ends_the_connection() {
    let server = Server::start(|_| Act::Raw(u32::MAX.to_le_bytes().to_vec())).await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let error = client.default_keyspace().add("key", 1).await.unwrap_err();
    match &error {
        Error::ConnectionLost {
            source: LostReason::Protocol(ProtocolError::Frame(reason)),
            ..
        } => {
            assert_eq!(
                *reason,
                FrameError::TooLong {
                    length: u32::MAX,
                    limit: 32 << 20
                }
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(error.outcome(), Outcome::Unknown { repeatable: false });
    assert!(!error.is_retryable());
}

/// The caller's own bound on what it is willing to hold counts even where the server's is larger.
#[tokio::test]
async fn the_callers_limit_on_answers_counts() {
    let server = Server::start(|_| Act::Answer(Status::Ok, Body::Value(&[7; 2000]))).await;
    let client = Client::builder()
        .address(server.address.to_string())
        .answer_len_max(1000)
        .build()
        .await
        .unwrap();
    let error = client.default_keyspace().get("key").await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::ConnectionLost {
                source: LostReason::Protocol(ProtocolError::Frame(FrameError::TooLong {
                    limit: 1000,
                    ..
                })),
                ..
            }
        ),
        "{error:?}"
    );
}

/// Answers to nothing, second answers, headers cut short, kinds that don't exist: whoever gets one must hear of an error, never of a value.
#[tokio::test]
async fn nonsense_is_an_error_and_never_a_value() {
    let stranger = encode(0xdead_beef, Status::Ok, Body::Value(b"not yours"));
    let short = [12u32.to_le_bytes().to_vec(), vec![1; 12]].concat();
    let tiny = [1u32.to_le_bytes().to_vec(), vec![1]].concat();
    let noise: Vec<u8> = (0..1000u32)
        .map(|number| (number * 37 % 251) as u8)
        .collect();
    for nonsense in [stranger, short, tiny, noise] {
        let server = Server::start(move |_| Act::Raw(nonsense.clone())).await;
        let client = Client::connect(server.address.to_string()).await.unwrap();
        let error = client.default_keyspace().get("key").await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::ConnectionLost {
                    source: LostReason::Protocol(_),
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(
            server.count(Opcode::Get),
            1,
            "a server that breaks the protocol is not asked again"
        );
    }

    let server = Server::start(|seen| {
        let mut answer = encode(seen.id, Status::Ok, Body::Empty);
        answer[8] = 0xee;
        Act::Raw(answer)
    })
    .await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let error = client.default_keyspace().get("key").await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Protocol {
                source: ProtocolError::Decode(_),
                ..
            }
        ),
        "{error:?}"
    );
}

/// The second answer to a request must not be given to the next one.
#[tokio::test]
async fn a_second_answer_reaches_nobody() {
    let server = Server::start(|seen| {
        let answer = |value: &'static [u8]| encode(seen.id, Status::Ok, Body::Value(value));
        Act::Raw([answer(b"first"), answer(b"second")].concat())
    })
    .await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    for _ in 0..20 {
        match client.default_keyspace().get("key").await {
            Ok(found) => assert_eq!(found.unwrap().value, "first"),
            Err(error) => assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}"),
        }
    }
}

/// Whatever else listens on a port, a Redis or a web server, the error must say that it is no Corduroy, and not wait for the timeout.
#[tokio::test]
async fn something_else_behind_the_port_is_recognised() {
    for greeting in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "-ERR unknown command\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting.as_bytes()).await.unwrap();
            stream
        };
        let (client, _stream) = tokio::join!(Client::connect(address), serve);
        let error = client.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Connect {
                    source: ConnectError::Protocol(_),
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

/// A port that accepts and never says a word must not hang whoever connects.
#[tokio::test]
async fn a_handshake_that_does_not_come_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = Client::builder()
        .address(address)
        .connect_timeout(Duration::from_millis(50))
        .build()
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Connect {
                source: ConnectError::Timeout(_),
                ..
            }
        ),
        "{error:?}"
    );
}

/// Numbers in a hello that the client would divide by, or wait for.
#[tokio::test]
async fn a_hello_that_can_not_be_is_refused() {
    let good = hello(1);
    for wrong in [
        corduroy_client::HelloReply {
            in_flight_max: 0,
            ..good.clone()
        },
        corduroy_client::HelloReply {
            batch_len_max: 0,
            ..good.clone()
        },
        corduroy_client::HelloReply {
            version: 9,
            ..good.clone()
        },
    ] {
        let server = Server::start(|_| Act::done()).await;
        server.set_hello(wrong.clone());
        let error = Client::connect(server.address.to_string())
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Connect {
                    source: ConnectError::Protocol(_),
                    ..
                }
            ),
            "{wrong:?}: {error:?}"
        );
    }
}
