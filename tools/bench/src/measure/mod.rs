//! What is noted down of a run, and what is made of it.
//!
//! - `tally`: what one thread notes: latencies by operation, heat and core of the server, lag, errors. The hot path.
//! - [`interval`]: what a thread hands over while the run goes on: the live view and the timeline are made of it.
//! - `errors`: errors by kind.
//! - `trust`: when the figures may be believed.
//! - `collect`: all threads' tallies become one [`crate::results::Run`].
//! - [`distribution`]: a histogram as it is reported.
//! - [`process`]: the CPU time of the server.
//! - [`journal`], [`verdict`]: what a server must still know after faults.
//!
//! **What belongs to the window.** An operation belongs to it if it was meant to start in it, whenever it ended: so a stall at the window's end shows
//! in the percentiles as one in its middle does. Throughput and the timeline count what *ended* in the window.

pub(crate) mod collect;
pub mod distribution;
pub(crate) mod errors;
pub mod interval;
pub mod journal;
pub mod process;
pub(crate) mod tally;
pub mod trust;
pub mod verdict;

pub use interval::{Live, Phase};
pub use journal::{Entry, Journal, JournalError};
pub use verdict::{Seen, Verdict, verify};
