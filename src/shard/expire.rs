//! Taking expired keys away, a slice a turn.
//!
//! A read never shows a key past its time, whether it is taken away yet or not: every lookup looks at the record's expiry. What
//! happens here only gives the space back. No delete is logged, because recovery can tell from the record itself; but a clock
//! that was set back between two starts must not bring a key back, so after keys have expired the log soon gets a block whose
//! header proves that their time has passed (at most one a second if nothing else is written), and recovery takes the
//! latest time that the log proves for its own if the clock is behind it.

use super::Shard;
use crate::limits;
use crate::types::{Now, WallMillis};

impl Shard {
    pub(super) fn expire(&mut self, now: Now) {
        self.forget_stale_expiries();
        if self.take_expired(now.wall) > 0 {
            self.pipeline.mark_time();
            self.compaction.keys_have_gone();
        }
    }

    /// Takes away everything that had expired by a time. Only before the shard serves: it does not stop after a slice.
    pub(super) fn expire_all(&mut self, by: WallMillis) {
        while self.expiry.next_due().is_some_and(|due| due <= by) {
            self.take_expired(by);
        }
    }

    /// Takes away at most a slice of the keys that had expired by a time, and says how many.
    fn take_expired(&mut self, by: WallMillis) -> usize {
        self.wall_max = self.wall_max.max(by);
        let mut due = Vec::new();
        self.expiry.pop_due(by, limits::EXPIRY_SLICE, &mut due);
        let mut taken = 0;
        let shard_count = self.config.identity.shard_count;
        for entry in due {
            let Some(at) = self.keyspace_index(entry.partition.keyspace) else {
                continue;
            };
            let keyspace = &mut self.keyspaces[at];
            let partition =
                keyspace.partition_mut(usize::from(entry.partition.index / shard_count));
            let len = partition
                .index
                .candidates(entry.hash)
                .find(|candidate| candidate.address == entry.address)
                .map(|candidate| candidate.len_hint);
            // Overwritten, deleted or made persistent since: the index points elsewhere.
            let Some(len) = len else { continue };
            assert!(
                partition.index.remove(entry.hash, entry.address),
                "the entry was found just now"
            );
            partition.live_bytes -= u64::from(len);
            keyspace.remove_keys(1);
            self.log.remove_live(entry.address, u64::from(len));
            // The record still takes away what is older; compaction may have to put a delete in its place.
            let tombstone = u64::from(len.min(limits::EXPIRED_TOMBSTONE_LEN));
            self.log.add_tombstone(entry.address, tombstone);
            self.statistics.expired += 1;
            taken += 1;
        }
        taken
    }

    /// Overwritten keys leave entries in the queue: now and then a pass over it drops them, a slice a turn.
    fn forget_stale_expiries(&mut self) {
        if !self.expiry.is_compacting() {
            return;
        }
        let shard_count = self.config.identity.shard_count;
        let keyspaces = &self.keyspaces;
        self.expiry.compact(limits::EXPIRY_CHECK_SLICE, |due| {
            let keyspace = keyspaces
                .iter()
                .find(|keyspace| keyspace.id() == due.partition.keyspace);
            keyspace.is_some_and(|keyspace| {
                let partition = keyspace.partition(usize::from(due.partition.index / shard_count));
                partition.index.contains(due.hash, due.address)
            })
        });
    }
}
