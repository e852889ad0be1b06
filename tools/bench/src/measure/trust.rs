//! When the figures may be believed.
//!
//! Latencies are claimed only if all of these hold; otherwise the report says which does not, in a sentence.
//!
//! 1. **Rate**: at least 99 % of the operations that were meant to start in the window did start in it. A schedule that isn't kept has no
//!    steady state: its latencies grow for as long as it goes on.
//! 2. **Lag**: the generator's own lag is at most a tenth of what is reported, at the median (when the median is claimed) and at p99. Lag is part of each
//!    response time, so the true percentiles lie at most about a tenth lower.
//! 3. **Pauses**: its threads were not away for so long (stopped, or without a core) that answers which were there waited for them instead of the other way round.
//!    A pause over a tenth of p99 puts off whatever falls into its first part by more than that tenth. So these parts may take up at most 1 % of the window, or it
//!    is p99 of the pauses that is reported. And no pause is both 50 ms long and over a tenth of the slowest answer: a standstill that a person would call one is
//!    not to be taken for the server's, however rare it is.
//! 4. **CPU**: no thread worked for more than 95 % of the window. Beyond that, answers wait for the generator too. Time
//!    that a thread spent looking at the clock until the next start does not count as work.
//! 5. **Something was answered.**
//!
//! In a closed loop there is no schedule, so 3 to 5 alone apply.

use std::fmt;

use hdrhistogram::Histogram;

use super::distribution::percentile_us;
use crate::report::units::{micros, percent};

/// Share of the intended operations that must have started.
pub const ACHIEVED_MIN: f64 = 0.99;
/// The lag may be this share of the response time.
pub const LAG_SHARE_MAX: f64 = 0.1;
/// Share of the window in which whatever comes may be put off by more than that.
pub const PAUSED_MAX: f64 = 0.01;
/// A shorter pause is none that a person would notice, in microseconds.
pub const STANDSTILL_US: f64 = 50_000.0;
/// Share of the window that a thread may work.
pub const BUSY_MAX: f64 = 0.95;

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// In an open loop: operations a second that were meant to start, and that did.
    pub rates: Option<(f64, f64)>,
    /// The generator's own lag.
    pub lag_nanos: &'a Histogram<u64>,
    /// How long its threads were away at a time.
    pub pause_nanos: &'a Histogram<u64>,
    /// The window, as often as there are threads.
    pub watched_nanos: u64,
    /// What is to be claimed.
    pub response_nanos: &'a Histogram<u64>,
    /// Share of the window that the busiest thread worked.
    pub busiest: f64,
}

/// Why latencies may not be claimed. Each is a sentence.
#[derive(Clone, Debug, PartialEq)]
pub enum Objection {
    /// There is none.
    NothingAnswered,
    /// The schedule was not kept: operations a second.
    Rate {
        /// That were meant to start.
        target: f64,
        /// That did.
        achieved: f64,
    },
    /// Operations were sent late.
    Lag {
        /// `median` or `99th percentile`.
        name: &'static str,
        /// Of the lag, in microseconds.
        lag: f64,
        /// Of the response time, in microseconds.
        response: f64,
    },
    /// Threads were away.
    Paused {
        /// In microseconds.
        longest: f64,
        /// Of the window.
        share: f64,
    },
    /// A thread had no time to spare.
    Busy {
        /// Of the window.
        share: f64,
    },
}

