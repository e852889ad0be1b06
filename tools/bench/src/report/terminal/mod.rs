//! What is printed: tables, plots of characters and sparklines. Strings come out; who prints them, and how wide the terminal is, is the caller's.

mod canvas;
mod plots;
mod show;
mod spark;
pub(crate) mod table;

pub use plots::{percentile_plot, timeline_plot};
pub use show::{ShowOptions, show};
pub use spark::sparkline;
