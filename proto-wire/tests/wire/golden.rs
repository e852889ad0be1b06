//! The bytes themselves. `fixtures/wire-v1.txt` holds a frame of every kind as it was when version 1 was fixed; a round
//! trip would not notice if both directions changed together, and a client built before the change would.
//!
//! A frame in the fixture is never edited. What a later version adds gets frames of its own.

use std::collections::BTreeMap;

use corduroy_proto_wire::{
    BatchItem, Body, Condition, Cursor, Delete, Expiry, ExpiryCondition, Hello, HelloReply,
    ItemResult, KeyspaceInfo, LENGTH_LEN, PREAMBLE, Precondition, Put, Request, Response, ScanItem,
    Status, Ttl,
};

const FIXTURE: &str = include_str!("../fixtures/wire-v1.txt");

const REQUEST_ID: u32 = 0x0403_0201;
const KEYSPACE: u32 = 0x0D0C_0B0A;
const CURSOR: Cursor = Cursor(*b"0123456789abcdef");
const PUT: Put<'static> = Put {
    key: b"key",
    value: b"value",
    ttl: Ttl::None,
    condition: Condition::Always,
    return_value: false,
};
const DELETE: Delete<'static> = Delete {
    key: b"key",
    condition: Condition::Always,
    return_value: false,
};
const HELLO: Hello<'static> = Hello {
    version_min: 1,
    version_max: 2,
    shard: None,
    keyspace: "default",
    client_name: "client/1",
};

/// A get of `key` with an id of its own, without its length field.
const UNIT_GET: &[u8] = b"\x05\x06\x07\x08\x10\x00\x03\x00\x0a\x0b\x0c\x0dkey";

