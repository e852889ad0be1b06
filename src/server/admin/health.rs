//! How the node is, as the probes are told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::glommio::ShardState;
use crate::types::ShardId;

/// How far a shard's recovery is, in bytes of its log. Written by the shard's thread.
#[derive(Debug, Default)]
pub struct ShardProgress {
    /// Read so far.
    pub done: AtomicU64,
    /// All; 0 until it is known.
    pub total: AtomicU64,
}

/// Where a node is between its start and its stop.
#[derive(Clone, Debug, Default)]
enum Phase {
    /// Before its shards' files are looked at.
    #[default]
    Starting,
    /// Shards are recovered.
    Recovering(Arc<[ShardProgress]>),
    /// Data moves from some shards to others, so many bytes of so many.
    Moving {
        from: u16,
        to: u16,
        progress: Arc<ShardProgress>,
    },
    /// Clients are let in.
    Serving {
        client_address: SocketAddr,
        shards: Vec<Arc<ShardState>>,
    },
    /// It was told to stop.
    Stopping,
}

/// See the module's header. The node's main thread tells it, the admin HTTP's asks.
#[derive(Debug, Default)]
pub struct Health(Mutex<Phase>);

impl Health {
    /// Recovery begins.
    pub fn recovering(&self, progress: Arc<[ShardProgress]>) {
        self.enter(Phase::Recovering(progress));
    }

    /// Data begins to move to another number of shards.
    pub fn moving(&self, from: u16, to: u16, progress: Arc<ShardProgress>) {
        self.enter(Phase::Moving { from, to, progress });
    }

    /// Clients are let in.
    pub fn serving(&self, client_address: SocketAddr, shards: Vec<Arc<ShardState>>) {
        self.enter(Phase::Serving {
            client_address,
            shards,
        });
    }

    /// The node stops.
    pub fn stopping(&self) {
        self.enter(Phase::Stopping);
    }

    /// Whether every request is served; if not, a sentence that says why.
    ///
    /// # Errors
    /// With that sentence.
    pub fn readiness(&self) -> Result<(), String> {
        match self.phase() {
            Phase::Starting => Err("the node is starting".to_owned()),
            Phase::Recovering(progress) => Err(recovering(&progress)),
            Phase::Moving { from, to, progress } => Err(format!(
                "the node is moving its data from {from} to {to} shards: {} of {} MiB of log are done",
                progress.done.load(Ordering::Relaxed) >> 20,
                progress.total.load(Ordering::Relaxed) >> 20
            )),
            Phase::Serving { shards, .. } => {
                let refusing: Vec<String> = shards
                    .iter()
                    .filter_map(|shard| shard.writes_refused())
                    .collect();
                match refusing.is_empty() {
                    true => Ok(()),
                    false => Err(refusing.join("\n")),
                }
            }
            Phase::Stopping => Err("the node is stopping".to_owned()),
        }
    }

    /// Where clients are let in, once they are.
    pub(super) fn client_address(&self) -> Option<SocketAddr> {
        match self.phase() {
            Phase::Serving { client_address, .. } => Some(client_address),
            _ => None,
        }
    }

    fn enter(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn phase(&self) -> Phase {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// All shards together, then each that is not done.
fn recovering(progress: &[ShardProgress]) -> String {
    let shards: Vec<(u64, u64)> = progress
        .iter()
        .map(|shard| {
            let total = shard.total.load(Ordering::Relaxed);
            (shard.done.load(Ordering::Relaxed).min(total), total)
        })
        .collect();
    let done: u64 = shards.iter().map(|(done, _)| done).sum();
    let total: u64 = shards.iter().map(|(_, total)| total).sum();
    let mut text = format!(
        "the node is recovering: {} of {} MiB of log read",
        done >> 20,
        total >> 20
    );
    for (number, (done, total)) in shards.iter().enumerate() {
        let shard = ShardId(number as u16);
        if total == &0 {
            text.push_str(&format!("; shard {shard}: its files are being opened"));
        } else if done < total {
            text.push_str(&format!(
                "; shard {shard}: {done} of {total} bytes ({} %)",
                done * 100 / total
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever waits for a long start wants to know whether it moves, and which shard is the slow one.
    #[test]
    fn recovery_is_told_shard_by_shard() {
        let health = Health::default();
        assert_eq!(health.readiness(), Err("the node is starting".to_owned()));
        let progress: Arc<[ShardProgress]> = (0..3).map(|_| ShardProgress::default()).collect();
        health.recovering(Arc::clone(&progress));
        progress[0].total.store(8 << 20, Ordering::Relaxed);
        progress[0].done.store(2 << 20, Ordering::Relaxed);
        progress[1].total.store(8 << 20, Ordering::Relaxed);
        progress[1].done.store(8 << 20, Ordering::Relaxed);
        assert_eq!(
            health.readiness().unwrap_err(),
            "the node is recovering: 10 of 16 MiB of log read; shard 0: 2097152 of 8388608 bytes (25 %); \
             shard 2: its files are being opened"
        );
        health.stopping();
        assert_eq!(health.readiness(), Err("the node is stopping".to_owned()));
    }

    /// A move of much data takes a while in which nothing is served.
    #[test]
    fn a_move_is_told() {
        let health = Health::default();
        let progress = Arc::<ShardProgress>::default();
        health.moving(2, 4, Arc::clone(&progress));
        progress.total.store(8 << 20, Ordering::Relaxed);
        progress.done.store(3 << 20, Ordering::Relaxed);
        assert_eq!(
            health.readiness().unwrap_err(),
            "the node is moving its data from 2 to 4 shards: 3 of 8 MiB of log are done"
        );
    }
}
