//! Redis clients that break the protocol, promise what they don't send, or ask without ever listening: the connection is cut with a word, the
//! node's memory stays what it was, and others notice nothing.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::connection::{Connection, encode, encoded};
use crate::support::node::{Node, Place};
use crate::support::random::Random;
use crate::support::wait_until;
use crate::support::wire::{narrow, raw};

/// Roomier than the other tests' nodes, so that values of 16 MiB fit.
const ROOMY: [&str; 6] = [
    "--value-len-max",
    "16MiB",
    "--segment-len",
    "32MiB",
    "--memory",
    "256MiB",
];

/// What a node may have resident beside its `--memory` of 256 MiB, in bytes: the program, its threads, the kernel's pages of its files.
const RESIDENT_MAX: u64 = (256 + 128) << 20;

/// How much more a node may have resident after bytes that can't be a command, in bytes.
const GROWTH_MAX: u64 = 32 << 20;

/// Runs `misdeeds` while a client of the same node does what clients do. It must get its replies all the while.
fn beside_a_good_client(node: &Node, misdeeds: impl FnOnce(&dyn Fn())) {
    let over = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    let address = node.address();
    thread::scope(|scope| {
        let good = scope.spawn(|| {
            let mut client = Connection::open(address);
            let mut number = 0_u64;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let value = number.to_string();
                let key = format!("good:{}", number % 16);
                let set = client.ask(&[b"SET", key.as_bytes(), value.as_bytes()]);
                assert_eq!(set.line, b"+OK");
                let get = client.ask(&[b"GET", key.as_bytes()]);
                assert_eq!(get.bulk.as_deref(), Some(value.as_bytes()), "{get:?}");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        let gets_on = || {
            let before = rounds.load(Ordering::Relaxed);
            wait_until("the good client gets its replies", || {
                rounds.load(Ordering::Relaxed) > before + 3 || good.is_finished()
            });
        };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| misdeeds(&gets_on)));
        if ended.is_ok() {
            gets_on();
        }
        over.store(true, Ordering::Relaxed);
        good.join().unwrap();
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Sends bytes, and gives the last reply before the node closes the connection.
#[track_caller]
fn last_word(address: SocketAddr, bytes: &[u8]) -> String {
    let mut connection = Connection::open(address);
    // The node may close it before all is sent.
    let _ = connection.send(bytes);
    let mut last = None;
    loop {
        match connection.receive() {
            Ok(reply) => last = Some(reply),
            Err(error) => {
                assert!(
                    !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "the node did not close the connection after {}",
                    crate::reply::shown(bytes)
                );
                break;
            }
        }
    }
    let last = last.unwrap_or_else(|| panic!("no word after {}", crate::reply::shown(bytes)));
    assert!(last.is_error(), "{last:?}");
    last.text()
}

/// Each of these made some server allocate by a number that anybody can send, or wait for ever.
#[test]
fn bytes_that_are_no_command_end_the_connection_with_a_reason() {
    let place = Place::new();
    let node = place.start(&[]);
    let before = node.resident_bytes();
    let long_line = [b"GET ".as_slice(), &[b'x'; 70 << 10]].concat();
    let long_count = [b"*".as_slice(), &[b'1'; 70 << 10]].concat();
    let long_length = [b"*1\r\n$".as_slice(), &[b'1'; 70 << 10]].concat();
    let cases: [(&[u8], &str); 17] = [
        (b"*1000000\r\n", "invalid multibulk length"),
        (b"*65537\r\n", "invalid multibulk length"),
        (b"*9223372036854775807\r\n", "invalid multibulk length"),
        (b"*99999999999999999999999\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1\r\n$500000000\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$500000000\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999999999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"GET \"unbalanced\r\n", "unbalanced quotes"),
        (&long_line, "too big inline request"),
        (&long_count, "too big mbulk count string"),
        (&long_length, "too big bulk count string"),
    ];
    beside_a_good_client(&node, |_| {
        for (bytes, reason) in cases {
            for _ in 0..10 {
                let word = last_word(node.address(), bytes);
                assert!(word.starts_with("ERR Protocol error: "), "{word}");
                assert!(word.contains(reason), "{word}");
            }
            // Replies to what came before are still sent, in front of the reason.
            let behind = [b"PING\r\n".as_slice(), bytes].concat();
            let word = last_word(node.address(), &behind);
            assert!(word.contains(reason), "{word}");
        }
    });
    let after = node.resident_bytes();
    assert!(after < before + GROWTH_MAX, "{before} bytes, then {after}");
    node.stop();
}

/// No replies but errors, no end of the node: whatever bytes come.
#[test]
fn garbage_hurts_nobody() {
    let place = Place::new();
    let node = place.start(&[]);
    let mut random = Random::new(4);
    let words: [&[u8]; 12] = [
        b"*",
        b"$",
        b"\r\n",
        b"1",
        b"3",
        b"GET",
        b"SET",
        b"-",
        b"\x00",
        b"*2\r\n$3\r\nGET\r\n",
        b"MULTI\r\n",
        b"\"",
    ];
    beside_a_good_client(&node, |_| {
        for _ in 0..300 {
            let mut bytes = Vec::new();
            for _ in 0..random.below(60) {
                if random.percent(80) {
                    bytes.extend_from_slice(words[random.below(12) as usize]);
                } else {
                    bytes.push(random.below(256) as u8);
                }
            }
            let mut stream = raw(node.address()).unwrap();
            let _ = stream.write_all(&bytes);
        }
    });
    node.stop();
}

/// A hundred connections that each begin a large command and fall silent would hold the memory of all of them.
#[test]
fn commands_that_never_end_are_cut_and_hold_little_memory() {
    let place = Place::new();
    let node = place.start(&["--stall-timeout", "700ms", "--handshake-timeout", "700ms"]);
    let before = node.resident_bytes();
    beside_a_good_client(&node, |gets_on| {
        let mut silent = Vec::new();
        for begun in [
            b"*2\r\n$3\r\nGET\r\n$2000000\r\nx".as_slice(),
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\nx",
            b"*60000\r\n$3\r\nDEL\r\n",
            b"*1",
            b"GE",
        ] {
            for _ in 0..20 {
                let mut stream = raw(node.address()).unwrap();
                stream.write_all(begun).unwrap();
                silent.push(stream);
            }
        }
        gets_on();
        for stream in &silent {
            until_closed(stream);
        }
    });
    let after = node.resident_bytes();
    assert!(after < before + GROWTH_MAX, "{before} bytes, then {after}");
    node.stop();
}

fn until_closed(mut stream: &TcpStream) {
    let mut rest = Vec::new();
    if let Err(error) = std::io::Read::read_to_end(&mut stream, &mut rest) {
        assert!(
            !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "the node did not close the connection"
        );
    }
}

/// Two commands of a few bytes ask for megabytes each. Who never reads must not make the node keep them.
#[test]
fn a_client_that_never_reads_is_held_up_and_not_the_node() {
    let place = Place::new();
    let node = place.start(&ROOMY);
    let value = vec![b'v'; 1 << 20];
    let mut client = Connection::open(node.address());
    for number in 0..4 {
        let key = format!("large:{number}");
        let set = client.ask(&[b"SET", key.as_bytes(), &value]);
        assert_eq!(set.line, b"+OK");
    }
    beside_a_good_client(&node, |gets_on| {
        let mut deaf = Vec::new();
        for number in 0..8 {
            let mut stream = narrow(node.address()).unwrap();
            stream.set_nonblocking(true).unwrap();
            let key = format!("large:{}", number % 4);
            let get = encoded(&[b"GET", key.as_bytes()]);
            let mget = encoded(&[b"MGET", b"large:0", b"large:1", b"large:2", b"large:3"]);
            for round in 0..2_000 {
                let command = if round % 5 == 0 { &mget } else { &get };
                if stream.write_all(command).is_err() {
                    // Its own send buffer is full: the node reads no more of it.
                    break;
                }
            }
            deaf.push(stream);
        }
        gets_on();
        let resident = node.resident_bytes();
        assert!(resident < RESIDENT_MAX, "{resident} bytes");
        drop(deaf);
    });
    node.stop();
}

/// A transaction is kept until EXEC, so its size must be bounded; so must what a connection watches.
#[test]
fn transactions_without_end_and_watches_of_everything_are_refused() {
    let place = Place::new();
    let node = place.start(&[]);
    let before = node.resident_bytes();
    beside_a_good_client(&node, |_| {
        let mut connections = Vec::new();
        for _ in 0..20 {
            let mut client = Connection::open(node.address());
            let mut bytes = encoded(&[b"MULTI"]);
            let value = vec![b'v'; 10_000];
            for _ in 0..3_000 {
                encode(&[b"SET", b"k", &value], &mut bytes);
            }
            encode(&[b"EXEC"], &mut bytes);
            let sending = thread::spawn(move || {
                let sent = client.send(&bytes);
                (client, sent)
            });
            let (mut client, sent) = sending.join().unwrap();
            sent.unwrap();
            let mut replies = Vec::new();
            for _ in 0..3_002 {
                replies.push(client.receive().unwrap());
            }
            let refused = replies.iter().filter(|reply| reply.is_error()).count();
            assert!(refused > 1, "nothing was refused");
            let exec = replies.last().unwrap();
            assert!(exec.text().starts_with("EXECABORT"), "{exec:?}");
            let keys: Vec<Vec<u8>> = (0..60_000_u32)
                .map(|it| it.to_string().into_bytes())
                .collect();
            let mut words: Vec<&[u8]> = vec![b"WATCH"];
            words.extend(keys.iter().map(Vec::as_slice));
            let watched = client.ask(&words);
            assert!(watched.is_error(), "{watched:?}");
            for key in words[1..].chunks(100).take(50) {
                let some = [&[b"WATCH".as_slice()], key].concat();
                client.ask(&some);
            }
            assert_eq!(client.ask(&[b"PING"]).line, b"+PONG");
            connections.push(client);
        }
        let resident = node.resident_bytes();
        assert!(
            resident < before + 2 * GROWTH_MAX,
            "{before} bytes, then {resident}"
        );
    });
    node.stop();
}

/// Commands of very many keys are worked off in slices, in bounded memory, and others get their turn in between.
#[test]
fn commands_of_sixty_thousand_keys_are_carried_out() {
    let place = Place::new();
    let node = place.start(&[]);
    beside_a_good_client(&node, |_| {
        let mut client = Connection::open(node.address());
        let keys: Vec<Vec<u8>> = (0..60_000_u32)
            .map(|it| format!("many:{it}").into_bytes())
            .collect();
        for slice in keys.chunks(2_000) {
            let mut bytes = Vec::new();
            for key in slice {
                encode(&[b"SET", key, key], &mut bytes);
            }
            client.send(&bytes).unwrap();
            for _ in slice {
                assert_eq!(client.receive().unwrap().line, b"+OK");
            }
        }
        let with = |name: &'static [u8]| -> Vec<&[u8]> {
            let mut words = vec![name];
            words.extend(keys.iter().map(Vec::as_slice));
            words
        };
        let values = client.ask(&with(b"MGET"));
        assert_eq!(values.items.len(), keys.len());
        for (value, key) in values.items.iter().zip(&keys) {
            assert_eq!(value.bulk.as_ref(), Some(key));
        }
        assert_eq!(client.ask(&with(b"EXISTS")).integer(), Some(60_000));
        let found = client.ask(&[b"KEYS", b"many:*"]);
        assert_eq!(found.items.len(), keys.len());
        assert_eq!(client.ask(&[b"KEYS", b"*a*a*a*a*a*a*a*a*b"]).items.len(), 0);
        assert_eq!(client.ask(&with(b"DEL")).integer(), Some(60_000));
        assert_eq!(client.ask(&with(b"UNLINK")).integer(), Some(0));
        let empty: Vec<&[u8]> = vec![b""; 10_000];
        let reply = client.ask(&[&[b"MGET".as_slice()], &empty[..]].concat());
        assert!(reply.is_error(), "{reply:?}");
        let reply = client.ask(&[&[b"MSET".as_slice()], &empty[..]].concat());
        assert!(reply.is_error(), "{reply:?}");
        let reply = client.ask(&empty);
        assert!(reply.is_error(), "{reply:?}");
        assert_eq!(client.ask(&[b"PING"]).line, b"+PONG");
        let resident = node.resident_bytes();
        assert!(resident < RESIDENT_MAX, "{resident} bytes");
    });
    node.stop();
}

/// A command that gives each of these keys this value.
fn pairs<'a>(name: &'a [u8], keys: &'a [Vec<u8>], value: &'a [u8]) -> Vec<&'a [u8]> {
    let pairs = keys.iter().flat_map(|key| [key.as_slice(), value]);
    std::iter::once(name).chain(pairs).collect()
}

