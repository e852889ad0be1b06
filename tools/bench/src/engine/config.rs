//! How a load is carried out: by how many threads and connections, paced by what, for how long, and what to put up with.

use std::{net::SocketAddr, time::Duration};

use super::EngineError;

/// The most threads of a run.
pub const THREADS_MAX: u32 = 256;
/// The most connections of a run. One address of a client has some 28,000 ports; a server on several addresses can have more.
pub const CONNECTIONS_MAX: u32 = 1_000_000;
/// The most operations in flight on a connection.
pub const PIPELINE_MAX: u32 = 65_536;

/// What paces a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Pace {
    /// Each connection keeps its pipeline full: an answer makes room for the next operation, which starts after a time to think.
    Closed {
        /// From an answer to the next operation in its place.
        think: Duration,
    },
    /// Operations start when [`super::Load::arrivals`] says.
    Open {
        /// The schedule's name, for the report: `constant`, `poisson` …
        schedule: String,
        /// Operations a second that the schedule means, on average over the window, for the report: the same in each repetition, whatever chance makes of it.
        /// `None`: those that came of it are counted.
        target_rate: Option<f64>,
    },
}

/// When the measured window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// After so long.
    Time(Duration),
    /// When so many operations were carried out.
    Operations(u64),
    /// When all sources have ended, as in a fill.
    Sources,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server.
    pub address: SocketAddr,
    /// Threads; connections and arrivals are shared out among them.
    pub threads: u32,
    /// Cores for the threads, one each, in turn. Empty: wherever the kernel puts them.
    pub cores: Vec<usize>,
    /// Connections in all.
    pub connections: u32,
    /// Operations in flight on each, at most.
    pub pipeline: u32,
    /// What paces it.
    pub pace: Pace,
    /// Carried out, but not counted.
    pub warm_up: Duration,
    /// The window after that.
    pub length: Length,
    /// How long operations that belong to the window are waited for after its end. In an open loop those still waiting for a slot are sent within that time too.
    pub drain: Duration,
    /// An operation that isn't answered for so long is an error, and its connection is closed: nobody could tell a late answer from the next one.
    pub timeout: Duration,
    /// Opening a connection may take so long.
    pub connect_timeout: Duration,
    /// An arrival that found no free slot for so long is given up: the error `not sent`.
    pub wait_max: Duration,
    /// A run that ends with its last operation, and not with a time, ends for want of a server when there was no connection for so long.
    pub away_max: Duration,
    /// End the run at the first error.
    pub stop_on_error: bool,
    /// In an open loop: how long before an intended start the thread stops sleeping and looks at the clock instead. Zero: sleep all the way, which
    /// costs precision and saves CPU.
    pub spin: Duration,
    /// Length of a slice of [`crate::results::Timeline`].
    pub slice: Duration,
    /// Keep the histograms of each slice, by operation.
    pub keep_slices: bool,
    /// How often [`crate::measure::Live`] is told.
    pub live: Duration,
    /// The server's process, if its CPU time is to be counted.
    pub server_pid: Option<u32>,
    /// Note each key's last acknowledged write and those of unknown outcome: [`crate::measure::Journal`].
    pub journal: bool,
}

impl Config {
    /// One connection to this server, one operation at a time, for ten seconds after a second of warm-up.
    #[must_use]
    pub fn new(address: SocketAddr) -> Config {
        Config {
            address,
            threads: 1,
            cores: Vec::new(),
            connections: 1,
            pipeline: 1,
            pace: Pace::Closed {
                think: Duration::ZERO,
            },
            warm_up: Duration::from_secs(1),
            length: Length::Time(Duration::from_secs(10)),
            drain: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            wait_max: Duration::from_secs(60),
            away_max: Duration::from_secs(60),
            stop_on_error: false,
            spin: Duration::from_micros(50),
            slice: Duration::from_secs(1),
            keep_slices: false,
            live: Duration::from_millis(200),
            server_pid: None,
            journal: false,
        }
    }

    /// Refuses numbers that do not go together.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        let wrong = |words: String| Err(EngineError::Config(words));
        if !(1..=THREADS_MAX).contains(&self.threads) {
            return wrong(format!("{} threads: give 1 to {THREADS_MAX}", self.threads));
        }
        if !(self.threads..=CONNECTIONS_MAX).contains(&self.connections) {
            return wrong(format!(
                "{} connections for {} threads: give each thread at least one, and at most {CONNECTIONS_MAX} in all",
                self.connections, self.threads
            ));
        }
        if !(1..=PIPELINE_MAX).contains(&self.pipeline) {
            return wrong(format!(
                "a pipeline of {}: give 1 to {PIPELINE_MAX}",
                self.pipeline
            ));
        }
        if self.timeout.is_zero() || self.connect_timeout.is_zero() {
            return wrong("a timeout of zero: nothing is answered in no time".to_owned());
        }
        if self.slice < Duration::from_millis(10) || self.live < Duration::from_millis(10) {
            return wrong("slices and live views shorter than 10 ms".to_owned());
        }
        match self.length {
            Length::Time(time) if time.is_zero() => wrong("a window of zero seconds".to_owned()),
            Length::Operations(0) => wrong("a window of zero operations".to_owned()),
            _ => Ok(()),
        }
    }

    /// Connections of one thread: `(first, count)`.
    pub(super) fn connections_of(&self, thread: u32) -> (u32, u32) {
        let start = |thread: u32| {
            (u64::from(self.connections) * u64::from(thread) / u64::from(self.threads)) as u32
        };
        (start(thread), start(thread + 1) - start(thread))
    }

    /// Operations of one thread, if the window ends after a number of them.
    pub(super) fn quota_of(&self, thread: u32) -> u64 {
        let Length::Operations(all) = self.length else {
            return u64::MAX;
        };
        let start =
            |thread: u32| (u128::from(all) * u128::from(thread) / u128::from(self.threads)) as u64;
        start(thread + 1) - start(thread)
    }

    /// Whether intended starts come from a schedule.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.pace, Pace::Open { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A share that rounds down for every thread would leave some connections unopened and some operations undone.
    #[test]
    fn shares_add_up() {
        let mut config = Config::new("127.0.0.1:1".parse().unwrap());
        config.connections = 1000;
        config.threads = 7;
        config.length = Length::Operations(12_345);
        let mut next = 0;
        for thread in 0..7 {
            let (first, count) = config.connections_of(thread);
            assert_eq!(first, next);
            assert!(count > 0);
            next += count;
        }
        assert_eq!(next, 1000);
        assert_eq!(
            (0..7).map(|thread| config.quota_of(thread)).sum::<u64>(),
            12_345
        );
    }

    #[test]
    fn numbers_that_do_not_go_together_are_refused() {
        let fine = Config::new("127.0.0.1:1".parse().unwrap());
        assert!(fine.check().is_ok());
        for wrong in [
            Config {
                threads: 0,
                ..fine.clone()
            },
            Config {
                threads: 2,
                ..fine.clone()
            },
            Config {
                pipeline: 0,
                ..fine.clone()
            },
            Config {
                timeout: Duration::ZERO,
                ..fine.clone()
            },
            Config {
                slice: Duration::ZERO,
                ..fine.clone()
            },
            Config {
                length: Length::Operations(0),
                ..fine.clone()
            },
            Config {
                length: Length::Time(Duration::ZERO),
                ..fine
            },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
