//! A disk that loses, tears, reorders and fails.
//!
//! Each file is kept as what a reader sees (the page cache) and, for each sector written since it was last synced, everything that
//! the sector has held since then. A power loss picks one of those for each sector, independently: that is at once the write that was
//! lost, the torn write and the reordered one. The death of the process alone loses nothing that had reached the page cache.
//!
//! What a failed fdatasync leaves is the worst that kernels do: some of the dirty sectors are taken for written though they were
//! not, so that a later sync succeeds without them.
//!
//! A bit that turned over stays so until it is written over or its file is gone: whoever brings the files back from a backup
//! turns back only what is still wrong, and not a bit of a new file that has the old one's name.
//!
//! Files exist durably only after the directory was synced; until then a new one may be gone after a power loss, and a deleted one back.

use std::collections::{BTreeMap, BTreeSet};

use super::random::Random;
use crate::limits::SECTOR_LEN;
use crate::storage::recovery::Repair;
use crate::types::SegmentId;

type Sector = [u8; SECTOR_LEN];

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Death {
    /// `kill -9`: the page cache lives on.
    Kill,
    /// The machine stops: what was not synced is anything.
    Power,
}

/// One segment file.
#[derive(Clone, Debug, Default)]
struct File {
    /// What a reader sees.
    image: Vec<u8>,
    /// For each sector that is not clean: what it held when it was last synced, and after each write since, oldest first.
    dirty: BTreeMap<usize, Vec<(u64, Box<Sector>)>>,
    /// Dirty sectors that the kernel takes for clean.
    given_up: BTreeSet<usize>,
    /// The bits that are not what was written, by offset. `image` shows them, the versions of dirty sectors do not.
    rotten: BTreeMap<usize, u8>,
    /// The directory entry is on disk.
    is_linked: bool,
}

/// A bit that turned over by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flip {
    pub(super) segment: SegmentId,
    pub(super) offset: usize,
    pub(super) mask: u8,
}

/// One shard's directory.
#[derive(Clone, Debug, Default)]
pub(super) struct SimDisk {
    files: BTreeMap<SegmentId, File>,
    /// Deleted, and the directory not synced since.
    unlinked: BTreeMap<SegmentId, File>,
    /// Numbers the writes.
    written: u64,
}

impl File {
    fn write(&mut self, number: u64, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.image.len() {
            self.image.resize(end.next_multiple_of(SECTOR_LEN), 0);
        }
        let (first, last) = (offset / SECTOR_LEN, (end - 1) / SECTOR_LEN);
        for sector in first..=last {
            self.given_up.remove(&sector);
            let start = sector * SECTOR_LEN;
            let before = Box::new(self.sector(sector));
            let (from, to) = (offset.max(start), end.min(start + SECTOR_LEN));
            self.image[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
            self.rotten.retain(|offset, _| !(from..to).contains(offset));
            let after = Box::new(self.sector(sector));
            let versions = self
                .dirty
                .entry(sector)
                .or_insert_with(|| vec![(0, before)]);
            versions.push((number, after));
        }
    }

    /// A sector as it was written.
    fn sector(&self, sector: usize) -> Sector {
        let start = sector * SECTOR_LEN;
        let mut bytes: Sector = self.image[start..start + SECTOR_LEN]
            .try_into()
            .expect("a file is whole sectors");
        for (offset, mask) in self.rotten.range(start..start + SECTOR_LEN) {
            bytes[offset - start] ^= mask;
        }
        bytes
    }

    /// Lets a sector be what it was at some moment. What is rotten in it stays so.
    fn set_sector(&mut self, sector: usize, bytes: &Sector) {
        let start = sector * SECTOR_LEN;
        self.image[start..start + SECTOR_LEN].copy_from_slice(bytes);
        for (offset, mask) in self.rotten.range(start..start + SECTOR_LEN) {
            self.image[*offset] ^= mask;
        }
    }

    /// What was written up to `number` is on disk, but for what the kernel gave up.
    fn sync(&mut self, number: u64) {
        let given_up = &self.given_up;
        self.dirty.retain(|sector, versions| {
            if given_up.contains(sector) {
                return true;
            }
            let synced = versions
                .iter()
                .rposition(|(write, _)| *write <= number)
                .unwrap_or(0);
            versions.drain(..synced);
            versions.len() > 1
        });
    }

    fn sync_failed(&mut self, random: &mut Random) {
        for sector in self.dirty.keys() {
            if random.percent(50) {
                self.given_up.insert(*sector);
            }
        }
    }

    /// The machine stopped: each sector is as of some moment since it was synced.
    fn lose_power(&mut self, random: &mut Random) {
        // Often the disk was simply some writes behind: then the sectors agree on the moment.
        let moment = random.percent(30).then(|| {
            let newest = self.dirty.values().flatten().map(|(write, _)| *write).max();
            random.below(newest.unwrap_or(0) + 1)
        });
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            let chosen = if self.given_up.contains(&sector) {
                0
            } else if let Some(moment) = moment {
                versions
                    .iter()
                    .rposition(|(write, _)| *write <= moment)
                    .unwrap_or(0)
            } else {
                random.index(versions.len())
            };
            self.set_sector(sector, &versions[chosen].1);
        }
        self.given_up.clear();
    }

