//! A language of lines, a server that speaks it and does what a test wants, and a load in it.
//!
//! ```text
//! G slot key                  V slot key stamp version | M slot
//! P slot key stamp            D slot
//! C slot key stamp version    D slot | X slot
//! R slot key                  D slot | M slot
//! ```

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use corduroy_bench::{
    engine::{self, Config, EngineError, Finished, Length, Load, Pace},
    measure::Live,
    protocol::{Asked, Dialect, Malformed, Outcome, Reply, Step},
    results::{Latency, Run},
    workload::{Ask, Heat, Operation},
};

/// The language; replies name their slot or come in order.
pub(crate) struct Lines<const IN_ORDER: bool>;

impl<const IN_ORDER: bool> Dialect for Lines<IN_ORDER> {
    const IN_ORDER: bool = IN_ORDER;

    fn request(&self, slot: u32, ask: &Ask, step: Step<'_>, out: &mut Vec<u8>) {
        let Ask { key, stamp, .. } = ask;
        match (ask.operation, step) {
            (Operation::Put, _) => writeln!(out, "P {slot} {key} {stamp}"),
            (Operation::Delete, _) => writeln!(out, "R {slot} {key}"),
            (_, Step::Second(Some(found))) => {
                writeln!(out, "C {slot} {key} {stamp} {}", found.token)
            }
            (_, Step::Second(None)) => writeln!(out, "P {slot} {key} {stamp}"),
            _ => writeln!(out, "G {slot} {key}"),
        }
        .unwrap();
    }

    fn reply<'a>(
        &self,
        bytes: &'a [u8],
        oldest: Option<Asked>,
    ) -> Result<Option<Reply<'a>>, Malformed> {
        let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        let malformed = |words: &'static str| Malformed(words.into());
        let line = &bytes[..end];
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let number = |at: usize| -> Result<u64, Malformed> {
            let word: &[u8] = words.get(at).ok_or(malformed("a word is missing"))?;
            let word = std::str::from_utf8(word).map_err(|_| malformed("no text"))?;
            word.parse().map_err(|_| malformed("no number"))
        };
        let slot = (!IN_ORDER).then_some(number(1)? as u32);
        // A reader of replies that come in order is told what the next one is to.
        if IN_ORDER && oldest.is_none() {
            return Err(malformed("it answers nothing"));
        }
        let outcome = match words[0] {
            b"V" => Outcome::Value {
                bytes: words.get(2).copied().ok_or(malformed("no value"))?,
                token: number(4)?,
            },
            b"D" => Outcome::Done,
            b"M" => Outcome::Missing,
            b"X" => Outcome::Conflict,
            b"E" => Outcome::Refused(words.get(2).copied().unwrap_or_default()),
            _ => return Err(malformed("an unknown word")),
        };
        Ok(Some(Reply {
            len: end + 1,
            slot,
            outcome,
        }))
    }

    fn values<'a>(&self, _: &Ask, _: &'a [u8], _: &mut dyn FnMut(u64, &'a [u8])) {}
}

/// One request, as a server's behaviour sees it.
pub(crate) struct Request<'a> {
    /// Number of the request over all connections.
    pub(crate) number: u64,
    pub(crate) slot: &'a str,
    pub(crate) words: Vec<&'a str>,
}

/// What the server does with it.
pub(crate) enum Act {
    /// What a store would.
    Serve,
    /// Says this instead.
    Say(String),
    /// Nothing, ever.
    Ignore,
    /// Closes the connection.
    Close,
}

/// Stamps and versions, by key.
pub(crate) type Store = Arc<Mutex<HashMap<u64, (u64, u64)>>>;

