//! The engine against servers that misbehave on purpose, over real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

mod closed_loop;
mod common;
mod faults;
mod journal;
mod open_loop;
