//! What a report says, in plain words: what was asked of whom, what came out, and whether to believe it.

use super::{
    CLOSED_LOOP,
    condition::{is_of_closed_loop, why_untrusted},
    names, steps,
    units::{count, micros, percent, round_count, seconds, thousands},
};
use crate::{
    protocol::NOT_TOLD,
    results::{BadHistogram, Pacing, Report, Run},
};

/// Three answers. None of them is escaped for any format.
#[derive(Clone, Debug, PartialEq)]
pub struct Headline {
    /// What was asked of whom.
    pub asked: String,
    /// What came out.
    pub outcome: String,
    /// Whether latencies may be claimed, of every run.
    pub trusted: bool,
    /// Whether to believe it, and what to beware of.
    pub trust: Vec<String>,
}

/// The headline of a report.
///
/// # Errors
///
/// [`BadHistogram`] if a histogram of the report can't be read.
pub fn headline(report: &Report) -> Result<Headline, BadHistogram> {
    let steps = steps::steps(report);
    let pooled = steps
        .iter()
        .map(steps::Step::pooled)
        .collect::<Result<Vec<Run>, BadHistogram>>()?;
    let outcome = match &pooled[..] {
        [] => "Nothing was measured.".to_owned(),
        [only] => outcome(only),
        several => outcome_of_steps(several),
    };
    let trusted = pooled.iter().all(|run| run.generator.trusted);
    Ok(Headline {
        asked: asked(report, &steps),
        outcome,
        trusted,
        trust: trust(report, &pooled),
    })
}

fn asked(report: &Report, steps: &[steps::Step<'_>]) -> String {
    let server = &report.server;
    let mut whom = if server.version.is_empty() {
        "a server of unknown version".to_owned()
    } else {
        server.version.clone()
    };
    whom = format!("{whom} at {} ({}", server.address, server.protocol);
    for said in [&server.durability, &server.consistency] {
        // What wasn't told stands further down, where there is room for it.
        if !said.is_empty() && !said.starts_with(NOT_TOLD) {
            whom = format!("{whom}; {said}");
        }
    }
    whom.push(')');
    let Some(first) = report.runs.first() else {
        return format!("Nothing was asked of {whom}.");
    };
    let pacing = match &first.pacing {
        Pacing::ClosedLoop => "in a closed loop".to_owned(),
        Pacing::OpenLoop {
            schedule,
            target_rate,
            ..
        } if steps.len() == 1 => {
            format!(
                "at {} operations a second ({schedule})",
                round_count(*target_rate)
            )
        }
        Pacing::OpenLoop { schedule, .. } => format!("at rising rates ({schedule})"),
    };
    let often = match (steps.len(), report.runs.len()) {
        (_, 1) => String::new(),
        (1, runs) => format!(", {runs} times"),
        (steps, runs) if steps == runs => format!(", in {steps} steps"),
        (steps, runs) => format!(", in {steps} steps, {runs} runs in all"),
    };
    format!(
        "{}, pipeline {}, asked {whom} {pacing}, for {}{often}.",
        connections(&report.runs),
        first.pipeline,
        seconds(first.seconds)
    )
}

fn connections(runs: &[Run]) -> String {
    let counts = || runs.iter().map(|run| run.connections);
    let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    match (least, most) {
        (1, 1) => "1 connection".to_owned(),
        (least, most) if least == most => format!("{} connections", thousands(most.into())),
        (least, most) => format!(
            "{} to {} connections",
            thousands(least.into()),
            thousands(most.into())
        ),
    }
}

fn outcome(run: &Run) -> String {
    let mut text = format!("It answered {} operations a second", count(run.throughput));
    if let Pacing::OpenLoop {
        target_rate,
        achieved_rate,
        ..
    } = run.pacing
        && achieved_rate < target_rate * 0.99
    {
        text = format!(
            "{text}, {} of the rate that was asked for",
            percent(achieved_rate / target_rate)
        );
    }
    let errors: u64 = run.errors.values().sum();
    text = match errors {
        0 => format!("{text}, without errors."),
        _ => format!(
            "{text}, with {} errors ({} of all).",
            thousands(errors),
            percent(errors as f64 / (run.operations + errors) as f64)
        ),
    };
    let all = run
        .latencies
        .iter()
        .find(|latency| names::scope(latency) == "all");
    match all.filter(|all| run.generator.trusted && all.response.count > 0) {
        None => text,
        Some(all) => format!(
            "{text} Half of them took {} at most, 99 % took {}, 99.9 % took {}; the slowest took {}.",
            micros(all.response.p50),
            micros(all.response.p99),
            micros(all.response.p999),
            micros(all.response.max)
        ),
    }
}

fn outcome_of_steps(runs: &[Run]) -> String {
    let best = runs
        .iter()
        .max_by(|left, right| left.throughput.total_cmp(&right.throughput));
    let errors: u64 = runs.iter().flat_map(|run| run.errors.values()).sum();
    let best = best.map_or_else(String::new, |best| {
        format!(
            "It answered {} operations a second at most (step {}).",
            count(best.throughput),
            best.label
        )
    });
    match errors {
        0 => format!("{best} There were no errors."),
        _ => format!("{best} There were {} errors.", thousands(errors)),
    }
}

fn trust(report: &Report, pooled: &[Run]) -> Vec<String> {
    let mut sentences = Vec::new();
    let bad: Vec<&Run> = pooled.iter().filter(|run| !run.generator.trusted).collect();
    match (bad.len(), pooled.len()) {
        (_, 0) => {}
        (0, _) => {
            let lag = pooled
                .iter()
                .map(|run| run.generator.lag.p99)
                .fold(0.0, f64::max);
            let share = pooled
                .iter()
                .flat_map(|run| run.generator.cpu_share.iter().copied())
                .fold(0.0, f64::max);
            // Nothing is late where nothing has a time at which it was meant to start.
            let is_open = pooled.iter().any(|run| run.pacing != Pacing::ClosedLoop);
            let late = if is_open {
                format!(
                    "99 % of the requests left at most {} late through its own fault, and ",
                    micros(lag)
                )
            } else {
                String::new()
            };
            sentences.push(format!(
                "The generator kept up: {late}its busiest thread used {} of a core.",
                percent(share)
            ));
            let warnings = pooled.iter().flat_map(|run| &run.generator.warnings);
            // That of the closed loop is said below, once for all.
            sentences.extend(warnings.filter(|said| !is_of_closed_loop(said)).cloned());
        }
        (1, 1) => sentences.push(format!(
            "Latencies can't be claimed: {}",
            why_untrusted(bad[0])
        )),
        (bad_count, all) => {
            sentences.push(format!(
                "Latencies of {bad_count} of {all} steps can't be claimed:"
            ));
            sentences.extend(bad.iter().map(|run| {
                let why = why_untrusted(run);
                if why.starts_with(&run.label) {
                    format!("- {why}")
                } else {
                    format!("- {}: {why}", run.label)
                }
            }));
        }
    }
    if report
        .runs
        .iter()
        .any(|run| run.pacing == Pacing::ClosedLoop)
    {
        sentences.push(CLOSED_LOOP.to_owned());
    }
    if report.runs.len() == 1 {
        sentences.push(
            "One run says nothing about noise: repeat it with --runs 5 before comparing."
                .to_owned(),
        );
    }
    sentences
}
