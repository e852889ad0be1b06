//! `sweep`: raises the rate until the goal breaks, and looks more closely at where it did.

use std::time::SystemTime;

use super::{
    load,
    measure::{Bench, Plan},
    note, results,
};
use crate::{
    cli::{Exit, SweepArguments},
    engine::Length,
    report::{condition::why_untrusted, units::round_count},
    results::{Pacing, Run},
    scenario::Job,
    session::Failure,
    workload::arrivals::Schedule,
};

/// Rates that differ by less than this share are the same.
const RESOLUTION: f64 = 0.02;
/// How often a rate is measured until the generator itself is on time.
const TRIES: u32 = 3;
/// After so many rates in a row at which it never was, higher ones are not tried.
const UNKNOWN_MAX: u32 = 3;

pub(super) fn sweep(arguments: &SweepArguments) -> Result<Exit, Failure> {
    if arguments.from > arguments.to {
        return Err(Failure::usage(format!(
            "--from {} is over --to {}",
            round_count(arguments.from),
            round_count(arguments.to)
        )));
    }
    results::check(&arguments.output)?;
    let (bench, server) = load::prepare(
        &arguments.server,
        &arguments.workload,
        &arguments.connections,
        arguments.output.live,
        arguments.load,
        arguments.server_pid,
    )?;
    let started = SystemTime::now();
    let mut runs = climb(arguments, &bench)?;
    runs.sort_by(|left, right| rate_of(left).total_cmp(&rate_of(right)));
    let mut settings = results::settings(
        &arguments.server,
        &arguments.workload,
        &arguments.connections,
    );
    let time = |time| humantime::format_duration(time).to_string();
    settings.insert("slo".to_owned(), arguments.slo.to_string());
    settings.insert("duration".to_owned(), time(arguments.step));
    settings.insert("warm-up".to_owned(), time(arguments.warm_up));
    let report = results::report(
        server,
        started,
        settings,
        &arguments.connections.cores(),
        runs,
    );
    let exit = results::give(&report, &arguments.output, Some(&arguments.slo))?;
    Ok(if bench.is_interrupted() {
        Exit::Interrupted
    } else {
        exit
    })
}

/// Runs at rising rates until one breaks the goal, then in between. A rate at which the generator was late is neither good nor broken.
fn climb(arguments: &SweepArguments, bench: &Bench) -> Result<Vec<Run>, Failure> {
    let mut runs = Vec::new();
    let (mut good, mut broken) = (None, None);
    let mut rate = arguments.from;
    let (mut refined, mut round, mut unknown) = (0, 0, 0);
    loop {
        let run = on_time(arguments, bench, rate, &mut round)?;
        let why = arguments.slo.broken_by(&run);
        let is_unknown = why.is_some() && run.generator.was_late;
        runs.push(run);
        unknown = if is_unknown { unknown + 1 } else { 0 };
        match why {
            Some(why) if is_unknown => {
                note(&format!(
                    "{}/s says nothing of the goal: {why}",
                    round_count(rate)
                ));
            }
            Some(why) => {
                note(&format!("{}/s breaks the goal: {why}", round_count(rate)));
                broken = Some(rate);
            }
            None => {
                note(&format!("{}/s meets the goal", round_count(rate)));
                good = Some(rate);
            }
        }
        if bench.is_interrupted() || unknown == UNKNOWN_MAX {
            break;
        }
        rate = match (good, broken) {
            (_, None) if rate >= arguments.to => break,
            (_, None) => (rate * arguments.factor).min(arguments.to),
            (Some(good), Some(broken))
                if !is_unknown
                    && refined < arguments.refine
                    && broken - good > RESOLUTION * broken =>
            {
                refined += 1;
                ((good + broken) / 2.0).round()
            }
            _ => break,
        };
    }
    Ok(runs)
}

/// Measures a rate. If the generator itself was late, that says nothing about the server: then once more.
fn on_time(
    arguments: &SweepArguments,
    bench: &Bench,
    rate: f64,
    round: &mut u32,
) -> Result<Run, Failure> {
    for left in (0..TRIES).rev() {
        let run = at_rate(arguments, bench, rate, *round)?;
        *round += 1;
        if !run.generator.was_late || left == 0 || bench.is_interrupted() {
            return Ok(run);
        }
        note(&format!(
            "{}/s is measured again: {}",
            round_count(rate),
            why_untrusted(&run)
        ));
    }
    unreachable!("the last try is answered whatever it is")
}

fn at_rate(
    arguments: &SweepArguments,
    bench: &Bench,
    rate: f64,
    round: u32,
) -> Result<Run, Failure> {
    let rate = rate.round();
    let name = if arguments.poisson { "poisson:" } else { "" };
    let schedule: Schedule = format!("{name}{rate}").parse().map_err(Failure::usage)?;
    let plan = Plan {
        label: format!("{}/s", round_count(rate)),
        connections: arguments.connections.connections,
        pipeline: arguments.connections.pipeline,
        arguments: &arguments.connections,
        schedule: Some(schedule),
        think: std::time::Duration::ZERO,
        warm_up: arguments.warm_up,
        length: Length::Time(arguments.step),
        job: Job::RUN,
        round,
        journal: false,
        keep_slices: arguments.output.hlog.is_some(),
        stop_on_error: false,
        live: arguments.output.live,
    };
    Ok(bench.carry_out(&plan)?.run)
}

fn rate_of(run: &Run) -> f64 {
    match run.pacing {
        Pacing::OpenLoop { target_rate, .. } => target_rate,
        Pacing::ClosedLoop => run.throughput,
    }
}
