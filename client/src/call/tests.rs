//! Retries and their pace, on virtual time.

use std::cell::Cell;

use corduroy_proto_wire::{Put, Status, Ttl};

use super::*;
use crate::connection::tests::{Peer, connection_over_pipe, hello};
use crate::connection::{ConnectionOptions, Introduction};
use crate::reply;

const BACKOFF_MAX: Duration = Duration::from_millis(100);

fn core(retry: RetryPolicy, hello: HelloReply) -> (Core, Peer) {
    let (connection, peer) = connection_over_pipe(1 << 20, hello, None);
    let options = ConnectionOptions {
        address: "pipe".into(),
        introduction: Introduction {
            client_name: String::new(),
            keyspace: String::new(),
        },
        connect_timeout: Duration::from_secs(1),
        keepalive: None,
        answer_len_max: 1 << 20,
    };
    let pool = Pool::around(connection, options, retry.clone(), false, 1);
    (
        Core {
            pool,
            retry,
            request_timeout: Duration::from_secs(60),
        },
        peer,
    )
}

fn add() -> Request<'static> {
    Request::Add {
        keyspace: 1,
        key: b"key",
        delta: 1,
    }
}

/// A server in trouble is asked again after a pause, and each pause is longer at most up to the maximum: the pauses here are at most
/// 10, 20, 40, 80, 100 … ms. A request that was refused was not done, so even an `add` is asked again. The 8th attempt is the last.
#[tokio::test(start_paused = true)]
async fn a_refused_request_is_tried_again_at_a_bounded_pace() {
    let retry = RetryPolicy::default()
        .attempts_max(8)
        .backoff_max(BACKOFF_MAX);
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let (core, mut peer) = core(retry.clone(), hello(10));
        let asked = Cell::new(0u32);
        let serve = async {
            let mut last = Instant::now();
            let ceilings = [0, 10, 20, 40, 80, 100, 100, 100];
            while let Some((id, _)) = peer.request().await {
                let pause = last.elapsed();
                // The clock ticks in milliseconds, and a timer fires at the end of one.
                assert!(
                    pause.as_millis() <= ceilings[asked.get() as usize] + 1,
                    "pause of {pause:?}"
                );
                longest = longest.max(pause);
                last = Instant::now();
                asked.set(asked.get() + 1);
                peer.answer(id, Status::Overloaded, Body::Error("too much"))
                    .await;
            }
        };
        let request = add();
        let result = tokio::select! {
            result = core.call(Target::Any, &request, core.deadline(), reply::counter) => result,
            () = serve => panic!("the connection ended"),
        };
        let error = result.unwrap_err();
        assert_eq!(error.status(), Some(Status::Overloaded));
        assert_eq!(error.outcome(), Outcome::NotDone);
        assert_eq!(asked.get(), 8);
    }
    assert!(
        longest > BACKOFF_MAX / 2,
        "the pauses never grew: {longest:?}"
    );
}

/// There is one deadline for all attempts. A pause that would outlast it is not begun: the caller learns at once, and why.
#[tokio::test(start_paused = true)]
async fn attempts_and_pauses_keep_to_one_deadline() {
    let retry = RetryPolicy::default()
        .attempts_max(u32::MAX)
        .backoff_max(Duration::from_secs(10));
    let (mut core, mut peer) = core(retry, hello(10));
    core.request_timeout = Duration::from_secs(30);
    let begin = Instant::now();
    let request = add();
    let serve = async {
        while let Some((id, _)) = peer.request().await {
            peer.answer(id, Status::ShuttingDown, Body::Error("soon"))
                .await;
        }
    };
    let error = tokio::select! {
        result = core.call(Target::Any, &request, core.deadline(), reply::counter) => result.unwrap_err(),
        () = serve => panic!("the connection ended"),
    };
    assert_eq!(error.status(), Some(Status::ShuttingDown));
    assert!(begin.elapsed() <= core.request_timeout);
    assert!(
        begin.elapsed() > core.request_timeout / 2,
        "it gave up after {:?}",
        begin.elapsed()
    );
}

/// A read that gets no answer has changed nothing; a put may have, but may be repeated; an `add` may have, and may not.
#[tokio::test(start_paused = true)]
async fn what_a_timeout_leaves_behind_depends_on_the_request() {
    let put = Put {
        key: b"key",
        value: b"value",
        ttl: Ttl::None,
        condition: Condition::Always,
        return_value: false,
    };
    for (request, expected) in [
        (
            Request::Get {
                keyspace: 1,
                key: b"key",
            },
            Outcome::NotDone,
        ),
        (
            Request::Put { keyspace: 1, put },
            Outcome::Unknown { repeatable: true },
        ),
        (add(), Outcome::Unknown { repeatable: false }),
    ] {
        let (core, _peer) = core(RetryPolicy::default(), hello(10));
        let begin = Instant::now();
        let error = core
            .call(Target::Any, &request, core.deadline(), reply::done)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert_eq!(error.outcome(), expected);
        assert_eq!(begin.elapsed().as_secs(), core.request_timeout.as_secs());
    }
}

