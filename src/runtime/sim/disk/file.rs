//! One segment file: what a reader sees, what a power loss can bring back, and what has rotted.
//!
//! The file also knows for itself what recovery must be able to prove. A block that is written after the log before it was synced says
//! so, and so does the beginning of the next segment. Once such a block is on disk itself, nothing before it can be lost silently: whole
//! sectors that read as zeros there are damage, though they look like a tear. [`File::lose_sector`] takes only such sectors.

use std::collections::{BTreeMap, BTreeSet};

use super::super::random::Random;
use super::Damage;
use crate::limits::SECTOR_LEN;
use crate::storage::format::{BLOCK_HEADER_LEN, SEGMENT_HEADER_LEN};
use crate::types::SegmentId;

type Sector = [u8; SECTOR_LEN];

/// One segment file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// What a reader sees.
    pub(super) image: Vec<u8>,
    /// For each sector that is not clean: what it held when it was last synced, and after each write since, oldest first.
    dirty: BTreeMap<usize, Vec<(u64, Box<Sector>)>>,
    /// Dirty sectors that the kernel takes for clean.
    given_up: BTreeSet<usize>,
    /// The bits that are not what was written, by offset. `image` shows them, the versions of dirty sectors do not.
    pub(super) rotten: BTreeMap<usize, u8>,
    /// The directory entry is on disk.
    pub(super) is_linked: bool,
    /// Writes since the last sync: their numbers, where they end, and how far the file was synced when they were asked for.
    unproven: Vec<(u64, usize, usize)>,
    /// All below this is synced, as far as the writer can know.
    synced: usize,
    /// A block that is on disk says that all below this was synced.
    proven: usize,
    /// Its length if it is whole: `image` is shorter if it has lost its end. What was there is in `rotten`.
    whole_len: usize,
    /// Its length when it was last synced: what was appended since may be gone after a power loss.
    durable_len: usize,
    /// Where it was cut, and what was there.
    lost_end: (usize, Vec<u8>),
    /// Somebody deleted it: a file that has lost all of itself, and that no reader sees.
    pub(super) is_gone: bool,
    /// What the operator has of it, if a salvage began to write over what was left: its repairs may have been cut short.
    backup: Option<Vec<u8>>,
}

impl File {
    /// A file that is on disk as a whole.
    pub(super) fn durable(image: Vec<u8>) -> File {
        File {
            is_linked: true,
            ..File::unlinked(image)
        }
    }

    /// A file that a power loss may take away.
    pub(super) fn unlinked(image: Vec<u8>) -> File {
        File {
            whole_len: image.len(),
            durable_len: image.len(),
            image,
            ..File::default()
        }
    }

