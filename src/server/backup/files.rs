//! The files of one shard in a backup: linked where they can be, else copied; each gone over once, for its checksum.
//!
//! A segment that was left is not written to any more, so the node's file and the backup's may be the same one. (Whoever changes such a file all the same,
//! compaction that makes it a stub, or a repair, first sees whether it is linked to from elsewhere, and then puts another in its place.) On another
//! filesystem there are no links: then it is copied. One that the last backup of the series has is linked to that, and not read again.
//!
//! Reading and copying go piece by piece, with a rest after each: the node needs the disk.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crc32fast::Hasher;
use rustix::fs::{Advice, fadvise};

use super::BackupError;
use super::error::failed;
use super::manifest::{FileBackup, FileKind, ShardBackup, Source};
use crate::limits::{BACKUP_PIECE_BYTES, BACKUP_REST_NS_MAX, BACKUP_SYNC_BYTES, SECTOR_LEN};
use crate::runtime::glommio::file_name;
use crate::server::directory::sync_directory;
use crate::shard::backup::ShardPoint;
use crate::storage::format::{SEGMENT_HEADER_LEN, SegmentHeader, SegmentState};
use crate::storage::log::{PointFile, PointFileKind};
use crate::types::{Position, SegmentId, ShardId};

/// What was done, in bytes of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Copied.
    pub(super) copied: u64,
    /// Linked to the node's own files.
    pub(super) linked: u64,
    /// Linked to files of the backup before.
    pub(super) reused: u64,
}

/// How a backup's work is watched, and stopped.
pub(super) trait Watch {
    /// So many bytes more are done. `false`: give it up.
    fn go_on(&self, bytes: u64) -> bool;
}

/// One shard's files, from where and to where.
#[derive(Debug)]
pub(super) struct ShardCopy<'a, W> {
    /// The shard.
    pub(super) shard: ShardId,
    /// Where its segments are.
    pub(super) from: PathBuf,
    /// Where they go; it isn't there yet.
    pub(super) to: PathBuf,
    /// The same shard's part of the last backup, and its directory.
    pub(super) last: Option<(&'a ShardBackup, PathBuf)>,
    /// Who watches.
    pub(super) watch: &'a W,
}

