//! The command line of `corduroy-bench`.

use std::process::ExitCode;

use clap::Parser as _;
use corduroy_bench::{cli::Cli, commands};

fn main() -> ExitCode {
    commands::carry_out(Cli::parse()).into()
}