impl Objection {
    /// Whether the generator itself was late: it may be on time when the same is measured again.
    #[must_use]
    pub fn is_lateness(&self) -> bool {
        matches!(self, Objection::Lag { .. } | Objection::Paused { .. })
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::NothingAnswered => {
                f.write_str("Nothing was answered, so there is no latency.")
            }
            Objection::Rate { target, achieved } => write!(
                f,
                "Only {achieved:.0} of {target:.0} operations a second could be started ({:.1} %): the latencies are those of a queue that grows, not of this rate.",
                100.0 * achieved / target
            ),
            Objection::Lag {
                name,
                lag,
                response,
            } => write!(
                f,
                "The generator itself was late: the {name} of its lag is {}, that of the latency {}. Give it a core of its own, or more threads.",
                micros(*lag),
                micros(*response)
            ),
            Objection::Paused { longest, share } => write!(
                f,
                "The generator itself stood still, for {} at a time and {} of the window: it was stopped, or its cores were given to others, and what waited meanwhile would look like a slow server.",
                micros(*longest),
                percent(*share)
            ),
            Objection::Busy { share } => write!(
                f,
                "A thread of the generator was busy {:.0} % of the time, so answers may have waited for it. Give it more threads (and cores), or ask for less.",
                100.0 * share
            ),
        }
    }
}

/// Why latencies may not be claimed; nothing if they may.
#[must_use]
pub fn objections(evidence: &Evidence<'_>) -> Vec<Objection> {
    let mut objections = Vec::new();
    if evidence.response_nanos.is_empty() {
        objections.push(Objection::NothingAnswered);
    }
    // Where it stood still it was late too: one sentence is enough.
    match (paused(evidence), evidence.rates) {
        (Some(paused), _) => objections.push(paused),
        (None, Some(_)) => objections.extend(late(evidence)),
        (None, None) => {}
    }
    if let Some((target, achieved)) = evidence.rates
        && achieved < ACHIEVED_MIN * target
    {
        objections.push(Objection::Rate { target, achieved });
    }
    if evidence.busiest > BUSY_MAX {
        objections.push(Objection::Busy {
            share: evidence.busiest,
        });
    }
    objections
}

/// What to beware of though latencies may be claimed: a pause that only the slowest answers can show.
#[must_use]
pub fn pause_to_beware_of(evidence: &Evidence<'_>) -> Option<String> {
    let longest = percentile_us(evidence.pause_nanos, 100.0);
    let slowest = percentile_us(evidence.response_nanos, 100.0);
    (longest > LAG_SHARE_MAX * slowest && slowest > 0.0).then(|| {
        format!(
            "The generator itself was away for {} at a time: the slowest answers may be its own fault.",
            micros(longest)
        )
    })
}

fn late(evidence: &Evidence<'_>) -> impl Iterator<Item = Objection> {
    let (lag, response) = (evidence.lag_nanos, evidence.response_nanos);
    [("median", 50.0), ("99th percentile", 99.0)]
        .into_iter()
        .filter_map(|(name, percentile)| {
            let lag = percentile_us(lag, percentile);
            let response = percentile_us(response, percentile);
            let is_late = lag > LAG_SHARE_MAX * response && response > 0.0;
            is_late.then_some(Objection::Lag {
                name,
                lag,
                response,
            })
        })
}

fn paused(evidence: &Evidence<'_>) -> Option<Objection> {
    let of_response =
        |percentile| LAG_SHARE_MAX * percentile_us(evidence.response_nanos, percentile);
    let longest = percentile_us(evidence.pause_nanos, 100.0);
    let is_standstill = longest >= STANDSTILL_US && longest > of_response(100.0);
    let spoils_p99 = share(evidence, 1e3 * of_response(99.0)) > PAUSED_MAX;
    (is_standstill || spoils_p99).then(|| Objection::Paused {
        longest,
        share: share(evidence, 0.0),
    })
}

