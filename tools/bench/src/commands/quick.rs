//! `quick`: a tour of a minute. It fills a keyspace, finds out how fast the server answers, and then how it answers hot and cold keys at
//! half that rate; all with a word on what is seen.

use std::time::{Duration, SystemTime};

use clap::Parser as _;

use super::{
    interruption, load,
    measure::{Bench, Plan},
    results, say,
};
use crate::{
    cli::{Cli, Command, Exit, QuickArguments, RunArguments},
    engine::Length,
    report::{
        terminal::{ShowOptions, percentile_plot, show},
        units::round_count,
    },
    scenario::Job,
    session::{Failure, Session},
    workload::arrivals::Schedule,
};

/// How long the server is asked as fast as it answers.
const FAST: Duration = Duration::from_secs(10);
/// How long it is asked at half that rate.
const STEADY: Duration = Duration::from_secs(30);
/// Of what it can do, so much is asked for in the second part.
const SHARE: f64 = 0.5;

pub(super) fn quick(arguments: &QuickArguments) -> Result<Exit, Failure> {
    let defaults = defaults();
    let mut session = Session::meet(&arguments.server)?;
    let stop = interruption()?;
    let mut bench = Bench::new(&session, &defaults.workload, false, stop)?;
    let mut server = session.describe()?;
    server.process = bench.watch_process(None);
    say(&format!(
        "A tour of {} at {}. Keys named key:… are written to it.\n\n1. Fill it with 100,000 keys of 64 bytes.\n",
        server.version, server.address
    ))?;
    load::fill_first(
        &mut session,
        &defaults.workload,
        &defaults.connections,
        defaults.output.live,
        &bench,
    )?;
    say(
        "\n2. Ask as fast as it answers, with 50 connections: 9 reads to 1 write, and 95 % of it on 5 % of the keys.\n",
    )?;
    let started = SystemTime::now();
    let plan = |label: &str, schedule, window, round| Plan {
        label: label.to_owned(),
        connections: defaults.connections.connections,
        pipeline: 1,
        arguments: &defaults.connections,
        schedule,
        think: Duration::ZERO,
        warm_up: Duration::from_secs(1),
        length: Length::Time(window),
        job: Job::RUN,
        round,
        journal: false,
        keep_slices: false,
        stop_on_error: false,
        live: defaults.output.live,
    };
    let fast = bench
        .carry_out(&plan("as fast as it answers", None, FAST, 0))?
        .run;
    say(&format!(
        "   {} operations a second. Each answer makes room for the next request, so the server itself sets the pace: this says what it can do, and not what users wait.\n",
        round_count(fast.throughput)
    ))?;
    let rate = (fast.throughput * SHARE).round();
    if bench.is_interrupted() || rate < 1.0 {
        return Ok(if bench.is_interrupted() {
            Exit::Interrupted
        } else {
            Exit::Failed
        });
    }
    say(&format!(
        "\n3. Ask {} times a second, half of that, whatever the server does: as users do. A latency counts from when an operation was meant to start.\n",
        round_count(rate)
    ))?;
    let schedule: Schedule = format!("poisson:{rate}").parse().map_err(Failure::usage)?;
    let steady = bench
        .carry_out(&plan("half of what it can do", Some(schedule), STEADY, 1))?
        .run;
    let plot =
        percentile_plot(&steady, results::columns(), 12).map_err(|error| results::bad(&error))?;
    let settings = results::settings(&arguments.server, &defaults.workload, &defaults.connections);
    let report = results::report(server, started, settings, &[], vec![steady]);
    let text = show(
        &report,
        &ShowOptions {
            columns: results::columns(),
            ..ShowOptions::default()
        },
    )
    .map_err(|error| results::bad(&error))?;
    say(&format!("\n{text}\nLatency over percentile:\n{plot}\n"))?;
    if let Some(path) = &arguments.html {
        results::page(&report, path, None)?;
        say(&format!("The page is {}.\n", path.display()))?;
    }
    say(
        "\nGo on with `corduroy-bench sweep --slo 'p99<2ms'`: the highest rate that meets a goal. `corduroy-bench help run` has the rest.\n",
    )?;
    Ok(if bench.is_interrupted() {
        Exit::Interrupted
    } else {
        Exit::Done
    })
}

/// What `run` would do, with hot and cold keys.
fn defaults() -> RunArguments {
    let words = ["corduroy-bench", "run", "--distribution", "hot-cold"];
    match Cli::try_parse_from(words).map(|cli| cli.command) {
        Ok(Some(Command::Run(arguments))) => arguments,
        other => unreachable!("the tour's own command line is one of run: {other:?}"),
    }
}
