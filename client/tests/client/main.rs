//! The client against a scripted server, over real sockets.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at whatever it does not expect"
)]

mod answers;
#[cfg(feature = "blocking")]
mod blocking;
mod hostile;
mod multiplexing;
mod outcomes;
mod pool;
mod server;
