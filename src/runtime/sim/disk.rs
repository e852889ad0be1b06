//! A disk that loses, tears, reorders and fails.
//!
//! Each file is kept as what a reader sees (the page cache) and, for each sector written since it was last synced, everything that
//! the sector has held since then. A power loss picks one of those for each sector, independently: that is at once the write that was
//! lost, the torn write and the reordered one. The death of the process alone loses nothing that had reached the page cache.
//!
//! What a failed fdatasync leaves is the worst that kernels do: some of the dirty sectors are taken for written though they were
//! not, so that a later sync succeeds without them.
//!
//! Files at rest rot: bits turn over, sectors that were synced come back as zeros, files lose their end or are gone. What rotted stays so until it is written over or its file is gone: whoever brings the files back from a backup
//! turns back only what is still wrong, and not a bit of a new file that has the old one's name.
//!
//! Files exist durably only after the directory was synced; until then a new one may be gone after a power loss, and a deleted one back.

mod file;
mod summaries;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::random::Random;
use crate::storage::recovery::Repair;
use crate::types::SegmentId;
use file::File;
use summaries::Summaries;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Death {
    /// `kill -9`: the page cache lives on.
    Kill,
    /// The machine stops: what was not synced is anything.
    Power,
}

/// What happened to a file at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// A bit turned over.
    Flip {
        segment: SegmentId,
        offset: usize,
        mask: u8,
    },
    /// A sector that was synced reads as zeros.
    Lost { segment: SegmentId, offset: usize },
    /// The file is shorter than it was.
    Cut { segment: SegmentId, len: usize },
    /// The file is not there any more.
    Gone { segment: SegmentId },
}

/// One shard's directory.
#[derive(Clone, Debug, Default)]
pub(super) struct SimDisk {
    files: BTreeMap<SegmentId, File>,
    /// Deleted, and the directory not synced since: the last one at most.
    unlinked: BTreeMap<SegmentId, File>,
    /// Numbers the writes.
    written: u64,
    /// The segments' saved indexes.
    summaries: Summaries,
}

impl SimDisk {
    /// The segment files that a reader sees.
    pub(super) fn files(&self) -> impl Iterator<Item = (SegmentId, &[u8])> {
        self.files
            .iter()
            .filter(|(_, file)| !file.is_gone)
            .map(|(segment, file)| (*segment, &file.image[..]))
    }

    /// The number of the last write so far: what a sync that starts now covers.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// A new segment, all of it durable.
    pub(super) fn prepare(&mut self, segment: SegmentId, len: usize, header: &[u8]) {
        let mut image = vec![0; len];
        image[..header.len()].copy_from_slice(header);
        self.files.insert(segment, File::durable(image));
    }

    /// A preparation that did not come to its end leaves no file, or an empty one, or part of one.
    pub(super) fn prepare_in_part(
        &mut self,
        segment: SegmentId,
        len: usize,
        header: &[u8],
        random: &mut Random,
    ) {
        if random.one_in(3) {
            return;
        }
        let len = match random.below(3) {
            0 => 0,
            1 => random.index(len / 4096) * 4096,
            _ => len,
        };
        let mut file = File::unlinked(vec![0; len]);
        if len > 0 && random.percent(60) {
            self.written += 1;
            file.write(self.written, 0, header);
        }
        self.files.insert(segment, file);
    }

    /// Segments are taken away, for good.
    pub(super) fn remove(&mut self, stub: SegmentId, header: &[u8], delete: &[SegmentId]) {
        self.begin_removal(stub, header);
        self.written += 1;
        let number = self.written;
        if let Some(file) = self.files.get_mut(&stub) {
            file.sync(number);
            file.make_stub();
        }
        for segment in delete {
            self.files.remove(segment);
        }
    }

    /// A removal that did not come to its end. Its steps are one after the other on disk, and it may have come to any of them.
    pub(super) fn remove_in_part(
        &mut self,
        stub: SegmentId,
        header: &[u8],
        delete: &[SegmentId],
        random: &mut Random,
    ) {
        match random.below(4) {
            0 => {}
            // What was written may be lost, or be there in part.
            1 => self.begin_removal(stub, header),
            2 => {
                self.begin_removal(stub, header);
                let number = self.written;
                if let Some(file) = self.files.get_mut(&stub) {
                    file.sync(number);
                }
            }
            _ => {
                let done = random.index(delete.len() + 1);
                self.remove(stub, header, &[]);
                for segment in &delete[..done] {
                    if let Some(file) = self.files.remove(segment) {
                        self.unlinked.insert(*segment, file);
                    }
                }
            }
        }
    }

    fn begin_removal(&mut self, stub: SegmentId, header: &[u8]) {
        self.write(stub, 0, header);
    }

    /// The log was sealed by a clean stop.
    pub(super) fn sealed(&mut self) {
        for file in self.files.values_mut() {
            file.sealed();
        }
    }

