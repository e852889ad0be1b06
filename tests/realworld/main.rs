//! The built programs over real sockets and files: what no simulation can show, because it is the kernel, the process and the
//! wire that fail here.
//!
//! Each test starts nodes of its own on loopback, on ports that the kernel chooses, in temporary directories, and ends them
//! whatever happens. A test that needs more than Rust and a C compiler is skipped with a word that says what is missing;
//! with `CORDUROY_TESTS=all` that is a failure.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]
#![expect(
    clippy::print_stderr,
    reason = "what a failed or skipped test leaves to be read"
)]

mod admin;
mod backup;
mod cli;
mod compaction;
mod connections;
mod cores;
mod data;
mod expiry;
mod fixture;
mod full;
mod hostile;
mod kill;
mod large;
mod many;
mod packages;
mod power;
mod remount;
mod saved;
mod scrub;
mod start;
mod stop;
#[path = "../support/mod.rs"]
mod support;
mod tools;
