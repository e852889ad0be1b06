//! A rest between two looks at the connections, so that one turn serves what two would have served.
//!
//! A core that keeps up with its clients sleeps after nearly every turn and is woken for the next request alone. Each time that costs a sleep, a wake-up, two looks and
//! a turn; for a block of the log it costs the log's thread a wake-up too. Network cards know the trouble: they hold an interrupt back for some microseconds while traffic
//! is dense, so that it tells of several packets (*interrupt coalescing*). This does the same. While requests come so densely that a rest of some
//! microseconds will gather several, the executor's thread sleeps for that long between a turn and the next look, rather than ask io_uring to be woken by the first.
//!
//! It is off unless somebody sets it, for it can't tell clients that have more to say from those that wait (`docs/decisions/0030-coalescing.md`).
//! Where it is on it must be worth it, and what it costs is latency: at most one rest a request. So:
//!
//! - No rest while requests come slowly: [`GATHERED_MIN`] of them must be expected within one. A client alone never waits.
//! - No rest where turns are large anyway ([`ENOUGH`]): the core is full then and never sleeps.
//! - Clients that wait for answers send no more for waiting longer. A rest that gathered less than [`GATHERED_MIN`] was in vain, and there is none for [`IN_VAIN_NS`] after it.

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::thread::{NanosleepRelativeResult, Timespec};

use crate::types::MonoNanos;

/// What a rest must gather, in connections that have something to say.
const GATHERED_MIN: u64 = 6;
/// A look that found so many connections needs no rest before the next one.
const ENOUGH: u64 = 12;
/// How long there is no rest after one in vain.
const IN_VAIN_NS: u64 = 5_000_000;
/// Over how long the connections that were ready are counted.
const WINDOW_NS: u64 = 500_000;

/// Decides when an executor rests.
#[derive(Debug)]
pub(super) struct Coalescing {
    /// Nanoseconds; 0: never.
    rest_ns: u64,
    window_since: MonoNanos,
    /// Connections that were ready since then.
    ready: u64,
    is_dense: bool,
    /// There was a rest before the look that comes now.
    has_rested: bool,
    not_before: MonoNanos,
}

impl Coalescing {
    /// `rest` is how long a rest lasts; zero: there are none.
    pub(super) fn new(rest: Duration) -> Coalescing {
        Coalescing {
            rest_ns: rest.as_nanos() as u64,
            window_since: MonoNanos(0),
            ready: 0,
            is_dense: false,
            has_rested: false,
            not_before: MonoNanos(0),
        }
    }

    /// If there are to be rests, has the kernel wake this thread when one is over, rather than up to 50 µs later, which is what it allows itself otherwise.
    pub(super) fn be_punctual(&self) {
        if self.rest_ns > 0 {
            // At worst rests are longer.
            let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1000));
        }
    }

    /// A look found so many connections ready, which are served now. Answers how long to rest before the next look, in nanoseconds;
    /// who does says so ([`Coalescing::rested`]).
    #[inline]
    pub(super) fn looked(&mut self, now: impl FnOnce() -> MonoNanos, ready: u64) -> Option<u64> {
        if self.rest_ns == 0 {
            return None;
        }
        let now = now();
        self.ready += ready;
        let elapsed = now.0.saturating_sub(self.window_since.0);
        if elapsed >= WINDOW_NS {
            self.is_dense = self.ready * self.rest_ns >= GATHERED_MIN * elapsed;
            self.window_since = now;
            self.ready = 0;
        }
        if std::mem::take(&mut self.has_rested) && ready < GATHERED_MIN {
            self.not_before = MonoNanos(now.0 + IN_VAIN_NS);
        }
        let rests = self.is_dense && ready < ENOUGH && now >= self.not_before;
        rests.then_some(self.rest_ns)
    }

    /// The next look comes after a rest.
    #[inline]
    pub(super) fn rested(&mut self) {
        self.has_rested = true;
    }
}

/// Sleeps for so many nanoseconds, or less if a signal comes.
pub(super) fn rest(nanos: u64) {
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: nanos as _,
    };
    // The rest of an interrupted one is not missed.
    let _: NanosleepRelativeResult = rustix::thread::nanosleep(&time);
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_micros(60);

    /// Looks every `gap_ns` that find `ready` connections each, for `ms` milliseconds; how many of them were followed by a rest.
    fn rests(coalescing: &mut Coalescing, from_ms: u64, ms: u64, gap_ns: u64, ready: u64) -> u64 {
        let looks = ms * 1_000_000 / gap_ns;
        (0..looks)
            .map(|look| MonoNanos(from_ms * 1_000_000 + look * gap_ns))
            .filter(|&now| {
                let rests = coalescing.looked(|| now, ready).is_some();
                if rests {
                    coalescing.rested();
                }
                rests
            })
            .count() as u64
    }

    #[test]
    fn one_client_alone_never_waits() {
        let mut coalescing = Coalescing::new(REST);
        assert_eq!(rests(&mut coalescing, 0, 100, 20_000, 1), 0);
    }

    #[test]
    fn dense_requests_are_gathered() {
        let mut coalescing = Coalescing::new(REST);
        // 200,000 a second, one by one: 8 in a rest.
        assert!(rests(&mut coalescing, 0, 2, 5_000, 1) > 0);
        // Each rest finds its 8 from now on.
        let looks = 100_000_000 / 45_000;
        let rests = rests(&mut coalescing, 20, 100, 45_000, 8);
        assert!(rests > looks * 9 / 10, "{rests} of {looks}");
    }

    #[test]
    fn a_full_core_does_not_rest() {
        let mut coalescing = Coalescing::new(REST);
        assert_eq!(rests(&mut coalescing, 0, 100, 150_000, 40), 0);
    }

    #[test]
    fn few_clients_that_wait_for_answers_are_left_alone() {
        let mut coalescing = Coalescing::new(REST);
        // Three clients, a look for each answer: dense, but a rest gathers no more than the three.
        let mut tried = 0;
        let mut now = 0;
        for _ in 0..10_000 {
            let rest = coalescing.looked(|| MonoNanos(now), 3);
            if rest.is_some() {
                coalescing.rested();
                tried += 1;
            }
            now += 15_000 + rest.unwrap_or(0);
        }
        let ms = now / 1_000_000;
        assert!(tried > 0, "it is tried");
        assert!(tried <= ms / 5 + 1, "{tried} rests in {ms} ms");
    }

    #[test]
    fn off_is_off() {
        let mut coalescing = Coalescing::new(Duration::ZERO);
        assert_eq!(rests(&mut coalescing, 0, 10, 1_000, 8), 0);
    }
}
