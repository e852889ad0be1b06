//! The driver and the comparison against servers of all kinds: built here, installed, in this process, and broken.
#![expect(
    clippy::unwrap_used,
    reason = "a test says that something failed by panicking"
)]
#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

mod common;
mod echo;
mod faults;
mod native;
mod peers;
