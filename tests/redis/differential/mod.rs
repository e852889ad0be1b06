//! The same commands to a node and to `redis-server`, and the same replies: byte for byte, but for what `known` lists.
//!
//! A **run** follows from its seed: some hundred commands on a dozen keys (`generate`), over two connections to each server, so that one can change
//! what the other watches. They are sent in slices of random length, the whole slice at once, and each reply is compared under the
//! rule that belongs to its command (`check`). When a reply differs, commands are left out of the run as long as its last one still
//! gets different replies (`shrink`), and what is left is shown.
//!
//! Both servers compute times from their own clocks, a moment apart: times may differ by as much as has passed since the run began, and the times
//! to live in a run are further apart than that by orders of magnitude.

mod check;
mod generate;
mod known;
mod shrink;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Instant;

use self::check::{Check, Clock, compare};
use self::generate::{Kind, Step, generate};
use crate::connection::Connection;
use crate::original::Original;
use crate::reply::{Reply, shown};
use crate::support::node::{Node, Place};
use crate::support::random::Random;

/// Connections of a run to each server.
const CONNECTIONS: usize = 2;

/// The two servers.
struct Pair {
    node: Node,
    original: Original,
}

/// The first reply that differs.
struct Difference {
    /// Which step's.
    at: usize,
    why: String,
    /// A server did not answer at all.
    silent: bool,
}

impl Pair {
    /// Plays steps from a clean beginning.
    fn play(&self, steps: &[Step]) -> Result<(), Difference> {
        let mut ours: Vec<Connection> = Vec::new();
        let mut theirs: Vec<Connection> = Vec::new();
        for _ in 0..CONNECTIONS {
            ours.push(Connection::open(self.node.address()));
            theirs.push(self.original.connect());
        }
        assert_eq!(ours[0].ask(&[b"FLUSHALL"]).line, b"+OK");
        assert_eq!(theirs[0].ask(&[b"FLUSHALL"]).line, b"+OK");
        // A keyspace is made when it is selected first, which can't be done in a transaction.
        for database in ["1", "2", "15", "0"] {
            let opened = ours[0].ask(&[b"SELECT", database.as_bytes()]);
            assert_eq!(opened.line, b"+OK");
        }
        let mut clock = Clock {
            began: Instant::now(),
            queued: vec![Vec::new(); CONNECTIONS],
        };
        let mut at = 0;
        while at < steps.len() {
            let first = &steps[at];
            let slice = steps[at..].iter();
            let len = slice.take_while(|step| step.slice == first.slice).count();
            let slice = &steps[at..at + len];
            let connection = first.connection;
            self.play_slice(
                slice,
                &mut ours[connection],
                &mut theirs[connection],
                &mut clock,
            )
            .map_err(|difference| Difference {
                at: at + difference.at,
                ..difference
            })?;
            at += len;
        }
        Ok(())
    }

    fn play_slice(
        &self,
        slice: &[Step],
        ours: &mut Connection,
        theirs: &mut Connection,
        clock: &mut Clock,
    ) -> Result<(), Difference> {
        if let [step] = slice
            && step.check == Check::WholeScan
        {
            let found = (
                whole_scan(ours, &step.words),
                whole_scan(theirs, &step.words),
            );
            return match found {
                (Ok(ours), Ok(theirs)) if ours == theirs => Ok(()),
                (ours, theirs) => Err(Difference {
                    at: 0,
                    why: format!("ours {ours:?}, theirs {theirs:?}"),
                    silent: false,
                }),
            };
        }
        let mut bytes = Vec::new();
        for step in slice {
            step.encode(&mut bytes);
        }
        // In two pieces somewhere, as a network may cut it.
        let cut = bytes.len() * slice.len() % (bytes.len() + 1);
        for connection in [&mut *ours, &mut *theirs] {
            connection.send(&bytes[..cut]).unwrap();
            connection.send(&bytes[cut..]).unwrap();
        }
        for (at, step) in slice.iter().enumerate() {
            let silence = |who: &str, kind: ErrorKind| Difference {
                at,
                why: format!("{who} did not answer: {kind}"),
                silent: true,
            };
            let theirs = theirs
                .receive()
                .map_err(|error| silence("redis-server", error.kind()))?;
            let ours = ours
                .receive()
                .map_err(|error| silence("the node", error.kind()))?;
            compare(step, &ours, &theirs, clock).map_err(|why| Difference {
                at,
                why: format!("{why}\n  ours   {ours:?}\n  theirs {theirs:?}"),
                silent: false,
            })?;
            if step.is_short_lived {
                std::thread::sleep(generate::SHORT_LIFE * 3);
            }
        }
        Ok(())
    }
}

