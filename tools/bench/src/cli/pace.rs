//! How many at once, how fast, and for how long; and how numbers and times are written.

use std::time::Duration;

use clap::Args;

use crate::workload::arrivals::Schedule;

/// Connections and threads.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionArguments {
    /// Connections in all
    #[arg(short, long, value_name = "N", default_value = "50", value_parser = connections)]
    pub connections: u32,
    /// Operations in flight on each connection, at most
    #[arg(short = 'P', long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub pipeline: u32,
    /// Threads [default: one, or one for each of --cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: Option<u32>,
    /// Cores for the threads, such as `1` or `2,4-7`: one thread each, pinned
    #[arg(long, value_name = "LIST", value_parser = cores)]
    pub cores: Option<Cores>,
    /// How long an operation may take until it counts as an error
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
}

/// CPU numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

impl ConnectionArguments {
    /// The cores; empty if none were named.
    #[must_use]
    pub fn cores(&self) -> Vec<usize> {
        self.cores.clone().map(|cores| cores.0).unwrap_or_default()
    }

    /// Threads for so many connections: never more than those.
    #[must_use]
    pub fn threads(&self, connections: u32) -> u32 {
        let named = self.cores.as_ref().map_or(1, |cores| cores.0.len() as u32);
        self.threads.unwrap_or(named).min(connections)
    }
}

/// The rate and the window.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Pace")]
pub struct PaceArguments {
    /// Operations a second: `50k`, `poisson:50k` (random gaps), `ramp:1k..50k[/30s]`, `stairs:1k,2k,5k/10s`. Without it: as fast as answers come
    #[arg(short, long, value_name = "SCHEDULE")]
    pub rate: Option<Schedule>,
    /// How long to measure [default: 10s, or the schedule's own length]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "operations")]
    pub duration: Option<Duration>,
    /// Measure so many operations instead of a time
    #[arg(short = 'n', long, value_name = "N", value_parser = number)]
    pub operations: Option<u64>,
    /// Time before the measurement, in which the load runs and nothing is counted
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration_or_zero)]
    pub warm_up: Duration,
    /// Pause from an answer to the next operation in its place (closed loop only)
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration_or_zero, conflicts_with = "rate")]
    pub think: Duration,
}

/// The length of a window unless told otherwise.
const WINDOW: Duration = Duration::from_secs(10);

impl PaceArguments {
    /// The window, where it is a time.
    #[must_use]
    pub fn window(&self) -> Duration {
        let of_schedule = self.rate.as_ref().and_then(Schedule::length);
        self.duration.or(of_schedule).unwrap_or(WINDOW)
    }
}

/// How often, and with how many connections.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Repetition")]
pub struct RepeatArguments {
    /// Repeat the measurement, so that noise can be told from differences
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// A staircase of connections, such as `1,10,100,1000`: measured one after the other
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = connections, conflicts_with = "connections")]
    pub clients: Vec<u32>,
}

/// A whole number, perhaps with `k`, `M` or `G`.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let expected = || format!("`{text}` is no number: write 1000, 100k, 2M or 1G");
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        Some((at, 'g' | 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    if let Ok(whole) = digits.replace('_', "").parse::<u64>() {
        return whole
            .checked_mul(factor)
            .filter(|number| *number > 0)
            .ok_or_else(expected);
    }
    let number = digits.parse::<f64>().map_err(|_| expected())? * factor as f64;
    if (1.0..1e18).contains(&number) && number.fract() == 0.0 {
        Ok(number as u64)
    } else {
        Err(expected())
    }
}

/// A rate: a number of operations a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    number(text).map(|number| number as f64)
}

/// Over 1.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 1.0 && factor <= 100.0 => Ok(factor),
        _ => Err(format!(
            "`{text}` is no factor: write a number over 1, such as 1.5"
        )),
    }
}

fn connections(text: &str) -> Result<u32, String> {
    number(text)
        .ok()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number <= crate::engine::config::CONNECTIONS_MAX)
        .ok_or_else(|| {
            format!(
                "`{text}` is no number of connections: write 1 to {}",
                crate::engine::config::CONNECTIONS_MAX
            )
        })
}

/// A time that isn't zero.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    duration_or_zero(text).and_then(|time| {
        if time.is_zero() {
            Err(format!("`{text}` is no time at all"))
        } else {
            Ok(time)
        }
    })
}

/// A time.
pub(super) fn duration_or_zero(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write a time such as 500us, 10ms, 5s or 1m"))
}

/// A list of CPU numbers and ranges of them.
fn cores(text: &str) -> Result<Cores, String> {
    let wrong = || format!("`{text}` is no list of cores: write CPU numbers such as 1 or 2,4-7");
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: usize = from.trim().parse().map_err(|_| wrong())?;
        let to: usize = to.trim().parse().map_err(|_| wrong())?;
        if from > to || to >= 4096 {
            return Err(wrong());
        }
        cores.extend(from..=to);
    }
    Ok(Cores(cores))
}

#[cfg(test)]
mod tests {
    use super::*;

    // A number that is read a thousand times too small makes a benchmark of another load than was asked for.
    #[test]
    fn numbers_and_times_are_read_as_people_write_them() {
        assert_eq!(number("100k"), Ok(100_000));
        assert_eq!(number("1.5M"), Ok(1_500_000));
        assert_eq!(number("10_000"), Ok(10_000));
        for wrong in ["", "k", "-1", "0", "1.5", "1e400", "99999999999999999999"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("500us"), Ok(Duration::from_micros(500)));
        assert_eq!(duration_or_zero("0"), Ok(Duration::ZERO));
        assert!(duration("0s").is_err());
        assert!(duration("5").is_err(), "a time has a unit");
    }

    #[test]
    fn cores_are_numbers_and_ranges() {
        assert_eq!(cores("1"), Ok(Cores(vec![1])));
        assert_eq!(cores("2,4-6"), Ok(Cores(vec![2, 4, 5, 6])));
        for wrong in ["", "a", "3-1", "1-", "0-99999"] {
            assert!(cores(wrong).is_err(), "{wrong}");
        }
    }
}
