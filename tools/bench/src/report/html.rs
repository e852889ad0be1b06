//! One page with all of a report: opened from a disk, mailed, kept. It asks no network for anything and has its plots inside.
//!
//! The template escapes whatever comes from the report, for a server chooses its version's text and its errors' words; plots escape their own. The page's
//! content security policy forbids what would have to be fetched.

use askama::Template;

use super::{
    CLOSED_LOOP,
    condition::Slo,
    headline::{Headline, headline},
    knee,
    plot::{self, Plot, PlotError},
    rows::{self, LatencyRow},
    steps::steps,
    units::{cpus, thousands},
};
use crate::results::{BadHistogram, Pacing, Report, Run};

/// A page can't be made.
#[derive(Debug, thiserror::Error)]
pub enum HtmlError {
    /// A plot of it can't.
    #[error("{0}")]
    Plot(#[from] PlotError),
    /// The template can't be filled.
    #[error("the page can't be written: {0}")]
    Template(#[from] askama::Error),
}

impl From<BadHistogram> for HtmlError {
    fn from(error: BadHistogram) -> HtmlError {
        HtmlError::Plot(error.into())
    }
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    report: &'a Report,
    headline: Headline,
    sweep: Vec<String>,
    runs: Vec<RunRow>,
    plots: Vec<Plot>,
    steps: Vec<StepTable>,
    closed_loop: &'static str,
    errors: Vec<(&'a str, &'a str, String)>,
    server: Vec<(&'static str, String)>,
    machine: Vec<(&'static str, String)>,
    command: String,
    light: String,
    dark: String,
    rules: String,
}

struct RunRow {
    cells: Vec<String>,
    trusted: bool,
}

struct StepTable {
    label: String,
    summary: String,
    closed: bool,
    trusted: bool,
    server_cpu: Option<String>,
    rows: Vec<LatencyRow>,
}

/// The page.
///
/// # Errors
///
/// [`HtmlError`] if a histogram of the report can't be read.
pub fn html(report: &Report, slo: Option<&Slo>) -> Result<String, HtmlError> {
    let mut tables = Vec::new();
    for step in steps(report) {
        let run = step.pooled()?;
        tables.push(StepTable {
            label: run.label.clone(),
            summary: rows::summary(&run),
            closed: run.pacing == Pacing::ClosedLoop,
            trusted: run.generator.trusted,
            server_cpu: rows::server_cpu(&run),
            rows: rows::latency_rows(&run)?,
        });
    }
    let sweep = if knee::is_sweep(report) || slo.is_some() {
        knee::sweep(report, slo)?.sentences(slo)
    } else {
        Vec::new()
    };
    let run_row = |run: &Run| {
        Ok(RunRow {
            cells: rows::run_cells(run)?,
            trusted: run.generator.trusted,
        })
    };
    let page = Page {
        title: title(report),
        report,
        headline: headline(report)?,
        sweep,
        runs: report
            .runs
            .iter()
            .map(run_row)
            .collect::<Result<_, BadHistogram>>()?,
        plots: plot::plots(report, slo)?,
        steps: tables,
        closed_loop: CLOSED_LOOP,
        errors: errors(report),
        server: server(report),
        machine: machine(report),
        command: report.command.join(" "),
        light: plot::palette::light(),
        dark: plot::palette::dark(),
        rules: plot::palette::rules(),
    };
    Ok(page.render()?)
}

fn title(report: &Report) -> String {
    let whom = if report.server.version.is_empty() {
        &report.server.address
    } else {
        &report.server.version
    };
    format!("{whom} under load")
}

fn errors(report: &Report) -> Vec<(&str, &str, String)> {
    let runs = report.runs.iter();
    runs.flat_map(|Run { errors, label, .. }| {
        errors
            .iter()
            .map(|(kind, count)| (kind.as_str(), label.as_str(), thousands(*count)))
    })
    .collect()
}

fn server(report: &Report) -> Vec<(&'static str, String)> {
    let server = &report.server;
    let told = |text: &str| {
        if text.is_empty() {
            "not known".to_owned()
        } else {
            text.to_owned()
        }
    };
    vec![
        ("version", told(&server.version)),
        ("address", server.address.clone()),
        ("protocol", server.protocol.clone()),
        ("durability", told(&server.durability)),
        ("consistency", told(&server.consistency)),
        (
            "shards or threads",
            server
                .shards
                .map_or_else(|| "not known".to_owned(), |shards| shards.to_string()),
        ),
        (
            "process",
            told(server.process.as_deref().unwrap_or_default()),
        ),
    ]
}

fn machine(report: &Report) -> Vec<(&'static str, String)> {
    let machine = &report.machine;
    let mut rows = vec![
        ("CPU", format!("{}, {} online", machine.cpu, machine.cpus)),
        ("kernel", machine.kernel.clone()),
        ("generator on", cpus(&machine.client_cpus)),
    ];
    for run in &report.runs {
        let said = rows::generator(run);
        rows.push(("generator", format!("{}: {said}", run.label)));
    }
    rows
}
