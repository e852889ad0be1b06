//! Drives one server and says how fast it was. See [`corduroy_benches::drive`].
//!
//! Exits with 0 if every reply was right, 1 if some were wrong, 2 if the run could not be carried out.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use corduroy_benches::drive::{self, Config};

/// A closed-loop driver for key-value servers: one thread, N connections, D requests in flight on each.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: Config,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match drive::run(&arguments.config) {
        Ok(report) => {
            let text = if arguments.json {
                serde_json::to_string_pretty(&report).expect("a report is numbers and strings")
            } else {
                report.to_string()
            };
            let written = writeln!(io::stdout(), "{text}");
            match (report.errors.total(), written) {
                (0, Ok(())) => ExitCode::SUCCESS,
                (_, Ok(())) => ExitCode::from(1),
                (_, Err(_)) => ExitCode::from(2),
            }
        }
        Err(error) => {
            // Standard error may be closed; the exit code says the same.
            let _ = writeln!(io::stderr(), "drive: {error}");
            ExitCode::from(2)
        }
    }
}
