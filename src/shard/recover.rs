//! From segment files to a shard that can serve: the part of a start that is the same in production and in simulation.
//!
//! Recovery (`storage::recovery`) judges the bytes; what each segment holds becomes sorted records, by reading it or from its summary;
//! the shard's `replay` makes the index of them. The only values that a start needs are those of the system keyspace: they are read from the
//! segments, and if one of them can't be, everything is read, so that what is wrong is found and told as ever.

use std::borrow::Cow;

use super::statistics::StartStatus;
use super::{DEFAULT_KEYSPACE, decode_partitions, keyspace_of_version};
use crate::limits;
use crate::shard::{Shard, ShardConfig};
use crate::storage::format::{Entry, LogTag, Record, RecordAt, RemovedRange, SEGMENT_HEADER_LEN};
use crate::storage::hash::KeyIdentifier;
use crate::storage::log::Log;
use crate::storage::recovery::{
    Damage, Recovered, RecoveredSegment, RecoveryError, Repair, SegmentFile, Visitor, recover_with,
};
use crate::storage::summary::{Body, Builder, Summary, SummaryFile};
use crate::types::{KeyspaceId, Now, PartitionId, Position, SegmentId};

/// A recovered shard and what has to be done before it may write or serve.
#[derive(Debug)]
pub struct RecoveredShard {
    /// The shard, its index complete and its active segment in memory. What more of the log its budget allows it asks for by itself.
    pub shard: Shard,
    /// To be carried out in this order, each file synced, before the first write.
    pub repairs: Vec<Repair>,
    /// What `--salvage` gave up.
    pub damage: Vec<Damage>,
    /// Whether the last stop was a clean one.
    pub clean: bool,
    /// How the shard started.
    pub start: StartStatus,
    /// Segments that were not read, because their summary was good.
    pub summarized: Vec<SegmentId>,
    /// The keyspaces that the shard's log records: all of the node's on shard 0, none on the others.
    pub keyspaces: Vec<StoredKeyspace>,
}

/// A keyspace as the system keyspace records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKeyspace {
    /// Its number.
    pub id: KeyspaceId,
    /// Its name.
    pub name: String,
    /// Its number of partitions.
    pub partitions: u16,
}

/// Why a shard can't be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverShardError {
    /// The log can't be used as it is.
    #[error(transparent)]
    Log(#[from] RecoveryError),
    /// The record of a keyspace makes no sense, though its checksum is right.
    #[error(
        "the record of the keyspace {name:?} can't be read: it was written by another release. Start that one"
    )]
    Keyspace {
        /// The keyspace's name, as far as it can be shown.
        name: String,
    },
    /// There is no memory for the log's tail.
    #[error("no memory for the log's tail: {0}")]
    Memory(std::io::Error),
}

/// Recovers one shard from its segment files and the summaries beside them. `config.log_tag` is used if the log is new. `progress` is told, segment
/// by segment, how many bytes are done.
///
/// # Errors
/// [`RecoverShardError`]; nothing was changed.
pub fn recover_shard(
    config: &ShardConfig,
    now: Now,
    salvage: bool,
    files: &[SegmentFile<'_>],
    summaries: &[SummaryFile<'_>],
    progress: &mut dyn FnMut(u64),
) -> Result<RecoveredShard, RecoverShardError> {
    let start = Start {
        config,
        identifier: KeyIdentifier::new(&config.hash_secret),
        now,
        salvage,
        files,
    };
    let good = start.good_summaries(summaries);
    if let Some(recovered) = start.recover(&good, summaries.len(), progress)? {
        return Ok(recovered);
    }
    let recovered = start.recover(&[], summaries.len(), progress)?;
    Ok(recovered.expect("what was read whole does not have to be read again"))
}

/// What a start goes by.
struct Start<'a> {
    config: &'a ShardConfig,
    identifier: KeyIdentifier,
    now: Now,
    salvage: bool,
    files: &'a [SegmentFile<'a>],
}

