//! A shard's segment files at a start, and the saved indexes beside them: listing, mapping, repairing and syncing them, before any executor runs.
//!
//! Mapped memory is right here and nowhere else: nothing waits on this core yet, so a page fault stalls nobody.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap};
use thiserror::Error;

use crate::limits;
use crate::storage::recovery::{Repair, SegmentFile};
use crate::storage::summary::SummaryFile;
use crate::types::SegmentId;

const EXTENSION: &str = ".seg";
/// Of a file that is to take the place of a segment's.
const EXTENSION_NEW: &str = ".seg.new";
const SUMMARY_EXTENSION: &str = ".sum";
/// Of a summary that is being written.
const SUMMARY_EXTENSION_NEW: &str = ".sum.new";

/// The name of a segment's file in its shard's directory.
#[must_use]
pub fn file_name(segment: SegmentId) -> String {
    format!("{segment}{EXTENSION}")
}

/// What a segment's file is called while it is made in place of one that a backup has as well.
fn file_name_new(path: &Path) -> PathBuf {
    path.with_extension("seg.new")
}

/// Whether a file has more than one name: a backup has it too.
pub(super) fn is_shared(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(file.metadata()?.nlink() > 1)
}

/// Puts a new file of this length, with what `fill` writes into it, in the place of one, for good. Whoever has the old one by another name keeps it.
pub(super) fn unshare(
    path: &Path,
    len: u64,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<File> {
    let new = file_name_new(path);
    let file = File::create(&new)?;
    fill(&file)?;
    file.set_len(len)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(directory) => sync_directory(directory)?,
        None => unreachable!("a segment's file lies in its shard's directory"),
    }
    Ok(file)
}

/// The name of the saved index beside it.
#[must_use]
pub fn summary_name(segment: SegmentId) -> String {
    format!("{segment}{SUMMARY_EXTENSION}")
}

/// Its name until it is whole.
pub(super) fn summary_name_new(segment: SegmentId) -> String {
    format!("{segment}{SUMMARY_EXTENSION_NEW}")
}

/// What a file in a shard's directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Segment(SegmentId),
    Summary(SegmentId),
    /// A summary, or a file to take another's place, that was never finished.
    Unfinished,
}

/// The segment whose file has this name.
#[must_use]
pub fn segment_of(name: &str) -> Option<SegmentId> {
    match named(name) {
        Some(Named::Segment(id)) => Some(id),
        _ => None,
    }
}

fn named(name: &str) -> Option<Named> {
    let segment = |extension: &str| {
        let digits = name.strip_suffix(extension)?;
        let id = SegmentId(u64::from_str_radix(digits, 16).ok()?);
        (format!("{id}{extension}") == name).then_some(id)
    };
    segment(EXTENSION)
        .map(Named::Segment)
        .or_else(|| segment(SUMMARY_EXTENSION).map(Named::Summary))
        .or_else(|| segment(SUMMARY_EXTENSION_NEW).map(|_| Named::Unfinished))
        .or_else(|| segment(EXTENSION_NEW).map(|_| Named::Unfinished))
}

/// Something that could not be done with a segment file or its directory.
#[derive(Debug, Error)]
#[error("can't {action} {}: {source}", .path.display())]
pub struct SegmentsError {
    /// What was to be done.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the kernel says.
    pub source: io::Error,
}

pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SegmentsError {
    let path = path.to_owned();
    move |source| SegmentsError {
        action,
        path,
        source,
    }
}

/// The mapped segment files of one shard, and its saved indexes.
#[derive(Debug)]
pub struct Segments {
    directory: PathBuf,
    files: Vec<MappedFile>,
    summaries: Vec<MappedFile>,
    /// Whose saved indexes there are, those included that can't be mapped.
    summarized: Vec<SegmentId>,
    /// Left over from writing a summary, or from putting a file in another's place.
    unfinished: Vec<PathBuf>,
}

#[derive(Debug)]
struct MappedFile {
    id: SegmentId,
    name: String,
    map: Mmap,
}

impl MappedFile {
    fn open(id: SegmentId, path: &Path) -> Result<MappedFile, SegmentsError> {
        let map = map(path)?;
        let name = path.display().to_string();
        Ok(MappedFile { id, name, map })
    }
}

