//! The tools that work on a node's files, as a program's run.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::node::{PROGRAM, without_settings};

/// How a tool ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    code: Option<i32>,
    pub(crate) output: String,
    pub(crate) messages: String,
}

impl Ended {
    /// Fails the test if the tool did not end with `code`.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Fails the test if one of these is not in the output.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Ended {
        for part in parts {
            assert!(self.output.contains(part), "{part:?} is missing: {self:?}");
        }
        self
    }

    /// Fails the test if one of these is not among the messages.
    #[track_caller]
    pub(crate) fn complains(self, parts: &[&str]) -> Ended {
        for part in parts {
            assert!(
                self.messages.contains(part),
                "{part:?} is missing: {self:?}"
            );
        }
        self
    }

    /// The output, a JSON value a line.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let read =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.output.lines().map(read).collect()
    }
}

/// Runs a tool to its end.
pub(crate) fn tool(name: &str, path: &Path, flags: &[&str]) -> Ended {
    let mut command = Command::new(PROGRAM);
    without_settings(&mut command);
    let output = command
        .arg(name)
        .arg(path)
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let ended = Ended {
        code: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        messages: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!ended.messages.contains("panicked"), "{ended:?}");
    ended
}
