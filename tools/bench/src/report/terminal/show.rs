//! A whole report as text: the headline, a table of steps, the latencies of each step, errors, the generator, and on what it ran.

use std::fmt::Write as _;

use comfy_table::Table;

use super::{percentile_plot, table, timeline_plot};
use crate::{
    report::{
        CLOSED_LOOP,
        condition::Slo,
        headline::headline,
        knee, rows,
        steps::steps,
        units::{self, thousands},
    },
    results::{BadHistogram, Pacing, Report, Run},
};

/// Rows of a plot.
const PLOT_ROWS: u16 = 10;

/// How a report is shown.
#[derive(Clone, Debug)]
pub struct ShowOptions {
    /// Columns of the terminal, for plots.
    pub columns: u16,
    /// Plots too.
    pub plots: bool,
    /// The latencies of every step, where there are several.
    pub every_step: bool,
    /// A goal to hold the steps against.
    pub slo: Option<Slo>,
}

impl Default for ShowOptions {
    fn default() -> ShowOptions {
        ShowOptions {
            columns: 100,
            plots: false,
            every_step: false,
            slo: None,
        }
    }
}

/// The report as text.
///
/// # Errors
///
/// [`BadHistogram`] if a histogram of the report can't be read.
pub fn show(report: &Report, options: &ShowOptions) -> Result<String, BadHistogram> {
    let mut text = String::new();
    let head = headline(report)?;
    let _ = writeln!(text, "{}\n{}", head.asked, head.outcome);
    let steps = steps(report);
    let detailed = steps.len() == 1 || options.every_step;
    // Where the latencies of each step follow, it is said above each of them.
    for sentence in &head.trust {
        if !(detailed && sentence == CLOSED_LOOP) {
            let _ = writeln!(text, "{sentence}");
        }
    }
    if report.runs.len() > 1 {
        let _ = write!(text, "\n{}\n", runs_table(&report.runs)?);
    }
    if steps.len() > 1 || options.slo.is_some() {
        let sweep = knee::sweep(report, options.slo.as_ref())?;
        text.push('\n');
        for sentence in sweep.sentences(options.slo.as_ref()) {
            let _ = writeln!(text, "{sentence}");
        }
    }
    for step in &steps {
        let run = step.pooled()?;
        if detailed {
            text.push('\n');
            step_text(&mut text, &run)?;
            if options.plots {
                // Repetitions have no common time: the first one stands for them.
                for plot in [
                    percentile_plot(&run, options.columns, PLOT_ROWS)?,
                    timeline_plot(step.runs[0], options.columns, PLOT_ROWS),
                ] {
                    if !plot.is_empty() {
                        let _ = write!(text, "\n{plot}");
                    }
                }
            }
        }
    }
    if steps.len() > 1 && !options.every_step {
        text.push_str(
            "\nThe latencies of each step by operation, heat and core: show --every-step.\n",
        );
    }
    surroundings(&mut text, report);
    Ok(text)
}

fn step_text(text: &mut String, run: &Run) -> Result<(), BadHistogram> {
    let _ = writeln!(text, "{}: {}", run.label, rows::summary(run));
    if run.pacing == Pacing::ClosedLoop {
        let _ = writeln!(text, "{CLOSED_LOOP}");
    }
    if !run.generator.trusted {
        let _ = writeln!(
            text,
            "No latency is claimed, for the reason above. The figures marked ? are what was seen, not what the server does."
        );
    }
    let _ = writeln!(text, "{}", latency_table(run)?);
    for (kind, count) in &run.errors {
        let _ = writeln!(text, "error   {} × {kind}", thousands(*count));
    }
    let _ = writeln!(text, "generator: {}", rows::generator(run));
    if let Some(cpu) = rows::server_cpu(run) {
        let _ = writeln!(text, "{cpu}");
    }
    Ok(())
}

/// A row a distribution.
fn latency_table(run: &Run) -> Result<String, BadHistogram> {
    let mut table: Table = table::with_header(rows::LATENCY_COLUMNS);
    for row in rows::latency_rows(run)? {
        table.add_row(row.cells);
    }
    table::right_align(&mut table, 2..);
    Ok(table::render(&table))
}

/// A row a run: repetitions and steps side by side.
fn runs_table(runs: &[Run]) -> Result<String, BadHistogram> {
    let mut table: Table = table::with_header([
        "RUN", "ASKED", "ANSWERED", "p50", "p99", "p99.9", "max", "ERRORS", "CLAIM",
    ]);
    for run in runs {
        let mut cells = rows::run_cells(run)?;
        cells.push(if run.generator.trusted { "yes" } else { "no" }.to_owned());
        table.add_row(cells);
    }
    table::right_align(&mut table, 1..);
    Ok(table::render(&table))
}

/// On what it ran, and of whom it was asked.
fn surroundings(text: &mut String, report: &Report) {
    let (server, machine) = (&report.server, &report.machine);
    let shards = match server.shards {
        None => String::new(),
        Some(1) => ", 1 shard".to_owned(),
        Some(shards) => format!(", {shards} shards"),
    };
    let _ = writeln!(
        text,
        "\nserver   {} at {} ({}){shards}\n         durability: {}; consistency: {}",
        server.version, server.address, server.protocol, server.durability, server.consistency
    );
    if let Some(process) = &server.process {
        let _ = writeln!(text, "         process: {process}");
    }
    let _ = writeln!(
        text,
        "machine  {}, {} CPUs, {}; generator on {}\nby       {}, started {}",
        machine.cpu,
        machine.cpus,
        machine.kernel,
        units::cpus(&machine.client_cpus),
        report.tool,
        report.started_at
    );
}
