//! Going through a victim: which of its records must outlive it, and staging them again.
//!
//! `storage::compaction` argues what may go. It comes down to this: of each key the **newest** effect that was ever logged must stay, unless nothing
//! older of the key is left; everything else may go.

use bytes::Bytes;

use super::super::Shard;
use super::super::origin::{Origin, Target};
use super::super::overlay::OverlayKey;
use super::super::staging::Previous;
use super::Stage;
use super::gather::Search;
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::pipeline::Operation;
use crate::storage::buffer::share_part;
use crate::storage::compaction::{Step, Window};
use crate::storage::disk::{DiskOperation, DiskTicket};
use crate::storage::format::{Record, RecordAt, RecordKind, SEGMENT_HEADER_LEN};
use crate::storage::hash::KeyHash;
use crate::types::{Now, PartitionId, Position, SegmentId, ShardId};

/// Who "writes" copies: nobody that has a connection.
const NOBODY: Origin = Origin {
    shard: ShardId(u16::MAX),
    client: ConnectionId {
        slot: u32::MAX,
        generation: u32::MAX,
    },
    target: Target::Client(0),
    get: false,
};

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody needs it.
    Goes,
    /// Its key has an effect that is not committed: that decides.
    Waits,
    /// It is what its key holds.
    Lives(KeyHash),
    /// It takes older records away, which were all written before this position.
    Hides(Position),
}

impl Shard {
    /// Goes through a slice of the victim. Gives its next stage, if it comes to one in this turn.
    pub(super) fn walk_victim(
        &mut self,
        now: Now,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
    ) -> Option<Stage> {
        let mut victim = self.compaction.victim.take()?;
        let walked = self.walk(now, &mut victim, disk);
        match walked {
            Walked::On(stage) => {
                self.compaction.victim = Some(victim);
                stage
            }
            Walked::Fails { at, reason } => {
                self.leave_alone(victim.id, at, reason);
                None
            }
        }
    }

    fn walk(
        &mut self,
        now: Now,
        victim: &mut super::Victim,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
    ) -> Walked {
        let facts = self.log.facts(victim.id);
        if facts.is_some_and(|facts| facts.live + facts.tombstones == 0) {
            // Clients have overwritten what was left.
            victim.read = None;
            return Walked::On(Some(Stage::Settling));
        }
        let is_idle = self.compaction.is_idle(now);
        let goes_on = is_idle || self.compaction.round.is_some();
        if !self.gather(&mut victim.search, &victim.range) {
            self.compaction.has_slice = goes_on;
            return Walked::On(None);
        }
        let mut allowed = match (is_idle, &self.compaction.round) {
            (true, _) => limits::COMPACT_SLICE_BYTES,
            (false, Some(_)) => self
                .compaction
                .credit
                .clamp(limits::COMPACT_ROUND_BYTES, limits::COMPACT_SLICE_BYTES),
            (false, None) => self.compaction.credit.min(limits::COMPACT_SLICE_BYTES),
        };
        let oldest = self.log.oldest_beside(victim.id);
        let read = victim.read.clone();
        let (start, bytes) = match &read {
            Some((start, bytes)) => (*start, &bytes[..]),
            None => (0, &[][..]),
        };
        let window = match self.log.content(victim.id) {
            Some(bytes) => Window {
                start: 0,
                bytes,
                is_read: false,
            },
            None => Window {
                start,
                bytes,
                is_read: true,
            },
        };
        for _ in 0..limits::COMPACT_SLICE_RECORDS {
            if allowed == 0 {
                break;
            }
            let before = victim.walk.at();
            let step = match &mut victim.search {
                Search::Listed(list) => list.next(&self.log),
                Search::Records | Search::Index(_) => victim.walk.next(&window),
            };
            let (partition, found) = match step {
                Step::Record(partition, found) => (partition, found),
                Step::Read { at, len } => {
                    self.read_victim(victim.id, at, len as usize, disk);
                    return Walked::On(Some(Stage::Reading));
                }
                Step::Pause => break,
                Step::End => {
                    victim.read = None;
                    return Walked::On(Some(Stage::Settling));
                }
                Step::Damaged { at } => {
                    return Walked::Fails {
                        at,
                        reason: "a block there is not what was written",
                    };
                }
            };
            if found.record.value.len() > self.config.value_len_max {
                return Walked::Fails {
                    at: victim.walk.at(),
                    reason: "a value there is longer than value_len_max",
                };
            }
            let fate = self.fate(partition, &found, oldest);
            if fate == Fate::Waits {
                return Walked::On(None);
            }
            if fate != Fate::Goes && self.copies_are_full() {
                self.compaction.is_full = true;
                return Walked::On(None);
            }
            let passed = match &mut victim.search {
                Search::Listed(list) => list.advance(&found),
                Search::Records | Search::Index(_) => {
                    victim.walk.advance(&found);
                    victim.walk.at() - before
                }
            };
            let work = match fate {
                Fate::Goes => passed / limits::COMPACT_PASSING_SHARE,
                _ => passed,
            };
            match fate {
                Fate::Lives(hash) => {
                    let source = read.as_ref().map(|(_, bytes)| bytes);
                    let copied = Copied::of(&self.log, &found, source, self.config.large_len);
                    let effect = self.batch.push_copy(
                        partition,
                        hash,
                        &copied.record,
                        copied.shared,
                        Previous::At(found.position, found.len),
                    );
                    let key = OverlayKey { partition, hash };
                    self.overlay.stage_copy(key, effect, NOBODY);
                    self.compaction.uncommitted += 1;
                }
                Fate::Hides(origin) => {
                    let kind = match found.record.kind {
                        RecordKind::Set => RecordKind::Delete,
                        kind => kind,
                    };
                    let tombstone = Record {
                        kind,
                        value: &[],
                        expiry: None,
                        origin: Some(origin),
                        ..found.record
                    };
                    let hash = KeyHash(0);
                    self.batch
                        .push_copy(partition, hash, &tombstone, None, Previous::Nothing);
                    self.compaction.uncommitted += 1;
                }
                Fate::Goes | Fate::Waits => {}
            }
            allowed = allowed.saturating_sub(work);
            self.compaction.credit = self.compaction.credit.saturating_sub(work);
        }
        self.compaction.has_slice = goes_on;
        Walked::On(None)
    }