    /// How far a segment is synced, as far as who writes to it can know.
    pub(super) fn synced(&self, segment: SegmentId) -> usize {
        self.files.get(&segment).map_or(0, File::synced)
    }

    /// Carries out a write that was asked for when the segment was synced up to `synced`.
    pub(super) fn write_whole(
        &mut self,
        segment: SegmentId,
        offset: usize,
        bytes: &[u8],
        synced: usize,
    ) {
        self.write(segment, offset, bytes);
        if let Some(file) = self.files.get_mut(&segment) {
            file.wrote(self.written, offset + bytes.len(), synced.min(offset));
        }
    }

    pub(super) fn write(&mut self, segment: SegmentId, offset: usize, bytes: &[u8]) {
        self.written += 1;
        let number = self.written;
        let file = self
            .files
            .get_mut(&segment)
            .expect("the shard writes to segments that it prepared");
        assert!(
            offset + bytes.len() <= file.image.len(),
            "the shard writes inside its segments"
        );
        file.write(number, offset, bytes);
    }

    /// A write that failed or that death cut short: any of its pages may have got there.
    pub(super) fn write_in_part(
        &mut self,
        segment: SegmentId,
        offset: usize,
        bytes: &[u8],
        random: &mut Random,
    ) {
        const PAGE: usize = 4096;
        let pages = offset / PAGE..=(offset + bytes.len()).saturating_sub(1) / PAGE;
        let until = match random.below(3) {
            0 => *pages.start(),
            1 => *pages.end() + 1,
            _ => random.between(*pages.start() as u64, *pages.end() as u64 + 1) as usize,
        };
        for page in pages {
            let from = offset.max(page * PAGE);
            let to = (offset + bytes.len()).min((page + 1) * PAGE);
            if page < until {
                self.write(segment, from, &bytes[from - offset..to - offset]);
            }
        }
    }

    pub(super) fn sync(&mut self, segment: SegmentId, number: u64) {
        if let Some(file) = self.files.get_mut(&segment) {
            file.sync(number);
        }
    }

    pub(super) fn sync_failed(&mut self, segment: SegmentId, random: &mut Random) {
        if let Some(file) = self.files.get_mut(&segment) {
            file.sync_failed(random);
        }
    }

    pub(super) fn read(&self, segment: SegmentId, offset: usize, len: usize) -> Vec<u8> {
        let image = self.files.get(&segment).map_or(&[][..], |file| &file.image);
        let end = (offset + len).min(image.len());
        image.get(offset..end).unwrap_or_default().to_vec()
    }

    /// One step of what recovery asks for.
    pub(super) fn repair(&mut self, repair: &Repair) {
        if !self.unlinked.is_empty() {
            self.sync_directory();
        }
        self.summaries.forget(repair.segment());
        self.written += 1;
        let number = self.written;
        match repair {
            Repair::Zero {
                segment,
                offset,
                len,
            } => {
                if let Some(file) = self.files.get_mut(segment) {
                    file.write(number, *offset as usize, &vec![0; *len as usize]);
                }
            }
            Repair::Write {
                segment,
                offset,
                bytes,
            } => {
                for file in self.files.values_mut() {
                    file.sync(number - 1);
                }
                if let Some(file) = self.files.get_mut(segment) {
                    file.write(number, *offset as usize, bytes);
                }
            }
            Repair::Extend { segment, len } => {
                if let Some(file) = self.files.get_mut(segment) {
                    file.extend(number, *len as usize);
                }
            }
            Repair::Create { segment } => {
                self.sync_directory();
                for file in self.files.values_mut() {
                    file.sync(number);
                }
                let file = self.files.entry(*segment).or_default();
                (file.is_gone, file.is_linked) = (false, true);
            }
            Repair::Truncate { segment, .. } => {
                if let Some(file) = self.files.get_mut(segment) {
                    file.sync(number);
                    file.make_stub();
                }
            }
            Repair::Delete { segment } => {
                if let Some(file) = self.files.remove(segment) {
                    self.unlinked.insert(*segment, file);
                }
            }
        }
    }

    /// Syncs every file and the directory.
    pub(super) fn sync_all(&mut self) {
        for file in self.files.values_mut() {
            file.sync(self.written);
            file.recovered();
        }
        self.sync_directory();
    }

    fn sync_directory(&mut self) {
        for file in self.files.values_mut() {
            file.is_linked = true;
        }
        self.unlinked.clear();
    }

    /// The process or the machine dies.
    pub(super) fn die(&mut self, death: Death, random: &mut Random) {
        match death {
            Death::Kill => {
                for file in self.files.values_mut() {
                    file.forget_given_up();
                }
            }
            Death::Power => {
                for (segment, file) in std::mem::take(&mut self.unlinked) {
                    if file.is_linked && random.percent(50) {
                        self.files.insert(segment, file);
                    }
                }
                self.files
                    .retain(|_, file| file.is_linked || random.percent(50));
                for file in self.files.values_mut() {
                    file.lose_power(random);
                    file.is_linked = true;
                }
            }
        }
    }

