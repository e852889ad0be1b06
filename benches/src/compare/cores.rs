//! Two cores against one, and the price of a hop between them.
//!
//! On any connection keys of both cores are asked, so half of the requests go to the core that does not own the connection.
//! What the hop costs shows in CPU time: the same two-core server is driven with keys that hop and with keys that don't
//! (each connection asks for its own shard's), and the difference, spread over the half that hops, is the hop's.
//!
//! Where a third core drives, the closed loop of the other rows gives the rates. Where there are but two, the driver would take its
//! time from the second server core and be what is measured; so bursts are measured there ([`super::field`]), in which the client works while the
//! server stands still and the other way about. The row's figure is that of the burst's shape in which two cores do worst.

use super::{
    CompareError, Options,
    arena::{Arena, Running},
    duel::{self, Asked},
    field::{CORES, Field, Figures},
    outcome::{Certainty, Outcome, Ratio, Side, median},
    row::{self, Contender, Metric},
    server::{Server, Sync},
};
use crate::{
    burst::Shape,
    drive::{Config, Report, Route},
};

/// In flight a connection, in the closed loop.
const IN_FLIGHT: u32 = 16;
/// The bursts, from many connections with the closed loop's few requests each to few with many. Each takes many times as long as the time
/// between two looks of the client.
const SHAPES: [Shape; 3] = [
    Shape {
        connections: 4_000,
        depth: IN_FLIGHT,
    },
    Shape {
        connections: 1_000,
        depth: 200,
    },
    Shape {
        connections: 250,
        depth: 1_000,
    },
];
/// Rounds of bursts for each round of the closed loop that was asked for: a burst takes a fraction of a second.
const BURSTS_PER_ROUND: u64 = 10;

/// Measures the row.
pub(super) fn measure(
    arena: &Arena,
    options: &Options,
    at_least: f64,
    say: &mut dyn FnMut(String),
) -> Result<Outcome, CompareError> {
    if arena.cores.len() > CORES {
        closed_loop(arena, options, at_least, say)
    } else {
        bursts(arena, options, at_least, say)
    }
}

fn bursts(
    arena: &Arena,
    options: &Options,
    at_least: f64,
    say: &mut dyn FnMut(String),
) -> Result<Outcome, CompareError> {
    let mut field = Field::start(arena)?;
    let mut all = Vec::new();
    for shape in SHAPES {
        let figures = field.measure(shape, options.rounds * BURSTS_PER_ROUND)?;
        say(format!("  {figures}"));
        all.push(figures);
    }
    let worst = all
        .iter()
        .min_by(|a, b| median(&a.ratios()).total_cmp(&median(&b.ratios())))
        .expect("there are shapes");
    let mut notes: Vec<String> = all.iter().map(Figures::to_string).collect();
    let others_cores = all.iter().map(|figures| figures.others_cores);
    notes.extend(duel::doubt(others_cores.fold(0.0, f64::max)));
    let [two, one] = field.commands();
    let side = |command: &str, shots| Side {
        command: command.to_owned(),
        client: "bursts".to_owned(),
        median: worst.rate(shots),
        runs: Vec::new(),
    };
    Ok(Outcome::Ratio(Ratio {
        median: median(&worst.ratios()),
        rounds: worst.ratios(),
        at_least: Some(at_least),
        certainty: Certainty::Measured,
        unit: "requests/s",
        subject: side(two, &worst.two),
        peer: side(one, &worst.one),
        notes,
    }))
}

fn closed_loop(
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
    let contender = |server: &Running| Contender::driven(server.server, row::gets(IN_FLIGHT));
    let contenders = [
        Asked::new(arena, options, &contender(&two), &two)?,
        Asked::new(arena, options, &contender(&one), &one)?,
    ];
    let [two_runs, one_runs] = duel::take_turns(options.rounds, &contenders, say)?;
    let direct = Config {
        route: Route::Direct,
        ..duel::config(arena, options, &contender(&two), &two)
    };
    let mut direct_runs = Vec::new();
    for _ in 0..options.rounds {
        let report = duel::drive_checked(&two, &direct)?;
        say(format!("  {} without hops: {report}", two.server));
        direct_runs.push(report);
    }

    let (any_us, direct_us) = (cpu_us(&two_runs), cpu_us(&direct_runs));
    let [two, one] = &contenders;
    let sides = [
        two.side(two_runs, Metric::Rate),
        one.side(one_runs, Metric::Rate),
    ];
    let mut ratio = duel::compare(sides, Metric::Rate, Some(at_least));
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
