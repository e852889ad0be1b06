//! What a shard counts and measures, for `status`.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Shard;
use super::scrub::ScrubStatus;

/// Kinds of requests that are counted apart. Those on single keys count on the shard that owns the key; those that concern several shards, and those
/// that need none, on the shard whose connection they came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the request of the same name")]
pub enum Kind {
    Get,
    Exists,
    Ttl,
    Put,
    Delete,
    Touch,
    Persist,
    Add,
    Append,
    Overwrite,
    AddFloat,
    Expire,
    ExpiresAt,
    Atomic,
    Move,
    Unit,
    Flush,
    Batch,
    Scan,
    Count,
    KeyspaceCreate,
    KeyspaceDrop,
    KeyspaceList,
    KeyspaceOpen,
    Status,
    Compact,
    Backup,
    Ping,
    Hello,
    /// A shard's part of a request that is counted where it came in, or nothing that a client asked for: not shown.
    Part,
}

impl Kind {
    /// Those that are shown.
    const ALL: [Kind; 29] = [
        Kind::Get,
        Kind::Exists,
        Kind::Ttl,
        Kind::Put,
        Kind::Delete,
        Kind::Touch,
        Kind::Persist,
        Kind::Add,
        Kind::Append,
        Kind::Overwrite,
        Kind::AddFloat,
        Kind::Expire,
        Kind::ExpiresAt,
        Kind::Atomic,
        Kind::Move,
        Kind::Unit,
        Kind::Flush,
        Kind::Batch,
        Kind::Scan,
        Kind::Count,
        Kind::KeyspaceCreate,
        Kind::KeyspaceDrop,
        Kind::KeyspaceList,
        Kind::KeyspaceOpen,
        Kind::Status,
        Kind::Compact,
        Kind::Backup,
        Kind::Ping,
        Kind::Hello,
    ];

    const COUNT: usize = Kind::Part as usize + 1;

    fn name(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Exists => "exists",
            Kind::Ttl => "ttl",
            Kind::Put => "put",
            Kind::Delete => "delete",
            Kind::Touch => "touch",
            Kind::Persist => "persist",
            Kind::Add => "add",
            Kind::Append => "append",
            Kind::Overwrite => "overwrite",
            Kind::AddFloat => "add_float",
            Kind::Expire => "expire",
            Kind::ExpiresAt => "expires_at",
            Kind::Atomic => "atomic",
            Kind::Move => "move",
            Kind::Unit => "unit",
            Kind::Flush => "flush",
            Kind::Batch => "batch",
            Kind::Scan => "scan",
            Kind::Count => "count",
            Kind::KeyspaceCreate => "keyspace_create",
            Kind::KeyspaceDrop => "keyspace_drop",
            Kind::KeyspaceList => "keyspace_list",
            Kind::KeyspaceOpen => "keyspace_open",
            Kind::Status => "status",
            Kind::Compact => "compact",
            Kind::Backup => "backup",
            Kind::Ping => "ping",
            Kind::Hello => "hello",
            Kind::Part => "part",
        }
    }
}

/// Longest latency that is told apart, in microseconds: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

#[derive(Debug)]
struct KindStatistics {
    requests: u64,
    latency_us: Histogram<u64>,
}

/// A shard's counters.
#[derive(Debug)]
pub(super) struct Statistics {
    kinds: Vec<KindStatistics>,
    /// By kind, answered in this turn at once; their latency is known when the turn ends. Apart, because every turn's end goes through them.
    this_turn: [u64; Kind::COUNT],
    pub(super) errors: u64,
    pub(super) expired: u64,
    pub(super) damaged_reads: u64,
    pub(super) blocks: u64,
    pub(super) block_bytes: u64,
    pub(super) prepare_failures: u64,
    pub(super) summaries_saved: u64,
    pub(super) summary_failures: u64,
    pub(super) load_failures: u64,
    pub(super) start: StartStatus,
    pub(super) last_prepare_error: Option<String>,
    turn_us: Histogram<u64>,
}

impl Statistics {
    pub(super) fn new() -> Statistics {
        let kind = || KindStatistics {
            requests: 0,
            latency_us: Histogram::new_with_max(LATENCY_US_MAX, 2)
                .expect("the bounds are constants that fit"),
        };
        Statistics {
            kinds: (0..Kind::COUNT).map(|_| kind()).collect(),
            this_turn: [0; Kind::COUNT],
            errors: 0,
            expired: 0,
            damaged_reads: 0,
            blocks: 0,
            block_bytes: 0,
            prepare_failures: 0,
            summaries_saved: 0,
            summary_failures: 0,
            load_failures: 0,
            start: StartStatus::default(),
            last_prepare_error: None,
            turn_us: Histogram::new_with_max(LATENCY_US_MAX, 2)
                .expect("the bounds are constants that fit"),
        }
    }

