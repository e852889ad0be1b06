//! Two contenders in turns.
//!
//! Both are started on the same core and filled; then, round by round, the subject is driven while the peer idles, and the
//! other way about. Where both are the same server under two loads, one process serves both.
//!
//! **Puts to Corduroy** touch memory that the kernel must clear first, until the log's tail has gone round its memory once;
//! that costs a server that has just been started a fifth of its core. So such a server is first given as many puts as its memory holds.

use std::time::Duration;

use super::{
    CompareError, Options,
    arena::{Arena, Running},
    outcome::{Certainty, Outcome, Ratio, Side, median},
    redis_benchmark::RedisBenchmark,
    row::{Client, Contender, Duel, KEYS, Metric},
    server::Server,
    warm_up,
};
use crate::drive::{self, Config, DriveError, Operations, Protocol, Report, Route, workload};

/// From this share of its core on, the driver may have been the limit.
const DRIVER_BUSY_SHARE: f64 = 0.97;
/// Below this number of busy cores, the server was not.
const SERVER_BUSY_CORES: f64 = 0.95;

/// In flight on each connection while a server's memory is gone round: as while the keys are written.
const ROUND_IN_FLIGHT: u32 = 64;
/// The longest that it may take; a server that is slower than that is measured as it is.
const ROUND_TIME_MAX: Duration = Duration::from_secs(60);

/// From this number of cores on that other processes kept busy, a row's figures are doubtful.
const OTHERS_CORES_MAX: f64 = 0.1;

/// Measures a row, telling `say` of each run.
///
/// # Errors
///
/// If a server can't be started, or a run fails.
pub fn measure(
    arena: &Arena,
    options: &Options,
    duel: &Duel,
    say: &mut dyn FnMut(String),
) -> Result<Outcome, CompareError> {
    let subject = arena.start(duel.subject.server)?;
    let separate_peer = if duel.peer.server == duel.subject.server {
        None
    } else {
        Some(arena.start(duel.peer.server)?)
    };
    let peer = separate_peer.as_ref().unwrap_or(&subject);
    let contenders = [
        Asked::new(arena, options, &duel.subject, &subject)?,
        Asked::new(arena, options, &duel.peer, peer)?,
    ];
    let [subject_runs, peer_runs] = take_turns(options.rounds, &contenders, say)?;
    let (metric, note) = metric_of(duel, subject_runs.iter().chain(&peer_runs));
    let [subject, peer] = &contenders;
    let sides = [
        subject.side(subject_runs, metric),
        peer.side(peer_runs, metric),
    ];
    let mut ratio = compare(sides, metric, duel.at_least);
    ratio.notes.extend(note);
    Ok(Outcome::Ratio(ratio))
}

/// What is compared in these runs, and a word on it if it is not what the row says.
fn metric_of<'a>(
    duel: &Duel,
    mut runs: impl Iterator<Item = &'a Report>,
) -> (Metric, Option<String>) {
    let Some(instead) = duel.metric_if_not_full else {
        return (duel.metric, None);
    };
    if runs.all(is_server_full) {
        return (duel.metric, None);
    }
    let note = format!(
        "a server's core was not full in every run: {} are compared instead of {}",
        instead.unit(),
        duel.metric.unit()
    );
    (instead, Some(note))
}

/// A server that runs, and how it is asked.
pub(super) struct Asked<'a> {
    server: &'a Running,
    /// For the driver; another client takes what it needs.
    config: Config,
    /// `None`: the driver.
    redis_benchmark: Option<RedisBenchmark>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        arena: &Arena,
        options: &Options,
        contender: &Contender,
        server: &'a Running,
    ) -> Result<Asked<'a>, CompareError> {
        Ok(Asked {
            server,
            config: config(arena, options, contender, server),
            redis_benchmark: match contender.client {
                Client::Driver(_) => None,
                Client::RedisBenchmark => Some(RedisBenchmark::find()?),
            },
        })
    }

    /// Writes every key; and goes once round the memory of a Corduroy that will be asked for puts.
    fn prepare(&self) -> Result<(), CompareError> {
        let Config {
            protocol,
            operations,
            ..
        } = self.config;
        if protocol == Protocol::Echo {
            return Ok(());
        }
        fill(self.server, &self.config)?;
        match self.server.server {
            Server::Corduroy { memory_mib, .. } if operations != Operations::Get => {
                go_round(self.server, &self.config, memory_mib)
            }
            _ => Ok(()),
        }
    }

    fn run(&self) -> Result<Report, CompareError> {
        match &self.redis_benchmark {
            None => drive_checked(self.server, &self.config),
            Some(client) => client.run(self.server.server, self.server.pid(), &self.config),
        }
    }

    /// Its runs as a side of a ratio.
    pub(super) fn side(&self, runs: Vec<Report>, metric: Metric) -> Side {
        let figures: Vec<f64> = runs.iter().map(|report| metric.of(report)).collect();
        Side {
            command: self.server.command.clone(),
            client: match &self.redis_benchmark {
                None => format!("the driver of {}", env!("CARGO_PKG_NAME")),
                Some(client) => client.shown(&self.config),
            },
            median: median(&figures),
            runs,
        }
    }
}

