//! Two generations of directories in memory that die at a given step, losing whatever was not synced.

use std::collections::BTreeMap;

use super::super::{MoveFiles, Side};
use crate::limits::SECTOR_LEN;
use crate::storage::format::SEGMENT_HEADER_LEN;
use crate::storage::recovery::{Repair, SegmentFile};
use crate::types::{SegmentId, ShardId};

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[derive(Clone, Debug, Default)]
struct File {
    /// As a reader sees it.
    seen: Vec<u8>,
    /// As of its last sync; none if it was never synced.
    synced: Option<Vec<u8>>,
}

/// One shard's directory.
pub(super) type Directory = BTreeMap<SegmentId, Vec<u8>>;

/// The process or the machine died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Died;

/// See the module's header.
#[derive(Clone, Debug)]
pub(super) struct TestDisk {
    files: BTreeMap<(Side, ShardId, SegmentId), File>,
    /// So many steps are left to live.
    pub(super) steps_left: u64,
    pub(super) steps: u64,
    random: Random,
    /// The most bytes of files that there were at once.
    pub(super) peak_bytes: u64,
}

impl TestDisk {
    pub(super) fn new(random: Random) -> TestDisk {
        TestDisk {
            files: BTreeMap::new(),
            steps_left: u64::MAX,
            steps: 0,
            random,
            peak_bytes: 0,
        }
    }

    /// Whether the next step still happens.
    pub(super) fn step(&mut self) -> Result<(), Died> {
        let bytes: usize = self.files.values().map(|file| file.seen.len()).sum();
        self.peak_bytes = self.peak_bytes.max(bytes as u64);
        self.steps += 1;
        match self.steps_left {
            0 => Err(Died),
            _ => {
                self.steps_left -= 1;
                Ok(())
            }
        }
    }

    pub(super) fn directory(&self, side: Side, shard: ShardId) -> Directory {
        let files = self.files.iter();
        files
            .filter(|((its, of, _), _)| (*its, *of) == (side, shard))
            .map(|((_, _, segment), file)| (*segment, file.seen.clone()))
            .collect()
    }

    /// What was new is old from now on, and what was old is gone.
    pub(super) fn switch(&mut self) {
        self.forget(Side::Old);
        let files = std::mem::take(&mut self.files);
        let renamed = files
            .into_iter()
            .map(|((_, shard, segment), file)| ((Side::Old, shard, segment), file));
        self.files = renamed.collect();
    }

    /// What is old counts as new, for who writes to it.
    pub(super) fn switch_back(&mut self) {
        let files = std::mem::take(&mut self.files);
        let renamed = files
            .into_iter()
            .map(|((_, shard, segment), file)| ((Side::New, shard, segment), file));
        self.files = renamed.collect();
    }

    /// A generation is deleted.
    pub(super) fn forget(&mut self, side: Side) {
        self.files.retain(|(its, _, _), _| *its != side);
    }

    /// What is left of it all after `kill -9`, or after a power loss.
    pub(super) fn die(&mut self, power: bool) {
        self.steps_left = u64::MAX;
        if !power {
            return;
        }
        let random = &mut self.random;
        self.files
            .retain(|_, file| file.synced.is_some() || random.one_in(2));
        for file in self.files.values_mut() {
            let synced = file.synced.clone().unwrap_or_default();
            if synced.len() > file.seen.len() && random.one_in(2) {
                file.seen.resize(synced.len(), 0);
                let from = file.seen.len().min(SEGMENT_HEADER_LEN);
                file.seen[from..].copy_from_slice(&synced[from..]);
            }
            for at in (0..file.seen.len()).step_by(SECTOR_LEN) {
                let end = (at + SECTOR_LEN).min(file.seen.len());
                if random.one_in(2) {
                    let before = synced.get(at..end);
                    let before = before.map_or_else(|| vec![0; end - at], <[u8]>::to_vec);
                    file.seen[at..end].copy_from_slice(&before);
                }
            }
            file.synced = Some(file.seen.clone());
        }
    }

    fn file(&mut self, side: Side, shard: ShardId, segment: SegmentId) -> &mut File {
        let file = self.files.get_mut(&(side, shard, segment));
        file.expect("the file is there")
    }