    /// A request was answered at once, in this turn.
    #[inline]
    pub(super) fn immediate(&mut self, kind: Kind) {
        self.this_turn[kind as usize] += 1;
    }

    /// A request was answered that took this long.
    pub(super) fn finished(&mut self, kind: Kind, nanos: u64) {
        self.finished_many(kind, nanos, 1);
    }

    /// So many requests of a kind were answered that took this long each.
    #[inline]
    pub(super) fn finished_many(&mut self, kind: Kind, nanos: u64, requests: u64) {
        let kind = &mut self.kinds[kind as usize];
        kind.requests += requests;
        kind.latency_us
            .saturating_record_n((nanos / 1000).max(1), requests);
    }

    /// The turn that began `nanos` ago ends: so long did its immediate answers take at most.
    pub(super) fn turn_ended(&mut self, nanos: u64) {
        for (kind, this_turn) in self.kinds.iter_mut().zip(&mut self.this_turn) {
            if *this_turn > 0 {
                kind.requests += *this_turn;
                kind.latency_us
                    .saturating_record_n((nanos / 1000).max(1), *this_turn);
                *this_turn = 0;
            }
        }
    }
}

/// How long turns held the core up, in microseconds: nothing else runs on it meanwhile.
#[derive(Clone, Debug, Serialize)]
pub struct TurnStatus {
    /// Turns since the start.
    pub turns: u64,
    /// Percentiles and the largest.
    pub us_p50: u64,
    /// See above.
    pub us_p99: u64,
    /// See above.
    pub us_p999: u64,
    /// See above.
    pub us_max: u64,
}

/// Latency of one kind of request, from its arrival to its answer, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct KindStatus {
    /// The request.
    pub kind: &'static str,
    /// How many were answered since the start.
    pub requests: u64,
    /// Percentiles and the largest.
    pub latency_us_p50: u64,
    /// See above.
    pub latency_us_p90: u64,
    /// See above.
    pub latency_us_p99: u64,
    /// See above.
    pub latency_us_p999: u64,
    /// See above.
    pub latency_us_max: u64,
}

/// Keys of one keyspace on a shard.
#[derive(Clone, Debug, Serialize)]
pub struct KeyspaceStatus {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Keys of it on this shard.
    pub keys: u64,
}

/// How a shard started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StartStatus {
    /// Segments with data that there were.
    pub segments: u64,
    /// Of those, how many were not read because their saved index was good.
    pub from_saved_indexes: u64,
    /// Saved indexes that were damaged, or did not fit their segment.
    pub bad_saved_indexes: u64,
    /// Records that went into the index, or were superseded by others.
    pub records: u64,
}

/// One shard's figures. The field names are those of the JSON that `status` answers.
#[derive(Clone, Debug, Serialize)]
pub struct ShardStatus {
    /// Which shard.
    pub shard: u16,
    /// Keys of all keyspaces.
    pub keys: u64,
    /// The same, keyspace by keyspace.
    pub keyspaces: Vec<KeyspaceStatus>,
    /// Bytes of records that are the newest of their key.
    pub live_bytes: u64,
    /// Bytes of the log that nothing points at.
    pub dead_bytes: u64,
    /// Segment files with data.
    pub segments: u64,
    /// Files that stand for segments which were removed, 4 KiB each.
    pub stubs: u64,
    /// Bytes of records that compaction has logged again since the start: they are part of `block_bytes`.
    pub copied_bytes: u64,
    /// Bytes of files that it has given back since the start.
    pub reclaimed_bytes: u64,
    /// Segments that it has removed since the start.
    pub segments_removed: u64,
    /// The segment that it is at.
    pub compacting: Option<u64>,
    /// Segments that it can't read or remove, and leaves alone until the next start.
    pub segments_left_alone: u64,
    /// Why it gave up the last of them.
    pub compaction_error: Option<String>,
    /// What the background scrub has done and found.
    pub scrub: ScrubStatus,
    /// Memory of the log's tail.
    pub tail_bytes: u64,
    /// Memory of the index.
    pub index_bytes: u64,
    /// Entries of the expiry queue, 28 bytes each.
    pub expiry_entries: u64,
    /// Where the log ends.
    pub log_end: u64,
    /// Blocks written since the start: with `sync always`, fdatasyncs too.
    pub blocks: u64,
    /// Bytes of them.
    pub block_bytes: u64,
    /// Keys taken away because they expired.
    pub expired: u64,
    /// Requests, and operations of batches, that were refused or failed.
    pub errors: u64,
    /// Records read from disk.
    pub cold_reads: u64,
    /// Of those, how many failed their check or their read.
    pub damaged_reads: u64,
    /// Preparations of a segment that failed.
    pub prepare_failures: u64,
    /// Saved indexes of segments that were written.
    pub saved_indexes: u64,
    /// How many could not be.
    pub saved_index_failures: u64,
    /// Segments that could not be taken back into memory after the start.
    pub load_failures: u64,
    /// Older segments are still being taken back into memory.
    pub is_warming: bool,
    /// How the shard started.
    pub start: StartStatus,
    /// Why writes are refused, if they are.
    pub writes_refused: Option<String>,
    /// Replies that wait for the block in flight.
    pub queue_in_flight: usize,
    /// Replies that wait for the next block.
    pub queue_staged: usize,
    /// Requests that wait for a cold record.
    pub queue_waiting: usize,
    /// How long turns took.
    pub turns: TurnStatus,
    /// Requests by kind.
    pub requests: Vec<KindStatus>,
}

