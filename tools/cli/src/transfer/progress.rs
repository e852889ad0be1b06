//! What a person sees while an import or export runs, on standard error: a bar with rate and remaining time on a terminal,
//! and nothing moving where there is none.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal as _};
use std::time::Duration;

/// How often the bar is drawn at most, in draws a second.
const DRAWS_PER_SECOND: u8 = 10;

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For `bytes_total` bytes of which `bytes_done` are done; `None` if the end is not known.
    pub(crate) fn new(bytes_total: Option<u64>, bytes_done: u64) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(bytes_total, target).with_position(bytes_done);
        let template = match bytes_total {
            Some(_) => {
                "{bar:30} {percent}% {bytes}/{total_bytes} {msg} {binary_bytes_per_sec}, {eta} left"
            }
            None => "{spinner} {bytes} {msg} {binary_bytes_per_sec}, {elapsed}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        // What was done before this run says nothing about its rate.
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_secs(1));
        Self { bar }
    }

    /// So much is done.
    pub(crate) fn update(&self, bytes_done: u64, records: u64) {
        self.bar.set_position(bytes_done);
        self.bar.set_message(format!("{records} records"));
    }

    /// Says something without tearing the bar.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        self.bar.suspend(|| crate::output::note(text));
    }

    /// Takes the bar away; a summary follows.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
