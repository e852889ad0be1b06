//! Import and export: the built program, real files, and a server in this process that goes away at bad moments.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use common::server::{Faults, Server, VALUE_LEN_MAX};
use common::{Finished, cli, finish, run, run_with, text_of};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// So many lines of `key<TAB>value`, and what they come to.
fn numbered(count: usize) -> (String, Contents) {
    let mut text = String::new();
    let mut contents = Contents::new();
    for number in 0..count {
        writeln!(text, "key:{number}\tvalue {number}").unwrap();
        contents.insert(
            format!("key:{number}").into_bytes(),
            format!("value {number}").into_bytes(),
        );
    }
    (text, contents)
}

fn state_of(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Ctrl-C. The shell's own `kill` is there wherever a shell is.
fn interrupt(child: &Child) {
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -INT {}", child.id()))
        .status()
        .unwrap();
    assert!(status.success());
}

/// Starts the program and waits until `ready`.
fn start(server: &Server, arguments: &[&str], ready: impl Fn() -> bool) -> Child {
    let child = cli(server, arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !ready() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A backup that lost or changed one byte is found out on the day that it is needed. Whatever keys and values a store
    /// holds, export and import must bring them back.
    #[test]
    fn export_then_import_reproduces_every_byte(
        contents in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 1..20), any::<Vec<u8>>(), 0..40),
        format in prop_oneof![Just("jsonl"), Just("tsv")],
    ) {
        let server = Server::start();
        for (key, value) in &contents {
            server.insert(key, value);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup").with_extension(format);
        run(&server, &["export", text_of(&path)]).ended(0);
        let piped = run(&server, &["export", "--format", format]);
        prop_assert_eq!(&fs::read(&path).unwrap(), &piped.ended(0).stdout);
        server.clear();
        run(&server, &["import", text_of(&path)]).ended(0);
        prop_assert_eq!(&server.contents(), &contents);
        server.clear();
        run_with(&server, &["import", "--format", format], &piped.stdout).ended(0);
        prop_assert_eq!(&server.contents(), &contents);
    }
}

/// A session that had an hour to live must not live for ever after a restore, and a key that stays must stay.
#[test]
fn jsonl_keeps_times_to_live_and_tsv_says_that_it_does_not() {
    let server = Server::start();
    run(&server, &["put", "session", "s", "--ttl", "1h"]).ended(0);
    run(&server, &["put", "stays", "s"]).ended(0);
    let backup = run(&server, &["export"]);
    server.clear();
    run_with(
        &server,
        &["import", "--format", "jsonl"],
        &backup.ended(0).stdout,
    )
    .ended(0);
    assert_ne!(run(&server, &["ttl", "session"]).ended(0).text(), "none\n");
    assert_eq!(run(&server, &["ttl", "stays"]).ended(0).text(), "none\n");
    let finished = run(&server, &["export", "--format", "tsv"]);
    assert!(
        finished.stderr.contains("1 records expire"),
        "{}",
        finished.stderr
    );
}

/// A file may hold a key twice, and the later line is meant. With hundreds of requests in flight and a server that does them in
/// any order it was the earlier one that stayed.
#[test]
fn lines_of_one_key_keep_their_order() {
    let server = Server::start();
    server.set(Faults {
        reversed: true,
        ..Faults::default()
    });
    let mut text = String::new();
    for number in 0..3000 {
        writeln!(text, "key:{}\t{number}", number % 7).unwrap();
        writeln!(text, "filler:{number}\tx").unwrap();
    }
    run_with(&server, &["import", "--format", "tsv"], text.as_bytes()).ended(0);
    let contents = server.contents();
    for key in 0..7 {
        let last = (0..3000).rfind(|number| number % 7 == key).unwrap();
        assert_eq!(
            contents[format!("key:{key}").as_bytes()],
            last.to_string().as_bytes()
        );
    }
}

/// The server restarts in the middle of an import of hours. The import must outlast it, and nothing may be missing at the end.
#[test]
fn an_import_outlasts_an_outage() {
    let server = Server::start();
    server.set(Faults {
        writes_until_down: Some(500),
        ..Faults::default()
    });
    let (text, contents) = numbered(2000);
    let reviver = server.clone();
    let revive = std::thread::spawn(move || {
        while !reviver.faults().down {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(700));
        reviver.set(Faults::default());
    });
    let finished = run_with(
        &server,
        &["--timeout", "300ms", "import", "--format", "tsv"],
        text.as_bytes(),
    );
    finished.ended(0);
    revive.join().unwrap();
    assert_eq!(server.contents(), contents);
    assert!(
        finished.stderr.contains("trying again"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("imported 2000 records"),
        "{}",
        finished.stderr
    );
}

/// What the state file claims must be true: everything before its offset is on the server, and a second run does the rest and
/// only little of it again.
#[test]
fn an_import_goes_on_where_it_stopped() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let (data, state) = (
        directory.path().join("data.tsv"),
        directory.path().join("data.state"),
    );
    let (text, contents) = numbered(3000);
    fs::write(&data, &text).unwrap();
    let arguments = [
        "--timeout",
        "200ms",
        "import",
        text_of(&data),
        "--resume",
        text_of(&state),
        "--patience",
        "0s",
    ];
    server.set(Faults {
        writes_until_down: Some(1000),
        ..Faults::default()
    });
    let finished = run(&server, &arguments);
    assert!(matches!(finished.code, Some(3 | 5)), "{finished:?}");
    assert!(
        finished.stderr.contains("the same command goes on there"),
        "{}",
        finished.stderr
    );
    let stopped = state_of(&state);
    let offset = usize::try_from(stopped["offset"].as_u64().unwrap()).unwrap();
    let line = usize::try_from(stopped["line"].as_u64().unwrap()).unwrap();
    assert!(line > 0 && line < 1000, "{line}");
    assert_eq!(text[..offset].lines().count(), line);
    for line in text[..offset].lines() {
        let (key, value) = line.split_once('\t').unwrap();
        assert_eq!(server.contents()[key.as_bytes()], value.as_bytes());
    }

    server.set(Faults::default());
    server.clear();
    run(&server, &arguments).ended(0);
    let rest: Contents = numbered(3000)
        .1
        .into_iter()
        .filter(|(key, _)| String::from_utf8_lossy(key)[4..].parse::<usize>().unwrap() >= line)
        .collect();
    assert_eq!(
        server.contents(),
        rest,
        "the second run does exactly what was not certain"
    );
    assert_eq!(state_of(&state)["imported"], 3000);

    let writes = server.writes();
    run(&server, &arguments).ended(0);
    assert_eq!(server.writes(), writes, "a third run has nothing to do");
    assert_eq!(contents.len(), 3000);
}

/// Ctrl-C in the middle: the process must end by itself, with what was answered on record, and the hint it prints must work as printed.
#[test]
fn ctrl_c_stops_an_import_cleanly() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data with a blank.tsv");
    let (text, contents) = numbered(100_000);
    fs::write(&data, &text).unwrap();
    let child = start(
        &server,
        &["import", text_of(&data), "--in-flight", "8"],
        || server.writes() > 100,
    );
    interrupt(&child);
    let finished = finish(child);
    finished.ended(130);
    assert!(
        server.contents().len() < contents.len(),
        "it came to its end before it was interrupted"
    );
    let hint = finished
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("to go on there: "))
        .expect("a hint");
    let program = Path::new(env!("CARGO_BIN_EXE_corduroy-cli"))
        .parent()
        .unwrap();
    let search = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let status = Command::new("sh")
        .args(["-c", hint])
        .env("PATH", search)
        .env("CORDUROY_SERVER", server.address())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(server.contents(), contents);
}

