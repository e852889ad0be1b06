//! Requests against the codec that reads them on the other side, replies against the codec that writes them there.

use std::sync::Arc;

use corduroy_proto_wire::{
    BatchItem, Body, Condition, Cursor, Delete, ItemResult, Put, Request, Response, ScanItem,
    Status, Ttl, split,
};
use proptest::prelude::*;

use super::*;
use crate::protocol::testing::{
    PlainKeys, PlainValues, ask, asked, assert_cuts_do_not_matter, assert_malformed, assert_reply,
    request,
};

const OTHER_START: Cursor = Cursor([7; 16]);

fn dialect() -> NativeDialect<PlainKeys, PlainValues> {
    NativeDialect::new(
        9,
        Arc::new([Cursor::START, OTHER_START]),
        PlainKeys,
        PlainValues,
    )
}

fn answer(id: u32, status: Status, body: Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Response {
        status,
        version: 5,
        timestamp_ms: 6,
        body,
    }
    .encode(id, &mut bytes);
    bytes
}

fn put(value: &'static [u8], ttl: Ttl, condition: Condition<'static>) -> Request<'static> {
    Request::Put {
        keyspace: 9,
        put: Put {
            key: b"key:7",
            value,
            ttl,
            condition,
            return_value: false,
        },
    }
}

// A field that is written in the wrong place asks for other keys or stores other values, and the figures look as good as ever.
#[test]
fn the_codec_reads_what_was_meant() {
    let (keyspace, key) = (9, &b"key:7"[..]);
    let get = Request::Get { keyspace, key };
    let found = Step::Second(Some(Found {
        bytes: b"old",
        token: 77,
    }));
    let missing = Step::Second(None);
    let plain = put(b"7/3..", Ttl::None, Condition::Always);
    let delete = Delete {
        key,
        condition: Condition::Always,
        return_value: false,
    };
    let cases = [
        (Operation::Get, Step::First, get.clone()),
        (Operation::Put, Step::First, plain.clone()),
        (
            Operation::Delete,
            Step::First,
            Request::Delete { keyspace, delete },
        ),
        (Operation::CompareAndSet, Step::First, get.clone()),
        (
            Operation::CompareAndSet,
            found,
            put(b"7/3..", Ttl::None, Condition::IfVersion(77)),
        ),
        (
            Operation::CompareAndSet,
            missing,
            put(b"7/3..", Ttl::None, Condition::IfAbsent),
        ),
        (Operation::ReadModifyWrite, Step::First, get),
        (Operation::ReadModifyWrite, found, plain.clone()),
        (Operation::ReadModifyWrite, missing, plain),
        (
            Operation::Add,
            Step::First,
            Request::Add {
                keyspace,
                key: b"counter:7",
                delta: 1,
            },
        ),
        (
            Operation::Batch,
            Step::First,
            Request::Batch {
                keyspace,
                items: [&b"key:7"[..], b"key:8", b"key:9"]
                    .map(|key| BatchItem::Get { key })
                    .to_vec(),
            },
        ),
        (
            Operation::Scan,
            Step::First,
            Request::Scan {
                keyspace,
                prefix: b"",
                cursor: OTHER_START,
                limit: 3,
                with_values: false,
            },
        ),
    ];
    for (operation, step, meant) in cases {
        let bytes = request(&dialect(), 41, &ask(operation), step);
        let (frame, len) = split(&bytes, 1 << 20).unwrap().unwrap();
        assert_eq!(len, bytes.len());
        assert_eq!(
            Request::decode(frame),
            Ok((42, meant)),
            "{operation:?} {step:?}"
        );
    }
}

#[test]
fn a_time_to_live_goes_with_every_write() {
    let found = Step::Second(Some(Found {
        bytes: b"old",
        token: 77,
    }));
    for (operation, step, condition) in [
        (Operation::Put, Step::First, Condition::Always),
        (Operation::ReadModifyWrite, found, Condition::Always),
        (Operation::CompareAndSet, found, Condition::IfVersion(77)),
    ] {
        let ask = Ask {
            ttl_ms: 60_000,
            ..ask(operation)
        };
        let bytes = request(&dialect(), 0, &ask, step);
        let (frame, _) = split(&bytes, 1 << 20).unwrap().unwrap();
        let meant = put(b"7/3..", Ttl::Millis(60_000), condition);
        assert_eq!(Request::decode(frame), Ok((1, meant)));
    }
}

fn result(status: Status, value: Option<&[u8]>) -> ItemResult<'_> {
    ItemResult {
        status,
        version: 1,
        timestamp_ms: 2,
        value,
    }
}

fn item(key: &[u8], expires_at_ms: Option<u64>) -> ScanItem<'_> {
    ScanItem {
        key,
        value: None,
        version: 1,
        timestamp_ms: 2,
        expires_at_ms,
    }
}

