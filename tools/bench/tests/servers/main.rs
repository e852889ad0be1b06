//! The languages against the servers that they are for: what the unit tests take from documents and recordings is asked of the real
//! ones here. Each test starts its own server on a port of its own and ends it.
//!
//! `redis-server` and `memcached` come with Debian; a test whose server isn't installed says so and passes, unless `CORDUROY_TESTS=all`.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]
#![expect(
    clippy::print_stderr,
    reason = "what a failed or skipped test leaves to be read"
)]

mod corduroy;
mod engine;
mod memcached;
mod process;
mod redis;
mod story;
mod support;
