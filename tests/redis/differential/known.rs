//! What is not the same as in Redis, on purpose: the random runs leave it out, and here each difference is shown with both replies, so
//! that the list stays true. `docs/redis-compatibility.md` says the same to users.

use crate::connection::Connection;
use crate::original::Original;
use crate::support::node::Place;

/// Commands that are carried out between MULTI and EXEC in Redis and not here: what looks at a whole keyspace, what concerns the
/// connection, MSETNX, and moves between keys without a common tag.
pub(super) fn may_be_queued(words: &[Vec<u8>]) -> bool {
    let name = words[0].to_ascii_lowercase();
    let name = String::from_utf8_lossy(&name);
    match &*name {
        "rename" | "renamenx" | "copy" => {
            let is_tagged = |key: &Vec<u8>| key.starts_with(b"{t}");
            words.len() < 3 || words[1..3].iter().all(is_tagged)
        }
        "dbsize" | "randomkey" | "keys" | "scan" | "flushdb" | "flushall" | "msetnx" | "client"
        | "hello" | "unwatch" | "select" => false,
        _ => true,
    }
}

/// A difference, as one connection sees it after these lines: the reply to the last one.
struct Known {
    lines: &'static [&'static str],
    ours: &'static str,
    theirs: &'static str,
    /// Words of `docs/redis-compatibility.md` that tell users of it.
    documented: &'static str,
}

/// Every difference that the random runs leave out.
const KNOWN: &[Known] = &[
    // No key of no bytes: the index tells keys from none by their length.
    Known {
        lines: &["GET ''"],
        ours: "-ERR the empty key is not supported: a key has 1 to 65535 bytes",
        theirs: "$-1",
        documented: "The empty key is an error",
    },
    // What is refused has done nothing.
    Known {
        lines: &["HELLO 3 SETNAME n wrong", "CLIENT GETNAME"],
        ours: "$-1",
        theirs: "$1",
        documented: "sets no name",
    },
    // A transaction is one unit of single keys; what looks at a whole keyspace takes several rounds over all shards.
    Known {
        lines: &["FLUSHALL", "MULTI", "DBSIZE", "EXEC"],
        ours: "-EXECABORT Transaction discarded: 'dbsize' can't be part of one here",
        theirs: "*1",
        documented: "can't be part of a transaction",
    },
    Known {
        lines: &["MULTI", "MSETNX a 1", "EXEC"],
        ours: "-EXECABORT Transaction discarded: 'msetnx' can't be part of one here",
        theirs: "*1",
        documented: "can't be part of a transaction",
    },
    Known {
        lines: &["MULTI", "UNWATCH", "EXEC"],
        ours: "-EXECABORT Transaction discarded: 'unwatch' can't be part of one here",
        theirs: "*1",
        documented: "can't be part of a transaction",
    },
    // What is compared is the version: a key that was not there, and is not there again, has none both times.
    Known {
        lines: &["DEL a", "WATCH a", "SET a 1", "DEL a", "MULTI", "EXEC"],
        ours: "*0",
        theirs: "*-1",
        documented: "is as it was",
    },
    // Redis keeps the key until it is looked at or a cycle of its expiry comes by.
    Known {
        lines: &["FLUSHALL", "SET a 1 PXAT 1", "DBSIZE"],
        ours: ":0",
        theirs: ":1",
        documented: "a time that is over",
    },
    // By the value alone, not by how it came about.
    Known {
        lines: &["DEL a", "SET a x", "APPEND a y", "OBJECT ENCODING a"],
        ours: "$6",
        theirs: "$3",
        documented: "by the value alone",
    },
    Known {
        lines: &["HSET h f v"],
        ours: "-ERR command 'hset' is not supported: Corduroy holds strings only",
        theirs: ":1",
        documented: "`HSET`",
    },
    // A unit's bound.
    Known {
        lines: &["FLUSHALL", "SETRANGE a 2000000 x"],
        ours: "-ERR",
        theirs: ":2000001",
        documented: "make values to 1 MiB",
    },
];

/// A list of differences that nobody checks is soon a list of what once was different.
#[test]
fn what_is_different_is_known_and_documented() {
    let Some(original) = Original::start() else {
        return;
    };
    let place = Place::new();
    let node = place.start(&[]);
    let manual = include_str!("../../../docs/redis-compatibility.md");
    for known in KNOWN {
        let last_line = |mut connection: Connection| {
            let replies = known.lines.iter().map(|line| {
                let words = line.split(' ');
                let words: Vec<&[u8]> = words
                    .map(|word| word.trim_matches('\'').as_bytes())
                    .collect();
                connection.ask(&words)
            });
            String::from_utf8(replies.last().unwrap().line).unwrap()
        };
        let ours = last_line(Connection::open(node.address()));
        let theirs = last_line(original.connect());
        assert!(ours.starts_with(known.ours), "{:?}: {ours}", known.lines);
        assert_eq!(theirs, known.theirs, "{:?}", known.lines);
        assert!(
            manual.contains(known.documented),
            "no {:?} in the manual",
            known.documented
        );
    }
    node.stop();
}
