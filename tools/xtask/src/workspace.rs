//! Where the sources are, and how commands are run there.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use thiserror::Error;

/// Why a task failed.
#[derive(Debug, Error)]
pub(crate) enum TaskError {
    /// A command ran and said no; what it had to say is on the terminal.
    #[error("`{command}` failed ({status})")]
    Command {
        /// The command as it could be typed.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A command could not be run, or a file not be read.
    #[error("{what}: {source}")]
    Io {
        /// The command or the file.
        what: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file or a command's output is not what it should be.
    #[error("{what}: {why}")]
    Malformed {
        /// The file or the command.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A check found something; each finding is on the terminal.
    #[error("{count} found by `cargo xtask {check}`")]
    Findings {
        /// How many.
        count: usize,
        /// The check.
        check: &'static str,
    },
    /// Steps of `check` failed.
    #[error("failed: {}; `cargo xtask check --only STEP` repeats one", .steps.join(", "))]
    Steps {
        /// Their names.
        steps: Vec<&'static str>,
    },
    /// The step can't run here, for this reason. Not a failure of `check`.
    #[error("skipped: {why}")]
    Skipped {
        /// What is missing.
        why: String,
    },
}

/// The workspace's root directory.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this task was built in.
    pub(crate) fn find() -> Result<Workspace, TaskError> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let tools = manifest.as_deref().and_then(Path::parent);
        let root = tools
            .and_then(Path::parent)
            .ok_or_else(|| TaskError::Malformed {
                what: "CARGO_MANIFEST_DIR".into(),
                why: "it isn't set; run this as `cargo xtask`".into(),
            })?;
        Ok(Workspace {
            root: root.to_owned(),
        })
    }

    /// The root directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Every file that is or could be committed, from the root, sorted.
    pub(crate) fn files(&self) -> Result<Vec<String>, TaskError> {
        let what = "git ls-files";
        let mut git = Command::new("git");
        git.args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&self.root);
        let output = git.output().map_err(|source| TaskError::Io {
            what: what.into(),
            source,
        })?;
        if !output.status.success() {
            return Err(TaskError::Command {
                command: what.into(),
                status: output.status,
            });
        }
        let listed = String::from_utf8(output.stdout).map_err(|error| TaskError::Malformed {
            what: what.into(),
            why: error.to_string(),
        })?;
        let mut files: Vec<String> = listed.split_terminator('\0').map(str::to_owned).collect();
        // A file that was deleted and not yet staged is listed still.
        files.retain(|file| self.root.join(file).is_file());
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// The text of a file, or `None` if it isn't UTF-8.
    pub(crate) fn text(&self, file: &str) -> Result<Option<String>, TaskError> {
        let bytes = fs::read(self.root.join(file)).map_err(|source| TaskError::Io {
            what: file.to_owned(),
            source,
        })?;
        Ok(String::from_utf8(bytes).ok())
    }

    /// A command in the root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Cargo with these arguments, in the root.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments);
        cargo
    }
}

/// Runs a command to its end; it speaks to the terminal itself.
pub(crate) fn run_to_success(mut command: Command) -> Result<(), TaskError> {
    let text = display(&command);
    let status = command.status().map_err(|source| TaskError::Io {
        what: text.clone(),
        source,
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(TaskError::Command {
            command: text,
            status,
        })
    }
}

/// The command as it could be typed.
fn display(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