#[test]
fn replies_are_told_apart_and_wait_for_their_last_byte() {
    let batch = |last| {
        let first = [
            result(Status::Ok, Some(b"one")),
            result(Status::NotFound, None),
        ];
        Body::Batch(first.into_iter().chain([last]).collect())
    };
    let page = Body::Scan {
        cursor: OTHER_START,
        items: vec![item(b"a", None), item(b"b", Some(9))],
    };
    let many = |found, missing| Outcome::Many { found, missing };
    let value = Outcome::Value {
        bytes: b"v",
        token: 5,
    };
    let too_long = b"a get of the batch: the values are too long for one answer";
    for (status, body, outcome) in [
        (Status::Ok, Body::Value(b"v"), value),
        (Status::Ok, Body::Empty, Outcome::Done),
        (Status::NotFound, Body::Empty, Outcome::Missing),
        (Status::ConditionFailed, Body::Empty, Outcome::Conflict),
        (Status::Ok, Body::Counter(-3), Outcome::Counter(-3)),
        (Status::Ok, batch(result(Status::Ok, Some(b""))), many(2, 1)),
        (
            Status::Ok,
            batch(result(Status::LimitExceeded, None)),
            Outcome::Refused(too_long),
        ),
        (Status::Ok, page, many(2, 0)),
        (
            Status::ReadOnly,
            Body::Error("full"),
            Outcome::Refused(b"full"),
        ),
    ] {
        let bytes = answer(42, status, body);
        assert_reply(&dialect(), asked(Operation::Get, false), &bytes, outcome);
        let reply = dialect().reply(&bytes, None).unwrap().unwrap();
        assert_eq!(reply.slot, Some(41));
    }
}

// A server that gives up a connection says so under an id that is no request's; taken for a reply to some slot it would count a
// failure as a success of something else.
#[test]
fn an_answer_about_the_connection_ends_it() {
    let bytes = answer(0, Status::ShuttingDown, Body::Error("stopping"));
    let error = dialect().reply(&bytes, None).unwrap_err();
    assert!(error.to_string().contains("stopping"), "{error}");
}

#[test]
fn what_is_no_answer_is_malformed() {
    let dialect = dialect();
    let get = asked(Operation::Get, false);
    assert_malformed(&dialect, get, b"-ERR unknown command");
    assert_malformed(&dialect, get, &[0; 12]);
    assert_malformed(&dialect, get, &answer(1, Status::Ok, Body::Number(3)));
    // A list that says that it has more than it has, or less.
    let list = answer(
        1,
        Status::Ok,
        Body::Batch(vec![result(Status::NotFound, None)]),
    );
    for count in [0, 2, u32::MAX] {
        let mut other = list.clone();
        other[28..32].copy_from_slice(&count.to_le_bytes());
        assert_malformed(&dialect, get, &other);
    }
}

#[test]
fn a_batch_hands_out_its_values_with_their_keys() {
    let body = Body::Batch(vec![
        result(Status::Ok, Some(b"one")),
        result(Status::NotFound, None),
        result(Status::Ok, Some(b"three")),
    ]);
    let bytes = answer(1, Status::Ok, body);
    let mut seen = Vec::new();
    dialect().values(&ask(Operation::Batch), &bytes, &mut |key, value| {
        seen.push((key, value));
    });
    assert_eq!(seen, [(7, &b"one"[..]), (9, b"three")]);
}

fn any_list() -> impl Strategy<Value = Vec<u8>> {
    let status = prop_oneof![Just(0_u8), Just(1), Just(65), Just(71)];
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let results = prop::collection::vec((status, bytes()), 1..6);
    let keys = prop::collection::vec(
        (prop::collection::vec(any::<u8>(), 1..9), any::<u8>()),
        0..6,
    );
    prop_oneof![
        results.prop_map(|results| {
            let items = results.iter().map(|(status, value)| {
                let status = Status::from_u8(*status).unwrap();
                result(status, (status == Status::Ok).then_some(&value[..]))
            });
            answer(3, Status::Ok, Body::Batch(items.collect()))
        }),
        (keys, any::<[u8; 16]>()).prop_map(|(keys, cursor)| {
            let items = keys.iter().map(|(key, flags)| ScanItem {
                value: (flags & 1 == 1).then_some(&key[..]),
                ..item(key, (flags & 2 == 2).then_some(99))
            });
            let body = Body::Scan {
                cursor: Cursor(cursor),
                items: items.collect(),
            };
            answer(3, Status::Ok, body)
        }),
    ]
}

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let frame = prop_oneof![
        any_list(),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|value| answer(
            1,
            Status::Ok,
            Body::Value(&value)
        )),
        Just(answer(1, Status::Ok, Body::Empty)),
        Just(answer(8, Status::Overloaded, Body::Error("too much"))),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let frames = prop::collection::vec(frame, 1..6).prop_map(|frames| frames.concat());
    // And a byte of it is another.
    (frames, any::<prop::sample::Index>(), any::<Option<u8>>()).prop_map(
        |(mut stream, at, byte)| {
            if let (Some(byte), false) = (byte, stream.is_empty()) {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            stream
        },
    )
}

proptest! {
    // The walk over a list reads what the codec reads.
    #[test]
    fn lists_are_counted_as_the_codec_reads_them(bytes in any_list()) {
        let (frame, _) = split(&bytes, 1 << 20).unwrap().unwrap();
        let (_, response) = Response::decode(frame).unwrap();
        let outcome = dialect().reply(&bytes, None).unwrap().unwrap().outcome;
        match response.body {
            Body::Batch(items) if items.iter().any(|item| item.status.is_error()) => {
                prop_assert!(matches!(outcome, Outcome::Refused(_)));
            }
            Body::Batch(items) => {
                let found = items.iter().filter(|item| item.value.is_some()).count() as u32;
                let missing = items.len() as u32 - found;
                prop_assert_eq!(outcome, Outcome::Many { found, missing });
            }
            Body::Scan { items, .. } => {
                let found = items.len() as u32;
                prop_assert_eq!(outcome, Outcome::Many { found, missing: 0 });
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn where_a_stream_is_cut_does_not_matter(
        stream in any_stream(),
        pieces in prop::collection::vec(0..50_usize, 0..8),
    ) {
        let asked = asked(Operation::Batch, false);
        assert_cuts_do_not_matter(&dialect(), asked, &stream, &pieces);
    }
}
