//! What a node asks of a shard when it stops, how far the shard is, and whether it takes writes.
//!
//! The steps are the same on all shards at the same time: all drain, and each goes on with its turns and its mesh until all are drained,
//! because a shard's last answers may depend on another; then all seal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

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

/// How a shard is. Written by its executor, read by the node's other threads.
#[derive(Debug, Default)]
pub struct ShardState {
    stopping: AtomicBool,
    drained: AtomicBool,
    sealed: AtomicBool,
    /// There is a text in `refusal`.
    refusing: AtomicBool,
    /// Why writes are refused. Locked by the executor only in turns in which they are, or have just been.
    refusal: Mutex<Option<String>>,
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

    /// Why the shard refuses writes, if it does, as of the last turn.
    #[must_use]
    pub fn writes_refused(&self) -> Option<String> {
        if !self.refusing.load(Ordering::Acquire) {
            return None;
        }
        self.refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn ordered(&self, order: Order) {
        if order == Order::Drain {
            self.stopping.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn turn_ended(&self, driver: &Driver<GlommioPorts>) {
        let refused = driver.shard().writes_refused();
        if refused.is_some() || self.refusing.load(Ordering::Relaxed) {
            self.note_refusal(refused);
        }
        if self.stopping.load(Ordering::Relaxed) {
            self.drained.store(driver.is_drained(), Ordering::Release);
            self.sealed.store(driver.is_sealed(), Ordering::Release);
        }
    }

    /// If a probe is reading the text just now, the next turn notes it: nobody waits on an executor.
    #[cold]
    fn note_refusal(&self, refused: Option<&str>) {
        let Ok(mut refusal) = self.refusal.try_lock() else {
            return;
        };
        if refusal.as_deref() != refused {
            *refusal = refused.map(str::to_owned);
            self.refusing.store(refused.is_some(), Ordering::Release);
        }
    }
}