fn requests() -> Vec<(&'static str, Request<'static>)> {
    let (keyspace, key) = (KEYSPACE, b"key".as_slice());
    let put = |put| Request::Put { keyspace, put };
    let delete = |delete| Request::Delete { keyspace, delete };
    let expire = |expiry, condition, return_value| Request::Expire {
        keyspace,
        key,
        expiry,
        condition,
        return_value,
    };
    let if_version = Condition::IfVersion(0x1122_3344_5566_7788);
    let if_value = Condition::IfValue(b"old");
    vec![
        ("hello", Request::Hello(HELLO)),
        (
            "hello, shard 3",
            Request::Hello(Hello {
                shard: Some(3),
                ..HELLO
            }),
        ),
        (
            "ping",
            Request::Ping {
                payload: b"payload",
            },
        ),
        ("status", Request::Status),
        ("compact", Request::Compact),
        ("backup", Request::Backup { series: "nightly" }),
        ("backup, no series", Request::Backup { series: "" }),
        ("get", Request::Get { keyspace, key }),
        ("exists", Request::Exists { keyspace, key }),
        ("ttl", Request::Ttl { keyspace, key }),
        ("put", put(PUT)),
        (
            "put, keep expiry, if absent",
            put(Put {
                ttl: Ttl::Keep,
                condition: Condition::IfAbsent,
                ..PUT
            }),
        ),
        (
            "put, 1000 ms, if version",
            put(Put {
                ttl: Ttl::Millis(1000),
                condition: if_version,
                ..PUT
            }),
        ),
        (
            "put, if value, return value",
            put(Put {
                condition: if_value,
                return_value: true,
                ..PUT
            }),
        ),
        (
            "put, at a time",
            put(Put {
                ttl: Ttl::At(0x0000_0199_0A0B_0C0D),
                ..PUT
            }),
        ),
        ("delete", delete(DELETE)),
        ("delete, if present, return value", {
            delete(Delete {
                condition: Condition::IfPresent,
                return_value: true,
                ..DELETE
            })
        }),
        (
            "delete, if version",
            delete(Delete {
                condition: if_version,
                ..DELETE
            }),
        ),
        (
            "touch",
            Request::Touch {
                keyspace,
                key,
                ttl_ms: 1000,
            },
        ),
        ("persist", Request::Persist { keyspace, key }),
        (
            "add",
            Request::Add {
                keyspace,
                key,
                delta: -2,
            },
        ),
        (
            "append",
            Request::Append {
                keyspace,
                key,
                suffix: b"suffix",
            },
        ),
        (
            "overwrite",
            Request::Overwrite {
                keyspace,
                key,
                offset: 5,
                bytes: b"bytes",
            },
        ),
        (
            "add float",
            Request::AddFloat {
                keyspace,
                key,
                increment: b"-0.5",
            },
        ),
        ("expire, never, if some", {
            expire(Expiry::Never, ExpiryCondition::IfSome, false)
        }),
        ("expire, 1000 ms, if later, return value", {
            expire(Expiry::Millis(1000), ExpiryCondition::IfLater, true)
        }),
        ("expire, at a time", {
            let expiry = Expiry::At(0x0000_0199_0A0B_0C0D);
            expire(expiry, ExpiryCondition::Always, false)
        }),
        ("expires at", Request::ExpiresAt { keyspace, key }),
        ("batch", {
            let put = Put {
                ttl: Ttl::Millis(1000),
                condition: if_value,
                ..PUT
            };
            let items = vec![
                BatchItem::Get { key },
                BatchItem::Put(put),
                BatchItem::Delete(DELETE),
            ];
            Request::Batch { keyspace, items }
        }),
        (
            "atomic batch",
            Request::AtomicBatch {
                keyspace,
                items: vec![BatchItem::Put(PUT)],
            },
        ),
        (
            "scan",
            Request::Scan {
                keyspace,
                prefix: b"pre",
                cursor: CURSOR,
                limit: 1000,
                with_values: true,
            },
        ),
        ("count", Request::Count { keyspace }),
        ("flush", Request::Flush { keyspace }),
        (
            "keyspace create",
            Request::KeyspaceCreate {
                name: "orders",
                partitions: 256,
            },
        ),
        ("keyspace drop", Request::KeyspaceDrop { name: "orders" }),
        ("keyspace list", Request::KeyspaceList),
        ("keyspace open", Request::KeyspaceOpen { name: "orders" }),
        (
            "move, if absent, source stays",
            Request::Move {
                source: (keyspace, key),
                destination: (1, b"other"),
                if_absent: true,
                keep_source: true,
            },
        ),
        (
            "unit",
            Request::Unit {
                preconditions: vec![
                    Precondition {
                        keyspace,
                        key,
                        version: Some(0x1122_3344_5566_7788),
                    },
                    Precondition {
                        keyspace: 1,
                        key: b"other",
                        version: None,
                    },
                ],
                frames: vec![UNIT_GET],
            },
        ),
    ]
}

