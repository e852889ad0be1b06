//! What an executor shows of its progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::MonoNanos;

/// What the watchdog sees of one executor.
#[derive(Debug, Default)]
pub struct Pulse {
    turns: AtomicU64,
    inbound: AtomicU64,
}

impl Pulse {
    /// For each shard one.
    #[must_use]
    pub fn all(shard_count: u16) -> Vec<Arc<Pulse>> {
        (0..shard_count).map(|_| Arc::default()).collect()
    }

    /// A turn has ended.
    #[inline]
    pub(super) fn beat(&self, _armed: Option<MonoNanos>) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns + 1, Ordering::Relaxed);
    }

    /// Another thread has sent something to the executor.
    #[inline]
    pub(super) fn sent_to(&self) {
        self.inbound.fetch_add(1, Ordering::Relaxed);
    }
}
