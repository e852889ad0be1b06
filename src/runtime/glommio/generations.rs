//! The files of both generations while data moves to another number of shards, before any executor runs.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use memmap2::Mmap;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::preparer::{Removing, remove};
use super::segments::{SegmentsError, at, file_name, map, sync_directory};
use crate::limits;
use crate::shard::reshard::{MoveFiles, Side};
use crate::storage::disk::DiskTicket;
use crate::types::{SegmentId, ShardId};

/// See the module's header.
#[derive(Debug)]
pub struct Generations {
    /// The directories of the old shards.
    old: Vec<PathBuf>,
    /// Those of the new ones.
    new: Vec<PathBuf>,
    /// The file of each new shard that was written to last.
    open: BTreeMap<ShardId, (SegmentId, File)>,
}

impl Generations {
    /// The shards' directories, all of which exist.
    #[must_use]
    pub fn new(old: Vec<PathBuf>, new: Vec<PathBuf>) -> Generations {
        Generations {
            old,
            new,
            open: BTreeMap::new(),
        }
    }

    fn path(&self, side: Side, shard: ShardId, segment: SegmentId) -> PathBuf {
        let directories = match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        };
        directories[shard.index()].join(file_name(segment))
    }

    /// A file of the new generation, to write to it.
    fn writable(&mut self, shard: ShardId, segment: SegmentId) -> Result<&File, SegmentsError> {
        let is_open = self.open.get(&shard).is_some_and(|open| open.0 == segment);
        if !is_open {
            let path = self.path(Side::New, shard, segment);
            let file = OpenOptions::new().write(true).open(&path);
            let file = file.map_err(at("open", &path))?;
            self.open.insert(shard, (segment, file));
        }
        Ok(&self.open[&shard].1)
    }
}

impl MoveFiles for Generations {
    type Error = SegmentsError;
    type Bytes = Mmap;

    fn read(
        &mut self,
        side: Side,
        shard: ShardId,
        segment: SegmentId,
    ) -> Result<Mmap, SegmentsError> {
        map(&self.path(side, shard, segment))
    }

    fn prepare(
        &mut self,
        shard: ShardId,
        segment: SegmentId,
        len: u64,
        header: &[u8],
    ) -> Result<(), SegmentsError> {
        let path = self.path(Side::New, shard, segment);
        let directory = &self.new[shard.index()];
        let made = make(&path, len, header).and_then(|()| sync_directory(directory));
        if made.is_err() {
            // It takes no space then. Whether this fails too does not matter; why the file could not be made does.
            let _ = OpenOptions::new().write(true).truncate(true).open(&path);
        }
        made.map_err(at("make", &path))
    }

    fn write(
        &mut self,
        shard: ShardId,
        segment: SegmentId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), SegmentsError> {
        let path = self.path(Side::New, shard, segment);
        let file = self.writable(shard, segment)?;
        file.write_all_at(bytes, offset).map_err(at("write", &path))
    }

    fn sync(&mut self, segments: &[(ShardId, SegmentId)]) -> Result<(), SegmentsError> {
        for (shard, segment) in segments {
            self.writable(*shard, *segment)?;
        }
        let this = &*self;
        let sync = |(shard, segment): (ShardId, SegmentId)| {
            let synced = this.open[&shard].1.sync_data();
            synced.map_err(at("sync", &this.path(Side::New, shard, segment)))
        };
        // The disk can do them at once.
        thread::scope(|scope| {
            let syncs: Vec<_> = segments
                .iter()
                .map(|place| scope.spawn(|| sync(*place)))
                .collect();
            syncs
                .into_iter()
                .try_for_each(|sync| sync.join().expect("a panic ends the process"))
        })
    }

    fn remove(
        &mut self,
        shard: ShardId,
        stub: SegmentId,
        header: &[u8],
        delete: &[SegmentId],
    ) -> Result<(), SegmentsError> {
        let removing = Removing {
            ticket: DiskTicket(0),
            stub,
            header: header.to_vec(),
            delete: delete.to_vec(),
        };
        let path = self.path(Side::Old, shard, stub);
        remove(&self.old[shard.index()], &removing).map_err(at("take away", &path))
    }
}

/// Makes a file of zeros that begins with `header`, its space reserved, and syncs it.
fn make(path: &Path, len: u64, header: &[u8]) -> io::Result<()> {
    let file = File::create(path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len) {
        Ok(()) => {}
        // Some filesystems can't reserve; writing finds out just as well.
        Err(Errno::OPNOTSUPP) => {
            let zeros = vec![0; limits::PREPARE_SLICE_BYTES as usize];
            let mut offset = 0;
            while offset < len {
                let slice = (len - offset).min(zeros.len() as u64);
                file.write_all_at(&zeros[..slice as usize], offset)?;
                offset += slice;
            }
        }
        Err(error) => return Err(error.into()),
    }
    file.write_all_at(header, 0)?;
    file.sync_all()
}
