//! Starting, refusing to start, and stopping.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use corduroy_proto_wire::{Request, Status};
use rustix::process::Signal;

use crate::support::{DEFAULT, Server, cores, put, refused, skip};

/// The first thing that anyone tries: what was put is there after a stop and a start, and a key's versions go on from where
/// they were.
#[test]
fn what_was_put_is_there_after_a_clean_stop() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    let mut wire = server.connect();
    let mut versions = Vec::new();
    for number in 0..100 {
        let key = format!("key {number}");
        versions.push(wire.put(key.as_bytes(), key.as_bytes()).version);
    }
    server.stop();

    let server = Server::start(data.path(), &[]);
    let mut wire = server.connect();
    for (number, version) in versions.iter().enumerate() {
        let key = format!("key {number}");
        let answer = wire.get(key.as_bytes());
        assert_eq!((answer.status, answer.version), (Status::Ok, *version));
        assert_eq!(answer.body, key.as_bytes());
    }
    assert!(wire.put(b"key 0", b"again").version > versions[0]);
    drop(wire);
    let log = server.stop();
    assert!(
        log.contains("clean=true"),
        "the stop sealed the logs: {log}"
    );
    assert!(
        !log.contains("clean=false"),
        "the stop sealed the logs: {log}"
    );
}

/// Two servers on one directory would write over each other's log.
#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let first = Server::start(data.path(), &[]);
    let (code, said) = refused(data.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("another server (process "), "{said}");
    assert!(said.contains("--data"), "{said}");
    first.connect().put(b"key", b"the first one is unharmed");
    // The lock is the kernel's: it goes with the process, however that ended.
    first.kill();
    Server::start(data.path(), &[])
        .connect()
        .put(b"key", b"value");
}

/// With SO_REUSEPORT two servers share a port without an error, and each gets half of the clients.
#[test]
fn a_port_that_is_taken_is_an_error() {
    let data = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = refused(data.path(), &["--listen", &address]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&address) && said.contains("--listen"),
        "{said}"
    );
}

