//! The command line client as a program. It is another package's, so Cargo does not hand it to these tests.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::SystemTime;

use super::node::{Node, PROGRAM, without_settings};

/// What the program is built from.
const SOURCES: [&str; 4] = ["tools/cli", "client", "proto-wire", "Cargo.lock"];

/// The program. A build of the workspace leaves it beside the server; where it is missing, or older than its sources, it
/// is built.
fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let beside = Path::new(PROGRAM).with_file_name("corduroy-cli");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let newest = SOURCES
            .iter()
            .map(|source| newest(&root.join(source)))
            .max();
        match modified(&beside) {
            Some(built) if Some(built) >= newest => beside,
            _ => build(root),
        }
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// When anything below `path` was last changed.
fn newest(path: &Path) -> SystemTime {
    let below = fs::read_dir(path).into_iter().flatten();
    below
        .map(|entry| newest(&entry.unwrap().path()))
        .chain(modified(path).filter(|_| path.is_file()))
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn build(root: &Path) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--package", "corduroy-cli"])
        .args(["--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "corduroy-cli can't be built");
    let messages = String::from_utf8(output.stdout).unwrap();
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .expect("cargo names the program that it has built")
}

/// The program, talking to a node.
pub(crate) fn cli(node: &Node, arguments: &[&str]) -> Command {
    cli_at(&node.address().to_string(), arguments)
}

/// The program, talking to an address.
pub(crate) fn cli_at(server: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    without_settings(&mut command);
    command.args(["--server", server]).args(arguments);
    command
}

/// How the program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    code: Option<i32>,
    pub(crate) output: Vec<u8>,
    pub(crate) messages: String,
}

impl Finished {
    /// Fails the test if the program did not end with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Finished {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.output).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Runs a command to its end.
pub(crate) fn run(node: &Node, arguments: &[&str]) -> Finished {
    finish(cli(node, arguments), b"")
}

/// Runs a command to its end, with `input` on its standard input.
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Finished {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may answer before it has read everything, or read nothing at all.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let finished = collect(child);
    feeder.join().unwrap();
    finished
}

/// Waits for a program.
pub(crate) fn collect(child: Child) -> Finished {
    let output = child.wait_with_output().unwrap();
    Finished {
        code: output.status.code(),
        output: output.stdout,
        messages: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
