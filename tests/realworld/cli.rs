//! The command line client against a node that is real, every command once.

use std::fs;
use std::process::Command;

use crate::support::cli::{cli, cli_at, collect, finish, run};
use crate::support::node::{PROGRAM, Place, without_settings};
use crate::support::wait_until;

/// The client's own tests run against a server of their own, which its author wrote too. What both understand in the same wrong
/// way shows only here.
#[test]
fn every_command_does_what_it_says() {
    let place = Place::new();
    let node = place.start(&[]);
    let raw = |arguments: &[&str]| run(&node, &[&["-o", "raw"], arguments].concat());
    let json = |arguments: &[&str]| run(&node, &[&["-o", "json"], arguments].concat());

    assert!(json(&["ping"]).ended(0).json().is_object());
    raw(&["put", "greeting", "hello"]).ended(0);
    assert_eq!(raw(&["get", "greeting"]).ended(0).output, b"hello");
    let first = json(&["get", "greeting"]).ended(0).json();
    assert_eq!(first["value"], "hello");
    let version = first["version"].as_u64().unwrap();
    raw(&["get", "nobody"]).ended(1);
    assert_eq!(raw(&["exists", "greeting"]).ended(0).text().trim(), "true");
    assert_eq!(raw(&["exists", "nobody"]).ended(1).text().trim(), "false");

    // Conditions, and old values.
    raw(&["put", "greeting", "x", "--if-absent"]).ended(4);
    raw(&["put", "nobody", "x", "--if-present"]).ended(4);
    let other = (version + 1).to_string();
    raw(&["put", "greeting", "x", "--if-version", &other]).ended(4);
    let stated = version.to_string();
    let old = raw(&["put", "greeting", "hi", "--if-version", &stated, "--return"]).ended(0);
    assert_eq!(old.output, b"hello");
    raw(&["put", "greeting", "hey", "--if-value", "hi"]).ended(0);
    let second = json(&["get", "greeting"]).ended(0).json();
    assert!(second["version"].as_u64().unwrap() > version);
    raw(&["del", "greeting", "--if-value", "hi"]).ended(4);
    assert_eq!(
        raw(&["del", "greeting", "--return"]).ended(0).output,
        b"hey"
    );
    raw(&["del", "greeting"]).ended(1);

    // Counters and suffixes.
    assert_eq!(raw(&["add", "visits", "3"]).ended(0).text().trim(), "3");
    assert_eq!(raw(&["add", "visits", "-5"]).ended(0).text().trim(), "-2");
    raw(&["put", "text", "no number"]).ended(0);
    raw(&["add", "text", "1"]).ended(6);
    assert_eq!(raw(&["append", "text", "!"]).ended(0).text().trim(), "10");

    // Times to live.
    raw(&["put", "session", "s", "--ttl", "1h"]).ended(0);
    let left: u64 = raw(&["ttl", "session"])
        .ended(0)
        .text()
        .trim()
        .parse()
        .unwrap();
    assert!((3_000_000..=3_600_000).contains(&left), "{left}");
    raw(&["persist", "session"]).ended(0);
    assert_eq!(raw(&["ttl", "session"]).ended(0).text().trim(), "none");
    raw(&["touch", "session", "300ms"]).ended(0);
    wait_until("the session has expired", || {
        raw(&["ttl", "session"]).messages.is_empty()
            && raw(&["exists", "session"]).text().trim() == "false"
    });
    raw(&["touch", "session", "1s"]).ended(1);
    raw(&["persist", "session"]).ended(1);

    // Many keys.
    assert_eq!(raw(&["count"]).ended(0).text().trim(), "2");
    let mut keys: Vec<String> = raw(&["scan"])
        .ended(0)
        .text()
        .lines()
        .map(str::to_owned)
        .collect();
    keys.sort();
    assert_eq!(keys, ["text", "visits"]);
    let listed = json(&["scan", "vis", "--values"]).ended(0).json();
    assert_eq!(listed["value"], "-2");

    // Keyspaces.
    raw(&["keyspace", "create", "other", "--partitions", "8"]).ended(0);
    raw(&["keyspace", "create", "other"]).ended(6);
    raw(&["keyspace", "create", "other", "--if-absent"]).ended(0);
    let mut names: Vec<String> = raw(&["keyspace", "list"])
        .ended(0)
        .text()
        .lines()
        .map(str::to_owned)
        .collect();
    names.sort();
    assert_eq!(names, ["default", "other"]);
    raw(&["-k", "other", "put", "visits", "elsewhere"]).ended(0);
    assert_eq!(raw(&["-k", "other", "count"]).ended(0).text().trim(), "1");
    assert_eq!(raw(&["get", "visits"]).ended(0).output, b"-2");
    raw(&["-k", "other", "flush"]).ended(2);
    raw(&["-k", "other", "flush", "--yes"]).ended(0);
    assert_eq!(raw(&["-k", "other", "count"]).ended(0).text().trim(), "0");
    raw(&["keyspace", "drop", "other", "--yes"]).ended(0);
    raw(&["keyspace", "drop", "other", "--yes"]).ended(1);
    raw(&["keyspace", "drop", "default", "--yes"]).ended(6);

    let status = json(&["status"]).ended(0).json();
    assert_eq!(status["keys"], 2);
    assert!(!raw(&["completion", "bash"]).ended(0).output.is_empty());
    assert!(
        !run(&node, &["-o", "table", "scan"])
            .ended(0)
            .output
            .is_empty()
    );

    // How it ends when it does not.
    raw(&["put", "only-a-key"]).ended(2);
    raw(&["get", ""]).ended(6);
    node.stop();
    let nobody = finish(cli_at("127.0.0.1:1", &["get", "k"]), b"");
    assert!(nobody.ended(3).messages.contains("127.0.0.1:1"));
}