/// A unit, a forwarded request, a precondition: each has a field of its own for a key's length, and a bound on all of it together, behind
/// which a node once ended itself.
#[test]
fn what_is_too_long_for_a_request_is_refused_by_every_command() {
    let place = Place::new();
    let node = place.start(&ROOMY);
    beside_a_good_client(&node, |_| {
        let mut client = Connection::open(node.address());
        // On one shard as well as on another.
        for last in 0..8_u8 {
            let mut key = vec![b'k'; 65_536];
            key.push(last);
            let key = key.as_slice();
            for words in [
                vec![b"GET".as_slice(), key],
                vec![b"SET", key, b"v"],
                vec![b"SET", key, b"v", b"NX"],
                vec![b"MSET", key, b"v", b"a", b"v"],
                vec![b"MSETNX", b"b", b"v", key, b"v"],
                vec![b"MGET", b"a", key],
                vec![b"DEL", b"a", key],
                vec![b"EXISTS", key],
                vec![b"WATCH", b"a", key],
                vec![b"RENAME", key, b"a"],
                vec![b"COPY", b"greeting", key],
                vec![b"APPEND", key, b"v"],
                vec![b"INCR", key],
                vec![b"EXPIRE", key, b"10"],
                vec![b"GETEX", key],
                vec![b"TYPE", key],
                vec![b"OBJECT", b"ENCODING", key],
                vec![b"MEMORY", b"USAGE", key],
                vec![b"DELIFEQ", key, b"v"],
            ] {
                let reply = client.ask(&words);
                assert!(reply.is_error(), "{}: {reply:?}", words[0].escape_ascii());
                client.ask(&[b"MULTI"]);
                assert_eq!(
                    client.ask(&words).line[0],
                    if words[0] == b"WATCH" { b'-' } else { b'+' }
                );
                let exec = client.ask(&[b"EXEC"]);
                let is_refused = exec.is_error() || exec.items.iter().all(|reply| reply.is_error());
                assert!(is_refused, "{}: {exec:?}", words[0].escape_ascii());
                client.ask(&[b"DEL", b"a", b"b"]);
            }
        }
        let keys: Vec<Vec<u8>> = (0..2_000_u32)
            .map(|it| it.to_string().into_bytes())
            .collect();
        let tagged: Vec<Vec<u8>> = (0..2_000_u32)
            .map(|it| format!("{{t}}{it}").into_bytes())
            .collect();
        let large = vec![b'v'; 200 << 10];
        for keys in [&keys, &tagged] {
            for words in [
                pairs(b"MSET", keys, b"v"),
                pairs(b"MSETNX", keys, b"v"),
                pairs(b"MSET", &keys[..6], &large),
                pairs(b"MSETNX", &keys[..6], &large),
            ] {
                let reply = client.ask(&words);
                assert!(reply.is_error(), "{}: {reply:?}", words[0].escape_ascii());
            }
            // Together over the bound, though each command is below it.
            client.ask(&[b"MULTI"]);
            let mget: Vec<&[u8]> = std::iter::once(b"MGET".as_slice())
                .chain(keys.iter().map(Vec::as_slice))
                .collect();
            client.ask(&mget);
            let exec = client.ask(&[b"EXEC"]);
            assert!(exec.is_error(), "{exec:?}");
            let few = pairs(b"MSET", &keys[..1_000], b"v");
            assert_eq!(client.ask(&few).line, b"+OK");
        }
        assert_eq!(
            client.ask(&[b"DBSIZE"]).integer().map(|keys| keys >= 2_000),
            Some(true)
        );
    });
    node.stop();
}

