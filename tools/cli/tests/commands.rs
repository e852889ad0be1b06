//! Single commands, scripts and exit codes: the built program against a server in this process.

mod common;

use common::server::{Faults, Server, VALUE_LEN_MAX};
use common::{cli, feed, finish, run, run_with};
use corduroy_proto_wire::Status;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// A photo that went in must come out as the same file: every byte, and not one more.
#[test]
fn values_are_any_bytes() {
    let server = Server::start();
    let value: Vec<u8> = (0..=255).chain(*b"\n\r\n\0").collect();
    run_with(&server, &["put", "photo", "-"], &value).ended(0);
    assert_eq!(run(&server, &["get", "photo"]).ended(0).stdout, value);
    assert_eq!(
        run(&server, &["-o", "raw", "get", "photo"]).ended(0).stdout,
        value
    );
    run_with(&server, &["append", "photo", "-"], b"\xff").ended(0);
    assert_eq!(
        run(&server, &["get", "photo"]).ended(0).stdout,
        [&value[..], b"\xff"].concat()
    );
    run(&server, &["put", "empty", ""]).ended(0);
    assert_eq!(run(&server, &["get", "empty"]).ended(0).stdout, b"");
}

/// With `--escape` any key can be named, and without it a backslash is only a backslash.
#[test]
fn escapes_mean_something_only_when_asked() {
    let server = Server::start();
    run(&server, &["--escape", "put", "a\\x00\\xff", "\\t\\\\"]).ended(0);
    run(&server, &["put", "b\\n", "\\x41"]).ended(0);
    let contents = server.contents();
    assert_eq!(contents[&b"a\0\xff"[..]], b"\t\\");
    assert_eq!(contents[&b"b\\n"[..]], b"\\x41");
    let finished = run(&server, &["--escape", "get", "a\\q"]);
    finished.ended(2);
    assert!(
        finished
            .stderr
            .contains("KEY: unknown escape \\q at byte 1"),
        "{}",
        finished.stderr
    );
}

/// Scripts branch on these codes; each must come from the situation that it stands for.
#[test]
fn exit_codes_tell_how_it_ended() {
    let server = Server::start();
    run(&server, &["put", "k", "v"]).ended(0);
    run(&server, &["get", "k"]).ended(0);
    for absent in [
        &["get", "x"][..],
        &["del", "x"],
        &["exists", "x"],
        &["ttl", "x"],
        &["touch", "x", "1s"],
        &["persist", "x"],
    ] {
        run(&server, absent).ended(1);
    }
    run(&server, &["keyspace", "drop", "x", "--yes"]).ended(1);
    run(&server, &["frobnicate"]).ended(2);
    run(&server, &["put", "k"]).ended(2);
    run(&server, &["put", "k", "v", "--if-absent"]).ended(4);
    run(&server, &["put", "k", "v", "--if-version", "999"]).ended(4);
    run(&server, &["del", "k", "--if-value", "other"]).ended(4);
    run(&server, &["add", "k", "1"]).ended(6);
    run(&server, &["-k", "nowhere", "get", "k"]).ended(6);
    let long = vec![b'x'; VALUE_LEN_MAX as usize + 1];
    run_with(&server, &["put", "k", "-"], &long).ended(6);
    assert_eq!(server.contents()[&b"k"[..]], b"v");
    run(&server, &["--help"]).ended(0);
    run(&server, &["--version"]).ended(0);
}

/// 3 says that nothing was done and 5 that nobody knows. An `add` that was done but not answered, reported as 3, is counted twice by
/// the script that tries again.
#[test]
fn not_done_and_unknown_are_told_apart() {
    let server = Server::start();
    server.set(Faults {
        writes_until_down: Some(1),
        ..Faults::default()
    });
    let finished = run(&server, &["--timeout", "2s", "add", "k", "1"]);
    finished.ended(5);
    assert_eq!(server.contents()[&b"k"[..]], b"1");
    server.set(Faults {
        down: true,
        ..Faults::default()
    });
    run(&server, &["--timeout", "300ms", "add", "k", "1"]).ended(3);
    assert_eq!(server.contents()[&b"k"[..]], b"1");
    server.set(Faults {
        silent: true,
        ..Faults::default()
    });
    run(&server, &["--timeout", "300ms", "add", "k", "1"]).ended(5);
    run(&server, &["--timeout", "300ms", "get", "k"]).ended(3);

    let mut nobody = cli(
        &server,
        &["--server", "127.0.0.1:1", "--timeout", "300ms", "get", "k"],
    );
    nobody.env_remove("CORDUROY_SERVER");
    let finished = feed(nobody, b"");
    finished.ended(3);
    assert!(
        finished.stderr.contains("127.0.0.1:1") && finished.stderr.contains("corduroy serve"),
        "{}",
        finished.stderr
    );
    assert_eq!(finished.stdout, b"");
}

