//! The hot/cold story: what popular keys do to a server. Corduroy on one and on two cores, Redis and memcached, under five distributions of keys.
//!
//! ```sh
//! cargo build --release -p corduroy -p corduroy-bench
//! cargo run --release -p corduroy-bench --example hot_cold
//! ```
//!
//! For each distribution and server there are two runs of 9 reads to 1 write: one as fast as it answers (50 connections, pipeline 16), of which the rate
//! counts, and one at a fixed rate, of which the response times count. All servers are there from the beginning and are asked in turns, so that a minute in which the
//! machine is slow falls on all of them; after that comes the next round. The tables have the medians of the rounds, with the least and the greatest.
//!
//! Every result is kept in `target/hot-cold`; `--append` adds rounds to those that are there, where a machine is quiet for some minutes only. Servers run on the first core (Corduroy also
//! on the first two), the generator on the last. Nothing is kept on disk before it is acknowledged: Corduroy runs with `--sync never`, Redis without persistence.

mod servers;
mod tables;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Parser;
use corduroy_bench::results::{self, Run};
use corduroy_benches::affinity;

use servers::Server;

const DISTRIBUTIONS: [&str; 5] = ["uniform", "zipfian:0.99", "hot-cold", "moving", "single"];
const NAMES: [&str; servers::COUNT] = ["corduroy-1-core", "corduroy-2-cores", "redis", "memcached"];

/// Measures what popular keys do to Corduroy, Redis and memcached.
#[derive(Parser)]
struct Arguments {
    /// Length of each measurement, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// How often all of it is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Operations a second in the runs of which the response times count.
    #[arg(long, default_value = "20k")]
    rate: String,
    /// Where results and servers' data go.
    #[arg(long, default_value = "target/hot-cold")]
    directory: PathBuf,
    /// Add rounds to those that are in the directory.
    #[arg(long)]
    append: bool,
}

/// What is measured of a server under a distribution.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As fast as it answers.
    Fast,
    /// At a rate.
    Steady,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Fast => "fast",
            Kind::Steady => "steady",
        }
    }
}

/// Where the result of a round is, without its ending. The name has no dot, which would pass for one.
fn place(directory: &Path, server: &str, distribution: &str, kind: Kind, round: u32) -> PathBuf {
    let distribution = distribution.replace([':', '.'], "-");
    let kind = kind.name();
    directory.join(format!("{server}-{distribution}-{kind}-{round}"))
}

/// The runs of all rounds, in order.
fn rounds(directory: &Path, server: &str, distribution: &str, kind: Kind) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for round in 0.. {
        let path = place(directory, server, distribution, kind, round).with_extension("json");
        if !path.exists() {
            break;
        }
        runs.extend(results::read(&path).map_err(io::Error::other)?.runs);
    }
    Ok(runs)
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let programs = std::env::current_exe()?;
    let programs = programs.ancestors().nth(2).unwrap_or(Path::new("."));
    let cores = affinity::allowed_cores()?;
    let [first, .., last] = cores[..] else {
        return Err(io::Error::other("one core must serve while another asks"));
    };
    let directory = &arguments.directory;
    if !arguments.append && directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    let mut servers = Vec::new();
    for (kind, name) in NAMES.into_iter().enumerate() {
        let on = if kind == 1 { &cores[..2] } else { &[first][..] };
        servers.extend(servers::start(kind, name, on, programs, directory)?);
    }
    let program = programs.join("corduroy-bench");
    for server in &servers {
        writeln!(io::stderr(), "filling {}", server.name)?;
        succeed(bench(&program, "load", server))?;
    }
    let done = rounds(directory, NAMES[0], DISTRIBUTIONS[0], Kind::Fast)?.len() as u32;
    for round in done..done + arguments.rounds {
        for distribution in DISTRIBUTIONS {
            writeln!(
                io::stderr(),
                "round {} of {}: {distribution}",
                round + 1,
                done + arguments.rounds
            )?;
            for kind in [Kind::Fast, Kind::Steady] {
                for server in &servers {
                    let place = place(directory, server.name, distribution, kind, round);
                    let mut command = bench(&program, "run", server);
                    command
                        .args(["--distribution", distribution])
                        .args(["--duration", &format!("{}s", arguments.seconds)])
                        .args(["--warm-up", "500ms", "--cores", &last.to_string()])
                        .args(["--server-pid", &server.child.id().to_string()])
                        .arg("--json")
                        .arg(place.with_extension("json"))
                        .arg("--svg")
                        .arg(&place);
                    match kind {
                        Kind::Fast => command.args(["--pipeline", "16"]),
                        Kind::Steady => {
                            command.args(["--rate", &format!("poisson:{}", arguments.rate)])
                        }
                    };
                    if distribution == "moving" {
                        command.args(["--move-every", "1s"]);
                    }
                    succeed(command)?;
                }
            }
        }
    }
    drop(servers);
    io::stdout().write_all(tables::tables(directory)?.as_bytes())
}

/// A command of the generator against a server.
fn bench(program: &Path, name: &str, server: &Server) -> Command {
    let mut command = Command::new(program);
    command
        .args([name, "--live", "never", "--protocol", server.protocol])
        .args(["--server", &format!("127.0.0.1:{}", server.port)])
        .stdout(Stdio::null());
    command
}

fn succeed(mut command: Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {status}")))
}