    /// Does damage that recovery can prove: where the disk is clean, turns a bit over or loses a sector. Says where. A disk has one
    /// at a time, for a second one could be what would have proved the first.
    pub(super) fn rot(&mut self, only_old: bool, random: &mut Random) -> Option<Damage> {
        if !self.rotten_segments().is_empty() {
            return None;
        }
        let newest = *self.files.keys().next_back()?;
        let segments = self.files.keys().copied();
        let candidates: Vec<SegmentId> = segments
            .filter(|segment| !only_old || segment.0 + 1 < newest.0)
            .collect();
        if candidates.is_empty() {
            return None;
        }
        // What was written last is what matters most.
        let segment = match random.percent(50) {
            true => candidates[random.index(candidates.len())],
            false => *candidates
                .iter()
                .rfind(|segment| self.files[*segment].has_begun())?,
        };
        let mut later = self.files.range(segment..).skip(1);
        let later_begun = later.any(|(_, file)| file.has_begun());
        let mut later = self.files.range(segment..).skip(1);
        let later_made = later.any(|(_, file)| file.has_header());
        if !only_old && later_made && random.percent(10) {
            self.files.get_mut(&segment)?.vanish()?;
            return Some(Damage::Gone { segment });
        }
        if random.percent(30) {
            // Not one that is being written to.
            if only_old && !later_begun {
                return None;
            }
            let len = self.files.get_mut(&segment)?.cut(random)?;
            return Some(Damage::Cut { segment, len });
        }
        if random.percent(40) {
            let file = self.files.get_mut(&segment)?;
            let offset = file.lose_sector(later_begun, random)?;
            return Some(Damage::Lost { segment, offset });
        }
        let file = self.files.get_mut(&segment)?;
        let used = file.image.iter().rposition(|byte| *byte != 0)? + 1;
        let offset = match random.percent(50) {
            true => random.index(used),
            false => used - 1 - random.skewed(used as u64) as usize,
        };
        if file.is_dirty(offset) {
            return None;
        }
        Some(file.flip(segment, offset, random))
    }

    /// Turns a bit over in these bytes of a file, if that is damage that recovery can prove: see [`SimDisk::rot`].
    pub(super) fn rot_at(
        &mut self,
        segment: SegmentId,
        offset: usize,
        len: usize,
        random: &mut Random,
    ) -> Option<Damage> {
        if !self.rotten_segments().is_empty() {
            return None;
        }
        let file = self.files.get_mut(&segment)?;
        let offset = offset + random.index(len);
        if offset >= file.image.len() || file.is_dirty(offset) {
            return None;
        }
        Some(file.flip(segment, offset, random))
    }

    /// Whether a segment is older than the one before the newest: nothing is written to it any more.
    pub(super) fn is_old(&self, segment: SegmentId) -> bool {
        let newest = self.files.keys().next_back();
        newest.is_some_and(|newest| segment.0 + 1 < newest.0)
    }

    /// Whether some of these bytes are rotten.
    pub(super) fn is_rotten(&self, segment: SegmentId, offset: usize, len: usize) -> bool {
        let file = self.files.get(&segment);
        file.is_some_and(|file| {
            file.rotten.range(offset..offset + len).next().is_some()
                || (file.is_cut() && offset + len > file.image.len())
        })
    }

    /// Segments with damage that was neither healed nor written over.
    pub(super) fn rotten_segments(&self) -> Vec<SegmentId> {
        let rotten = self
            .files
            .iter()
            .filter(|(_, file)| !file.rotten.is_empty() || file.is_cut());
        rotten.map(|(segment, _)| *segment).collect()
    }

    /// Segments whose file is gone, or has lost its end.
    pub(super) fn lost_files(&self) -> Vec<SegmentId> {
        let lost = self.files.iter().filter(|(_, file)| file.is_cut());
        lost.map(|(segment, _)| *segment).collect()
    }

    /// A salvage is going to repair what is left. The operator has a backup.
    pub(super) fn back_up(&mut self) {
        for file in self.files.values_mut() {
            file.back_up();
        }
    }

    /// The operator brings the files back from a backup.
    pub(super) fn heal(&mut self) {
        for file in self.files.values_mut() {
            file.heal();
        }
    }

    /// A recovery has given up a part of the log, and with it perhaps what proved something of the rest.
    pub(super) fn salvaged(&mut self) {
        for file in self.files.values_mut() {
            file.forget_proof();
        }
    }

    /// A recovery has read everything but these segments and gone on: what is left of rot elsewhere is where no data is.
    pub(super) fn outlived_rot(&mut self, unread: &[SegmentId]) {
        for (segment, file) in &mut self.files {
            if !unread.contains(segment) {
                file.outlived_rot();
            }
        }
    }
}