/// Conditions are how scripts lock; `--return` is how they learn who holds the lock.
#[test]
fn conditions_and_old_values() {
    let server = Server::start();
    assert_eq!(
        run(&server, &["put", "lock", "me", "--if-absent", "--return"])
            .ended(0)
            .stdout,
        b""
    );
    assert_eq!(
        run(&server, &["put", "lock", "you", "--if-absent", "--return"])
            .ended(4)
            .stdout,
        b"me"
    );
    assert_eq!(
        run(
            &server,
            &["put", "lock", "us", "--if-value", "me", "--return"]
        )
        .ended(0)
        .stdout,
        b"me"
    );
    let found: serde_json::Value =
        serde_json::from_str(run(&server, &["-o", "json", "get", "lock"]).ended(0).text()).unwrap();
    let version = found["version"].as_u64().unwrap().to_string();
    assert_eq!(
        run(
            &server,
            &["del", "lock", "--if-version", &version, "--return"]
        )
        .ended(0)
        .stdout,
        b"us"
    );
    run(&server, &["put", "lock", "me", "--if-present"]).ended(4);
}

/// Counters go down as well, and a time to live that was set must be seen.
#[test]
fn counters_and_times_to_live() {
    let server = Server::start();
    assert_eq!(run(&server, &["add", "n", "5"]).ended(0).text(), "5\n");
    assert_eq!(run(&server, &["add", "n", "-7"]).ended(0).text(), "-2\n");
    assert_eq!(run(&server, &["ttl", "n"]).ended(0).text(), "none\n");
    run(&server, &["touch", "n", "1h"]).ended(0);
    let left_ms: u64 = run(&server, &["ttl", "n"])
        .ended(0)
        .text()
        .trim()
        .parse()
        .unwrap();
    assert!((1..=3_600_000).contains(&left_ms));
    run(&server, &["put", "n", "1", "--keep-ttl"]).ended(0);
    assert_ne!(run(&server, &["ttl", "n"]).ended(0).text(), "none\n");
    run(&server, &["persist", "n"]).ended(0);
    assert_eq!(run(&server, &["ttl", "n"]).ended(0).text(), "none\n");
    run(&server, &["put", "n", "1", "--ttl", "1h 30m"]).ended(0);
    assert_ne!(run(&server, &["ttl", "n"]).ended(0).text(), "none\n");
}

/// A listing that is cut into pieces by `--limit` and `--cursor` must be the same listing, with nothing missing at the cuts.
#[test]
fn scans_go_on_where_they_stopped() {
    let server = Server::start();
    for number in 0..25 {
        server.insert(format!("user:{number:02}").as_bytes(), b"v");
    }
    server.insert(b"other", b"v");
    let whole = run(&server, &["scan", "user:"]);
    assert_eq!(whole.ended(0).text().lines().count(), 25);
    let mut pieces = String::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut arguments = vec!["scan", "user:", "--limit", "4"];
        if let Some(cursor) = &cursor {
            arguments.extend(["--cursor", cursor]);
        }
        let finished = run(&server, &arguments);
        pieces.push_str(finished.ended(0).text());
        cursor = finished
            .stderr
            .trim()
            .split_once("--cursor ")
            .map(|(_, cursor)| cursor.to_owned());
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pieces, whole.text());
    let valued = run(&server, &["-o", "json", "scan", "other", "--values"]);
    let entry: serde_json::Value = serde_json::from_str(valued.ended(0).text()).unwrap();
    assert_eq!(
        (&entry["key"], &entry["value"]),
        (&"other".into(), &"v".into())
    );
    run(&server, &["scan", "--cursor", "123"]).ended(2);
    run(&server, &["scan", "--limit", "0"]).ended(2);
}

