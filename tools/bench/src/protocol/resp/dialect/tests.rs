//! Requests and replies as recorded from `redis-cli` and a Redis 7, and any bytes.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::protocol::{
    REPLY_LEN_MAX,
    testing::{
        PlainKeys, PlainValues, ask, asked, assert_cuts_do_not_matter, assert_malformed,
        assert_reply, request,
    },
};

fn dialect() -> RespDialect<PlainKeys, PlainValues> {
    RespDialect::new(Arc::new([0, 1234]), PlainKeys, PlainValues)
}

/// A command of these words, as any client library would send it.
fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

// A malformed command would be refused by the server at best; at worst the bytes of a value are run as commands.
#[test]
fn requests_are_well_formed() {
    let old = Step::Second(Some(Found {
        bytes: b"old\r\n",
        token: 0,
    }));
    let missing = Step::Second(None);
    let get = &["GET", "key:7"][..];
    let set = &["SET", "key:7", "7/3.."][..];
    let cases = [
        (Operation::Get, Step::First, get),
        (Operation::Put, Step::First, set),
        (Operation::Delete, Step::First, &["DEL", "key:7"]),
        (Operation::CompareAndSet, Step::First, get),
        (
            Operation::CompareAndSet,
            old,
            &["SET", "key:7", "7/3..", "IFEQ", "old\r\n"],
        ),
        (
            Operation::CompareAndSet,
            missing,
            &["SET", "key:7", "7/3..", "NX"],
        ),
        (Operation::ReadModifyWrite, Step::First, get),
        (Operation::ReadModifyWrite, old, set),
        (Operation::ReadModifyWrite, missing, set),
        (Operation::Add, Step::First, &["INCRBY", "counter:7", "1"]),
        (
            Operation::Batch,
            Step::First,
            &["MGET", "key:7", "key:8", "key:9"],
        ),
        (
            Operation::Scan,
            Step::First,
            &["SCAN", "1234", "COUNT", "3"],
        ),
    ];
    for (operation, step, words) in cases {
        let bytes = request(&dialect(), 0, &ask(operation), step);
        let meant = command(words);
        assert_eq!(
            bytes.escape_ascii().to_string(),
            meant.escape_ascii().to_string()
        );
    }
    let expiring = Ask {
        ttl_ms: 60_000,
        ..ask(Operation::CompareAndSet)
    };
    let bytes = request(&dialect(), 0, &expiring, old);
    let words = ["SET", "key:7", "7/3..", "IFEQ", "old\r\n", "PX", "60000"];
    assert_eq!(bytes, command(&words));
}

#[test]
fn replies_are_told_apart_and_wait_for_their_last_byte() {
    use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, ReadModifyWrite, Scan};
    let value = |bytes| Outcome::Value { bytes, token: 0 };
    let many = |found, missing| Outcome::Many { found, missing };
    let page = b"*2\r\n$2\r\n17\r\n*3\r\n$5\r\nkey:1\r\n$5\r\nkey:2\r\n$1\r\nk\r\n";
    let ifeq = NO_IFEQ.as_bytes();
    for (operation, second, bytes, outcome) in [
        (Get, false, &b"$3\r\na\nb\r\n"[..], value(b"a\nb")),
        (Get, false, b"$0\r\n\r\n", value(b"")),
        (Get, false, b"$-1\r\n", Outcome::Missing),
        (Get, false, b"-ERR no\r\n", Outcome::Refused(b"ERR no")),
        (Put, false, b"+OK\r\n", Outcome::Done),
        (Put, false, b"+QUEUED\r\n", Outcome::Refused(b"QUEUED")),
        (Delete, false, b":1\r\n", Outcome::Done),
        (Delete, false, b":0\r\n", Outcome::Missing),
        (CompareAndSet, false, b"$1\r\na\r\n", value(b"a")),
        (CompareAndSet, false, b"$-1\r\n", Outcome::Missing),
        (CompareAndSet, true, b"+OK\r\n", Outcome::Done),
        (CompareAndSet, true, b"$-1\r\n", Outcome::Conflict),
        (
            CompareAndSet,
            true,
            b"-ERR syntax error\r\n",
            Outcome::Refused(ifeq),
        ),
        (
            CompareAndSet,
            true,
            b"-OOM x\r\n",
            Outcome::Refused(b"OOM x"),
        ),
        (ReadModifyWrite, true, b"+OK\r\n", Outcome::Done),
        (Add, false, b":-12\r\n", Outcome::Counter(-12)),
        (
            Add,
            false,
            b":-9223372036854775808\r\n",
            Outcome::Counter(i64::MIN),
        ),
        (
            Batch,
            false,
            b"*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbc\r\n",
            many(2, 1),
        ),
        (Scan, false, page, many(3, 0)),
        (Scan, false, b"*2\r\n$1\r\n0\r\n*0\r\n", many(0, 0)),
    ] {
        assert_reply(&dialect(), asked(operation, second), bytes, outcome);
    }
}

