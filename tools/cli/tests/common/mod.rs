//! What the end-to-end tests share: the built program, and a server in this process that can be told to misbehave.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod server;

use server::Server;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The program, talking to `server`, with an environment of its own.
pub(crate) fn cli(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corduroy-cli"));
    command
        .args(arguments)
        .env_clear()
        .env("CORDUROY_SERVER", server.address())
        .env("RUST_BACKTRACE", "1");
    command
}

/// Runs the program to its end with `input` on standard input.
pub(crate) fn run_with(server: &Server, arguments: &[&str], input: &[u8]) -> Finished {
    feed(cli(server, arguments), input)
}

/// Runs the program to its end without input.
pub(crate) fn run(server: &Server, arguments: &[&str]) -> Finished {
    run_with(server, arguments, b"")
}

/// Runs `command` to its end with `input` on standard input.
pub(crate) fn feed(mut command: Command, input: &[u8]) -> Finished {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    // On a thread of its own: the program may answer before it has read everything.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let finished = finish(child);
    feeder.join().expect("the feeder does not panic");
    finished
}

/// Waits for a program that was started.
pub(crate) fn finish(child: Child) -> Finished {
    let Output {
        status,
        stdout,
        stderr,
    } = child
        .wait_with_output()
        .expect("the program can be waited for");
    Finished {
        code: status.code(),
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// How the program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    /// Standard output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is text")
    }

    /// Fails the test if the program did not end with `code`.
    #[track_caller]
    pub(crate) fn ended(&self, code: i32) -> &Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {:?}\nstderr: {}",
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }
}

/// A path as an argument.
pub(crate) fn text_of(path: &Path) -> &str {
    path.to_str()
        .expect("temporary directories have names that are text")
}
