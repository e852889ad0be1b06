//! How the text of a setting becomes a value: one [`Kind`] for each sort of setting, with its bounds.
//!
//! A kind also says in words what it allows. Error messages, `--help` and the documentation use those words, so a bound
//! that changes changes everywhere.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use tracing_subscriber::EnvFilter;

use super::error::ValueError;
use super::values::{CoreSelection, LogFilter, LogFormat, Spin, SyncPolicy};

/// A sort of setting.
pub(super) trait Kind {
    /// What its text becomes: a type without disallowed values.
    type Value;

    /// The value, or why the text is none.
    fn parse(&self, text: &str) -> Result<Self::Value, ValueError>;

    /// What is allowed, as a noun phrase that can end a sentence.
    fn allowed(&self) -> String;
}

/// A directory's path, relative to the current directory.
pub(super) struct Directory;

impl Kind for Directory {
    type Value = PathBuf;

    fn parse(&self, text: &str) -> Result<PathBuf, ValueError> {
        if text.is_empty() {
            Err(ValueError::Empty)
        } else {
            Ok(PathBuf::from(text))
        }
    }

    fn allowed(&self) -> String {
        "a directory's path".into()
    }
}

/// An IP address with a port.
pub(super) struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn parse(&self, text: &str) -> Result<SocketAddr, ValueError> {
        text.parse().map_err(|_| ValueError::Address)
    }

    fn allowed(&self) -> String {
        "an IP address and a port, such as 127.0.0.1:7379, 0.0.0.0:7379 or [::1]:7379".into()
    }
}

/// A whole number.
pub(super) struct Count {
    pub(super) min: usize,
    pub(super) max: usize,
}

impl Kind for Count {
    type Value = usize;

    fn parse(&self, text: &str) -> Result<usize, ValueError> {
        let number: usize = text.parse().map_err(|_| ValueError::Number)?;
        if (self.min..=self.max).contains(&number) {
            Ok(number)
        } else {
            Err(ValueError::OutOfBounds)
        }
    }

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
}

/// A number of bytes, with or without a unit.
pub(super) struct Bytes {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Kind for Bytes {
    type Value = u64;

    fn parse(&self, text: &str) -> Result<u64, ValueError> {
        let ByteSize(bytes) = text.parse().map_err(|_| ValueError::Bytes)?;
        if (self.min..=self.max).contains(&bytes) {
            Ok(bytes)
        } else {
            Err(ValueError::OutOfBounds)
        }
    }

    fn allowed(&self) -> String {
        format!(
            "a size from {} to {} (1KiB is 1024 bytes, 1kB is 1000)",
            bytes_text(self.min),
            bytes_text(self.max)
        )
    }
}

/// [`Bytes`] that are a power of two.
pub(super) struct PowerOfTwo(pub(super) Bytes);

impl Kind for PowerOfTwo {
    type Value = u64;

    fn parse(&self, text: &str) -> Result<u64, ValueError> {
        let bytes = self.0.parse(text)?;
        if bytes.is_power_of_two() {
            Ok(bytes)
        } else {
            Err(ValueError::NotPowerOfTwo)
        }
    }

    fn allowed(&self) -> String {
        format!(
            "a power of two from {} to {}",
            bytes_text(self.0.min),
            bytes_text(self.0.max)
        )
    }
}

/// Another kind, or `auto`: `None`, to be decided from the machine and the other settings.
pub(super) struct Auto<K>(pub(super) K);

impl<K: Kind> Kind for Auto<K> {
    type Value = Option<K::Value>;

    fn parse(&self, text: &str) -> Result<Self::Value, ValueError> {
        if text == "auto" {
            Ok(None)
        } else {
            self.0.parse(text).map(Some)
        }
    }

    fn allowed(&self) -> String {
        format!("auto, or {}", self.0.allowed())
    }
}

/// A length of time.
pub(super) struct Time {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Kind for Time {
    type Value = Duration;

    fn parse(&self, text: &str) -> Result<Duration, ValueError> {
        let time = humantime::parse_duration(text).map_err(|_| ValueError::Time)?;
        if (self.min..=self.max).contains(&time) {
            Ok(time)
        } else {
            Err(ValueError::OutOfBounds)
        }
    }

    fn allowed(&self) -> String {
        format!(
            "a time from {} to {}",
            time_text(self.min),
            time_text(self.max)
        )
    }
}

/// A length of time, or `0` for none.
pub(super) struct TimeOrNone(pub(super) Time);

impl Kind for TimeOrNone {
    type Value = Option<Duration>;

    fn parse(&self, text: &str) -> Result<Option<Duration>, ValueError> {
        match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Ok(None),
            _ => self.0.parse(text).map(Some),
        }
    }

    fn allowed(&self) -> String {
        format!("0 (none), or {}", self.0.allowed())
    }
}

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

/// A size that parses back to exactly this many bytes, in the largest unit that divides it.
pub(super) fn bytes_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    UNITS
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(
            || bytes.to_string(),
            |(unit, name)| format!("{}{name}", bytes / unit),
        )
}

