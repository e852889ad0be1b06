//! What a backup says of itself: the file `BACKUP` in its directory, JSON with a checksum. It is written last, so a directory without one is no backup.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BackupError;
use super::error::failed;
use crate::limits;
use crate::server::directory::{hexadecimal, sync_directory};
use crate::types::WallMillis;

/// The file's name.
pub(super) const BACKUP: &str = "BACKUP";
const BACKUP_NEW: &str = "BACKUP.new";
/// The version of a backup's layout and of this file.
const FORMAT: u32 = 1;

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupManifest {
    format: u32,
    /// The node's number.
    #[serde(with = "hexadecimal")]
    pub node: [u8; 16],
    /// Over how many shards the data is spread.
    pub shard_count: u16,
    /// When it was asked for, and when it was whole.
    pub begun_ms: u64,
    /// See above.
    pub finished_ms: u64,
    /// The backup that segments were linked to, which need not be there any more.
    pub previous: Option<String>,
    /// By shard.
    pub shards: Vec<ShardBackup>,
}

/// One shard's log in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardBackup {
    /// Which.
    pub shard: u16,
    /// The point: every block of the log below this position is in the backup, and none behind it.
    pub end: u64,
    /// The latest time that the shard's clock had shown at the point.
    pub wall_ms: u64,
    /// In the order of their segments.
    pub files: Vec<FileBackup>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileBackup {
    /// In its shard's directory.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Of the whole file, in bytes.
    pub len: u64,
    /// Over the whole file.
    pub crc32: u32,
    /// What it was made from, to know it again: only of a segment that was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// What a file of a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A segment that was left.
    Sealed,
    /// The segment that the point lies in, with zeros behind that; or, of a shard without any, an empty file.
    Active,
    /// The stub of removed segments.
    Stub,
}

/// A file as it was when it was linked or copied. Nothing writes to a segment that was left but a repair, and that shows here; so does it if the node was restored
/// from elsewhere since, and its log went on in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its number in its filesystem.
    pub inode: u64,
    /// When it was written to last.
    pub modified_ns: i64,
    /// Where its last block ends.
    pub end: u64,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    backup: BackupManifest,
    /// Of the manifest's compact JSON.
    crc32: u32,
}

impl BackupManifest {
    /// Of what was copied just now.
    #[must_use]
    pub fn new(
        node: [u8; 16],
        (begun, finished): (WallMillis, WallMillis),
        previous: Option<String>,
        shards: Vec<ShardBackup>,
    ) -> BackupManifest {
        BackupManifest {
            format: FORMAT,
            node,
            shard_count: u16::try_from(shards.len()).expect("shards are bounded"),
            begun_ms: begun.0,
            finished_ms: finished.0,
            previous,
            shards,
        }
    }

