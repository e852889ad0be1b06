//! How long to go on trying while a server does not answer.
//!
//! The client crate already retries within the time of one request. A restart of the server takes longer than that, and an import of an
//! hour should not end with it: what is safe is tried again with growing pauses, until nothing succeeded for as long as
//! the person allowed.

use crate::limits::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use corduroy_client::{Error, Status};
use std::time::Duration;
use tokio::time::Instant;

/// The pauses of one task that may fail for a while.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    failing_since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Gives up after failing for `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            failing_since: None,
            pause: RETRY_PAUSE_MIN,
        }
    }

    /// It failed: how long to wait before the next attempt, or `None` to give up.
    pub(crate) fn failed(&mut self) -> Option<Duration> {
        let failing_for = self
            .failing_since
            .get_or_insert_with(Instant::now)
            .elapsed();
        let pause = self.pause;
        self.pause = (pause * 2).min(RETRY_PAUSE_MAX);
        (failing_for + pause <= self.limit).then_some(pause)
    }

    /// It succeeded.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::new(self.limit);
    }
}

/// Whether a read or an unconditional put that failed so may be sent again with a hope of success. Such a put changes nothing when
/// it is done twice, so an unknown outcome is no obstacle.
pub(crate) fn may_pass(error: &Error) -> bool {
    error.is_retryable() || error.status() == Some(Status::OutcomeUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand records that hammer a server which is just starting would keep it from starting; and one that is gone for good
    /// must not hold an import for ever.
    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end() {
        let mut patience = Patience::new(Duration::from_secs(10));
        let begin = Instant::now();
        let mut last = Duration::ZERO;
        while let Some(pause) = patience.failed() {
            assert!(pause >= last && pause <= RETRY_PAUSE_MAX);
            last = pause;
            tokio::time::sleep(pause).await;
        }
        let waited = begin.elapsed();
        assert!(
            waited <= Duration::from_secs(10) && waited > Duration::from_secs(7),
            "{waited:?}"
        );
        patience.succeeded();
        assert_eq!(patience.failed(), Some(RETRY_PAUSE_MIN));
    }

    /// Without patience the first failure is the last.
    #[tokio::test(start_paused = true)]
    async fn no_patience() {
        assert_eq!(Patience::new(Duration::ZERO).failed(), None);
    }
}