impl<W: Watch> ShardCopy<'_, W> {
    /// Copies everything below a point, and makes it durable.
    ///
    /// # Errors
    /// [`BackupError`].
    pub(super) fn carry_out(
        &self,
        point: &ShardPoint,
        done: &mut Done,
    ) -> Result<ShardBackup, BackupError> {
        fs::create_dir(&self.to).map_err(failed("make the directory", &self.to))?;
        let mut files = Vec::with_capacity(point.log.files.len());
        for file in &point.log.files {
            files.push(match file.kind {
                PointFileKind::Sealed { end, .. } => self.sealed(file, end, done)?,
                PointFileKind::Active { base, end } => {
                    let len = SEGMENT_HEADER_LEN as u64 + (end.0 - base.0);
                    self.copy(file, FileKind::Active, len, done)?
                }
                PointFileKind::Stub => {
                    self.copy(file, FileKind::Stub, SEGMENT_HEADER_LEN as u64, done)?
                }
            });
        }
        if files.is_empty() {
            files.push(self.nothing()?);
        }
        sync_directory(&self.to)?;
        Ok(ShardBackup {
            shard: self.shard.0,
            end: point.log.end.0,
            wall_ms: point.wall.0,
            files,
        })
    }

    /// A shard that was never written to: a first segment that has not begun says that nothing is lost.
    fn nothing(&self) -> Result<FileBackup, BackupError> {
        let name = file_name(SegmentId(1));
        let path = self.to.join(&name);
        File::create_new(&path)
            .and_then(|file| file.sync_all())
            .map_err(failed("write", &path))?;
        Ok(FileBackup {
            name,
            kind: FileKind::Active,
            len: 0,
            crc32: 0,
            source: None,
        })
    }

    fn sealed(
        &self,
        file: &PointFile,
        end: Position,
        done: &mut Done,
    ) -> Result<FileBackup, BackupError> {
        let name = file_name(file.segment);
        let (from, to) = (self.from.join(&name), self.to.join(&name));
        let opened = self.open(&from, file)?;
        let metadata = opened.metadata().map_err(failed("look at", &from))?;
        let seconds = metadata.mtime().saturating_mul(1_000_000_000);
        let source = Source {
            inode: metadata.ino(),
            modified_ns: seconds.saturating_add(metadata.mtime_nsec()),
            end: end.0,
        };
        let len = metadata.len();
        if let Some((last, directory)) = &self.last
            && let Some(known) = last.files.iter().find(|known| known.name == name)
            && known.source == Some(source)
            && known.len == len
            && fs::hard_link(directory.join(&name), &to).is_ok()
        {
            done.reused += len;
            self.note(len)?;
            return Ok(known.clone());
        }
        let crc32 = match fs::hard_link(&from, &to) {
            Ok(()) => {
                done.linked += len;
                self.pass(&opened, &from, len, |_, _| Ok(()))?
            }
            // Another filesystem, one without links, or too many of them.
            Err(_) => self.copy_bytes(&opened, (&from, &to), (len, len), done)?,
        };
        Ok(FileBackup {
            name,
            kind: FileKind::Sealed,
            len,
            crc32,
            source: Some(source),
        })
    }

    /// Copies the first `len` bytes of a file. What follows in a segment reads as zeros.
    fn copy(
        &self,
        file: &PointFile,
        kind: FileKind,
        len: u64,
        done: &mut Done,
    ) -> Result<FileBackup, BackupError> {
        let name = file_name(file.segment);
        let (from, to) = (self.from.join(&name), self.to.join(&name));
        let opened = self.open(&from, file)?;
        let whole = match kind {
            FileKind::Stub => len,
            _ => opened.metadata().map_err(failed("look at", &from))?.len(),
        };
        let crc32 = self.copy_bytes(&opened, (&from, &to), (len, whole), done)?;
        Ok(FileBackup {
            name,
            kind,
            len: whole,
            crc32,
            source: None,
        })
    }

    /// Opens a segment's file if it is what the shard says.
    fn open(&self, path: &Path, file: &PointFile) -> Result<File, BackupError> {
        let opened = File::open(path).map_err(failed("open", path))?;
        // What is read here once must not push out of the page cache what clients read.
        let _ = fadvise(&opened, 0, None, Advice::NoReuse);
        let mut sector = [0; SECTOR_LEN];
        opened
            .read_exact_at(&mut sector, 0)
            .map_err(failed("read", path))?;
        let wrong = |reason: String| BackupError::Source {
            path: path.to_owned(),
            reason,
        };
        let header = SegmentHeader::decode(&sector).map_err(|error| wrong(error.to_string()))?;
        let is_right = match (file.kind, header.state) {
            (PointFileKind::Stub, SegmentState::Removed(_)) => true,
            (
                PointFileKind::Sealed { base, .. } | PointFileKind::Active { base, .. },
                SegmentState::Active { base: found },
            ) => base == found,
            _ => false,
        };
        if header.segment != file.segment || header.shard != self.shard || !is_right {
            return Err(wrong("its header is that of another segment".to_owned()));
        }
        Ok(opened)
    }

    /// Copies the first `len` bytes, leaves a hole up to `whole`, syncs, and gives the checksum of all of it.
    fn copy_bytes(
        &self,
        opened: &File,
        (from, to): (&Path, &Path),
        (len, whole): (u64, u64),
        done: &mut Done,
    ) -> Result<u32, BackupError> {
        let copy = File::create_new(to).map_err(failed("make", to))?;
        let mut unsynced = 0;
        let crc32 = self.pass(opened, from, len, |offset, piece| {
            copy.write_all_at(piece, offset)?;
            unsynced += piece.len() as u64;
            if unsynced >= BACKUP_SYNC_BYTES {
                unsynced = 0;
                copy.sync_data()?;
            }
            Ok(())
        })?;
        copy.set_len(whole)
            .and_then(|()| copy.sync_all())
            .map_err(failed("write", to))?;
        // Nobody reads it for now, and its place in the page cache is wanted.
        let _ = fadvise(&copy, 0, None, Advice::DontNeed);
        done.copied += len;
        self.note(whole - len)?;
        let mut all = Hasher::new_with_initial_len(crc32, len);
        all.combine(&zeros(whole - len));
        Ok(all.finalize())
    }

    /// Goes over a file's first `len` bytes. Gives their checksum.
    fn pass(
        &self,
        opened: &File,
        path: &Path,
        len: u64,
        mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<u32, BackupError> {
        let mut buffer = vec![0; BACKUP_PIECE_BYTES.min(len as usize)];
        let mut hasher = Hasher::new();
        let mut offset = 0;
        while offset < len {
            let began = Instant::now();
            let piece = (len - offset).min(buffer.len() as u64) as usize;
            let piece = &mut buffer[..piece];
            opened
                .read_exact_at(piece, offset)
                .map_err(failed("read", path))?;
            hasher.update(piece);
            each(offset, piece).map_err(failed("write a copy of", path))?;
            offset += piece.len() as u64;
            self.note(piece.len() as u64)?;
            thread::sleep(
                began
                    .elapsed()
                    .min(Duration::from_nanos(BACKUP_REST_NS_MAX)),
            );
        }
        Ok(hasher.finalize())
    }

    fn note(&self, bytes: u64) -> Result<(), BackupError> {
        match self.watch.go_on(bytes) {
            true => Ok(()),
            false => Err(BackupError::Stopping),
        }
    }
}

/// The checksum's state after so many zeros, to be combined with another: without going over them one by one.
fn zeros(len: u64) -> Hasher {
    // Doubling: the checksum of 2n zeros is that of n, combined with itself.
    let mut all = Hasher::new();
    let mut power = Hasher::new();
    power.update(&[0]);
    let mut left = len;
    while left > 0 {
        if left & 1 == 1 {
            all.combine(&power);
        }
        let half = power.clone();
        power.combine(&half);
        left >>= 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_have_the_checksum_of_zeros() {
        for len in [0, 1, 2, 511, 4096, 100_001] {
            let mut hasher = Hasher::new();
            hasher.update(b"before");
            hasher.combine(&zeros(len));
            let mut bytes = b"before".to_vec();
            bytes.resize(6 + len as usize, 0);
            assert_eq!(hasher.finalize(), crc32fast::hash(&bytes), "{len}");
        }
    }
}
