//! The closed-loop driver: a fixed number of connections, each with a fixed number of requests in flight, on one thread.
//!
//! A **run** is: connect and greet, write every key once if asked to (`preload`), then ask at random. What is answered
//! during the warm-up is checked but not counted; then the **window** opens, in which replies, their latencies, the
//! server's CPU time and the driver's own are counted; at its end no more is asked, and what is still in flight is waited
//! for. A closed loop asks as fast as it is answered: it finds a server's limit, and says little about the latency below
//! that limit, where a real load would be.
//!
//! - [`config`]: what to ask of whom.
//! - [`workload`]: keys, values and the next request.
//! - [`protocol`]: the languages.
//! - `engine`, `connection`, `tally`: sockets, slots, counts and the loop over them. The hot path.
//! - `measure`: the run from the first key to the report.
//! - [`report`]: what came out.
//!
//! A wrong reply is counted and the run goes on; a reply that can't be read, a closed connection or a server that answers
//! nothing for `stall` ends it with an error, so a run ends whatever the server does.

use std::{io, net::SocketAddr, time::Duration};

pub mod config;
mod connection;
pub(crate) mod engine;
mod measure;
pub mod protocol;
pub mod report;
mod tally;
pub mod workload;

pub use config::{Config, Operations, Protocol, Route, Wait};
pub use report::Report;

use protocol::{EchoDialect, Malformed, MemcachedDialect, NativeDialect, RespDialect};

/// Why a run ended without a report.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The numbers do not go together; nothing was sent.
    #[error("{0}")]
    Config(String),
    /// The driver could not be put on its core; nothing was sent.
    #[error("cannot run on core {core}: {source}")]
    Core {
        /// The core that was asked for.
        core: usize,
        /// The kernel's reason.
        source: io::Error,
    },
    /// No connection.
    #[error("cannot connect to {address} (connection {connection}): {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Which of the connections, counted from 0.
        connection: usize,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The server refused the handshake.
    #[error("the server refused connection {connection}: {reason}")]
    Handshake {
        /// Which of the connections, counted from 0.
        connection: usize,
        /// What it said.
        reason: String,
    },
    /// A connection broke.
    #[error("connection {connection} broke with {in_flight} requests in flight: {source}")]
    Broken {
        /// Which of the connections, counted from 0.
        connection: usize,
        /// How many requests had no reply.
        in_flight: usize,
        /// The kernel's reason, or that the server closed the connection.
        source: io::Error,
    },
    /// The bytes are no reply.
    #[error(
        "connection {connection} answered what is no reply: {source}; the bytes begin with {bytes}"
    )]
    Malformed {
        /// Which of the connections, counted from 0.
        connection: usize,
        /// What is wrong.
        source: Malformed,
        /// Some of the bytes, escaped.
        bytes: String,
    },
    /// A reply to nothing that was asked.
    #[error("connection {connection} answered request {slot}, which is not in flight")]
    Unasked {
        /// Which of the connections, counted from 0.
        connection: usize,
        /// Which request.
        slot: u32,
    },
    /// The server stopped answering.
    #[error("no reply for {stall:?} with {in_flight} requests in flight")]
    Stalled {
        /// How long it was waited for.
        stall: Duration,
        /// How many requests had no reply.
        in_flight: u64,
    },
    /// The server's CPU time can't be read: it ended, or never was.
    #[error("cannot read the CPU time of process {pid}: {source}")]
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
}

impl DriveError {
    /// For `map_err`: an I/O error with what was tried.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> DriveError {
        move |error| DriveError::Io {
            action,
            source: error.into(),
        }
    }
}

/// Carries out one run on the calling thread, which stays on the configured core afterwards.
///
/// # Errors
///
/// Whatever ended the run early. Wrong replies are no error here: see [`Report::errors`].
pub fn run(config: &Config) -> Result<Report, DriveError> {
    config.check()?;
    if let Some(core) = config.core {
        crate::affinity::pin_to(&[core]).map_err(|source| DriveError::Core { core, source })?;
    }
    match config.protocol {
        Protocol::Native => measure::run(NativeDialect::new(config.route), config),
        Protocol::Resp => measure::run(RespDialect, config),
        Protocol::Memcached => measure::run(MemcachedDialect, config),
        Protocol::Echo => measure::run(EchoDialect::new(config.value_len), config),
    }
}
