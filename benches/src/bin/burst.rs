//! Bursts against Corduroy on one core and on two, in turns. See [`corduroy_benches::burst`].
//!
//! Exits with 0 if every burst was answered rightly, 2 if not.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use corduroy_benches::{
    burst::Shape,
    compare::{arena::Arena, field::Field},
};

/// What two cores of Corduroy do in the time of one, without a client beside them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Connections and requests on each, such as 50x1000; several separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "50x1000,2000x16")]
    shapes: Vec<Shape>,
    /// Rounds of one burst each.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rounds: u64,
    /// Where servers keep their data.
    #[arg(long, default_value = "target/compare")]
    directory: PathBuf,
    /// Directory of the programs, if it is not this program's.
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; the exit code says the same.
            let _ = writeln!(io::stderr(), "burst: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let own = std::env::current_exe()?;
    let programs = match &arguments.programs {
        Some(programs) => programs,
        None => own.parent().ok_or("this program has no directory")?,
    };
    let arena = Arena::new(programs, &arguments.directory)?;
    let mut field = Field::start(&arena)?;
    for &shape in &arguments.shapes {
        let figures = field.measure(shape, arguments.rounds)?;
        writeln!(io::stdout(), "{figures}")?;
    }
    Ok(())
}
