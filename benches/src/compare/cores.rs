//! Two cores against one, and the price of a hop between them.
//!
//! On any connection keys of both cores are asked, so half of the requests go to the core that does not own the connection.
//! What the hop costs shows in CPU time: the same two-core server is driven with keys that hop and with keys that don't
//! (each connection asks for its own shard's), and the difference, spread over the half that hops, is the hop's.
//!
//! The rates can be compared only where a third core drives. Without one the driver takes its time from the second
//! server core; then the ratio is computed from CPU times instead, as two cores' worth of the dearer requests against one
//! core's of the cheaper ones, and is said to be computed.

use super::{
    CompareError, Options,
    arena::{Arena, Running},
    duel,
    outcome::{Certainty, Outcome, median},
    row::{self, Contender, Metric},
    server::{Server, Sync},
};
use crate::drive::{Config, Report, Route};

const CORES: usize = 2;
/// In flight a connection.
const IN_FLIGHT: u32 = 16;

/// Measures the row.
pub(super) fn measure(
    arena: &Arena,
    options: &Options,
    at_least: f64,
    say: &mut dyn FnMut(String),
) -> Result<Outcome, CompareError> {
    let one = arena.start(row::corduroy(Sync::Never))?;
    let two = arena.start(Server::Corduroy {
        cores: CORES,
        sync: Sync::Never,
        memory_mib: row::MEMORY_MIB * CORES as u32,
    })?;
    let load = |server: &Running| {
        let contender = Contender {
            server: server.server,
            load: row::gets(IN_FLIGHT),
        };
        duel::config(arena, options, &contender, server)
    };
    let runs = duel::take_turns(
        options.rounds,
        &[(&two, load(&two)), (&one, load(&one))],
        say,
    )?;
    let direct = Config {
        route: Route::Direct,
        ..load(&two)
    };
    let mut direct_runs = Vec::new();
    for _ in 0..options.rounds {
        let report = duel::drive_checked(&two, &direct)?;
        say(format!("  {} without hops: {report}", two.server));
        direct_runs.push(report);
    }

    let [two_runs, one_runs] = runs;
    let (any_us, direct_us) = (cpu_us(&two_runs), cpu_us(&direct_runs));
    let has_driver_core = arena.cores.len() > CORES;
    let metric = if has_driver_core {
        Metric::Rate
    } else {
        Metric::CpuRate
    };
    let sides = [
        duel::side(&two, two_runs, metric),
        duel::side(&one, one_runs, metric),
    ];
    let mut ratio = duel::compare(sides, metric, Some(at_least));
    if !has_driver_core {
        for figure in ratio.rounds.iter_mut().chain([&mut ratio.median]) {
            *figure *= CORES as f64;
        }
        ratio.certainty = Certainty::Computed;
        ratio.notes.push(format!(
            "computed from CPU a request times {CORES} cores: to measure the rate needs {} cores, here are {}",
            CORES + 1,
            arena.cores.len()
        ));
    }
    let hopping_share = (CORES - 1) as f64 / CORES as f64;
    ratio.notes.push(format!(
        "a hop costs {:.3} us of CPU: {any_us:.3} us a request with keys of any core, {direct_us:.3} us with the \
         connection's own",
        (any_us - direct_us) / hopping_share
    ));
    Ok(Outcome::Ratio(ratio))
}

fn cpu_us(reports: &[Report]) -> f64 {
    let us = |report: &Report| {
        report
            .server
            .as_ref()
            .map_or(0.0, |server| server.us_per_request)
    };
    median(&reports.iter().map(us).collect::<Vec<_>>())
}
