//! `cargo xtask simulate`: runs the simulator, the shard under the simulated driver.
//!
//! The simulator is the target `simulate` of the package `corduroy`: a binary, or an integration test without the standard
//! harness. It takes `--seed N` (replay one run exactly) or `--seeds N` (that many runs), prints the seed of a run that fails,
//! and then ends with a failure. As long as the package has no such target, `check` says so and skips the step.

use std::ffi::OsString;

use serde_json::Value;

use crate::workspace::{TaskError, Workspace, run_to_success};

const PACKAGE: &str = "corduroy";
const TARGET: &str = "simulate";
/// Runs of the short simulation that belongs to `check`.
const SHORT: [&str; 2] = ["--seeds", "200"];

/// Runs the simulator with what `check` asks of it.
pub(crate) fn run_short(workspace: &Workspace) -> Result<(), TaskError> {
    run(workspace, &SHORT.map(OsString::from))
}

/// Runs the simulator.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<(), TaskError> {
    let what = "cargo metadata";
    let mut metadata = workspace.cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let output = metadata.output().map_err(|source| TaskError::Io {
        what: what.into(),
        source,
    })?;
    if !output.status.success() {
        return Err(TaskError::Command {
            command: what.into(),
            status: output.status,
        });
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| TaskError::Malformed {
            what: what.into(),
            why: error.to_string(),
        })?;
    let Some(kind) = target_kind(&metadata) else {
        return Err(TaskError::Skipped {
            why: format!("the package {PACKAGE} has no target {TARGET}"),
        });
    };
    let mut cargo = match kind {
        Kind::Binary => workspace.cargo(&[
            "run",
            "--quiet",
            "--package",
            PACKAGE,
            "--bin",
            TARGET,
            "--",
        ]),
        Kind::Test => workspace.cargo(&[
            "test",
            "--quiet",
            "--package",
            PACKAGE,
            "--test",
            TARGET,
            "--",
        ]),
    };
    cargo.args(arguments);
    run_to_success(cargo)
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Binary,
    Test,
}

/// What the simulator is, by cargo's description of the workspace.
fn target_kind(metadata: &Value) -> Option<Kind> {
    let package = metadata["packages"]
        .as_array()?
        .iter()
        .find(|package| package["name"] == PACKAGE)?;
    let target = package["targets"]
        .as_array()?
        .iter()
        .find(|target| target["name"] == TARGET)?;
    let kinds = target["kind"].as_array()?;
    if kinds.iter().any(|kind| kind == "bin") {
        return Some(Kind::Binary);
    }
    kinds
        .iter()
        .any(|kind| kind == "test")
        .then_some(Kind::Test)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // The step skips itself while there is no simulator. It must not go on doing so when there is one.
    #[test]
    fn the_simulator_is_found_as_a_binary_or_a_test() {
        let with = |package: &str, name: &str, kind: &str| {
            json!({ "packages": [
                { "name": "corduroy-client", "targets": [{ "name": "simulate", "kind": ["example"] }] },
                { "name": package, "targets": [{ "name": "corduroy", "kind": ["lib"] }, { "name": name, "kind": [kind] }] },
            ]})
        };
        assert_eq!(
            target_kind(&with("corduroy", "simulate", "bin")),
            Some(Kind::Binary)
        );
        assert_eq!(
            target_kind(&with("corduroy", "simulate", "test")),
            Some(Kind::Test)
        );
        assert_eq!(target_kind(&with("corduroy", "simulated", "test")), None);
        assert_eq!(target_kind(&with("other", "simulate", "bin")), None);
    }
}
