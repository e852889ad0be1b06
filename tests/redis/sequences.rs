//! Sequences of commands to the node and to `redis-server` side by side, whose replies must be the same byte for byte: what the random runs
//! of `differential` leave out or hit too seldom.

use crate::connection::Connection;
use crate::original::Original;
use crate::support::node::Place;

/// Bytes of a word: `\xff` and the like stand for bytes, `''` for no bytes.
fn word(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.trim_matches('\'').as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if let (b'\\', [b'x', high, low, behind @ ..]) = (first, rest) {
            let digits = [*high, *low];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = behind;
        } else {
            bytes.push(*first);
        }
    }
    bytes
}

/// Plays each sequence, one command at a time, on keys and connections of its own. A line that begins with `2:` goes over a second connection.
fn same_replies(flags: &[&str], sequences: &[&[&str]]) {
    let Some(original) = Original::start() else {
        return;
    };
    let place = Place::new();
    let node = place.start(flags);
    let mut different = Vec::new();
    for sequence in sequences {
        let mut ours = [0; 2].map(|_| Connection::open(node.address()));
        let mut theirs = [0; 2].map(|_| original.connect());
        for connection in [&mut ours[0], &mut theirs[0]] {
            assert_eq!(connection.ask(&[b"FLUSHALL"]).line, b"+OK");
        }
        for line in *sequence {
            let (at, line) = match line.strip_prefix("2:") {
                Some(line) => (1, line),
                None => (0, *line),
            };
            let words: Vec<Vec<u8>> = line.split(' ').map(word).collect();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let (ours, theirs) = (ours[at].ask(&words), theirs[at].ask(&words));
            // The connection's number is each server's own.
            if ours != theirs && !line.starts_with("HELLO") {
                different.push(format!(
                    "{sequence:?}\n  {line}\n  ours   {ours:?}\n  theirs {theirs:?}"
                ));
            }
        }
    }
    node.stop();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

const TRANSACTIONS: &[&[&str]] = &[
    // SELECT counts once EXEC is carried out, and not before, nor if it isn't.
    &[
        "SET a 0", "MULTI", "SELECT 3", "SET a 3", "DISCARD", "GET a",
    ],
    &[
        "SET a 0", "MULTI", "SELECT 3", "SET a 3", "EXEC", "GET a", "SELECT 0", "GET a",
    ],
    &[
        "SET a 0",
        "WATCH a",
        "2:SET a 1",
        "MULTI",
        "SELECT 3",
        "SET a 3",
        "EXEC",
        "GET a",
        "DBSIZE",
        "SELECT 3",
        "DBSIZE",
    ],
    &["SET a 0", "MULTI", "SELECT 3", "NOSUCH", "EXEC", "GET a"],
    &[
        "MULTI",
        "SELECT 5",
        "SELECT 99",
        "SET a 5",
        "SELECT 0",
        "EXEC",
        "GET a",
        "SELECT 5",
        "GET a",
    ],
    // One that was never selected, and one that is copied to.
    &[
        "SET a 0",
        "MULTI",
        "SELECT 9",
        "SET b 9",
        "COPY b b DB 11",
        "EXEC",
        "GET b",
        "SELECT 11",
        "GET b",
    ],
    // What looks at the whole keyspace sees what the transaction did before it.
    &["SET a 1", "MULTI", "SET b 2", "DBSIZE", "EXEC"],
    &[
        "SET a 1", "MULTI", "DBSIZE", "SET b 2", "DBSIZE", "EXEC", "DBSIZE",
    ],
    &["MULTI", "DBSIZE", "KEYS *", "RANDOMKEY", "SCAN 0", "EXEC"],
    &[
        "MULTI",
        "SET a 1",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "GET a",
        "EXEC",
    ],
    &[
        "MULTI", "SET a 1", "SELECT 3", "SET x 1", "DBSIZE", "SELECT 0", "KEYS *", "EXEC",
        "SELECT 3", "DBSIZE",
    ],
    &[
        "MULTI", "SET a 1", "MGET a b", "DEL b", "DBSIZE", "WAIT 0 0", "PING", "EXEC",
    ],
    // The pattern by which caches are built anew.
    &[
        "SET old 1",
        "MULTI",
        "FLUSHDB",
        "SET new 1",
        "GET old",
        "EXEC",
        "KEYS *",
    ],
    &[
        "SET old 1",
        "MULTI",
        "SET new 1",
        "FLUSHALL",
        "DBSIZE",
        "EXEC",
        "KEYS *",
    ],
    // Nothing of it if a watched key has changed.
    &[
        "SET a 1",
        "WATCH a",
        "2:SET a 2",
        "MULTI",
        "DBSIZE",
        "SET b 1",
        "FLUSHDB",
        "CLIENT SETNAME x",
        "EXEC",
        "KEYS *",
        "CLIENT GETNAME",
    ],
    &[
        "SET a 1",
        "WATCH a",
        "2:SET a 2",
        "MULTI",
        "CLIENT SETNAME x",
        "EXEC",
        "CLIENT GETNAME",
    ],
    &["SET a 1", "WATCH a", "MULTI", "FLUSHDB", "EXEC", "GET a"],
    // The connection and the node.
    &[
        "MULTI",
        "CLIENT SETNAME worker",
        "CLIENT GETNAME",
        "UNWATCH",
        "SET a 1",
        "EXEC",
        "CLIENT GETNAME",
    ],
    &[
        "MULTI",
        "CONFIG GET maxmemory",
        "CONFIG SET databases x",
        "CONFIG SET nosuch x",
        "EXEC",
    ],
    &[
        "HELLO 3",
        "MULTI",
        "CONFIG GET maxmemory",
        "GET a",
        "RANDOMKEY",
        "EXEC",
    ],
    // A command that fails among them.
    &[
        "SET a x",
        "MULTI",
        "INCR a",
        "DBSIZE",
        "EXPIRE a x",
        "GET a",
        "SCAN x",
        "EXEC",
    ],
    &["MULTI", "EXEC"],
];

/// A library that counts keys or flushes in a transaction, and one that selects a database there, must find what Redis would have done.
#[test]
fn transactions_of_more_than_keys() {
    for flags in [&["--cores", "2"], &["--cores", "1"]] {
        same_replies(flags, TRANSACTIONS);
    }
}

/// Bytes that are no text come back as they were sent: a client that logs what it mistyped sees its own bytes.
#[test]
fn errors_repeat_bytes() {
    same_replies(
        &[],
        &[
            &[
                "\\xff\\xfeX a",
                "nosuch \\xc3\\xa4\\xff b\\x01\\x0d\\x0ac",
                "no\\x00such a\\x00b",
                "\\x0d\\x0a",
                "\\x7f\\x1b[31m a",
                "CLIENT \\xff",
                "CLIENT \\x0d\\x0ax",
                "OBJECT \\xe4x a",
                "EXPIRE a 1 \\xff",
                "HELLO 3 \\xff",
                "CLIENT LIST TYPE \\xff",
                "CLIENT KILL USER \\xff",
                "CONFIG SET \\xff 1",
                "LATENCY GRAPH \\xff",
                "COMMAND \\xff",
                "SET a",
            ],
            &["MULTI", "\\xff", "EXEC"],
        ],
    );
}