impl<'a> Start<'a> {
    /// The summaries that are whole and made under this node's secret.
    fn good_summaries<'s>(&self, summaries: &[SummaryFile<'s>]) -> Vec<Summary<'s>> {
        let good = |file: &SummaryFile<'s>| {
            let summary = Summary::parse(file.bytes).ok()?;
            let is_ours = summary.header.fingerprint == self.identifier.fingerprint()
                && summary.header.segment.segment == file.segment;
            is_ours.then_some(summary)
        };
        summaries.iter().filter_map(good).collect()
    }

    /// `None`: a value that is needed can't be read in a segment that was not gone over.
    fn recover(
        &self,
        summaries: &[Summary<'_>],
        summary_files: usize,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<RecoveredShard>, RecoverShardError> {
        let mut replay = Replay {
            shard: Shard::replaying(self.config.clone(), self.now),
            identifier: self.identifier,
            files: self.files,
            summaries,
            builder: None,
            read: Vec::new(),
            used: Vec::new(),
            has_no_summary: false,
            without_summary: Vec::new(),
            records: 0,
            progress,
        };
        let identity = &self.config.identity;
        let recovered = recover_with(identity, self.salvage, self.files, summaries, &mut replay)?;
        let Replay {
            mut shard,
            read,
            used,
            mut without_summary,
            records,
            ..
        } = replay;
        fill(&mut shard, &read, &used, summaries);
        drop(read);
        let Some(stored) = self.stored_keyspaces(&shard, &recovered.segments, &used) else {
            return Ok(None);
        };
        let keyspaces = stored?;
        self.give_log(&mut shard, &recovered)?;
        // The log goes on in the last one, and of one that salvage found empty there is nothing to say.
        let left = recovered
            .segments
            .split_last()
            .map_or(&[][..], |(_, left)| left);
        let has_content = |id: &SegmentId| {
            let mut left = left.iter();
            left.any(|segment| segment.id == *id && segment.base < segment.end)
        };
        without_summary.retain(has_content);
        shard.recovered_behind(without_summary);
        let start = StartStatus {
            segments: recovered.segments.len() as u64,
            from_saved_indexes: used.len() as u64,
            bad_saved_indexes: summary_files.saturating_sub(used.len()) as u64,
            records,
        };
        shard.started(start);
        Ok(Some(RecoveredShard {
            shard,
            repairs: recovered.repairs,
            damage: recovered.damage,
            clean: recovered.clean,
            start,
            summarized: used.into_iter().map(|(segment, _)| segment).collect(),
            keyspaces,
        }))
    }

    /// The log, with its active segment in memory.
    fn give_log(&self, shard: &mut Shard, recovered: &Recovered) -> Result<(), RecoverShardError> {
        let config = self.config;
        let tag: LogTag = recovered.log.unwrap_or(config.log_tag);
        let ledger = shard.log_mut().take_ledger();
        let log = Log::recovered(config.identity, tag, config.segment_len, recovered, ledger);
        shard.recovered(log, recovered.timestamp_max);
        let Some(active) = recovered.segments.last() else {
            return Ok(());
        };
        let len = (active.end.0 - active.base.0) as usize;
        let there = self.content(active.id);
        let content = match there.get(..len) {
            Some(content) => Cow::Borrowed(content),
            // The file was cut off, or is missing. What was there was given up, and the repairs fill it with zeros.
            None => {
                let mut padded = there.to_vec();
                padded.resize(len, 0);
                Cow::Owned(padded)
            }
        };
        let loaded = shard.log_mut().load(active.id, &content, config.large_len);
        loaded.map_err(RecoverShardError::Memory)
    }

    /// The bytes of a segment's file that hold log, if there is such a file.
    fn content(&self, segment: SegmentId) -> &'a [u8] {
        let file = self.files.iter().find(|file| file.id == segment);
        let bytes = file.map_or(&[][..], |file| file.bytes);
        bytes.get(SEGMENT_HEADER_LEN..).unwrap_or_default()
    }

    /// The keyspaces that the log records; `None` if a record of one can't be read in a segment that was not gone over.
    fn stored_keyspaces(
        &self,
        shard: &Shard,
        segments: &[RecoveredSegment],
        used: &[(SegmentId, usize)],
    ) -> Option<Result<Vec<StoredKeyspace>, RecoverShardError>> {
        let mut keyspaces = Vec::new();
        for position in shard.system_records() {
            let at = segments.partition_point(|segment| segment.base <= position) - 1;
            let segment = segments[at];
            let bytes = self
                .content(segment.id)
                .get((position.0 - segment.base.0) as usize..);
            let bytes = bytes.unwrap_or_default();
            let record = match used.iter().any(|(used, _)| *used == segment.id) {
                true => Record::check(bytes, position).ok()?,
                false => Record::parse(bytes)
                    .expect("recovery showed this record when it had checked it"),
            };
            keyspaces.push(stored_keyspace(&record));
        }
        Some(keyspaces.into_iter().collect())
    }
}

