//! Redis clients against the built node, over real sockets.
//!
//! | file | |
//! |---|---|
//! | `differential` | random commands to the node and to `redis-server` side by side: the same replies, byte for byte |
//! | `hostile` | clients that break the protocol, promise what they do not send, or never read |
//! | `clients` | redis-cli, redis-benchmark, redis-py, ioredis, the `redis` crate |
//! | `accounts` | the slow log, `commandstats`, what CLIENT LIST tells |
//! | `durable` | what was answered is there after kill -9 |
//! | `sequences` | what the random runs leave out: transactions of more than keys, errors that repeat bytes |
//!
//! A test that needs more than Rust and a C compiler is skipped with a word that says what is missing; with `CORDUROY_TESTS=all` that is a failure.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]
#![expect(
    clippy::print_stderr,
    reason = "what a failed or skipped test leaves to be read"
)]

mod accounts;
mod clients;
mod connection;
mod differential;
mod durable;
mod hostile;
mod original;
mod reply;
mod sequences;
#[expect(
    dead_code,
    reason = "it is shared with other tests, which use the rest"
)]
#[path = "../support/mod.rs"]
mod support;
