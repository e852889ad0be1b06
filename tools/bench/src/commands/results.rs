//! What becomes of a report: files, tables, conditions.

use std::{collections::BTreeMap, fs, io, path::Path, time::SystemTime};

use super::{local, note, say};
use crate::{
    cli::{
        ConnectionArguments, Exit, OutputArguments, OutputFormat, ServerArguments,
        WorkloadArguments,
    },
    report::{
        condition::{Condition, Slo},
        csv, hlog, html, plot,
        terminal::{ShowOptions, show},
    },
    results::{BadHistogram, Machine, Report, Run, SCHEMA, Server, write},
    session::Failure,
};

/// Columns of a terminal that doesn't tell its own.
const COLUMNS: u16 = 100;

/// A report of these runs, as of now.
pub(super) fn report(
    server: Server,
    started: SystemTime,
    settings: BTreeMap<String, String>,
    cores: &[usize],
    runs: Vec<Run>,
) -> Report {
    Report {
        schema: SCHEMA.to_owned(),
        tool: concat!("corduroy-bench ", env!("CARGO_PKG_VERSION")).to_owned(),
        started_at: humantime::format_rfc3339_seconds(started).to_string(),
        command: command(),
        machine: machine(cores),
        server,
        settings,
        runs,
    }
}

/// The settings that every command has, by the names of their flags.
pub(super) fn settings(
    server: &ServerArguments,
    workload: &WorkloadArguments,
    connections: &ConnectionArguments,
) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = workload
        .settings()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let mut set = |name: &str, value: String| {
        settings.insert(name.to_owned(), value);
    };
    set("connections", connections.connections.to_string());
    set("pipeline", connections.pipeline.to_string());
    set("threads", connections.threads(u32::MAX).to_string());
    if server.target.protocol == crate::protocol::Protocol::Native {
        set("route", server.route.to_string());
        set("keyspace", server.target.keyspace.clone());
    }
    settings
}

/// The command line, without the program's path and without the password.
fn command() -> Vec<String> {
    let mut hide_next = false;
    let words = std::env::args_os().skip(1).map(|word| {
        let word = word.to_string_lossy().into_owned();
        let hidden = std::mem::take(&mut hide_next);
        hide_next = word == "--password";
        match word.strip_prefix("--password=") {
            Some(_) => "--password=(hidden)".to_owned(),
            None if hidden => "(hidden)".to_owned(),
            None => word,
        }
    });
    ["corduroy-bench".to_owned()]
        .into_iter()
        .chain(words)
        .collect()
}

fn machine(cores: &[usize]) -> Machine {
    let system = rustix::system::uname();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    Machine {
        kernel: format!(
            "{} {}",
            system.sysname().to_string_lossy(),
            system.release().to_string_lossy()
        ),
        cpu: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u32),
        client_cpus: cores.iter().map(|core| *core as u32).collect(),
    }
}

/// Refuses files for which there is no place, before anything is measured for them.
pub(super) fn check(output: &OutputArguments) -> Result<(), Failure> {
    let files = [&output.json, &output.csv, &output.hlog, &output.html];
    files
        .into_iter()
        .flatten()
        .try_for_each(|path| is_writable(path))
}

/// Whether there is a place for a file: what is measured for an hour must not be lost for want of a directory.
pub(super) fn is_writable(path: &Path) -> Result<(), Failure> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let wrong = |reason: &str| {
        let message = format!("cannot write {}: {reason}", path.display());
        Err(Failure::new(Exit::Local, message))
    };
    if path.is_dir() {
        wrong("it is a directory")
    } else if !directory.is_dir() {
        wrong(&format!("there is no directory {}", directory.display()))
    } else {
        Ok(())
    }
}

/// Prints the report, writes what was asked for, and judges it.
pub(super) fn give(
    report: &Report,
    output: &OutputArguments,
    slo: Option<&Slo>,
) -> Result<Exit, Failure> {
    // Printed first: whatever becomes of the files, somebody has seen it.
    match output.output {
        OutputFormat::Table => {
            let options = ShowOptions {
                columns: columns(),
                plots: output.plots,
                every_step: false,
                slo: slo.cloned(),
            };
            say(&show(report, &options).map_err(|error| bad(&error))?)?;
        }
        OutputFormat::Json => {
            let text = serde_json::to_string_pretty(report)
                .map_err(|error| Failure::new(Exit::Local, error.to_string()))?;
            say(&format!("{text}\n"))?;
        }
    }
    if let Some(path) = &output.json {
        write(report, path).map_err(local(path))?;
    }
    if let Some(path) = &output.csv {
        fs::write(path, csv::csv(report)).map_err(local(path))?;
    }
    if let Some(path) = &output.hlog {
        fs::write(path, hlog::hlog(report).map_err(|error| bad(&error))?).map_err(local(path))?;
    }
    if let Some(directory) = &output.svg {
        draw(report, directory, slo)?;
    }
    if let Some(path) = &output.html {
        page(report, path, slo)?;
    }
    judge(report, &output.fail_if)
}

/// Says of each condition whether it holds.
pub(super) fn judge(report: &Report, conditions: &[Condition]) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for condition in conditions {
        match condition.check(report) {
            Ok(verdict) if verdict.holds => {
                note(&format!("FAIL: {}", verdict.sentence));
                exit = Exit::Failed;
            }
            Ok(verdict) => note(&format!("ok: {}", verdict.sentence)),
            Err(error) => {
                note(&format!("FAIL: {condition} can't be told: {error}"));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

/// Writes the plots as SVG files.
pub(super) fn draw(report: &Report, directory: &Path, slo: Option<&Slo>) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(local(directory))?;
    let plots = plot::plots(report, slo)
        .map_err(|error| Failure::new(Exit::Local, format!("cannot draw: {error}")))?;
    // What an earlier result has left there would be taken for this one's.
    for name in plot::NAMES {
        let path = directory.join(format!("{name}.svg"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(local(&path)(error));
            }
            _ => {}
        }
    }
    for plot in plots {
        let path = directory.join(format!("{}.svg", plot.name));
        fs::write(&path, plot.file()).map_err(local(&path))?;
    }
    Ok(())
}

/// Writes the page.
pub(super) fn page(report: &Report, path: &Path, slo: Option<&Slo>) -> Result<(), Failure> {
    let page = html::html(report, slo)
        .map_err(|error| Failure::new(Exit::Local, format!("cannot make the page: {error}")))?;
    fs::write(path, page).map_err(local(path))
}

/// The terminal's width.
pub(super) fn columns() -> u16 {
    rustix::termios::tcgetwinsize(io::stdout())
        .ok()
        .map(|size| size.ws_col)
        .filter(|columns| *columns >= 40)
        .unwrap_or(COLUMNS)
        .min(160)
}

/// A histogram of our own that can't be read, or that of a file.
pub(super) fn bad(error: &BadHistogram) -> Failure {
    Failure::new(Exit::Local, format!("a histogram can't be read: {error}"))
}
