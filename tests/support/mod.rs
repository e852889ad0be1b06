//! What the real-world tests share: nodes as processes, connections as bytes, loads whose every answer is remembered.
//!
//! Nothing here has a time limit that a slow machine could meet: waits are for a condition, and [`PATIENCE`] only keeps a
//! hung process from hanging the run.

pub(crate) mod cli;
pub(crate) mod forgetful;
pub(crate) mod load;
pub(crate) mod needs;
pub(crate) mod node;
pub(crate) mod random;
pub(crate) mod tool;
pub(crate) mod value;
pub(crate) mod wire;

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before the test gives it up for hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
