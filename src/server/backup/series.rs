//! A series of backups of one node: a directory with one directory a backup.
//!
//! ```text
//! nightly/
//!   LOCK
//!   backup-20261130T172221.123Z/
//!     BACKUP                        written last: what is in here, with checksums
//!     MANIFEST                      the node's own, as in its data directory
//!     shard-000/
//!       0000000000000001.seg        a link, to the node's file or to an earlier backup's, or a copy
//! ```
//!
//! A backup's directory looks like a data directory, so the tools for those work on it. It needs no other one: files that it shares with others are there as
//! long as any of them is. Whatever has no `BACKUP` is what a crash left of one, or a deletion that a crash cut short, and goes before the next is taken.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::BackupError;
use super::error::failed;
use super::manifest::{BACKUP, BackupManifest};
use crate::server::directory::sync_directory;
use crate::types::WallMillis;

const LOCK: &str = "LOCK";
const PREFIX: &str = "backup-";

/// A series' directory that this process has locked.
#[derive(Debug)]
pub struct Series {
    path: PathBuf,
    _lock: File,
}

impl Series {
    /// Locks the directory, which is made if it isn't there.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn open(path: &Path) -> Result<Series, BackupError> {
        fs::create_dir_all(path).map_err(failed("make the directory", path))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Series {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(BackupError::InUse {
                path: path.to_owned(),
            }),
            Err(error) => Err(failed("lock", &lock_path)(error.into())),
        }
    }

    /// Deletes what is no whole backup.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn clean(&self) -> Result<(), BackupError> {
        for name in names(&self.path)? {
            let directory = self.path.join(&name);
            if !directory.join(BACKUP).exists() {
                tracing::info!(backup = %directory.display(), "delete a backup that was never finished");
                fs::remove_dir_all(&directory).map_err(failed("delete", &directory))?;
            }
        }
        Ok(())
    }

    /// The last whole backup of this node, by its name, if its manifest can be read.
    ///
    /// # Errors
    /// [`BackupError`]; also if it is one of another node.
    pub fn last(&self, node: [u8; 16]) -> Result<Option<(String, BackupManifest)>, BackupError> {
        let Some(name) = names(&self.path)?.pop() else {
            return Ok(None);
        };
        match BackupManifest::read(&self.path.join(&name)) {
            Ok(Some(manifest)) if manifest.node == node => Ok(Some((name, manifest))),
            Ok(Some(manifest)) => Err(BackupError::OtherNode {
                path: self.path.clone(),
                found: format!("{:032x}", u128::from_be_bytes(manifest.node)),
            }),
            Ok(None) => Ok(None),
            Err(error @ (BackupError::Damaged { .. } | BackupError::Format { .. })) => {
                tracing::warn!(%error, "nothing is taken over from the last backup");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the directory of a new backup, whose name comes after those of all that are there.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn begin(&self, now: WallMillis) -> Result<(String, PathBuf), BackupError> {
        let last = names(&self.path)?.pop();
        let mut at = now;
        let mut name = name_of(at);
        while last.as_ref().is_some_and(|last| *last >= name) {
            // The clock has gone back. A name that is no time sorts somewhere; it does not hold up the loop.
            at = match last.as_deref().and_then(time_of) {
                Some(last) if last >= at => WallMillis(last.0 + 1),
                _ => break,
            };
            name = name_of(at);
        }
        let directory = self.path.join(&name);
        fs::create_dir(&directory).map_err(failed("make the directory", &directory))?;
        sync_directory(&self.path)?;
        Ok((name, directory))
    }

    /// Deletes the oldest whole backups but so many. Each is no backup any more from the first step on.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn keep(&self, count: usize) -> Result<Vec<String>, BackupError> {
        let mut names = names(&self.path)?;
        names.truncate(names.len().saturating_sub(count));
        for name in &names {
            let directory = self.path.join(name);
            let manifest = directory.join(BACKUP);
            match fs::remove_file(&manifest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("delete", &manifest)(error));
                }
                _ => {}
            }
            sync_directory(&directory)?;
            fs::remove_dir_all(&directory).map_err(failed("delete", &directory))?;
        }
        Ok(names)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The directories of backups in a series, whole or not, the oldest first.
pub(super) fn names(series: &Path) -> Result<Vec<String>, BackupError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(series)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && name.starts_with(PREFIX)
                && entry.file_type()?.is_dir()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    };
    list().map_err(failed("list the directory", series))
}

/// `backup-` and the time, so that names sort by it.
fn name_of(at: WallMillis) -> String {
    let text = crate::server::tools::time(at).replace(['-', ':'], "");
    format!("{PREFIX}{text}")
}

/// The time in a name.
fn time_of(name: &str) -> Option<WallMillis> {
    let text = name.strip_prefix(PREFIX)?;
    let (date, time) = text.split_once('T')?;
    let (year, rest) = date.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    let (hour, rest) = time.split_at_checked(2)?;
    let (minute, second) = rest.split_at_checked(2)?;
    let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}");
    let time = humantime::parse_rfc3339(&text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(WallMillis(u64::try_from(since.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: WallMillis = WallMillis(1_796_059_341_123);

    #[test]
    fn a_name_is_a_time_that_sorts() {
        assert_eq!(name_of(AT), "backup-20261130T172221.123Z");
        assert_eq!(time_of(&name_of(AT)), Some(AT));
        assert_eq!(time_of("backup-mine"), None);
    }

    /// What a crash left must not be taken for a backup, nor a whole backup for what a crash left.
    #[test]
    fn only_what_is_unfinished_is_cleaned_away() {
        let directory = tempfile::tempdir().unwrap();
        let series = Series::open(directory.path()).unwrap();
        let (whole, path) = series.begin(AT).unwrap();
        fs::write(path.join(BACKUP), "{}").unwrap();
        fs::create_dir(directory.path().join("notes")).unwrap();
        let (_, unfinished) = series.begin(AT).unwrap();
        fs::create_dir(unfinished.join("shard-000")).unwrap();
        series.clean().unwrap();
        assert_eq!(names(directory.path()).unwrap(), [whole]);
        assert!(directory.path().join("notes").exists());
    }

    /// A clock that went back would make the newest backup sort as an older one: restored in its stead would be an older state.
    #[test]
    fn a_later_backup_has_a_later_name() {
        let directory = tempfile::tempdir().unwrap();
        let series = Series::open(directory.path()).unwrap();
        let (first, _) = series.begin(AT).unwrap();
        let (second, _) = series.begin(AT).unwrap();
        let (third, _) = series.begin(WallMillis(AT.0 - 5000)).unwrap();
        assert!(first < second && second < third);
    }

    #[test]
    fn the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let series = Series::open(directory.path()).unwrap();
        let mut made = Vec::new();
        for number in 0..4 {
            let (name, path) = series.begin(WallMillis(AT.0 + number)).unwrap();
            fs::write(path.join(BACKUP), "{}").unwrap();
            made.push(name);
        }
        assert_eq!(series.keep(2).unwrap(), made[..2]);
        assert_eq!(names(directory.path()).unwrap(), made[2..]);
        assert!(series.keep(2).unwrap().is_empty());
    }

    #[test]
    fn one_process_at_a_time_works_on_a_series() {
        let directory = tempfile::tempdir().unwrap();
        let first = Series::open(directory.path()).unwrap();
        let second = Series::open(directory.path());
        assert!(matches!(second, Err(BackupError::InUse { .. })));
        drop(first);
        assert!(Series::open(directory.path()).is_ok());
    }
}
