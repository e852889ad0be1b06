//! A node as a process: the built binary, on a port that the kernel chooses, ended when the test is.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use corduroy_client::blocking::Client;
use rustix::process::{Pid, Signal, kill_process};

use super::needs;
use super::wire::{Wire, narrow};
use super::{PATIENCE, wait_until};

/// The server's program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_corduroy");

/// A directory for one test: the node's data, and the log of its messages.
#[derive(Debug)]
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

/// Where the last writes of a shard with this directory are, with `--sync never` and `interval`.
pub(crate) fn written_behind(shard: &fs::Metadata) -> PathBuf {
    let name = format!("corduroy-{:x}-{:x}", shard.dev(), shard.ino());
    Path::new("/dev/shm").join(name)
}

/// What nodes that were killed here had not written to their files is of no use to anybody.
impl Drop for Place {
    fn drop(&mut self) {
        for shard in fs::read_dir(self.data()).into_iter().flatten().flatten() {
            if let Ok(shard) = shard.metadata() {
                let _ = fs::remove_file(written_behind(&shard));
            }
        }
    }
}

impl Place {
    pub(crate) fn new() -> Place {
        Place {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The node's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Starts a node here; it serves when this returns.
    pub(crate) fn start(&self, flags: &[&str]) -> Node {
        self.start_on(&self.data(), flags)
    }

    /// Starts a node whose data is elsewhere.
    pub(crate) fn start_on(&self, data: &Path, flags: &[&str]) -> Node {
        self.try_start(serve(data, flags))
            .unwrap_or_else(|failed| panic!("the node did not start: {failed:?}"))
    }

    /// Starts a node that may refuse to start.
    pub(crate) fn try_start(&self, mut command: Command) -> Result<Node, Failed> {
        let log = self.path().join("messages");
        let messages = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let already = fs::metadata(&log).unwrap().len() as usize;
        let mut child = command
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(messages)
            .spawn()
            .unwrap_or_else(|error| panic!("can't run {command:?}: {error}"));
        let output = child.stdout.take().unwrap();
        let (line_to, line) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Read on though nobody listens: the node must never meet a full pipe.
                let _ = line_to.send(line);
            }
        });
        let mut node = Node {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            log,
            already,
        };
        match line.recv_timeout(PATIENCE) {
            Ok(line) => {
                let address = line.rsplit(' ').next().and_then(|word| word.parse().ok());
                node.address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
                Ok(node)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = node.wait();
                Err(Failed {
                    status,
                    messages: node.messages(),
                })
            }
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the node never said that it listens"),
        }
    }
}

/// The command that serves `data`, on as many cores as the tests use and with little memory, unless `flags` say otherwise.
pub(crate) fn serve(data: &Path, flags: &[&str]) -> Command {
    serve_by(Path::new(PROGRAM), data, flags)
}

/// As [`serve`], with another copy of the program.
pub(crate) fn serve_by(program: &Path, data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(program);
    without_settings(&mut command);
    command.arg("serve").arg("--data").arg(data);
    let cores = needs::cores().to_string();
    for (flag, value) in [
        ("--listen", "127.0.0.1:0"),
        ("--admin", "off"),
        ("--cores", &cores),
        ("--memory", "256MiB"),
        // Short segments, so that a test with little data has several.
        ("--value-len-max", "2MiB"),
        ("--segment-len", "8MiB"),
    ] {
        if !flags.contains(&flag) {
            command.args([flag, value]);
        }
    }
    command.args(flags);
    command
}

/// Keeps the settings of whoever runs the tests away from a program.
pub(crate) fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CORDUROY_") {
            command.env_remove(name);
        }
    }
}

/// A start that came to nothing.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) status: ExitStatus,
    /// What it wrote to standard error.
    pub(crate) messages: String,
}

/// A running node. It is killed when this is dropped; if the test fails, its messages are shown.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    /// Messages of earlier nodes, in bytes.
    already: usize,
}

impl Node {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A connection of bytes, its hello done.
    pub(crate) fn connect(&self) -> Wire {
        Wire::open(self.address, None).unwrap()
    }

    /// As [`Node::connect`], over a socket that takes in little before it is read.
    pub(crate) fn connect_narrow(&self) -> Wire {
        Wire::open_on(narrow(self.address).unwrap(), None).unwrap()
    }

    /// A client as programs use it.
    pub(crate) fn client(&self) -> Client {
        Client::builder()
            .address(self.address.to_string())
            .request_timeout(PATIENCE)
            .connect_timeout(PATIENCE)
            .build_blocking()
            .unwrap()
    }

    /// What the node says of itself.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.client().status().unwrap()).unwrap()
    }

    /// What it has written to standard error.
    pub(crate) fn messages(&self) -> String {
        let all = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(all.get(self.already..).unwrap_or_default()).into_owned()
    }

    /// Ends the process as a power switch ends a machine that keeps its page cache.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the node never ended");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops the node as a service manager does, and holds it to ending well.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "the node ended with {status}");
    }

    /// Descriptors that it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id()))
            .unwrap()
            .count()
    }

    /// Sockets that it has open.
    pub(crate) fn sockets(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id()))
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Memory that it has resident, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kibibytes.trim().parse::<u64>().unwrap() << 10
    }

    /// Waits until its messages contain `text`.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        wait_until(&format!("the node says {text:?}"), || {
            self.messages().contains(text)
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the node {} said:\n{}", self.id(), self.messages());
        }
    }
}
