//! Runs seeds of the simulated world: `cargo xtask simulate` is this, with `--seed N` or `--seeds N [--from M]`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use corduroy::runtime::sim;

/// Runs seeds of the simulated world.
#[derive(Parser)]
struct Arguments {
    /// Run this seed alone, and show its report.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run so many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(seed) = sim::running() {
            // The process is about to abort; there is nobody left to tell if this fails.
            let _ = writeln!(io::stderr(), "seed {seed} fails an assertion:");
        }
        hook(panic);
    }));
    let mut out = io::stdout().lock();
    if let Some(seed) = arguments.seed {
        return Ok(match sim::run(seed) {
            Ok(report) => {
                writeln!(out, "seed {seed} is good: {report:#?}")?;
                ExitCode::SUCCESS
            }
            Err(failure) => {
                writeln!(out, "{failure}")?;
                ExitCode::FAILURE
            }
        });
    }
    let began = Instant::now();
    let mut failed = Vec::new();
    let mut events = 0;
    for seed in arguments.from..arguments.from + arguments.seeds {
        match sim::run(seed) {
            Ok(report) => events += report.tally.events,
            Err(failure) => {
                failed.push(seed);
                if !arguments.keep_going {
                    writeln!(out, "{failure}")?;
                    break;
                }
                writeln!(out, "seed {seed} fails: {}", failure.reason)?;
            }
        }
    }
    writeln!(
        out,
        "{} seeds, {events} events, {} failed, {:.1} s",
        arguments.seeds,
        failed.len(),
        began.elapsed().as_secs_f64()
    )?;
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
