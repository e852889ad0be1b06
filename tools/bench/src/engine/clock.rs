//! Time as the engine counts it: nanoseconds in a `u64`, from one moment that all threads share.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the clock was made. 64 bits last for 584 years.
pub(crate) type Nanos = u64;

/// A clock that all threads of a run have a copy of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
}

impl Clock {
    /// Starts at zero now.
    pub(crate) fn new() -> Clock {
        Clock {
            base: Instant::now(),
        }
    }

    #[inline]
    pub(crate) fn now(self) -> Nanos {
        self.base.elapsed().as_nanos() as Nanos
    }
}

/// As nanoseconds; what doesn't fit is for ever.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Nanos {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
