//! The native protocol against Corduroy. The server is another package's program: Cargo does not hand it to these tests, so it is
//! built where the workspace's build has not left one.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use corduroy_bench::{
    protocol::{
        KeyBytes, Language, MeetError,
        native::{NativeLanguage, NativeOptions, Route},
    },
    workload::Operation,
};
use corduroy_proto_wire::{
    Body, Hello, LENGTH_LEN, PREAMBLE, Request, Response, VERSION_MAX, VERSION_MIN,
};

use crate::{
    process::{Process, corduroy as start},
    story::{self, greeted},
    support::{Ended, Plain, ask},
};

#[test]
fn the_story_is_true_of_corduroy() {
    let server = start();
    for route in [Route::Any, Route::Direct] {
        let options = NativeOptions {
            route,
            ..NativeOptions::default()
        };
        let mut met = server.connect();
        let mut language = NativeLanguage::meet(&mut met, &options).unwrap();
        story::tell(&mut language, &server, &mut met);

        let told = language.describe(&mut met).unwrap();
        assert_eq!(told.protocol, "native");
        assert_eq!(told.address, server.address.to_string());
        assert!(told.version.starts_with("corduroy"), "{told:?}");
        let cores = language.layout().unwrap().cores();
        assert_eq!(told.shards, Some(u32::from(cores)));
    }
}

// Two runs at once must not write into each other's keys; and a name with a slip in it must not make a keyspace.
#[test]
fn a_keyspace_is_made_only_if_that_is_asked_for() {
    let server = start();
    let mut options = NativeOptions {
        keyspace: "bench".to_owned(),
        ..NativeOptions::default()
    };
    let error = NativeLanguage::meet(&mut server.connect(), &options).unwrap_err();
    assert!(matches!(error, MeetError::NoKeyspace(_)), "{error}");
    options.create_keyspace = true;
    let bench = NativeLanguage::meet(&mut server.connect(), &options).unwrap();
    // It is there already the second time.
    NativeLanguage::meet(&mut server.connect(), &options).unwrap();
    let default = NativeLanguage::meet(&mut server.connect(), &NativeOptions::default()).unwrap();
    let put = ask(Operation::Put, 1, 1);
    assert_eq!(greeted(&bench, &server).run(put), Ended::Done);
    let get = ask(Operation::Get, 1, 0);
    assert_eq!(greeted(&default, &server).run(get), Ended::Missing);
    options.keyspace = "x".repeat(300);
    let error = NativeLanguage::meet(&mut server.connect(), &options).unwrap_err();
    assert!(error.to_string().contains("255"), "{error}");
}

// Latencies are told apart by the core that owns the key. That the server counts a key on that very core shows that both compute
// the same.
#[test]
fn the_core_of_a_key_is_the_servers() {
    let server = start();
    let options = NativeOptions {
        route: Route::Direct,
        ..NativeOptions::default()
    };
    let mut met = server.connect();
    let language = NativeLanguage::meet(&mut met, &options).unwrap();
    let layout = language.layout().unwrap();
    let mut wire = greeted(&language, &server);
    let mut keys = vec![0_u64; usize::from(layout.cores())];
    for number in 0..500 {
        assert_eq!(wire.run(ask(Operation::Put, number, 1)), Ended::Done);
        let mut key = Vec::new();
        KeyBytes::append(&Plain, Operation::Get, number, &mut key);
        keys[usize::from(layout.core_of(&key))] += 1;
    }
    assert_eq!(keys_by_shard(&server), keys);

    // Connections are dealt out to the cores in turn.
    for connection in 0..4 {
        let core = language.greet(&mut server.connect(), connection).unwrap();
        assert_eq!(
            core,
            Some((connection % usize::from(layout.cores())) as u16)
        );
    }
}

/// Keys of each shard, as the server counts them.
fn keys_by_shard(server: &Process) -> Vec<u64> {
    let hello = Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        shard: None,
        keyspace: "",
        client_name: "",
    };
    let mut stream = server.connect();
    stream.write_all(&PREAMBLE).unwrap();
    ask_frame(&mut stream, &Request::Hello(hello));
    let frame = ask_frame(&mut stream, &Request::Status);
    let (_, response) = Response::decode(&frame).unwrap();
    let Body::Status(json) = response.body else {
        panic!("{response:?}")
    };
    let status: serde_json::Value = serde_json::from_str(json).unwrap();
    let shards = status["shards"].as_array().unwrap();
    let keys = |shard: &serde_json::Value| shard["keys"].as_u64().unwrap();
    shards.iter().map(keys).collect()
}

/// Sends one request and reads one frame, without its length field.
fn ask_frame(stream: &mut TcpStream, request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(1, &mut bytes);
    stream.write_all(&bytes).unwrap();
    let mut length = [0; LENGTH_LEN];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut frame).unwrap();
    frame
}