/// One bad line in a million: by default the import says which one and stops, on request it goes on without it and says so in the end.
#[test]
fn bad_lines_are_reported_with_their_number() {
    let server = Server::start();
    let text = b"a\t1\nno tab\n\nb\t2\nc\t\\q\n";
    let finished = run_with(&server, &["import", "--format", "tsv"], text);
    finished.ended(7);
    assert!(
        finished.stderr.contains("line 2: no tab"),
        "{}",
        finished.stderr
    );
    assert_eq!(server.contents().len(), 1);

    let finished = run_with(
        &server,
        &["import", "--format", "tsv", "--on-error", "skip"],
        text,
    );
    finished.ended(8);
    for part in [
        "line 2: no tab",
        "line 5: unknown escape",
        "imported 2 records, left 2 lines out",
    ] {
        assert!(finished.stderr.contains(part), "{}", finished.stderr);
    }
    assert_eq!(server.contents().len(), 2);
}

/// A record that is too large for the server is that record's fault and can be left out; a server that takes no writes at all is
/// not the records' fault, and skipping them all would be reported as a success.
#[test]
fn refused_records_are_not_a_refusing_server() {
    let server = Server::start();
    let long = "x".repeat(VALUE_LEN_MAX as usize + 1);
    let text = format!("a\t1\nb\t{long}\nc\t3\n");
    let finished = run_with(&server, &["import", "--format", "tsv"], text.as_bytes());
    finished.ended(6);
    assert!(finished.stderr.contains("line 2: "), "{}", finished.stderr);
    run_with(
        &server,
        &["import", "--format", "tsv", "--on-error", "skip"],
        text.as_bytes(),
    )
    .ended(8);
    assert_eq!(server.contents().keys().collect::<Vec<_>>(), [b"a", b"c"]);
    server.set(Faults {
        writes_answer: Some(corduroy_proto_wire::Status::ReadOnly),
        ..Faults::default()
    });
    run_with(
        &server,
        &["import", "--format", "tsv", "--on-error", "skip"],
        b"a\t1\n",
    )
    .ended(6);
}

