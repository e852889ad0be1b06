//! The shard: one core's state machine. It ties the log and the index together and does no I/O at all.
//!
//! Time, requests and completions come in as arguments; replies, disk operations and the next deadline come out as values.
//! The glommio driver runs it in production and the simulated one in tests, so every fault that the shard claims to survive
//! is first survived in simulation, by seed.
//!
//! # How a write travels
//!
//! 1. [`Shard::execute`] **evaluates**: it looks at the index and at the effects that are not committed yet (`staging`),
//!    checks conditions, and stages the resulting *effect* (set, delete, clear), never the command itself.
//! 2. [`Shard::end_turn`] **appends**: if no block is in flight, everything staged becomes one block, one write and, with
//!    `sync always`, one fdatasync. What arrives meanwhile gathers in the next batch: group commit without a timer.
//! 3. [`Shard::disk_completed`] **commits**: the index is pointed at the new records and the replies go out.
//!
//! # What holds always
//!
//! - The index points at committed records only. A read that must see an uncommitted effect (it came over the connection that
//!   wrote it) is answered when that effect commits.
//! - A reply that depends on an uncommitted effect is given after that effect's block has committed, and not at all as a
//!   success if the block fails.
//! - Versions of a partition only grow. A version given to an effect that never committed may be given again: nobody saw it.
//! - A record that is not in memory is read by the disk port, checked, and the request evaluated again from its
//!   start (`waiting`); requests on one key keep their order meanwhile.
//! - After a failed write or fdatasync no write is accepted any more: the kernel may report success for pages it lost.
//!
//! # Families of calls
//!
//! [`Shard::replaying`], then [`Shard::replay_partition`] and [`Shard::replay_given_up`] as recovery finds it, [`Shard::replay_records`] and
//! [`Shard::recovered`] once, [`Shard::install`] for each keyspace; then turns: any number of [`Shard::execute`], [`Shard::command`] and [`Shard::disk_completed`], and
//! [`Shard::end_turn`] once. [`Shard::stop`] begins the end; the shard [`is stopped`](Shard::is_stopped) when all is on disk.

mod append;
mod atomic;
mod background;
pub mod backup;
mod commit;
mod compact;
mod decision;
mod edits;
mod effects;
mod expire;
mod expiry_writes;
mod float;
pub mod hold;
mod keyspaces;
mod lookup;
mod origin;
mod overlay;
mod pipeline;
mod reads;
pub mod recover;
mod relocate;
mod replay;
mod reserve;
pub mod reshard;
mod scan;
pub mod scrub;
mod staging;
pub mod statistics;
mod unit;
mod waiting;
mod writes;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeSet;

use bytes::Bytes;
use corduroy_proto_wire::{Body, Request, Response, Status};

pub use keyspaces::{
    DEFAULT_KEYSPACE, Keyspace, decode_partitions, encode_partitions, keyspace_of_version,
};
pub use lookup::{KeyPlace, Whereabouts};
pub use origin::{GatherId, Origin, Replies, ShardCommand, ShardReply, Target};
pub use scan::{OwnedScanItem, ScanPage, ScanStep};
pub use waiting::{item_key, request_key};

use crate::limits;
use crate::storage::expiry::ExpiryQueue;
use crate::storage::format::{Given, LogTag};
use crate::storage::hash::KeyHasher;
use crate::storage::log::Log;
use crate::storage::recovery::Identity;
use crate::types::{KeyspaceId, MonoNanos, Now, Position, WallMillis};
use compact::Compaction;
use expiry_writes::NewExpiry;
use overlay::Overlay;
use pipeline::Pipeline;
use relocate::Relocation;
use staging::Batch;
use statistics::{Kind, Statistics};
use waiting::Waiting;

/// When a write is acknowledged, and what a crash can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// After its fdatasync: nothing acknowledged is ever lost.
    Always,
    /// After the kernel has it, with an fdatasync at least this often while there are writes: a power loss takes at most
    /// what was acknowledged since; the death of the process takes nothing.
    Interval {
        /// Nanoseconds between two fdatasyncs.
        nanos: u64,
    },
    /// After the kernel has it; the kernel writes it back when it likes. The death of the process takes nothing.
    Never,
}

