//! The data directory: who may use it, and whose it is.
//!
//! ```text
//! corduroy-data/
//!   LOCK                          held by the running server; says which process that is
//!   MANIFEST                      JSON: the node's number, its secret, its number of shards
//!   shard-000/                    one directory a shard
//!     0000000000000001.seg        one file a segment
//! ```
//!
//! After its data was moved to another number of shards the directories are those of another **generation**, `shard-1-000` and so on. The manifest says which
//! generation counts. While data moves there are two of them, and the manifest says to how many shards it moves (`shard::reshard` has the steps).
//!
//! The manifest is written when the first node on the directory has all else that it needs, and before anything else in it, and once more when each shard has
//! its first segment and clients are about to be let in. Until then nothing can have been stored, and the next start may be with another number of cores; from then on a shard without one file is a
//! shard whose data was lost. Each time it is written whole or not at all: to another name, synced, renamed, the directory synced. It carries a checksum, because the node's secret decides where every key's hash
//! lies: one flipped bit would make scans skip keys without a word.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits;
use crate::types::{ShardId, WallMillis};

mod generations;
mod offline;

use generations::SHARD_PREFIX;
pub(super) use generations::shard_path;
pub use offline::OfflineDirectory;

const LOCK: &str = "LOCK";
const MANIFEST: &str = "MANIFEST";
const MANIFEST_NEW: &str = "MANIFEST.new";
/// The version of the directory's layout and of the manifest.
const FORMAT: u32 = 1;
/// The same of a directory whose data was moved to another number of shards, or is being moved: a release that doesn't know of that must not start on it.
const FORMAT_MOVED: u32 = 2;

/// Why a data directory can't be used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Another server runs on it.
    #[error(
        "another server or tool{} uses the data directory {}. Stop it, or give this one another directory with --data",
        process_text(.process.as_ref()), .path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other server's process, if its lock file says so.
        process: Option<String>,
    },
    /// A server, or another tool, works on what a tool was to look at.
    #[error(
        "a server or a tool{} works on the data directory {}. Stop it, or wait until it has ended; of a running node a backup can be looked at",
        process_text(.process.as_ref()), .path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, if the lock file says so.
        process: Option<String>,
    },
    /// There is nothing to look at.
    #[error(
        "there is no node's data in {}: neither a MANIFEST nor a shard. Name the directory that the server is given with --data",
        .path.display()
    )]
    NoData {
        /// The directory.
        path: PathBuf,
    },
    /// This process may not write there.
    #[error(
        "this process may not write in the data directory {}: {source}. Give its user the right to, or name another directory with --data",
        .path.display()
    )]
    NotWritable {
        /// The directory, or what is in it.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// There is no room on the disk.
    #[error("the disk of the data directory is full: can't write {}. Free some space, or name a directory on another disk with --data", .path.display())]
    Full {
        /// What could not be written.
        path: PathBuf,
    },
    /// Something else.
    #[error("can't {action} {}: {source}", .path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The manifest is damaged.
    #[error(
        "{} can't be used: {reason}. Restore it from a backup: without it nobody can tell whose data this is",
        .path.display()
    )]
    ManifestDamaged {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There are shards and no manifest.
    #[error(
        "there is data in {} but no MANIFEST that says whose. Restore it from a backup, or name an empty directory with --data",
        .path.display()
    )]
    ManifestMissing {
        /// The directory.
        path: PathBuf,
    },
    /// Another release wrote it.
    #[error("{} has format {found}, and this release knows up to {FORMAT_MOVED}. Start the release that wrote it, or a newer one", .path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// Its data was being moved to another number of shards.
    #[error(
        "the data in {} was being moved from {from} shard{} to {to} when its server stopped, so it lies in two places. Start the server: it goes on with that. Then \
         it can be looked at",
        .path.display(), plural(*.from, "", "s")
    )]
    Moving {
        /// The directory.
        path: PathBuf,
        /// From how many.
        from: u16,
        /// To how many.
        to: u16,
    },
}

fn process_text(process: Option<&String>) -> String {
    process.map_or(String::new(), |process| format!(" (process {process})"))
}

