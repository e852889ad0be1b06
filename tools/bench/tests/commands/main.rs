//! The built program as its users drive it, against real servers: Corduroy, `redis-server` and `memcached`, each started by the test that needs
//! it, on a port of its own, and ended with it.
//!
//! `redis-server` and `memcached` come with Debian; a test whose server isn't installed says so and passes, unless `CORDUROY_TESTS=all`.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]
#![expect(
    clippy::print_stderr,
    reason = "what a failed or skipped test leaves to be read"
)]

mod endings;
mod files;
mod mistakes;
#[path = "../servers/process.rs"]
mod process;
mod running;
mod support;
mod swapping;
mod sweeping;
mod trust;
mod verifying;
mod view;
