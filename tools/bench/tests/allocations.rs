//! Encoding a request and reading a reply allocate nothing: an allocator that stalls now and then would put its stalls into every
//! latency, and the server would be blamed. Only a process of its own can count, so this is a test of its own.

use std::net::TcpListener;
use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
};

use corduroy_bench::{
    protocol::{
        Asked, Dialect, Found, KeyBytes, Language, Step, ValueBytes,
        memcached::MemcachedLanguage,
        native::{NativeLanguage, NativeOptions},
        resp::{RespLanguage, RespOptions},
    },
    workload::{Ask, Heat, Operation},
};
use corduroy_proto_wire::{Body, HelloReply, ItemResult, KeyspaceInfo, Response, ScanItem, Status};

/// Keys of sixteen digits, values of zeros.
struct Fixed;

impl KeyBytes for Fixed {
    fn key_len(&self, _: Operation, _: u64) -> usize {
        16
    }

    fn append(&self, _: Operation, number: u64, out: &mut Vec<u8>) {
        write!(out, "{number:016}").expect("a vector takes all");
    }
}

impl ValueBytes for Fixed {
    fn append(&self, _: u64, _: u64, len: u32, out: &mut Vec<u8>) {
        out.resize(out.len() + len as usize, 0);
    }
}

/// A connection to a server that says these words one by one, each after it was asked something.
fn says(words: Vec<Vec<u8>>) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        for word in words {
            while stream.read(&mut [0; 4096])? == 4096 {}
            stream.write_all(&word)?;
        }
        Ok::<_, std::io::Error>(())
    });
    TcpStream::connect(address).expect("it listens")
}

/// Encodes every operation that the language has, and reads the replies: once to let the buffer grow, and once counted.
fn assert_allocates_nothing<D: Dialect>(
    dialect: &D,
    without: Option<Operation>,
    replies: &[(Operation, bool, Vec<u8>)],
) {
    let mut out = Vec::new();
    let mut all = || {
        out.clear();
        for operation in Operation::ALL {
            if Some(operation) == without {
                continue;
            }
            let ask = ask(operation);
            let found = Found {
                bytes: b"old",
                token: 5,
            };
            for step in [Step::First, Step::Second(Some(found)), Step::Second(None)] {
                dialect.request(1, &ask, step, &mut out);
            }
        }
        for (operation, second, bytes) in replies {
            let step = if *second {
                Step::Second(None)
            } else {
                Step::First
            };
            let asked = Asked::of(&ask(*operation), step);
            let reply = dialect.reply(bytes, Some(asked));
            let whole = matches!(&reply, Ok(Some(reply)) if reply.len == bytes.len());
            assert!(whole, "{operation:?}: {reply:?}");
        }
    };
    all();
    let counted = allocation_counter::measure(all);
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

fn ask(operation: Operation) -> Ask {
    Ask {
        operation,
        key: 7,
        heat: Heat::Cold,
        value_len: 100,
        stamp: 3,
        ttl_ms: 1000,
        count: 2,
    }
}

#[test]
fn resp_allocates_nothing() {
    use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, Scan};
    let mut stream = says(vec![b"+PONG\r\n".to_vec(), b"$-1\r\n".to_vec()]);
    let language = RespLanguage::meet(&mut stream, &RespOptions::default()).expect("it is met");
    let replies = [
        (Get, false, "$3\r\nabc\r\n"),
        (Get, false, "$-1\r\n"),
        (Put, false, "+OK\r\n"),
        (Put, false, "-ERR no\r\n"),
        (Delete, false, ":1\r\n"),
        (CompareAndSet, true, "$-1\r\n"),
        (CompareAndSet, true, "-ERR syntax error\r\n"),
        (Add, false, ":12\r\n"),
        (Batch, false, "*2\r\n$1\r\na\r\n$-1\r\n"),
        (Scan, false, "*2\r\n$1\r\n7\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
    ]
    .map(|(operation, second, reply)| (operation, second, reply.as_bytes().to_vec()));
    assert_allocates_nothing(&language.dialect(Fixed, Fixed), None, &replies);
}

#[test]
fn memcached_allocates_nothing() {
    use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, Scan};
    let mut stream = says(vec![b"VERSION 1.6.18\r\n".to_vec(), b"END\r\n".to_vec()]);
    let language = MemcachedLanguage::meet(&mut stream).expect("it is met");
    let replies = [
        (Get, false, "VALUE k 0 3\r\nabc\r\nEND\r\n"),
        (Get, false, "END\r\n"),
        (Put, false, "STORED\r\n"),
        (Put, false, "SERVER_ERROR out of memory\r\n"),
        (Delete, false, "DELETED\r\n"),
        (CompareAndSet, false, "VALUE k 0 3 77\r\nabc\r\nEND\r\n"),
        (CompareAndSet, true, "EXISTS\r\n"),
        (Add, false, "12\r\n"),
        (Batch, false, "VALUE k 0 1\r\na\r\nEND\r\n"),
    ]
    .map(|(operation, second, reply)| (operation, second, reply.as_bytes().to_vec()));
    assert_allocates_nothing(&language.dialect(Fixed, Fixed), Some(Scan), &replies);
}

#[test]
fn the_native_protocol_allocates_nothing() {
    use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, Scan};
    let hello = Body::Hello(HelloReply {
        version: 1,
        shard_count: 1,
        shard: 0,
        frame_len_max: 1 << 21,
        value_len_max: 1 << 20,
        in_flight_max: 1024,
        batch_len_max: 4096,
        keyspace: Some(KeyspaceInfo {
            id: 1,
            partitions: 64,
            name: "default".to_owned(),
        }),
        server_name: "corduroy/0".to_owned(),
    });
    let mut stream = says(vec![answer(Status::Ok, hello)]);
    let language = NativeLanguage::meet(&mut stream, &NativeOptions::default()).expect("it is met");
    let result = |status, value| ItemResult {
        status,
        version: 1,
        timestamp_ms: 1,
        value,
    };
    let key = ScanItem {
        key: b"key",
        value: None,
        version: 1,
        timestamp_ms: 1,
        expires_at_ms: Some(1),
    };
    let batch = Body::Batch(vec![
        result(Status::Ok, Some(b"value")),
        result(Status::NotFound, None),
    ]);
    let page = Body::Scan {
        cursor: corduroy_proto_wire::Cursor::START,
        items: vec![key, key],
    };
    let replies = [
        (Get, Status::Ok, Body::Value(b"value")),
        (Get, Status::NotFound, Body::Empty),
        (Put, Status::Ok, Body::Empty),
        (Put, Status::Overloaded, Body::Error("too much")),
        (Delete, Status::NotFound, Body::Empty),
        (CompareAndSet, Status::ConditionFailed, Body::Empty),
        (Add, Status::Ok, Body::Counter(7)),
        (Batch, Status::Ok, batch),
        (Scan, Status::Ok, page),
    ]
    .map(|(operation, status, body)| (operation, false, answer(status, body)));
    assert_allocates_nothing(&language.dialect(Fixed, Fixed), None, &replies);
}

fn answer(status: Status, body: Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Response {
        status,
        version: 1,
        timestamp_ms: 1,
        body,
    }
    .encode(1, &mut bytes);
    bytes
}