impl Segments {
    /// Maps every segment file of a directory, which is made if it isn't there, and every saved index. Other files are left alone.
    ///
    /// # Errors
    /// [`SegmentsError`] with the first segment file that can't be opened. A saved index that can't be is as good as none.
    pub fn open(directory: &Path) -> Result<Segments, SegmentsError> {
        fs::create_dir_all(directory).map_err(at("make the directory", directory))?;
        let mut segments = Segments::empty(directory);
        let listed = fs::read_dir(directory).map_err(at("list the directory", directory))?;
        for entry in listed {
            let entry = entry.map_err(at("list the directory", directory))?;
            let path = entry.path();
            match entry.file_name().to_str().and_then(named) {
                Some(Named::Segment(id)) => segments.files.push(MappedFile::open(id, &path)?),
                Some(Named::Summary(id)) => {
                    segments.summarized.push(id);
                    match MappedFile::open(id, &path) {
                        Ok(file) => segments.summaries.push(file),
                        Err(error) => tracing::warn!(%error, "the segment is read instead"),
                    }
                }
                Some(Named::Unfinished) => segments.unfinished.push(path),
                None => {
                    tracing::warn!(file = %path.display(), "not a segment file; it is left alone");
                }
            }
        }
        Ok(segments)
    }

    /// The saved indexes that there are, good or bad.
    #[must_use]
    pub fn summaries(&self) -> Vec<SummaryFile<'_>> {
        self.summaries
            .iter()
            .map(|file| SummaryFile {
                segment: file.id,
                bytes: &file.map,
            })
            .collect()
    }

    /// Maps every segment file of a directory as [`Segments::open`] does, and makes nothing.
    ///
    /// # Errors
    /// [`SegmentsError`] with the first file that can't be opened.
    pub fn open_existing(directory: &Path) -> Result<Segments, SegmentsError> {
        if directory.exists() {
            return Segments::open(directory);
        }
        Ok(Segments::empty(directory))
    }

    fn empty(directory: &Path) -> Segments {
        Segments {
            directory: directory.to_owned(),
            files: Vec::new(),
            summaries: Vec::new(),
            summarized: Vec::new(),
            unfinished: Vec::new(),
        }
    }

    /// What recovery reads.
    #[must_use]
    pub fn files(&self) -> Vec<SegmentFile<'_>> {
        self.files
            .iter()
            .map(|file| SegmentFile {
                id: file.id,
                name: &file.name,
                bytes: &file.map,
            })
            .collect()
    }

    /// Bytes of all files.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.map.len() as u64).sum()
    }

    /// Carries out recovery's plan and syncs every file that is left, then the directory. Nothing may be served or written before it
    /// is done: what recovery read may have been in the page cache alone.
    ///
    /// A segment that is changed loses its saved index first, and for good: that would say what was there before. So do segments that are not there.
    ///
    /// # Errors
    /// [`SegmentsError`]; the next recovery then comes to the same plan.
    pub fn repair(mut self, repairs: &[Repair]) -> Result<(), SegmentsError> {
        let mut left: Vec<SegmentId> = self.files.iter().map(|file| file.id).collect();
        self.drop_summaries(repairs)?;
        let Segments { directory, .. } = self;
        for repair in repairs {
            own(&directory.join(file_name(repair.segment())), repair)?;
            match repair {
                Repair::Zero {
                    segment,
                    offset,
                    len,
                } => {
                    tracing::info!(segment = %segment, offset, len, "cut what a crash left unfinished");
                    zero(&directory.join(file_name(*segment)), *offset, *len)?;
                }
                Repair::Write {
                    segment,
                    offset,
                    bytes,
                } => {
                    tracing::info!(segment = %segment, offset, len = bytes.len(), "repair");
                    let path = directory.join(file_name(*segment));
                    // A header says that all before it was on disk, and after a kill -9 that may be in the page cache alone.
                    sync_files(&directory, &left)?;
                    let file = open_to_write(&path)?;
                    file.write_all_at(bytes, *offset)
                        .and_then(|()| file.sync_all())
                        .map_err(at("repair", &path))?;
                }
                Repair::Extend { segment, len } => {
                    tracing::info!(segment = %segment, len, "fill up a file that has lost its end");
                    let path = directory.join(file_name(*segment));
                    let file = open_to_write(&path)?;
                    let metadata = file.metadata().map_err(at("look at", &path))?;
                    let from = metadata.len().min(*len);
                    file.sync_all().map_err(at("sync", &path))?;
                    zero(&path, from, len - from)?;
                }
                Repair::Create { segment } => {
                    tracing::info!(segment = %segment, "make a file in place of one that is missing");
                    let path = directory.join(file_name(*segment));
                    // What shows that it is missing must not vanish in a crash before this file is there.
                    sync_files(&directory, &left)?;
                    File::create_new(&path).map_err(at("make", &path))?;
                    sync_directory(&directory).map_err(at("sync the directory", &directory))?;
                    left.push(*segment);
                }
                Repair::Truncate { segment, len } => {
                    tracing::info!(segment = %segment, len, "finish the removal of a segment");
                    let path = directory.join(file_name(*segment));
                    let file = open_to_write(&path)?;
                    file.sync_all()
                        .and_then(|()| file.set_len(*len))
                        .and_then(|()| file.sync_all())
                        .map_err(at("repair", &path))?;
                }
                Repair::Delete { segment } => {
                    tracing::debug!(segment = %segment, "delete a segment that was never begun, or was removed");
                    let path = directory.join(file_name(*segment));
                    fs::remove_file(&path).map_err(at("delete", &path))?;
                    sync_directory(&directory).map_err(at("sync the directory", &directory))?;
                    left.retain(|id| id != segment);
                }
            }
        }
        sync_files(&directory, &left)
    }

    fn drop_summaries(&mut self, repairs: &[Repair]) -> Result<(), SegmentsError> {
        let is_stale = |id: &&SegmentId| {
            repairs.iter().any(|repair| repair.segment() == **id)
                || !self.files.iter().any(|file| file.id == **id)
        };
        let stale = self.summarized.iter().filter(is_stale);
        let stale: Vec<PathBuf> = stale
            .map(|id| self.directory.join(summary_name(*id)))
            .chain(std::mem::take(&mut self.unfinished))
            .collect();
        self.summaries.clear();
        self.files.clear();
        for path in &stale {
            fs::remove_file(path).map_err(at("delete", path))?;
        }
        if stale.is_empty() {
            return Ok(());
        }
        sync_directory(&self.directory).map_err(at("sync the directory", &self.directory))
    }
}

