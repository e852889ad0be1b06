//! What is on a disk that forgets: as programs see it, and as it would be after a cut.
//!
//! The rules, those of POSIX and a journalling filesystem read strictly:
//!
//! - A file's bytes are kept by sectors. A write marks its sectors as unsynced; a sync of the file keeps them. At a cut each
//!   unsynced sector, and the file's new length, was kept or was not, whatever its neighbours were.
//! - A directory's changes are kept in their order. A sync of the directory keeps all of them; at a cut some first ones were kept.
//! - A sync that failed has forgotten what it should have kept: the sectors count as clean from then on, and the next sync,
//!   which has nothing to do for them, succeeds. That is what the kernel does with pages that it could not write.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use fuser::Errno;

use crate::support::random::Random;

/// What a disk writes wholly or not at all, in bytes.
const SECTOR_LEN: u64 = 512;
/// The root directory's number.
pub(super) const ROOT: u64 = 1;

/// A file or a directory.
#[derive(Debug)]
pub(super) enum Node {
    File(File),
    Directory(Directory),
}

#[derive(Debug, Default)]
pub(super) struct File {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that were written since the last sync.
    unsynced: BTreeSet<u64>,
}

type Names = BTreeMap<OsString, u64>;

#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) names: Names,
    durable: Names,
    /// Changes since the last sync. A rename within the directory is one.
    unsynced: Vec<Vec<(OsString, Option<u64>)>>,
}

/// A disk's content.
#[derive(Debug)]
pub(crate) struct Image {
    nodes: BTreeMap<u64, Node>,
    /// Bytes that all files together may have.
    capacity: u64,
    /// How many syncs of files may still succeed.
    syncs_left: Option<u64>,
    is_cut: bool,
}

impl Default for Image {
    fn default() -> Image {
        Image {
            nodes: BTreeMap::from([(ROOT, Node::Directory(Directory::default()))]),
            capacity: u64::MAX,
            syncs_left: None,
            is_cut: false,
        }
    }
}

