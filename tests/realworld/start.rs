//! First starts, and starts that can't be: each of these must end with a sentence that says what to do, and leave whoever runs already alone.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::support::needs::{is_root, program, skip};
use crate::support::node::{Failed, PROGRAM, Place, serve, serve_by, without_settings};

/// The user and the group that own nothing.
const NOBODY: u32 = 65_534;

#[track_caller]
fn refused(place: &Place, command: Command) -> Failed {
    let failed = match place.try_start(command) {
        Err(failed) => failed,
        Ok(_) => panic!("the node started"),
    };
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    failed
}

#[track_caller]
fn expect(failed: &Failed, parts: &[&str]) {
    for part in parts {
        assert!(
            failed.messages.contains(part),
            "{part:?} is missing in: {}",
            failed.messages
        );
    }
    assert!(!failed.messages.contains("panicked"), "{failed:?}");
}

/// What the README says first: no flag for the directory, which is made where one stands. A relative path once reached a call that
/// takes none, and no new node could make its first segment; every test named its directory in full.
#[test]
fn a_relative_directory_counts_from_where_one_stands() {
    let place = Place::new();
    for flags in [&[][..], &["--data", "here/and there"]] {
        let mut command = Command::new(PROGRAM);
        without_settings(&mut command);
        command.args(["--listen", "127.0.0.1:0", "--admin", "off", "--cores", "1"]);
        command.args(["--memory", "256MiB", "--segment-len", "64MiB"]);
        command.args(flags);
        let node = place
            .try_start(command)
            .unwrap_or_else(|failed| panic!("{failed:?}"));
        node.connect().put(b"k", b"v");
        node.stop();
        let data = flags.last().unwrap_or(&"corduroy-data");
        assert!(place.path().join(data).join("MANIFEST").is_file());
    }
}

/// Two servers that append to one log destroy it. A supervisor that restarts too early must not be able to do that.
#[test]
fn a_second_start_on_the_same_directory_is_refused() {
    let place = Place::new();
    let node = place.start(&[]);
    node.connect().put(b"k", b"v");
    let second = refused(&place, serve(&place.data(), &[]));
    let process = format!("process {}", node.id());
    expect(&second, &["another server", &process, "--data"]);
    assert_eq!(node.connect().get(b"k").as_deref(), Some(&b"v"[..]));
    node.kill();
    // A lock that outlives its holder would need somebody to remove it by hand.
    let node = place.start(&[]);
    assert_eq!(node.connect().get(b"k").as_deref(), Some(&b"v"[..]));
}

/// With SO_REUSEPORT the kernel would let both listen and give each half of the clients.
#[test]
fn a_taken_port_is_refused() {
    let place = Place::new();
    let node = place.start(&[]);
    let taken = node.address().to_string();
    let other = place.path().join("other");
    let second = refused(&place, serve(&other, &["--listen", &taken]));
    expect(&second, &[&taken, "listens", "--listen"]);
    // Nor may it take a port from somebody else's program.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let third = refused(&place, serve(&other, &["--listen", &taken]));
    expect(&third, &[&taken, "--listen"]);
    // Nor has it settled anything: a first start with a wrong port and a wrong number of cores once left a directory that only that
    // number could be used with.
    let mut left: Vec<_> = fs::read_dir(&other)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["LOCK"]);
    assert!(node.connect().get(b"k").is_none());
}

/// A copy of the program that everybody may run, and a directory that nobody else may write.
fn for_nobody(place: &Place) -> PathBuf {
    let copy = place.path().join("corduroy");
    fs::copy(PROGRAM, &copy).unwrap();
    open_up(&copy);
    open_up(place.path());
    copy
}

fn open_up(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Root may write everywhere, so the program runs as somebody who may not.
fn as_nobody(mut command: Command) -> Command {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// A unit file with the wrong user is the commonest of all first starts.
#[test]
fn a_directory_that_is_not_writable_is_refused() {
    let place = Place::new();
    let copy = for_nobody(&place);
    let data = place.data();
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).unwrap();
    let failed = refused(&place, as_nobody(serve_by(&copy, &data, &[])));
    expect(&failed, &["may not write", &data.display().to_string()]);
    // One that has to be made first, in a place where nothing may be made.
    let inside = data.join("inside");
    let failed = refused(&place, as_nobody(serve_by(&copy, &inside, &[])));
    expect(&failed, &["may not write", &inside.display().to_string()]);
    open_up(&data);
}

/// What is there but no directory must not be replaced by one.
#[test]
fn a_file_instead_of_a_directory_is_refused() {
    let place = Place::new();
    fs::write(place.data(), b"precious").unwrap();
    let failed = refused(&place, serve(&place.data(), &[]));
    expect(&failed, &[&place.data().display().to_string()]);
    assert_eq!(fs::read(place.data()).unwrap(), b"precious");
}

/// io_uring's memory counts against a limit that is tiny in many containers, and glommio fails late and without a word
/// about it.
#[test]
fn too_little_locked_memory_is_refused() {
    let Some(shell) = program("sh") else {
        return skip("sh");
    };
    let place = Place::new();
    let copy = for_nobody(&place);
    let mut command = Command::new(shell);
    without_settings(&mut command);
    command
        .arg("-c")
        .arg("ulimit -S -l 64 && ulimit -H -l 64 && exec \"$@\"")
        .arg("sh");
    let serve = serve_by(&copy, &place.data(), &[]);
    command.arg(serve.get_program()).args(serve.get_args());
    let failed = refused(&place, as_nobody(command));
    expect(&failed, &["65536 bytes", "ulimit -l", "LimitMEMLOCK"]);
    assert!(!place.data().exists(), "it fails before it makes anything");
}

/// An executor that loses its core at a bad moment of its first pass sleeps with all its tasks: the node then never says that
/// it listens, or says so and answers nobody. It takes a crowd to see that, and even then it is one start in hundreds.
#[test]
fn nodes_that_start_in_a_crowd_all_serve() {
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let place = Place::new();
                for round in 0..8 {
                    let node = place.start(&[]);
                    let client = node.client().default_keyspace();
                    for number in 0..20 {
                        client.put(format!("{round}:{number}"), "v").unwrap();
                    }
                    assert_eq!(client.count().unwrap(), 20 * (round + 1));
                    node.kill();
                }
            });
        }
    });
}