/// Before a file is changed that a backup has as well: gives the node one of its own.
fn own(path: &Path, repair: &Repair) -> Result<(), SegmentsError> {
    if matches!(repair, Repair::Create { .. } | Repair::Delete { .. }) {
        return Ok(());
    }
    let old = File::open(path).map_err(at("open", path))?;
    let copy = || -> io::Result<()> {
        if is_shared(&old)? {
            let len = old.metadata()?.len();
            let copied = unshare(path, len, |new| io::copy(&mut &old, &mut &*new).map(|_| ()));
            copied?;
        }
        Ok(())
    };
    copy().map_err(at("copy", path))
}

pub(super) fn map(path: &Path) -> Result<Mmap, SegmentsError> {
    let file = File::open(path).map_err(at("open", path))?;
    #[expect(
        unsafe_code,
        reason = "mapping is what makes recovery fast, see the argument"
    )]
    // SAFETY: the map is read only while the directory's lock is held and before this node writes to its files; whoever
    // else changes a file meanwhile could equally have changed it before. Readers check every byte and never keep
    // references into the map beyond `Segments`.
    let map = unsafe { Mmap::map(&file) }.map_err(at("map", path))?;
    // A hint: recovery is right without it.
    let _ = map.advise(Advice::Sequential);
    Ok(map)
}

/// Syncs these files, then the directory.
fn sync_files(directory: &Path, segments: &[SegmentId]) -> Result<(), SegmentsError> {
    for segment in segments {
        let path = directory.join(file_name(*segment));
        let file = open_to_write(&path)?;
        file.sync_all().map_err(at("sync", &path))?;
    }
    sync_directory(directory).map_err(at("sync the directory", directory))
}

fn open_to_write(path: &Path) -> Result<File, SegmentsError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(at("open", path))
}

fn zero(path: &Path, mut offset: u64, mut len: u64) -> Result<(), SegmentsError> {
    let file = open_to_write(path)?;
    let zeros = vec![0; limits::PREPARE_SLICE_BYTES as usize];
    while len > 0 {
        let slice = len.min(zeros.len() as u64);
        file.write_all_at(&zeros[..slice as usize], offset)
            .map_err(at("repair", path))?;
        offset += slice;
        len -= slice;
    }
    file.sync_all().map_err(at("sync", path))
}

