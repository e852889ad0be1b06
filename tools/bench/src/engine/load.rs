//! What the engine needs of the outside: which language, which operations, when, and what a right answer is.

use crate::{protocol::Dialect, workload::Ask};

/// One connection's operations, in order.
pub trait Source {
    /// The next one. `elapsed_nanos` is the time since the run began (warm-up included) at which it is meant to start, for workloads
    /// whose hot keys move. `None`: this connection has nothing more to do.
    fn next(&mut self, elapsed_nanos: u64) -> Option<Ask>;
}

impl<F: FnMut(u64) -> Option<Ask>> Source for F {
    fn next(&mut self, elapsed_nanos: u64) -> Option<Ask> {
        self(elapsed_nanos)
    }
}

/// All of one run that isn't sockets and clocks. Shared by the threads; what it hands out belongs to one.
pub trait Load: Sync {
    /// The language; a value a thread.
    type Dialect: Dialect;
    /// Operations; a value a connection.
    type Source: Source;
    /// Intended starts in nanoseconds since the run began, ascending; a value a thread. Asked for in an open loop alone, and only as far
    /// as the clock is, so an iterator without end is welcome.
    type Arrivals: Iterator<Item = u64>;

    /// For one thread.
    fn dialect(&self, thread: u32) -> Self::Dialect;

    /// For one connection, numbered over all threads. Asked once: a connection that is opened again goes on where it was.
    fn source(&self, connection: u32) -> Self::Source;

    /// One thread's share of the schedule.
    fn arrivals(&self, thread: u32, threads: u32) -> Self::Arrivals;

    /// Appends what must be said on a fresh connection before the first request; nothing in most languages.
    fn greeting(&self, connection: u32, out: &mut Vec<u8>) {
        let _ = (connection, out);
    }

    /// Reads the answer to [`Load::greeting`]: how many bytes it takes up, `None` if it isn't all there. Not asked if nothing was said.
    ///
    /// # Errors
    ///
    /// Why the server doesn't want this connection, for a person to read.
    fn greeted(&self, connection: u32, bytes: &[u8]) -> Result<Option<usize>, String> {
        let _ = (connection, bytes);
        Ok(Some(0))
    }

    /// Whether this may be what the key of this number holds.
    fn is_right(&self, key: u64, value: &[u8]) -> bool;

    /// Whether the key may be missing: a delete or an expiry may have come before. Where it may not, a miss is an error.
    fn may_miss(&self, ask: &Ask) -> bool;

    /// An operation of a source was answered, failed or was given up. Called once for each.
    fn over(&self, ask: &Ask) {
        let _ = ask;
    }

    /// The core of the server that owns this key, where that is known.
    fn server_core(&self, key: u64) -> Option<u32> {
        let _ = key;
        None
    }
}
