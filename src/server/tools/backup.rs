//! `corduroy backup list` and `corduroy backup verify`: what backups there are, and whether they are what they were.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::{Args, Subcommand};
use crc32fast::Hasher;
use serde::Serialize;

use super::check::{Report, check_shard};
use super::progress::Progress;
use super::reading::{ShardFiles, on_all};
use super::text::{count, time};
use super::{ToolError, Verdict};
use crate::limits::BACKUP_PIECE_BYTES;
use crate::runtime::glommio::segment_of;
use crate::server::backup::{BackupError, FileBackup, Shelved, earliest, shelved};
use crate::server::directory::OfflineDirectory;
use crate::types::WallMillis;

/// What is to be done with backups.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum BackupCommand {
    /// List the whole backups of a series, and the moments that each can be restored to.
    List(ListOptions),
    /// Read every byte of a backup and say whether it can be restored.
    ///
    /// Compares every file with its checksum, then reads every record as check does. Ends with 0 if all is there, 4 if there is damage.
    Verify(VerifyOptions),
}

/// What is listed, and how.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// The directory of a series of backups, or of one backup.
    #[arg(id = "backups", value_name = "DIR")]
    directory: PathBuf,
    /// Print one JSON object a backup.
    #[arg(long)]
    json: bool,
}

/// What is verified, and how it is told.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// The directory of a series of backups, of which the last is verified, or of one backup.
    #[arg(id = "backups", value_name = "DIR")]
    directory: PathBuf,
    /// Verify every backup of the series.
    #[arg(long)]
    all: bool,
    /// Print one JSON object a backup.
    #[arg(long)]
    json: bool,
}

/// Carries out a command.
///
/// # Errors
/// [`ToolError`].
pub fn backup(command: &BackupCommand, output: &mut dyn Write) -> Result<Verdict, ToolError> {
    match command {
        BackupCommand::List(options) => list(options, output),
        BackupCommand::Verify(options) => verify(options, output),
    }
}

fn list(options: &ListOptions, output: &mut dyn Write) -> Result<Verdict, ToolError> {
    let mut verdict = Verdict::Clean;
    for found in shelved(&options.directory)? {
        let listed = found.and_then(|backup| Ok((earliest(&backup)?, backup)));
        match listed {
            Ok((earliest, backup)) if options.json => {
                let line = serde_json::json!({
                    "name": backup.name,
                    "bytes": backup.manifest.len_bytes(),
                    "shards": backup.manifest.shard_count,
                    "begun_ms": backup.manifest.begun_ms,
                    "finished_ms": backup.manifest.finished_ms,
                    "earliest_ms": earliest.0,
                    "latest_ms": backup.manifest.latest().0,
                });
                writeln!(output, "{line}")?;
            }
            Ok((earliest, backup)) => {
                let (name, manifest) = (&backup.name, &backup.manifest);
                let from = match earliest {
                    WallMillis(0) => "the beginning".to_owned(),
                    at => time(at),
                };
                writeln!(
                    output,
                    "{name}: {}, {}, any moment from {from} to {}",
                    count(u64::from(manifest.shard_count), "shard", "shards"),
                    mib(manifest.len_bytes()),
                    time(manifest.latest()),
                )?;
            }
            Err(error) => {
                verdict = Verdict::Damaged;
                writeln!(io::stderr(), "corduroy: {error}")?;
            }
        }
    }
    output.flush()?;
    Ok(verdict)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// What became of one backup.
#[derive(Debug, Serialize)]
struct Verified {
    name: String,
    verdict: &'static str,
    #[serde(skip)]
    worst: Verdict,
    files: usize,
    bytes: u64,
    /// Files that are not what the backup says.
    bad_files: Vec<String>,
    shards: Vec<Report>,
}

fn verify(options: &VerifyOptions, output: &mut dyn Write) -> Result<Verdict, ToolError> {
    let mut found = shelved(&options.directory)?;
    if !options.all {
        found.drain(..found.len() - 1);
    }
    let checksums = Checksums::default();
    let mut worst = Verdict::Clean;
    for backup in found {
        let verified = match backup {
            Ok(backup) => verify_one(&backup, &checksums)?,
            Err(error) if options.all => Verified {
                name: String::new(),
                verdict: "damaged",
                worst: Verdict::Damaged,
                files: 0,
                bytes: 0,
                bad_files: vec![error.to_string()],
                shards: Vec::new(),
            },
            Err(error) => return Err(error.into()),
        };
        worst = worst.max(verified.worst);
        if options.json {
            let line = serde_json::to_string(&verified).map_err(io::Error::other)?;
            writeln!(output, "{line}")?;
        } else {
            verified.write(output)?;
        }
    }
    output.flush()?;
    Ok(worst)
}

/// Verifies one backup.
fn verify_one(backup: &Shelved, checksums: &Checksums) -> Result<Verified, ToolError> {
    let manifest = &backup.manifest;
    let mut verified = Verified {
        name: backup.name.clone(),
        verdict: "",
        worst: Verdict::Clean,
        files: manifest.shards.iter().map(|shard| shard.files.len()).sum(),
        bytes: manifest.len_bytes(),
        bad_files: Vec::new(),
        shards: Vec::new(),
    };
    let directory = OfflineDirectory::to_read(&backup.path)?;
    let node = directory.manifest();
    if node.node != manifest.node || node.shard_count != manifest.shard_count {
        verified
            .bad_files
            .push("its MANIFEST is that of another node".to_owned());
    }
    // Everything is read twice: for the files' checksums, and for the records'.
    let progress = Progress::new(2 * verified.bytes, "verifying");
    let shards = ShardFiles::open_all(&directory);
    if let Ok(shards) = &shards {
        let looked = on_all(shards, |shard| {
            let files = &manifest.shards[shard.shard.index()].files;
            let bad = bad_files(&shard.directory, files, checksums, &progress);
            (bad, check_shard(shard, false, &progress))
        });
        for (number, (bad, mut report)) in looked.into_iter().enumerate() {
            verified.bad_files.extend(bad);
            if report.worst == Verdict::Clean
                && report
                    .end
                    .is_none_or(|end| end.0 != manifest.shards[number].end)
            {
                verified.bad_files.push(format!(
                    "shard {number}: the log ends elsewhere than the backup says"
                ));
            }
            // A backup is cut where a block ends: no crash tears it.
            if report.worst == Verdict::Torn {
                report.worst = Verdict::Damaged;
            }
            verified.worst = verified.worst.max(report.worst);
            verified.shards.push(report);
        }
    }
    progress.clear();
    shards?;
    if !verified.bad_files.is_empty() {
        verified.worst = Verdict::Damaged;
    }
    verified.verdict = match verified.worst {
        Verdict::Clean => "whole",
        _ => "damaged",
    };
    Ok(verified)
}

impl Verified {
    fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        for report in self
            .shards
            .iter()
            .filter(|report| report.worst != Verdict::Clean)
        {
            report.write(output)?;
        }
        for bad in &self.bad_files {
            writeln!(output, "  {bad}")?;
        }
        let records = self.shards.iter().map(|report| report.records).sum();
        writeln!(
            output,
            "{}: {}: {}, {}, {}",
            self.name,
            self.verdict,
            count(self.files as u64, "file", "files"),
            mib(self.bytes),
            count(records, "record", "records"),
        )
    }
}