fn plural(count: u16, one: &'static str, more: &'static str) -> &'static str {
    if count == 1 { one } else { more }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            DirectoryError::NotWritable { path, source }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DirectoryError::Full { path },
        _ => DirectoryError::Io {
            action,
            path,
            source,
        },
    }
}

/// A data directory that this process has locked. The lock is held until it is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    manifest: Manifest,
    /// How many shards the node is to have.
    shard_count: u16,
    /// The manifest is in the directory.
    is_established: bool,
    _lock: File,
}

/// What a node is, for as long as its data lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of the directory and of this file.
    format: u32,
    /// The node's number, random.
    #[serde(with = "hexadecimal")]
    pub node: [u8; 16],
    /// The secret of the key hash, random.
    #[serde(with = "hexadecimal")]
    pub hash_secret: [u8; 16],
    /// How many shards the data is spread over.
    pub shard_count: u16,
    /// When the directory was first used.
    pub created_ms: u64,
    /// No node has let clients in yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_new: bool,
    /// How often the data was moved to another number of shards.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// It is being moved to so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<u16>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes what it skips by reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes what it skips by reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    manifest: Manifest,
    /// Of the manifest's compact JSON.
    crc32: u32,
}

impl Manifest {
    /// That of a new node.
    fn new(shard_count: u16, now: WallMillis) -> Manifest {
        Manifest {
            format: FORMAT,
            node: random(),
            hash_secret: random(),
            shard_count,
            created_ms: now.0,
            is_new: true,
            generation: 0,
            moving: None,
        }
    }
}

impl DataDirectory {
    /// Locks a directory and reads its manifest. A directory without one gets one from [`DataDirectory::establish`], which is to follow when nothing
    /// else is known to keep the node from starting: a first start that only found its port taken leaves nothing.
    ///
    /// # Errors
    /// [`DirectoryError`]. If the directory was empty it may hold a lock file then, and nothing else.
    pub fn open(
        path: &Path,
        shard_count: u16,
        now: WallMillis,
    ) -> Result<DataDirectory, DirectoryError> {
        // Not every call below takes a relative path as counting from the current directory: glommio's for directories doesn't.
        let path = &std::path::absolute(path).map_err(failed("find", path))?;
        fs::create_dir_all(path).map_err(failed("make the directory", path))?;
        let lock = lock(path)?;
        let found = read_manifest(path)?;
        // Nothing was ever stored, so nothing ties the directory to the number of cores of the start that failed.
        let is_left_over =
            |manifest: &Manifest| manifest.is_new && manifest.shard_count != shard_count;
        let (left_over, found) = match found {
            Some(manifest) if is_left_over(&manifest) => (true, None),
            found => (false, found),
        };
        let is_established = found.is_some();
        let manifest = match found {
            Some(manifest) => manifest,
            None if !left_over && !shards(path)?.is_empty() => {
                return Err(DirectoryError::ManifestMissing {
                    path: path.to_owned(),
                });
            }
            None => Manifest::new(shard_count, now),
        };
        Ok(DataDirectory {
            path: path.to_owned(),
            manifest,
            shard_count,
            is_established,
            _lock: lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose data it holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The directory of a shard's segments.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> PathBuf {
        shard_path(&self.path, self.manifest.generation, shard)
    }

    /// Writes the manifest if there was none, and makes the directories of all shards. What a start left that never let clients in goes first.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn establish(&mut self) -> Result<(), DirectoryError> {
        if !self.is_established {
            for path in shards(&self.path)? {
                fs::remove_dir_all(&path).map_err(failed("delete", &path))?;
            }
            write_manifest(&self.path, &self.manifest)?;
            self.is_established = true;
        }
        self.delete_stale()?;
        for shard in 0..self.manifest.shard_count {
            let path = self.shard(ShardId(shard));
            fs::create_dir_all(&path).map_err(failed("make the directory", &path))?;
        }
        sync_directory(&self.path)
    }

    /// Notes that every shard has its first segment, before clients are let in for the first time.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn settle(&mut self) -> Result<(), DirectoryError> {
        if self.manifest.is_new {
            self.manifest.is_new = false;
            write_manifest(&self.path, &self.manifest)?;
        }
        Ok(())
    }
}