impl Image {
    /// Ends the power: unsynced sectors are kept or forgotten by seed, and nothing works any more.
    pub(crate) fn cut(&mut self, random: &mut Random) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.cut(random),
                Node::Directory(directory) => directory.cut(random),
            }
        }
        self.is_cut = true;
    }

    pub(super) fn power_on(&mut self) {
        self.is_cut = false;
        self.syncs_left = None;
    }

    /// Lets `count` syncs of files succeed, and the next one fail.
    pub(crate) fn fail_sync_after(&mut self, count: u64) {
        self.syncs_left = Some(count);
    }

    /// The names of files that hold something that is not synced.
    pub(crate) fn unsynced(&self) -> Vec<String> {
        let is_unsynced = |number: &u64| match &self.nodes[number] {
            Node::File(file) => {
                !file.unsynced.is_empty() || file.len() != file.durable.len() as u64
            }
            Node::Directory(_) => false,
        };
        self.nodes
            .values()
            .filter_map(|node| match node {
                Node::Directory(directory) => Some(&directory.names),
                Node::File(_) => None,
            })
            .flatten()
            .filter(|(_, number)| is_unsynced(number))
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect()
    }

    /// Makes the disk so large, or small, that it has so much room left.
    pub(crate) fn leave_room(&mut self, bytes: u64) {
        self.capacity = self.used().saturating_add(bytes);
    }

    pub(super) fn used(&self) -> u64 {
        self.nodes
            .values()
            .map(|node| match node {
                Node::File(file) => file.volatile.len() as u64,
                Node::Directory(_) => 0,
            })
            .sum()
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn powered(&mut self) -> Result<&mut Image, Errno> {
        if self.is_cut {
            return Err(Errno::EIO);
        }
        Ok(self)
    }

    pub(super) fn node(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::ENOENT)
    }

    pub(super) fn file(&mut self, number: u64) -> Result<&mut File, Errno> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(Errno::EISDIR),
            None => Err(Errno::ENOENT),
        }
    }

    pub(super) fn directory(&mut self, number: u64) -> Result<&mut Directory, Errno> {
        match self.nodes.get_mut(&number) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    pub(super) fn find(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        let names = &self.directory(parent)?.names;
        names.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(super) fn make(&mut self, parent: u64, name: &OsStr, node: Node) -> Result<u64, Errno> {
        if self.find(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let number = self.nodes.keys().last().map_or(ROOT, |last| last + 1);
        self.directory(parent)?
            .change(vec![(name.to_owned(), Some(number))]);
        self.nodes.insert(number, node);
        Ok(number)
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        let number = self.find(parent, name)?;
        if matches!(self.node(number)?, Node::Directory(directory) if !directory.names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        // The bytes stay: after a cut the name may be there again.
        self.directory(parent)?
            .change(vec![(name.to_owned(), None)]);
        if let Ok(file) = self.file(number) {
            file.volatile = Vec::new();
            file.volatile.shrink_to_fit();
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, parent: u64, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        let number = self.find(parent, from)?;
        self.directory(parent)?
            .change(vec![(from.to_owned(), None), (to.to_owned(), Some(number))]);
        Ok(())
    }

    pub(super) fn write(&mut self, number: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let end = offset + data.len() as u64;
        let used = self.used();
        let capacity = self.capacity;
        let file = self.file(number)?;
        let grown = end.saturating_sub(file.volatile.len() as u64);
        if grown > capacity.saturating_sub(used) {
            return Err(Errno::ENOSPC);
        }
        file.write(offset, data);
        Ok(())
    }

    /// Whether there is room for a file of this length; it grows to that if it `grows`.
    pub(super) fn reserve(&mut self, number: u64, len: u64, grows: bool) -> Result<(), Errno> {
        let room = self.capacity.saturating_sub(self.used());
        let file = self.file(number)?;
        if len.saturating_sub(file.len()) > room {
            return Err(Errno::ENOSPC);
        }
        if grows && len > file.len() {
            file.set_len(len);
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, number: u64) -> Result<(), Errno> {
        let fails = self.syncs_left == Some(0);
        if let Some(left) = &mut self.syncs_left {
            *left = left.saturating_sub(1);
        }
        let file = self.file(number)?;
        if fails {
            file.forget();
            self.syncs_left = None;
            return Err(Errno::EIO);
        }
        file.sync();
        Ok(())
    }
}

impl File {
    pub(super) fn len(&self) -> u64 {
        self.volatile.len() as u64
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> &[u8] {
        let rest = self.volatile.get(offset as usize..).unwrap_or_default();
        &rest[..rest.len().min(len)]
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let (start, end) = (offset as usize, offset as usize + data.len());
        if end > self.volatile.len() {
            self.volatile.resize(end, 0);
        }
        self.volatile[start..end].copy_from_slice(data);
        let last = (offset + data.len() as u64).div_ceil(SECTOR_LEN);
        self.unsynced.extend(offset / SECTOR_LEN..last);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let before = self.len();
        self.volatile.resize(len as usize, 0);
        if len > before {
            self.unsynced
                .extend(before / SECTOR_LEN..len.div_ceil(SECTOR_LEN));
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.volatile.len(), 0);
        for sector in std::mem::take(&mut self.unsynced) {
            self.keep(sector);
        }
    }

    /// Takes a sector, or what there is of it, over into the durable image.
    fn keep(&mut self, sector: u64) {
        let start = (sector * SECTOR_LEN) as usize;
        let end = (start + SECTOR_LEN as usize)
            .min(self.volatile.len())
            .min(self.durable.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.volatile[start..end]);
        }
    }

    /// A sync that failed: what it should have kept will never be.
    fn forget(&mut self) {
        self.unsynced.clear();
    }

    fn cut(&mut self, random: &mut Random) {
        if random.percent(50) {
            self.durable.resize(self.volatile.len(), 0);
        }
        // Now and then all or nothing, else sector by sector.
        let percent = match random.below(4) {
            0 => 0,
            1 => 100,
            _ => 50,
        };
        for sector in std::mem::take(&mut self.unsynced) {
            if random.percent(percent) {
                self.keep(sector);
            }
        }
        self.volatile.clone_from(&self.durable);
    }
}

impl Directory {
    fn change(&mut self, change: Vec<(OsString, Option<u64>)>) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.names);
        self.unsynced.clear();
    }

    fn cut(&mut self, random: &mut Random) {
        let kept = random.below(self.unsynced.len() as u64 + 1) as usize;
        for change in self.unsynced.drain(..).take(kept) {
            apply(&mut self.durable, &change);
        }
        self.names.clone_from(&self.durable);
    }
}

fn apply(names: &mut Names, change: &[(OsString, Option<u64>)]) {
    for (name, number) in change {
        match number {
            Some(number) => names.insert(name.clone(), *number),
            None => names.remove(name),
        };
    }
}

/// A disk that forgets too little proves nothing, and one that forgets what was synced accuses the innocent.
#[test]
fn a_cut_takes_what_was_not_synced_and_nothing_else() {
    let mut torn = 0;
    for seed in 0..100 {
        let mut image = Image::default();
        let file = image
            .make(ROOT, OsStr::new("f"), Node::File(File::default()))
            .unwrap();
        image.directory(ROOT).unwrap().sync();
        image.write(file, 0, &[1; 4096]).unwrap();
        image.sync(file).unwrap();
        image.write(file, 1024, &[2; 2048]).unwrap();
        image
            .make(ROOT, OsStr::new("g"), Node::File(File::default()))
            .unwrap();
        image.cut(&mut Random::new(seed));
        assert!(image.powered().is_err());
        image.power_on();
        let bytes = image.file(file).unwrap().read(0, 1 << 20).to_vec();
        assert_eq!(bytes.len(), 4096);
        assert!(
            bytes[..1024]
                .iter()
                .chain(&bytes[3072..])
                .all(|byte| *byte == 1)
        );
        let sectors: Vec<u8> = bytes[1024..3072]
            .chunks(512)
            .map(|sector| sector[0])
            .collect();
        assert!(
            bytes[1024..3072]
                .chunks(512)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
        );
        torn += u32::from(sectors.contains(&1) && sectors.contains(&2));
    }
    assert!(torn > 0, "no cut ever tore a write");
}

/// After a failed sync the pages count as clean, and the next sync succeeds without having written them.
#[test]
fn a_failed_sync_is_not_made_up_for_by_the_next() {
    let mut image = Image::default();
    let file = image
        .make(ROOT, OsStr::new("f"), Node::File(File::default()))
        .unwrap();
    image.directory(ROOT).unwrap().sync();
    image.write(file, 0, &[1; 512]).unwrap();
    image.sync(file).unwrap();
    image.fail_sync_after(0);
    image.write(file, 0, &[2; 512]).unwrap();
    assert!(image.sync(file).is_err());
    image.sync(file).unwrap();
    image.cut(&mut Random::new(1));
    assert_eq!(image.file(file).unwrap().read(0, 1), [1]);
}
