//! What a node asks of a shard when it stops, and how far the shard is.
//!
//! The steps are the same on all shards at the same time: all drain, and each goes on with its turns and its mesh until all are drained,
//! because a shard's last answers may depend on another; then all seal.

use std::sync::atomic::{AtomicBool, Ordering};

use super::ports::GlommioPorts;
use crate::runtime::driver::Driver;

/// A step of a clean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Take no more connections and requests; answer what was read.
    Drain,
    /// Close all connections, drained or not.
    Cut,
    /// Seal the log.
    Seal,
}

/// How far a shard is with stopping. Written by its executor, read by the node.
#[derive(Debug, Default)]
pub struct ShardState {
    stopping: AtomicBool,
    drained: AtomicBool,
    sealed: AtomicBool,
}

impl ShardState {
    /// Everything that was read is answered and sent, as of the last turn.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }

    /// Everything is on disk.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(super) fn ordered(&self, order: Order) {
        if order == Order::Drain {
            self.stopping.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn turn_ended(&self, driver: &Driver<GlommioPorts>) {
        if self.stopping.load(Ordering::Relaxed) {
            self.drained.store(driver.is_drained(), Ordering::Release);
            self.sealed.store(driver.is_sealed(), Ordering::Release);
        }
    }
}