impl Shard {
    /// The shard's figures as of now.
    #[must_use]
    pub fn status(&self) -> ShardStatus {
        let log = self.log.statistics();
        let keyspaces: Vec<KeyspaceStatus> = self
            .keyspaces()
            .map(|keyspace| KeyspaceStatus {
                id: keyspace.id().0,
                name: keyspace.name().to_owned(),
                keys: keyspace.len(),
            })
            .collect();
        ShardStatus {
            shard: self.config.identity.shard.0,
            keys: keyspaces.iter().map(|keyspace| keyspace.keys).sum(),
            keyspaces,
            live_bytes: log.live_bytes,
            dead_bytes: log.dead_bytes,
            segments: log.segments,
            stubs: log.stubs,
            copied_bytes: self.compaction.copied_bytes,
            reclaimed_bytes: self.compaction.reclaimed_bytes,
            segments_removed: self.compaction.segments_removed,
            compacting: self.compaction.victim().map(|segment| segment.0),
            segments_left_alone: self.compaction.left_alone(),
            compaction_error: self.compaction.last_error.clone(),
            scrub: self.scrub.status(),
            tail_bytes: log.tail_bytes,
            index_bytes: self
                .keyspaces
                .iter()
                .map(super::Keyspace::memory_bytes)
                .sum(),
            expiry_entries: self.expiry.len() as u64,
            log_end: self.log.end().0,
            blocks: self.statistics.blocks,
            block_bytes: self.statistics.block_bytes,
            expired: self.statistics.expired,
            errors: self.statistics.errors,
            cold_reads: self.waiting.cold_reads(),
            damaged_reads: self.statistics.damaged_reads,
            prepare_failures: self.statistics.prepare_failures,
            saved_indexes: self.statistics.summaries_saved,
            saved_index_failures: self.statistics.summary_failures,
            load_failures: self.statistics.load_failures,
            is_warming: self.pipeline.warming,
            start: self.statistics.start,
            writes_refused: self.writes_refused().map(str::to_owned),
            queue_in_flight: self.pipeline.replies_in_flight(),
            queue_staged: self.batch.replies.len(),
            queue_waiting: self.waiting.requests(),
            turns: self.turn_status(),
            requests: Kind::ALL
                .iter()
                .map(|&kind| self.kind_status(kind))
                .collect(),
        }
    }

    /// The driver has answered a request of this kind at once.
    #[inline]
    pub fn answered_at_once(&mut self, kind: Kind) {
        self.statistics.immediate(kind);
    }

    /// The driver has answered a request of this kind, after so long.
    pub fn answered_after(&mut self, kind: Kind, nanos: u64) {
        self.statistics.finished(kind, nanos);
    }

    /// The driver has refused so many requests before they came to a shard.
    pub fn refused_outside(&mut self, requests: u64) {
        self.statistics.errors += requests;
    }

    /// A turn held the core up for so long.
    #[inline]
    pub fn turn_took(&mut self, nanos: u64) {
        self.statistics
            .turn_us
            .saturating_record((nanos / 1000).max(1));
    }

    fn turn_status(&self) -> TurnStatus {
        let turn_us = &self.statistics.turn_us;
        TurnStatus {
            turns: turn_us.len(),
            us_p50: turn_us.value_at_quantile(0.5),
            us_p99: turn_us.value_at_quantile(0.99),
            us_p999: turn_us.value_at_quantile(0.999),
            us_max: turn_us.max(),
        }
    }

    fn kind_status(&self, kind: Kind) -> KindStatus {
        let statistics = &self.statistics.kinds[kind as usize];
        let at = |quantile| statistics.latency_us.value_at_quantile(quantile);
        KindStatus {
            kind: kind.name(),
            requests: statistics.requests + self.statistics.this_turn[kind as usize],
            latency_us_p50: at(0.5),
            latency_us_p90: at(0.9),
            latency_us_p99: at(0.99),
            latency_us_p999: at(0.999),
            latency_us_max: statistics.latency_us.max(),
        }
    }
}
