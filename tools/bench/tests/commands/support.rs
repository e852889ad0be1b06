//! The program, what it said, and what it measured.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use corduroy_bench::{
    results::{self, Latency, Report, Run},
    workload::Operation,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Process, takes_connections};

/// What a command left.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Panics with all that was said, if the exit code is another one.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Said {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        assert!(
            self.out.contains(words) || self.err.contains(words),
            "not said: {words}\n{}\n{}",
            self.out,
            self.err
        );
    }
}

/// The program with these words, divided at spaces, and none of the settings of whoever runs the tests.
pub(crate) fn command(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corduroy-bench"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CORDUROY_") {
            command.env_remove(name);
        }
    }
    command.args(words.split_whitespace()).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn say(mut command: Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program with no server named.
pub(crate) fn bench(words: &str) -> Said {
    say(command(words))
}

impl Process {
    /// The program with these words, and this server.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = command(words);
        command.env("CORDUROY_SERVER", self.address.to_string());
        command
    }

    /// Runs the program against this server.
    pub(crate) fn bench(&self, words: &str) -> Said {
        say(self.command(words))
    }

    /// Runs it, and reads what it measured. Panics unless it ended well.
    #[track_caller]
    pub(crate) fn report(&self, words: &str) -> Report {
        let result = self.data.path().join("result.json");
        let mut command = self.command(words);
        command.arg("--json").arg(&result);
        let said = say(command).with(0);
        assert!(!said.out.is_empty());
        results::read(&result).unwrap()
    }

    /// The same, of a single run without errors.
    #[track_caller]
    pub(crate) fn run(&self, words: &str) -> Run {
        let mut report = self.report(words);
        assert_eq!(report.runs.len(), 1);
        let run = report.runs.remove(0);
        assert!(run.errors.is_empty(), "{words}: {:?}", run.errors);
        run
    }

    /// Kills the server as `kill -9` does and starts it again, with the data and the port that it had.
    pub(crate) fn start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = self.recipe.spawn(self.data.path());
        assert!(takes_connections(&mut self.child, self.address));
    }

    /// Starts the program against this server.
    pub(crate) fn begin(&self, words: &str) -> Running {
        let mut child = self
            .command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        Running {
            child,
            err,
            said: String::new(),
        }
    }
}

/// A command that goes on.
pub(crate) struct Running {
    child: Child,
    err: BufReader<ChildStderr>,
    said: String,
}

impl Running {
    /// Reads on until a line of standard error is as wanted.
    #[track_caller]
    pub(crate) fn until(&mut self, is_wanted: impl Fn(&str) -> bool) {
        loop {
            let mut line = String::new();
            let len = self.err.read_line(&mut line).unwrap();
            assert!(len > 0, "it ended too soon: {}", self.said);
            self.said.push_str(&line);
            if is_wanted(&line) {
                return;
            }
        }
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Stops the whole process for this time, as a debugger or a machine that is short of cores does.
    pub(crate) fn suspend(&self, time: Duration) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).unwrap();
        thread::sleep(time);
        kill_process(pid, Signal::CONT).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Said {
        let mut out = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        self.err.read_to_string(&mut self.said).unwrap();
        stdout.read_to_string(&mut out).unwrap();
        Said {
            code: self.child.wait().unwrap().code().unwrap_or(-1),
            out,
            err: std::mem::take(&mut self.said),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of progress in which something was answered.
pub(crate) fn is_progress(line: &str) -> bool {
    line.contains(" % ") && line.contains("/s  p50 ")
}

/// The operations that a run has figures for.
pub(crate) fn operations(run: &Run) -> Vec<Operation> {
    let mut operations: Vec<Operation> = run
        .latencies
        .iter()
        .filter(|latency| latency.response.count > 0)
        .filter_map(|latency| latency.operation)
        .collect();
    operations.sort_unstable();
    operations.dedup();
    operations
}

/// The row of all operations, of one heat or one core or of all.
pub(crate) fn rows<'a>(
    run: &'a Run,
    is_wanted: impl Fn(&Latency) -> bool + 'a,
) -> impl Iterator<Item = &'a Latency> {
    run.latencies.iter().filter(move |row| is_wanted(row))
}

/// A path as a word of the command line.
pub(crate) fn word(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
