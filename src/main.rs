//! The server binary.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use corduroy::runtime::allocator::keep_freed_memory;
use corduroy::server::cli::{Action, Cli, Tool, print_config};
use corduroy::server::serve::serve;

/// Something is wrong with the command line or the configuration.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = Cli::of_process();
    let action = cli.action();
    if let Action::Tool(tool) = &action {
        return run_tool(tool);
    }
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
        Action::Tool(_) => unreachable!("tools ended above"),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => complain(&reason, ExitCode::FAILURE),
    }
}

fn run_tool(tool: &Tool) -> ExitCode {
    match tool.run(&mut BufWriter::new(io::stdout().lock())) {
        Ok(verdict) => ExitCode::from(verdict.exit_code()),
        Err(error) if error.is_silent() => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), ExitCode::from(error.exit_code())),
    }
}

fn complain(reason: &str, code: ExitCode) -> ExitCode {
    // If nobody reads it, the exit code must do.
    let _ = writeln!(io::stderr(), "corduroy: {reason}");
    code
}