/// Going on with the state of another keyspace or the file of another day would leave records out without a word.
#[test]
fn a_state_file_belongs_to_one_import() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let (data, state) = (
        directory.path().join("data.tsv"),
        directory.path().join("state"),
    );
    fs::write(&data, "a\t1\nb\t2\n").unwrap();
    let import = |more: &[&str]| -> Finished {
        run(
            &server,
            &[
                &["import", text_of(&data), "--resume", text_of(&state)],
                more,
            ]
            .concat(),
        )
    };
    import(&[]).ended(0);
    run(&server, &["keyspace", "create", "other"]).ended(0);
    let finished = import(&["-k", "other"]);
    finished.ended(7);
    assert!(
        finished
            .stderr
            .contains("its keyspace is default, not other"),
        "{}",
        finished.stderr
    );
    import(&["--format", "jsonl"]).ended(7);
    fs::write(&data, "x\t1\nb\t2\nc\t3\n").unwrap();
    let finished = import(&[]);
    finished.ended(7);
    assert!(
        finished.stderr.contains("has changed before byte 8"),
        "{}",
        finished.stderr
    );
    run(
        &server,
        &[
            "export",
            text_of(&directory.path().join("out")),
            "--resume",
            text_of(&state),
        ],
    )
    .ended(7);
}

/// A stream can be imported in pieces too: the second run is given the whole stream again and skips what was done.
#[test]
fn streams_are_resumed_by_skipping() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let arguments = ["import", "--format", "tsv", "--resume", text_of(&state)];
    run_with(&server, &arguments, b"a\t1\nbad\n").ended(7);
    server.clear();
    run_with(&server, &arguments, b"a\t1\nb\t2\n").ended(0);
    assert_eq!(server.contents().keys().collect::<Vec<_>>(), [b"b"]);
    run_with(&server, &arguments, b"a\t1\n").ended(7);
}

