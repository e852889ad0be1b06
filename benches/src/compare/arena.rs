//! Starting and ending the servers that are compared.
//!
//! A server runs on the cores that it is given and nowhere else, listens on a free port of the loopback address, keeps its
//! data in a temporary directory of its own, and is ended with its value. It is killed, not asked: its data is thrown
//! away with it, and that takes bounded time whatever state it is in.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    CompareError, Options,
    server::{Server, arguments},
};
use crate::{affinity, drive::protocol::Session};

/// How long a server may take to answer for the first time.
const START_MAX: Duration = Duration::from_secs(120);
/// How long one attempt to reach it may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Between two attempts.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(2);
/// How much of a failed server's output an error shows, in bytes.
const OUTPUT_LEN_MAX: usize = 2_000;

/// Where the comparison takes place: programs, cores, directory.
#[derive(Debug)]
pub struct Arena {
    /// Of this program and those built with it.
    programs: PathBuf,
    /// The cores that may be used, ascending: the first ones serve, the last one drives.
    pub cores: Vec<usize>,
    directory: PathBuf,
}

impl Arena {
    /// Builds what is to be built, and looks where it runs.
    ///
    /// # Errors
    ///
    /// If it can't be built, there is but one core, or the directory can't be made.
    pub fn prepare(options: &Options) -> Result<Arena, CompareError> {
        if !options.no_build {
            build()?;
        }
        let program =
            std::env::current_exe().map_err(CompareError::io("find this program's directory"))?;
        let programs = program.parent().unwrap_or(Path::new("."));
        Arena::new(programs, &options.directory)
    }

    /// With the programs of this directory as they are, and servers' data below `directory`.
    ///
    /// # Errors
    ///
    /// If there is but one core, or the directory can't be made.
    pub fn new(programs: &Path, directory: &Path) -> Result<Arena, CompareError> {
        let cores =
            affinity::allowed_cores().map_err(CompareError::io("read which cores may be used"))?;
        if cores.len() < 2 {
            let source = io::Error::other("one core must serve while another drives");
            let action = format!("compare on {} core", cores.len());
            return Err(CompareError::Io { action, source });
        }
        fs::create_dir_all(directory)
            .map_err(CompareError::io(format!("make {}", directory.display())))?;
        // Servers are told their directories and may not share our working directory.
        let directory = directory
            .canonicalize()
            .map_err(CompareError::io(format!("find {}", directory.display())))?;
        Ok(Arena {
            programs: programs.to_path_buf(),
            cores,
            directory,
        })
    }

    /// The core that drives: the last one.
    #[must_use]
    pub fn driver_core(&self) -> usize {
        *self.cores.last().expect("an arena has two cores or more")
    }

    /// The program of a server.
    ///
    /// # Errors
    ///
    /// [`CompareError::Missing`].
    pub fn program(&self, server: Server) -> Result<PathBuf, CompareError> {
        let (program, hint) = match server {
            Server::Corduroy { .. } => (
                "corduroy",
                "build it with `cargo build --release -p corduroy`",
            ),
            Server::EchoGlommio => (
                "echo_glommio",
                "build it with `cargo build --release -p corduroy-benches`",
            ),
            Server::Redis { .. } => (
                "redis-server",
                "install it with `apt-get install redis-server`",
            ),
            Server::Memcached => ("memcached", "install it with `apt-get install memcached`"),
        };
        let found = match server {
            Server::Corduroy { .. } | Server::EchoGlommio => Some(self.programs.join(program)),
            Server::Redis { .. } | Server::Memcached => on_path(program),
        };
        found
            .filter(|path| path.is_file())
            .ok_or(CompareError::Missing { program, hint })
    }

    /// Starts a server on the first of the cores, with no data.
    ///
    /// # Errors
    ///
    /// If its program is missing, or it does not answer in time.
    pub fn start(&self, server: Server) -> Result<Running, CompareError> {
        let directory = TempDir::with_prefix_in("server-", &self.directory).map_err(
            CompareError::io(format!("make a directory in {}", self.directory.display())),
        )?;
        self.start_in(server, directory)
    }

