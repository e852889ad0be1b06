//! When a request is tried again, and after what pause.
//!
//! The pause before attempt `n` is drawn evenly from zero to `base * 2^(n-1)`, and that range never exceeds a
//! maximum: exponential backoff with full jitter (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
//! Without the jitter, all clients of a server that came back would return in step, and knock it down again together.
//!
//! Randomness is an argument, so the bounds are tested without waiting.

use std::time::Duration;

use crate::limits;

/// How often, and at what pace, a request is tried again within its timeout.
///
/// Only what is safe is ever repeated: an idempotent request after any passing failure, any other one only when it is
/// certain that it was not carried out, as after `Overloaded` and `ShuttingDown`. A put that is repeated may also arrive late, after
/// another client's: see the crate's documentation. The policy also paces the attempts to open a lost connection again.
///
/// ```
/// use corduroy_client::RetryPolicy;
/// use std::time::Duration;
///
/// let patient = RetryPolicy::default().attempts_max(40).backoff_max(Duration::from_secs(5));
/// let never = RetryPolicy::none();
/// # let _ = (patient, never);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts_max: u32,
    backoff_base: Duration,
    backoff_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: limits::ATTEMPTS_MAX_DEFAULT,
            backoff_base: limits::BACKOFF_BASE_DEFAULT,
            backoff_max: limits::BACKOFF_MAX_DEFAULT,
        }
    }
}

impl RetryPolicy {
    /// One attempt: every failure is the caller's to deal with.
    #[must_use]
    pub fn none() -> Self {
        Self {
            attempts_max: 1,
            ..Self::default()
        }
    }

    /// Most attempts for one request, the first included. Taken as 1 where it is 0.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// The longest first pause; the longest pause doubles with each attempt.
    #[must_use]
    pub fn backoff_base(mut self, base: Duration) -> Self {
        self.backoff_base = base;
        self
    }

    /// No pause is longer than this.
    #[must_use]
    pub fn backoff_max(mut self, maximum: Duration) -> Self {
        self.backoff_max = maximum;
        self
    }

    /// Whether there may be one more attempt after this many.
    pub(crate) fn allows_another(&self, attempts: u32) -> bool {
        attempts < self.attempts_max
    }

    /// The pause after this many failures in a row; none before the first.
    pub(crate) fn backoff(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        let ceiling = self.backoff_ceiling(failures);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random.u64(0..=nanos))
    }

    /// The longest that the pause after this many failures can be.
    fn backoff_ceiling(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
                self.backoff_base
                    .saturating_mul(factor)
                    .min(self.backoff_max)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shift that overflows, or a product that wraps, turns the longest pause into none: a client that has failed
    /// long enough would then hammer a sick server in a tight loop.
    #[test]
    fn the_ceiling_doubles_up_to_the_maximum_and_stays_there() {
        let policy = RetryPolicy::default()
            .backoff_base(Duration::from_millis(10))
            .backoff_max(Duration::from_millis(100));
        let ceilings: Vec<u128> = (0..7)
            .map(|failures| policy.backoff_ceiling(failures).as_millis())
            .collect();
        assert_eq!(ceilings, [0, 10, 20, 40, 80, 100, 100]);
        for failures in [31, 32, 33, 34, 64, 65, u32::MAX] {
            assert_eq!(
                policy.backoff_ceiling(failures),
                Duration::from_millis(100),
                "after {failures}"
            );
        }
    }

    /// Jitter that keeps to a part of the range lets clients return in step.
    #[test]
    fn pauses_fill_the_whole_range_and_never_leave_it() {
        let policy = RetryPolicy::default();
        let mut random = fastrand::Rng::with_seed(1);
        for failures in 1..=20 {
            let ceiling = policy.backoff_ceiling(failures);
            let pauses: Vec<Duration> = (0..1000)
                .map(|_| policy.backoff(failures, &mut random))
                .collect();
            assert!(pauses.iter().all(|pause| *pause <= ceiling));
            assert!(
                pauses.iter().any(|pause| *pause < ceiling / 10),
                "after {failures}"
            );
            assert!(
                pauses.iter().any(|pause| *pause > ceiling * 9 / 10),
                "after {failures}"
            );
        }
    }

    /// "No retries" that still allows one is a duplicate write to whoever asked for none.
    #[test]
    fn the_first_attempt_counts() {
        assert!(!RetryPolicy::none().allows_another(1));
        assert!(RetryPolicy::default().attempts_max(2).allows_another(1));
        assert!(!RetryPolicy::default().attempts_max(2).allows_another(2));
        assert!(!RetryPolicy::default().attempts_max(0).allows_another(1));
    }
}
