//! Requests and replies as recorded from memcached 1.6, and any bytes.

use proptest::prelude::*;

use super::*;
use crate::protocol::testing::{
    PlainKeys, PlainValues, ask, asked, assert_cuts_do_not_matter, assert_malformed, assert_reply,
    request,
};

fn dialect() -> MemcachedDialect<PlainKeys, PlainValues> {
    MemcachedDialect::new(PlainKeys, PlainValues)
}

#[test]
fn requests_are_well_formed() {
    let found = Step::Second(Some(Found {
        bytes: b"old",
        token: 77,
    }));
    let missing = Step::Second(None);
    for (operation, step, meant) in [
        (Operation::Get, Step::First, "get key:7\r\n"),
        (Operation::Put, Step::First, "set key:7 0 2 5\r\n7/3..\r\n"),
        (Operation::Delete, Step::First, "delete key:7\r\n"),
        (Operation::CompareAndSet, Step::First, "gets key:7\r\n"),
        (
            Operation::CompareAndSet,
            found,
            "cas key:7 0 2 5 77\r\n7/3..\r\n",
        ),
        (
            Operation::CompareAndSet,
            missing,
            "add key:7 0 2 5\r\n7/3..\r\n",
        ),
        (Operation::ReadModifyWrite, Step::First, "get key:7\r\n"),
        (
            Operation::ReadModifyWrite,
            found,
            "set key:7 0 2 5\r\n7/3..\r\n",
        ),
        (
            Operation::ReadModifyWrite,
            missing,
            "set key:7 0 2 5\r\n7/3..\r\n",
        ),
        (Operation::Add, Step::First, "incr counter:7 1\r\n"),
        (Operation::Add, missing, "add counter:7 0 0 1\r\n1\r\n"),
        (Operation::Batch, Step::First, "get key:7 key:8 key:9\r\n"),
    ] {
        // 1.2 seconds are two there: a key may live longer than was said, never shorter.
        let ask = Ask {
            ttl_ms: 1200,
            ..ask(operation)
        };
        let bytes = request(&dialect(), 0, &ask, step);
        assert_eq!(
            bytes.escape_ascii().to_string(),
            meant.escape_debug().to_string()
        );
    }
}

#[test]
fn replies_are_told_apart_and_wait_for_their_last_byte() {
    use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, ReadModifyWrite};
    let value = |bytes, token| Outcome::Value { bytes, token };
    let many = |found, missing| Outcome::Many { found, missing };
    let two = b"VALUE key:7 0 1\r\na\r\nVALUE key:9 0 5\r\nEND\r\n\r\nEND\r\n";
    let full = b"SERVER_ERROR out of memory storing object\r\n";
    for (operation, second, bytes, outcome) in [
        (
            Get,
            false,
            &b"VALUE key:7 0 3\r\na\nb\r\nEND\r\n"[..],
            value(b"a\nb", 0),
        ),
        (Get, false, b"VALUE key:7 0 0\r\n\r\nEND\r\n", value(b"", 0)),
        (Get, false, b"END\r\n", Outcome::Missing),
        (Get, false, b"ERROR\r\n", Outcome::Refused(b"ERROR")),
        (Put, false, b"STORED\r\n", Outcome::Done),
        (Put, false, full, Outcome::Refused(&full[..full.len() - 2])),
        (Delete, false, b"DELETED\r\n", Outcome::Done),
        (Delete, false, b"NOT_FOUND\r\n", Outcome::Missing),
        (
            CompareAndSet,
            false,
            b"VALUE key:7 0 1 42\r\na\r\nEND\r\n",
            value(b"a", 42),
        ),
        (CompareAndSet, true, b"STORED\r\n", Outcome::Done),
        (CompareAndSet, true, b"EXISTS\r\n", Outcome::Conflict),
        (CompareAndSet, true, b"NOT_FOUND\r\n", Outcome::Conflict),
        (CompareAndSet, true, b"NOT_STORED\r\n", Outcome::Conflict),
        (ReadModifyWrite, false, b"END\r\n", Outcome::Missing),
        (ReadModifyWrite, true, b"STORED\r\n", Outcome::Done),
        (Add, false, b"18\r\n", Outcome::Counter(18)),
        (Add, false, b"NOT_FOUND\r\n", Outcome::Missing),
        (Add, true, b"STORED\r\n", Outcome::Counter(1)),
        (Add, true, b"NOT_STORED\r\n", Outcome::Conflict),
        (Batch, false, two, many(2, 1)),
        (Batch, false, b"END\r\n", many(0, 3)),
    ] {
        assert_reply(&dialect(), asked(operation, second), bytes, outcome);
    }
}

#[test]
fn what_is_no_reply_to_the_request_is_malformed() {
    use Operation::{Add, Batch, Delete, Get, Put};
    let four = b"VALUE k 0 1\r\na\r\n".repeat(4);
    for (operation, second, bytes) in [
        (Get, false, &b"VALUE k 0 3\r\nabcd\r\nEND\r\n"[..]),
        (Get, false, b"VALUE k 0 x\r\n"),
        (Get, false, b"VALUE k 0 67108865\r\n"),
        (Get, false, b"VALUE k\r\n"),
        (Get, false, b"VALUE  0 1\r\n"),
        (Get, false, &four),
        (Get, false, b"STORED\r\n"),
        (Get, false, b"HELLO\r\n"),
        (Get, false, b"END\n"),
        (Put, false, b"END\r\n"),
        (Delete, false, b"3\r\n"),
        (Add, true, b"3\r\n"),
        (Batch, false, &four),
    ] {
        assert_malformed(&dialect(), asked(operation, second), bytes);
    }
    assert!(dialect().reply(b"END\r\n", None).is_err());
    assert_eq!(dialect().reply(b"", None), Ok(None));
}

#[test]
fn a_batch_hands_out_its_values_with_their_keys() {
    let reply = b"VALUE key:7 0 1\r\na\r\nVALUE key:9 0 2\r\nbc\r\nEND\r\n";
    let mut seen = Vec::new();
    dialect().values(&ask(Operation::Batch), reply, &mut |key, value| {
        seen.push((key, value));
    });
    assert_eq!(seen, [(7, &b"a"[..]), (9, b"bc")]);
}

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "STORED\r\n",
        "EXISTS\r\n",
        "END\r\n",
        "ERROR\r\n",
        "NOT_FOUND\r\n",
        "7\r\n",
        "\r\n",
        "E",
        "VALUE k 0 1\r\n",
        "VALUE k 0 2 3\r\n",
        "SERVER_ERROR x\r\n",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        4 => prop::collection::vec(any::<u8>(), 0..12).prop_map(|value| {
            let head = format!("VALUE key:7 0 {}\r\n", value.len()).into_bytes();
            [&head[..], &value, b"\r\n"].concat()
        }),
        1 => prop::collection::vec(any::<u8>(), 0..6),
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