// A server that loses count of its own lengths, or a generator that loses count of its requests, must end the run and not be read
// out of step.
#[test]
fn what_is_no_reply_to_the_request_is_malformed() {
    use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, Scan};
    for (operation, second, bytes) in [
        (Get, false, &b"$3\r\nabcd\r\n"[..]),
        (Get, false, b"$x\r\n"),
        (Get, false, b"$-2\r\n"),
        (Get, false, b"$99999999999999999999\r\n"),
        (Get, false, b"$67108865\r\n"),
        (Get, false, b"\r\n"),
        (Get, false, b":1\r\n"),
        (Get, false, b"+OK\r\n"),
        (Get, false, b"*1\r\n$1\r\na\r\n"),
        (Put, false, b"$1\r\na\r\n"),
        (Put, false, b"$-1\r\n"),
        (CompareAndSet, false, b"+OK\r\n"),
        (Delete, false, b":2\r\n"),
        (Add, false, b":9223372036854775808\r\n"),
        (Batch, false, b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (Batch, false, b"*-1\r\n"),
        (Batch, false, b"*99999999\r\n"),
        (Scan, false, b"*3\r\n"),
        (Scan, false, b"*2\r\n:1\r\n"),
    ] {
        assert_malformed(&dialect(), asked(operation, second), bytes);
    }
    assert!(dialect().reply(b"+OK\r\n", None).is_err());
    assert_eq!(dialect().reply(b"", None), Ok(None));
}

#[test]
fn a_batch_hands_out_its_values_with_their_keys() {
    let reply = b"*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbc\r\n";
    let mut seen = Vec::new();
    dialect().values(&ask(Operation::Batch), reply, &mut |key, value| {
        seen.push((key, value));
    });
    assert_eq!(seen, [(7, &b"a"[..]), (9, b"bc")]);
}

// What never ends must not fill the memory: a reply that is still not whole at the limit is given up.
#[test]
fn a_reply_has_an_end() {
    let mut bytes = b"*3\r\n".to_vec();
    for _ in 0..2 {
        bytes.extend_from_slice(format!("${}\r\n", REPLY_LEN_MAX / 2).as_bytes());
        bytes.resize(bytes.len() + REPLY_LEN_MAX / 2, b'x');
        bytes.extend_from_slice(b"\r\n");
    }
    assert_malformed(&dialect(), asked(Operation::Batch, false), &bytes);
}

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"+OK\r\n".to_vec()),
        Just(b"$-1\r\n".to_vec()),
        Just(b"-ERR no\r\n".to_vec()),
        any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
        (0..3_i64).prop_map(|number| format!(":{number}\r\n").into_bytes()),
        (0..5_u32).prop_map(|count| format!("*{count}\r\n").into_bytes()),
        any::<u32>().prop_map(|len| format!("${len}\r\n").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(|value| {
            let mut bytes = Vec::new();
            bulk(&value, &mut bytes);
            bytes
        }),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn where_a_stream_is_cut_does_not_matter(
        stream in any_stream(),
        pieces in prop::collection::vec(0..20_usize, 0..8),
        operation in prop::sample::select(&Operation::ALL[..]),
        second in any::<bool>(),
    ) {
        assert_cuts_do_not_matter(&dialect(), asked(operation, second), &stream, &pieces);
    }
}
