//! The server binary over real sockets and files: how it starts, serves, stops, and comes back.

#![expect(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod connections;
mod crash;
mod lifecycle;
mod support;