/// Takes the lock, and writes into it who holds it.
pub(super) fn lock(directory: &Path) -> Result<File, DirectoryError> {
    let path = directory.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(DirectoryError::Locked {
                path: directory.to_owned(),
                process: holder(&file),
            });
        }
        Err(error) => return Err(failed("lock", &path)(error.into())),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed("write", &path))?;
    Ok(file)
}

/// Which process holds the lock, as the file says. One that has ended is not told: tools that only look take the lock and don't write who they are.
fn holder(file: &File) -> Option<String> {
    let mut holder = String::new();
    // Without it the sentence is a little poorer.
    let _ = file.take(32).read_to_string(&mut holder);
    let process = holder.trim().parse::<u32>().ok()?.to_string();
    Path::new("/proc")
        .join(&process)
        .exists()
        .then_some(process)
}

pub(super) fn read_manifest(directory: &Path) -> Result<Option<Manifest>, DirectoryError> {
    let path = directory.join(MANIFEST);
    let mut text = String::new();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", &path)(error)),
    };
    let damaged = |reason: String| DirectoryError::ManifestDamaged {
        path: path.clone(),
        reason,
    };
    match file
        .take(limits::MANIFEST_LEN_MAX)
        .read_to_string(&mut text)
    {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(damaged("it is not text".to_owned()));
        }
        Err(error) => return Err(failed("read", &path)(error)),
    }
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    // Asked first, and of the bare JSON: another format may have other fields.
    if let Some(found) = value["manifest"]["format"].as_u64()
        && !(u64::from(FORMAT)..=u64::from(FORMAT_MOVED)).contains(&found)
    {
        return Err(DirectoryError::Format { path, found });
    }
    let sealed: Sealed =
        serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
    let computed = checksum(&sealed.manifest);
    if computed != sealed.crc32 {
        let reason = format!("its checksum is {computed} and it says {}", sealed.crc32);
        return Err(damaged(reason));
    }
    let manifest = &sealed.manifest;
    let mut counts = [Some(manifest.shard_count), manifest.moving].into_iter();
    let is_possible = |count: u16| (1..=limits::SHARDS_MAX).contains(&usize::from(count));
    if !counts.all(|count| count.is_none_or(is_possible)) || manifest.generation == u32::MAX {
        return Err(damaged("its number of shards is out of bounds".to_owned()));
    }
    Ok(Some(sealed.manifest))
}

fn checksum(manifest: &Manifest) -> u32 {
    let text = serde_json::to_vec(manifest).expect("numbers and text are always JSON");
    crc32fast::hash(&text)
}

/// The directories of shards that there are.
fn shards(directory: &Path) -> Result<Vec<PathBuf>, DirectoryError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut shards = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(SHARD_PREFIX.as_bytes()) {
                shards.push(entry.path());
            }
        }
        Ok(shards)
    };
    list().map_err(failed("list the directory", directory))
}

pub(super) fn write_manifest(directory: &Path, manifest: &Manifest) -> Result<(), DirectoryError> {
    let sealed = Sealed {
        crc32: checksum(manifest),
        manifest: manifest.clone(),
    };
    let mut text = serde_json::to_string_pretty(&sealed).expect("numbers and text are always JSON");
    text.push('\n');
    let new = directory.join(MANIFEST_NEW);
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed("write", &new))?;
    let path = directory.join(MANIFEST);
    fs::rename(&new, &path).map_err(failed("rename to", &path))?;
    sync_directory(directory)
}

pub(super) fn sync_directory(path: &Path) -> Result<(), DirectoryError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync the directory", path))
}

/// Random bytes that nobody can guess.
#[must_use]
pub fn random<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let len = getrandom(&mut bytes, GetRandomFlags::empty())
        .expect("the kernel gives up to 256 random bytes, always");
    assert_eq!(len, LEN, "the kernel gives up to 256 random bytes at once");
    bytes
}

/// Sixteen bytes as text.
pub(super) mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{:032x}", u128::from_be_bytes(*bytes)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(from)?;
        let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(&text, 16) {
            Ok(number) if plain => Ok(number.to_be_bytes()),
            _ => Err(D::Error::custom("32 hexadecimal digits are expected")),
        }
    }
}
