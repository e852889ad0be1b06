//! Moving a node's data to another number of shards: the part that is the same in production and in simulation.
//!
//! A node that was written with N shards and is to run with M has an **old generation** of N logs and makes a **new** one of M. Nothing is served
//! meanwhile, and no old log is written to but for taking segments away. `docs/on-disk-format.md` argues every crash; in short:
//!
//! 1. The old logs are recovered as for any start, repaired and synced.
//! 2. [`make`] makes the new logs, each with the highest versions that were ever given in its first file. Then whoever calls notes durably that the
//!    move is **begun**. Before that nothing has happened; from then on it is finished at each start, with this M, whatever number is asked for.
//! 3. The new logs are recovered too: after a crash there is something in them.
//! 4. [`Move::run`] goes through the old logs, oldest segment first. A record that the old index points at is written to the log of the shard that
//!    owns its partition now, as it is: version, expiry, timestamp. When all of a segment's are **synced** there, the segment is replaced by a stub.
//!    So a record is in the old generation or durably in the new one, and there are never more than a segment's records in both.
//! 5. When all is moved, the new logs are sealed and the caller notes durably that the new generation is the node's. That is one rename. Then the old one goes.
//!
//! **Nothing that was deleted comes back.** Only records that the index points at are written, and in an old log everything that hides a record lies
//! behind it. Segments go in the log's order, so what is left of an old log is its end: with each record that is left, all that hides it is left too.
//! A move that was cut short therefore comes to the same judgement about every record that is left.
//!
//! **No version is given again.** The new logs' stubs tell the highest of all partitions, as those of compaction do.
//!
//! **Nothing is moved twice** but what a crash left in both generations: a record that a new log's index knows is not written again. So crashes in a row
//! don't fill the disk.
//!
//! The calls in order: [`make`] (unless the move is begun already), [`keyspaces`], [`Move::new`], [`Move::run`].

mod new_log;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::Shard;
use super::keyspaces::Keyspace;
use super::recover::{RecoveredShard, StoredKeyspace, install_keyspaces};
use crate::storage::content::{Step, Walk};
use crate::storage::format::BLOCK_HEADER_LEN;
use crate::storage::format::{
    Entries, Given, LogTag, Record, RecordAt, RecordKind, SEGMENT_HEADER_LEN,
};
use crate::storage::recovery::{Fault, Identity, RecoveredSegment};
use crate::types::{
    PartitionId, Position, SegmentId, ShardId, Version, WallMillis, shard_of_partition,
};
use new_log::NewLog;

/// One of the two generations of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What is moved away from.
    Old,
    /// What is moved to.
    New,
}

/// The segment files of both generations. Each call has its whole effect before the next one is made.
pub trait MoveFiles {
    /// Why something can't be done. The move ends with it, and can be taken up again.
    type Error;
    /// A file's content.
    type Bytes: AsRef<[u8]>;

    /// A segment's file.
    ///
    /// # Errors
    /// [`MoveFiles::Error`].
    fn read(
        &mut self,
        side: Side,
        shard: ShardId,
        segment: SegmentId,
    ) -> Result<Self::Bytes, Self::Error>;

    /// Makes a file of the new generation that begins with `header` and is zeros up to `len` bytes; syncs it and its directory.
    ///
    /// # Errors
    /// [`MoveFiles::Error`]; what is left of the file has not begun.
    fn prepare(
        &mut self,
        shard: ShardId,
        segment: SegmentId,
        len: u64,
        header: &[u8],
    ) -> Result<(), Self::Error>;

