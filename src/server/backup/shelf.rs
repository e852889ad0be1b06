//! The backups in a directory that somebody names: those of a series, or one of them.

use std::path::{Path, PathBuf};

use super::BackupError;
use super::manifest::BackupManifest;
use super::series::names;

/// A backup that is whole, as far as its manifest says.
#[derive(Clone, Debug)]
pub struct Shelved {
    /// Its directory's name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// What it says of itself.
    pub manifest: BackupManifest,
}

impl Shelved {
    /// A file of a shard.
    #[must_use]
    pub fn file(&self, shard: u16, name: &str) -> PathBuf {
        self.shard(shard).join(name)
    }

    /// The directory of a shard's files.
    #[must_use]
    pub fn shard(&self, shard: u16) -> PathBuf {
        let shard = crate::types::ShardId(shard);
        crate::server::directory::shard_path(&self.path, 0, shard)
    }
}

/// The whole backups of a directory, the oldest first; or those that can't be used, each with its reason.
///
/// # Errors
/// [`BackupError`]: there are none, or it can't be looked into.
pub fn shelved(directory: &Path) -> Result<Vec<Result<Shelved, BackupError>>, BackupError> {
    let path = std::path::absolute(directory).map_err(super::error::failed("find", directory))?;
    if let Some(manifest) = BackupManifest::read(&path)? {
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        return Ok(vec![Ok(Shelved {
            name,
            path,
            manifest,
        })]);
    }
    let mut found = Vec::new();
    for name in names(&path)? {
        let path = path.join(&name);
        match BackupManifest::read(&path) {
            Ok(Some(manifest)) => found.push(Ok(Shelved {
                name,
                path,
                manifest,
            })),
            Ok(None) => {}
            Err(error) => found.push(Err(error)),
        }
    }
    match found.is_empty() {
        true => Err(BackupError::None { path }),
        false => Ok(found),
    }
}
