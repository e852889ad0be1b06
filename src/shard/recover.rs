//! From segment files to a shard that can serve: the part of a start that is the same in production and in simulation.
//!
//! Recovery (`storage::recovery`) judges the bytes; the shard's `replay` fills the index. In between stands the question what an
//! earlier record holds, which replay asks to tell an overwrite from another key of the same hash: it is answered from the
//! mapped files.

use std::borrow::Cow;

use super::{DEFAULT_KEYSPACE, decode_partitions, keyspace_of_version};
use crate::limits;
use crate::shard::{Earlier, Shard, ShardConfig};
use crate::storage::format::{
    ENTRY_HEADER_LEN, Entry, LogTag, Record, RecordAt, SEGMENT_HEADER_LEN,
};
use crate::storage::log::Log;
use crate::storage::recovery::{Damage, RecoveryError, Repair, SegmentFile, Visitor, recover};
use crate::types::{KeyspaceId, Now, PartitionId, Position, SegmentId, Version};

/// A recovered shard and what has to be done before it may write or serve.
#[derive(Debug)]
pub struct RecoveredShard {
    /// The shard, its index complete and as much of the log in memory as its budget allows.
    pub shard: Shard,
    /// To be carried out in this order, each file synced, before the first write.
    pub repairs: Vec<Repair>,
    /// What `--salvage` gave up.
    pub damage: Vec<Damage>,
    /// Whether the last stop was a clean one.
    pub clean: bool,
    /// Records replayed.
    pub records: u64,
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

/// Recovers one shard from its segment files. `config.log_tag` is used if the log is new. `progress` is told, segment by
/// segment, how many bytes are done.
///
/// # Errors
/// [`RecoverShardError`]; nothing was changed.
pub fn recover_shard(
    config: &ShardConfig,
    now: Now,
    salvage: bool,
    files: &[SegmentFile<'_>],
    progress: &mut dyn FnMut(u64),
) -> Result<RecoveredShard, RecoverShardError> {
    let mut replay = Replay {
        shard: Shard::replaying(config.clone(), now),
        earlier: Mapped {
            files,
            bases: Vec::new(),
        },
        records: 0,
        progress,
    };
    let recovered = recover(&config.identity, salvage, files, &mut replay)?;
    let Replay {
        mut shard,
        earlier,
        records,
        ..
    } = replay;
    let keyspaces = stored_keyspaces(&shard.system_records(&earlier))?;
    let tag: LogTag = recovered.log.unwrap_or(config.log_tag);
    let log = Log::recovered(
        config.identity,
        tag,
        config.segment_len,
        &recovered.segments,
        recovered.next_sequence,
    );
    shard.recovered(log, recovered.timestamp_max);
    let budget = shard.tail_budget();
    for (number, segment) in recovered.segments.iter().rev().enumerate() {
        if number > 0 && shard.log_mut().tail_bytes() + segment.len > budget {
            break;
        }
        let file = earlier.files.iter().find(|file| file.id == segment.id);
        let len = (segment.end.0 - segment.base.0) as usize;
        // Salvage makes up for a file that is missing.
        let bytes = file.map_or(&[][..], |file| file.bytes);
        let there = bytes.get(SEGMENT_HEADER_LEN..).unwrap_or_default();
        let content = match there.get(..len) {
            Some(content) => Cow::Borrowed(content),
            // The file was cut off. What is missing was given up, and the repairs fill it with zeros.
            None => {
                let mut padded = there.to_vec();
                padded.resize(len, 0);
                Cow::Owned(padded)
            }
        };
        shard
            .log_mut()
            .load(segment.id, &content, config.large_len)
            .map_err(RecoverShardError::Memory)?;
    }
    Ok(RecoveredShard {
        shard,
        repairs: recovered.repairs,
        damage: recovered.damage,
        clean: recovered.clean,
        records,
        keyspaces,
    })
}

fn stored_keyspaces(
    records: &[(Vec<u8>, Vec<u8>, Version)],
) -> Result<Vec<StoredKeyspace>, RecoverShardError> {
    let stored = |(key, value, version): &(Vec<u8>, Vec<u8>, Version)| {
        let name = String::from_utf8(key.clone());
        match (name, decode_partitions(value)) {
            (Ok(name), Some(partitions)) => Ok(StoredKeyspace {
                id: keyspace_of_version(version.0),
                name,
                partitions,
            }),
            _ => Err(RecoverShardError::Keyspace {
                name: String::from_utf8_lossy(key).into_owned(),
            }),
        }
    };
    records.iter().map(stored).collect()
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
    earlier: Mapped<'a>,
    records: u64,
    progress: &'b mut dyn FnMut(u64),
}

impl Visitor for Replay<'_, '_> {
    fn entry(&mut self, entry: &Entry<'_>) {
        self.earlier.saw(entry);
        self.shard.replay_entry(&entry.header);
    }

    fn record(&mut self, partition: PartitionId, record: &RecordAt<'_>) {
        self.records += 1;
        self.shard.replay(
            partition,
            record.position,
            record.len,
            &record.record,
            &self.earlier,
        );
    }

    fn given_up(&mut self, bytes: u64) {
        self.shard.replay_given_up(bytes);
    }

    fn segment_end(&mut self, segment: SegmentId) {
        let len = self
            .earlier
            .files
            .iter()
            .find(|file| file.id == segment)
            .map_or(0, |file| file.bytes.len());
        (self.progress)(len as u64);
    }
}

/// The mapped files, and at which position the content of each that was visited begins.
struct Mapped<'a> {
    files: &'a [SegmentFile<'a>],
    /// Ascending; the second number is an index into `files`.
    bases: Vec<(Position, usize)>,
}

impl Mapped<'_> {
    /// Learns a segment's base from the first of its entries: recovery may have reconstructed it, so no header is asked.
    fn saw(&mut self, entry: &Entry<'_>) {
        let inside =
            |file: &SegmentFile<'_>| file.bytes.as_ptr_range().contains(&entry.records.as_ptr());
        if self
            .bases
            .last()
            .is_some_and(|&(_, at)| inside(&self.files[at]))
            || entry.records.is_empty()
        {
            return;
        }
        let at = self
            .files
            .iter()
            .position(inside)
            .expect("an entry lies in one of the files");
        let offset = entry.records.as_ptr() as usize - self.files[at].bytes.as_ptr() as usize;
        let in_segment = (offset - SEGMENT_HEADER_LEN - ENTRY_HEADER_LEN) as u64;
        self.bases
            .push((Position(entry.position.0 - in_segment), at));
    }
}

impl Earlier for Mapped<'_> {
    fn record_at(&self, position: Position) -> Record<'_> {
        let at = self.bases.partition_point(|&(base, _)| base <= position) - 1;
        let (base, file) = self.bases[at];
        let offset = SEGMENT_HEADER_LEN + (position.0 - base.0) as usize;
        Record::parse(&self.files[file].bytes[offset..])
            .expect("recovery showed this record when it had checked it")
    }
}