fn responses() -> Vec<(&'static str, Response<'static>)> {
    let (version, timestamp_ms) = (0x1122_3344_5566_7788, 0x0000_0199_0A0B_0C0D);
    let answer = |status, body| Response {
        status,
        version,
        timestamp_ms,
        body,
    };
    let ok = |body| answer(Status::Ok, body);
    let keyspace = KeyspaceInfo {
        id: KEYSPACE,
        partitions: 64,
        name: "default".to_owned(),
    };
    let hello = HelloReply {
        version: 1,
        shard_count: 4,
        shard: 3,
        frame_len_max: 0x0110_0000,
        value_len_max: 0x0100_0000,
        in_flight_max: 0x0400,
        batch_len_max: 0x1000,
        keyspace: Some(keyspace.clone()),
        server_name: "corduroy/1".to_owned(),
    };
    let without_keyspace = HelloReply {
        keyspace: None,
        ..hello.clone()
    };
    let result = ItemResult {
        status: Status::Ok,
        version,
        timestamp_ms,
        value: Some(b"value"),
    };
    let missing = ItemResult {
        status: Status::NotFound,
        version: 0,
        timestamp_ms: 0,
        value: None,
    };
    let item = ScanItem {
        key: b"key",
        value: Some(b"value"),
        version,
        timestamp_ms,
        expires_at_ms: Some(1000),
    };
    let bare = ScanItem {
        value: None,
        expires_at_ms: None,
        ..item
    };
    vec![
        ("empty", ok(Body::Empty)),
        ("empty, not found", answer(Status::NotFound, Body::Empty)),
        ("value", ok(Body::Value(b"value"))),
        (
            "value, condition failed",
            answer(Status::ConditionFailed, Body::Value(b"value")),
        ),
        ("counter", ok(Body::Counter(-2))),
        ("number", ok(Body::Number(1000))),
        ("ttl, none", ok(Body::Ttl(None))),
        ("ttl, 1000 ms", ok(Body::Ttl(Some(1000)))),
        ("batch", ok(Body::Batch(vec![result, missing]))),
        (
            "scan",
            ok(Body::Scan {
                cursor: CURSOR,
                items: vec![item, bare],
            }),
        ),
        ("keyspaces", ok(Body::Keyspaces(vec![keyspace]))),
        ("status", ok(Body::Status("{}"))),
        ("hello", ok(Body::Hello(hello))),
        ("hello, no such keyspace", ok(Body::Hello(without_keyspace))),
        (
            "error",
            answer(Status::LimitExceeded, Body::Error("too long")),
        ),
    ]
}

/// The fixture's frames by name. A line that begins with a blank goes on with the bytes of the line before; `;` begins
/// a remark.
fn fixture(prefix: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let mut frames: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut name = "";
    for line in FIXTURE
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        if !line.starts_with(' ') {
            name = line;
            assert!(
                frames.insert(name, Vec::new()).is_none(),
                "{name} is there twice"
            );
            continue;
        }
        let bytes = line.split(';').next().unwrap().split_whitespace();
        frames
            .get_mut(name)
            .unwrap()
            .extend(bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    frames
        .into_iter()
        .filter_map(|(name, frame)| Some((name.strip_prefix(prefix)?, frame)))
        .collect()
}

#[track_caller]
fn assert_bytes(name: &str, encoded: &[u8], fixture: Option<&Vec<u8>>) {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x} "))
            .collect::<String>()
    };
    let fixture = fixture.unwrap_or_else(|| panic!("no fixture for {name}: {}", hex(encoded)));
    assert_eq!(hex(encoded), hex(fixture), "{name}");
}

/// An opcode renumbered, two fields swapped, a length widened: all tests of the codec against itself pass, and every
/// client in the field breaks.
#[test]
fn requests_have_the_bytes_of_version_1() {
    let fixture = fixture("request: ");
    for (name, request) in requests() {
        let mut bytes = Vec::new();
        request.encode(REQUEST_ID, &mut bytes);
        assert_bytes(name, &bytes, fixture.get(name));
        assert_eq!(
            Request::decode(&fixture[name][LENGTH_LEN..]),
            Ok((REQUEST_ID, request))
        );
    }
    assert_eq!(
        fixture.len(),
        requests().len(),
        "every frame in the fixture is compared"
    );
}

/// The same for answers.
#[test]
fn answers_have_the_bytes_of_version_1() {
    let fixture = fixture("answer: ");
    for (name, response) in responses() {
        let mut bytes = Vec::new();
        response.encode(REQUEST_ID, &mut bytes);
        assert_bytes(name, &bytes, fixture.get(name));
        assert_eq!(
            Response::decode(&fixture[name][LENGTH_LEN..]),
            Ok((REQUEST_ID, response))
        );
    }
    assert_eq!(
        fixture.len(),
        responses().len(),
        "every frame in the fixture is compared"
    );
}

/// A server tells the native protocol from RESP by the first byte, which in RESP is printable or a line break.
#[test]
fn the_preamble_is_what_it_was_and_no_resp() {
    assert_eq!(PREAMBLE, [0xC0, 0x52, 0x44, 0x59]);
    assert!(!PREAMBLE[0].is_ascii());
}
