//! `corduroy restore`: makes a data directory from a backup.
//!
//! Files are copied, not linked: nothing that the node does to its own changes the backup. Each is compared with its checksum while it is copied, then the whole
//! is read as a start would read it. The directory's `MANIFEST` is written last: what a kill leaves before can't be started by mistake.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use crc32fast::Hasher;
use rustix::fs::FallocateFlags;

use super::backup::last;
use super::check::{Report, check_shard};
use super::progress::Progress;
use super::reading::{ShardFiles, on_all};
use super::text::{count, time};
use super::{ToolError, Verdict};
use crate::limits::BACKUP_PIECE_BYTES;
use crate::runtime::glommio::{Segments, file_name, segment_of};
use crate::server::backup::{
    BackupError, Cut, FileBackup, FileKind, ShardBackup, Shelved, cut, earliest, failed, shelved,
};
use crate::server::directory::{
    Manifest, lock, read_manifest, shard_path, sync_directory, write_manifest,
};
use crate::storage::recovery::Identity;
use crate::types::{SegmentId, ShardId, WallMillis};

/// What is restored, and where to.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// The directory of a series of backups, of which the last is restored, or of one backup.
    #[arg(id = "backups", value_name = "DIR")]
    directory: PathBuf,
    /// The data directory to make. It must not be there, or be empty.
    #[arg(long, value_name = "DATA")]
    to: PathBuf,
    /// Restore what there was at this moment, such as 2026-11-30T17:22:21Z, or milliseconds since 1970.
    ///
    /// Of a series the first backup that was taken after it is used.
    #[arg(long, value_name = "TIMESTAMP", value_parser = moment)]
    until: Option<WallMillis>,
}

/// A moment as people write it, or as milliseconds.
fn moment(text: &str) -> Result<WallMillis, String> {
    if let Ok(millis) = text.parse() {
        return Ok(WallMillis(millis));
    }
    let at = humantime::parse_rfc3339_weak(text).map_err(|error| {
        format!(
            "{error}; a moment is 2026-11-30T17:22:21Z (always UTC), or milliseconds since 1970"
        )
    })?;
    let since = at
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| "that is before 1970".to_owned())?;
    let millis = u64::try_from(since.as_millis()).map_err(|_| "that is too far away".to_owned())?;
    Ok(WallMillis(millis))
}

/// Restores a backup.
///
/// # Errors
/// [`ToolError`]: no data directory was made that would start.
pub fn restore(options: &RestoreOptions, output: &mut dyn Write) -> Result<Verdict, ToolError> {
    let backup = match options.until {
        None => last(&options.directory)?,
        Some(until) => of_moment(&options.directory, until)?,
    };
    let node = read_manifest(&backup.path)
        .map_err(BackupError::from)?
        .filter(|node| {
            node.node == backup.manifest.node && node.shard_count == backup.manifest.shard_count
        })
        .ok_or_else(|| BackupError::NotRestored {
            reason: format!("{} has no MANIFEST of its node", backup.path.display()),
        })?;
    let data = std::path::absolute(&options.to).map_err(failed("find", &options.to))?;
    let mut parts = Vec::new();
    for shard in &backup.manifest.shards {
        let cut = match options.until {
            None => None,
            Some(until) => Some(cut(&backup, shard, until)?),
        };
        parts.push((shard, cut));
    }
    make_empty(&data)?;
    let _lock = lock(&data)?;
    let reports = fill(&backup, &parts, &node, &data)?;
    write_manifest(&data, &node)?;
    let bytes = reports.iter().map(|report| report.bytes).sum::<u64>();
    let records = reports.iter().map(|report| report.records).sum();
    let at = match options.until {
        None => format!("of {}", time(backup.manifest.latest())),
        Some(until) => format!("as of {}", time(until)),
    };
    writeln!(
        output,
        "restored {} {at} to {}: {:.1} MiB, {}",
        backup.name,
        data.display(),
        bytes as f64 / f64::from(1 << 20),
        count(records, "record", "records"),
    )?;
    writeln!(
        output,
        "it is spread over {}, as the node was: start it with\n  corduroy --data {} --cores {}",
        count(u64::from(node.shard_count), "shard", "shards"),
        data.display(),
        node.shard_count,
    )?;
    output.flush()?;
    Ok(Verdict::Clean)
}

/// The first backup whose log goes up to a moment, and still has all that there was then.
fn of_moment(directory: &Path, until: WallMillis) -> Result<Shelved, BackupError> {
    let mut spans = Vec::new();
    for found in shelved(directory)? {
        // Another one may do.
        let Ok(backup) = found else { continue };
        let (from, to) = (earliest(&backup)?, backup.manifest.latest());
        if from <= until && until <= to {
            return Ok(backup);
        }
        spans.push(format!("{}: {} to {}", backup.name, time(from), time(to)));
    }
    Err(BackupError::NoSuchMoment {
        reason: format!(
            "no backup reaches {}: before a backup's first moment compaction has removed a part of what there was. There are\n  {}",
            time(until),
            spans.join("\n  ")
        ),
    })
}

/// Makes the directory, or finds it empty.
fn make_empty(data: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(data).map_err(failed("make the directory", data))?;
    let mut entries = fs::read_dir(data).map_err(failed("list the directory", data))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(BackupError::NotEmpty {
            path: data.to_owned(),
        }),
    }
}

