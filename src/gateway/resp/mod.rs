//! The RESP front door: what a Redis client's bytes say, and how answers look to it. No I/O.
//!
//! A Redis client sends **commands**, arrays of byte strings, and expects one **reply** to each, in the order of the commands. Here
//! a command becomes an [`Order`]: mostly a native [`Request`](corduroy_proto_wire::Request), the same that the native protocol's clients
//! send, together with the [`Shape`] in which its answer is to be written. So conditions, times to live, atomicity, limits and errors are those of the
//! shard, whoever asks.
//!
//! ```text
//! bytes → parse (arguments) → order (request and shape) → driver → shard
//! shard → Response → reply queue of the connection (order of the commands) → shape (bytes)
//! ```
//!
//! # Families of calls
//!
//! The driver calls [`parse`] on what came in until a command is whole, [`commands::next`] on its arguments, and [`Shape::write`] on
//! each answer, in the order of the commands. What a connection remembers in between is its [`Session`].

pub mod clients;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod glob;
pub mod info;
mod inline;
pub mod order;
pub mod parse;
pub mod reply;
pub mod session;
pub mod shape;
pub mod slowlog;

pub use commands::{CommandError, Next};
pub use order::{Moving, Order, Precondition, ScanOrder, SessionOrder};
pub use reply::Protocol;
pub use session::Session;
pub use shape::Shape;

/// Whether a new connection's first bytes are those of a Redis client: an array, or a command as a person types it.
#[must_use]
pub fn speaks(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| {
        *first == b'*' || first.is_ascii_alphabetic() || matches!(first, b'\r' | b'\n' | b' ')
    })
}