/// `scan | head` is said a hundred times a day; an error message or a hanging process each time would be unbearable.
#[test]
fn a_broken_pipe_ends_quietly() {
    let server = Server::start();
    for number in 0..50_000 {
        server.insert(
            format!("a-rather-long-key-to-fill-the-pipe:{number}").as_bytes(),
            b"",
        );
    }
    let mut child = cli(&server, &["scan"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    // The pipe closes at the end of this statement, after one line was read.
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("a-rather-long-key"));
    let finished = finish(child);
    finished.ended(141);
    assert_eq!(finished.stderr, "");
}

/// Data on standard output, all else on standard error: a pipeline must never take a message for data.
#[test]
fn messages_are_not_data() {
    let server = Server::start();
    for arguments in [
        &["get", "x"][..],
        &["-o", "table", "get", "x"],
        &["put", "x", "y", "--if-present"],
        &["-k", "z", "get", "x"],
    ] {
        assert_eq!(run(&server, arguments).stdout, b"", "{arguments:?}");
    }
    let json = run(&server, &["-o", "json", "get", "x"]);
    assert_eq!(json.ended(1).text(), "{\"found\":false,\"key\":\"x\"}\n");
    assert_eq!(json.stderr, "");
}

/// A script runs over one connection, its answers are told apart by newlines, and absent keys don't end it.
#[test]
fn scripts_run_line_by_line() {
    let server = Server::start();
    let script = b"# a comment\n\nput 'a key' \"line\\none\"\nget 'a key'\nget absent\nadd n -3\n-o json get n\n";
    let finished = run_with(&server, &[], script);
    let lines: Vec<&str> = finished.ended(0).text().lines().collect();
    assert_eq!(lines[..3], ["line", "one", "-3"]);
    assert!(
        lines[3].starts_with("{\"found\":true,\"key\":\"n\""),
        "{lines:?}"
    );
    run_with(&server, &[], b"put a 1\nget absent").ended(1);
    run_with(&server, &[], b"").ended(0);
    run_with(&server, &["-k", "default", "-o", "json"], b"exists n\n").ended(0);
}

/// A script whose third line fails must not run the fourth, which relied on it, and must say which line it was.
#[test]
fn scripts_end_at_the_first_error() {
    let server = Server::start();
    for (script, code, message) in [
        (
            &b"put a 1\nfrob\nput b 2\n"[..],
            2,
            "unrecognized subcommand",
        ),
        (b"put a 1\nput\nput b 2\n", 2, "line 2: this is no command"),
        (b"put a 1\nadd text 1\nput b 2\n", 0, ""),
        (b"put a x\nadd a 1\nput b 2\n", 6, "line 2: not a counter"),
        (b"put a 'x\nput b 2\n", 2, "line 1: the quote ' at byte 6"),
        (b"put a -\nput b 2\n", 2, "line 1: a value can't be read"),
        (b"import -\nput b 2\n", 2, "line 1: a value can't be read"),
        (b"flush\nput b 2\n", 2, "line 1: flush needs --yes"),
    ] {
        server.clear();
        let finished = run_with(&server, &[], script);
        finished.ended(code);
        assert!(finished.stderr.contains(message), "{}", finished.stderr);
        assert_eq!(
            server.contents().contains_key(&b"b"[..]),
            code == 0,
            "{message}"
        );
    }
}

/// Keyspaces keep keys apart, and what destroys one asks first.
#[test]
fn keyspaces() {
    let server = Server::start();
    run(
        &server,
        &["keyspace", "create", "other", "--partitions", "8"],
    )
    .ended(0);
    run(&server, &["keyspace", "create", "other"]).ended(6);
    run(&server, &["keyspace", "create", "other", "--if-absent"]).ended(0);
    assert_eq!(
        run(&server, &["keyspace", "list"]).ended(0).text(),
        "default\nother\n"
    );
    run(&server, &["-k", "other", "put", "a", "1"]).ended(0);
    run(&server, &["get", "a"]).ended(1);
    assert_eq!(
        run(&server, &["-k", "other", "count"]).ended(0).text(),
        "1\n"
    );
    run(&server, &["-k", "other", "flush"]).ended(2);
    assert_eq!(
        run(&server, &["-k", "other", "count"]).ended(0).text(),
        "1\n"
    );
    run(&server, &["-k", "other", "flush", "--yes"]).ended(0);
    assert_eq!(
        run(&server, &["-k", "other", "count"]).ended(0).text(),
        "0\n"
    );
    run(&server, &["keyspace", "drop", "other"]).ended(2);
    run(&server, &["keyspace", "drop", "other", "--yes"]).ended(0);
    assert_eq!(
        run(&server, &["keyspace", "list"]).ended(0).text(),
        "default\n"
    );
}

/// Monitoring reads these two; and a server that refuses writes must be heard of.
#[test]
fn status_ping_and_refusals() {
    let server = Server::start();
    let status: serde_json::Value =
        serde_json::from_str(run(&server, &["-o", "json", "status"]).ended(0).text()).unwrap();
    assert_eq!(status["shards"][1]["keys"], 2);
    assert!(
        run(&server, &["-o", "table", "status"])
            .ended(0)
            .text()
            .contains("fake/1")
    );
    assert!(
        run(&server, &["ping"])
            .ended(0)
            .text()
            .trim()
            .parse::<u64>()
            .is_ok()
    );
    server.set(Faults {
        writes_answer: Some(Status::ReadOnly),
        ..Faults::default()
    });
    let finished = run(&server, &["put", "a", "1"]);
    finished.ended(6);
    assert!(
        finished.stderr.contains("told to refuse"),
        "{}",
        finished.stderr
    );
}

/// A completion script that a shell can't read, or that knows no commands, is worse than none.
#[test]
fn completion_scripts_know_the_commands() {
    let server = Server::start();
    for shell in ["bash", "zsh", "fish"] {
        let finished = run(&server, &["completion", shell]);
        let script = finished.ended(0).text();
        for word in ["keyspace", "import", "if-absent"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
}