/// Makes what was created or deleted in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy that an operator left beside a segment (`….seg.bak`, `….SEG`, a short number) must not be read as a segment:
    /// two files would claim one place.
    #[test]
    fn only_exact_names_are_segments() {
        assert_eq!(file_name(SegmentId(26)), "000000000000001a.seg");
        let id = SegmentId(26);
        assert_eq!(named("000000000000001a.seg"), Some(Named::Segment(id)));
        assert_eq!(named(&summary_name(id)), Some(Named::Summary(id)));
        assert_eq!(named(&summary_name_new(id)), Some(Named::Unfinished));
        for other in [
            "1a.seg",
            "000000000000001A.seg",
            "000000000000001a.seg.bak",
            "+00000000000001a.seg",
            "1a.sum",
            "1a.seg.new",
            "000000000000001a.sum.old",
            ".seg",
            "LOCK",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    /// A saved index of what a segment was before it was repaired would bring back at a later start what salvage has given up.
    #[test]
    fn what_is_changed_loses_its_saved_index() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: String| fs::write(directory.path().join(name), [7; 100]).unwrap();
        for id in 1..=3 {
            put(file_name(SegmentId(id)));
        }
        for id in 1..=4 {
            put(summary_name(SegmentId(id)));
        }
        put(summary_name_new(SegmentId(1)));
        let segments = Segments::open(directory.path()).unwrap();
        let found = segments.summaries();
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|summary| summary.bytes == [7; 100]));
        let repairs = [
            Repair::Write {
                segment: SegmentId(1),
                offset: 4,
                bytes: vec![1],
            },
            Repair::Delete {
                segment: SegmentId(3),
            },
        ];
        segments.repair(&repairs).unwrap();
        let mut left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let id = SegmentId;
        assert_eq!(
            left,
            [file_name(id(1)), file_name(id(2)), summary_name(id(2))]
        );
    }

    /// Repairs come in an order that a crash may cut anywhere; each must reach the file that it names, beyond its end too.
    #[test]
    fn repairs_reach_their_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |id| directory.path().join(file_name(SegmentId(id)));
        fs::write(path(1), [7; 100]).unwrap();
        fs::write(path(2), [8; 10]).unwrap();
        let segments = Segments::open(directory.path()).unwrap();
        assert_eq!(segments.len_bytes(), 110);
        let segment = SegmentId(1);
        let repairs = [
            Repair::Zero {
                segment,
                offset: 90,
                len: 30,
            },
            Repair::Write {
                segment,
                offset: 4,
                bytes: vec![1, 2],
            },
            Repair::Extend { segment, len: 130 },
            Repair::Create {
                segment: SegmentId(3),
            },
            Repair::Write {
                segment: SegmentId(3),
                offset: 1,
                bytes: vec![9],
            },
            Repair::Delete {
                segment: SegmentId(2),
            },
        ];
        segments.repair(&repairs).unwrap();
        let mut expected = vec![7; 90];
        expected[4..6].copy_from_slice(&[1, 2]);
        expected.extend([0; 40]);
        assert_eq!(fs::read(path(1)).unwrap(), expected);
        assert_eq!(fs::read(path(3)).unwrap(), [0, 9]);
        assert!(!path(2).exists());
    }

    /// A repair of the node's log would change what a backup has, and that without a word.
    #[test]
    fn what_a_backup_has_too_is_not_repaired_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(file_name(SegmentId(1)));
        let kept = directory.path().join("kept");
        fs::write(&path, [7; 8192]).unwrap();
        fs::hard_link(&path, &kept).unwrap();
        let segments = Segments::open(directory.path()).unwrap();
        let repairs = [Repair::Write {
            segment: SegmentId(1),
            offset: 4096,
            bytes: vec![1; 512],
        }];
        segments.repair(&repairs).unwrap();
        assert!(fs::read(&kept).unwrap() == [7; 8192]);
        let repaired = fs::read(&path).unwrap();
        assert_eq!(repaired[..4096], [7; 4096]);
        assert_eq!(repaired[4096..4608], [1; 512]);
        assert_eq!(repaired[4608..], [7; 8192 - 4608]);
    }
}