/// As `--sync` has it.
impl std::fmt::Display for SyncMode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SyncMode::Always => out.write_str("always"),
            SyncMode::Interval { nanos } => {
                let interval = std::time::Duration::from_nanos(*nanos);
                write!(out, "interval={interval:?}")
            }
            SyncMode::Never => out.write_str("never"),
        }
    }
}

/// What a shard needs to know.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Which shard of which node.
    pub identity: Identity,
    /// The log's tag: that of its segments, or a random one for a new log.
    pub log_tag: LogTag,
    /// When writes are acknowledged.
    pub sync: SyncMode,
    /// Largest value, in bytes.
    pub value_len_max: usize,
    /// Values over this many bytes are kept apart and never copied.
    pub large_len: usize,
    /// This shard's share of `--memory`, in bytes.
    pub memory_bytes: u64,
    /// Length of new segment files, in bytes.
    pub segment_len: u64,
    /// Whether dead space is reclaimed without being asked.
    pub compacts: bool,
    /// How often everything is read and checked, in nanoseconds; none: never.
    pub scrub_period_ns: Option<u64>,
    /// The secret of the key hash; lives in the data directory, because scan cursors are positions in hash order.
    pub hash_secret: [u8; 16],
}

/// One core's part of the store.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    hasher: KeyHasher,
    log: Log,
    /// Sorted by id.
    keyspaces: Vec<Keyspace>,
    /// Keyspaces whose removal came before their installation.
    removed_early: BTreeSet<KeyspaceId>,
    /// Dropped tables, freed a slice a turn.
    graveyard: keyspaces::Graveyard,
    expiry: ExpiryQueue,
    batch: Batch,
    overlay: Overlay,
    pipeline: Pipeline,
    waiting: Waiting,
    statistics: Statistics,
    /// Where the key of the request in hand is, if the caller has found that out.
    known_place: Cell<Option<KeyPlace>>,
    /// The frame of the request in hand, if that is a large one: its value is shared, not copied.
    frame: Option<Bytes>,
    compaction: Compaction,
    backup: backup::Backup,
    scrub: scrub::Scrub,
    /// The latest time that the wall clock has shown, or that the log proves: keys were taken away by it.
    wall_max: WallMillis,
    /// During replay: records that expire by then are not kept.
    wall_floor: WallMillis,
    /// The most versions of a partition that are gone with what salvage gave up.
    versions_lost: u64,
    /// Of what was given to clients, what recovery found nothing but stubs to tell of.
    given: Given,
}

/// Why a request was refused, before anything was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) reason: String,
}

impl Refusal {
    fn new(status: Status, reason: impl Into<String>) -> Refusal {
        Refusal {
            status,
            reason: reason.into(),
        }
    }
}

