//! Sets Corduroy against others and prints which promises hold. See [`corduroy_benches::compare`].
//!
//! Exits with 0 if every row was measured and every promise holds, 1 if not, 2 if nothing could be compared.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use corduroy_benches::compare::{self, Options};

/// Compares Corduroy with redis-server, memcached and an echo server, one core each, driven from another core.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Name the rows and end.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Standard error may be closed; the exit code says the same.
            let _ = writeln!(io::stderr(), "compare: {error}");
            ExitCode::from(2)
        }
    }
}

/// Answers whether all promises hold.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let mut out = io::stdout();
    if arguments.list {
        for row in compare::all_rows() {
            writeln!(out, "{:18} {}", row.id, row.title)?;
        }
        return Ok(true);
    }
    if cfg!(debug_assertions) {
        return Err(
            "a driver that isn't optimized would be the limit: run it with `cargo run --release`"
                .into(),
        );
    }
    let results = compare::run(&arguments.options, &mut io::stderr())?;
    writeln!(out, "{results}")?;
    writeln!(out, "All figures: {}", arguments.options.json.display())?;
    Ok(results.are_all_reached())
}
