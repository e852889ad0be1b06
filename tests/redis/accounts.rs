//! What a node tells of the commands that it was sent: the slow log, INFO's `commandstats`, CLIENT LIST's `cmd`.

use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::reply::Reply;
use crate::support::node::Place;

/// Sends a line's words.
fn ask(connection: &mut Connection, line: &str) -> Reply {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    connection.ask(&words)
}

/// An entry of the slow log: its arguments in one line, microseconds, address, name.
fn entries(connection: &mut Connection) -> Vec<(String, i64, String, String)> {
    let reply = ask(connection, "SLOWLOG GET -1");
    let mut ids = Vec::new();
    let entries = reply.items.iter().map(|entry| {
        assert_eq!(entry.items.len(), 6);
        ids.push(entry.items[0].integer().unwrap());
        assert!(entry.items[1].integer().unwrap() > 1_600_000_000);
        let arguments: Vec<String> = entry.items[3].items.iter().map(Reply::text).collect();
        (
            arguments.join(" "),
            entry.items[2].integer().unwrap(),
            entry.items[4].text(),
            entry.items[5].text(),
        )
    });
    let entries = entries.collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), reply.items.len(), "an id came twice");
    entries
}

fn commands_of(entries: &[(String, i64, String, String)]) -> Vec<&str> {
    entries.iter().map(|entry| entry.0.as_str()).collect()
}

/// An operator looks here for what held a client up: a log that stays empty, or is full of what was quick, hides it.
#[test]
fn slow_commands_are_in_the_slow_log_with_who_sent_them() {
    let place = Place::new();
    let node = place.start(&["--cores", "2", "--debug-commands", "yes"]);
    let mut client = Connection::open(node.address());
    ask(&mut client, "CLIENT SETNAME worker");
    // A bound of ten milliseconds, which a loaded machine may be over once in a while, is not tested by what must not be there.
    ask(&mut client, "CONFIG SET slowlog-log-slower-than 100000");
    ask(&mut client, "SLOWLOG RESET");
    ask(&mut client, "DEBUG SLEEP 0.2");
    ask(&mut client, "SET a 1");
    let slow = entries(&mut client);
    assert_eq!(commands_of(&slow), ["DEBUG SLEEP 0.2"]);
    let (_, micros, address, name) = &slow[0];
    assert!((200_000..5_000_000).contains(micros), "{micros}");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert_eq!(name, "worker");
    assert_eq!(ask(&mut client, "SLOWLOG LEN").integer(), Some(1));

    // All of them: those that wait for the disk or another core, those that are answered at once, and transactions.
    ask(&mut client, "CONFIG SET slowlog-log-slower-than 0");
    ask(&mut client, "SLOWLOG RESET");
    let long = "v".repeat(5000);
    for line in [
        "SET key value",
        "SET other value",
        "GET key",
        "PING",
        "MGET key other",
        "MSET key 1 other 2",
        "MULTI",
        "INCR key",
        "GET other",
        "EXEC",
        "NOSUCH",
        "AUTH default secret",
    ] {
        ask(&mut client, line);
    }
    ask(&mut client, &format!("SET key {long}"));
    let all = entries(&mut client);
    let mut expected = vec![
        "SLOWLOG RESET".to_owned(),
        "SET key value".into(),
        "SET other value".into(),
        "GET key".into(),
        "PING".into(),
        "MGET key other".into(),
        "MSET key 1 other 2".into(),
        "MULTI".into(),
        "EXEC INCR key GET other".into(),
        "AUTH (redacted) (redacted)".into(),
        format!("SET key {}... (4872 more bytes)", "v".repeat(128)),
    ];
    // Newest first; two cores number their own, but one client's are on one core.
    expected.reverse();
    assert_eq!(commands_of(&all), expected);

    ask(&mut client, "CONFIG SET slowlog-log-slower-than -1");
    ask(&mut client, "SLOWLOG RESET");
    ask(&mut client, "SET key value");
    ask(&mut client, "DEBUG SLEEP 0.1");
    assert_eq!(ask(&mut client, "SLOWLOG LEN").integer(), Some(0));
    ask(
        &mut client,
        "CONFIG SET slowlog-max-len 3 slowlog-log-slower-than 0",
    );
    for _ in 0..10 {
        ask(&mut client, "GET key");
    }
    assert_eq!(ask(&mut client, "SLOWLOG LEN").integer(), Some(3));
    assert_eq!(ask(&mut client, "SLOWLOG GET 2").items.len(), 2);
    node.stop();
}

