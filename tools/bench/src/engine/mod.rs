//! Threads, sockets, slots and clocks: carries a [`Load`] out and notes what came of it.
//!
//! **Threads** share nothing while they run. Each has its own epoll, its share of the connections and of the schedule, and its own notes; a few
//! times a second it gives a small part of these away for the live view, at the end all of them.
//!
//! **Closed loop**: an answer makes room for the next operation. **Open loop**: operations start when the schedule says. What is due takes a free
//! slot of the connections in turn; if there is none it waits, and its latency counts from when it was *meant* to start (Gil Tene's
//! "coordinated omission" is what happens otherwise). The schedule itself is the queue: an arrival that waits is one that was not taken from the
//! iterator yet, so a backlog of any length costs no memory.
//!
//! **Lag** is how late an operation was sent though there was room for it: from its intended start, or from when a slot could first have been seen to be free, to
//! the moment before it is handed to the socket. If the thread was away while the queue built up, waiting for room counts too, as far as that pause explains it
//! (`attention`). It is the generator's own fault and is reported as that.
//!
//! **Time is read** before the socket is read (an answer is there when the kernel says so) and after that (what is sent in this turn is sent then).
//! Reading, checking and building are thereby in nobody's latency twice, and waiting for the thread's attention is in it.
//!
//! - [`load`]: what is carried out. [`config`]: how.
//! - `worker`: a thread's loop. `attention`: when it was away. `turn`: answers. `dispatch`: starts. `links`: opening, losing, timing out. `upkeep`: the rest.
//! - `connection`, `slots`: a socket and what is in flight on it.
//! - `run`: starts the threads, collects, ends.

use std::{io, net::SocketAddr};

pub(crate) mod affinity;
mod alarm;
mod attention;
pub(crate) mod clock;
pub mod config;
pub(crate) mod connection;
mod dispatch;
mod links;
pub mod load;
mod run;
pub(crate) mod slots;
mod turn;
mod upkeep;
mod worker;

pub use config::{Config, Length, Pace};
pub use load::{Load, Source};
pub use run::{Finished, run};

/// Why a run could not be carried out. What goes wrong once it has begun is counted instead.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The numbers do not go together; nothing was sent.
    #[error("{0}")]
    Config(String),
    /// The threads could not be put on their cores; nothing was sent.
    #[error(
        "cannot run on core {cores:?}: {source}; `nproc` tells how many there are, counted from 0"
    )]
    Cores {
        /// The cores that were asked for.
        cores: Vec<usize>,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Too few files may be open; nothing was sent.
    #[error(
        "{connections} connections need {needed} open files and this process may have {limit}: raise the limit (`ulimit -n {needed}`) or ask for fewer connections"
    )]
    Descriptors {
        /// How many were asked for.
        connections: u32,
        /// How many files that takes.
        needed: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// Not all connections could be opened; no operation was sent.
    #[error(
        "cannot connect to {address} ({opened} of {wanted} connections of this thread are open): {source}{}",
        hint(source)
    )]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// How many of the thread's connections were opened before.
        opened: u32,
        /// How many the thread was to open.
        wanted: u32,
        /// The kernel's reason, or that it took too long.
        source: io::Error,
    },
    /// The server did not want a connection; no operation was sent.
    #[error("{address} did not accept the greeting of connection {connection}: {reason}")]
    Greeting {
        /// Who.
        address: SocketAddr,
        /// Which connection.
        connection: u32,
        /// What it said.
        reason: String,
    },
    /// The server's CPU time can't be read.
    #[error(
        "cannot read the CPU time of process {pid}: {source}; is that the server, on this machine?"
    )]
    ServerCpu {
        /// Whose.
        pid: u32,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel refused something else.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A thread ended without a result: a mistake of ours.
    #[error("thread {thread} failed; its message is above")]
    Thread {
        /// Which.
        thread: u32,
    },
}

impl EngineError {
    /// For `map_err`: an I/O error with what was tried.
    fn io<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> EngineError {
        move |error| EngineError::Io {
            action,
            source: error.into(),
        }
    }
}

/// What to do about it.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is the server running, and on this port?",
        io::ErrorKind::TimedOut => "; is the address right, and does a firewall let it through?",
        io::ErrorKind::AddrNotAvailable => {
            "; all local ports are in use: wait a minute, or ask for fewer connections"
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "; the server may limit the number of its clients"
        }
        _ => "",
    }
}
