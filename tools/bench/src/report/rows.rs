//! The cells of the tables that terminal and page both have.

use super::{
    names,
    units::{count, micros, percent, round_count, thousands},
};
use crate::results::{BadHistogram, Distribution, Latency, Pacing, Run};

/// A percentile with fewer values above it than this is the greatest value under another name.
const VALUES_ABOVE_MIN: f64 = 1.0;
/// Stands for a figure that there were too few values for.
const TOO_FEW: &str = "–";
/// Columns of [`latency_rows`].
pub(super) const LATENCY_COLUMNS: [&str; 9] = [
    "OF", "TIME", "COUNT", "p50", "p90", "p99", "p99.9", "p99.99", "max",
];

/// A row of latencies.
pub(super) struct LatencyRow {
    pub(super) cells: Vec<String>,
    /// Whether it stands below the response time of the same requests.
    pub(super) service: bool,
}

/// A row a distribution; in an open loop the service time stands below the response time.
pub(super) fn latency_rows(run: &Run) -> Result<Vec<LatencyRow>, BadHistogram> {
    let mut rows = Vec::new();
    let open = run.pacing != Pacing::ClosedLoop;
    for latency in &run.latencies {
        let scope = names::scope(latency);
        let first = if open { "response" } else { "service" };
        rows.push(LatencyRow {
            cells: latency_cells(run, &scope, first, &latency.response)?,
            service: false,
        });
        if open {
            rows.push(LatencyRow {
                cells: latency_cells(run, "", "service", &latency.service)?,
                service: true,
            });
        }
    }
    Ok(rows)
}

fn latency_cells(
    run: &Run,
    scope: &str,
    time: &str,
    distribution: &Distribution,
) -> Result<Vec<String>, BadHistogram> {
    let mut cells = vec![
        scope.to_owned(),
        time.to_owned(),
        thousands(distribution.count),
    ];
    for percent in [50.0, 90.0, 99.0, 99.9, 99.99] {
        cells.push(percentile(run, distribution, percent)?);
    }
    cells.push(if distribution.count > 0 {
        marked(run, distribution.max)
    } else {
        TOO_FEW.to_owned()
    });
    Ok(cells)
}

/// Run, rate asked for, rate answered, p50, p99, p99.9, max, errors.
pub(super) fn run_cells(run: &Run) -> Result<Vec<String>, BadHistogram> {
    let none = Distribution::default();
    let response = run
        .latencies
        .iter()
        .find(|latency: &&Latency| names::scope(latency) == "all")
        .map_or(&none, |latency| &latency.response);
    let mut cells = vec![
        run.label.clone(),
        match run.pacing {
            Pacing::ClosedLoop => "closed".to_owned(),
            Pacing::OpenLoop { target_rate, .. } => format!("{}/s", round_count(target_rate)),
        },
        format!("{}/s", count(run.throughput)),
    ];
    for percent in [50.0, 99.0, 99.9] {
        cells.push(percentile(run, response, percent)?);
    }
    cells.push(marked(run, response.max));
    cells.push(thousands(run.errors.values().sum()));
    Ok(cells)
}

/// CPU time of the server's process, where it was counted.
pub(super) fn server_cpu(run: &Run) -> Option<String> {
    let cpu = run.server_cpu_seconds?;
    let each = if run.operations > 0 {
        format!(
            ", {} an operation",
            micros(cpu * 1e6 / run.operations as f64)
        )
    } else {
        String::new()
    };
    Some(format!(
        "The server's process used {} of a core{each}.",
        percent(cpu / run.seconds)
    ))
}

/// What the generator used, and how late it was.
pub(super) fn generator(run: &Run) -> String {
    let generator = &run.generator;
    let shares: Vec<String> = generator
        .cpu_share
        .iter()
        .map(|share| percent(*share))
        .collect();
    let mut said = format!("CPU of its threads {}", shares.join(", "));
    // Nothing is late where nothing has a time at which it was meant to start.
    if run.pacing != Pacing::ClosedLoop {
        let lag = &generator.lag;
        said = format!(
            "{said}; late by p50 {}, p99 {}, at most {}",
            micros(lag.p50),
            micros(lag.p99),
            micros(lag.max)
        );
    }
    if generator.longest_pause > 0.0 {
        said = format!(
            "{said}; away for {} at most",
            micros(generator.longest_pause)
        );
    }
    said
}

/// Operations, throughput, conflicts and misses in a sentence.
pub(super) fn summary(run: &Run) -> String {
    format!(
        "{} operations in {}, {}/s; {} conflicts, {} misses.",
        thousands(run.operations),
        super::units::seconds(run.seconds),
        count(run.throughput),
        thousands(run.conflicts),
        thousands(run.misses)
    )
}

fn percentile(run: &Run, of: &Distribution, percent: f64) -> Result<String, BadHistogram> {
    if of.above(percent) < VALUES_ABOVE_MIN {
        return Ok(TOO_FEW.to_owned());
    }
    Ok(marked(run, of.percentile(percent)?))
}

/// A latency, with a mark where it can't be claimed.
fn marked(run: &Run, us: f64) -> String {
    if run.generator.trusted {
        micros(us)
    } else {
        format!("?{}", micros(us))
    }
}