/// All keys that SCAN shows from cursor 0 to cursor 0.
fn whole_scan(
    connection: &mut Connection,
    words: &[Vec<u8>],
) -> Result<std::collections::BTreeSet<Vec<u8>>, Reply> {
    let mut words: Vec<Vec<u8>> = words.to_vec();
    let mut keys = std::collections::BTreeSet::new();
    let mut cursors = HashSet::new();
    loop {
        let arguments: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let reply = connection.ask(&arguments);
        let [cursor, page] = reply.items.as_slice() else {
            return Err(reply);
        };
        keys.extend(page.items.iter().filter_map(|key| key.bulk.clone()));
        let cursor = cursor.bulk.clone().unwrap();
        if cursor == b"0" {
            return Ok(keys);
        }
        assert!(cursors.insert(cursor.clone()), "a cursor came twice");
        words[1] = cursor;
    }
}

/// Plays the runs of these seeds.
fn play_all(flags: &[&str], kinds: &[Kind], seeds: impl Iterator<Item = u64>) {
    let Some(original) = Original::start() else {
        return;
    };
    let place = Place::new();
    let pair = Pair {
        node: place.start(flags),
        original,
    };
    let mut failures = Vec::new();
    for seed in seeds {
        let kind = kinds[seed as usize % kinds.len()];
        let steps = generate(seed, kind);
        let Err(difference) = pair.play(&steps) else {
            continue;
        };
        let prefix = steps[..=difference.at].to_vec();
        let least = if difference.silent {
            prefix.clone()
        } else {
            shrink::shrink(&pair, prefix.clone())
        };
        let why = pair.play(&least).err().map_or(difference.why, |it| it.why);
        failures.push(format!(
            "seed {seed} ({kind:?}), after {} commands, of which these suffice:\n{}\n{why}",
            prefix.len(),
            listed(&least)
        ));
        if difference.silent || failures.len() == FAILURES_MAX {
            break;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Failing runs that are shown.
const FAILURES_MAX: usize = 8;

fn listed(steps: &[Step]) -> String {
    let mut slice = None;
    let lines = steps.iter().map(|step| {
        let begins = slice.replace(step.slice) != Some(step.slice);
        let words: Vec<String> = step.words.iter().map(|word| shown(word)).collect();
        let mark = if begins { '*' } else { ' ' };
        format!("  {mark} {}: {}", step.connection, words.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs that every test run can afford, and runs for a machine that has the night.
const RUNS: u64 = 60;
const RUNS_LONG: u64 = 20_000;

const KINDS: [Kind; 4] = [
    Kind::Everything,
    Kind::Transactions,
    Kind::Malformed,
    Kind::ShortLives,
];

/// A client moved here by changing an address relies on replies that nobody ever wrote down: which error comes first, what a count
/// counts, what EXEC gives for a command that failed. On two cores commands and transactions cross from one to the other.
#[test]
fn random_commands_get_the_replies_of_redis_on_two_cores() {
    play_all(&["--cores", "2", "--sync", "never"], &KINDS, 0..RUNS);
}

#[test]
fn random_commands_get_the_replies_of_redis_on_one_core() {
    play_all(&["--cores", "1"], &KINDS, RUNS..2 * RUNS);
}

#[test]
#[ignore = "takes hours"]
fn random_commands_get_the_replies_of_redis_all_night() {
    let seeds = 1_000_000..1_000_000 + RUNS_LONG;
    play_all(&["--cores", "2", "--sync", "never"], &KINDS, seeds.clone());
    play_all(&["--cores", "1", "--sync", "never"], &KINDS, seeds);
}

/// The comparison itself: that it sees a reply that differs, in a type, a number, a byte or the order.
#[test]
fn what_differs_is_seen() {
    let reply = |bytes: &[u8]| Reply::parse(bytes).unwrap().0;
    let mut clock = Clock {
        began: Instant::now(),
        queued: vec![Vec::new(); CONNECTIONS],
    };
    let mut random = Random::new(0);
    for (words, ours, theirs, same) in [
        ("get a", "$1\r\na\r\n", "$1\r\na\r\n", true),
        ("get a", "$1\r\na\r\n", "$1\r\nb\r\n", false),
        ("get a", "$-1\r\n", "_\r\n", false),
        ("ttl a", ":100000\r\n", ":100001\r\n", true),
        ("ttl a", ":100000\r\n", ":110000\r\n", false),
        ("ttl a", ":-1\r\n", ":-2\r\n", false),
        ("ttl a", ":0\r\n", ":-1\r\n", false),
        ("keys *", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", true),
        ("keys *", "*2\r\n+a\r\n+a\r\n", "*2\r\n+a\r\n+b\r\n", false),
        (
            "mget a b",
            "*2\r\n+a\r\n+b\r\n",
            "*2\r\n+b\r\n+a\r\n",
            false,
        ),
        ("randomkey", "$1\r\na\r\n", "$1\r\nb\r\n", true),
        ("randomkey", "$1\r\na\r\n", "$-1\r\n", false),
        ("get", "-ERR a\r\n", "-ERR b\r\n", false),
    ] {
        let words = words.split(' ').map(|word| word.as_bytes().to_vec());
        let step = Step::new(words.collect(), &mut random);
        let compared = compare(
            &step,
            &reply(ours.as_bytes()),
            &reply(theirs.as_bytes()),
            &mut clock,
        );
        assert_eq!(compared.is_ok(), same, "{ours} and {theirs}: {compared:?}");
    }
}