/// Share of the window in which whatever came was put off by more than this.
fn share(evidence: &Evidence<'_>, beyond_nanos: f64) -> f64 {
    let parts = evidence.pause_nanos.iter_recorded().map(|pause| {
        let part = pause.value_iterated_to() as f64 - beyond_nanos;
        part.max(0.0) * pause.count_since_last_iteration() as f64
    });
    parts.sum::<f64>() / evidence.watched_nanos.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{super::distribution::histogram, *};

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;

    fn of(nanos: u64) -> Histogram<u64> {
        let mut all = histogram();
        all.record_n(nanos, 1_000).unwrap();
        all
    }

    fn once(nanos: u64) -> Histogram<u64> {
        let mut all = histogram();
        all.record(nanos).unwrap();
        all
    }

    // Each rule alone must be enough: a report that is trusted for the wrong reason is worse than none.
    #[test]
    fn each_rule_objects_by_itself() {
        let (lag, response, none) = (of(5_000), of(100_000), histogram());
        let fine = Evidence {
            rates: Some((1_000.0, 995.0)),
            lag_nanos: &lag,
            pause_nanos: &none,
            watched_nanos: 10 * SECOND,
            response_nanos: &response,
            busiest: 0.5,
        };
        assert_eq!(objections(&fine), []);
        let late = of(15_000);
        let nothing = histogram();
        let standstill = once(SECOND);
        for (evidence, word) in [
            (
                Evidence {
                    rates: Some((1_000.0, 980.0)),
                    ..fine
                },
                "queue",
            ),
            (
                Evidence {
                    lag_nanos: &late,
                    ..fine
                },
                "late",
            ),
            (
                Evidence {
                    pause_nanos: &standstill,
                    ..fine
                },
                "stood still, for 1.00 s at a time and 10 %",
            ),
            (
                Evidence {
                    busiest: 0.96,
                    ..fine
                },
                "busy",
            ),
            (
                Evidence {
                    response_nanos: &nothing,
                    ..fine
                },
                "Nothing",
            ),
        ] {
            let objections = objections(&evidence);
            assert!(
                objections
                    .iter()
                    .any(|objection| objection.to_string().contains(word)),
                "{word}: {objections:?}"
            );
        }
    }

    // A few late starts in a thousand are what p99 is there to show.
    #[test]
    fn lag_counts_where_it_distorts() {
        let mut lag = of(1_000);
        lag.record_n(50_000_000, 20).unwrap();
        let (response, none) = (of(100_000), histogram());
        let evidence = Evidence {
            rates: Some((1_000.0, 1_000.0)),
            lag_nanos: &lag,
            pause_nanos: &none,
            watched_nanos: SECOND,
            response_nanos: &response,
            busiest: 0.1,
        };
        assert_eq!(objections(&evidence).len(), 1);
        let closed = Evidence {
            rates: None,
            ..evidence
        };
        assert!(objections(&closed).is_empty());
    }

    // In a closed loop nothing but its pauses tells a generator that was stopped from a server that was: both leave a few answers that took seconds.
    #[test]
    fn pauses_count_where_they_distort() {
        let lag = histogram();
        let judged = |pauses: &Histogram<u64>, p99: u64, slowest: u64| {
            let mut response = of(p99);
            response.record(slowest).unwrap();
            let evidence = Evidence {
                rates: None,
                lag_nanos: &lag,
                pause_nanos: pauses,
                watched_nanos: 10 * SECOND,
                response_nanos: &response,
                busiest: 0.1,
            };
            (
                objections(&evidence).len(),
                pause_to_beware_of(&evidence).is_some(),
            )
        };
        assert_eq!(judged(&histogram(), MS, 2 * SECOND), (0, false));
        assert_eq!(judged(&once(2 * SECOND), MS, 2 * SECOND), (1, true));
        // The server stood still for longer than the generator did.
        assert_eq!(judged(&once(60 * MS), MS, SECOND), (0, false));
        assert_eq!(judged(&once(60 * MS), MS, 70 * MS), (1, true));
        // Too short and too rare to reach p99.
        assert_eq!(judged(&once(30 * MS), MS, 40 * MS), (0, true));
        // Thirty of them are a tenth of the window …
        let mut many = histogram();
        many.record_n(30 * MS, 30).unwrap();
        assert_eq!(judged(&many, MS, 40 * MS), (1, true));
        // … which is nothing to a server that takes longer than that for everything.
        assert_eq!(judged(&many, 400 * MS, 400 * MS), (0, false));
    }
}
