//! Many keys: what one takes of the memory, and how soon they are served again after a kill -9.
//!
//! One server is filled with `--sync always`, so that every key was acknowledged as being on disk; its memory is read, what
//! its status reports as log tail is taken off, and the rest is divided by the keys. Then it is killed and started on the same
//! data: from the start of the process to the first right answer is the figure. After that a sample of keys
//! all over the key space must hold their values, or the start counts for nothing. The kernel's page cache survives a
//! kill -9, so this start does not wait for the disk; one after a power loss does.

use std::{
    io,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::json;

use super::{
    CompareError, Options,
    arena::{Arena, Running},
    outcome::{Figure, Outcome},
    row::{self, Contender, Load, Question},
    server::{Server, Sync},
};
use crate::{
    drive::{Config, Operations, Report, protocol::Session},
    process::Memory,
};

/// The server's memory, in MiB: the index of ten million keys takes a fifth of it.
const MEMORY_MIB: u32 = 1024;
/// Bytes of a value.
const VALUE_LEN: usize = 32;
/// Keys that are looked at after the restart.
const SAMPLE: u64 = 10_000;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the fill may go without an answer.
const STALL: Duration = Duration::from_secs(60);

/// What was observed of one server with many keys.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    keys: u64,
    command: String,
    memory_empty: Memory,
    memory_full: Memory,
    status: Status,
    start: Duration,
}

/// What is needed of a node's status.
#[derive(Clone, Debug, Deserialize)]
struct Status {
    shards: Vec<ShardStatus>,
}

/// What is needed of a shard's status.
#[derive(Clone, Copy, Debug, Deserialize)]
struct ShardStatus {
    keys: u64,
    tail_bytes: u64,
    index_bytes: u64,
}

impl Status {
    fn sum(&self, of: impl Fn(&ShardStatus) -> u64) -> u64 {
        self.shards.iter().map(of).sum()
    }
}

/// Fills a server, looks at it, kills it and starts it again.
pub(super) fn observe(
    arena: &Arena,
    options: &Options,
    say: &mut dyn FnMut(String),
) -> Result<Volume, CompareError> {
    let server = arena.start(Server::Corduroy {
        cores: 1,
        sync: Sync::Always,
        memory_mib: MEMORY_MIB,
    })?;
    let command = server.command.clone();
    let memory_empty = memory(&server)?;
    let began = Instant::now();
    fill(arena, options, &server, VALUE_LEN)?;
    say(format!(
        "  filled with {} keys in {:.1} s",
        options.keys,
        began.elapsed().as_secs_f64()
    ));
    let memory_full = memory(&server)?;
    let status = status(&server)?;
    let keys = status.sum(|shard| shard.keys);
    if keys != options.keys {
        let reason = format!(
            "its status counts {keys} keys after {} were written",
            options.keys
        );
        return Err(CompareError::Status {
            server: server.server.to_string(),
            reason,
        });
    }

    let kind = server.server;
    let data = server.kill();
    let server = arena.start_in(kind, data)?;
    let start = until_answered(options, &server)?;
    say(format!("  served again after {:.2} s", start.as_secs_f64()));
    Ok(Volume {
        keys,
        command,
        memory_empty,
        memory_full,
        status,
        start,
    })
}

/// Writes all keys.
pub(super) fn fill(
    arena: &Arena,
    options: &Options,
    server: &Running,
    value_len: usize,
) -> Result<Report, CompareError> {
    let load = Load {
        operations: Operations::Put,
        value_len,
        ..row::gets(1)
    };
    let contender = Contender::driven(server.server, load);
    let config = Config {
        keys: options.keys,
        preload: true,
        window: Duration::ZERO,
        warm_up: Duration::ZERO,
        stall: STALL,
        ..super::duel::config(arena, options, &contender, server)
    };
    super::duel::drive_checked(server, &config)
}

/// The time from the start of a server's process to its first right answer. After that a sample of all keys must hold their values.
pub(super) fn until_answered(
    options: &Options,
    server: &Running,
) -> Result<Duration, CompareError> {
    let mut session = Session::connect(server.address, PATIENCE)
        .map_err(CompareError::io("ask after the restart"))?;
    expect_value(&mut session, server, options.keys / 2)?;
    let start = server.started.elapsed();
    let sample = SAMPLE.min(options.keys);
    for at in 0..sample {
        expect_value(&mut session, server, at * (options.keys / sample))?;
    }
    Ok(start)
}

fn expect_value(session: &mut Session, server: &Running, number: u64) -> Result<(), CompareError> {
    let holds = session
        .holds(number)
        .map_err(CompareError::io("ask for a key after the restart"))?;
    if holds {
        return Ok(());
    }
    let reason = format!(
        "key {number} was acknowledged before the server's end and does not hold its value after it"
    );
    Err(CompareError::Status {
        server: server.server.to_string(),
        reason,
    })
}

fn memory(server: &Running) -> Result<Memory, CompareError> {
    Memory::of(server.pid()).map_err(CompareError::io("read a server's memory"))
}

fn status(server: &Running) -> Result<Status, CompareError> {
    let read = || -> io::Result<Status> {
        let json = Session::connect(server.address, PATIENCE)?.status()?;
        serde_json::from_str(&json).map_err(io::Error::from)
    };
    read().map_err(|error| CompareError::Status {
        server: server.server.to_string(),
        reason: error.to_string(),
    })
}

impl Volume {
    /// The answer to one of the questions.
    pub(super) fn answer(&self, question: Question) -> Outcome {
        let keys = self.keys as f64;
        let index_bytes = self.status.sum(|shard| shard.index_bytes);
        let tail_bytes = self.status.sum(|shard| shard.tail_bytes);
        let figure = |value, at_most, unit, notes| {
            Outcome::Figure(Figure {
                value,
                at_most,
                unit,
                command: self.command.clone(),
                details: json!({
                    "keys": self.keys,
                    "memory_empty": self.memory_empty,
                    "memory_full": self.memory_full,
                    "index_bytes": index_bytes,
                    "tail_bytes": tail_bytes,
                    "start_seconds": self.start.as_secs_f64(),
                }),
                notes,
            })
        };
        match question {
            Question::MemoryPerKey { bytes_max } => {
                let beside_tail = self.memory_full.resident_bytes.saturating_sub(tail_bytes) as f64;
                let index = index_bytes as f64 / keys;
                let notes = vec![format!(
                    "{} keys; the index alone takes {index:.1} bytes a key",
                    self.keys
                )];
                figure(beside_tail / keys, bytes_max, "bytes", notes)
            }
            Question::Start { seconds_max } => {
                let notes = vec![format!(
                    "{} keys; with the page cache that a kill -9 leaves",
                    self.keys
                )];
                figure(self.start.as_secs_f64(), seconds_max, "s", notes)
            }
        }
    }
}
