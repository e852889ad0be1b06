//! Servers as processes: each test starts its own on a port of its own and ends it.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before a test gives it up for hung: it only keeps the run from hanging with it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where a program is, if it is installed. Says so if not; under `CORDUROY_TESTS=all` it must be.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let found = on_path(program);
    let all = env::var_os("CORDUROY_TESTS").is_some_and(|tests| tests == "all");
    assert!(
        found.is_some() || !all,
        "{program} is missing, and CORDUROY_TESTS=all says that nothing may be"
    );
    if found.is_none() {
        eprintln!("skipped: {program} is missing");
    }
    found
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// How a server is started.
pub(crate) struct Recipe {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Recipe {
    /// Starts it, in and with this directory.
    pub(crate) fn spawn(&self, data: &Path) -> Child {
        let mut command = Command::new(&self.program);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CORDUROY_") {
                command.env_remove(name);
            }
        }
        let messages = fs::File::options()
            .create(true)
            .append(true)
            .open(data.join(MESSAGES))
            .unwrap();
        command
            .args(&self.arguments)
            .current_dir(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(messages)
            .spawn()
            .unwrap()
    }
}

/// A server that ends with this value.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) recipe: Recipe,
    /// What it keeps, and what it says.
    pub(crate) data: tempfile::TempDir,
}

/// Where a server says what goes on.
const MESSAGES: &str = "messages";

impl Process {
    /// Starts a server that is told its port, and waits until it takes connections.
    pub(crate) fn start(program: &Path, arguments: impl Fn(u16, &Path) -> Vec<String>) -> Process {
        // Between asking for a free port and listening on it somebody else may take it; then the server ends, and another port is tried.
        for _ in 0..20 {
            let data = tempfile::tempdir().unwrap();
            let address = free_address();
            let recipe = Recipe {
                program: program.to_owned(),
                arguments: arguments(address.port(), data.path()),
            };
            let mut child = recipe.spawn(data.path());
            if takes_connections(&mut child, address) {
                return Process {
                    child,
                    address,
                    recipe,
                    data,
                };
            }
        }
        panic!("{} does not start", program.display());
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// Waits until a server takes connections; `false` if it has ended instead.
pub(crate) fn takes_connections(child: &mut Child, address: SocketAddr) -> bool {
    let began = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(began.elapsed() < PATIENCE, "it takes no connections");
        if TcpStream::connect(address).is_ok() && child.try_wait().unwrap().is_none() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A port that nobody listens on, below those that the kernel gives to clients: while a server is down, a client that tries it again
/// and again would else get the very port sooner or later and be connected to itself.
fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(12_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let messages = fs::read_to_string(self.data.path().join(MESSAGES));
            let program = self.recipe.program.display();
            eprintln!("{program} said: {}", messages.unwrap_or_default());
        }
    }
}

/// `redis-server` in memory alone, unless `more` says otherwise.
pub(crate) fn redis(more: &[&str]) -> Option<Process> {
    Some(redis_like(&installed("redis-server")?, more))
}

/// `valkey-server` in memory alone. No package of Debian 12 has it, so it may always be missing.
pub(crate) fn valkey() -> Option<Process> {
    let program = on_path("valkey-server");
    if program.is_none() {
        eprintln!("skipped: valkey-server is missing");
    }
    Some(redis_like(&program?, &[]))
}

fn redis_like(program: &Path, more: &[&str]) -> Process {
    Process::start(program, |port, data: &Path| {
        let data = data.display().to_string();
        let port = port.to_string();
        let words = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--dir",
            &data,
            "--save",
            "",
        ];
        words.iter().chain(more).map(ToString::to_string).collect()
    })
}

/// `memcached` on two threads.
pub(crate) fn memcached(more: &[&str]) -> Option<Process> {
    let program = installed("memcached")?;
    Some(Process::start(&program, |port, _| {
        let port = port.to_string();
        // The user matters only to root, as whom memcached refuses to run.
        let words = [
            "-t",
            "2",
            "-m",
            "64",
            "-U",
            "0",
            "-l",
            "127.0.0.1",
            "-p",
            &port,
            "-u",
            "nobody",
        ];
        words.iter().chain(more).map(ToString::to_string).collect()
    }))
}

/// A node on as many cores as there are, two at most, which syncs each write before it answers.
pub(crate) fn corduroy() -> Process {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    Process::start(program(), |port, data: &Path| {
        let data = data.join("data").display().to_string();
        let (listen, cores) = (format!("127.0.0.1:{port}"), cores.to_string());
        let words = [
            "serve",
            "--data",
            &data,
            "--listen",
            &listen,
            "--admin",
            "off",
            "--cores",
            &cores,
            "--sync",
            "always",
            "--memory",
            "256MiB",
            "--segment-len",
            "8MiB",
            "--value-len-max",
            "1MiB",
        ];
        words.iter().map(ToString::to_string).collect()
    })
}

/// What the program is built from.
const SOURCES: [&str; 3] = ["src", "proto-wire/src", "Cargo.lock"];

fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let beside = Path::new(env!("CARGO_BIN_EXE_corduroy-bench")).with_file_name("corduroy");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let sources = SOURCES.iter().map(|source| newest(&root.join(source)));
        let sources = sources.max().expect("there are sources");
        match newest(&beside) {
            Some(built) if Some(built) >= sources => beside,
            _ => build(&root),
        }
    })
}

fn build(root: &Path) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--package", "corduroy", "--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "corduroy can't be built");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .expect("cargo names the program that it has built")
}

/// When anything below `path` was last changed.
pub(crate) fn newest(path: &Path) -> Option<std::time::SystemTime> {
    let below = fs::read_dir(path).into_iter().flatten();
    below
        .filter_map(|entry| newest(&entry.ok()?.path()))
        .chain(
            fs::metadata(path)
                .ok()
                .filter(fs::Metadata::is_file)
                .and_then(|metadata| metadata.modified().ok()),
        )
        .max()
}