/// Makes the index of what was read and of the summaries that were used.
fn fill(
    shard: &mut Shard,
    read: &[(Position, Vec<u8>)],
    used: &[(SegmentId, usize)],
    summaries: &[Summary<'_>],
) {
    let read: Vec<(Position, Body<'_>)> = read
        .iter()
        .map(|(base, bytes)| {
            let body = Body::parse(bytes).expect("what was made just now makes sense");
            (*base, body)
        })
        .collect();
    let read = read.iter().map(|(base, body)| (*base, body));
    let used = used.iter().map(|(_, number)| {
        let summary = &summaries[*number];
        (summary.header.base, &summary.body)
    });
    shard.replay_records(used.chain(read));
}

fn stored_keyspace(record: &Record<'_>) -> Result<StoredKeyspace, RecoverShardError> {
    let name = std::str::from_utf8(record.key);
    match (name, decode_partitions(record.value)) {
        (Ok(name), Some(partitions)) => Ok(StoredKeyspace {
            id: keyspace_of_version(record.version.0),
            name: name.to_owned(),
            partitions,
        }),
        _ => Err(RecoverShardError::Keyspace {
            name: String::from_utf8_lossy(record.key).into_owned(),
        }),
    }
}

/// Tells a recovered shard which keyspaces the node has: the two that always exist, and those that shard 0's log records. What
/// the shard holds of any other is let go: a drop that a crash interrupted.
pub fn install_keyspaces(shard: &mut Shard, stored: &[StoredKeyspace]) {
    shard.install(KeyspaceId::SYSTEM, 1, SYSTEM_KEYSPACE);
    shard.install(
        KeyspaceId::DEFAULT,
        limits::PARTITIONS_DEFAULT,
        DEFAULT_KEYSPACE,
    );
    for keyspace in stored {
        shard.install(keyspace.id, keyspace.partitions, &keyspace.name);
    }
    shard.drop_unknown();
}

const SYSTEM_KEYSPACE: &str = "system";

struct Replay<'a, 'b> {
    shard: Shard,
    identifier: KeyIdentifier,
    files: &'a [SegmentFile<'a>],
    summaries: &'a [Summary<'a>],
    /// Of the segment in hand, once an entry was found in it.
    builder: Option<Builder>,
    /// What was made of the segments that were read, and where their positions count from.
    read: Vec<(Position, Vec<u8>)>,
    /// Which segments were not, and the numbers of their summaries.
    used: Vec<(SegmentId, usize)>,
    /// Salvage gave up something in the segment in hand, or only a stub is left of it.
    has_no_summary: bool,
    /// Segments that were read and can have a summary.
    without_summary: Vec<SegmentId>,
    records: u64,
    progress: &'b mut dyn FnMut(u64),
}

impl Replay<'_, '_> {
    /// Tells the shard what was found so far of the versions in the segment in hand.
    fn tell_partitions(&mut self) {
        for group in self.builder.iter().flat_map(Builder::gathered) {
            self.shard
                .replay_partition(group.partition, group.version_max, group.entry_max);
        }
    }
}

impl Visitor for Replay<'_, '_> {
    fn entry(&mut self, entry: &Entry<'_>) {
        let identifier = self.identifier;
        let builder = &mut self.builder;
        builder
            .get_or_insert_with(|| Builder::new(identifier, entry.position))
            .entry(&entry.header);
    }

    fn record(&mut self, partition: PartitionId, record: &RecordAt<'_>) {
        self.records += 1;
        self.builder
            .as_mut()
            .expect("a record is in an entry")
            .record(partition, record);
    }

    fn segment_begin(&mut self, base: Position) {
        self.shard.replay_segment(base);
    }

    fn removed(&mut self, range: &RemovedRange) {
        self.has_no_summary = true;
        self.shard.replay_removed(range);
    }

    fn given_up(&mut self, bytes: u64) {
        self.has_no_summary = true;
        self.tell_partitions();
        self.shard.replay_given_up(bytes);
    }

    fn summarized(&mut self, segment: SegmentId, summary: usize) {
        let body = &self.summaries[summary].body;
        for group in body.groups() {
            self.shard
                .replay_partition(group.partition, group.version_max, group.entry_max);
        }
        self.records += body.len();
        self.used.push((segment, summary));
    }

    fn segment_end(&mut self, segment: SegmentId) {
        self.tell_partitions();
        if let Some(builder) = self.builder.take() {
            self.read.push((builder.base(), builder.finish()));
        }
        let is_used = self.used.last().is_some_and(|(used, _)| *used == segment);
        if !std::mem::take(&mut self.has_no_summary) && !is_used {
            self.without_summary.push(segment);
        }
        let file = self.files.iter().find(|file| file.id == segment);
        (self.progress)(file.map_or(0, |file| file.bytes.len()) as u64);
    }
}