    /// Starts a server on the data in this directory.
    ///
    /// # Errors
    ///
    /// As [`Arena::start`].
    pub fn start_in(&self, server: Server, directory: TempDir) -> Result<Running, CompareError> {
        let program = self.program(server)?;
        let cores = match server {
            Server::Corduroy { cores, .. } => &self.cores[..cores],
            _ => &self.cores[..1],
        };
        let address = free_address().map_err(CompareError::io("find a free port"))?;
        let mut command = Command::new(program);
        command.args(arguments(server, address, directory.path(), cores));
        let shown = format!("{command:?}").replace('"', "");
        let output_path = directory.path().join("output");
        let output = fs::File::create(&output_path)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(CompareError::io(format!("make {}", output_path.display())))?;
        command
            .stdin(Stdio::null())
            .stdout(output.0)
            .stderr(output.1);
        let started = Instant::now();
        let child = affinity::on_cores(cores, || command.spawn())
            .map_err(CompareError::io(format!("run {shown}")))?;
        let mut running = Running {
            server,
            address,
            command: shown,
            child,
            directory: Some(directory),
            started,
        };
        running.wait_until_answered(&output_path)?;
        Ok(running)
    }
}

/// A server that answers. It ends with this value.
#[derive(Debug)]
pub struct Running {
    /// Who it is.
    pub server: Server,
    /// Where it listens.
    pub address: SocketAddr,
    /// How it was started.
    pub command: String,
    /// When its process was started.
    pub started: Instant,
    child: Child,
    directory: Option<TempDir>,
}

impl Running {
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and gives back its directory with all that is in it.
    #[must_use]
    pub fn kill(mut self) -> TempDir {
        self.end();
        self.directory
            .take()
            .expect("a running server has a directory until here")
    }

    /// Has it stop as a service manager does, and gives back its directory with all that is in it.
    ///
    /// # Errors
    ///
    /// If it does not end well.
    pub fn stop(mut self) -> Result<TempDir, CompareError> {
        let failed = CompareError::io("stop a server");
        let ended = Pid::from_raw(self.child.id() as i32)
            .ok_or_else(|| io::Error::other("it has no process"))
            .and_then(|pid| Ok(kill_process(pid, Signal::TERM)?))
            .and_then(|()| self.child.wait())
            .and_then(|status| match status.success() {
                true => Ok(()),
                false => Err(io::Error::other(status.to_string())),
            });
        ended.map_err(failed)?;
        Ok(self
            .directory
            .take()
            .expect("a running server has a directory until here"))
    }

    fn end(&mut self) {
        // Both fail only if the process has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait_until_answered(&mut self, output: &Path) -> Result<(), CompareError> {
        loop {
            let reached = match self.server {
                Server::Corduroy { .. } => Session::connect(self.address, ATTEMPT_MAX).map(drop),
                _ => TcpStream::connect_timeout(&self.address, ATTEMPT_MAX).map(drop),
            };
            let Err(error) = reached else {
                return Ok(());
            };
            let ended = self
                .child
                .try_wait()
                .map_err(CompareError::io("look after a server"))?;
            let reason = match ended {
                Some(status) => format!("ended before it answered ({status})"),
                None if self.started.elapsed() > START_MAX => {
                    format!("did not answer within {START_MAX:?} ({error})")
                }
                None => {
                    thread::sleep(ATTEMPT_PAUSE);
                    continue;
                }
            };
            return Err(CompareError::Start {
                server: self.server.to_string(),
                reason,
                output: end_of(&fs::read(output).unwrap_or_default()),
            });
        }
    }
}

/// How long a server that is not needed any more may take to stop, before it is killed. One that stops by itself leaves nothing behind, in `/dev/shm` neither.
const STOP_MAX: Duration = Duration::from_secs(5);

impl Drop for Running {
    fn drop(&mut self) {
        let began = Instant::now();
        // One that was waited for has no process any more, and its number may be another's.
        let mut runs = matches!(self.child.try_wait(), Ok(None));
        if runs && let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        while runs && began.elapsed() < STOP_MAX {
            thread::sleep(Duration::from_millis(10));
            runs = matches!(self.child.try_wait(), Ok(None));
        }
        self.end();
    }
}

/// Builds the programs of this repository, as the command line would.
fn build() -> Result<(), CompareError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--release",
        "-p",
        "corduroy",
        "-p",
        "corduroy-benches",
    ]);
    let shown = format!("{command:?}").replace('"', "");
    let failed = |reason: String| CompareError::Build {
        command: shown,
        reason,
    };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A loopback address on whose port nothing listens. Somebody else may take it before it is used; then the server says so.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Where a program is installed.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// The last lines of what a program printed, for an error.
pub(super) fn end_of(bytes: &[u8]) -> String {
    let end = &bytes[bytes.len().saturating_sub(OUTPUT_LEN_MAX)..];
    let text = String::from_utf8_lossy(end).trim().to_owned();
    if text.is_empty() {
        "(it printed nothing)".to_owned()
    } else {
        text
    }
}
