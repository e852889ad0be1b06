//! `cargo xtask mutate`: shows that the simulator, and the tests of the shard, find what they are for.
//!
//! A simulator that finds nothing is either run on good code or blind. So this breaks the code's rules one at a time, in a copy
//! of the tree, and runs seeds until one fails. A mutation that survives is a rule that nothing checks. The code itself knows
//! nothing of this: there is no hook in it that a release build would have to leave out.
//!
//! The mutations stand in `mutations.rs`, `mutations_backup.rs`, `mutations_saved.rs`, `mutations_reshard.rs`, `mutations_scrub.rs` and `mutations_write_behind.rs`, each as the text to find and the text to put in its place. A text that is not found
//! exactly once is an error, found before anything is built and by a test of its own, so that a mutation can't quietly stop being one
//! when the code changes.
//!
//! The copy and its target directory stay, and only files that differ are copied: a mutation costs one build of one crate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mutations::{MUTATIONS, Mutation, TESTED_MUTATIONS};
use crate::mutations_backup::BACKUP_MUTATIONS;
use crate::mutations_reshard::{RESHARD_MUTATIONS, RESHARD_TESTED_MUTATIONS};
use crate::mutations_saved::SAVED_MUTATIONS;
use crate::mutations_scrub::SCRUB_MUTATIONS;
use crate::mutations_write_behind::WRITE_BEHIND_MUTATIONS;
use crate::workspace::{TaskError, Workspace};

/// What of the workspace the simulator and the unit tests are built from.
const SOURCES: [&str; 11] = [
    "src",
    "examples",
    "proto-wire",
    "client",
    "tools",
    "benches",
    "docs",
    "tests",
    "Cargo.toml",
    "Cargo.lock",
    "clippy.toml",
];

/// Who is to catch a mutation.
#[derive(Clone, Copy, Debug)]
enum Proof {
    Simulator,
    /// Of the shard on a disk in memory, and of the log's writer.
    Tests,
}

/// What became of a mutation.
enum Verdict {
    /// This is the first line of what the simulator said.
    Caught(String),
    Survived,
}

/// Every mutation, and who is to catch it.
fn all() -> impl Iterator<Item = (&'static Mutation, Proof)> {
    let simulated = MUTATIONS
        .iter()
        .chain(SAVED_MUTATIONS)
        .chain(SCRUB_MUTATIONS)
        .chain(BACKUP_MUTATIONS)
        .chain(RESHARD_MUTATIONS);
    let tested = TESTED_MUTATIONS
        .iter()
        .chain(RESHARD_TESTED_MUTATIONS)
        .chain(WRITE_BEHIND_MUTATIONS);
    simulated
        .map(|each| (each, Proof::Simulator))
        .chain(tested.map(|each| (each, Proof::Tests)))
}

/// Tries the mutations whose name contains `only`, each on at most `seeds` seeds.
pub(crate) fn run(workspace: &Workspace, only: &str, seeds: u64) -> Result<(), TaskError> {
    let chosen: Vec<(&Mutation, Proof)> =
        all().filter(|(each, _)| each.name.contains(only)).collect();
    if chosen.is_empty() {
        return Err(TaskError::Malformed {
            what: format!("the word {only:?}"),
            why: "no mutation has it in its name".to_owned(),
        });
    }
    for (mutation, _) in &chosen {
        mutated(workspace.root(), mutation)?;
    }
    let copy = workspace.root().join("target/mutants/tree");
    let mut survived = 0;
    for (mutation, proof) in chosen {
        copy_sources(workspace.root(), &copy)?;
        let path = copy.join(mutation.file);
        let text = mutated(&copy, mutation)?;
        fs::write(&path, text).map_err(|source| io_error(&path, source))?;
        let verdict = match proof {
            Proof::Simulator => try_seeds(&copy, seeds)?,
            Proof::Tests => try_tests(&copy)?,
        };
        match verdict {
            Verdict::Caught(said) => println!("caught    {}: {said}", mutation.name),
            Verdict::Survived => {
                survived += 1;
                println!("SURVIVED  {}", mutation.name);
            }
        }
    }
    if survived > 0 {
        return Err(TaskError::Findings {
            count: survived,
            check: "mutate",
        });
    }
    Ok(())
}

/// The text of the file that a mutation changes, changed.
fn mutated(root: &Path, mutation: &Mutation) -> Result<String, TaskError> {
    let path = root.join(mutation.file);
    let text = fs::read_to_string(&path).map_err(|source| io_error(&path, source))?;
    let found = text.matches(mutation.find).count();
    if found != 1 {
        return Err(TaskError::Malformed {
            what: format!("mutation {:?}", mutation.name),
            why: format!("its text is {found} times in {}", mutation.file),
        });
    }
    Ok(text.replace(mutation.find, mutation.replace))
}

