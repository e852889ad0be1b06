//! How soon many keys are served again on two cores: after a kill -9, and after a clean stop.
//!
//! A server is filled with `--sync always` and killed as soon as the last key is acknowledged, so what it does in the background (saving indexes) is
//! not waited for. It is started, a sample of its keys is held against what was written, it is stopped with SIGTERM as soon as that is done, and started
//! again. From the start of a process to its first right answer is the figure. The page cache holds all of the log in both.

use std::time::Duration;

use serde_json::json;

use super::{
    CompareError, Options,
    arena::Arena,
    outcome::{Figure, Outcome},
    row::Restart,
    server::{Server, Sync},
    volume::{fill, until_answered},
};

/// The server's memory, in MiB: the log of ten million keys fits.
const MEMORY_MIB: u32 = 4096;
/// Bytes of a value.
const VALUE_LEN: usize = 100;

/// What was observed of one server's two starts.
#[derive(Clone, Debug)]
pub(super) struct Starts {
    keys: u64,
    command: String,
    killed: Duration,
    stopped: Duration,
}

/// Fills a server, and starts it again after each kind of end.
pub(super) fn observe(
    arena: &Arena,
    options: &Options,
    say: &mut dyn FnMut(String),
) -> Result<Starts, CompareError> {
    let kind = Server::Corduroy {
        cores: 2,
        sync: Sync::Always,
        memory_mib: MEMORY_MIB,
    };
    let server = arena.start(kind)?;
    let command = server.command.clone();
    fill(arena, options, &server, VALUE_LEN)?;
    say(format!("  filled with {} keys", options.keys));
    let server = arena.start_in(kind, server.kill())?;
    let killed = until_answered(options, &server)?;
    say(format!(
        "  served again {:.2} s after kill -9",
        killed.as_secs_f64()
    ));
    let server = arena.start_in(kind, server.stop()?)?;
    let stopped = until_answered(options, &server)?;
    say(format!(
        "  served again {:.2} s after a clean stop",
        stopped.as_secs_f64()
    ));
    Ok(Starts {
        keys: options.keys,
        command,
        killed,
        stopped,
    })
}

impl Starts {
    /// The figure of one of the starts.
    pub(super) fn answer(&self, restart: Restart, seconds_max: f64) -> Outcome {
        let start = match restart {
            Restart::Killed => self.killed,
            Restart::Stopped => self.stopped,
        };
        Outcome::Figure(Figure {
            value: start.as_secs_f64(),
            at_most: seconds_max,
            unit: "s",
            command: self.command.clone(),
            details: json!({
                "keys": self.keys,
                "killed_seconds": self.killed.as_secs_f64(),
                "stopped_seconds": self.stopped.as_secs_f64(),
            }),
            notes: vec![format!("{} keys; with a warm page cache", self.keys)],
        })
    }
}
