//! When the figures may be believed.
//!
//! Latencies are claimed only if all of these hold; otherwise the report says which does not, in a sentence.
//!
//! 1. **Rate**: at least 99 % of the operations that were meant to start in the window did start in it. A schedule that isn't kept has no
//!    steady state: its latencies grow for as long as it goes on.
//! 2. **Lag**: the generator's own lag is at most a tenth of what is reported, at the median (when the median is claimed) and at p99. Lag is part of each
//!    response time, so the true percentiles lie at most about a tenth lower.
//! 3. **CPU**: no thread worked for more than 95 % of the window. Beyond that, answers wait for the generator and not the other way round. Time
//!    that a thread spent looking at the clock until the next start does not count as work.
//! 4. **Something was answered.**
//!
//! In a closed loop there is no schedule, so 3 and 4 alone apply.

use hdrhistogram::Histogram;

use super::distribution::percentile_us;

/// Share of the intended operations that must have started.
pub const ACHIEVED_MIN: f64 = 0.99;
/// The lag may be this share of the response time.
pub const LAG_SHARE_MAX: f64 = 0.1;
/// Share of the window that a thread may work.
pub const BUSY_MAX: f64 = 0.95;

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// In an open loop: operations a second that were meant to start, and that did.
    pub rates: Option<(f64, f64)>,
    /// The generator's own lag.
    pub lag_nanos: &'a Histogram<u64>,
    /// What is to be claimed.
    pub response_nanos: &'a Histogram<u64>,
    /// Share of the window that the busiest thread worked.
    pub busiest: f64,
}

/// Why latencies may not be claimed, in sentences; nothing if they may.
#[must_use]
pub fn objections(evidence: &Evidence<'_>) -> Vec<String> {
    let mut objections = Vec::new();
    if evidence.response_nanos.is_empty() {
        objections.push("Nothing was answered, so there is no latency.".to_owned());
    }
    if let Some((target, achieved)) = evidence.rates {
        if achieved < ACHIEVED_MIN * target {
            objections.push(format!(
                "Only {achieved:.0} of {target:.0} operations a second could be started ({:.1} %): the latencies are those of a queue that grows, not of this rate.",
                100.0 * achieved / target
            ));
        }
        for (name, percentile) in [("median", 50.0), ("99th percentile", 99.0)] {
            let lag = percentile_us(evidence.lag_nanos, percentile);
            let response = percentile_us(evidence.response_nanos, percentile);
            if lag > LAG_SHARE_MAX * response && response > 0.0 {
                objections.push(format!(
                    "The generator itself was late: the {name} of its lag is {lag:.1} µs, that of the latency {response:.1} µs. Give it a core of its own, or more threads."
                ));
            }
        }
    }
    if evidence.busiest > BUSY_MAX {
        objections.push(format!(
            "A thread of the generator was busy {:.0} % of the time, so answers may have waited for it. Give it more threads (and cores), or ask for less.",
            100.0 * evidence.busiest
        ));
    }
    objections
}

#[cfg(test)]
mod tests {
    use super::{super::distribution::histogram, *};

    fn of(nanos: u64) -> Histogram<u64> {
        let mut all = histogram();
        all.record_n(nanos, 1_000).unwrap();
        all
    }

    // Each rule alone must be enough: a report that is trusted for the wrong reason is worse than none.
    #[test]
    fn each_rule_objects_by_itself() {
        let (lag, response) = (of(5_000), of(100_000));
        let fine = Evidence {
            rates: Some((1_000.0, 995.0)),
            lag_nanos: &lag,
            response_nanos: &response,
            busiest: 0.5,
        };
        assert_eq!(objections(&fine), Vec::<String>::new());
        let late = of(15_000);
        let nothing = histogram();
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
                objections.iter().any(|words| words.contains(word)),
                "{word}: {objections:?}"
            );
        }
    }

    // A few late starts in a thousand are what p99 is there to show.
    #[test]
    fn lag_counts_where_it_distorts() {
        let mut lag = of(1_000);
        lag.record_n(50_000_000, 20).unwrap();
        let response = of(100_000);
        let evidence = Evidence {
            rates: Some((1_000.0, 1_000.0)),
            lag_nanos: &lag,
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
}
