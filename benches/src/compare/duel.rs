//! Two contenders in turns.
//!
//! Both are started on the same core and filled; then, round by round, the subject is driven while the peer idles, and the
//! other way about. Where both are the same server under two loads, one process serves both.

use super::{
    CompareError, Options,
    arena::{Arena, Running},
    outcome::{Certainty, Outcome, Ratio, Side, median},
    row::{Contender, Duel, KEYS, Metric},
    warm_up,
};
use crate::drive::{self, Config, DriveError, Operations, Protocol, Report, Route};

/// From this share of its core on, the driver may have been the limit.
const DRIVER_BUSY_SHARE: f64 = 0.97;
/// Below this number of busy cores, the server was not.
const SERVER_BUSY_CORES: f64 = 0.95;

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
    let runs = take_turns(
        options.rounds,
        &[
            (&subject, config(arena, options, &duel.subject, &subject)),
            (peer, config(arena, options, &duel.peer, peer)),
        ],
        say,
    )?;
    let [subject_runs, peer_runs] = runs;
    let sides = [(&subject, subject_runs), (peer, peer_runs)]
        .map(|(server, runs)| side(server, runs, duel.metric));
    Ok(Outcome::Ratio(compare(sides, duel.metric, duel.at_least)))
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
        protocol: contender.server.protocol(),
        operations: contender.load.operations,
        connections: contender.load.connections,
        in_flight: contender.load.in_flight,
        keys: KEYS,
        value_len: contender.load.value_len,
        window: std::time::Duration::from_secs(options.seconds),
        warm_up: warm_up(options),
        route: Route::Any,
        server_pid: Some(server.pid()),
        core: Some(arena.driver_core()),
        ..Config::default()
    }
}

/// Fills both, then drives them in turns; answers the reports of each.
pub(super) fn take_turns(
    rounds: u64,
    contenders: &[(&Running, Config); 2],
    say: &mut dyn FnMut(String),
) -> Result<[Vec<Report>; 2], CompareError> {
    for (server, config) in contenders {
        if config.protocol != Protocol::Echo {
            fill(server, config)?;
        }
    }
    let mut reports = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for ((server, config), reports) in contenders.iter().zip(&mut reports) {
            let report = drive_checked(server, config)?;
            say(format!("  {}: {report}", server.server));
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
        window: std::time::Duration::ZERO,
        warm_up: std::time::Duration::ZERO,
        ..config.clone()
    };
    drive_checked(server, &fill).map(drop)
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

/// One contender's reports as a side of a ratio.
pub(super) fn side(server: &Running, runs: Vec<Report>, metric: Metric) -> Side {
    let figures: Vec<f64> = runs.iter().map(|report| metric.of(report)).collect();
    Side {
        command: server.command.clone(),
        median: median(&figures),
        runs,
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
    let server_cores = report.server.as_ref().map_or(0.0, |server| server.cores);
    report.client_cpu_share > DRIVER_BUSY_SHARE && server_cores < SERVER_BUSY_CORES
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
