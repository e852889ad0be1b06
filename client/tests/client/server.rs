//! A server that does what a test tells it to: answer, wait, answer out of order, answer nonsense, hang up at a chosen byte.
//!
//! It speaks the protocol by the same codec as the client, and notes what it was sent.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use corduroy_proto_wire::{
    Body, HelloReply, KeyspaceInfo, LENGTH_LEN, Opcode, PREAMBLE, Request, RequestId, Response,
    Status, peek, split,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the server shall do about a request.
pub(crate) enum Act {
    /// Answer.
    Answer(Status, Body<'static>),
    /// Keep the answer until this many are kept on the connection, and then send them all, the last one first.
    Gather(usize, Status, Body<'static>),
    /// Nothing, for ever.
    Ignore,
    /// Send these bytes as they are.
    Raw(Vec<u8>),
    /// Send so many bytes of the answer, and hang up.
    Cut(usize, Status, Body<'static>),
    /// Hang up.
    HangUp,
}

impl Act {
    /// Answers that it is done, and no more.
    pub(crate) fn done() -> Self {
        Act::Answer(Status::Ok, Body::Empty)
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The connection that it came on, counted from 0 in the order of acceptance.
    pub(crate) connection: usize,
    /// The shard that the connection's hello asked for.
    pub(crate) shard: Option<u16>,
    pub(crate) id: RequestId,
    pub(crate) opcode: Opcode,
    /// The frame without its length field.
    pub(crate) frame: Vec<u8>,
}

impl Seen {
    pub(crate) fn request(&self) -> Request<'_> {
        Request::decode(&self.frame).unwrap().1
    }
}

type Script = dyn Fn(&Seen) -> Act + Send + Sync;

struct Shared {
    hello: Mutex<HelloReply>,
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    /// One for each connection: the shard that its hello asked for.
    hellos: watch::Sender<Vec<Option<u16>>>,
    /// Whether connections are read from.
    reading: watch::Sender<bool>,
}

/// A running server; it ends, and so do its connections, when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What the server says of itself unless told otherwise: one shard, and `default` as keyspace 1.
pub(crate) fn hello(shard_count: u16) -> HelloReply {
    HelloReply {
        version: 1,
        shard_count,
        shard: 0,
        frame_len_max: 32 << 20,
        value_len_max: 16 << 20,
        in_flight_max: 1000,
        batch_len_max: 4096,
        keyspace: Some(KeyspaceInfo {
            id: 1,
            partitions: 64,
            name: "default".to_owned(),
        }),
        server_name: "scripted".to_owned(),
    }
}

impl Server {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::start_with(hello(1), script).await
    }

    pub(crate) async fn start_with(
        hello: HelloReply,
        script: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), hello, script).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        hello: HelloReply,
        script: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            hello: Mutex::new(hello),
            script: Box::new(script),
            seen: Mutex::default(),
            hellos: watch::Sender::default(),
            reading: watch::Sender::new(true),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            tasks,
        }
    }

    /// Stops, and frees the port.
    pub(crate) async fn stop(mut self) -> SocketAddr {
        self.tasks.shutdown().await;
        self.address
    }

    /// All requests so far, without hellos.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many requests of a kind came.
    pub(crate) fn count(&self, opcode: Opcode) -> usize {
        self.shared
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| seen.opcode == opcode)
            .count()
    }

    /// Which shard each connection asked for.
    pub(crate) fn hellos(&self) -> Vec<Option<u16>> {
        self.shared.hellos.borrow().clone()
    }

    /// What new connections are told.
    pub(crate) fn set_hello(&self, hello: HelloReply) {
        *self.shared.hello.lock().unwrap() = hello;
    }

    /// Stops or resumes reading, as a server that is overwhelmed does.
    pub(crate) fn set_reading(&self, reading: bool) {
        self.shared.reading.send_replace(reading);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // An error is the client's hanging up.
            let _ = serve(stream, &shared).await;
        });
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut preamble = [0; PREAMBLE.len()];
    stream.read_exact(&mut preamble).await?;
    assert_eq!(preamble, PREAMBLE);
    let mut buffer = Vec::new();
    let hello = next_frame(&mut stream, &mut buffer).await?;
    let (id, shard) = match Request::decode(&hello).unwrap() {
        (id, Request::Hello(hello)) => (id, hello.shard),
        other => panic!("not a hello: {other:?}"),
    };
    let mut reply = shared.hello.lock().unwrap().clone();
    if shard.is_some_and(|shard| shard >= reply.shard_count) {
        stream
            .write_all(&encode(
                id,
                Status::InvalidRequest,
                Body::Error("no such shard"),
            ))
            .await?;
        return Ok(());
    }
    reply.shard = shard.unwrap_or(reply.shard);
    let mut connection = 0;
    shared.hellos.send_modify(|hellos| {
        connection = hellos.len();
        hellos.push(shard);
    });
    stream
        .write_all(&encode(id, Status::Ok, Body::Hello(reply)))
        .await?;

    let mut reading = shared.reading.subscribe();
    let mut gathered = Vec::new();
    loop {
        // Nothing is sent on a dropped channel: the server is gone.
        if reading.wait_for(|reading| *reading).await.is_err() {
            return Ok(());
        }
        let frame = tokio::select! {
            biased;
            _ = reading.wait_for(|reading| !reading) => continue,
            frame = next_frame(&mut stream, &mut buffer) => frame?,
        };
        let head = peek(&frame).unwrap();
        let opcode = Opcode::from_u8(head.opcode).unwrap();
        let seen = Seen {
            connection,
            shard,
            id: head.id,
            opcode,
            frame,
        };
        shared.seen.lock().unwrap().push(seen.clone());
        match (shared.script)(&seen) {
            Act::Answer(status, body) => stream.write_all(&encode(seen.id, status, body)).await?,
            Act::Gather(count, status, body) => {
                gathered.push(encode(seen.id, status, body));
                if gathered.len() == count {
                    for answer in gathered.drain(..).rev() {
                        stream.write_all(&answer).await?;
                    }
                }
            }
            Act::Ignore => {}
            Act::Raw(bytes) => stream.write_all(&bytes).await?,
            Act::Cut(len, status, body) => {
                stream
                    .write_all(&encode(seen.id, status, body)[..len])
                    .await?;
                return Ok(());
            }
            Act::HangUp => return Ok(()),
        }
    }
}

/// Loses nothing if it is dropped.
async fn next_frame(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Vec<u8>> {
    loop {
        if let Some((frame, consumed)) = split(buffer, u32::MAX).unwrap() {
            let frame = frame.to_vec();
            buffer.drain(..consumed);
            return Ok(frame);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// An answer's frame, with version 7 and timestamp 1000.
pub(crate) fn encode(id: RequestId, status: Status, body: Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (version, timestamp_ms) = if status == Status::NotFound {
        (0, 0)
    } else {
        (7, 1000)
    };
    Response {
        status,
        version,
        timestamp_ms,
        body,
    }
    .encode(id, &mut bytes);
    assert!(bytes.len() > LENGTH_LEN);
    bytes
}

/// Waits until something has come about by itself.
pub(crate) async fn eventually<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    while !condition().await {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
