//! The machine's clocks, as the port that a driver reads.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::ports::Clock;
use crate::types::{MonoNanos, Now, WallMillis};

/// The clocks of the machine. All shards of a node read the same one.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> SystemClock {
        SystemClock {
            start: Instant::now(),
        }
    }

    /// The clock that only goes forward, without the other.
    #[inline]
    pub(super) fn mono(&self) -> MonoNanos {
        MonoNanos(self.start.elapsed().as_nanos() as u64)
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Now {
        // A wall clock before 1970 is as wrong as one that stands at it.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono: self.mono(),
            wall: WallMillis(wall.as_millis() as u64),
        }
    }
}
