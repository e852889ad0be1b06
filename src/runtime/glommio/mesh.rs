//! The channels between the shards of a node: one for each ordered pair, bounded.
//!
//! Nothing here waits for room. A batch that finds the channel full goes back to the driver, which is told to try again a moment
//! later; meanwhile the link's window stops the connections that fill it. Two cores that are both full therefore never wait for
//! each other.

use std::fmt;

use flume::{Receiver, Sender, TrySendError};

use super::super::driver::MeshBatch;
use crate::limits;
use crate::types::ShardId;

/// One shard's ends of the channels to and from its peers.
pub struct MeshEnds {
    /// By shard; none to itself.
    to: Vec<Option<Sender<MeshBatch>>>,
    from: Vec<(ShardId, Receiver<MeshBatch>)>,
    /// Shards whose channel had no room at the last attempt.
    full: Vec<ShardId>,
}

impl fmt::Debug for MeshEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshEnds")
            .field("peers", &self.from.len())
            .field("full", &self.full)
            .finish()
    }
}

/// The ends of every shard of a node, by shard.
#[must_use]
pub fn mesh(shard_count: u16) -> Vec<MeshEnds> {
    let empty = || MeshEnds {
        to: (0..shard_count).map(|_| None).collect(),
        from: Vec::new(),
        full: Vec::new(),
    };
    let mut ends: Vec<MeshEnds> = (0..shard_count).map(|_| empty()).collect();
    for from in 0..shard_count {
        for to in (0..shard_count).filter(|&to| to != from) {
            let (sender, receiver) = flume::bounded(limits::MESH_CHANNEL_BATCHES);
            ends[usize::from(from)].to[usize::from(to)] = Some(sender);
            ends[usize::from(to)].from.push((ShardId(from), receiver));
        }
    }
    ends
}

impl MeshEnds {
    /// The receiving ends, each to be read by a task of its own.
    pub(super) fn take_receivers(&mut self) -> Vec<(ShardId, Receiver<MeshBatch>)> {
        std::mem::take(&mut self.from)
    }

    /// Sends if there is room. A peer that is gone is like one that is full: the process is about to end.
    #[expect(
        clippy::result_large_err,
        reason = "the batch goes back to where it came from, and only when the channel is full"
    )]
    pub(super) fn send(&mut self, to: ShardId, batch: MeshBatch) -> Result<(), MeshBatch> {
        let channel = self.to[to.index()]
            .as_ref()
            .expect("a shard sends nothing to itself");
        channel.try_send(batch).map_err(|error| {
            self.full.push(to);
            match error {
                TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
            }
        })
    }

    /// Shards to try again now.
    pub(super) fn take_full(&mut self) -> Vec<ShardId> {
        std::mem::take(&mut self.full)
    }

    /// Whether something waits for room.
    pub(super) fn is_full(&self) -> bool {
        !self.full.is_empty()
    }
}
