//! A server process, and clients that speak to it frame by frame.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use corduroy_proto_wire::{
    Body, Condition, Hello, HelloReply, PREAMBLE, Put, Request, RequestId, Response, Status, Ttl,
    VERSION_MAX, VERSION_MIN, split,
};
use rustix::process::{Pid, Signal, kill_process};

/// The keyspace that always exists.
pub(crate) const DEFAULT: u32 = 1;

/// A running server. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    log: Option<JoinHandle<String>>,
}

/// Cores of the test's servers: two where there are two.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2))
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corduroy"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"CORDUROY_") {
            command.env_remove(name);
        }
    }
    // No configuration file lies there.
    command
        .current_dir(data)
        .arg("serve")
        .arg("--data")
        .arg(data.join("data"));
    let given = |flag: &str| arguments.contains(&flag);
    let cores = cores().to_string();
    for (flag, value) in [
        ("--listen", "127.0.0.1:0"),
        ("--cores", &cores),
        ("--memory", "128MiB"),
        ("--value-len-max", "256KiB"),
        ("--segment-len", "4MiB"),
    ] {
        if !given(flag) {
            command.args([flag, value]);
        }
    }
    command.args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts a server that must refuse to start. Gives its exit code and what it says.
pub(crate) fn refused(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(data, arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.stdout, b"", "it must not claim to listen: {said}");
    (output.status.code(), said)
}

impl Server {
    /// Starts a server on `data`/data and waits until it listens.
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Server {
        let mut child = command(data, arguments).spawn().unwrap();
        let mut errors = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        let Some((_, address)) = first.trim().rsplit_once("listens on ") else {
            let _ = child.kill();
            panic!("the server did not start: {}", log.join().unwrap());
        };
        // The rest is read along, so that the server never finds its output closed.
        std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        Server {
            child,
            address: address.parse().unwrap(),
            log: Some(log),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection on whichever shard takes it.
    pub(crate) fn connect(&self) -> Wire {
        Wire::open(self.address, None).unwrap()
    }

    /// A connection on a shard.
    pub(crate) fn connect_to_shard(&self, shard: u16) -> Wire {
        Wire::open(self.address, Some(shard)).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends the server as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops the server and gives what it logged.
    pub(crate) fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.wait();
        assert!(status.success(), "{status}: {log}");
        log
    }

    /// Waits until the server ends by itself.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        (status, log)
    }

    /// Sockets that the server holds.
    pub(crate) fn sockets(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(directory)
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| {
                target
                    .as_os_str()
                    .as_encoded_bytes()
                    .starts_with(b"socket:")
            })
            .count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that speaks frames.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pub(crate) hello: HelloReply,
    received: Vec<u8>,
    next: RequestId,
}

/// An answer, as far as the tests look at it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: RequestId,
    pub(crate) status: Status,
    pub(crate) version: u64,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    /// Connects and shakes hands; `None` in the answer's place if the server refuses.
    pub(crate) fn open(address: SocketAddr, shard: Option<u16>) -> Result<Wire, Answer> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Wire {
            stream,
            hello: HelloReply {
                version: 0,
                shard_count: 0,
                shard: 0,
                frame_len_max: u32::MAX,
                value_len_max: 0,
                in_flight_max: 0,
                batch_len_max: 0,
                keyspace: None,
                server_name: String::new(),
            },
            received: Vec::new(),
            next: 1,
        };
        let mut bytes = PREAMBLE.to_vec();
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            shard,
            keyspace: "default",
            client_name: "test",
        };
        Request::Hello(hello).encode(wire.id(), &mut bytes);
        // A server that refuses may have closed already; what it said is still there to be read.
        let _ = wire.stream.write_all(&bytes);
        let answer = wire.frame().expect("the server answers a hello");
        match Response::decode(&answer).unwrap().1.body {
            Body::Hello(reply) => {
                wire.hello = reply;
                Ok(wire)
            }
            _ => Err(answer_of(&answer)),
        }
    }

    fn id(&mut self) -> RequestId {
        self.next += 1;
        self.next - 1
    }

    /// Sends a request without waiting for its answer.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> io::Result<RequestId> {
        let id = self.id();
        let mut bytes = Vec::new();
        request.encode(id, &mut bytes);
        self.stream.write_all(&bytes)?;
        Ok(id)
    }

    /// The next answer, whichever request it answers; none if the connection has ended.
    pub(crate) fn receive(&mut self) -> Option<Answer> {
        self.frame().map(|frame| answer_of(&frame))
    }

    fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((frame, taken)) = split(&self.received, u32::MAX).unwrap() {
                let frame = frame.to_vec();
                self.received.drain(..taken);
                return Some(frame);
            }
            let mut buffer = [0; 64 << 10];
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
            }
        }
    }

    /// Sends one request and waits for its answer.
    pub(crate) fn ask(&mut self, request: &Request<'_>) -> Answer {
        let id = self.send(request).unwrap();
        let answer = self.receive().expect("the server answers");
        assert_eq!(answer.id, id, "{answer:?}");
        answer
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Answer {
        let answer = self.ask(&put(DEFAULT, key, value));
        assert_eq!(answer.status, Status::Ok, "{answer:?}");
        answer
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Answer {
        self.ask(&Request::Get {
            keyspace: DEFAULT,
            key,
        })
    }
}

/// A put without conditions.
pub(crate) fn put<'a>(keyspace: u32, key: &'a [u8], value: &'a [u8]) -> Request<'a> {
    Request::Put {
        keyspace,
        put: Put {
            key,
            value,
            ttl: Ttl::None,
            condition: Condition::Always,
            return_value: false,
        },
    }
}

fn answer_of(frame: &[u8]) -> Answer {
    let (id, response) = Response::decode(frame).unwrap();
    let body = match response.body {
        Body::Value(value) => value.to_vec(),
        Body::Error(text) | Body::Status(text) => text.as_bytes().to_vec(),
        Body::Keyspaces(infos) => infos
            .first()
            .map_or_else(Vec::new, |info| info.id.to_le_bytes().to_vec()),
        _ => Vec::new(),
    };
    Answer {
        id,
        status: response.status,
        version: response.version,
        body,
    }
}

/// Says that a test can't run here and why. Where everything is installed that is a failure.
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var("CORDUROY_TESTS").as_deref() != Ok("all"),
        "this test must run here, and can't: {reason}"
    );
    eprintln!("skipped: {reason}");
}
