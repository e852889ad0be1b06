//! The native protocol against Corduroy. The server is another package's program: Cargo does not hand it to these tests, so it is
//! built where the workspace's build has not left one.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
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
    story::{self, greeted},
    support::{Ended, Plain, Process, ask, messages, newest},
};

/// What the program is built from.
const SOURCES: [&str; 3] = ["src", "proto-wire/src", "Cargo.lock"];

fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let beside = Path::new(env!("CARGO_BIN_EXE_corduroy-bench")).with_file_name("corduroy");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let sources = SOURCES.iter().map(|source| newest(&root.join(source)));
        let sources = sources.max().expect("there are sources");
        match newest(&beside) {
            Some(built) if Some(built) >= sources => beside,
            _ => build(&root),
        }
    })
}

fn build(root: &Path) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--package", "corduroy", "--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "corduroy can't be built");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .expect("cargo names the program that it has built")
}

/// A node on as many cores as there are, two at most.
fn start() -> Process {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CORDUROY_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .current_dir(data.path())
        .arg("serve")
        .arg("--data")
        .arg(data.path().join("data"))
        .args(["--listen", "127.0.0.1:0", "--cores", &cores.to_string()])
        .args([
            "--memory",
            "256MiB",
            "--segment-len",
            "8MiB",
            "--value-len-max",
            "1MiB",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(messages(data.path()))
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().parse();
    let address = address.unwrap_or_else(|_| panic!("no address in {line:?}"));
    // Read on though nobody listens: the node must never meet a full pipe.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    Process::of(child, address, data)
}

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