/// What files were found to have: one that several backups link to is read once.
#[derive(Debug, Default)]
struct Checksums(Mutex<HashMap<(u64, u64), (u64, u32)>>);

impl Checksums {
    /// A file's length and checksum.
    fn of(&self, path: &Path, progress: &Progress) -> io::Result<(u64, u32)> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let number = (metadata.dev(), metadata.ino());
        let known = self.locked().get(&number).copied();
        if let Some((len, crc32)) = known {
            progress.add(len);
            return Ok((len, crc32));
        }
        let (mut len, mut hasher) = (0, Hasher::new());
        let mut buffer = vec![0; BACKUP_PIECE_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    len += read as u64;
                    progress.add(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let crc32 = hasher.finalize();
        self.locked().insert(number, (len, crc32));
        Ok((len, crc32))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<(u64, u64), (u64, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with the files of one shard.
fn bad_files(
    directory: &Path,
    files: &[FileBackup],
    checksums: &Checksums,
    progress: &Progress,
) -> Vec<String> {
    let mut bad = Vec::new();
    for file in files {
        let path = directory.join(&file.name);
        let name = path.display();
        match checksums.of(&path, progress) {
            Ok((len, crc32)) if len == file.len && crc32 == file.crc32 => {}
            Ok((len, _)) if len != file.len => {
                bad.push(format!("{name} has {len} bytes, and had {}", file.len));
            }
            Ok((_, crc32)) => bad.push(format!(
                "{name} has the checksum {crc32:08x}, and had {:08x}",
                file.crc32
            )),
            Err(error) => bad.push(format!("{name} can't be read: {error}")),
        }
    }
    let listed = |name: &str| files.iter().any(|file| file.name == name);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if segment_of(&name).is_some() && !listed(&name) {
            bad.push(format!(
                "{} is none of the backup's files",
                entry.path().display()
            ));
        }
    }
    bad
}

/// The backup to be used of a directory: the last, or a sentence why it can't be.
pub(super) fn last(directory: &Path) -> Result<Shelved, BackupError> {
    let mut found = shelved(directory)?;
    found.pop().unwrap_or_else(|| {
        Err(BackupError::None {
            path: directory.to_owned(),
        })
    })
}
