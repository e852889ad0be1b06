//! The hot/cold story: what popular keys do to a server. Corduroy on one and on two cores, Redis and memcached, under five distributions of keys.
//!
//! ```sh
//! cargo build --release -p corduroy -p corduroy-bench
//! cargo run --release -p corduroy-bench --example hot_cold
//! ```
//!
//! For each server and distribution there are two runs of 9 reads to 1 write: one as fast as it answers (50 connections, pipeline 16), of which the rate
//! counts, and one at a fixed rate, of which the response times count. It prints both as tables and keeps every result, with its plots, in
//! `target/hot-cold`. Servers run on the first core (Corduroy also on the first two), the generator on the last. Nothing is kept on disk before it is
//! acknowledged: Corduroy runs with `--sync never`, Redis without persistence.

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use clap::Parser;
use corduroy_bench::{
    report::units::{micros, round_count},
    results::{self, Run},
    workload::Heat,
};
use corduroy_benches::affinity;

const DISTRIBUTIONS: [&str; 5] = ["uniform", "zipfian:0.99", "hot-cold", "moving", "single"];
const START_TRIES: u32 = 500;
const START_PAUSE: Duration = Duration::from_millis(20);

/// Measures what popular keys do to Corduroy, Redis and memcached.
#[derive(Parser)]
struct Arguments {
    /// Length of each measurement, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Operations a second in the runs of which the response times count.
    #[arg(long, default_value = "40k")]
    rate: String,
    /// Where results and servers' data go.
    #[arg(long, default_value = "target/hot-cold")]
    directory: PathBuf,
}

/// A server that ends with this value.
struct Server {
    name: &'static str,
    protocol: &'static str,
    port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let programs = std::env::current_exe()?;
    let programs = programs.ancestors().nth(2).unwrap_or(Path::new("."));
    let cores = affinity::allowed_cores()?;
    let [first, .., last] = cores[..] else {
        return Err(io::Error::other("one core must serve while another asks"));
    };
    fs::create_dir_all(&arguments.directory)?;
    let mut fast = String::new();
    let mut steady = String::new();
    for kind in 0..4 {
        let on = if kind == 1 { &cores[..2] } else { &[first][..] };
        let Some(server) = start(kind, on, programs, &arguments.directory)? else {
            continue;
        };
        for distribution in DISTRIBUTIONS {
            let bench = |suffix: &str, flags: &[&str]| -> io::Result<Run> {
                let name = format!(
                    "{}-{}-{suffix}",
                    server.name,
                    distribution.replace(':', "-")
                );
                let json = arguments.directory.join(format!("{name}.json"));
                let svg = arguments.directory.join(&name);
                let status = Command::new(programs.join("corduroy-bench"))
                    .args([
                        "run",
                        "--protocol",
                        server.protocol,
                        "--load",
                        "--live",
                        "never",
                    ])
                    .args(["--server", &format!("127.0.0.1:{}", server.port)])
                    .args(["--server-pid", &server.child.id().to_string()])
                    .args(["--distribution", distribution, "--move-every", "1s"])
                    .args(["--duration", &format!("{}s", arguments.seconds)])
                    .args(["--warm-up", "1s", "--cores", &last.to_string()])
                    .arg("--json")
                    .arg(&json)
                    .arg("--svg")
                    .arg(&svg)
                    .args(flags)
                    .stdout(Stdio::null())
                    .status()?;
                if !status.success() {
                    return Err(io::Error::other(format!("{name}: {status}")));
                }
                let report = results::read(&json).map_err(io::Error::other)?;
                report
                    .runs
                    .into_iter()
                    .next()
                    .ok_or_else(|| io::Error::other("no run"))
            };
            let run = bench("fast", &["--pipeline", "16"])?;
            let cpu = run
                .server_cpu_seconds
                .map_or(0.0, |seconds| 1e6 * seconds / run.operations.max(1) as f64);
            fast.push_str(&format!(
                "| {} | {distribution} | {}/s | {cpu:.2} µs |\n",
                server.name,
                round_count(run.throughput)
            ));
            let run = bench(
                "steady",
                &["--rate", &format!("poisson:{}", arguments.rate)],
            )?;
            steady.push_str(&row(server.name, distribution, &run));
        }
    }
    writeln!(
        io::stdout(),
        "| server | keys | as fast as it answers | server CPU an operation |\n|---|---|---|---|\n{fast}"
    )?;
    writeln!(
        io::stdout(),
        "| server | keys | p50 | p99 | p99.9 | hot p99 | cold p99 | |\n|---|---|---|---|---|---|---|---|\n{steady}"
    )?;
    Ok(())
}

/// One line of the table of response times.
fn row(server: &str, distribution: &str, run: &Run) -> String {
    let of = |heat: Option<Heat>| {
        run.latencies.iter().find(|latency| {
            latency.heat == heat && latency.operation.is_none() && latency.server_core.is_none()
        })
    };
    let all = of(None)
        .map(|latency| latency.response.clone())
        .unwrap_or_default();
    let p99 = |heat| {
        of(Some(heat)).map_or_else(|| "–".to_owned(), |latency| micros(latency.response.p99))
    };
    format!(
        "| {server} | {distribution} | {} | {} | {} | {} | {} | {} |\n",
        micros(all.p50),
        micros(all.p99),
        micros(all.p999),
        p99(Heat::Hot),
        p99(Heat::Cold),
        if run.generator.trusted {
            ""
        } else {
            "not to be claimed"
        }
    )
}

/// Starts the server of this number; `None` if its program isn't there.
fn start(
    kind: usize,
    cores: &[usize],
    programs: &Path,
    directory: &Path,
) -> io::Result<Option<Server>> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let data = directory.join(format!("data-{port}"));
    let text = port.to_string();
    let (name, protocol, mut command) = match kind {
        0 | 1 => {
            let mut command = Command::new(programs.join("corduroy"));
            let list: Vec<String> = cores.iter().map(|core| format!("{core}-{core}")).collect();
            command
                .args([
                    "serve",
                    "--sync",
                    "never",
                    "--listen",
                    &format!("127.0.0.1:{port}"),
                ])
                .args(["--cores", &list.join(",")])
                .arg("--data")
                .arg(&data);
            let name = if kind == 0 {
                "corduroy-1-core"
            } else {
                "corduroy-2-cores"
            };
            (name, "native", command)
        }
        2 => {
            let mut command = Command::new("redis-server");
            command.args(["--port", &text, "--save", "", "--appendonly", "no"]);
            ("redis", "resp", command)
        }
        _ => {
            let mut command = Command::new("memcached");
            command.args([
                "-p",
                &text,
                "-l",
                "127.0.0.1",
                "-t",
                "1",
                "-u",
                "nobody",
                "-m",
                "256",
            ]);
            ("memcached", "memcached-text", command)
        }
    };
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = match affinity::on_cores(cores, || command.spawn()) {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            writeln!(io::stderr(), "{name} is not installed and left out")?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let server = Server {
        name,
        protocol,
        port,
        child,
    };
    for _ in 0..START_TRIES {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(Some(server));
        }
        thread::sleep(START_PAUSE);
    }
    Err(io::Error::other(format!("{name} does not answer")))
}
