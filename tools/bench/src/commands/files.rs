//! `show`, `plot` and `compare`: what is made of results that were written before.

use std::path::Path;

use super::{note, results, say};
use crate::{
    cli::{CompareArguments, Exit, OutputFormat, PlotArguments, ShowArguments},
    report::{
        compare,
        steps::steps,
        terminal::{ShowOptions, percentile_plot, show as show_text, timeline_plot},
    },
    results::{Report, read},
    session::Failure,
};

/// Rows of a plot in the terminal.
const PLOT_ROWS: u16 = 16;

fn load(path: &Path) -> Result<Report, Failure> {
    read(path).map_err(|error| Failure::new(Exit::Local, error.to_string()))
}

pub(super) fn show(arguments: &ShowArguments) -> Result<Exit, Failure> {
    let report = load(&arguments.result)?;
    let options = ShowOptions {
        columns: results::columns(),
        plots: arguments.plots,
        every_step: arguments.every_step,
        slo: arguments.slo.clone(),
    };
    say(&show_text(&report, &options).map_err(|error| results::bad(&error))?)?;
    results::judge(&report, &arguments.fail_if)
}

pub(super) fn plot(arguments: &PlotArguments) -> Result<Exit, Failure> {
    let report = load(&arguments.result)?;
    if let Some(directory) = &arguments.svg {
        results::draw(&report, directory, arguments.slo.as_ref())?;
        note(&format!("the plots are in {}", directory.display()));
    }
    if let Some(path) = &arguments.html {
        results::page(&report, path, arguments.slo.as_ref())?;
        note(&format!("the page is {}", path.display()));
    }
    if arguments.svg.is_none() && arguments.html.is_none() {
        let columns = results::columns();
        for step in steps(&report) {
            let run = step.pooled().map_err(|error| results::bad(&error))?;
            let latency =
                percentile_plot(&run, columns, PLOT_ROWS).map_err(|error| results::bad(&error))?;
            say(&format!("{}\n{latency}\n", step.label))?;
            if !run.timeline.slices.is_empty() {
                say(&format!("{}\n", timeline_plot(&run, columns, PLOT_ROWS)))?;
            }
        }
    }
    Ok(Exit::Done)
}

pub(super) fn compare(arguments: &CompareArguments) -> Result<Exit, Failure> {
    let comparison = compare::compare(&load(&arguments.before)?, &load(&arguments.after)?)
        .map_err(|error| results::bad(&error))?;
    match arguments.output {
        OutputFormat::Table => say(&compare::text(&comparison))?,
        OutputFormat::Json => {
            let text = serde_json::to_string_pretty(&comparison)
                .map_err(|error| Failure::new(Exit::Local, error.to_string()))?;
            say(&format!("{text}\n"))?;
        }
    }
    Ok(Exit::Done)
}
