//! A connection over a pipe in memory, on virtual time: what waits, waits for nothing real, and every run is the same.

use corduroy_proto_wire::{Body, Opcode, Put, Request, RequestId, Response, Status, Ttl, peek};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use super::*;

/// The server's end of the pipe.
pub(crate) struct Peer {
    stream: DuplexStream,
    frames: FrameReader,
}

/// A hello's answer with these limits; all others are generous.
pub(crate) fn hello(in_flight_max: u32) -> HelloReply {
    HelloReply {
        version: 1,
        shard_count: 1,
        shard: 0,
        frame_len_max: 32 << 20,
        value_len_max: 16 << 20,
        in_flight_max,
        batch_len_max: 4096,
        keyspace: None,
        server_name: "pipe".to_owned(),
    }
}

/// A connection, and the peer that it leads to through a pipe that holds so many bytes.
pub(crate) fn connection_over_pipe(
    pipe_len: usize,
    hello: HelloReply,
    keepalive: Option<Duration>,
) -> (Connection, Peer) {
    let (near, stream) = duplex(pipe_len);
    let (source, sink) = split(near);
    let connection = Connection::over(source, sink, FrameReader::new(32 << 20), hello, keepalive);
    (
        connection,
        Peer {
            stream,
            frames: FrameReader::new(32 << 20),
        },
    )
}

impl Peer {
    /// The next request's id and frame; `None` at the end of the stream.
    pub(crate) async fn request(&mut self) -> Option<(RequestId, Bytes)> {
        loop {
            if let Some(frame) = self.frames.next().unwrap() {
                return Some((peek(&frame).unwrap().id, frame));
            }
            if self.frames.fill(&mut self.stream).await.unwrap() == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn answer(&mut self, id: RequestId, status: Status, body: Body<'_>) {
        let mut bytes = Vec::new();
        Response {
            status,
            version: 1,
            timestamp_ms: 1,
            body,
        }
        .encode(id, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }
}

/// The bytes of values.
static ZEROS: [u8; QUEUED_LEN_MAX / 4] = [0; QUEUED_LEN_MAX / 4];

/// Any request.
const SMALL: Request<'static> = Request::Get {
    keyspace: 1,
    key: b"key",
};

/// A request whose frame is longer than its value.
fn put(value_len: usize) -> Request<'static> {
    let condition = corduroy_proto_wire::Condition::Always;
    let value = &ZEROS[..value_len];
    let put = Put {
        key: b"key",
        value,
        ttl: Ttl::None,
        condition,
        return_value: false,
    };
    Request::Put { keyspace: 1, put }
}

fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// Lets everything that can go on go on.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// The server is stuck and the pipe is full. Of two requests that time out the first is half sent, and will be sent whole if the
/// server comes back; the second is still queued, was reported as not done, and so must never be sent.
#[tokio::test(start_paused = true)]
async fn a_timeout_knows_what_was_sent_and_calls_back_what_was_not() {
    let (connection, mut peer) = connection_over_pipe(64, hello(100), None);
    let requests = [1000, 2000, 3000].map(put);
    let first = connection.call(&requests[0], in_seconds(1));
    let second = async {
        settle().await;
        connection.call(&requests[1], in_seconds(1)).await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(
        matches!(first, Err(CallError::Timeout { sent: true })),
        "{first:?}"
    );
    assert!(
        matches!(second, Err(CallError::Timeout { sent: false })),
        "{second:?}"
    );

    let third = connection.call(&requests[2], in_seconds(1));
    let serve = async {
        let (first_id, frame) = peer.request().await.unwrap();
        assert!((1000..2000).contains(&frame.len()));
        let (third_id, frame) = peer.request().await.unwrap();
        assert!(frame.len() > 3000, "the second request was sent after all");
        peer.answer(first_id, Status::Ok, Body::Empty).await;
        peer.answer(third_id, Status::Ok, Body::Empty).await;
    };
    let (third, ()) = tokio::join!(third, serve);
    assert!(third.is_ok());
    assert_eq!(connection.shared.places.available_permits(), 100);
    assert_eq!(connection.shared.room.available_permits(), QUEUED_LEN_MAX);
}

/// Callers that are dropped, as in a `select`, must give back their places: otherwise each one makes the connection narrower
/// until nothing goes through.
#[tokio::test(start_paused = true)]
async fn dropped_calls_give_back_their_places() {
    let (connection, mut peer) = connection_over_pipe(1 << 20, hello(2), None);
    for _ in 0..100 {
        let mut dropped = Vec::new();
        {
            let both = async {
                tokio::join!(
                    connection.call(&SMALL, in_seconds(9)),
                    connection.call(&SMALL, in_seconds(9))
                )
            };
            tokio::select! {
                _ = both => panic!("nobody answered"),
                () = settle() => {}
            }
        }
        for _ in 0..2 {
            dropped.push(peer.request().await.unwrap().0);
        }
        for id in dropped {
            peer.answer(id, Status::Ok, Body::Empty).await;
        }
    }
    settle().await;
    assert_eq!(connection.shared.places.available_permits(), 2);
    assert_eq!(connection.shared.room.available_permits(), QUEUED_LEN_MAX);
}

/// A server that allows so many requests in flight stops reading at one more; then the client must wait, not the server.
#[tokio::test(start_paused = true)]
async fn no_more_requests_are_in_flight_than_the_server_allows() {
    let (connection, mut peer) = connection_over_pipe(1 << 20, hello(3), None);
    let connection = Arc::new(connection);
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let connection = Arc::clone(&connection);
            tokio::spawn(async move { connection.call(&SMALL, in_seconds(9)).await.is_ok() })
        })
        .collect();
    let mut waiting = std::collections::VecDeque::new();
    for _ in 0..10 {
        settle().await;
        while let Ok(Some((id, _))) =
            tokio::time::timeout(Duration::from_millis(1), peer.request()).await
        {
            waiting.push_back(id);
        }
        assert!(waiting.len() <= 3, "{} at once", waiting.len());
        peer.answer(waiting.pop_front().unwrap(), Status::Ok, Body::Empty)
            .await;
    }
    for call in calls {
        assert!(call.await.unwrap());
    }
}