fn try_tests(copy: &Path) -> Result<Verdict, TaskError> {
    let what = "the tests of a mutated tree";
    let mut tests = Command::new("cargo");
    tests
        .args(["test", "--quiet", "--package", "corduroy", "--lib"])
        .args([
            "--",
            "shard::tests",
            "shard::reshard",
            "glommio::writ",
            "glommio::shared_ring",
        ]);
    let Some(said) = failure(copy, what, &mut tests)? else {
        return Ok(Verdict::Survived);
    };
    if said
        .lines()
        .any(|line| line.starts_with("error[") || line.starts_with("error: could not"))
    {
        return Err(TaskError::Malformed {
            what: what.to_owned(),
            why: said,
        });
    }
    let failed = said.lines().filter_map(|line| {
        let line = line.trim();
        let name = line
            .strip_prefix("shard::")
            .or_else(|| line.strip_prefix("runtime::"))?;
        (!name.contains(' ')).then_some(name)
    });
    let mut failed: Vec<&str> = failed.collect();
    failed.sort_unstable();
    failed.dedup();
    let said = match failed.as_slice() {
        [] => "the tests ended".to_owned(),
        failed => failed.join(", "),
    };
    Ok(Verdict::Caught(said.chars().take(160).collect()))
}

/// Has cargo do something with a mutated tree, and answers what it said if that failed.
fn failure(copy: &Path, what: &str, cargo: &mut Command) -> Result<Option<String>, TaskError> {
    let output = cargo
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", copy.join("../target"))
        .env("RUST_BACKTRACE", "0")
        .output()
        .map_err(|source| TaskError::Io {
            what: what.to_owned(),
            source,
        })?;
    let said = [output.stdout, output.stderr].concat();
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned()))
}

fn try_seeds(copy: &Path, seeds: u64) -> Result<Verdict, TaskError> {
    let what = "the simulator of a mutated tree";
    let mut simulator = Command::new("cargo");
    simulator
        .args(["run", "--quiet", "--package", "corduroy"])
        .args(["--example", "simulate", "--"])
        .args(["--seeds", &seeds.to_string()]);
    let Some(said) = failure(copy, what, &mut simulator)? else {
        return Ok(Verdict::Survived);
    };
    let lines = said.lines().collect::<Vec<_>>();
    if lines.iter().any(|line| line.starts_with("error")) {
        return Err(TaskError::Malformed {
            what: what.to_owned(),
            why: said,
        });
    }
    let failure = lines.iter().position(|line| line.contains(" fails"));
    let shown = failure.map_or(String::new(), |at| {
        // An assertion's own words come two lines later.
        let words = lines[at..].iter().take(4).copied().collect::<Vec<_>>();
        let text = match lines[at].contains("assertion") {
            true => words.join(" "),
            false => lines[at].to_owned(),
        };
        text.chars().take(160).collect()
    });
    Ok(Verdict::Caught(shown))
}

/// Copies what differs, so that cargo builds only what a mutation touches.
fn copy_sources(from: &Path, to: &Path) -> Result<(), TaskError> {
    for name in SOURCES {
        copy_changed(&from.join(name), &to.join(name))?;
    }
    Ok(())
}

fn copy_changed(from: &Path, to: &Path) -> Result<(), TaskError> {
    if from.is_dir() {
        fs::create_dir_all(to).map_err(|source| io_error(to, source))?;
        for path in entries(to)? {
            let name = path
                .file_name()
                .expect("an entry of a directory has a name");
            if !from.join(name).exists() && !path.is_dir() {
                fs::remove_file(&path).map_err(|source| io_error(&path, source))?;
            }
        }
        for path in entries(from)? {
            let name = path
                .file_name()
                .expect("an entry of a directory has a name");
            copy_changed(&path, &to.join(name))?;
        }
        return Ok(());
    }
    let bytes = fs::read(from).map_err(|source| io_error(from, source))?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).map_err(|source| io_error(to, source))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, TaskError> {
    let read = fs::read_dir(directory).map_err(|source| io_error(directory, source))?;
    read.map(|entry| Ok(entry.map_err(|source| io_error(directory, source))?.path()))
        .collect()
}

fn io_error(path: &Path, source: std::io::Error) -> TaskError {
    TaskError::Io {
        what: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule that was rewritten took its mutation with it, and nobody tried it for months.
    #[test]
    fn every_mutation_fits_the_code() {
        let workspace = Workspace::find().expect("the tests are run by cargo");
        for (mutation, _) in all() {
            if let Err(error) = mutated(workspace.root(), mutation) {
                panic!("{error}");
            }
            let same = all().filter(|(each, _)| each.name == mutation.name);
            assert_eq!(same.count(), 1, "{:?} is a name of one", mutation.name);
        }
    }
}
