//! The two tables: medians of the rounds, with the least and the greatest.

use std::{io, path::Path};

use corduroy_bench::{
    report::units::{micros, round_count},
    results::{Latency, Run},
    workload::Heat,
};

use crate::{DISTRIBUTIONS, Kind, NAMES, rounds};

/// Both, in Markdown.
pub(crate) fn tables(directory: &Path) -> io::Result<String> {
    let mut text = String::from(
        "| server | keys | as fast as it answers | server CPU an operation | rounds |\n|---|---|---|---|---|\n",
    );
    for (server, distribution) in pairs() {
        let runs = rounds(directory, server, distribution, Kind::Fast)?;
        if !runs.is_empty() {
            text.push_str(&format!(
                "| {server} | {distribution} | {} | {} | {} |\n",
                spread(
                    &runs,
                    |run| Some(run.throughput),
                    |rate| format!("{}/s", round_count(rate))
                ),
                spread(&runs, cpu_us, micros),
                runs.len(),
            ));
        }
    }
    text.push_str(
        "\n| server | keys | p50 | p99 | p99.9 | hot p99 | cold p99 | claimed in |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (server, distribution) in pairs() {
        let runs = rounds(directory, server, distribution, Kind::Steady)?;
        if !runs.is_empty() {
            text.push_str(&steady(server, distribution, &runs));
        }
    }
    Ok(text)
}

/// Each distribution with each server: what is compared stands together.
fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    DISTRIBUTIONS
        .into_iter()
        .flat_map(|distribution| NAMES.into_iter().map(move |server| (server, distribution)))
}

/// One line of the table of response times. Rounds in which no latency can be claimed are left out, unless there are no others.
fn steady(server: &str, distribution: &str, runs: &[Run]) -> String {
    let claimed = runs.iter().filter(|run| run.generator.trusted).count();
    let counted: Vec<Run> = runs
        .iter()
        .filter(|run| run.generator.trusted || claimed == 0)
        .cloned()
        .collect();
    let mark = if claimed == 0 { "?" } else { "" };
    let cell = |heat: Option<Heat>, figure: fn(&Latency) -> f64| {
        let of = |run: &Run| {
            let rows = &mut run.latencies.iter();
            rows.find(|row| {
                row.heat == heat && row.operation.is_none() && row.server_core.is_none()
            })
            .map(figure)
        };
        spread(&counted, of, |us| format!("{mark}{}", micros(us)))
    };
    format!(
        "| {server} | {distribution} | {} | {} | {} | {} | {} | {claimed} of {} |\n",
        cell(None, |row| row.response.p50),
        cell(None, |row| row.response.p99),
        cell(None, |row| row.response.p999),
        cell(Some(Heat::Hot), |row| row.response.p99),
        cell(Some(Heat::Cold), |row| row.response.p99),
        runs.len(),
    )
}

fn cpu_us(run: &Run) -> Option<f64> {
    Some(1e6 * run.server_cpu_seconds? / run.operations.max(1) as f64)
}

/// The median, with the least and the greatest in brackets where there are several.
fn spread(
    runs: &[Run],
    figure: impl Fn(&Run) -> Option<f64>,
    shown: impl Fn(f64) -> String,
) -> String {
    let mut figures: Vec<f64> = runs.iter().filter_map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures[..] {
        [] => "–".to_owned(),
        [only] => shown(only),
        [least, .., greatest] => {
            let median = if figures.len() % 2 == 1 {
                figures[middle]
            } else {
                f64::midpoint(figures[middle - 1], figures[middle])
            };
            format!(
                "{} ({} to {})",
                shown(median),
                shown(least),
                shown(greatest)
            )
        }
    }
}