/// Each key lies in the log of the shard that its slot says: with another number of shards half of the keys would be missing.
#[test]
fn another_number_of_cores_is_refused_with_the_one_that_fits() {
    if cores() < 2 {
        return skip("it takes two cores");
    }
    let data = tempfile::tempdir().unwrap();
    Server::start(data.path(), &["--cores", "2"]).stop();
    let (code, said) = refused(data.path(), &["--cores", "1"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--cores 2"), "{said}");
}

/// A directory whose manifest was lost or changed must not be taken for an empty one, nor be read with another secret.
#[test]
fn a_lost_or_changed_manifest_is_refused() {
    let data = tempfile::tempdir().unwrap();
    Server::start(data.path(), &[]).stop();
    let path = data.path().join("data/MANIFEST");
    let good = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let (code, said) = refused(data.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no MANIFEST"), "{said}");
    let at = good.find("hash_secret").unwrap() + "hash_secret\": \"".len();
    let digit = if good.as_bytes()[at] == b'0' {
        "1"
    } else {
        "0"
    };
    fs::write(&path, format!("{}{digit}{}", &good[..at], &good[at + 1..])).unwrap();
    let (_, said) = refused(data.path(), &[]);
    assert!(said.contains("checksum"), "{said}");
    fs::write(&path, good).unwrap();
    Server::start(data.path(), &[]).stop();
}

/// A byte that the disk changed in the middle of the log is acknowledged data that is gone: starting without a word would hide it.
#[test]
fn damage_stops_the_start_until_salvage_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let arguments = ["--cores", "1"];
    let server = Server::start(data.path(), &arguments);
    let mut wire = server.connect();
    for number in 0..10 {
        wire.put(format!("key {number}").as_bytes(), &[b'v'; 100]);
    }
    drop(wire);
    server.stop();
    let segment = data.path().join("data/shard-000/0000000000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes
        .windows(5)
        .position(|bytes| bytes == b"key 3")
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();

    let (code, said) = refused(data.path(), &arguments);
    assert_eq!(code, Some(1));
    for part in ["0000000000000001.seg", "offset ", "--salvage"] {
        assert!(said.contains(part), "{said}");
    }
    let server = Server::start(data.path(), &["--cores", "1", "--salvage"]);
    let mut wire = server.connect();
    let statuses: Vec<Status> = (0..10)
        .map(|number| wire.get(format!("key {number}").as_bytes()).status)
        .collect();
    let mut expected = [Status::Ok; 10];
    expected[3] = Status::NotFound;
    assert_eq!(statuses, expected);
    drop(wire);
    assert!(server.stop().contains("given up for good"));
    // What was given up is known to be: the next start is an ordinary one.
    Server::start(data.path(), &arguments).stop();
}

/// A keyspace is recorded once, when it is made. When the log had grown beyond the memory, a start that asked the log's tail for
/// the record did not find it, and dropped the keyspace with all its keys.
#[test]
fn a_keyspace_whose_record_is_old_survives() {
    let data = tempfile::tempdir().unwrap();
    let arguments = ["--cores", "1", "--memory", "24MiB", "--sync", "never"];
    let server = Server::start(data.path(), &arguments);
    let mut wire = server.connect();
    let created = wire.ask(&Request::KeyspaceCreate {
        name: "old",
        partitions: 4,
    });
    assert_eq!(created.status, Status::Ok);
    let keyspace = u32::from_le_bytes(created.body.try_into().unwrap());
    assert_eq!(wire.ask(&put(keyspace, b"key", b"kept")).status, Status::Ok);
    let large = vec![7; 200 << 10];
    for number in 0..120 {
        wire.put(format!("filler {number}").as_bytes(), &large);
    }
    drop(wire);
    server.stop();
    let server = Server::start(data.path(), &arguments);
    let mut wire = server.connect();
    let opened = wire.ask(&Request::KeyspaceOpen { name: "old" });
    assert_eq!(opened.body, keyspace.to_le_bytes());
    let answer = wire.ask(&Request::Get {
        keyspace,
        key: b"key",
    });
    assert_eq!(answer.body, b"kept");
}

/// A first start on a full disk must say so, and not leave something half made that the next start stumbles over.
#[test]
fn a_disk_that_is_full_is_named_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let Some(small) = SmallFilesystem::mount(data.path(), "3m") else {
        return skip("it takes the right to mount a small filesystem");
    };
    let (code, said) = refused(data.path(), &["--cores", "1"]);
    assert_eq!(code, Some(1));
    for part in ["first segment", "disk is full", "--segment-len"] {
        assert!(said.contains(part), "{said}");
    }
    small.resize("64m");
    let server = Server::start(data.path(), &["--cores", "1"]);
    server.connect().put(b"key", b"value");
    server.stop();
}

/// A filesystem in memory, unmounted when it is dropped.
struct SmallFilesystem<'a>(&'a Path);

impl SmallFilesystem<'_> {
    fn mount<'a>(at: &'a Path, size: &str) -> Option<SmallFilesystem<'a>> {
        let output = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size}"),
                "corduroy-test",
            ])
            .arg(at)
            .output();
        output
            .is_ok_and(|output| output.status.success())
            .then_some(SmallFilesystem(at))
    }

    fn resize(&self, size: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(self.0)
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallFilesystem<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// An operator's first signal asks, the second one insists.
#[test]
fn a_second_signal_ends_the_process_at_once() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--stop-timeout", "1h"]);
    // Answers that nobody reads keep the stop waiting.
    let mut wire = server.connect();
    let large = vec![7; 256 << 10];
    wire.put(b"large", &large);
    for _ in 0..100 {
        let get = Request::Get {
            keyspace: DEFAULT,
            key: b"large",
        };
        wire.send(&get).unwrap();
    }
    // One answer in full: the others are on their way.
    assert_eq!(wire.receive().unwrap().body.len(), large.len());
    server.signal(Signal::TERM);
    // The stop has begun when nobody can connect any more.
    while std::net::TcpStream::connect(server.address()).is_ok() {
        std::thread::yield_now();
    }
    server.signal(Signal::TERM);
    let (status, _) = server.wait();
    assert_eq!(status.code(), Some(1));
}
