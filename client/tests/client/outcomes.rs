//! Not done, or unknown? Connections that end at every point of a request, and what the client makes of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corduroy_client::{
    Client, Condition, ConnectError, Error, LostReason, Outcome, PutOptions, PutOutcome,
    RetryPolicy,
};
use corduroy_proto_wire::{Body, Opcode, RESPONSE_HEADER_LEN, Status};

use crate::server::{Act, Server, encode, hello};

async fn connect(server: &Server) -> Client {
    Client::builder()
        .address(server.address.to_string())
        .build()
        .await
        .unwrap()
}

/// A script that treats the first request in its own way and answers all later ones.
fn at_first(
    first: impl Fn() -> Act + Send + Sync + 'static,
    later: impl Fn() -> Act + Send + Sync + 'static,
) -> impl Fn(&crate::server::Seen) -> Act + Send + Sync + 'static {
    let count = AtomicUsize::new(0);
    move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            first()
        } else {
            later()
        }
    }
}

const COUNTER: Body<'static> = Body::Counter(1);

/// The server has the request and hangs up. An `add` may have counted: to send it again could count twice, to say that it failed
/// would be a lie as well. It is sent once, and its outcome is unknown.
#[tokio::test]
async fn an_add_that_was_sent_is_not_repeated() {
    let server = Server::start(at_first(
        || Act::HangUp,
        || Act::Answer(Status::Ok, COUNTER),
    ))
    .await;
    let keyspace = connect(&server).await.default_keyspace();
    let error = keyspace.add("key", 1).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown { repeatable: false });
    assert!(error.is_outcome_unknown() && !error.is_retryable());
    assert_eq!(server.count(Opcode::Add), 1);
    assert_eq!(
        keyspace.add("key", 1).await.unwrap().value,
        1,
        "the next request gets a new connection"
    );
}

/// An unconditional put may be repeated, and a conditional one may not: the second time it would meet the first one's value and
/// report a conflict that never was.
#[tokio::test]
async fn a_put_is_repeated_if_it_is_unconditional() {
    let server = Server::start(at_first(|| Act::HangUp, Act::done)).await;
    let keyspace = connect(&server).await.default_keyspace();
    assert_eq!(keyspace.put("key", "value").await.unwrap().version, 7);
    assert_eq!(server.count(Opcode::Put), 2);

    let server = Server::start(at_first(|| Act::HangUp, Act::done)).await;
    let keyspace = connect(&server).await.default_keyspace();
    let options = PutOptions::new().condition(Condition::IfAbsent);
    let error = keyspace
        .put_with("key", "value", options)
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown { repeatable: false });
    assert_eq!(server.count(Opcode::Put), 1);
}

/// Of an answer that is cut anywhere, even one byte before its end, nothing may be believed.
#[tokio::test]
async fn half_an_answer_is_no_answer() {
    let len = encode(1, Status::Ok, COUNTER).len();
    for cut in [1, 3, 4, 5, RESPONSE_HEADER_LEN, len - 1] {
        let server = Server::start(move |_| Act::Cut(cut, Status::Ok, COUNTER)).await;
        let error = connect(&server)
            .await
            .default_keyspace()
            .add("key", 1)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::ConnectionLost { .. }),
            "cut after {cut}: {error:?}"
        );
        assert_eq!(
            error.outcome(),
            Outcome::Unknown { repeatable: false },
            "cut after {cut}"
        );
        assert_eq!(server.count(Opcode::Add), 1);
    }
    let server = Server::start(move |_| Act::Cut(len, Status::Ok, COUNTER)).await;
    assert_eq!(
        connect(&server)
            .await
            .default_keyspace()
            .add("key", 1)
            .await
            .unwrap()
            .value,
        1
    );
}

/// The server stops reading while a value of 16 MiB is on its way, and goes down. Half a frame does nothing, and what was queued
/// behind it never left: neither was done, so both are done on the next connection, although neither could be repeated.
#[tokio::test]
async fn what_was_not_sent_whole_is_sent_again_whatever_it_is() {
    let server = Server::start(|_| panic!("nothing can have arrived whole")).await;
    let client = connect(&server).await;
    server.set_reading(false);
    let keyspace = client.default_keyspace();
    let large = vec![7; 16 << 20];
    let options = PutOptions::new().condition(Condition::IfAbsent);
    let put = async { keyspace.put_with("large", &large, options).await };
    let add = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        keyspace.add("key", 1).await
    };
    let restart = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let address = server.stop().await;
        Server::start_at(address, hello(1), |seen| match seen.opcode {
            Opcode::Add => Act::Answer(Status::Ok, COUNTER),
            _ => Act::done(),
        })
        .await
    };
    let (put, add, server) = tokio::join!(put, add, restart);
    assert!(matches!(put.unwrap(), PutOutcome::Done(..)));
    assert_eq!(add.unwrap().value, 1);
    assert_eq!(server.count(Opcode::Add), 1);
    assert_eq!(server.count(Opcode::Put), 1);
}

