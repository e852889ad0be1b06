//! The server binary.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use corduroy::runtime::allocator::keep_freed_memory;
use corduroy::server::cli::{Action, Cli, print_config};
use corduroy::server::serve::serve;

/// Something is wrong with the command line or the configuration.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = Cli::parse();
    let action = cli.action();
    let resolved = match cli.resolve() {
        Ok(resolved) => resolved,
        Err(rejected) => return complain(&rejected.to_string(), ExitCode::from(EXIT_USAGE)),
    };
    let outcome = match action {
        Action::Config { json } => print_config(&resolved, json, &mut io::stdout().lock())
            .map_err(|error| error.to_string()),
        Action::Serve => serve(&resolved.config)
            .map(|never| match never {})
            .map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => complain(&reason, ExitCode::FAILURE),
    }
}

fn complain(reason: &str, code: ExitCode) -> ExitCode {
    // If nobody reads it, the exit code must do.
    let _ = writeln!(io::stderr(), "corduroy: {reason}");
    code
}
