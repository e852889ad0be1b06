//! `redis-benchmark` as the client: the load that users of Redis measure with.
//!
//! A run is two of its runs. The first is short: it warms up, and tells how many requests the second must send to last for
//! the window. The second is what counts, from its start to its end: its own rate, and the CPU time that the server used
//! meanwhile. Its start takes some milliseconds of the window in which little is asked; against CPU time that is nothing.
//!
//! It asks the keys that [`super::duel`] has written: with `-r`, its keys are `key:` and twelve digits too. It does not look
//! at values, and a get of a missing key is as good to it as any other.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    CompareError,
    arena::{end_of, on_path},
    server::Server,
};
use crate::{
    affinity,
    drive::{
        Config, Operations, Report,
        report::{Errors, Latency, ServerCpu},
    },
    process::{CpuTime, MachineTime, ended_children_time},
};

const PROGRAM: &str = "redis-benchmark";
/// Requests of the short run, for each in flight on a connection: from a quarter of a second to a few.
const WARM_UP_REQUESTS: u64 = 50_000;
/// How long a run may take, in windows, before it is ended: the short run may have overestimated the server.
const WINDOWS_MAX: u32 = 20;
/// The same where the window is short.
const TIME_MIN: Duration = Duration::from_secs(60);
/// Between two looks at whether it has ended.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// The installed program.
#[derive(Clone, Debug)]
pub struct RedisBenchmark {
    program: PathBuf,
}

impl RedisBenchmark {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// [`CompareError::Missing`].
    pub fn find() -> Result<RedisBenchmark, CompareError> {
        let program = on_path(PROGRAM).ok_or(CompareError::Missing {
            program: PROGRAM,
            hint: "install it with `apt-get install redis-tools`",
        })?;
        Ok(RedisBenchmark { program })
    }

    /// The command line of such a run but for the number of requests, for people.
    #[must_use]
    pub fn shown(&self, config: &Config) -> String {
        format!("{PROGRAM} {}", arguments(config).join(" "))
    }

    /// One run against this server, whose process is `pid`.
    ///
    /// # Errors
    ///
    /// If it fails, or takes far too long.
    pub fn run(&self, server: Server, pid: u32, config: &Config) -> Result<Report, CompareError> {
        let warm_up = WARM_UP_REQUESTS * u64::from(config.in_flight);
        let told = self.ask(server, config, warm_up)?;
        let requests = (told.requests_per_second * config.window.as_secs_f64()).ceil() as u64;
        let requests = requests.max(warm_up);

        let before = Snapshot::take(pid)?;
        let told = self.ask(server, config, requests)?;
        let after = Snapshot::take(pid)?;
        Ok(report(config, requests, told, (&before, &after)))
    }

    /// Runs the program with so many requests, on the driver's core; answers what it says.
    fn ask(&self, server: Server, config: &Config, requests: u64) -> Result<Told, CompareError> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments(config))
            .args(["-n", &requests.to_string()]);
        let shown = format!("{command:?}").replace('"', "");
        let failed = |reason: String, output: &str| CompareError::Client {
            command: shown.clone(),
            server: server.to_string(),
            reason,
            output: end_of(output.as_bytes()),
        };
        let io = |source| CompareError::Io {
            action: format!("run {shown}"),
            source,
        };
        let mut output = tempfile::tempfile().map_err(io)?;
        let (out, error_out) = both(&output).map_err(io)?;
        command.stdin(Stdio::null()).stdout(out).stderr(error_out);
        let mut start = || command.spawn();
        let mut child = match config.core {
            Some(core) => affinity::on_cores(&[core], start),
            None => start(),
        }
        .map_err(io)?;

        let deadline = Instant::now() + (config.window * WINDOWS_MAX).max(TIME_MIN);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(io)? {
                break Some(status);
            }
            if Instant::now() > deadline {
                // Both fail only if it has ended after all.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            thread::sleep(LOOK_PAUSE);
        };
        let text = read_back(&mut output).map_err(io)?;
        match status {
            None => Err(failed("took too long".to_owned(), &text)),
            Some(status) if !status.success() => Err(failed(format!("ended ({status})"), &text)),
            Some(_) => Told::parse(&text)
                .ok_or_else(|| failed("printed no line of figures".to_owned(), &text)),
        }
    }
}

fn both(file: &File) -> io::Result<(File, File)> {
    Ok((file.try_clone()?, file.try_clone()?))
}

