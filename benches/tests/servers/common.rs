//! What the tests of the driver share: servers that behave, and servers that don't.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use corduroy_benches::{affinity, drive::Config};
use corduroy_proto_wire::{
    Body, HelloReply, KeyspaceInfo, PREAMBLE, Request, Response, Status, key_of, split,
};

/// Longer than any test: a slow machine is no failure.
pub(crate) const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// A small load on this server: what counts is that all is right, not how fast it is.
pub(crate) fn small_load(address: SocketAddr) -> Config {
    Config {
        address,
        connections: 5,
        in_flight: 7,
        keys: 1_000,
        window: FOREVER,
        stall: FOREVER,
        warm_up: Duration::ZERO,
        requests: Some(20_000),
        ..Config::default()
    }
}

/// Whether a program is installed; says so if not. Under `CORDUROY_TESTS=all` it must be.
pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    let must = std::env::var_os("CORDUROY_TESTS").is_some_and(|tests| tests == "all");
    assert!(
        found || !must,
        "{program} is missing, and CORDUROY_TESTS=all says that nothing may be"
    );
    if !found {
        eprintln!("skipped: {program} is missing");
    }
    found
}

/// Whether one core can serve while another drives; says so if not.
pub(crate) fn has_two_cores() -> bool {
    let has = affinity::allowed_cores().unwrap().len() >= 2;
    if !has {
        eprintln!("skipped: it needs two cores");
    }
    has
}

/// A process that ends with this value.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// One of the echo servers, on a port that it chooses and prints.
    pub(crate) fn echo(program: &str) -> Process {
        let mut child = Command::new(program)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("an address")
            .parse()
            .unwrap();
        Process { child, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A server in this process: `serve` gets each connection on a thread of its own.
pub(crate) fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

/// A server in this process that answers whatever it reads with these bytes.
pub(crate) fn answers(reply: &'static [u8]) -> SocketAddr {
    listen(move |mut stream| {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|received| received > 0) {
            if stream.write_all(reply).is_err() {
                break;
            }
        }
    })
}

/// What a fake node saw.
#[derive(Default)]
pub(crate) struct Seen {
    values: HashMap<Vec<u8>, Vec<u8>>,
    /// How many puts there were.
    pub(crate) puts: usize,
    /// The shard that each hello named, and the keys that were asked with gets on that connection.
    pub(crate) connections: Vec<(Option<u16>, Vec<Vec<u8>>)>,
}

/// A node of two shards that speaks the native protocol and answers each read's requests in reverse.
pub(crate) fn native_node(seen: Arc<Mutex<Seen>>) -> SocketAddr {
    listen(move |stream| {
        // The driver ends a connection without a word; that is no failure of the node.
        let _ = serve_native(stream, &seen);
    })
}

fn serve_native(mut stream: TcpStream, seen: &Mutex<Seen>) -> std::io::Result<()> {
    let mut preamble = [0; PREAMBLE.len()];
    stream.read_exact(&mut preamble)?;
    assert_eq!(preamble, PREAMBLE);
    let mut connection = None;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let received = stream.read(&mut buffer)?;
        if received == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&buffer[..received]);
        let mut at = 0;
        let mut replies = Vec::new();
        while let Some((frame, len)) = split(&bytes[at..], 1 << 20).unwrap() {
            replies.push(reply_to(frame, &mut connection, &mut seen.lock().unwrap()));
            at += len;
        }
        bytes.drain(..at);
        replies.reverse();
        stream.write_all(&replies.concat())?;
    }
}

fn reply_to(frame: &[u8], connection: &mut Option<usize>, seen: &mut Seen) -> Vec<u8> {
    let (id, request) = Request::decode(frame).unwrap();
    let held;
    let body = match &request {
        Request::Hello(hello) => {
            *connection = Some(seen.connections.len());
            seen.connections.push((hello.shard, Vec::new()));
            Body::Hello(hello_reply(hello.shard.unwrap_or(0)))
        }
        Request::Put { put, .. } => {
            seen.puts += 1;
            seen.values.insert(put.key.to_vec(), put.value.to_vec());
            Body::Empty
        }
        Request::Get { key, .. } => {
            assert_eq!(key_of(frame), Some(*key));
            seen.connections[connection.unwrap()].1.push(key.to_vec());
            held = seen.values.get(*key).cloned();
            held.as_deref().map_or(Body::Empty, Body::Value)
        }
        Request::Status => Body::Status(r#"{"shards":[]}"#),
        other => panic!("the driver asked {other:?}"),
    };
    let status = match (&request, &body) {
        (Request::Get { .. }, Body::Empty) => Status::NotFound,
        _ => Status::Ok,
    };
    let mut out = Vec::new();
    Response {
        status,
        version: 1,
        timestamp_ms: 1,
        body,
    }
    .encode(id, &mut out);
    out
}

fn hello_reply(shard: u16) -> HelloReply {
    HelloReply {
        version: 1,
        shard_count: 2,
        shard,
        frame_len_max: 1 << 20,
        value_len_max: 1 << 20,
        in_flight_max: 1024,
        batch_len_max: 4096,
        keyspace: Some(KeyspaceInfo {
            id: 1,
            partitions: 64,
            name: "default".to_owned(),
        }),
        server_name: "fake/0".to_owned(),
    }
}

/// The directory of the programs of this crate.
pub(crate) fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_echo_glommio"))
        .parent()
        .unwrap()
}