/// A time that parses back to exactly this long.
pub(super) fn time_text(time: Duration) -> String {
    humantime::format_duration(time).to_string()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::SHARDS_MAX;

    const CORES: Cores = Cores { max: SHARDS_MAX };
    const ANY_BYTES: Bytes = Bytes {
        min: 0,
        max: u64::MAX,
    };
    const ANY_TIME: Time = Time {
        min: Duration::ZERO,
        max: Duration::from_secs(u64::MAX),
    };

    proptest! {
        // `corduroy config` prints values that people paste into a file. A text that parses back to something else would
        // change a node by copying its own configuration.
        #[test]
        fn a_printed_value_parses_back(
            bytes in prop_oneof![any::<u64>(), (0_u64..4096, 0_u32..44).prop_map(|(n, shift)| n << shift)],
            nanos in any::<u64>(),
            cores in proptest::collection::btree_set(0_usize..2000, 1..40),
        ) {
            prop_assert_eq!(ANY_BYTES.parse(&bytes_text(bytes)), Ok(bytes));
            let time = Duration::from_nanos(nanos);
            prop_assert_eq!(ANY_TIME.parse(&time_text(time)), Ok(time));
            let cores: Vec<usize> = cores.into_iter().collect();
            prop_assert_eq!(CORES.parse(&cores_text(&cores)), Ok(CoreSelection::List(cores)));
        }

        // Whatever stands in a file or the environment, the start answers with a sentence and not with a panic.
        #[test]
        fn no_text_panics(text in ".{0,40}", numbers in "[0-9,. =-]{0,30}(ms|s|GiB|kB)?") {
            for text in [text.as_str(), numbers.as_str()] {
                let _ = (ANY_BYTES.parse(text), ANY_TIME.parse(text), CORES.parse(text), Address.parse(text));
                let _ = (Filter.parse(text), Sync { interval: ANY_TIME }.parse(text), Spinning { time: ANY_TIME }.parse(text));
            }
        }
    }

    // A list that is expanded before it is bounded lets one typo take all memory at the start.
    #[test]
    fn a_list_of_cores_is_bounded_before_it_is_expanded() {
        assert_eq!(
            CORES.parse("0-18446744073709551615"),
            Err(ValueError::OutOfBounds)
        );
        assert_eq!(CORES.parse("0-256"), Err(ValueError::OutOfBounds));
        assert_eq!(CORES.parse("0-199,300-499"), Err(ValueError::OutOfBounds));
        assert_eq!(
            CORES.parse("0-255"),
            Ok(CoreSelection::List((0..256).collect()))
        );
    }

    // Two shards on one core halve each other's speed and nobody sees why.
    #[test]
    fn a_core_is_listed_once() {
        assert_eq!(CORES.parse("0-3,2"), Err(ValueError::CoreTwice { core: 2 }));
        assert_eq!(
            CORES.parse("3-1"),
            Err(ValueError::CoresBackwards { first: 3, last: 1 })
        );
        assert_eq!(CORES.parse("3,0-1"), Ok(CoreSelection::List(vec![0, 1, 3])));
        assert_eq!(CORES.parse("0"), Err(ValueError::OutOfBounds));
        assert_eq!(CORES.parse("1,"), Err(ValueError::Cores));
    }

    // `1G` meant gibibytes to whoever wrote it in another server's file, gigabytes in a third one's. What a unit means
    // here is fixed by this test.
    #[test]
    fn units_of_size_mean_what_they_say() {
        for (text, bytes) in [
            ("1024", 1024),
            ("1KiB", 1024),
            ("1kB", 1000),
            ("1.5GiB", 3 << 29),
            ("64 MiB", 64 << 20),
            ("1G", 1_000_000_000),
        ] {
            assert_eq!(ANY_BYTES.parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "-1", "GiB", "1 parsec", "1GiB2"] {
            assert_eq!(ANY_BYTES.parse(text), Err(ValueError::Bytes), "{text}");
        }
    }

    // `--log inof` once left a node without a single log line: the filter took the typo for a target.
    #[test]
    fn a_misspelt_level_is_refused() {
        assert_eq!(
            Filter.parse("inof"),
            Err(ValueError::Choice {
                nearest: Some("info")
            })
        );
        assert_eq!(Filter.parse("A¡="), Err(ValueError::NotAscii));
        assert_eq!(
            Filter.parse("info,"),
            Err(ValueError::Choice { nearest: None })
        );
        assert!(matches!(
            Filter.parse("info,corduroy=loud"),
            Err(ValueError::Filter { .. })
        ));
        assert_eq!(
            Filter
                .parse("WARN,corduroy::storage=debug")
                .map(|filter| filter.0),
            Ok("WARN,corduroy::storage=debug".into())
        );
    }

    #[test]
    fn choices_suggest_the_nearest() {
        let sync = Sync {
            interval: Time {
                min: Duration::from_millis(1),
                max: Duration::from_secs(60),
            },
        };
        assert_eq!(
            sync.parse("allways"),
            Err(ValueError::Choice {
                nearest: Some("always")
            })
        );
        assert_eq!(
            sync.parse("interval"),
            Err(ValueError::Choice {
                nearest: Some("interval=50ms")
            })
        );
        assert_eq!(sync.parse("interval=0s"), Err(ValueError::OutOfBounds));
        assert_eq!(
            sync.parse("interval=50ms"),
            Ok(SyncPolicy::Interval(Duration::from_millis(50)))
        );
        assert_eq!(
            Format.parse("jsno"),
            Err(ValueError::Choice {
                nearest: Some("json")
            })
        );
    }
}