/// A server in threads of this process. It stops to listen when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    pub(crate) accepted: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(behaviour: impl Fn(&Request<'_>) -> Act + Send + Sync + 'static) -> Server {
        Server::start_greeting("", behaviour)
    }

    /// A server that says something to each connection first, unless it is nothing.
    pub(crate) fn start_greeting(
        welcome: &'static str,
        behaviour: impl Fn(&Request<'_>) -> Act + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            store: Store::default(),
            accepted: Arc::default(),
            stopped: Arc::default(),
        };
        let (store, accepted, stopped) = (
            server.store.clone(),
            server.accepted.clone(),
            server.stopped.clone(),
        );
        let behaviour = Arc::new(behaviour);
        let requests = Arc::new(AtomicU64::new(0));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                accepted.fetch_add(1, Ordering::Relaxed);
                let (store, behaviour, requests) =
                    (store.clone(), behaviour.clone(), requests.clone());
                thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn(move || serve(stream, welcome, &store, &*behaviour, &requests))
                    .unwrap();
            }
        });
        server
    }

    /// A store that does what it should.
    pub(crate) fn sound() -> Server {
        Server::start(|_| Act::Serve)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    stream: TcpStream,
    welcome: &str,
    store: &Store,
    behaviour: &(dyn Fn(&Request<'_>) -> Act + Sync),
    requests: &AtomicU64,
) {
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::with_capacity(4096, stream);
    if !welcome.is_empty() {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || writer.write_all(welcome.as_bytes()).is_err() {
            return;
        }
    }
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let request = Request {
            number: requests.fetch_add(1, Ordering::Relaxed),
            slot: words[1],
            words: words.clone(),
        };
        let answer = match behaviour(&request) {
            Act::Serve => carry_out(&words, store),
            Act::Say(words) => words,
            Act::Ignore => continue,
            Act::Close => return,
        };
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn carry_out(words: &[&str], store: &Store) -> String {
    let number = |at: usize| -> u64 { words[at].parse().unwrap() };
    let (slot, key) = (words[1], number(2));
    let mut store = store.lock().unwrap();
    let held = store.get(&key).copied();
    let version = held.map_or(1, |(_, version)| version + 1);
    match (words[0], held) {
        ("G", Some((stamp, version))) => format!("V {slot} {key} {stamp} {version}\n"),
        ("P", _) => {
            store.insert(key, (number(3), version));
            format!("D {slot}\n")
        }
        ("C", Some((_, there))) if there == number(4) => {
            store.insert(key, (number(3), version));
            format!("D {slot}\n")
        }
        ("C", _) => format!("X {slot}\n"),
        ("R", Some(_)) => {
            store.remove(&key);
            format!("D {slot}\n")
        }
        _ => format!("M {slot}\n"),
    }
}

/// An operation on a cold key.
pub(crate) fn ask(operation: Operation, key: u64, stamp: u64) -> Ask {
    Ask {
        operation,
        key,
        heat: Heat::Cold,
        value_len: 8,
        stamp,
        ttl_ms: 0,
        count: 1,
    }
}

/// A connection's operations.
pub(crate) type Asks = Box<dyn FnMut(u64) -> Option<Ask>>;

/// A load in the language of lines.
pub(crate) struct LineLoad<const IN_ORDER: bool> {
    /// Makes what a connection asks.
    pub(crate) asks: Box<dyn Fn(u32) -> Asks + Sync>,
    /// Arrivals a second.
    pub(crate) rate: f64,
    pub(crate) may_miss: bool,
    /// Says hello.
    pub(crate) greets: bool,
    /// Cores that the server's keys are spread over.
    pub(crate) server_cores: u64,
}

impl<const IN_ORDER: bool> LineLoad<IN_ORDER> {
    pub(crate) fn new(asks: impl Fn(u32) -> Asks + Sync + 'static) -> LineLoad<IN_ORDER> {
        LineLoad {
            asks: Box::new(asks),
            rate: 1.0,
            may_miss: true,
            greets: false,
            server_cores: 0,
        }
    }

    /// Writes to keys of each connection's own, without end.
    pub(crate) fn puts() -> LineLoad<IN_ORDER> {
        LineLoad::new(|connection| {
            let mut stamp = 0;
            Box::new(move |_| {
                stamp += 1;
                Some(ask(Operation::Put, u64::from(connection), stamp))
            })
        })
    }

    pub(crate) fn at_rate(self, rate: f64) -> LineLoad<IN_ORDER> {
        LineLoad { rate, ..self }
    }
}

impl<const IN_ORDER: bool> Load for LineLoad<IN_ORDER> {
    type Dialect = Lines<IN_ORDER>;
    type Source = Asks;
    type Arrivals = Box<dyn Iterator<Item = u64>>;

    fn dialect(&self, _: u32) -> Lines<IN_ORDER> {
        Lines
    }

    fn source(&self, connection: u32) -> Asks {
        (self.asks)(connection)
    }

    fn arrivals(&self, thread: u32, threads: u32) -> Box<dyn Iterator<Item = u64>> {
        let gap = 1e9 / self.rate;
        Box::new(
            (u64::from(thread)..)
                .step_by(threads as usize)
                .map(move |number| (number as f64 * gap) as u64),
        )
    }

    fn greeting(&self, connection: u32, out: &mut Vec<u8>) {
        if self.greets {
            writeln!(out, "hello {connection}").unwrap();
        }
    }

    fn greeted(&self, _: u32, bytes: &[u8]) -> Result<Option<usize>, String> {
        let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        match &bytes[..end] {
            b"welcome" => Ok(Some(end + 1)),
            other => Err(String::from_utf8_lossy(other).into_owned()),
        }
    }

    fn is_right(&self, key: u64, value: &[u8]) -> bool {
        value == key.to_string().as_bytes()
    }

    fn may_miss(&self, _: &Ask) -> bool {
        self.may_miss
    }

    fn server_core(&self, key: u64) -> Option<u32> {
        (self.server_cores > 0).then(|| (key % self.server_cores) as u32)
    }
}

/// A closed loop of this many milliseconds without a warm-up.
pub(crate) fn closed(server: &Server, connections: u32, pipeline: u32, window_ms: u64) -> Config {
    Config {
        connections,
        pipeline,
        warm_up: Duration::ZERO,
        length: Length::Time(Duration::from_millis(window_ms)),
        ..Config::new(server.address)
    }
}

/// An open one.
pub(crate) fn open(server: &Server, connections: u32, pipeline: u32, window_ms: u64) -> Config {
    Config {
        pace: Pace::Open {
            schedule: "constant".to_owned(),
            target_rate: None,
        },
        ..closed(server, connections, pipeline, window_ms)
    }
}

pub(crate) fn try_run<L: Load>(load: &L, config: &Config) -> Result<Finished, EngineError> {
    engine::run(load, config, &AtomicBool::new(false), &mut |_: &Live| {})
}

pub(crate) fn run<L: Load>(load: &L, config: &Config) -> Run {
    try_run(load, config).unwrap().run
}

/// The latencies of everything.
pub(crate) fn all(run: &Run) -> &Latency {
    let all = &run.latencies[0];
    assert_eq!(
        (all.operation, all.heat, all.server_core),
        (None, None, None)
    );
    all
}

/// How many errors of a kind.
pub(crate) fn errors(run: &Run, kind: &str) -> u64 {
    run.errors.get(kind).copied().unwrap_or(0)
}

pub(crate) fn has_warning(run: &Run, words: &str) -> bool {
    run.generator
        .warnings
        .iter()
        .any(|warning| warning.contains(words))
}