    pub(super) fn write(&mut self, number: u64, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.image.len() {
            self.image.resize(end.next_multiple_of(SECTOR_LEN), 0);
            self.whole_len = self.whole_len.max(self.image.len());
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
        let mut bytes: Sector = [0; SECTOR_LEN];
        // The last one may have been cut in the middle.
        let end = self.image.len().min(start + SECTOR_LEN);
        bytes[..end - start].copy_from_slice(&self.image[start..end]);
        for (offset, mask) in self.rotten.range(start..start + SECTOR_LEN) {
            bytes[offset - start] ^= mask;
        }
        bytes
    }

    /// Lets a sector be what it was at some moment. What is rotten in it stays so.
    fn set_sector(&mut self, sector: usize, bytes: &Sector) {
        let start = sector * SECTOR_LEN;
        let end = self.image.len().min(start + SECTOR_LEN);
        self.image[start..end].copy_from_slice(&bytes[..end - start]);
        for (offset, mask) in self.rotten.range(start..end) {
            self.image[*offset] ^= mask;
        }
    }

    /// What was written up to `number` is on disk, but for what the kernel gave up.
    pub(super) fn sync(&mut self, number: u64) {
        self.durable_len = self.image.len();
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
        if self.given_up.is_empty() {
            self.prove(number);
        }
    }

    fn prove(&mut self, number: u64) {
        for (write, end, synced) in std::mem::take(&mut self.unproven) {
            if write <= number {
                self.synced = self.synced.max(end);
                self.proven = self.proven.max(synced);
            } else {
                self.unproven.push((write, end, synced));
            }
        }
    }

    /// A write of the log was asked for when the file was synced up to `synced`, and the kernel has it now.
    pub(super) fn wrote(&mut self, number: u64, end: usize, synced: usize) {
        self.unproven.push((number, end, synced));
    }

    /// The log was sealed: what is before the seal is proven.
    pub(super) fn sealed(&mut self) {
        let before = self.synced.saturating_sub(BLOCK_HEADER_LEN);
        self.proven = self.proven.max(before);
    }

    /// No block can be relied on to say what was synced.
    pub(super) fn forget_proof(&mut self) {
        self.proven = 0;
        self.backup = None;
    }

    /// How far the file is known to be synced.
    pub(super) fn synced(&self) -> usize {
        self.synced
    }

    /// Recovery has read the file and synced it: whoever writes to it knows.
    pub(super) fn recovered(&mut self) {
        let used = self.image.iter().rposition(|byte| *byte != 0);
        self.synced = used.map_or(0, |last| last + 1);
        self.unproven.clear();
    }

    /// A sector that was synced comes back as zeros, one of those of which the disk can prove that they were. If a later segment
    /// has begun, that is all of them.
    pub(super) fn lose_sector(&mut self, later_begun: bool, random: &mut Random) -> Option<usize> {
        let end = if later_begun {
            self.synced
        } else {
            self.proven
        };
        let sector = random.index((end / SECTOR_LEN).max(1));
        let start = sector * SECTOR_LEN;
        let is_whole = start + SECTOR_LEN <= end;
        if !is_whole || self.dirty.contains_key(&sector) {
            return None;
        }
        let bytes = self.sector(sector);
        if bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        for (at, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            self.rotten.insert(start + at, *byte);
        }
        self.image[start..start + SECTOR_LEN].fill(0);
        Some(start)
    }

    /// The file loses its end, if it is one that has begun and is on disk as it is. Says what is left.
    pub(super) fn cut(&mut self, random: &mut Random) -> Option<usize> {
        if !self.has_begun() || !self.dirty.is_empty() {
            return None;
        }
        let used = self.image.iter().rposition(|byte| *byte != 0)? + 1;
        let unused = self.image.len() - used;
        let at = match random.below(4) {
            0 if unused > 0 => used + random.index(unused),
            0 | 1 => random.between(SECTOR_LEN as u64, used as u64 - 1) as usize,
            _ => used - 1 - random.skewed((used - SECTOR_LEN) as u64) as usize,
        };
        self.lose_end(at);
        Some(at)
    }

    /// The file vanishes, if it is one that has begun and is on disk as it is.
    pub(super) fn vanish(&mut self) -> Option<()> {
        if !self.has_begun() || !self.dirty.is_empty() {
            return None;
        }
        self.lose_end(0);
        self.is_gone = true;
        Some(())
    }

    fn lose_end(&mut self, at: usize) {
        self.lost_end = (at, self.image.split_off(at));
        self.durable_len = at;
        self.end_is_lost(at);
    }

    /// What was behind `from` before the file was cut is not there.
    fn end_is_lost(&mut self, from: usize) {
        let (at, bytes) = &self.lost_end;
        for (offset, byte) in (*at..).zip(bytes) {
            if offset >= from && *byte != 0 {
                self.rotten.insert(offset, *byte);
            }
        }
    }

    /// Whether the file has lost its end.
    pub(super) fn is_cut(&self) -> bool {
        self.image.len() < self.whole_len
    }

    /// The file's header, which is on disk, says that it stands for what was removed; the rest of it goes, and nobody can rely on its being there.
    pub(super) fn make_stub(&mut self) {
        let len = SEGMENT_HEADER_LEN.min(self.image.len());
        self.image.truncate(len);
        self.dirty.retain(|sector, _| *sector * SECTOR_LEN < len);
        self.given_up.retain(|sector| *sector * SECTOR_LEN < len);
        self.rotten.retain(|offset, _| *offset < len);
        (self.whole_len, self.durable_len) = (len, len);
        (self.synced, self.proven) = (0, 0);
        self.unproven.clear();
        self.lost_end = (0, Vec::new());
    }

    /// Fills the file up to a length. What was written to it before is on disk first.
    pub(super) fn extend(&mut self, number: u64, len: usize) {
        self.sync(number - 1);
        let from = self.image.len();
        if from < len {
            self.write(number, from, &vec![0; len - from]);
        }
    }

    /// A salvage is going to write to the file.
    pub(super) fn back_up(&mut self) {
        let mut sound = self.clone();
        sound.heal();
        self.backup = Some(sound.image);
    }

    /// Is as it was before it rotted, where nothing was written over that but by a salvage that did not get to its end.
    pub(super) fn heal(&mut self) {
        if let Some(backup) = self.backup.take() {
            self.image = backup;
            self.rotten.clear();
            self.dirty.clear();
            self.given_up.clear();
        }
        self.image.resize(self.whole_len.max(self.image.len()), 0);
        for (offset, mask) in std::mem::take(&mut self.rotten) {
            self.image[offset] ^= mask;
        }
        self.durable_len = self.image.len();
        self.lost_end = (0, Vec::new());
        self.is_gone = false;
    }

    /// What is rotten, or lost, is where no data is.
    pub(super) fn outlived_rot(&mut self) {
        self.rotten.clear();
        self.backup = None;
        self.lost_end = (0, Vec::new());
        self.whole_len = self.image.len();
    }

    /// Turns a bit over.
    pub(super) fn flip(
        &mut self,
        segment: SegmentId,
        offset: usize,
        random: &mut Random,
    ) -> Damage {
        let mask = 1 << random.below(8);
        self.image[offset] ^= mask;
        self.rotten.insert(offset, mask);
        Damage::Flip {
            segment,
            offset,
            mask,
        }
    }

    pub(super) fn is_dirty(&self, offset: usize) -> bool {
        self.dirty.contains_key(&(offset / SECTOR_LEN))
    }

    /// Whether it is on disk with a header, of whatever kind, so that no crash takes it away.
    pub(super) fn has_header(&self) -> bool {
        let header = self.image.get(..SECTOR_LEN);
        self.is_linked
            && !self.is_dirty(0)
            && header.is_some_and(|header| header.iter().any(|byte| *byte != 0))
    }

    /// Whether the first block of the segment is on disk, and with it the header that says so.
    pub(super) fn has_begun(&self) -> bool {
        self.synced > SEGMENT_HEADER_LEN
    }

    pub(super) fn sync_failed(&mut self, random: &mut Random) {
        for sector in self.dirty.keys() {
            if random.percent(50) {
                self.given_up.insert(*sector);
            }
        }
    }

    /// The machine stopped: each sector is as of some moment since it was synced.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        // Often the disk was simply some writes behind: then the sectors agree on the moment.
        let moment = random.percent(30).then(|| {
            let newest = self.dirty.values().flatten().map(|(write, _)| *write).max();
            random.below(newest.unwrap_or(0) + 1)
        });
        if self.image.len() > self.durable_len && random.percent(50) {
            self.image.truncate(self.durable_len);
            self.end_is_lost(self.durable_len);
        }
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if sector * SECTOR_LEN >= self.image.len() {
                continue;
            }
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
        self.unproven.clear();
    }

    /// The process died: sectors that the kernel gave up leave its cache some day, and today is the worst.
    pub(super) fn forget_given_up(&mut self) {
        self.unproven.clear();
        for sector in std::mem::take(&mut self.given_up) {
            if let Some(versions) = self.dirty.remove(&sector) {
                self.set_sector(sector, &versions[0].1);
            }
        }
    }
}
