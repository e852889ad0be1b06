//! The interactive mode, on a terminal of its own.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use common::server::Server;
use common::{cli, text_of};
use rexpect::session::{PtySession, spawn_command};
use std::fs;
use std::path::Path;

fn prompt(server: &Server, home: &Path, arguments: &[&str]) -> PtySession {
    let mut command = cli(server, arguments);
    command.env("HOME", home).env("TERM", "xterm");
    spawn_command(command, None).expect("a terminal")
}

/// Sends a line as a person does, and waits for what it should bring.
fn say(session: &mut PtySession, line: &str, expected: &str) {
    session.send_line(line).unwrap();
    session.exp_string(expected).unwrap();
}

/// As [`say`], and waits for the next prompt: keys that are pressed while the terminal changes its mode are lost.
fn ask(session: &mut PtySession, line: &str, expected: &str, prompt: &str) {
    say(session, line, expected);
    session.exp_string(prompt).unwrap();
}

/// Presses keys without ending the line.
fn press(session: &mut PtySession, keys: &str) {
    session.send(keys).unwrap();
    session.flush().unwrap();
}

/// The whole of a session: commands, an error that doesn't end it, another keyspace, completion, and a history that the next
/// session finds.
#[test]
fn a_session() {
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let mut session = prompt(&server, home.path(), &[]);
    session.exp_string("fake/1 at ").unwrap();
    session.exp_string("default> ").unwrap();
    ask(
        &mut session,
        "put 'a key' \"tab\\there\"",
        "version",
        "default> ",
    );
    ask(&mut session, "get 'a key'", "tab\\there", "default> ");
    ask(
        &mut session,
        "frobnicate",
        "unrecognized subcommand",
        "default> ",
    );
    ask(
        &mut session,
        "use nowhere",
        "there is no keyspace",
        "default> ",
    );
    ask(
        &mut session,
        "keyspace create other",
        "created other",
        "default> ",
    );
    say(&mut session, "use other", "other> ");
    press(&mut session, "cou\t");
    session.exp_string("count").unwrap();
    ask(&mut session, "", "\r\n0\r\n", "other> ");
    ask(&mut session, "put in-other 1", "version", "other> ");
    press(&mut session, "keyspace drop oth\t");
    session.exp_string("other").unwrap();
    say(&mut session, "", "[y/N]");
    ask(&mut session, "n", "nothing was done", "other> ");
    session.send_line("exit").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(server.contents()[&b"a key"[..]], b"tab\there");

    let history = home.path().join(".local/state/corduroy/history");
    assert!(
        fs::read_to_string(text_of(&history))
            .unwrap()
            .contains("put 'a key'")
    );
    let mut session = prompt(&server, home.path(), &["-k", "other"]);
    session.exp_string("other> ").unwrap();
    // The arrow up: the newest line of the first session is `exit`, the one before it the drop.
    press(&mut session, "\x1b[A\x1b[A");
    session.exp_string("keyspace drop other").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("other> ").unwrap();
    ask(&mut session, "count", "\r\n1\r\n", "other> ");
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
}
