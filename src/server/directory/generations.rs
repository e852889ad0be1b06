//! Generations of shards' directories: what a move to another number of shards makes, and what it leaves behind.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataDirectory, DirectoryError, FORMAT, FORMAT_MOVED, Manifest};
use super::{failed, shards, sync_directory, write_manifest};
use crate::types::ShardId;

impl Manifest {
    /// The same node, in a directory that was never moved to another number of shards.
    pub(in crate::server) fn as_first_generation(&self) -> Manifest {
        Manifest {
            format: FORMAT,
            generation: 0,
            moving: None,
            ..self.clone()
        }
    }
}

impl DataDirectory {
    /// The same of the generation that data moves to.
    #[must_use]
    pub fn next_shard(&self, shard: ShardId) -> PathBuf {
        shard_path(&self.path, self.manifest.generation + 1, shard)
    }

    /// To how many shards the data is to be moved before the node can serve: a move that was begun comes first.
    #[must_use]
    pub fn move_due(&self) -> Option<u16> {
        let other = (self.manifest.shard_count != self.shard_count).then_some(self.shard_count);
        self.manifest.moving.or(other)
    }

    /// Makes the directories of the generation that data is to move to, empty.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn make_next(&self, shard_count: u16) -> Result<(), DirectoryError> {
        self.delete_stale()?;
        for shard in 0..shard_count {
            let path = self.next_shard(ShardId(shard));
            fs::create_dir_all(&path).map_err(failed("make the directory", &path))?;
        }
        sync_directory(&self.path)
    }

    /// Notes that what [`DataDirectory::make_next`] made is ready, and that data moves there from now on.
    ///
    /// # Errors
    /// [`DirectoryError`]; it may be noted or not.
    pub fn begin_move(&mut self, shard_count: u16) -> Result<(), DirectoryError> {
        let manifest = Manifest {
            format: FORMAT_MOVED,
            moving: Some(shard_count),
            ..self.manifest.clone()
        };
        write_manifest(&self.path, &manifest)?;
        self.manifest = manifest;
        Ok(())
    }

    /// Notes that all data was moved. What it was moved from is deleted.
    ///
    /// # Errors
    /// [`DirectoryError`]; it may be noted or not, and the next start deletes what is left.
    ///
    /// # Panics
    /// If no move was begun.
    pub fn end_move(&mut self) -> Result<(), DirectoryError> {
        let moving = self.manifest.moving;
        let manifest = Manifest {
            shard_count: moving.expect("a move ends that was begun"),
            generation: self.manifest.generation + 1,
            moving: None,
            ..self.manifest.clone()
        };
        write_manifest(&self.path, &manifest)?;
        self.manifest = manifest;
        self.delete_stale()
    }

    /// Deletes the directories of generations that do not count: what a move was made from, or one that was never begun.
    pub(super) fn delete_stale(&self) -> Result<(), DirectoryError> {
        let Manifest {
            generation, moving, ..
        } = self.manifest;
        for path in shards(&self.path)? {
            let name = path.file_name().and_then(|name| name.to_str());
            let counts =
                |its: u32| its == generation || (moving.is_some() && its == generation + 1);
            if name.and_then(generation_of).is_some_and(|its| !counts(its)) {
                fs::remove_dir_all(&path).map_err(failed("delete", &path))?;
            }
        }
        sync_directory(&self.path)
    }
}

/// What the names of shards' directories begin with.
pub(super) const SHARD_PREFIX: &str = "shard-";

/// The directory of a shard.
pub(in crate::server) fn shard_path(directory: &Path, generation: u32, shard: ShardId) -> PathBuf {
    directory.join(shard_name(generation, shard))
}

fn shard_name(generation: u32, shard: ShardId) -> String {
    match generation {
        0 => format!("{SHARD_PREFIX}{:03}", shard.0),
        _ => format!("{SHARD_PREFIX}{generation}-{:03}", shard.0),
    }
}

/// Of which generation a directory is, if it is a shard's by its name.
fn generation_of(name: &str) -> Option<u32> {
    let numbers = name.strip_prefix(SHARD_PREFIX)?;
    let (generation, shard) = numbers.split_once('-').unwrap_or(("0", numbers));
    let generation = generation.parse().ok()?;
    let shard = ShardId(shard.parse().ok()?);
    (shard_name(generation, shard) == name).then_some(generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::directory::OfflineDirectory;
    use crate::types::WallMillis;

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn open(path: &Path, shard_count: u16) -> DataDirectory {
        let mut directory = DataDirectory::open(path, shard_count, WallMillis(1)).unwrap();
        directory.establish().unwrap();
        directory.settle().unwrap();
        directory
    }

    /// The directories of a move that was not begun, or of one that has ended, must not be taken for data; those of one that is under way must not be
    /// deleted, and nor must what an operator has put beside them.
    #[test]
    fn generations_that_do_not_count_go() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        drop(open(path, 2));
        fs::create_dir(path.join("shard-000.bak")).unwrap();
        let kept = [
            "LOCK",
            "MANIFEST",
            "shard-000",
            "shard-000.bak",
            "shard-001",
        ];

        let directory = open(path, 1);
        assert_eq!(directory.move_due(), Some(1));
        directory.make_next(1).unwrap();
        assert!(path.join("shard-1-000").exists());
        drop(directory);
        let mut directory = open(path, 2);
        assert_eq!(directory.move_due(), None);
        assert_eq!(names(path), kept);

        directory.make_next(3).unwrap();
        directory.begin_move(3).unwrap();
        drop(directory);
        let moving = OfflineDirectory::to_read(path);
        assert!(matches!(
            moving,
            Err(DirectoryError::Moving { from: 2, to: 3, .. })
        ));
        let mut directory = open(path, 1);
        assert_eq!(directory.move_due(), Some(3), "what was begun comes first");
        assert!(path.join("shard-1-002").exists() && path.join("shard-001").exists());
        directory.end_move().unwrap();
        assert_eq!(directory.move_due(), Some(1));
        assert_eq!(directory.shard(ShardId(2)), path.join("shard-1-002"));
        let moved = [
            "LOCK",
            "MANIFEST",
            "shard-000.bak",
            "shard-1-000",
            "shard-1-001",
            "shard-1-002",
        ];
        assert_eq!(names(path), moved);
        let found = OfflineDirectory::to_read(path);
        assert!(matches!(found, Err(DirectoryError::InUse { .. })));
        drop(directory);
        let found = OfflineDirectory::to_read(path).unwrap();
        assert_eq!(found.manifest().shard_count, 3);
        assert_eq!(found.shard(ShardId(0)), path.join("shard-1-000"));
    }
}