/// A server that stops reading must cost the client a bounded queue, however much its callers want to send.
#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_bytes() {
    let (connection, mut peer) = connection_over_pipe(64, hello(1000), None);
    let connection = Arc::new(connection);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let connection = Arc::clone(&connection);
            tokio::spawn(async move {
                connection
                    .call(&put(ZEROS.len()), in_seconds(9))
                    .await
                    .is_ok()
            })
        })
        .collect();
    settle().await;
    assert_eq!(
        connection.shared.exchange().len(),
        3,
        "three frames fill the queue"
    );
    for _ in 0..20 {
        let (id, _) = peer.request().await.unwrap();
        peer.answer(id, Status::Ok, Body::Empty).await;
    }
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(connection.shared.room.available_permits(), QUEUED_LEN_MAX);
}

/// A server that vanished without a word (its host lost power, a router forgot the connection) leaves a connection that looks open.
/// It is asked after one interval of silence and given up after two.
#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_asked_and_then_given_up() {
    let interval = Duration::from_secs(15);
    let (connection, mut peer) = connection_over_pipe(1 << 20, hello(10), Some(interval));
    let begin = Instant::now();
    let (call, ()) = tokio::join!(connection.call(&SMALL, in_seconds(1000)), async {
        assert_eq!(
            peek(&peer.request().await.unwrap().1).unwrap().opcode,
            Opcode::Get as u8
        );
        assert_eq!(
            peek(&peer.request().await.unwrap().1).unwrap().opcode,
            Opcode::Ping as u8
        );
        assert_eq!(begin.elapsed().as_secs(), interval.as_secs());
        assert!(peer.request().await.is_none());
    });
    assert!(
        matches!(
            call,
            Err(CallError::Lost {
                sent: true,
                reason: LostReason::Silent(_)
            })
        ),
        "{call:?}"
    );
    assert_eq!(begin.elapsed().as_secs(), 2 * interval.as_secs());
}

