//! Whether a thread looked when it should have, as the thread itself can tell.
//!
//! A round of the loop may last as long as the wait that it asked for, and the little that its work takes: how much a round handles is bounded
//! (`EVENTS_MAX`, `WRITES_A_ROUND`). What it lasts beyond that the thread was away: stopped, or without a core, or at work on far more than is usual. Whatever was
//! due or was answered meanwhile was late through no fault of the server's. No clock but that of the latencies is needed, so time that a hypervisor took counts too.
//!
//! **A backlog** that such a pause leaves behind takes its time: with ten slots, the eleventh operation that became due in the pause waits for an answer
//! to the first, as if the server were slow. While a backlog lasts nobody rests, so without the pauses since it began, none of its operations
//! would have been sent earlier by more than these pauses took together. That, or all that it waited, is an operation's share of them.
//!
//! A pause that falls into a wait and ends before the wait would have can't be told from waiting. Waits end with the next tick, after some milliseconds.

use super::clock::Nanos;

/// A shorter absence is none: waits end up to a millisecond late where the kernel counts them in whole ones.
const PAUSE_MIN_NANOS: Nanos = 2_000_000;
/// A wait that took longer than this did sleep.
const SLEPT_NANOS: Nanos = 2_000;

/// A time in which a thread should have looked and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) begun: Nanos,
    pub(super) ended: Nanos,
}

/// What a thread remembers of its rounds.
#[derive(Debug)]
pub(super) struct Attention {
    /// When it looked last.
    looked: Nanos,
    /// No answer that is seen now can have been there before.
    since: Nanos,
    /// All pauses so far, and those before the present backlog began.
    paused: Nanos,
    paused_before: Nanos,
}

impl Attention {
    /// Rounds begin now.
    pub(super) fn new(now: Nanos) -> Attention {
        Attention {
            looked: now,
            since: now,
            paused: 0,
            paused_before: 0,
        }
    }

    /// A wait of at most `timeout` lasted from `entered` to `returned`. `is_behind`: something was due when it began. Answers the pause that has ended, if there was one.
    #[inline]
    pub(super) fn round(
        &mut self,
        entered: Nanos,
        timeout: Nanos,
        returned: Nanos,
        is_behind: bool,
    ) -> Option<Pause> {
        if !is_behind {
            self.paused_before = self.paused;
        }
        let waited = returned - entered;
        let absent = (returned - self.looked).saturating_sub(waited.min(timeout));
        self.since = if waited > SLEPT_NANOS && timeout > 0 {
            returned
        } else {
            self.looked
        };
        self.looked = returned;
        if absent < PAUSE_MIN_NANOS {
            return None;
        }
        self.paused += absent;
        Some(Pause {
            begun: returned - absent,
            ended: returned,
        })
    }

    /// Since when answers that are seen now may have been there.
    #[inline]
    pub(super) fn since(&self) -> Nanos {
        self.since
    }

    /// How much of an operation's wait to be sent the pauses may be to blame for.
    #[inline]
    pub(super) fn share_of(&self, wait: Nanos) -> Nanos {
        wait.min(self.paused - self.paused_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    // A process that is stopped for two seconds wakes to a full queue, and what it sees then looks like a server that answers late.
    #[test]
    fn a_wait_that_ends_late_is_a_pause() {
        let mut attention = Attention::new(0);
        assert_eq!(attention.round(0, 5 * MS, 5 * MS, false), None);
        let entered = 5 * MS + 1_000;
        let returned = entered + 2_000 * MS;
        assert_eq!(
            attention.round(entered, 5 * MS, returned, false),
            Some(Pause {
                begun: 10 * MS,
                ended: returned
            })
        );
        assert_eq!(attention.since(), returned);
    }

    #[test]
    fn work_that_takes_long_is_a_pause_and_waiting_as_asked_is_none() {
        let mut attention = Attention::new(0);
        assert_eq!(attention.round(300_000, 4 * MS, 4 * MS, true), None);
        assert_eq!(attention.round(4 * MS + 900_000, 0, 5 * MS, true), None);
        // Back from work after 30 ms, and an answer was there.
        let pause = attention.round(35 * MS, 4 * MS, 35 * MS + 500, true);
        assert_eq!(
            pause,
            Some(Pause {
                begun: 5 * MS + 500,
                ended: 35 * MS + 500
            })
        );
        assert_eq!(attention.since(), 5 * MS);
    }

    // With few slots nearly all of a backlog waits for slots, and no share of it would be the generator's by when a slot was free.
    #[test]
    fn a_backlog_is_blamed_on_the_pauses_since_it_began() {
        let mut attention = Attention::new(0);
        attention.round(0, 0, 10 * MS, false);
        assert_eq!(attention.share_of(3 * MS), 3 * MS);
        assert_eq!(attention.share_of(50 * MS), 10 * MS);
        attention.round(10 * MS, MS, 11 * MS, true);
        assert_eq!(attention.share_of(50 * MS), 10 * MS);
        attention.round(11 * MS, MS, 16 * MS, true);
        assert_eq!(attention.share_of(50 * MS), 14 * MS);
        // It is worked off.
        attention.round(17 * MS, MS, 18 * MS, false);
        assert_eq!(attention.share_of(50 * MS), 0);
    }
}
