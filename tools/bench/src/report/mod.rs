//! What is made of a [`Report`](crate::results::Report): text of many kinds, all by pure functions.
//!
//! - [`steps`]: which runs are repetitions of one another, and what they are together. Everything below starts from there.
//! - [`condition`]: `p99<2ms`, as `--fail-if` and `--slo` have it. [`knee`]: what a sweep found.
//! - [`compare`]: two reports, with confidence intervals. [`statistics`]: what it computes with.
//! - [`headline`]: three sentences that say what was asked, what came out, and whether to believe it.
//! - [`terminal`]: tables, plots and sparklines of characters. [`plot`]: SVG. [`html`]: a page with all of it. [`csv`] and [`hlog`]: for other tools.
//!
//! Two rules hold everywhere. Errors are in no percentile. And where the generator could not keep up, or the loop was closed, a latency is never
//! shown without saying so.

pub mod compare;
pub mod condition;
pub mod csv;
pub mod headline;
pub mod hlog;
pub mod html;
pub mod knee;
pub mod names;
pub mod plot;
mod rows;
pub mod statistics;
pub mod steps;
pub mod terminal;
pub mod units;

/// What is said of every latency of a closed loop.
pub const CLOSED_LOOP: &str = "closed loop: latency not corrected for waiting";