fn read_back(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// All of the command line but the number of requests.
fn arguments(config: &Config) -> Vec<String> {
    let test = match config.operations {
        Operations::Get => "get",
        Operations::Put => "set",
        // Redis's own word for both, one after the other.
        Operations::Mix => "set,get",
    };
    let host = config.address.ip().to_string();
    let numbers = [
        ("-p", u64::from(config.address.port())),
        ("-c", config.connections as u64),
        ("-P", u64::from(config.in_flight)),
        ("-d", config.value_len as u64),
        ("-r", config.keys),
    ];
    let mut words: Vec<String> = ["-h", &host, "-t", test, "--csv"].map(str::to_owned).into();
    for (flag, number) in numbers {
        words.extend([flag.to_owned(), number.to_string()]);
    }
    words
}

/// What it says of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Told {
    /// Reads what `--csv` prints: a line of names and a line of figures for each test, here one. Warnings may surround them.
    fn parse(text: &str) -> Option<Told> {
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split(',').map(|word| word.trim_matches('"')).collect())
            .collect();
        let names_at = rows.iter().position(|row| row.first() == Some(&"test"))?;
        let (names, figures) = (&rows[names_at], rows.get(names_at + 1)?);
        let figure = |name: &str| {
            let at = names.iter().position(|&known| known == name)?;
            let figure: f64 = figures.get(at)?.parse().ok()?;
            (figure.is_finite() && figure > 0.0).then_some(figure)
        };
        Some(Told {
            requests_per_second: figure("rps")?,
            p50_ms: figure("p50_latency_ms")?,
            p99_ms: figure("p99_latency_ms")?,
            max_ms: figure("max_latency_ms")?,
        })
    }
}

/// Clocks at one moment.
struct Snapshot {
    at: Instant,
    server: CpuTime,
    clients: Duration,
    machine: MachineTime,
}

impl Snapshot {
    fn take(server_pid: u32) -> Result<Snapshot, CompareError> {
        let read = || -> io::Result<Snapshot> {
            Ok(Snapshot {
                at: Instant::now(),
                server: CpuTime::of(server_pid)?,
                clients: ended_children_time()?,
                machine: MachineTime::now()?,
            })
        };
        read().map_err(CompareError::io("read CPU times"))
    }
}

fn report(
    config: &Config,
    requests: u64,
    told: Told,
    (before, after): (&Snapshot, &Snapshot),
) -> Report {
    let window_seconds = after.at.duration_since(before.at).as_secs_f64();
    let server = ServerCpu::new(
        after.server.total.saturating_sub(before.server.total),
        after.server.threads_since(&before.server),
        requests,
        window_seconds,
    );
    let client = after.clients.saturating_sub(before.clients).as_secs_f64();
    let busy = after.machine.since(before.machine).busy.as_secs_f64();
    Report {
        config: config.clone(),
        window_seconds,
        requests,
        requests_per_second: told.requests_per_second,
        latency_us: Latency {
            p50: told.p50_ms * 1e3,
            p99: told.p99_ms * 1e3,
            p999: None,
            max: told.max_ms * 1e3,
        },
        // Ticks are coarse: what is left of a short window may be a little less than nothing.
        others_cores: ((busy - server.seconds - client) / window_seconds).max(0.0),
        client_cpu_share: client / window_seconds,
        server: Some(server),
        // It ends at the first error, and then there is no report.
        errors: Errors::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What version 7.0.15 prints, with the warning of a server that has no CONFIG GET.
    #[test]
    fn figures_are_found_by_name_whatever_surrounds_them() {
        let text = "WARNING: Could not fetch server CONFIG\n\
            \"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
            \"GET\",\"943396.25\",\"0.764\",\"0.144\",\"0.751\",\"0.887\",\"1.167\",\"5.487\"\n";
        let told = Told {
            requests_per_second: 943_396.25,
            p50_ms: 0.751,
            p99_ms: 1.167,
            max_ms: 5.487,
        };
        assert_eq!(Told::parse(text), Some(told));
    }

    // A run that failed half way must not be read as one of no requests a second, or an infinite number of them.
    #[test]
    fn without_a_line_of_figures_there_are_none() {
        let names = "\"test\",\"rps\",\"p50_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n";
        for figures in [
            "",
            "\"GET\"\n",
            "\"GET\",\"nan\",\"1\",\"1\",\"1\"\n",
            "\"GET\",\"inf\",\"1\",\"1\",\"1\"\n",
            "\"GET\",\"0.00\",\"1\",\"1\",\"1\"\n",
        ] {
            assert_eq!(Told::parse(&format!("{names}{figures}")), None, "{figures}");
        }
        assert_eq!(Told::parse("Could not connect to Redis"), None);
    }
}
