//! The admin HTTP over real sockets: what a probe is told, and that nobody can keep it from being told.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::node::{Node, Place, serve};
use crate::support::{PATIENCE, wait_until};

pub(crate) const ANY_PORT: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// Where a node's admin HTTP answers, as it says in its messages.
fn admin(messages: &str) -> Option<SocketAddr> {
    let line = messages
        .lines()
        .find(|line| line.contains("the admin HTTP answers"))?;
    line.split_once("address=")?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

pub(crate) fn admin_of(node: &Node) -> SocketAddr {
    admin(&node.messages()).unwrap_or_else(|| panic!("no address in {}", node.messages()))
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// An answer's status and body.
fn ask(address: SocketAddr, request: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {answer:?}")))?;
    Ok((status, body.to_owned()))
}

pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    )
    .unwrap()
}

/// The three paths, and that nothing else is there.
#[test]
fn a_serving_node_is_alive_and_ready() {
    let place = Place::new();
    let node = place.start(&ANY_PORT);
    node.connect().put(b"k", b"v");
    let address = admin_of(&node);
    assert_eq!(get(address, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/readyz?verbose"), (200, "ok\n".to_owned()));
    let (status, json) = get(address, "/status");
    assert_eq!(status, 200);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let shards = json["shards"].as_array().unwrap().len();
    assert_eq!(shards, node.status()["shards"].as_array().unwrap().len());
    assert_eq!(get(address, "/").0, 404);
    assert_eq!(
        ask(
            address,
            "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        )
        .unwrap()
        .0,
        405
    );
    let (status, body) = ask(address, "HEAD /livez HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((status, body.as_str()), (200, ""));
    node.stop();
    assert!(TcpStream::connect(address).is_err(), "it outlived the node");
}

/// An orchestrator that gets no answer while a node recovers kills it, and it recovers again, for ever. Here recovery hangs on a file that does not open
/// (a pipe without a writer), as it would on a disk that hangs.
#[test]
fn a_node_that_recovers_is_alive_and_not_ready() {
    let place = Place::new();
    place.start(&["--cores", "1"]).stop();
    let pipe = place.data().join("shard-000/00000000000000ff.seg");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let address = free_port();
    let text = address.to_string();
    thread::scope(|scope| {
        let start = scope
            .spawn(|| place.try_start(serve(&place.data(), &["--cores", "1", "--admin", &text])));
        wait_until("it answers", || TcpStream::connect(address).is_ok());
        assert_eq!(get(address, "/livez"), (200, "ok\n".to_owned()));
        wait_until("it says what it does", || {
            get(address, "/readyz").1.contains("recovering")
        });
        let (status, sentence) = get(address, "/readyz");
        assert_eq!(status, 503);
        assert!(
            sentence.contains("shard 0: its files are being opened"),
            "{sentence}"
        );
        let (status, sentence) = get(address, "/status");
        assert_eq!(status, 503);
        assert!(sentence.contains("recovering"), "{sentence}");
        // With a writer the pipe opens, and is no file that can be read.
        drop(fs::File::options().write(true).open(&pipe).unwrap());
        let Err(failed) = start.join().unwrap() else {
            panic!("it started on a pipe");
        };
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    });
    assert!(TcpStream::connect(address).is_err());
}

/// Nodes beside each other: the second must say what to do, and have touched nothing.
#[test]
fn a_taken_admin_port_is_refused_and_another_one_works() {
    let place = Place::new();
    let node = place.start(&ANY_PORT);
    let taken = admin_of(&node).to_string();
    let other = place.path().join("other");
    let Err(failed) = place.try_start(serve(&other, &["--admin", &taken])) else {
        panic!("two nodes on one admin port");
    };
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    for part in [&taken, "--admin", "--admin off", "Of several nodes"] {
        assert!(failed.messages.contains(part), "{failed:?}");
    }
    assert!(
        !other.join("MANIFEST").exists(),
        "a failed start settled something"
    );
    let second = place.start_on(&other, &["--admin", "off"]);
    assert_eq!(admin(&second.messages()), None);
    second.stop();
    let second = place.start_on(&other, &ANY_PORT);
    assert_ne!(admin_of(&second), admin_of(&node));
    assert_eq!(get(admin_of(&node), "/readyz").0, 200);
}

/// Hundreds of half requests, floods of headers, and silence: the probe that comes among them is answered all the same, at once, and in the end everybody who
/// is slow is gone.
#[test]
fn nobody_keeps_a_probe_from_its_answer() {
    let place = Place::new();
    let node = place.start(&ANY_PORT);
    let address = admin_of(&node);
    let descriptors = node.descriptors();
    let mut half: Vec<TcpStream> = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(address).unwrap();
        match number % 3 {
            0 => {}
            1 => stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost: lo")
                .unwrap(),
            _ => stream.write_all(b"GET /read").unwrap(),
        }
        half.push(stream);
        if number % 50 == 49 {
            let began = Instant::now();
            assert_eq!(get(address, "/livez").0, 200);
            assert!(
                began.elapsed() < Duration::from_secs(4),
                "{:?}",
                began.elapsed()
            );
        }
    }
    assert!(
        node.descriptors() <= descriptors + 80,
        "{} are open",
        node.descriptors()
    );
    let mut last = half.pop().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut word = Vec::new();
    // It is closed, with a word (408) or without.
    let _ = last.read_to_end(&mut word);
    wait_until("all are let go", || node.descriptors() <= descriptors);

    let flood = "x".repeat(1 << 20);
    let request = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Flood: {flood}\r\n\r\n");
    if let Ok((status, _)) = ask(address, &request) {
        assert_eq!(status, 431);
    }
    let many: String = (0..1000)
        .map(|number| format!("H{number}: v\r\n"))
        .collect();
    if let Ok((status, _)) = ask(address, &format!("GET /livez HTTP/1.1\r\n{many}\r\n")) {
        assert_eq!(status, 431);
    }
    let _ = ask(address, "\x16\x03\x01 this is no HTTP\r\n\r\n");
    assert_eq!(get(address, "/livez").0, 200);
    node.stop();
}