/// A server that answers pings is there, however long it takes over the request.
#[tokio::test(start_paused = true)]
async fn a_slow_request_is_not_taken_for_a_dead_server() {
    let (connection, mut peer) =
        connection_over_pipe(1 << 20, hello(10), Some(Duration::from_secs(15)));
    let (call, ()) = tokio::join!(connection.call(&SMALL, in_seconds(10_000)), async {
        let (slow, _) = peer.request().await.unwrap();
        for _ in 0..100 {
            let (id, _) = peer.request().await.unwrap();
            peer.answer(id, Status::Ok, Body::Value(&[])).await;
        }
        peer.answer(slow, Status::Ok, Body::Empty).await;
    });
    assert!(call.is_ok());
    assert_eq!(connection.shared.places.available_permits(), 10);
}

/// After a request that timed out in complete silence, the next one had better go to a new connection. If the server has answered
/// anything in the meantime, it is merely slow.
#[tokio::test(start_paused = true)]
async fn a_connection_is_retired_by_a_timeout_in_silence_alone() {
    let (connection, mut peer) = connection_over_pipe(1 << 20, hello(10), None);
    let (slow, quick, ()) = tokio::join!(
        connection.call(&SMALL, in_seconds(5)),
        connection.call(&SMALL, in_seconds(5)),
        async {
            let _slow = peer.request().await.unwrap();
            let (quick, _) = peer.request().await.unwrap();
            peer.answer(quick, Status::Ok, Body::Empty).await;
        }
    );
    assert!(matches!(slow, Err(CallError::Timeout { sent: true })));
    assert!(quick.is_ok());
    assert!(connection.is_usable());

    let unheard = connection.call(&SMALL, in_seconds(5)).await;
    assert!(matches!(unheard, Err(CallError::Timeout { sent: true })));
    assert!(!connection.is_usable());
}

/// The last handle's end is the connection's end; a socket that stays open is one of the server's thousand.
#[tokio::test(start_paused = true)]
async fn dropping_the_connection_closes_it() {
    let (connection, mut peer) = connection_over_pipe(1 << 20, hello(10), None);
    drop(connection);
    assert!(peer.request().await.is_none());
}

/// A server that says why it hangs up is quoted to whoever waits, not "connection reset".
#[tokio::test(start_paused = true)]
async fn callers_are_told_the_servers_last_words() {
    let (connection, mut peer) = connection_over_pipe(1 << 20, hello(10), None);
    let (call, ()) = tokio::join!(connection.call(&SMALL, in_seconds(5)), async {
        peer.request().await.unwrap();
        peer.answer(0, Status::ShuttingDown, Body::Error("until tomorrow"))
            .await;
    });
    match call {
        Err(CallError::Lost {
            sent: true,
            reason: LostReason::ClosedBecause { status, message },
        }) => {
            assert_eq!(
                (status, message.as_str()),
                (Status::ShuttingDown, "until tomorrow")
            );
        }
        other => panic!("{other:?}"),
    }
    let mut rest = Vec::new();
    peer.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

/// A runtime that is shut down takes the connection's task with it. Who waits on another runtime must hear of it at once, not at
/// the deadline, and not never.
#[test]
fn callers_are_told_when_the_runtime_goes_down() {
    let hosting = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (connection, mut peer) =
        hosting.block_on(async { connection_over_pipe(1 << 20, hello(10), None) });
    let calling = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let call = calling.block_on(async move {
        let call = connection.call(&SMALL, in_seconds(3600));
        let shut_down = async {
            peer.request().await.unwrap();
            hosting.shutdown_background();
        };
        tokio::join!(call, shut_down).0
    });
    assert!(
        matches!(
            call,
            Err(CallError::Lost {
                sent: true,
                reason: LostReason::Shutdown
            })
        ),
        "{call:?}"
    );
}