    /// The process died: sectors that the kernel gave up leave its cache some day, and today is the worst.
    fn forget_given_up(&mut self) {
        for sector in std::mem::take(&mut self.given_up) {
            if let Some(versions) = self.dirty.remove(&sector) {
                self.set_sector(sector, &versions[0].1);
            }
        }
    }
}

impl SimDisk {
    /// The segment files that a reader sees.
    pub(super) fn files(&self) -> impl Iterator<Item = (SegmentId, &[u8])> {
        self.files
            .iter()
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
        let file = File {
            image,
            is_linked: true,
            ..File::default()
        };
        self.files.insert(segment, file);
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
        let mut file = File {
            image: vec![0; len],
            ..File::default()
        };
        if len > 0 && random.percent(60) {
            self.written += 1;
            file.write(self.written, 0, header);
        }
        self.files.insert(segment, file);
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
                if let Some(file) = self.files.get_mut(segment) {
                    file.write(number, *offset as usize, bytes);
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

    /// Turns a bit over, in a segment whose sectors are all clean there. Says where.
    pub(super) fn rot(&mut self, only_old: bool, random: &mut Random) -> Option<Flip> {
        let newest = *self.files.keys().next_back()?;
        let candidates: Vec<SegmentId> = self
            .files
            .keys()
            .copied()
            .filter(|segment| !only_old || segment.0 + 1 < newest.0)
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let segment = candidates[random.index(candidates.len())];
        let file = self.files.get_mut(&segment)?;
        let used = file.image.iter().rposition(|byte| *byte != 0)? + 1;
        let offset = random.index(used);
        if file.dirty.contains_key(&(offset / SECTOR_LEN)) {
            return None;
        }
        let mask = 1 << random.below(8);
        file.image[offset] ^= mask;
        let rotten = file.rotten.entry(offset).or_default();
        *rotten ^= mask;
        if *rotten == 0 {
            file.rotten.remove(&offset);
        }
        Some(Flip {
            segment,
            offset,
            mask,
        })
    }

    /// Bits that turned over and were neither turned back nor written over since.
    pub(super) fn flips(&self) -> Vec<Flip> {
        let mut flips = Vec::new();
        for (&segment, file) in &self.files {
            flips.extend(file.rotten.iter().map(|(&offset, &mask)| Flip {
                segment,
                offset,
                mask,
            }));
        }
        flips
    }

    /// The operator brings the files back from a backup.
    pub(super) fn heal(&mut self) {
        for file in self.files.values_mut() {
            for (offset, mask) in std::mem::take(&mut file.rotten) {
                file.image[offset] ^= mask;
            }
        }
    }

    /// A recovery has read everything and gone on: what is left of flips in the newest segment is where no data is.
    pub(super) fn outlived_flips(&mut self) {
        if let Some(mut newest) = self.files.last_entry() {
            newest.get_mut().rotten.clear();
        }
    }
}

#[cfg(test)]
mod tests;