    /// Bytes of all files.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        let files = self.shards.iter().flat_map(|shard| &shard.files);
        files.map(|file| file.len).sum()
    }

    /// The latest moment of which it has all. In the millisecond of its point a shard may have written more.
    #[must_use]
    pub fn latest(&self) -> WallMillis {
        let walls = self.shards.iter().map(|shard| shard.wall_ms);
        WallMillis(walls.min().unwrap_or(0).saturating_sub(1))
    }

    /// Writes it into a backup's directory, whole or not at all, and makes that durable. The backup exists from then on.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn write(&self, directory: &Path) -> Result<(), BackupError> {
        let sealed = Sealed {
            crc32: checksum(self),
            backup: self.clone(),
        };
        let mut text =
            serde_json::to_string_pretty(&sealed).expect("numbers and text are always JSON");
        text.push('\n');
        let new = directory.join(BACKUP_NEW);
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(failed("write", &new))?;
        let path = directory.join(BACKUP);
        fs::rename(&new, &path).map_err(failed("rename to", &path))?;
        Ok(sync_directory(directory)?)
    }

    /// Reads that of a backup's directory; `None` if it has none.
    ///
    /// # Errors
    /// [`BackupError`]: it is damaged, or of another version.
    pub fn read(directory: &Path) -> Result<Option<BackupManifest>, BackupError> {
        let path = directory.join(BACKUP);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let mut text = Vec::new();
        file.take(limits::BACKUP_MANIFEST_LEN_MAX)
            .read_to_end(&mut text)
            .map_err(failed("read", &path))?;
        let damaged = |reason: String| BackupError::Damaged {
            path: path.clone(),
            reason,
        };
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        // Asked first, and of the bare JSON: another format may have other fields.
        if let Some(found) = value["backup"]["format"].as_u64()
            && found != u64::from(FORMAT)
        {
            return Err(BackupError::Format { path, found });
        }
        let sealed: Sealed =
            serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        let computed = checksum(&sealed.backup);
        if computed != sealed.crc32 {
            return Err(damaged(format!(
                "its checksum is {computed} and it says {}",
                sealed.crc32
            )));
        }
        sealed.backup.check().map_err(damaged)?;
        Ok(Some(sealed.backup))
    }

    /// What a checksum doesn't tell: the names become paths.
    fn check(&self) -> Result<(), String> {
        let is_in_order = (0..)
            .zip(&self.shards)
            .all(|(number, shard)| shard.shard == number);
        if self.shards.len() != usize::from(self.shard_count) || !is_in_order {
            return Err("it does not list each of its shards once".to_owned());
        }
        let mut files = self.shards.iter().flat_map(|shard| &shard.files);
        match files.find(|file| crate::runtime::glommio::segment_of(&file.name).is_none()) {
            Some(file) => Err(format!("{:?} is no segment's file", file.name)),
            None => Ok(()),
        }
    }
}

fn checksum(manifest: &BackupManifest) -> u32 {
    let text = serde_json::to_vec(manifest).expect("numbers and text are always JSON");
    crc32fast::hash(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> BackupManifest {
        let file = FileBackup {
            name: "0000000000000001.seg".to_owned(),
            kind: FileKind::Sealed,
            len: 65_536,
            crc32: 7,
            source: Some(Source {
                inode: 12,
                modified_ns: 1_700_000_000_000_000_001,
                end: 4096,
            }),
        };
        let shard = ShardBackup {
            shard: 0,
            end: 4096,
            wall_ms: 9,
            files: vec![file],
        };
        let times = (WallMillis(8), WallMillis(10));
        BackupManifest::new([3; 16], times, Some("earlier".to_owned()), vec![shard])
    }

    #[test]
    fn it_reads_what_it_wrote() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(BackupManifest::read(directory.path()).unwrap(), None);
        manifest().write(directory.path()).unwrap();
        let read = BackupManifest::read(directory.path()).unwrap();
        assert_eq!(read, Some(manifest()));
    }

    /// A flipped digit in a length or a checksum would make a sound file look damaged, or the other way round.
    #[test]
    fn every_changed_byte_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        manifest().write(directory.path()).unwrap();
        let path = directory.path().join(BACKUP);
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            // White space between fields, and a letter's case, may be anything; what it says may not.
            match BackupManifest::read(directory.path()) {
                Ok(read) => assert_eq!(read, Some(manifest()), "byte {at}"),
                Err(BackupError::Damaged { .. } | BackupError::Format { .. }) => {}
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }

    /// A manifest comes from a directory that anybody may have written to, and names become paths.
    #[test]
    fn names_lead_nowhere_else() {
        for name in ["../../etc/passwd", "/etc/passwd", "1.seg", "MANIFEST"] {
            let directory = tempfile::tempdir().unwrap();
            let mut bad = manifest();
            bad.shards[0].files[0].name = name.to_owned();
            bad.write(directory.path()).unwrap();
            let read = BackupManifest::read(directory.path());
            assert!(matches!(read, Err(BackupError::Damaged { .. })), "{name}");
        }
    }
}