    /// Carries out what recovery asks for, and syncs everything.
    pub(super) fn repair(
        &mut self,
        side: Side,
        shard: ShardId,
        repairs: &[Repair],
    ) -> Result<(), Died> {
        for repair in repairs {
            self.step()?;
            let place = (side, shard, repair.segment());
            match repair {
                Repair::Zero { offset, len, .. } => {
                    let (from, to) = (*offset as usize, (*offset + *len) as usize);
                    self.file(side, shard, place.2).seen[from..to].fill(0);
                }
                Repair::Write { offset, bytes, .. } => {
                    let from = *offset as usize;
                    self.file(side, shard, place.2).seen[from..from + bytes.len()]
                        .copy_from_slice(bytes);
                }
                Repair::Truncate { len, .. } => {
                    let file = self.file(side, shard, place.2);
                    file.seen.truncate(*len as usize);
                    file.synced = Some(file.seen.clone());
                }
                Repair::Delete { .. } => {
                    self.files.remove(&place);
                }
                Repair::Extend { .. } | Repair::Create { .. } => {
                    unreachable!("no crash asks for {repair:?}")
                }
            }
        }
        self.step()?;
        for file in self.files.values_mut() {
            file.synced = Some(file.seen.clone());
        }
        Ok(())
    }
}

pub(super) fn segment_files<'a>(
    directory: &'a Directory,
    names: &'a [String],
) -> Vec<SegmentFile<'a>> {
    let files = directory.iter().zip(names);
    files
        .map(|((id, bytes), name)| SegmentFile {
            id: *id,
            name,
            bytes,
        })
        .collect()
}

impl MoveFiles for TestDisk {
    type Error = Died;
    type Bytes = Vec<u8>;

    fn read(&mut self, side: Side, shard: ShardId, segment: SegmentId) -> Result<Vec<u8>, Died> {
        Ok(self.file(side, shard, segment).seen.clone())
    }

    fn prepare(
        &mut self,
        shard: ShardId,
        segment: SegmentId,
        len: u64,
        header: &[u8],
    ) -> Result<(), Died> {
        let mut seen = vec![0; len as usize];
        seen[..header.len()].copy_from_slice(header);
        let place = (Side::New, shard, segment);
        if self.step().is_err() {
            seen.truncate(self.random.below(len + 1) as usize);
            let file = File { seen, synced: None };
            self.files.insert(place, file);
            return Err(Died);
        }
        let synced = Some(seen.clone());
        self.files.insert(place, File { seen, synced });
        Ok(())
    }

    fn write(
        &mut self,
        shard: ShardId,
        segment: SegmentId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Died> {
        let dead = self.step();
        // The kernel takes whole pages of a write that doesn't come to its end.
        let pages = (offset + bytes.len() as u64).div_ceil(4096) - offset / 4096;
        let len = match dead {
            Ok(()) => bytes.len(),
            Err(Died) => {
                let until = (offset / 4096 + self.random.below(pages + 1)) * 4096;
                bytes.len().min(until.saturating_sub(offset) as usize)
            }
        };
        let from = offset as usize;
        self.file(Side::New, shard, segment).seen[from..from + len].copy_from_slice(&bytes[..len]);
        dead
    }

    fn sync(&mut self, segments: &[(ShardId, SegmentId)]) -> Result<(), Died> {
        for (shard, segment) in segments {
            self.step()?;
            let file = self.file(Side::New, *shard, *segment);
            file.synced = Some(file.seen.clone());
        }
        Ok(())
    }

    fn remove(
        &mut self,
        shard: ShardId,
        stub: SegmentId,
        header: &[u8],
        delete: &[SegmentId],
    ) -> Result<(), Died> {
        self.step()?;
        let file = self.file(Side::Old, shard, stub);
        file.seen[..header.len()].copy_from_slice(header);
        self.step()?;
        let file = self.file(Side::Old, shard, stub);
        file.synced = Some(file.seen.clone());
        self.step()?;
        self.file(Side::Old, shard, stub)
            .seen
            .truncate(SEGMENT_HEADER_LEN);
        for segment in delete {
            self.step()?;
            self.files.remove(&(Side::Old, shard, *segment));
        }
        Ok(())
    }
}