/// The figures of a command in INFO.
fn figures(connection: &mut Connection, command: &str) -> Option<String> {
    let text = ask(connection, "INFO commandstats").text();
    let prefix = format!("cmdstat_{command}:");
    let line = text.lines().find(|line| line.starts_with(&prefix))?;
    Some(line[prefix.len()..].to_owned())
}

/// Dashboards show these by command: calls that are counted twice for their rounds, or not at all, make them useless.
#[test]
fn calls_failures_and_refusals_are_counted_by_command() {
    let place = Place::new();
    let node = place.start(&["--cores", "2", "--debug-commands", "yes"]);
    let mut client = Connection::open(node.address());
    ask(&mut client, "CONFIG RESETSTAT");
    for index in 0..20 {
        ask(&mut client, &format!("SET key:{index} x"));
        ask(&mut client, &format!("GET key:{index}"));
    }
    for line in [
        "GET",
        "SET a b nosuch",
        "INCR key:1",
        "INCR key:2",
        "RENAME nokey other",
        "DBSIZE",
        "KEYS *",
        "DEBUG SLEEP 0.05",
        "MULTI",
        "STRLEN key:1",
        "EXEC",
        "MULTI",
        "GET",
        "EXEC",
        "CLIENT ID",
        "nosuch",
    ] {
        ask(&mut client, line);
    }
    let mut is = |command: &str, calls: u64, rejected: u64, failed: u64| {
        let line = figures(&mut client, command).unwrap_or_default();
        assert!(
            line.starts_with(&format!("calls={calls},usec="))
                && line.ends_with(&format!("rejected_calls={rejected},failed_calls={failed}")),
            "{command}: {line}"
        );
    };
    is("get", 20, 2, 0);
    is("set", 21, 0, 1);
    is("incr", 2, 0, 2);
    is("rename", 1, 0, 1);
    is("dbsize", 1, 0, 0);
    is("keys", 1, 0, 0);
    is("strlen", 1, 0, 0);
    is("multi", 2, 0, 0);
    is("exec", 2, 0, 1);
    is("client|id", 1, 0, 0);
    assert_eq!(figures(&mut client, "nosuch"), None);
    let slept = figures(&mut client, "debug").unwrap();
    let micros: u64 = slept.split(['=', ',']).nth(3).unwrap().parse().unwrap();
    assert!(micros >= 50_000, "{slept}");
    ask(&mut client, "CONFIG RESETSTAT");
    assert_eq!(figures(&mut client, "get"), None);
    node.stop();
}

/// Whoever looks for the client that holds a node up sees what it asked for last.
#[test]
fn client_list_tells_the_last_command() {
    let place = Place::new();
    let node = place.start(&[]);
    let mut other = Connection::open(node.address());
    let mut client = Connection::open(node.address());
    ask(&mut other, "CLIENT SETNAME other");
    for (line, expected) in [
        ("GET a", "get"),
        ("CLIENT ID", "client|id"),
        ("SET a", "set"),
        ("MULTI", "multi"),
        ("INCR a", "incr"),
        ("DISCARD", "discard"),
        ("nosuch", "NULL"),
    ] {
        ask(&mut other, line);
        let list = ask(&mut client, "CLIENT LIST").text();
        let line = list.lines().find(|line| line.contains(" name=other "));
        let line = line.unwrap();
        assert!(line.contains(&format!(" cmd={expected} ")), "{line}");
        assert!(list.contains(" cmd=client|list "), "{list}");
    }
    node.stop();
}

/// One skipped reply is one, though the command takes several rounds: a reply too many shifts all that follow.
#[test]
fn a_skipped_reply_of_a_command_of_several_rounds_is_skipped() {
    let place = Place::new();
    let node = place.start(&["--cores", "2", "--debug-commands", "yes"]);
    let mut client = Connection::open(node.address());
    for line in ["DBSIZE", "KEYS *", "DEBUG SLEEP 0.01", "WATCH a", "INFO"] {
        client.send(b"CLIENT REPLY SKIP\r\n").unwrap();
        client.send(line.as_bytes()).unwrap();
        client.send(b"\r\n").unwrap();
        let began = Instant::now();
        assert_eq!(ask(&mut client, "PING").line, b"+PONG", "{line}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    client
        .send(b"CLIENT REPLY OFF\r\nDBSIZE\r\nGET a\r\n")
        .unwrap();
    assert_eq!(ask(&mut client, "CLIENT REPLY ON").line, b"+OK");
    assert_eq!(ask(&mut client, "DBSIZE").integer(), Some(0));
    node.stop();
}
