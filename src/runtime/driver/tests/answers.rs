//! What is answered, in which order, and how it is counted.

use std::collections::BTreeMap;

use corduroy_proto_wire::{
    BatchItem, Cursor, Hello, Request, Response, Status, VERSION_MAX, VERSION_MIN, split,
};

use super::{KEYSPACE, World, encoded, put, put_frame};
use crate::types::KeyspaceId;

/// A frame that can't be followed ends the connection, with an error that says so. Said at once, it came before the answer to a write that was still on its way
/// to the disk; and a client that goes away at that word never heard that its write was done.
#[test]
fn the_last_word_on_a_connection_comes_after_every_answer() {
    let mut world = World::new();
    let client = world.connect();
    world.driver.ports().heard.clear();
    let mut bytes = put_frame(b"key", 100);
    bytes.extend_from_slice(&3_u32.to_le_bytes());
    world.driver.received(client, &bytes);
    world.settle();
    let heard = std::mem::take(&mut world.driver.ports().heard);
    let (answer, len) = split(&heard, 1 << 20).unwrap().unwrap();
    let (farewell, rest) = split(&heard[len..], 1 << 20).unwrap().unwrap();
    let heard_of = |frame| {
        let (id, response) = Response::decode(frame).unwrap();
        (id, response.status)
    };
    assert_eq!(heard_of(answer), (7, Status::Ok));
    assert_eq!(heard_of(farewell), (0, Status::InvalidRequest));
    assert_eq!(heard.len(), len + rest);
    assert_eq!(world.driver.ports().closed, [client]);
}

/// `status` once left out what the driver answers by itself, and half of the errors: a node on which every client was refused for the wrong
/// keyspace looked idle and healthy.
#[test]
fn every_request_is_counted_by_its_kind_and_every_refusal_as_an_error() {
    let mut world = World::new();
    let client = world.connect();
    let ask = |world: &mut World, request: &Request<'_>| {
        world.driver.received(client, &encoded(request));
        world.settle();
    };
    let put_one = BatchItem::Put(put(b"k", b"v"));
    let batch = |items| Request::Batch {
        keyspace: KEYSPACE,
        items,
    };
    let scan = |keyspace, limit| Request::Scan {
        keyspace,
        prefix: b"",
        cursor: Cursor::START,
        limit,
        with_values: false,
    };
    let answered: [(&str, Request<'_>); 12] = [
        ("ping", Request::Ping { payload: b"" }),
        (
            "keyspace_create",
            Request::KeyspaceCreate {
                name: "more",
                partitions: 1,
            },
        ),
        ("keyspace_open", Request::KeyspaceOpen { name: "more" }),
        ("keyspace_open", Request::KeyspaceOpen { name: "none" }),
        ("keyspace_list", Request::KeyspaceList),
        ("keyspace_drop", Request::KeyspaceDrop { name: "more" }),
        ("keyspace_drop", Request::KeyspaceDrop { name: "none" }),
        ("batch", batch(vec![put_one, BatchItem::Get { key: b"k" }])),
        (
            "atomic",
            Request::AtomicBatch {
                keyspace: KEYSPACE,
                items: vec![put_one],
            },
        ),
        ("scan", scan(KEYSPACE, 10)),
        ("count", Request::Count { keyspace: KEYSPACE }),
        ("flush", Request::Flush { keyspace: KEYSPACE }),
    ];
    let counts = |world: &World| -> BTreeMap<&str, u64> {
        let status = world.driver.shard().status();
        let kinds = status.requests.into_iter();
        kinds.map(|kind| (kind.kind, kind.requests)).collect()
    };
    assert_eq!(counts(&world)["hello"], 1);
    for (kind, request) in &answered {
        let mut expected = counts(&world);
        *expected.get_mut(kind).unwrap() += 1;
        // Records of keyspaces are keys of shard 0, and the operations of a batch count as what they are too.
        match (*kind, request) {
            ("keyspace_create", _) => *expected.get_mut("put").unwrap() += 1,
            ("keyspace_drop", Request::KeyspaceDrop { name: "more" }) => {
                *expected.get_mut("delete").unwrap() += 1;
            }
            ("batch", _) => {
                *expected.get_mut("put").unwrap() += 1;
                *expected.get_mut("get").unwrap() += 1;
            }
            _ => {}
        }
        ask(&mut world, request);
        assert_eq!(counts(&world), expected, "after {request:?}");
    }
    ask(&mut world, &Request::Status);
    assert_eq!(counts(&world)["status"], 1);
    assert_eq!(world.driver.shard().status().errors, 0);

    let hello = Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        shard: None,
        keyspace: "default",
        client_name: "twice",
    };
    let refused = [
        Request::Hello(hello),
        batch(Vec::new()),
        Request::Count { keyspace: 99 },
        scan(99, 10),
        scan(KEYSPACE, 0),
        Request::Get {
            keyspace: 99,
            key: b"k",
        },
        Request::Get {
            keyspace: KeyspaceId::SYSTEM.0,
            key: b"k",
        },
        Request::KeyspaceCreate {
            name: "default",
            partitions: 1,
        },
        Request::KeyspaceDrop { name: "default" },
    ];
    let before = counts(&world);
    for (number, request) in (1..).zip(&refused) {
        ask(&mut world, request);
        assert_eq!(
            world.driver.shard().status().errors,
            number,
            "after {request:?}"
        );
    }
    assert_eq!(
        counts(&world),
        before,
        "what is refused is not counted as answered"
    );
    // A length that no frame has: the last word on the connection.
    world.driver.received(client, &[0xff; 4]);
    world.settle();
    assert_eq!(
        world.driver.shard().status().errors,
        refused.len() as u64 + 1
    );
}
