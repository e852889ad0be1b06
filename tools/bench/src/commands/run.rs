//! `run`: measures a load, as often and with as many connections as asked for.

use std::time::SystemTime;

use super::{
    load,
    measure::{Bench, Plan},
    note, results,
};
use crate::{
    cli::{Exit, RunArguments},
    engine::Length,
    report::units::{round_count, thousands},
    results::Run,
    scenario::{Job, first_writer},
    session::Failure,
    workload::{Operation, values::STAMPED_LEN_MIN},
};

pub(super) fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    check(arguments)?;
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
    let runs = measure(arguments, &bench)?;
    let report = results::report(
        server,
        started,
        settings(arguments),
        &arguments.connections.cores(),
        runs,
    );
    let exit = results::give(&report, &arguments.output, None)?;
    hint(arguments, &report.runs);
    Ok(if bench.is_interrupted() {
        Exit::Interrupted
    } else {
        exit
    })
}

/// Refuses what does not go together.
fn check(arguments: &RunArguments) -> Result<(), Failure> {
    let Some(path) = &arguments.record else {
        return Ok(());
    };
    results::is_writable(path)?;
    if arguments.repeat.runs > 1 || arguments.repeat.clients.len() > 1 {
        return Err(Failure::usage(
            "--record notes one run: leave --runs and --clients out",
        ));
    }
    let spec = arguments.workload.spec();
    let asks = |wanted: &dyn Fn(Operation) -> bool| {
        Operation::ALL
            .into_iter()
            .any(|operation| spec.mix.asks(operation) && wanted(operation))
    };
    if !asks(&Operation::writes) {
        return Err(Failure::usage(
            "--record notes writes, and this mix has none: take --mix put=100, say",
        ));
    }
    if asks(&Operation::writes_value) && spec.value_len.min() < STAMPED_LEN_MIN {
        return Err(Failure::usage(format!(
            "--record needs values of {STAMPED_LEN_MIN} bytes at least: a shorter one has no room to say which write it is"
        )));
    }
    // Between its two requests another write of the same connection may come in, and the key's writes would have no order any more.
    let in_two_steps = |operation| {
        matches!(
            operation,
            Operation::CompareAndSet | Operation::ReadModifyWrite
        )
    };
    if arguments.connections.pipeline > 1 && asks(&in_two_steps) {
        return Err(Failure::usage(
            "--record with compare-and-set or read-modify-write needs --pipeline 1: take more connections instead",
        ));
    }
    Ok(())
}

/// All runs, one after the other, until they are done or Ctrl-C.
fn measure(arguments: &RunArguments, bench: &Bench) -> Result<Vec<Run>, Failure> {
    let clients = match &arguments.repeat.clients[..] {
        [] => vec![arguments.connections.connections],
        clients => clients.to_vec(),
    };
    let mut runs = Vec::new();
    let rounds = (0..arguments.repeat.runs)
        .flat_map(|run| clients.iter().map(move |clients| (run, *clients)));
    for (round, (number, connections)) in rounds.enumerate() {
        let of_clients = match connections {
            1 => "1 client".to_owned(),
            several => format!("{} clients", thousands(several.into())),
        };
        let label = match (clients.len() > 1, arguments.repeat.runs > 1) {
            (true, true) => format!("{of_clients}, run {}", number + 1),
            (true, false) => of_clients,
            (false, true) => format!("run {}", number + 1),
            (false, false) => "run".to_owned(),
        };
        let finished = bench.carry_out(&Plan {
            label,
            connections,
            pipeline: arguments.connections.pipeline,
            arguments: &arguments.connections,
            schedule: arguments.pace.rate.clone(),
            think: arguments.pace.think,
            warm_up: arguments.pace.warm_up,
            length: match arguments.pace.operations {
                Some(operations) => Length::Operations(operations),
                None => Length::Time(arguments.pace.window()),
            },
            job: Job::Run {
                recorded_from: arguments.record.as_ref().map(|_| first_writer(connections)),
            },
            round: round as u32,
            journal: arguments.record.is_some(),
            keep_slices: arguments.output.hlog.is_some(),
            stop_on_error: arguments.stop_on_error,
            live: arguments.output.live,
        })?;
        runs.push(finished.run);
        if let (Some(path), Some(mut journal)) = (&arguments.record, finished.journal) {
            journal.settings =
                super::verify::journal_settings(&arguments.server.target, &arguments.workload);
            journal
                .write_to(path)
                .map_err(|error| Failure::new(Exit::Local, error.to_string()))?;
            note(&format!(
                "{} keys written to are noted in {}: `corduroy-bench verify {}` checks them",
                thousands(journal.keys().len() as u64),
                path.display(),
                path.display()
            ));
        }
        let has_failed = runs.last().is_some_and(|run: &Run| !run.errors.is_empty());
        if bench.is_interrupted() || arguments.stop_on_error && has_failed {
            break;
        }
    }
    Ok(runs)
}

fn settings(arguments: &RunArguments) -> std::collections::BTreeMap<String, String> {
    let mut settings = results::settings(
        &arguments.server,
        &arguments.workload,
        &arguments.connections,
    );
    let time = |time| humantime::format_duration(time).to_string();
    let pace = &arguments.pace;
    let mut set = |name: &str, value: String| {
        settings.insert(name.to_owned(), value);
    };
    match &pace.rate {
        Some(rate) => set("rate", rate.to_string()),
        None => set("think", time(pace.think)),
    }
    match pace.operations {
        Some(operations) => set("operations", operations.to_string()),
        None => set("duration", time(pace.window())),
    }
    set("warm-up", time(pace.warm_up));
    if !arguments.repeat.clients.is_empty() {
        let clients: Vec<String> = arguments
            .repeat
            .clients
            .iter()
            .map(u32::to_string)
            .collect();
        set("connections", clients.join(","));
    }
    settings
}

/// What a person who is new to this would do wrong.
fn hint(arguments: &RunArguments, runs: &[Run]) {
    let missing: u64 = runs
        .iter()
        .filter_map(|run| run.errors.get("missing key"))
        .sum();
    if missing > 0 {
        note(&format!(
            "{} reads found no key: fill the keyspace first, with --load or `corduroy-bench load --keys {}`",
            round_count(missing as f64),
            arguments.workload.keys
        ));
    }
}
