//! `cargo xtask check`: everything that CI runs, step by step, timed, with a summary at the end.
//!
//! A step that fails doesn't stop the others: one run shows all there is to mend. A step that can't run here says what is
//! missing and counts as skipped; under `CORDUROY_TESTS=all`, as `.ci/run` has it, that is a failure. To add a step, add a row to [`STEPS`].

use std::process::Command;
use std::time::{Duration, Instant};

use crate::workspace::{TaskError, Workspace, run_to_success};
use crate::{layers, simulate, words};

/// One step.
struct Step {
    name: &'static str,
    /// Whether it runs when no step is named.
    usual: bool,
    run: fn(&Workspace) -> Result<(), TaskError>,
}

/// The steps, quick ones first.
const STEPS: [Step; 9] = [
    Step {
        name: "fmt",
        usual: true,
        run: |workspace| run_to_success(workspace.cargo(&["fmt", "--all", "--check"])),
    },
    Step {
        name: "layers",
        usual: true,
        run: layers::run,
    },
    Step {
        name: "words",
        usual: true,
        run: words::run,
    },
    Step {
        name: "deny",
        usual: true,
        run: |workspace| deny(workspace, &["bans", "licenses", "sources"]),
    },
    // Fetches the advisory database, so it needs a network, and it can fail without a change of ours.
    Step {
        name: "advisories",
        usual: false,
        run: |workspace| deny(workspace, &["advisories"]),
    },
    Step {
        name: "clippy",
        usual: true,
        run: |workspace| {
            run_to_success(workspace.cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))
        },
    },
    Step {
        name: "doc",
        usual: true,
        run: doc,
    },
    Step {
        name: "test",
        usual: true,
        run: |workspace| run_to_success(workspace.cargo(&["test", "--workspace"])),
    },
    Step {
        name: "simulate",
        usual: true,
        run: simulate::run_short,
    },
];

/// The names of all steps.
pub(crate) fn step_names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.name)
}

/// Which steps to run: those named, or the usual ones, less those to skip.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) only: Vec<String>,
    pub(crate) skip: Vec<String>,
}

impl Selection {
    fn takes(&self, step: &Step) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == step.name);
        let wanted = if self.only.is_empty() {
            step.usual
        } else {
            named(&self.only)
        };
        wanted && !named(&self.skip)
    }
}

/// What became of a step.
struct Outcome {
    name: &'static str,
    time: Duration,
    result: Result<(), TaskError>,
}

/// Under this nothing may be skipped.
const TESTS_VARIABLE: &str = "CORDUROY_TESTS";

/// Runs the selected steps and sums up.
pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> Result<(), TaskError> {
    let may_skip = std::env::var_os(TESTS_VARIABLE).is_none_or(|value| value != "all");
    let mut outcomes = Vec::new();
    for step in STEPS.iter().filter(|step| selection.takes(step)) {
        println!("== {}", step.name);
        let start = Instant::now();
        let result = (step.run)(workspace);
        outcomes.push(Outcome {
            name: step.name,
            time: start.elapsed(),
            result,
        });
    }
    println!("== summary");
    for outcome in &outcomes {
        let verdict = match &outcome.result {
            Ok(()) => "ok".to_owned(),
            Err(error @ TaskError::Skipped { .. }) if may_skip => error.to_string(),
            Err(error) => format!("FAILED: {error}"),
        };
        println!(
            "{:10} {:7.1} s  {verdict}",
            outcome.name,
            outcome.time.as_secs_f64()
        );
    }
    let steps: Vec<&'static str> = outcomes
        .iter()
        .filter(|outcome| failed(outcome, may_skip))
        .map(|outcome| outcome.name)
        .collect();
    if steps.is_empty() {
        Ok(())
    } else {
        Err(TaskError::Steps { steps })
    }
}

fn failed(outcome: &Outcome, may_skip: bool) -> bool {
    match outcome.result {
        Ok(()) => false,
        Err(TaskError::Skipped { .. }) => !may_skip,
        Err(_) => true,
    }
}

fn doc(workspace: &Workspace) -> Result<(), TaskError> {
    let mut cargo = workspace.cargo(&["doc", "--workspace", "--no-deps"]);
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    run_to_success(cargo)
}

fn deny(workspace: &Workspace, checks: &[&str]) -> Result<(), TaskError> {
    let installed = Command::new("cargo-deny")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !installed {
        let why = "cargo-deny is not installed (`cargo install --locked --no-default-features cargo-deny`)".to_owned();
        return Err(TaskError::Skipped { why });
    }
    // Without `--workspace` it looks at the root package alone.
    let mut cargo = workspace.cargo(&[
        "deny",
        "--workspace",
        "--all-features",
        "check",
        "--hide-inclusion-graph",
    ]);
    cargo.args(checks);
    run_to_success(cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(only: &[&str], skip: &[&str]) -> Vec<&'static str> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let selection = Selection {
            only: owned(only),
            skip: owned(skip),
        };
        STEPS
            .iter()
            .filter(|step| selection.takes(step))
            .map(|step| step.name)
            .collect()
    }

    // CI runs the tests by themselves and everything else through `--skip test`. A step that this loses is a check that
    // nobody runs any more.
    #[test]
    fn skipping_one_step_keeps_the_others() {
        assert_eq!(
            selected(&[], &["test"]),
            [
                "fmt", "layers", "words", "deny", "clippy", "doc", "simulate"
            ]
        );
        assert_eq!(selected(&["advisories", "fmt"], &[]), ["fmt", "advisories"]);
        assert!(selected(&["fmt"], &["fmt"]).is_empty());
    }

    // A missing tool must not pass for a check that found nothing, nor for one that failed; and where all is to be checked, it is a failure:
    // CI without cargo-deny was green with a licence that nobody had looked at.
    #[test]
    fn a_skipped_step_is_a_failed_one_only_where_all_is_checked() {
        let outcome = |result| Outcome {
            name: "deny",
            time: Duration::ZERO,
            result,
        };
        let skipped = outcome(Err(TaskError::Skipped { why: String::new() }));
        let found = outcome(Err(TaskError::Findings {
            count: 1,
            check: "layers",
        }));
        assert!(!failed(&skipped, true));
        assert!(failed(&skipped, false));
        for may_skip in [true, false] {
            assert!(failed(&found, may_skip));
            assert!(!failed(&outcome(Ok(())), may_skip));
        }
    }
}