/// The same without retries: the caller is told that neither was done.
#[tokio::test]
async fn what_was_not_sent_whole_is_reported_as_not_done() {
    let server = Server::start(|_| panic!("nothing can have arrived whole")).await;
    let client = Client::builder()
        .address(server.address.to_string())
        .retry(RetryPolicy::none())
        .build()
        .await
        .unwrap();
    server.set_reading(false);
    let keyspace = client.default_keyspace();
    let large = vec![7; 16 << 20];
    let options = PutOptions::new().condition(Condition::IfAbsent);
    let put = keyspace.put_with("large", &large, options);
    let add = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        keyspace.add("key", 1).await
    };
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.stop().await
    };
    let (put, add, _) = tokio::join!(put, add, stop);
    for error in [put.unwrap_err(), add.unwrap_err()] {
        assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotDone);
        assert!(error.is_retryable());
    }
}

/// The first attempt of a put may have been carried out, all others can't even connect. "Cannot connect" alone would tell
/// the caller that nothing was written.
#[tokio::test]
async fn an_earlier_attempt_that_may_have_been_done_is_remembered() {
    let server = Server::start(|_| Act::Ignore).await;
    let client = Client::builder()
        .address(server.address.to_string())
        .retry(RetryPolicy::default().attempts_max(4))
        .build()
        .await
        .unwrap();
    let keyspace = client.default_keyspace();
    let stop = async {
        while server.count(Opcode::Put) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.stop().await;
    };
    let (put, ()) = tokio::join!(keyspace.put("key", "value"), stop);
    let error = put.unwrap_err();
    match &error {
        Error::Unresolved {
            attempts: 4,
            source,
        } => assert!(matches!(**source, Error::Connect { .. })),
        other => panic!("{other:?}"),
    }
    assert_eq!(error.outcome(), Outcome::Unknown { repeatable: true });

    let error = keyspace.put("key", "value").await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Connect {
                source: ConnectError::Io(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.outcome(), Outcome::NotDone, "this one never left");
}

/// What the server itself does not know stays unknown, and is not tried again behind the caller's back.
#[tokio::test]
async fn a_server_that_does_not_know_is_believed() {
    let server =
        Server::start(|_| Act::Answer(Status::OutcomeUnknown, Body::Error("the disk failed")))
            .await;
    let error = connect(&server)
        .await
        .default_keyspace()
        .put("key", "value")
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(Status::OutcomeUnknown));
    assert!(error.is_outcome_unknown());
    assert_eq!(server.count(Opcode::Put), 1);
}

/// Overload passes, and a request that was refused was not done: even an `add` is tried again.
#[tokio::test]
async fn a_request_that_was_refused_for_the_moment_is_tried_again() {
    let overloaded = || Act::Answer(Status::Overloaded, Body::Error("in a moment"));
    let server = Server::start(at_first(overloaded, || Act::Answer(Status::Ok, COUNTER))).await;
    assert_eq!(
        connect(&server)
            .await
            .default_keyspace()
            .add("key", 1)
            .await
            .unwrap()
            .value,
        1
    );
    assert_eq!(server.count(Opcode::Add), 2);
}

/// A disk that is full is full the next millisecond too; the caller must know.
#[tokio::test]
async fn a_lasting_refusal_is_reported_at_once() {
    let server =
        Server::start(|_| Act::Answer(Status::ReadOnly, Body::Error("the disk is full"))).await;
    let error = connect(&server)
        .await
        .default_keyspace()
        .put("key", "value")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server takes no writes: the disk is full"
    );
    assert_eq!(error.outcome(), Outcome::NotDone);
    assert_eq!(server.count(Opcode::Put), 1);
}

/// A read that times out changed nothing, and the answer that comes after all must not confuse anybody.
#[tokio::test]
async fn a_late_answer_is_dropped() {
    let server = Server::start(|seen| match seen.opcode {
        Opcode::Get => Act::Gather(2, Status::Ok, Body::Value(b"value")),
        _ => Act::done(),
    })
    .await;
    let client = Client::builder()
        .address(server.address.to_string())
        .request_timeout(Duration::from_millis(100))
        .build()
        .await
        .unwrap();
    let keyspace = client.default_keyspace();
    let (late, ()) = tokio::join!(keyspace.get("late"), async {
        // Something else is answered meanwhile, so the connection is not suspected.
        tokio::time::sleep(Duration::from_millis(20)).await;
        keyspace.put("key", "value").await.unwrap();
    });
    let error = late.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Timeout {
                outcome: Outcome::NotDone,
                ..
            }
        ),
        "{error:?}"
    );
    // This makes the server answer both.
    assert_eq!(keyspace.get("key").await.unwrap().unwrap().value, "value");
    keyspace.put("key", "value").await.unwrap();
    assert_eq!(server.hellos().len(), 1);
}

/// A server that is shut down with words is quoted.
#[tokio::test]
async fn the_servers_last_words_reach_the_caller() {
    let server =
        Server::start(|_| Act::Raw(encode(0, Status::ShuttingDown, Body::Error("maintenance"))))
            .await;
    let error = connect(&server)
        .await
        .default_keyspace()
        .add("key", 1)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::ConnectionLost { source: LostReason::ClosedBecause { message, .. }, .. } if message == "maintenance"),
        "{error:?}"
    );
    assert!(error.is_outcome_unknown());
}