/// Why a request could not be evaluated to its end just now.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stop {
    /// It is refused.
    Refused(Refusal),
    /// It needs these records (position and length) from disk.
    Cold(Vec<(Position, u32)>),
    /// It must see what is being committed first.
    Commit,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl Shard {
    /// An empty shard; recovery fills it.
    #[must_use]
    pub fn new(config: ShardConfig) -> Shard {
        assert!(
            config.memory_bytes > 0 && config.segment_len > 0,
            "a shard has memory and segments"
        );
        Shard {
            hasher: KeyHasher::new(&config.hash_secret),
            log: Log::new(config.identity, config.log_tag, config.segment_len),
            keyspaces: Vec::new(),
            removed_early: BTreeSet::new(),
            graveyard: keyspaces::Graveyard::default(),
            expiry: ExpiryQueue::new(),
            batch: Batch::default(),
            overlay: Overlay::default(),
            pipeline: Pipeline::default(),
            waiting: Waiting::default(),
            statistics: Statistics::new(),
            known_place: Cell::new(None),
            frame: None,
            compaction: Compaction::default(),
            backup: backup::Backup::default(),
            scrub: scrub::Scrub::default(),
            wall_max: WallMillis(0),
            wall_floor: WallMillis(0),
            versions_lost: 0,
            given: Given::default(),
            config,
        }
    }

    /// Whether the shard has room for one more request. A driver that is told no reads nothing more from its
    /// connections and its mesh until a completion has made room.
    #[must_use]
    #[inline]
    pub fn has_room(&self) -> bool {
        !self.batch_is_full() && self.has_room_to_read()
    }

    /// Whether the shard has room for one more request that changes nothing. It may have to wait for a record, or for a commit with a copy of
    /// what it read.
    #[must_use]
    #[inline]
    pub fn has_room_to_read(&self) -> bool {
        self.batch.toil < self.arena_max()
            && self.batch.replies.len() < limits::BATCH_REPLIES_MAX
            && self.waiting.bytes() < limits::WAITING_BYTES_MAX
    }

    /// Whether the batch has as many effects as one block shall hold.
    fn batch_is_full(&self) -> bool {
        self.batch.records_len + self.batch.toil >= self.arena_max()
            || self.batch.effects.len() >= limits::BATCH_EFFECTS_MAX
    }

    fn arena_max(&self) -> usize {
        limits::BATCH_ARENA_MAX.min((self.config.segment_len / 8) as usize)
    }

    /// Evaluates one request on keys of this shard. The answer is given at once, or later by
    /// [`Shard::disk_completed`]; exactly once in either case.
    pub fn execute(
        &mut self,
        now: Now,
        origin: Origin,
        request: &Request<'_>,
        out: &mut impl Replies,
    ) {
        if !self.waiting.is_idle() && self.queued_behind(origin, request) {
            return;
        }
        match self.evaluate(now, origin, request, out) {
            Ok(()) => {}
            Err(Stop::Refused(refusal)) => self.refuse(origin, &refusal, out),
            Err(stop) => self.wait(origin, request, stop),
        }
    }

    /// Which shard of which node it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.config.identity
    }

    /// When writes are acknowledged.
    #[must_use]
    pub fn sync(&self) -> SyncMode {
        self.config.sync
    }

    /// As [`Shard::execute`], of a request on one key whose place is known already: see [`Shard::whereabouts`].
    #[inline]
    pub fn execute_at(
        &mut self,
        now: Now,
        origin: Origin,
        place: KeyPlace,
        request: &Request<'_>,
        out: &mut impl Replies,
    ) {
        let known = self.keyspaces.get(place.keyspace);
        assert!(
            known.is_some_and(|known| known.id() == place.partition.keyspace),
            "a place is used before the keyspaces change"
        );
        if self.waiting.is_idle() {
            self.known_place.set(Some(place));
        }
        self.execute(now, origin, request, out);
        self.known_place.set(None);
    }

    /// As [`Shard::execute`], of a request whose frame (without its length field) is a large one: what the shard keeps of it, it shares.
    pub fn execute_large(
        &mut self,
        now: Now,
        origin: Origin,
        frame: &Bytes,
        request: &Request<'_>,
        out: &mut impl Replies,
    ) {
        self.frame = Some(frame.clone());
        self.execute(now, origin, request, out);
        self.frame = None;
    }

    fn evaluate(
        &mut self,
        now: Now,
        origin: Origin,
        request: &Request<'_>,
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        match request {
            Request::Get { keyspace, key } => {
                self.get(now, origin, KeyspaceId(*keyspace), key, out)
            }
            Request::Exists { keyspace, key } => {
                self.exists(now, origin, KeyspaceId(*keyspace), key, out)
            }
            Request::Ttl { keyspace, key } => {
                self.ttl(now, origin, KeyspaceId(*keyspace), key, out)
            }
            Request::Put { keyspace, put } => {
                self.put(now, origin, KeyspaceId(*keyspace), put, out)
            }
            Request::Delete { keyspace, delete } => {
                self.delete(now, origin, KeyspaceId(*keyspace), delete, out)
            }
            Request::Touch {
                keyspace,
                key,
                ttl_ms,
            } => self.set_expiry(now, origin, KeyspaceId(*keyspace), key, Some(*ttl_ms), out),
            Request::Persist { keyspace, key } => {
                self.set_expiry(now, origin, KeyspaceId(*keyspace), key, None, out)
            }
            Request::Add {
                keyspace,
                key,
                delta,
            } => self.add(now, origin, KeyspaceId(*keyspace), key, *delta, out),
            Request::Append {
                keyspace,
                key,
                suffix,
            } => self.append(now, origin, KeyspaceId(*keyspace), key, suffix, out),
            Request::Overwrite {
                keyspace,
                key,
                offset,
                bytes,
            } => {
                let keyspace = KeyspaceId(*keyspace);
                self.overwrite(now, origin, keyspace, key, *offset, bytes, out)
            }
            Request::AddFloat {
                keyspace,
                key,
                increment,
            } => self.add_float(now, origin, KeyspaceId(*keyspace), key, increment, out),
            Request::Expire {
                keyspace,
                key,
                expiry,
                condition,
                return_value,
            } => {
                let new = NewExpiry {
                    expiry: *expiry,
                    condition: *condition,
                    return_value: *return_value,
                };
                self.expire_key(now, origin, KeyspaceId(*keyspace), key, new, out)
            }
            Request::ExpiresAt { keyspace, key } => {
                self.expires_at(now, origin, KeyspaceId(*keyspace), key, out)
            }
            Request::Move {
                source,
                destination,
                if_absent,
                keep_source,
            } => {
                let relocation = Relocation {
                    source: (KeyspaceId(source.0), source.1),
                    destination: (KeyspaceId(destination.0), destination.1),
                    if_absent: *if_absent,
                    keep_source: *keep_source,
                };
                self.relocate(now, origin, &relocation, out)
            }
            Request::Unit {
                preconditions,
                frames,
            } => self.unit(now, origin, preconditions, frames, out),
            Request::AtomicBatch { keyspace, items } => {
                self.atomic(now, origin, KeyspaceId(*keyspace), items, out)
            }
            _ => Err(Refusal::new(
                Status::Unsupported,
                "this request is not one for a single shard",
            )
            .into()),
        }
    }

    fn refuse(&mut self, origin: Origin, refusal: &Refusal, out: &mut impl Replies) {
        self.statistics.errors += 1;
        out.reply(
            origin,
            &Response {
                status: refusal.status,
                version: 0,
                timestamp_ms: 0,
                body: Body::Error(&refusal.reason),
            },
        );
    }

    /// When the driver should end a turn even if nothing arrives.
    #[must_use]
    pub fn deadline(&self, now: Now) -> Option<MonoNanos> {
        let expiry = self.expiry.next_due().map(|due| {
            let wait_ms = due.0.saturating_sub(now.wall.0);
            MonoNanos(now.mono.0 + wait_ms.saturating_mul(1_000_000).min(3_600_000_000_000))
        });
        let compaction = match self.pipeline.failed.is_some() || self.pipeline.stopping {
            true => None,
            false => [
                self.compaction.deadline(),
                self.background_deadline(),
                self.scrub_deadline(),
            ]
            .into_iter()
            .flatten()
            .min(),
        };
        [expiry, self.pipeline.deadline(self.config.sync), compaction]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether there is slice work left for the next turn.
    #[must_use]
    pub fn has_slices(&self) -> bool {
        // A batch that is full of toil alone is never committed: the next turn empties it.
        let is_idle = self.pipeline.flight.is_none() && self.batch.effects.is_empty();
        self.compaction.has_slice
            || !self.graveyard.is_empty()
            || self.waiting.has_slices()
            || (is_idle && self.batch.toil > 0)
    }

    /// Why writes are refused, if they are.
    #[must_use]
    pub fn writes_refused(&self) -> Option<&str> {
        self.pipeline.refusing()
    }

    /// Whether a write or a sync has failed: no write is ever taken again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.pipeline.failed.is_some()
    }

    /// Whether the log ends with a seal, as after a clean stop.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.pipeline.sealed
    }

    /// How many partitions a keyspace has, if it exists.
    #[must_use]
    #[inline]
    pub fn partitions_of(&self, keyspace: KeyspaceId) -> Option<u16> {
        self.keyspace(keyspace).map(Keyspace::partitions)
    }

    /// How many keys of a keyspace are here, those included that expired and are not taken away yet.
    #[must_use]
    pub fn count(&self, keyspace: KeyspaceId) -> u64 {
        self.keyspace(keyspace).map_or(0, Keyspace::len)
    }

    fn kind_done(&mut self, kind: Kind) {
        self.statistics.immediate(kind);
    }
}
