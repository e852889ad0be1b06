//! `cargo xtask simulate`: runs the simulator, the shard under the simulated driver.
//!
//! The simulator is the example `simulate` of the package `corduroy`. It takes `--seed N` (replay one run exactly) or `--seeds N` (that
//! many runs), prints the seed of a run that fails, and then ends with a failure.

use std::ffi::OsString;

use crate::workspace::{TaskError, Workspace, run_to_success};

const PACKAGE: &str = "corduroy";
const TARGET: &str = "simulate";
/// Runs of the short simulation that belongs to `check`.
const SHORT: [&str; 2] = ["--seeds", "3000"];

/// Runs the simulator with what `check` asks of it.
pub(crate) fn run_short(workspace: &Workspace) -> Result<(), TaskError> {
    run(workspace, &SHORT.map(OsString::from))
}

/// Runs the simulator.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<(), TaskError> {
    let mut cargo = workspace.cargo(&[
        "run",
        "--quiet",
        "--package",
        PACKAGE,
        "--example",
        TARGET,
        "--",
    ]);
    cargo.args(arguments);
    run_to_success(cargo)
}