/// Photographs, compressed text and keys of other programs are no UTF-8, and must come out as they went in.
#[test]
fn keys_and_values_are_any_bytes() {
    let place = Place::new();
    let node = place.start(&[]);
    let every_byte: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    finish(cli(&node, &["put", "bytes", "-"]), &every_byte).ended(0);
    let got = run(&node, &["-o", "raw", "get", "bytes"]).ended(0);
    assert!(got.output == every_byte);
    run(&node, &["--escape", "put", "k\\x00\\xff", "\\x01\\n"]).ended(0);
    let got = run(&node, &["-o", "raw", "--escape", "get", "k\\x00\\xff"]).ended(0);
    assert_eq!(got.output, b"\x01\n");
    assert_eq!(
        node.connect().get(b"k\0\xff").as_deref(),
        Some(&b"\x01\n"[..])
    );
    let listed = run(&node, &["-o", "json", "--escape", "get", "k\\x00\\xff"]).ended(0);
    assert_eq!(listed.json()["key"]["base64"], "awD/");
}

/// A script runs over one connection, goes on after answers and ends at errors.
#[test]
fn a_piped_script_runs_line_by_line() {
    let place = Place::new();
    let node = place.start(&[]);
    let script = b"# a comment\nput 'a key' \"two\\nlines\"\nadd n 2\nget missing\n-o json get 'a key'\nget n\n";
    let done = finish(cli(&node, &[]), script).ended(0);
    assert!(done.text().starts_with("2\n"), "{done:?}");
    assert!(done.text().contains("two\\nlines"), "{done:?}");
    assert!(done.text().ends_with("2\n"), "{done:?}");
    let failed = finish(cli(&node, &[]), b"put k v\nput\nput k never\n").ended(2);
    assert!(failed.messages.contains("line 2"), "{failed:?}");
    assert_eq!(node.connect().get(b"k").as_deref(), Some(&b"v"[..]));
}

/// A big import outlives the server that it runs against: the server is killed and comes back on the same port, and the
/// import, which was waiting or is run again, ends with every line in the store.
#[test]
fn an_import_goes_on_after_the_server_was_killed() {
    const LINES: usize = 30_000;
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let flags = ["--listen", &address];
    let node = place.start(&flags);
    let input: String = (0..LINES)
        .map(|number| format!("key:{number}\tvalue {number}\n"))
        .collect();
    let file = place.path().join("lines.tsv");
    let state = place.path().join("state");
    fs::write(&file, &input).unwrap();
    let (file, state) = (file.to_str().unwrap(), state.to_str().unwrap());
    let import = ["import", file, "--resume", state, "--in-flight", "8"];
    let mut command = cli(&node, &import);
    let child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let keyspace = node.client().default_keyspace();
    wait_until("the import is under way", || {
        keyspace.count().unwrap() > 500
    });
    node.kill();
    let node = place.start(&flags);
    collect(child).ended(0);
    let keyspace = node.client().default_keyspace();
    assert_eq!(keyspace.count().unwrap(), LINES as u64);
    // Run again it has nothing to do.
    run(&node, &import).ended(0);
    let out = place.path().join("out.tsv");
    run(&node, &["export", out.to_str().unwrap()]).ended(0);
    let mut exported: Vec<String> = fs::read_to_string(out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let mut expected: Vec<String> = input.lines().map(str::to_owned).collect();
    exported.sort();
    expected.sort();
    assert!(exported == expected);
}

/// What a node would run with is told before it runs, and a wrong word is told with the right one.
#[test]
fn the_configuration_is_told_with_its_origins() {
    let place = Place::new();
    let config = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = Command::new(PROGRAM);
        without_settings(&mut command);
        command
            .current_dir(place.path())
            .arg("config")
            .args(arguments)
            .envs(environment.iter().copied());
        finish(command, b"")
    };
    fs::write(
        place.path().join("corduroy.toml"),
        "value_len_max = \"1MiB\"\nsync = \"never\"\n",
    )
    .unwrap();
    let told = config(&["--cores", "1"], &[("CORDUROY_SYNC", "interval=50ms")]).ended(0);
    let line = |key: &str| {
        let text = told.text();
        let found = text
            .lines()
            .find(|line| line.starts_with(&format!("{key} =")));
        found
            .unwrap_or_else(|| panic!("no {key} in {text}"))
            .to_owned()
    };
    assert!(
        line("value_len_max").contains("1MiB") && line("value_len_max").contains("corduroy.toml:1")
    );
    assert!(line("sync").contains("interval=50ms") && line("sync").contains("CORDUROY_SYNC"));
    assert!(line("cores").contains("flag"));
    assert!(line("data").contains("default"));
    assert!(config(&["--json"], &[]).ended(0).json().is_object());
    // What it prints can be used as the file.
    fs::write(place.path().join("corduroy.toml"), told.text()).unwrap();
    config(&[], &[]).ended(0);
    fs::write(
        place.path().join("corduroy.toml"),
        "vale_len_max = \"1MiB\"\n",
    )
    .unwrap();
    let wrong = config(&[], &[]).ended(2);
    assert!(wrong.messages.contains("value_len_max"), "{wrong:?}");
    assert!(!place.path().join("corduroy-data").exists());
}