/// Long values by every way in: they come out as they went in, or are refused with a word, and the connection goes on.
#[test]
fn values_of_megabytes_by_every_command() {
    let place = Place::new();
    let node = place.start(&ROOMY);
    beside_a_good_client(&node, |_| {
        let mut client = Connection::open(node.address());
        for len in [1 << 20, 5 << 20, 16 << 20] {
            let value: Vec<u8> = (0..len).map(|at: usize| (at % 251) as u8).collect();
            let set = client.ask(&[b"SET", b"long", &value]);
            assert_eq!(set.line, b"+OK", "{set:?}");
            let same = client
                .ask(&[b"GET", b"long"])
                .bulk
                .is_some_and(|it| it == value);
            assert!(same, "{len} bytes came back as others");
            assert_eq!(
                client.ask(&[b"STRLEN", b"long"]).integer(),
                Some(len as i64)
            );
            let part = client.ask(&[b"GETRANGE", b"long", b"-3", b"-1"]);
            assert_eq!(part.bulk.as_deref(), Some(&value[len - 3..]));
            for words in [
                vec![b"APPEND".as_slice(), b"appended", &value],
                vec![b"SETRANGE", b"ranged", b"0", &value],
                vec![b"MSET", b"a", b"1", b"long", &value],
                vec![b"MSETNX", b"new", &value],
                vec![b"GETSET", b"long", &value],
                vec![b"SETNX", b"long", &value],
                vec![b"SETEX", b"long", b"1000", &value],
                vec![b"SET", b"long", &value, b"XX", b"GET"],
                vec![b"ECHO", &value],
                vec![b"PING", &value],
                vec![b"DEL", &value],
                vec![b"GET", &value],
                vec![b"SET", &value, b"v"],
                vec![&value],
            ] {
                client.send(&encoded(&words)).unwrap();
                let reply = client.receive();
                assert!(
                    reply.is_ok(),
                    "{} of {len} bytes: {reply:?}",
                    words[0][..8.min(words[0].len())].escape_ascii()
                );
                assert_eq!(client.ask(&[b"PING"]).line, b"+PONG");
            }
            client.ask(&[b"DEL", b"long", b"appended", b"ranged", b"a", b"new"]);
        }
        let resident = node.resident_bytes();
        assert!(resident < RESIDENT_MAX, "{resident} bytes");
    });
    let word = last_word(
        node.address(),
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16777217\r\n",
    );
    assert!(word.contains("value_len_max"), "{word}");
    node.stop();
}