/// The driver's configuration for a contender.
pub(super) fn config(
    arena: &Arena,
    options: &Options,
    contender: &Contender,
    server: &Running,
) -> Config {
    Config {
        address: server.address,
        protocol: contender.client.protocol(),
        operations: contender.load.operations,
        connections: contender.load.connections,
        in_flight: contender.load.in_flight,
        keys: KEYS,
        value_len: contender.load.value_len,
        window: Duration::from_secs(options.seconds),
        warm_up: warm_up(options),
        route: Route::Any,
        server_pid: Some(server.pid()),
        core: Some(arena.driver_core()),
        ..Config::default()
    }
}

/// Fills both, then asks them in turns; answers the reports of each.
pub(super) fn take_turns(
    rounds: u64,
    contenders: &[Asked<'_>; 2],
    say: &mut dyn FnMut(String),
) -> Result<[Vec<Report>; 2], CompareError> {
    for contender in contenders {
        contender.prepare()?;
    }
    let mut reports = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (contender, reports) in contenders.iter().zip(&mut reports) {
            let report = contender.run()?;
            say(format!("  {}: {report}", contender.server.server));
            reports.push(report);
        }
    }
    Ok(reports)
}

/// Writes every key once.
pub(super) fn fill(server: &Running, config: &Config) -> Result<(), CompareError> {
    let fill = Config {
        preload: true,
        operations: Operations::Put,
        connections: config.connections.min(50),
        route: Route::Any,
        window: Duration::ZERO,
        warm_up: Duration::ZERO,
        ..config.clone()
    };
    drive_checked(server, &fill).map(drop)
}

/// Puts as much as the log's tail can hold, so that the window finds no memory that was never touched.
fn go_round(server: &Running, config: &Config, memory_mib: u32) -> Result<(), CompareError> {
    drive_checked(server, &round(config, memory_mib)).map(drop)
}

/// As many puts as the memory can hold. The log takes more than key and value for each, and has but a part of the memory, so
/// that they go round at least once.
fn round(config: &Config, memory_mib: u32) -> Config {
    let put_len = (workload::KEY_LEN + config.value_len) as u64;
    Config {
        protocol: Protocol::Native,
        operations: Operations::Put,
        in_flight: ROUND_IN_FLIGHT,
        requests: Some((u64::from(memory_mib) << 20) / put_len),
        window: ROUND_TIME_MAX,
        warm_up: Duration::ZERO,
        ..config.clone()
    }
}

