//! `load`: writes each key once.

use std::{sync::Arc, time::Duration};

use super::{
    interruption,
    measure::{Bench, Plan},
    note, say,
};
use crate::{
    cli::{ConnectionArguments, Exit, LoadArguments, ServerArguments, When, WorkloadArguments},
    engine::Length,
    report::units::{count, seconds, thousands},
    results::{Run, Server},
    scenario::Job,
    session::{Failure, Session},
};

/// Operations in flight on a connection while keys are written, however few the runs have.
const PIPELINE_MIN: u32 = 16;

pub(super) fn load(arguments: &LoadArguments) -> Result<Exit, Failure> {
    let mut session = Session::meet(&arguments.server)?;
    let stop = interruption()?;
    let bench = Bench::new(&session, &arguments.workload, true, stop)?;
    if arguments.fresh {
        session.reset()?;
    }
    let run = fill(&bench, &arguments.connections, arguments.live)?;
    say(&format!(
        "{} keys written in {}: {} a second\n",
        thousands(run.operations),
        seconds(run.seconds),
        count(run.throughput)
    ))?;
    outcome(&bench, &run)
}

/// Writes each key once; what happened is told to the caller.
pub(super) fn fill(
    bench: &Bench,
    connections: &ConnectionArguments,
    live: When,
) -> Result<Run, Failure> {
    let keys = bench.workload.spec().keys;
    let plan = Plan {
        label: "load".to_owned(),
        // A connection that has no key to write would still have to be opened.
        connections: connections
            .connections
            .min(u32::try_from(keys).unwrap_or(u32::MAX)),
        pipeline: connections.pipeline.max(PIPELINE_MIN),
        arguments: connections,
        schedule: None,
        think: Duration::ZERO,
        warm_up: Duration::ZERO,
        length: Length::Sources,
        job: Job::Fill,
        round: 0,
        journal: false,
        keep_slices: false,
        stop_on_error: false,
        live,
    };
    Ok(bench.carry_out(&plan)?.run)
}

/// Whether every key was written.
pub(super) fn outcome(bench: &Bench, run: &Run) -> Result<Exit, Failure> {
    for (kind, count) in &run.errors {
        note(&format!("{}: {kind}", thousands(*count)));
    }
    if bench.is_interrupted() {
        return Ok(Exit::Interrupted);
    }
    let missing = bench.workload.spec().keys.saturating_sub(run.operations);
    if missing > 0 {
        return Err(Failure::new(
            Exit::Failed,
            format!("{} keys were not written", thousands(missing)),
        ));
    }
    Ok(Exit::Done)
}

/// Meets the server of a measurement, asks what it is, and fills its keyspace first if that is wanted.
pub(super) fn prepare(
    server: &ServerArguments,
    workload: &WorkloadArguments,
    connections: &ConnectionArguments,
    live: When,
    fills: bool,
    server_pid: Option<u32>,
) -> Result<(Bench, Server), Failure> {
    let mut session = Session::meet(server)?;
    let stop = interruption()?;
    let mut bench = Bench::new(&session, workload, false, stop)?;
    let mut described = session.describe()?;
    described.process = bench.watch_process(server_pid);
    if fills {
        fill_first(&mut session, workload, connections, live, &bench)?;
    }
    bench.learn(&mut session)?;
    Ok((bench, described))
}

/// Fills the keyspace before a run, and says that it does.
pub(super) fn fill_first(
    session: &mut Session,
    arguments: &WorkloadArguments,
    connections: &ConnectionArguments,
    live: When,
    bench: &Bench,
) -> Result<(), Failure> {
    let filling = Bench::new(session, arguments, true, Arc::clone(&bench.stop))?;
    let run = fill(&filling, connections, live)?;
    match outcome(&filling, &run)? {
        Exit::Done => {
            note(&format!(
                "{} keys written in {}",
                thousands(run.operations),
                seconds(run.seconds)
            ));
            Ok(())
        }
        exit => Err(Failure::new(exit, "ended before all keys were written")),
    }
}
