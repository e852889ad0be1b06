//! The kinds of settings that are words rather than numbers: which cores, when to synchronize, whether to spin, what to log.

use std::ops::RangeInclusive;

use tracing_subscriber::EnvFilter;

use super::error::ValueError;
use super::kinds::{Kind, Time};
use super::values::{CoreSelection, LogFilter, LogFormat, Spin, SyncPolicy};

/// Which cores run a shard.
pub(super) struct Cores {
    /// Most shards of a node.
    pub(super) max: usize,
}

impl Cores {
    fn range(part: &str) -> Result<RangeInclusive<usize>, ValueError> {
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| ValueError::Cores);
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first <= last {
            Ok(first..=last)
        } else {
            Err(ValueError::CoresBackwards { first, last })
        }
    }
}

impl Kind for Cores {
    type Value = CoreSelection;

    fn parse(&self, text: &str) -> Result<CoreSelection, ValueError> {
        if text == "all" {
            return Ok(CoreSelection::All);
        }
        if !text.contains([',', '-']) {
            let count = text.parse().map_err(|_| ValueError::Cores)?;
            let in_bounds = (1..=self.max).contains(&count);
            return if in_bounds {
                Ok(CoreSelection::Count(count))
            } else {
                Err(ValueError::OutOfBounds)
            };
        }
        let mut cores = Vec::new();
        for part in text.split(',') {
            // Bounded before it is expanded: `0-99999999999` must not become a list.
            let range = Cores::range(part)?;
            if range.end() - range.start() >= self.max || cores.len() >= self.max {
                return Err(ValueError::OutOfBounds);
            }
            cores.extend(range);
        }
        cores.sort_unstable();
        if let Some(pair) = cores.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ValueError::CoreTwice { core: pair[0] });
        }
        if cores.len() > self.max {
            return Err(ValueError::OutOfBounds);
        }
        Ok(CoreSelection::List(cores))
    }

    fn allowed(&self) -> String {
        format!(
            "all, a number of cores from 1 to {}, or a list of CPU numbers such as 0,2-3 (one alone: 2-2)",
            self.max
        )
    }
}

/// When writes are synchronized to disk.
pub(super) struct Sync {
    pub(super) interval: Time,
}

impl Kind for Sync {
    type Value = SyncPolicy;

    fn parse(&self, text: &str) -> Result<SyncPolicy, ValueError> {
        match text {
            "always" => Ok(SyncPolicy::Always),
            "never" => Ok(SyncPolicy::Never),
            _ => match text.strip_prefix("interval=") {
                Some(interval) => self.interval.parse(interval).map(SyncPolicy::Interval),
                None => Err(ValueError::choice(
                    text,
                    &["always", "interval=50ms", "never"],
                )),
            },
        }
    }

    fn allowed(&self) -> String {
        format!(
            "always, never, or interval= and {}",
            self.interval.allowed()
        )
    }
}

/// Whether and how long an idle core spins.
pub(super) struct Spinning {
    pub(super) time: Time,
}

impl Kind for Spinning {
    type Value = Spin;

    fn parse(&self, text: &str) -> Result<Spin, ValueError> {
        match text {
            "auto" => Ok(Spin::Auto),
            "off" => Ok(Spin::Off),
            _ if text.starts_with(|first: char| first.is_ascii_digit()) => {
                self.time.parse(text).map(Spin::For)
            }
            _ => Err(ValueError::choice(text, &["auto", "off"])),
        }
    }

    fn allowed(&self) -> String {
        format!("auto, off, or {}", self.time.allowed())
    }
}

/// Directives of `tracing`.
pub(super) struct Filter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Kind for Filter {
    type Value = LogFilter;

    fn parse(&self, text: &str) -> Result<LogFilter, ValueError> {
        // No target of ours has another letter, and the filter's own parser (0.3.23) panics at some.
        if !text.is_ascii() {
            return Err(ValueError::NotAscii);
        }
        for directive in text.split(',').map(str::trim) {
            // The filter's own parser takes a bare word that is no level for a target, so `inof` would silence the node.
            let bare = !directive.contains(['=', '[']);
            if bare
                && !LEVELS
                    .iter()
                    .any(|level| directive.eq_ignore_ascii_case(level))
            {
                return Err(ValueError::choice(directive, &LEVELS));
            }
        }
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(LogFilter(text.to_owned())),
            Err(error) => Err(ValueError::Filter {
                reason: error.to_string(),
            }),
        }
    }

    fn allowed(&self) -> String {
        "a level (off, error, warn, info, debug, trace), or several with targets such as info,corduroy::storage=debug".into()
    }
}

/// How log lines look.
pub(super) struct Format;

impl Kind for Format {
    type Value = LogFormat;

    fn parse(&self, text: &str) -> Result<LogFormat, ValueError> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(ValueError::choice(text, &["text", "json"])),
        }
    }

    fn allowed(&self) -> String {
        "text or json".into()
    }
}

/// Yes or no.
pub(super) struct YesOrNo;

impl Kind for YesOrNo {
    type Value = bool;

    fn parse(&self, text: &str) -> Result<bool, ValueError> {
        match text {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(ValueError::choice(text, &["yes", "no"])),
        }
    }

    fn allowed(&self) -> String {
        "yes or no".into()
    }
}

/// A list of CPU numbers that parses back to these, with runs drawn together. `cores` ascend.
pub(super) fn cores_text(cores: &[usize]) -> String {
    let runs: Vec<String> = cores
        .chunk_by(|left, right| left + 1 == *right)
        .map(|run| match run {
            // A lone number would mean how many cores, not which.
            [only] if cores.len() == 1 => format!("{only}-{only}"),
            [only] => only.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => String::new(),
        })
        .collect();
    runs.join(",")
}