/// One run, on a thread of its own so that this one keeps its cores. Wrong replies are an error.
pub(super) fn drive_checked(server: &Running, config: &Config) -> Result<Report, CompareError> {
    let failed = |source: DriveError| CompareError::Drive {
        server: server.server.to_string(),
        source,
    };
    let report = std::thread::scope(|scope| scope.spawn(|| drive::run(config)).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        .map_err(failed)?;
    match report.errors.total() {
        0 => Ok(report),
        count => Err(CompareError::WrongReplies {
            server: server.server.to_string(),
            count,
            first: report.errors.first.unwrap_or_default(),
        }),
    }
}

/// The ratio of two sides, subject first, round by round.
pub(super) fn compare([subject, peer]: [Side; 2], metric: Metric, at_least: Option<f64>) -> Ratio {
    let rounds: Vec<f64> = subject
        .runs
        .iter()
        .zip(&peer.runs)
        .map(|(subject, peer)| metric.of(subject) / metric.of(peer))
        .filter(|ratio| ratio.is_finite())
        .collect();
    let runs = || subject.runs.iter().chain(&peer.runs);
    let mut notes = Vec::new();
    let others_cores = median(&runs().map(|report| report.others_cores).collect::<Vec<_>>());
    notes.extend(doubt(others_cores));
    let is_held_back =
        |side: &Side| metric == Metric::Rate && side.runs.iter().any(is_driver_the_limit);
    let (certainty, note) = match (is_held_back(&subject), is_held_back(&peer)) {
        (false, false) => (Certainty::Measured, None),
        (true, false) => (
            Certainty::AtLeast,
            Some("the driver held the subject back: the ratio is a lower bound"),
        ),
        (false, true) => (
            Certainty::AtMost,
            Some("the driver held the peer back: the ratio is an upper bound"),
        ),
        (true, true) => (
            Certainty::Unknown,
            Some("the driver held both back: the ratio says nothing"),
        ),
    };
    notes.extend(note.map(str::to_owned));
    Ratio {
        median: median(&rounds),
        rounds,
        at_least,
        certainty,
        unit: metric.unit(),
        subject,
        peer,
        notes,
    }
}

/// What to say of figures beside which other processes kept so many cores busy, if it is too much.
pub(super) fn doubt(others_cores: f64) -> Option<String> {
    (others_cores > OTHERS_CORES_MAX)
        .then(|| format!("other processes kept {others_cores:.2} cores busy meanwhile: doubtful"))
}

/// Whether the driver had no time left while the server had.
fn is_driver_the_limit(report: &Report) -> bool {
    report.client_cpu_share > DRIVER_BUSY_SHARE && !is_server_full(report)
}

/// Whether the server had no time left.
fn is_server_full(report: &Report) -> bool {
    let server = report.server.as_ref();
    server.is_some_and(|server| server.cores >= SERVER_BUSY_CORES)
}

impl Metric {
    fn of(self, report: &Report) -> f64 {
        match self {
            Metric::Rate => report.requests_per_second,
            Metric::CpuRate => report
                .server
                .as_ref()
                .map_or(0.0, |server| server.requests_per_cpu_second),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Metric::Rate => "requests/s",
            Metric::CpuRate => "requests per second of server CPU",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::row,
        drive::report::{Errors, Latency, ServerCpu},
    };

    fn report(server_cores: f64) -> Report {
        Report {
            config: Config::default(),
            window_seconds: 1.0,
            requests: 1000,
            requests_per_second: 1000.0,
            latency_us: Latency {
                p50: 1.0,
                p99: 1.0,
                p999: None,
                max: 1.0,
            },
            server: Some(ServerCpu::new(
                Duration::from_secs_f64(server_cores),
                Vec::new(),
                1000,
                1.0,
            )),
            client_cpu_share: 0.5,
            others_cores: 0.0,
            errors: Errors::default(),
        }
    }

    fn duel(id: &str) -> Duel {
        let row = row::all().into_iter().find(|row| row.id == id).unwrap();
        match row.kind {
            row::Kind::Duel(duel) => duel,
            other => panic!("{id} is no duel: {other:?}"),
        }
    }

    // Rates of servers that waited for their client compare the client with itself: close to 1 whatever the server costs.
    #[test]
    fn rates_are_compared_only_if_the_server_was_full_in_every_run() {
        let (full, waiting) = (report(0.99), report(0.8));
        let (metric, note) = metric_of(&duel("resp-get-1"), [&full, &full].into_iter());
        assert_eq!((metric, note), (Metric::Rate, None));
        let (metric, note) = metric_of(&duel("resp-get-1"), [&full, &waiting].into_iter());
        assert_eq!(metric, Metric::CpuRate);
        assert!(note.unwrap().contains("not full"));
        // Where waiting for the disk is the point, the rate it is.
        let (metric, note) = metric_of(&duel("redis-set-always-16"), [&waiting].into_iter());
        assert_eq!((metric, note), (Metric::Rate, None));
    }

    // Half a round would leave half of the window's puts on memory that the kernel must clear first.
    #[test]
    fn a_round_is_no_less_than_the_memory() {
        let config = round(&Config::default(), 256);
        let len = config.requests.unwrap() as usize * (workload::KEY_LEN + config.value_len);
        assert!(len > (255 << 20), "{len}");
        assert_eq!(config.puts_percent(), 100);
        config.check().unwrap();
    }
}
