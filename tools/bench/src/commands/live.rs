//! What is seen of a run while it goes on: one line that renews itself on a terminal, a line a second elsewhere.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::note;
use crate::{
    cli::When,
    engine::{Config, Length},
    measure::{Live, Phase},
    report::{
        terminal::sparkline,
        units::{micros, round_count, thousands},
    },
};

/// Columns of the sparkline of throughput.
const SPARK_COLUMNS: usize = 16;
/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Waiting for a shorter time than this is what a schedule is always behind by.
const BEHIND_MIN: Duration = Duration::from_millis(100);
/// Parts of a bar that is full.
const BAR_LEN: u64 = 1000;

/// A view on standard error.
pub(super) struct View {
    label: String,
    config: Config,
    kind: Kind,
    throughputs: Vec<f64>,
}

enum Kind {
    Bar(ProgressBar),
    Lines { last: Instant },
    Nothing,
}

impl View {
    /// For a run. `total` is the number of operations, where that is what ends it.
    pub(super) fn new(when: When, label: &str, config: &Config) -> View {
        let kind = match when {
            When::Never => Kind::Nothing,
            When::Auto if std::io::stderr().is_terminal() => {
                let bar =
                    ProgressBar::with_draw_target(Some(BAR_LEN), ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:20}] {wide_msg}") {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_prefix(label.to_owned());
                Kind::Bar(bar)
            }
            When::Auto | When::Plain => Kind::Lines {
                last: Instant::now(),
            },
        };
        View {
            label: label.to_owned(),
            config: config.clone(),
            kind,
            throughputs: Vec::new(),
        }
    }

    /// Shows how it goes. `total`: operations in all, where they and not a time end the run.
    pub(super) fn show(&mut self, live: &Live, total: Option<u64>) {
        if self.throughputs.len() == SPARK_COLUMNS {
            self.throughputs.remove(0);
        }
        self.throughputs.push(live.throughput);
        let share = self.share(live, total);
        match &mut self.kind {
            Kind::Nothing => {}
            Kind::Bar(bar) => {
                bar.set_position((share * BAR_LEN as f64) as u64);
                let spark = sparkline(&self.throughputs, SPARK_COLUMNS);
                bar.set_message(format!("{}  {spark}", words(live)));
            }
            Kind::Lines { last } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    let percent = share * 100.0;
                    note(&format!("{} {percent:3.0} %  {}", self.label, words(live)));
                }
            }
        }
    }

    /// How much of the run is over, from 0 to 1.
    fn share(&self, live: &Live, total: Option<u64>) -> f64 {
        let of = |part: f64, whole: f64| {
            if whole > 0.0 {
                (part / whole).min(1.0)
            } else {
                1.0
            }
        };
        match (self.config.length, total) {
            (_, Some(total)) => of(live.operations as f64, total as f64),
            (Length::Operations(total), None) => of(live.operations as f64, total as f64),
            (Length::Time(window), None) => {
                let whole = self.config.warm_up + window;
                of(live.elapsed.as_secs_f64(), whole.as_secs_f64())
            }
            (Length::Sources, None) => 0.0,
        }
    }

    /// Takes the view away.
    pub(super) fn end(self) {
        if let Kind::Bar(bar) = self.kind {
            bar.finish_and_clear();
        }
    }
}

fn words(live: &Live) -> String {
    let mut words = if live.throughput > 0.0 {
        format!(
            "{}/s  p50 {}  p99 {}  max {}",
            round_count(live.throughput),
            micros(live.p50),
            micros(live.p99),
            micros(live.max)
        )
    } else {
        "no answers".to_owned()
    };
    match live.phase {
        Phase::WarmUp => words.insert_str(0, "warm-up  "),
        Phase::Drain => words.insert_str(0, "waiting for the last answers  "),
        Phase::Window => {}
    }
    if live.behind >= BEHIND_MIN {
        words.push_str(&format!("  behind by {:.1} s", live.behind.as_secs_f64()));
    }
    if live.errors > 0 {
        words.push_str(&format!("  {} errors", thousands(live.errors)));
    }
    words
}