    /// Writes to a file of the new generation.
    ///
    /// # Errors
    /// [`MoveFiles::Error`].
    fn write(
        &mut self,
        shard: ShardId,
        segment: SegmentId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Self::Error>;

    /// Syncs these files of the new generation.
    ///
    /// # Errors
    /// [`MoveFiles::Error`].
    fn sync(&mut self, segments: &[(ShardId, SegmentId)]) -> Result<(), Self::Error>;

    /// Takes segments of the old generation away, as [`DiskOperation::Remove`](crate::storage::disk::DiskOperation::Remove) does.
    ///
    /// # Errors
    /// [`MoveFiles::Error`].
    fn remove(
        &mut self,
        shard: ShardId,
        stub: SegmentId,
        header: &[u8],
        delete: &[SegmentId],
    ) -> Result<(), Self::Error>;
}

/// Why a move can't go on. It can be taken up again.
#[derive(Debug, PartialEq, Eq)]
pub enum MoveError<E> {
    /// Something can't be done with a file.
    Files(E),
    /// A segment of the old generation is not what recovery found.
    Damaged {
        /// The shard.
        shard: ShardId,
        /// The segment.
        segment: SegmentId,
        /// Where in its file, in bytes.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
}

impl<E> From<E> for MoveError<E> {
    fn from(error: E) -> MoveError<E> {
        MoveError::Files(error)
    }
}

/// What a move did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Records that were written to new logs.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that an earlier attempt had written already.
    pub already_there: u64,
    /// Segments that were taken away.
    pub segments: u64,
}

/// The highest numbers that a recovered shard has given.
fn given(shard: &Shard) -> Given {
    let given = shard.keyspaces.iter().map(Keyspace::given);
    // What salvage gave up counts for keyspaces too of which nothing else is left.
    let lost = |highest: Version| Version(highest.0 + shard.versions_lost);
    let so_far = Given {
        versions: lost(shard.given.versions),
        system_versions: lost(shard.given.system_versions),
        entries: shard.given.entries,
    };
    given.fold(so_far, Given::max)
}

/// The node's keyspaces. During a move some of them may be recorded in the old generation and some in the new one.
#[must_use]
pub fn keyspaces(old: &[RecoveredShard], new: &[RecoveredShard]) -> Vec<StoredKeyspace> {
    let all = old.iter().chain(new).flat_map(|shard| &shard.keyspaces);
    let by_number: BTreeMap<_, _> = all.map(|keyspace| (keyspace.id, keyspace)).collect();
    by_number.into_values().cloned().collect()
}

/// Makes new logs, each of which has none of its files, empty but for what the old ones tell of versions. The new generation has `shard_count`.
///
/// # Errors
/// [`MoveFiles::Error`]; nothing has happened to the old generation.
pub fn make<F: MoveFiles>(
    files: &mut F,
    old: &[RecoveredShard],
    logs: impl Iterator<Item = (ShardId, LogTag)>,
    shard_count: u16,
    segment_len: u64,
) -> Result<(), F::Error> {
    let given = old.iter().map(|old| given(&old.shard));
    let given = given.fold(Given::default(), Given::max);
    let created = time(old);
    for (shard, tag) in logs {
        let identity = Identity {
            node: old[0].shard.config.identity.node,
            shard,
            shard_count,
        };
        new_log::make(files, identity, tag, segment_len, given, created)?;
    }
    Ok(())
}

/// The new logs of which nothing is left, when salvage has given them up. They are to be made again.
pub fn lost(new: &[RecoveredShard]) -> impl Iterator<Item = ShardId> {
    let lost = new.iter().filter(|new| new.shard.log.active().is_none());
    lost.map(|new| new.shard.config.identity.shard)
}

/// The latest time that any of the logs proves, or that it is now.
fn time(shards: &[RecoveredShard]) -> WallMillis {
    let times = shards.iter().map(|recovered| recovered.shard.wall_max);
    times.max().unwrap_or_default()
}

impl Shard {
    /// The longest file of its log's segments, in bytes.
    #[must_use]
    pub fn longest_segment(&self) -> u64 {
        let lengths = self.log.segments().map(|segment| segment.len);
        lengths.max().unwrap_or_default()
    }
}

/// A move that is begun.
#[derive(Debug)]
pub struct Move {
    old: Vec<Shard>,
    new: Vec<Target>,
    created: WallMillis,
    moved: Moved,
}

/// One of the logs that data moves to.
#[derive(Debug)]
struct Target {
    log: NewLog,
    /// As it was recovered: what an earlier attempt wrote.
    held: Shard,
}

impl Move {
    /// Both generations, recovered, repaired and synced. `keyspaces` are the node's. New segments get `segment_len` bytes.
    ///
    /// # Panics
    /// If a new log has no segment: [`make`] makes one.
    #[must_use]
    pub fn new(
        old: Vec<RecoveredShard>,
        new: Vec<RecoveredShard>,
        keyspaces: &[StoredKeyspace],
        segment_len: u64,
    ) -> Move {
        let written = time(&old).max(time(&new));
        let install = |recovered: RecoveredShard| {
            let mut shard = recovered.shard;
            install_keyspaces(&mut shard, keyspaces);
            shard
        };
        let target = |held: Shard| Target {
            log: NewLog::go_on(&held, segment_len, written),
            held,
        };
        Move {
            old: old.into_iter().map(install).collect(),
            new: new.into_iter().map(install).map(target).collect(),
            created: written,
            moved: Moved::default(),
        }
    }

