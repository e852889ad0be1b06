//! Clients that are slow, broken or hostile, while others want to be served.
//!
//! In each test a well-behaved client works alongside, and must get on while the hostile ones are there.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use corduroy_proto_wire::{Body, CONNECTION_REQUEST_ID, Request, Response, Status, split};
use socket2::SockRef;

use crate::support::node::{Node, Place};
use crate::support::random::Random;
use crate::support::value::{described, describing};
use crate::support::wait_until;
use crate::support::wire::{Wire, greeting, plain_put, raw};

/// Short, so that the tests are.
const TIMEOUTS: [&str; 4] = ["--handshake-timeout", "700ms", "--stall-timeout", "700ms"];

/// Runs `attack` while a well-behaved client puts and gets. It is given a way to wait until that client got on.
pub(crate) fn beside_a_good_client(node: &Node, attack: impl FnOnce(&dyn Fn())) {
    let served = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let mut wire = node.connect();
    thread::scope(|scope| {
        let (served, over) = (&served, &over);
        let good = scope.spawn(move || {
            let mut sequence = 0;
            while !over.load(Ordering::Relaxed) {
                sequence += 1;
                let key = format!("good:{}", sequence % 10).into_bytes();
                let value = describing(&key, sequence, 200);
                wire.put(&key, &value);
                assert!(wire.get(&key).is_some_and(|read| read == value));
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        let gets_on = || {
            let before = served.load(Ordering::Relaxed);
            wait_until("the well-behaved client gets on", || {
                good.is_finished() || served.load(Ordering::Relaxed) >= before + 50
            });
        };
        gets_on();
        // The good client must end, whatever the attack comes to.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attack(&gets_on)));
        gets_on();
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Everything that still comes, until the node ends the connection.
#[track_caller]
pub(crate) fn until_closed(mut stream: &TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert!(
            !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
            "the node did not close the connection"
        ),
    }
    rest
}

/// The last answer on a connection that the node has closed.
#[track_caller]
pub(crate) fn last_word(bytes: &[u8]) -> (u32, Status, String) {
    let mut rest = bytes;
    let mut last = None;
    while let Some((frame, len)) = split(rest, 1 << 20).unwrap() {
        let (id, response) = Response::decode(frame).unwrap();
        let text = match response.body {
            Body::Error(text) => text.to_owned(),
            _ => String::new(),
        };
        last = Some((id, response.status, text));
        rest = &rest[len..];
    }
    last.unwrap_or_else(|| panic!("no last word in {:?}", bytes.escape_ascii().to_string()))
}

/// Half frames from a hundred connections exhaust the places of other servers: each holds one until it is asked to go on,
/// and nobody asks.
#[test]
fn half_frames_are_cut_after_the_timeout() {
    let place = Place::new();
    let node = place.start(&[&TIMEOUTS[..], &["--connections-max", "150"]].concat());
    let before = node.sockets();
    beside_a_good_client(&node, |gets_on| {
        let hello = greeting(None);
        let mut silent: Vec<TcpStream> = Vec::new();
        for part in [0, 1, 3, 4, 7, hello.len() - 1] {
            for _ in 0..10 {
                let mut stream = raw(node.address()).unwrap();
                stream.write_all(&hello[..part]).unwrap();
                silent.push(stream);
            }
        }
        let mut frame = Vec::new();
        Request::Put {
            keyspace: 0,
            put: plain_put(b"k", &[0; 10_000]),
        }
        .encode(7, &mut frame);
        let mut half: Vec<Wire> = Vec::new();
        for part in [1, 4, 12, 100, frame.len() - 1] {
            for _ in 0..10 {
                let wire = node.connect();
                wire.stream().write_all(&frame[..part]).unwrap();
                half.push(wire);
            }
        }
        gets_on();
        for stream in &silent {
            until_closed(stream);
        }
        for wire in &half {
            until_closed(wire.stream());
        }
    });
    // An idle connection with nothing half done is no offence.
    wait_until("their sockets are gone", || node.sockets() <= before);
}

/// A length field is four bytes that anybody can send. Whoever allocates by it can be killed by it.
#[test]
fn lengths_outside_the_limits_end_the_connection_with_a_reason() {
    let place = Place::new();
    let node = place.start(&[]);
    beside_a_good_client(&node, |_| {
        let resident = node.resident_bytes();
        for (length, status) in [
            (u32::MAX, Status::LimitExceeded),
            (1 << 30, Status::LimitExceeded),
            (0, Status::InvalidRequest),
            (11, Status::InvalidRequest),
        ] {
            for _ in 0..20 {
                let wire = node.connect();
                let mut bytes = length.to_le_bytes().to_vec();
                bytes.extend_from_slice(&[0; 100]);
                wire.stream().write_all(&bytes).unwrap();
                let (id, found, text) = last_word(&until_closed(wire.stream()));
                assert_eq!((id, found), (CONNECTION_REQUEST_ID, status), "{text}");
                assert!(text.contains(&length.to_string()), "{text}");
            }
            // Before the hello, not even a frame that would be fine later.
            let mut stream = raw(node.address()).unwrap();
            let mut bytes = greeting(None)[..4].to_vec();
            bytes.extend_from_slice(&length.to_le_bytes());
            stream.write_all(&bytes).unwrap();
            until_closed(&stream);
        }
        assert!(node.resident_bytes() < resident + (64 << 20));
    });
}

/// Port scanners, browsers, load balancers' health checks and lost clients of other stores all come by.
#[test]
fn other_languages_and_garbage_are_turned_away() {
    let place = Place::new();
    let node = place.start(&TIMEOUTS);
    let mut random = Random::new(41);
    let mut greetings: Vec<Vec<u8>> = [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"POST /\r\n\r\n",
        b"*1\r\n$nothing\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xc0RDX\x0c\x00\x00\x00",
        b"\0",
    ]
    .map(<[u8]>::to_vec)
    .into();
    for len in [1, 100, 100_000] {
        greetings.push((0..len).map(|_| random.next() as u8).collect());
    }
    // The right preamble, and then no hello.
    let mut wrong = greeting(None)[..4].to_vec();
    Request::Ping { payload: b"x" }.encode(1, &mut wrong);
    greetings.push(wrong);
    beside_a_good_client(&node, |_| {
        for bytes in &greetings {
            let mut stream = raw(node.address()).unwrap();
            // The node may close before it has read all of it.
            let _ = stream.write_all(bytes);
            until_closed(&stream);
        }
    });
}

/// Frames of the right length with anything in them: each is answered or ends its connection, and costs nobody else anything.
#[test]
fn garbage_in_frames_is_answered_by_its_id() {
    let place = Place::new();
    let node = place.start(&[]);
    let mut random = Random::new(42);
    beside_a_good_client(&node, |_| {
        let mut wire = node.connect();
        for _ in 0..5_000 {
            let len = 12 + random.below(60);
            let mut frame: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            // Mostly a known opcode, and often a key that fits, so that more than the header is looked at.
            if random.percent(80) {
                let opcodes = [
                    1, 2, 3, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 32, 33, 34, 35,
                    64, 65,
                ];
                frame[4] = opcodes[random.below(opcodes.len() as u64) as usize];
            }
            if random.percent(70) {
                frame[6..8].copy_from_slice(&(random.below(8) as u16).to_le_bytes());
            }
            // Nothing that may succeed: keyspace 0 is nobody's.
            frame[8..12].fill(0);
            let id = u32::from_le_bytes(*frame.first_chunk().unwrap()).max(1);
            frame[..4].copy_from_slice(&id.to_le_bytes());
            let mut bytes = (frame.len() as u32).to_le_bytes().to_vec();
            bytes.extend_from_slice(&frame);
            wire.stream().write_all(&bytes).unwrap();
            let answer = wire.receive().unwrap();
            assert_eq!(answer.id, id, "{answer:?}");
            if answer.status == Status::Handshake {
                wire = node.connect();
            }
        }
        assert!(wire.get(b"nothing").is_none());
    });
}

/// A list that says it has four billion entries must be read as the lie that it is, before anything is made to hold them.
#[test]
fn batches_with_absurd_counts_are_refused() {
    let place = Place::new();
    let node = place.start(&[]);
    let mut wire = node.connect();
    for opcode in [0x20, 0x21] {
        for count in [0, 1, 4_097, 1 << 20, u32::MAX] {
            let mut frame = 5u32.to_le_bytes().to_vec();
            frame.extend_from_slice(&[opcode, 0, 0, 0]);
            frame.extend_from_slice(&wire.keyspace().to_le_bytes());
            frame.extend_from_slice(&count.to_le_bytes());
            let mut bytes = (frame.len() as u32).to_le_bytes().to_vec();
            bytes.extend_from_slice(&frame);
            wire.stream().write_all(&bytes).unwrap();
            let answer = wire.receive().unwrap();
            assert_eq!(answer.id, 5);
            assert!(
                matches!(
                    answer.status,
                    Status::InvalidRequest | Status::LimitExceeded
                ),
                "{count}: {answer:?}"
            );
        }
    }
    assert!(wire.get(b"nothing").is_none());
}

/// A consumer that has hung asks for gigabytes and takes none of them. Its replies must not pile up in the server until
/// the kernel kills it, as replica buffers have killed other stores.
#[test]
fn clients_that_never_read_cost_bounded_memory_and_are_cut() {
    const CLIENTS: usize = 20;
    let place = Place::new();
    let node = place.start(&["--stall-timeout", "1500ms", "--output-bytes-max", "4MiB"]);
    let mut wire = node.connect();
    for number in 0..8 {
        let key = format!("large:{number}").into_bytes();
        wire.put(&key, &describing(&key, 1, 1 << 20));
    }
    let before = node.resident_bytes();
    beside_a_good_client(&node, |gets_on| {
        let sockets = node.sockets();
        let stuck: Vec<Wire> = (0..CLIENTS)
            .map(|_| {
                let mut wire = node.connect_narrow();
                for number in 0..500 {
                    wire.queue_get(format!("large:{}", number % 8).as_bytes());
                }
                wire.flush().unwrap();
                wire
            })
            .collect();
        for wire in &stuck {
            wire.stream().peek(&mut [0]).unwrap();
        }
        gets_on();
        let grown = node.resident_bytes().saturating_sub(before);
        eprintln!(
            "{CLIENTS} clients that never read: {} KiB more",
            grown >> 10
        );
        // The limit, one answer above it, and what a growing buffer takes while it moves.
        assert!(grown < CLIENTS as u64 * (8 << 20), "{grown} bytes more");
        // Nobody reads before they are cut: that would be taken for a change of mind.
        wait_until("they are cut", || node.sockets() <= sockets);
        for wire in &stuck {
            until_closed(wire.stream());
        }
    });
}

/// A client that asks for much and reads late is not hostile: the answers fill its socket, the node waits, and nothing is lost. Half
/// of what it asks for is another core's.
#[test]
fn a_client_that_reads_late_gets_everything() {
    const REQUESTS: usize = 500;
    let place = Place::new();
    let node = place.start(&[]);
    let mut wire = node.connect_narrow();
    for number in 0..8 {
        let key = format!("large:{number}").into_bytes();
        wire.put(&key, &describing(&key, 1, 1 << 20));
    }
    let asked: Vec<u32> = (0..REQUESTS)
        .map(|number| wire.queue_get(format!("large:{}", number % 8).as_bytes()))
        .collect();
    wire.flush().unwrap();
    // Until its socket is full, and some more.
    thread::sleep(Duration::from_millis(500));
    for _ in 0..REQUESTS {
        let answer = wire.receive().unwrap();
        assert_eq!(answer.status, Status::Ok, "{answer:?}");
        let number = asked.iter().position(|id| *id == answer.id).unwrap();
        let key = format!("large:{}", number % 8).into_bytes();
        let value = answer.value.unwrap();
        assert_eq!((value.len(), described(&key, &value)), (1 << 20, 1));
    }
}

/// A slow line brings a frame byte by byte. It is served, and costs the others nothing.
#[test]
fn one_byte_at_a_time_is_served() {
    let place = Place::new();
    let node = place.start(&[]);
    beside_a_good_client(&node, |_| {
        let mut stream = raw(node.address()).unwrap();
        let mut bytes = greeting(None);
        let keyspace = node.connect().keyspace();
        Request::Put {
            keyspace,
            put: plain_put(b"drop", b"by drop"),
        }
        .encode(2, &mut bytes);
        for byte in &bytes {
            stream.write_all(&[*byte]).unwrap();
            thread::sleep(Duration::from_micros(300));
        }
        stream.shutdown(Shutdown::Write).unwrap();
        wait_until("the put is done", || {
            node.connect().get(b"drop").as_deref() == Some(b"by drop")
        });
    });
}

/// A client that sends all it has and reads later is right to: nothing says that it must not. A server with a fixed queue
/// would drop or deadlock.
#[test]
fn a_hundred_thousand_requests_at_once_are_all_answered() {
    const REQUESTS: u32 = 100_000;
    let place = Place::new();
    let node = place.start(&[]);
    beside_a_good_client(&node, |_| {
        let mut wire = node.connect();
        let mut requests = Vec::new();
        let keyspace = wire.keyspace();
        for id in 1..=REQUESTS {
            let key = format!("bulk:{}", id % 5_000).into_bytes();
            match id % 2 {
                0 => Request::Get {
                    keyspace,
                    key: &key,
                },
                _ => Request::Put {
                    keyspace,
                    put: plain_put(&key, b"value"),
                },
            }
            .encode(id, &mut requests);
        }
        let mut writer = wire.stream().try_clone().unwrap();
        let mut seen = vec![false; REQUESTS as usize + 1];
        thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&requests).unwrap());
            for _ in 0..REQUESTS {
                let answer = wire.receive().unwrap();
                assert!(!answer.status.is_error(), "{answer:?}");
                let first = !std::mem::replace(&mut seen[answer.id as usize], true);
                assert!(first, "request {} was answered twice", answer.id);
            }
        });
        assert!(seen[1..].iter().all(|seen| *seen));
    });
}

/// A client that is killed, or a middlebox that is tired, resets connections in the middle of everything.
#[test]
fn resets_leave_nothing_behind() {
    let place = Place::new();
    let node = place.start(&[]);
    let before = node.sockets();
    let mut random = Random::new(43);
    beside_a_good_client(&node, |_| {
        for number in 0..300 {
            let mut wire = node.connect();
            for _ in 0..random.below(100) {
                let key = format!("reset:{number}").into_bytes();
                wire.queue_put(&key, &describing(&key, 1, 5_000));
                wire.queue_get(&key);
            }
            wire.flush().unwrap();
            if random.percent(30) {
                wire.stream().write_all(&[200, 0, 0]).unwrap();
            }
            // Closing sends RST instead of FIN.
            SockRef::from(wire.stream())
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    });
    wait_until("their sockets are gone", || node.sockets() <= before);
    node.stop();
}
