//! A data directory that no server runs on, for the tools that look into it or mend it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{DirectoryError, LOCK, Manifest};
use super::{failed, holder, lock, read_manifest, shard_path, shards};
use crate::types::ShardId;

/// See the module's header. As long as it lives no server can start on the directory.
#[derive(Debug)]
pub struct OfflineDirectory {
    path: PathBuf,
    manifest: Manifest,
    /// None of a copy that was made without the lock file: nobody serves that.
    _lock: Option<File>,
}

impl OfflineDirectory {
    /// Opens a directory to look at it: several may at once, and nothing in it is changed, so it may lie where nothing can be written.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn to_read(path: &Path) -> Result<OfflineDirectory, DirectoryError> {
        OfflineDirectory::open(path, |path| {
            let lock = path.join(LOCK);
            let file = match File::open(&lock) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed("open", &lock)(error)),
            };
            match flock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => Ok(Some(file)),
                Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::InUse {
                    path: path.to_owned(),
                    process: holder(&file),
                }),
                Err(error) => Err(failed("lock", &lock)(error.into())),
            }
        })
    }

    /// Opens a directory to change it: nobody else may look or serve meanwhile.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn to_repair(path: &Path) -> Result<OfflineDirectory, DirectoryError> {
        OfflineDirectory::open(path, |path| match lock(path) {
            Ok(file) => Ok(Some(file)),
            Err(DirectoryError::Locked { path, process }) => {
                Err(DirectoryError::InUse { path, process })
            }
            Err(error) => Err(error),
        })
    }

    fn open(
        path: &Path,
        lock: impl FnOnce(&Path) -> Result<Option<File>, DirectoryError>,
    ) -> Result<OfflineDirectory, DirectoryError> {
        let path = std::path::absolute(path).map_err(failed("find", path))?;
        let has_shards = !shards(&path)?.is_empty();
        // Looked at before the lock is taken: a directory that is none of ours gets no lock file.
        if read_manifest(&path)?.is_none() {
            return Err(match has_shards {
                true => DirectoryError::ManifestMissing { path },
                false => DirectoryError::NoData { path },
            });
        }
        let lock = lock(&path)?;
        let manifest = read_manifest(&path)?;
        let manifest = manifest.ok_or_else(|| DirectoryError::NoData { path: path.clone() })?;
        if let Some(to) = manifest.moving {
            let from = manifest.shard_count;
            return Err(DirectoryError::Moving { path, from, to });
        }
        Ok(OfflineDirectory {
            path,
            manifest,
            _lock: lock,
        })
    }

    /// Where it is, from the root.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose data it holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The shards that the manifest names.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.manifest.shard_count).map(ShardId)
    }

    /// The directory of a shard's segments.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> PathBuf {
        shard_path(&self.path, self.manifest.generation, shard)
    }
}