/// The server goes away in the middle of an export. The second run must give a file as if nothing had happened, although the first
/// one had written more than it had made certain.
#[test]
fn an_export_goes_on_where_it_stopped() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let (out, state) = (
        directory.path().join("out.jsonl"),
        directory.path().join("state"),
    );
    for number in 0..2000 {
        server.insert(format!("key:{number}").as_bytes(), b"v\xff");
    }
    let whole = run(&server, &["export"]);
    let arguments = [
        "--timeout",
        "200ms",
        "export",
        text_of(&out),
        "--resume",
        text_of(&state),
        "--patience",
        "0s",
    ];
    server.set(Faults {
        pages_until_down: Some(5),
        ..Faults::default()
    });
    let finished = run(&server, &arguments);
    finished.ended(3);
    assert_eq!(state_of(&state)["complete"], false);
    assert!(state_of(&state)["records"].as_u64().unwrap() > 0);

    let mut torn = fs::read(&out).unwrap();
    torn.extend_from_slice(b"{\"key\":\"half a li");
    fs::write(&out, torn).unwrap();
    server.set(Faults::default());
    run(&server, &[&arguments[..], &["--prefix", "other"]].concat()).ended(7);
    run(&server, &arguments).ended(0);
    assert_eq!(fs::read(&out).unwrap(), whole.ended(0).stdout);

    let finished = run(&server, &arguments);
    finished.ended(0);
    assert!(
        finished.stderr.contains("complete since an earlier run"),
        "{}",
        finished.stderr
    );
    assert_eq!(fs::read(&out).unwrap(), whole.stdout);
}

/// An export that nobody thought to make resumable dies after hours: the state that it leaves must be enough to go on.
#[test]
fn an_export_that_fails_leaves_a_way_on() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.tsv");
    for number in 0..2000 {
        server.insert(format!("key:{number}").as_bytes(), b"v");
    }
    let whole = run(&server, &["export", "--format", "tsv"]);
    server.set(Faults {
        pages_until_down: Some(4),
        ..Faults::default()
    });
    let finished = run(
        &server,
        &[
            "--timeout",
            "200ms",
            "export",
            text_of(&out),
            "--patience",
            "0s",
        ],
    );
    finished.ended(3);
    let state = format!("{}.state", text_of(&out));
    assert!(
        finished.stderr.contains(&format!("--resume {state}")),
        "{}",
        finished.stderr
    );
    server.set(Faults::default());
    run(&server, &["export", text_of(&out), "--resume", &state]).ended(0);
    assert_eq!(fs::read(&out).unwrap(), whole.ended(0).stdout);
}

/// Yesterday's backup must not be gone because today's was started; and what can't be cut back can't be resumed.
#[test]
fn exports_do_not_overwrite() {
    let server = Server::start();
    server.insert(b"a", b"1");
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.tsv");
    fs::write(&out, "precious").unwrap();
    run(&server, &["export", text_of(&out)]).ended(2);
    assert_eq!(fs::read(&out).unwrap(), b"precious");
    run(&server, &["export", text_of(&out), "--force"]).ended(0);
    assert_eq!(fs::read(&out).unwrap(), b"a\t1\n");
    run(
        &server,
        &[
            "export",
            "--resume",
            text_of(&directory.path().join("state")),
        ],
    )
    .ended(2);
    run(&server, &["export", "/dev/full"]).ended(7);
}

/// A scan may return a key twice. Within a page that would be plain waste; over pages the file may hold it twice, and an import of
/// it must come to the same.
#[test]
fn keys_that_a_page_repeats_are_written_once() {
    let server = Server::start();
    for number in 0..600 {
        server.insert(format!("key:{number}").as_bytes(), b"v");
    }
    server.set(Faults {
        repeating_pages: true,
        ..Faults::default()
    });
    let finished = run(&server, &["export", "--format", "tsv", "--prefix", "key:1"]);
    let mut lines: Vec<&str> = finished.ended(0).text().lines().collect();
    let count = lines.len();
    assert!(lines.iter().all(|line| line.starts_with("key:1")));
    lines.sort_unstable();
    lines.dedup();
    assert_eq!((lines.len(), count), (111, 111));
}

/// A format that was guessed wrong would import garbage; where nothing tells it, it must be asked for.
#[test]
fn the_format_is_not_guessed_from_nothing() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.csv");
    fs::write(&data, "a\t1\n").unwrap();
    let finished = run(&server, &["import", text_of(&data)]);
    finished.ended(2);
    assert!(finished.stderr.contains("--format"), "{}", finished.stderr);
    run_with(&server, &["import"], b"a\t1\n").ended(2);
    run(&server, &["import", text_of(&data), "--format", "tsv"]).ended(0);
    run(
        &server,
        &["import", text_of(&directory.path().join("missing.tsv"))],
    )
    .ended(7);
    run(
        &server,
        &["import", text_of(directory.path()), "--format", "tsv"],
    )
    .ended(7);
}