    /// Whether the batch holds as many copies as it should beside what clients write.
    fn copies_are_full(&self) -> bool {
        self.batch.records_len >= self.arena_max() / 2
            || self.batch.effects.len() >= limits::BATCH_EFFECTS_MAX / 2
    }

    /// What becomes of a record of the victim; nothing but the victim lies below `oldest`.
    fn fate(&self, partition_id: PartitionId, found: &RecordAt<'_>, oldest: Position) -> Fate {
        let Some(keyspace) = self.keyspace(partition_id.keyspace) else {
            // It was dropped, and its number is never used again.
            return Fate::Goes;
        };
        let local = usize::from(partition_id.index / self.config.identity.shard_count);
        let partition = keyspace.partition(local);
        let record = &found.record;
        let origin = record.origin.unwrap_or(found.position);
        let hides = origin > oldest;
        // Looked up only where it matters: for most of what is dead the answer would change nothing.
        let is_newest = |hash| {
            record.version > partition.cleared && !self.has_newer(partition_id, hash, record.key)
        };
        match record.kind {
            RecordKind::Set => {
                let hash = self.hasher.hash(record.key);
                if partition.index.contains(hash, found.position) {
                    let key = OverlayKey {
                        partition: partition_id,
                        hash,
                    };
                    if partition.clearing.is_some() || self.overlay.newest(&key).is_some() {
                        return Fate::Waits;
                    }
                    return Fate::Lives(hash);
                }
                let may_have_expired = record.expiry.is_some_and(|expiry| expiry <= self.wall_max);
                match hides && may_have_expired && is_newest(hash) {
                    true => Fate::Hides(origin),
                    false => Fate::Goes,
                }
            }
            RecordKind::Delete => match hides && is_newest(self.hasher.hash(record.key)) {
                true => Fate::Hides(origin),
                false => Fate::Goes,
            },
            RecordKind::Clear if hides && record.version >= partition.cleared => {
                Fate::Hides(origin)
            }
            RecordKind::Clear => Fate::Goes,
        }
    }

    /// Whether a key, of which the record in hand is dead, is known to hold something: that is newer then. It may do so and not be known, if its record is
    /// on disk alone.
    fn has_newer(&self, partition: PartitionId, hash: KeyHash, key: &[u8]) -> bool {
        let Some(keyspace) = self.keyspace(partition.keyspace) else {
            return false;
        };
        let local = usize::from(partition.index / self.config.identity.shard_count);
        let mut candidates = keyspace.partition(local).index.candidates(hash);
        candidates.any(|candidate| {
            let held = self.log.record_at(candidate.address);
            held.is_some_and(|(record, _)| record.key == key)
        })
    }

    fn read_victim(
        &mut self,
        segment: SegmentId,
        at: u64,
        len: usize,
        disk: &mut Vec<(DiskTicket, DiskOperation)>,
    ) {
        self.compaction.is_reading = true;
        self.pipeline.submit(
            Operation::ReadVictim { segment, at, len },
            DiskOperation::Read {
                segment,
                offset: SEGMENT_HEADER_LEN as u64 + at,
                len,
            },
            disk,
        );
    }
}

/// How a slice ended.
enum Walked {
    /// The victim has come to this stage, or is where it was.
    On(Option<Stage>),
    /// It can't go on.
    Fails { at: u64, reason: &'static str },
}

/// A record that lives, as it is to be logged again.
struct Copied<'a> {
    record: Record<'a>,
    /// The handle on a large value.
    shared: Option<Bytes>,
}

impl<'a> Copied<'a> {
    /// `source` is what the record was read into, if it is not in the log's memory.
    fn of(
        log: &'a crate::storage::log::Log,
        found: &RecordAt<'a>,
        source: Option<&Bytes>,
        large_len: usize,
    ) -> Copied<'a> {
        // In the log's memory a large value is kept apart from its record.
        if let Some((record, owner)) = log.record_at(found.position) {
            let shared = owner.map(|owner| owner.slice_ref(record.value));
            return Copied { record, shared };
        }
        let value = found.record.value;
        let is_large = value.len() > large_len;
        let shared = is_large.then(|| {
            source
                .and_then(|source| share_part(source, value))
                .unwrap_or_else(|| Bytes::copy_from_slice(value))
        });
        Copied {
            record: found.record,
            shared,
        }
    }
}