/// What is outside a limit is not sent: the server would take the trouble to refuse it, or hang up on a frame that is too long.
#[tokio::test(start_paused = true)]
async fn limits_are_named_before_anything_is_sent() {
    let small = HelloReply {
        value_len_max: 10,
        frame_len_max: 200,
        batch_len_max: 2,
        ..hello(10)
    };
    let (core, mut peer) = core(RetryPolicy::default(), small);
    let put = |key: &'static [u8], value: &'static [u8], expected: &'static [u8], ttl| Put {
        key,
        value,
        ttl,
        condition: Condition::IfValue(expected),
        return_value: false,
    };
    let get = BatchItem::Get { key: b"key" };
    let long = &[7; 300];
    for (request, expected) in [
        (
            Request::Get {
                keyspace: 1,
                key: b"",
            },
            "key length 0 is outside 1..=65535",
        ),
        (
            Request::Put {
                keyspace: 1,
                put: put(b"key", b"0123456789a", b"", Ttl::None),
            },
            "a value of 11 bytes is over the server's limit of 10 bytes",
        ),
        (
            Request::Put {
                keyspace: 1,
                put: put(b"key", b"", b"0123456789ab", Ttl::None),
            },
            "a value of 12 bytes is over the server's limit of 10 bytes",
        ),
        (
            Request::Put {
                keyspace: 1,
                put: put(b"key", b"", b"", Ttl::Millis(0)),
            },
            "time to live in milliseconds 0 is outside 1..=3153600000000",
        ),
        (
            Request::Append {
                keyspace: 1,
                key: b"key",
                suffix: b"0123456789a",
            },
            "a value of 11 bytes is over the server's limit of 10 bytes",
        ),
        (
            Request::Get {
                keyspace: 1,
                key: long,
            },
            "a request of 312 bytes is over the server's limit of 200 bytes",
        ),
        (
            Request::Batch {
                keyspace: 1,
                items: vec![get; 3],
            },
            "3 operations or keys at once are over the server's limit of 2",
        ),
        (
            Request::AtomicBatch {
                keyspace: 1,
                items: vec![get],
            },
            "operation 0 of the atomic batch is a get; only puts and deletes may be in one",
        ),
    ] {
        let error = core
            .call(Target::Any, &request, core.deadline(), reply::done)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Limit(_)), "{error:?}");
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.outcome(), Outcome::NotDone);
    }
    drop(core);
    assert!(peer.request().await.is_none(), "something was sent");
}

/// Some bounds are lower than those of a single value, because the server does such requests in one go.
#[tokio::test(start_paused = true)]
async fn batches_conditions_and_appends_have_bounds_of_their_own() {
    let (core, mut peer) = core(RetryPolicy::default(), hello(10));
    let long = vec![7; (1 << 20) + 1];
    let put = Put {
        key: b"key",
        value: &long,
        ttl: Ttl::None,
        condition: Condition::Always,
        return_value: false,
    };
    let compared = Put {
        value: b"",
        condition: Condition::IfValue(&long),
        ..put
    };
    let over = |what: &str, len| {
        format!("{what} of {len} bytes is over the server's limit of 1048576 bytes")
    };
    for (request, expected) in [
        (
            Request::Batch {
                keyspace: 1,
                items: vec![BatchItem::Put(put)],
            },
            over("a request", (1 << 20) + 1 + 27),
        ),
        (
            Request::Put {
                keyspace: 1,
                put: compared,
            },
            over("a value", (1 << 20) + 1),
        ),
        (
            Request::Append {
                keyspace: 1,
                key: b"key",
                suffix: &long,
            },
            over("a value", (1 << 20) + 1),
        ),
    ] {
        let error = core
            .call(Target::Any, &request, core.deadline(), reply::done)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Limit(_)), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
    drop(core);
    assert!(peer.request().await.is_none(), "something was sent");
}

/// An answer of the wrong kind says nothing about what was done, and nothing that follows it on that connection can be trusted.
#[tokio::test(start_paused = true)]
async fn a_wrong_answer_ends_the_connection_and_leaves_the_outcome_open() {
    let (core, mut peer) = core(RetryPolicy::default(), hello(10));
    let request = add();
    let (result, ()) = tokio::join!(
        core.call(Target::Any, &request, core.deadline(), reply::counter),
        async {
            let (id, _) = peer.request().await.unwrap();
            peer.answer(id, Status::Ok, Body::Ttl(None)).await;
            assert!(peer.request().await.is_none());
        }
    );
    let error = result.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Protocol {
                source: ProtocolError::UnexpectedAnswer { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.outcome(), Outcome::Unknown { repeatable: false });
}
