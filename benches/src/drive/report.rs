//! What came out of a run: one line for people, JSON for programs.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Config;
use crate::process::ThreadCpu;

/// The outcome of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub config: Config,
    /// Length of the window as it was, in seconds.
    pub window_seconds: f64,
    /// Replies in the window, wrong ones included.
    pub requests: u64,
    /// `requests / window_seconds`.
    pub requests_per_second: f64,
    /// Time from building a request to reading its reply, over the window; with another client, as that defines it.
    pub latency_us: Latency,
    /// The server's CPU time in the window, if its process was named.
    pub server: Option<ServerCpu>,
    /// The driver's own share of its core in the window: near 1 where the driver was the limit, and always with `--wait spin`.
    pub client_cpu_share: f64,
    /// Cores that other processes kept busy in the window, if the server's process was named: whatever the machine did beside
    /// serving and driving. The nearer to 0, the better the figures.
    pub others_cores: f64,
    /// What was wrong, over the whole run.
    pub errors: Errors,
}

/// What the server's process used in the window.
#[derive(Clone, Debug, Serialize)]
pub struct ServerCpu {
    /// User and system time of all threads, in seconds.
    pub seconds: f64,
    /// Cores kept busy: `seconds / window_seconds`.
    pub cores: f64,
    /// CPU time a request, in microseconds.
    pub us_per_request: f64,
    /// Requests a second of CPU time.
    pub requests_per_cpu_second: f64,
    /// The same by thread, the busiest first.
    pub threads: Vec<ThreadCpu>,
}

impl ServerCpu {
    /// From the CPU time of all threads together, and of each.
    #[must_use]
    pub fn new(
        total: Duration,
        threads: Vec<ThreadCpu>,
        requests: u64,
        window_seconds: f64,
    ) -> ServerCpu {
        let seconds = total.as_secs_f64();
        ServerCpu {
            seconds,
            cores: ratio(seconds, window_seconds),
            us_per_request: ratio(seconds * 1e6, requests as f64),
            requests_per_cpu_second: ratio(requests as f64, seconds),
            threads,
        }
    }
}

/// Percentiles, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half of the requests were faster.
    pub p50: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// 999 of 1,000 were faster. `None` if the client does not tell.
    pub p999: Option<f64>,
    /// The slowest.
    pub max: f64,
}

impl Latency {
    /// From a histogram of nanoseconds.
    #[must_use]
    pub fn of(nanos: &Histogram<u64>) -> Latency {
        let us = |nanos: u64| nanos as f64 / 1e3;
        Latency {
            p50: us(nanos.value_at_quantile(0.5)),
            p99: us(nanos.value_at_quantile(0.99)),
            p999: Some(us(nanos.value_at_quantile(0.999))),
            max: us(nanos.max()),
        }
    }
}

/// Replies that were not what was asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Errors {
    /// The server said no.
    pub refused: u64,
    /// A key that should be there wasn't.
    pub missing: u64,
    /// A value of another length than was written.
    pub wrong_length: u64,
    /// A value of another key, or a reply of another kind.
    pub wrong_reply: u64,
    /// The first of them in words.
    pub first: Option<String>,
}

impl Errors {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.refused + self.missing + self.wrong_length + self.wrong_reply
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config {
            connections,
            in_flight,
            ..
        } = self.config;
        write!(
            f,
            "{connections}x{in_flight}: {:.0} requests/s, p50 {:.0} us, p99 {:.0} us",
            self.requests_per_second, self.latency_us.p50, self.latency_us.p99,
        )?;
        if let Some(p999) = self.latency_us.p999 {
            write!(f, ", p99.9 {p999:.0} us")?;
        }
        write!(f, ", max {:.0} us", self.latency_us.max)?;
        if let Some(server) = &self.server {
            write!(
                f,
                "; server {:.2} cores, {:.3} us CPU a request, {:.0} requests a CPU second",
                server.cores, server.us_per_request, server.requests_per_cpu_second,
            )?;
        }
        write!(
            f,
            "; driver {:.0} % of a core",
            self.client_cpu_share * 100.0
        )?;
        if self.errors.total() > 0 {
            let first = self.errors.first.as_deref().unwrap_or_default();
            write!(
                f,
                "; {} WRONG REPLIES, the first: {first}",
                self.errors.total()
            )?;
        }
        Ok(())
    }
}

/// 0 where there is nothing to divide by, so that an empty window is no infinity in JSON.
pub(super) fn ratio(dividend: f64, divisor: f64) -> f64 {
    if divisor > 0.0 {
        dividend / divisor
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The figure that everything is judged by: 300,000 requests in 1.5 s of CPU are 200,000 a CPU second, at 5 us each,
    // whatever the window's length.
    #[test]
    fn requests_are_set_against_cpu_time() {
        let server = ServerCpu::new(Duration::from_millis(1500), Vec::new(), 300_000, 3.0);
        assert_eq!(server.requests_per_cpu_second, 200_000.0);
        assert_eq!(server.us_per_request, 5.0);
        assert_eq!(server.cores, 0.5);
    }

    // A window so short that no tick was counted must not print as an infinitely fast server.
    #[test]
    fn no_cpu_time_is_no_infinite_speed() {
        assert_eq!(
            ServerCpu::new(Duration::ZERO, Vec::new(), 10, 0.0).requests_per_cpu_second,
            0.0
        );
    }
}