    /// Bytes of the old logs that are to be gone through.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        let segments = self.old.iter().flat_map(|shard| shard.log.segments());
        segments.map(|segment| segment.end.0 - segment.base.0).sum()
    }

    /// Bytes of records that live in the old logs.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.old.iter().map(|shard| shard.log.live_bytes()).sum()
    }

    /// Moves everything. Afterwards all that lives is in the new logs, synced and sealed. `progress` is told, segment by segment, how many bytes of the
    /// old logs are done.
    ///
    /// # Errors
    /// [`MoveError`]. What is moved is moved; both generations are to be recovered before it is tried again.
    pub fn run<F: MoveFiles>(
        mut self,
        files: &mut F,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Moved, MoveError<F::Error>> {
        let mut held = HeldFiles::<F>(BTreeMap::new());
        for shard in std::mem::take(&mut self.old) {
            let segments: Vec<RecoveredSegment> = shard.log.segments().collect();
            // The files below the segment in hand.
            let mut below: Vec<SegmentId> = Vec::new();
            let mut stubs = shard.log.stubs().iter().map(|stub| stub.stub).peekable();
            for (at, segment) in segments.iter().enumerate() {
                while let Some(stub) = stubs.next_if(|stub| *stub < segment.id) {
                    below.push(stub);
                }
                self.move_segment(files, &shard, segment, &mut held)?;
                let Some(next) = segments.get(at + 1) else {
                    progress(segment.end.0 - segment.base.0);
                    continue;
                };
                below.push(segment.id);
                while let Some(stub) = stubs.next_if(|stub| *stub < next.id) {
                    below.push(stub);
                }
                self.sync(files)?;
                self.take_away(files, &shard, segment, next, &mut below)?;
                progress(segment.end.0 - segment.base.0);
            }
        }
        self.sync(files)?;
        for target in &mut self.new {
            target.log.seal(files)?;
        }
        self.sync(files)?;
        Ok(self.moved)
    }

    /// Writes what lives in a segment to the new logs.
    fn move_segment<F: MoveFiles>(
        &mut self,
        files: &mut F,
        shard: &Shard,
        segment: &RecoveredSegment,
        held: &mut HeldFiles<F>,
    ) -> Result<(), MoveError<F::Error>> {
        let id = shard.config.identity.shard;
        let bytes = files.read(Side::Old, id, segment.id)?;
        let content = bytes.as_ref().get(SEGMENT_HEADER_LEN..);
        let content = content.unwrap_or_default();
        let mut walk = Walk::new(shard.log.tag(), segment.base, segment.end);
        let mut at = 0;
        while !walk.is_done() {
            let damaged = |fault| MoveError::Damaged {
                shard: id,
                segment: segment.id,
                offset: (SEGMENT_HEADER_LEN + at) as u64,
                fault,
            };
            let (payload, len, is_data) = match walk.block(content.get(at..).unwrap_or_default()) {
                Ok(Step::Block {
                    header,
                    payload,
                    len,
                }) => (payload, len, header.entries > 0),
                Ok(Step::Needs(_)) => return Err(damaged(Fault::Missing)),
                Err(fault) => return Err(damaged(fault)),
            };
            if is_data {
                let from = Position(segment.base.0 + (at + BLOCK_HEADER_LEN) as u64);
                // The walk has looked at the structure, to the last record.
                for entry in Entries::new(payload, from).flatten() {
                    for record in entry.records().flatten() {
                        let start = (record.position.0 - from.0) as usize;
                        let encoded = &payload[start..start + record.len as usize];
                        let partition = entry.header.partition;
                        self.move_record(files, shard, partition, (&record, encoded), held)?;
                    }
                }
            }
            at += len;
        }
        Ok(())
    }

    fn move_record<F: MoveFiles>(
        &mut self,
        files: &mut F,
        shard: &Shard,
        partition: PartitionId,
        (record, encoded): (&RecordAt<'_>, &[u8]),
        held: &mut HeldFiles<F>,
    ) -> Result<(), MoveError<F::Error>> {
        if !is_live(shard, partition, record) {
            return Ok(());
        }
        let count = self.new.len() as u16;
        let target = &mut self.new[shard_of_partition(partition.index, count).index()];
        if held.hold(files, &target.held, partition, &record.record)? {
            self.moved.already_there += 1;
            return Ok(());
        }
        target.log.push(files, partition, encoded)?;
        self.moved.records += 1;
        self.moved.bytes += encoded.len() as u64;
        Ok(())
    }

    /// Everything that was moved so far is on disk.
    fn sync<F: MoveFiles>(&mut self, files: &mut F) -> Result<(), F::Error> {
        for target in &mut self.new {
            target.log.flush(files)?;
        }
        let dirty = self.new.iter().filter(|target| target.log.is_dirty());
        let dirty: Vec<_> = dirty.map(|target| target.log.active()).collect();
        files.sync(&dirty)?;
        for target in &mut self.new {
            target.log.synced();
        }
        Ok(())
    }

    /// Replaces a segment, and all files below the next one, by one stub.
    fn take_away<F: MoveFiles>(
        &mut self,
        files: &mut F,
        shard: &Shard,
        segment: &RecoveredSegment,
        next: &RecoveredSegment,
        below: &mut Vec<SegmentId>,
    ) -> Result<(), F::Error> {
        let stub = below.pop().expect("the segment's own file is there");
        let end = (next.base, next.sequence, segment.len);
        let header = new_log::stub_below(shard, stub, end, given(shard), self.created);
        let id = shard.config.identity.shard;
        files.remove(id, stub, &header, below)?;
        *below = vec![stub];
        self.moved.segments += 1;
        Ok(())
    }
}

/// Whether a record is what its key holds.
fn is_live(shard: &Shard, partition: PartitionId, found: &RecordAt<'_>) -> bool {
    if found.record.kind != RecordKind::Set {
        return false;
    }
    let Some(keyspace) = shard.keyspace(partition.keyspace) else {
        // It was dropped, and its number is never used again.
        return false;
    };
    let local = usize::from(partition.index / shard.config.identity.shard_count);
    let hash = shard.hasher.hash(found.record.key);
    let partition = keyspace.local().get(local);
    partition.is_some_and(|partition| partition.index.contains(hash, found.position))
}

/// Files of the new generation, as far as they were asked whether they hold a record.
struct HeldFiles<F: MoveFiles>(BTreeMap<(ShardId, SegmentId), F::Bytes>);

impl<F: MoveFiles> HeldFiles<F> {
    /// Whether an earlier attempt has written this record.
    fn hold(
        &mut self,
        files: &mut F,
        held: &Shard,
        partition: PartitionId,
        record: &Record<'_>,
    ) -> Result<bool, F::Error> {
        let Some(keyspace) = held.keyspace(partition.keyspace) else {
            return Ok(false);
        };
        let local = usize::from(partition.index / held.config.identity.shard_count);
        let hash = held.hasher.hash(record.key);
        let Some(partition) = keyspace.local().get(local) else {
            return Ok(false);
        };
        let shard = held.config.identity.shard;
        for candidate in partition.index.candidates(hash) {
            let Some(place) = held.log.place_of(candidate.address) else {
                continue;
            };
            let bytes = match self.0.entry((shard, place.segment)) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(files.read(Side::New, shard, place.segment)?)
                }
            };
            let bytes = bytes.as_ref().get(place.offset as usize..);
            // Recovery has checked what is there.
            let found = Record::parse(bytes.unwrap_or_default());
            if found.is_ok_and(|found| found.key == record.key && found.version >= record.version) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