/// Copies all shards, and reads what was copied as a start would.
fn fill(
    backup: &Shelved,
    parts: &[(&ShardBackup, Option<Cut>)],
    node: &Manifest,
    data: &Path,
) -> Result<Vec<Report>, BackupError> {
    // Everything is read twice: while it is copied, and as a start would.
    let progress = Progress::new(2 * backup.manifest.len_bytes(), "restoring");
    let filled = on_all(parts, |(shard, cut)| {
        let directory = shard_path(data, node.generation, ShardId(shard.shard));
        copy_shard(backup, shard, *cut, &directory, &progress)?;
        check_copy(shard, *cut, node, directory, &progress)
    });
    progress.clear();
    let reports = filled.into_iter().collect::<Result<Vec<_>, _>>()?;
    sync_directory(data)?;
    Ok(reports)
}

fn copy_shard(
    backup: &Shelved,
    shard: &ShardBackup,
    cut: Option<Cut>,
    directory: &Path,
    progress: &Progress,
) -> Result<(), BackupError> {
    fs::create_dir(directory).map_err(failed("make the directory", directory))?;
    for file in &shard.files {
        let segment = segment_of(&file.name).expect("names were checked when they were read");
        let keep = match cut {
            None => file.len,
            // Stubs stand for what was before.
            Some(_) if file.kind == FileKind::Stub => file.len,
            Some(Cut::At { segment: last, .. }) if segment < last => file.len,
            Some(Cut::At {
                segment: last,
                offset,
            }) if segment == last => offset,
            Some(_) => continue,
        };
        let from = backup.file(shard.shard, &file.name);
        copy_file(&from, &directory.join(&file.name), file, keep, progress)?;
    }
    if cut == Some(Cut::Everything) {
        // A first segment that has not begun says that nothing is lost.
        let path = directory.join(file_name(SegmentId(1)));
        File::create(&path)
            .and_then(|file| file.sync_all())
            .map_err(failed("write", &path))?;
    }
    Ok(sync_directory(directory)?)
}

/// Copies a file's first bytes, and goes over all of it for the checksum. What is not kept reads as zeros.
fn copy_file(
    from: &Path,
    to: &Path,
    file: &FileBackup,
    keep: u64,
    progress: &Progress,
) -> Result<(), BackupError> {
    let mut source = File::open(from).map_err(failed("open", from))?;
    let mut copy = File::create_new(to).map_err(failed("make", to))?;
    let mut buffer = vec![0; BACKUP_PIECE_BYTES];
    let mut hasher = Hasher::new();
    let mut offset = 0;
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed("read", from)(error)),
        };
        hasher.update(&buffer[..read]);
        let kept = keep.saturating_sub(offset).min(read as u64) as usize;
        copy.write_all(&buffer[..kept])
            .map_err(failed("write", to))?;
        offset += read as u64;
        progress.add(read as u64);
    }
    let crc32 = hasher.finalize();
    if offset != file.len || crc32 != file.crc32 {
        return Err(BackupError::NotRestored {
            reason: format!(
                "{} is not what it was when it was backed up",
                from.display()
            ),
        });
    }
    if keep < file.len {
        // The log goes on there: a full disk should be told now. Where space can't be reserved, a hole does.
        let _ = rustix::fs::fallocate(&copy, FallocateFlags::empty(), 0, file.len);
        copy.set_len(file.len).map_err(failed("write", to))?;
    }
    copy.sync_all().map_err(failed("write", to))
}

/// Reads a shard's copy as a start would.
fn check_copy(
    shard: &ShardBackup,
    cut: Option<Cut>,
    node: &Manifest,
    directory: PathBuf,
    progress: &Progress,
) -> Result<Report, BackupError> {
    let bad = |reason: String| BackupError::NotRestored { reason };
    let segments = Segments::open_existing(&directory).map_err(|error| bad(error.to_string()))?;
    let files = ShardFiles {
        shard: ShardId(shard.shard),
        identity: Identity {
            node: u128::from_be_bytes(node.node),
            shard: ShardId(shard.shard),
            shard_count: node.shard_count,
        },
        directory,
        segments,
    };
    let report = check_shard(&files, false, progress);
    if report.worst != Verdict::Clean {
        let mut told = Vec::new();
        report
            .write(&mut told)
            .map_err(|error| bad(error.to_string()))?;
        return Err(bad(String::from_utf8_lossy(&told).into_owned()));
    }
    if cut.is_none() && report.end.is_none_or(|end| end.0 != shard.end) {
        return Err(bad(format!(
            "the log of shard {} ends elsewhere than the backup says",
            shard.shard
        )));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_or_milliseconds() {
        let at = Ok(WallMillis(1_796_059_341_000));
        assert_eq!(moment("2026-11-30T17:22:21Z"), at);
        assert_eq!(moment("2026-11-30 17:22:21"), at);
        assert_eq!(moment("1796059341000"), at);
        for bad in ["yesterday", "", "1969-01-01T00:00:00Z", "-5"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    /// A restore over data would be the worst thing that a backup can do.
    #[test]
    fn what_is_not_empty_is_not_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        make_empty(&data).unwrap();
        make_empty(&data).unwrap();
        fs::write(data.join("LOCK"), "").unwrap();
        assert!(matches!(
            make_empty(&data),
            Err(BackupError::NotEmpty { .. })
        ));
    }
}
