//! A bar on standard error while a tool reads; nothing where that is no terminal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const DRAWS_PER_SECOND: u8 = 10;

/// See the module's header. Shared by all threads that read.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For so many bytes; `what` says what is done with them.
    pub(super) fn new(bytes_total: u64, what: &'static str) -> Progress {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(bytes_total), target).with_message(what);
        let style = ProgressStyle::with_template(
            "{msg} {bar:30} {percent}% {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left",
        );
        bar.set_style(style.expect("the template is well-formed"));
        bar.enable_steady_tick(Duration::from_secs(1));
        Progress(bar)
    }

    /// So many bytes more are done.
    pub(super) fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Takes the bar away; a summary follows.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
