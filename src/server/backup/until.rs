//! A moment in the past, as a place to cut each shard's log.
//!
//! Every block says when it was written, by a clock that never goes back in one shard's log. So a shard's log up to a moment is a prefix of it: all blocks
//! that say no later time.
//!
//! **What a prefix needs.** A record may have been copied by compaction since, to a block that says a later time, and its own segment removed; then the prefix
//! lacks it. A removal's stub says when the removal was, and by the same clock: no copy that it relies on was logged later. So what is cut at that
//! moment or later lacks nothing.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use super::BackupError;
use super::error::failed;
use super::manifest::{FileKind, ShardBackup};
use super::shelf::Shelved;
use crate::limits::SECTOR_LEN;
use crate::runtime::glommio::segment_of;
use crate::storage::format::{BLOCK_HEADER_LEN, BlockHeader, SEGMENT_HEADER_LEN, SegmentHeader};
use crate::storage::recovery::{Piece, Walk};
use crate::types::{SegmentId, WallMillis};

/// Where a shard's log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing was written by then.
    Everything,
    /// What is behind this place of this segment's file goes, and all later segments.
    At {
        /// The segment.
        segment: SegmentId,
        /// In its file.
        offset: u64,
    },
}

/// The earliest moment that a backup can be restored to.
///
/// # Errors
/// [`BackupError`]: a stub can't be read.
pub fn earliest(backup: &Shelved) -> Result<WallMillis, BackupError> {
    let mut earliest = WallMillis(0);
    for shard in &backup.manifest.shards {
        let stubs = shard.files.iter();
        for stub in stubs.filter(|file| file.kind == FileKind::Stub) {
            let path = backup.file(shard.shard, &stub.name);
            let mut sector = [0; SECTOR_LEN];
            File::open(&path)
                .and_then(|file| file.read_exact_at(&mut sector, 0))
                .map_err(failed("read", &path))?;
            let header = SegmentHeader::decode(&sector).map_err(|error| BackupError::Damaged {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            earliest = earliest.max(header.created);
        }
    }
    Ok(earliest)
}

/// Where a shard's log is to be cut, so that it ends with the last block that was written by a moment.
///
/// # Errors
/// [`BackupError`]: a segment can't be read.
pub fn cut(backup: &Shelved, shard: &ShardBackup, until: WallMillis) -> Result<Cut, BackupError> {
    let segments = shard.files.iter().rev();
    for file in segments.filter(|file| file.kind != FileKind::Stub) {
        let path = backup.file(shard.shard, &file.name);
        if !begins_by(&path, until)? {
            continue;
        }
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let segment = segment_of(&file.name).expect("names were checked when they were read");
        let mut walk = Walk::new(&bytes);
        let offset = walk.find_map(|piece| match piece {
            Piece::Block { offset, header, .. } if header.written > until => Some(Ok(offset)),
            Piece::Block { .. } => None,
            Piece::Broken { offset, fault, .. } => Some(Err((offset, fault))),
            Piece::Zeros { offset, .. } => Some(Ok(offset)),
        });
        let offset = match offset {
            Some(Ok(offset)) => offset,
            None => bytes.len() as u64,
            // Behind a segment's last block anything may lie.
            Some(Err((offset, _)))
                if file
                    .source
                    .is_some_and(|source| ends_at(&bytes, source.end, offset)) =>
            {
                offset
            }
            Some(Err((offset, fault))) => {
                return Err(BackupError::Damaged {
                    path,
                    reason: format!("offset {offset}: {fault}"),
                });
            }
        };
        return Ok(Cut::At { segment, offset });
    }
    Ok(Cut::Everything)
}

/// Whether a segment's content, which ends at a position, ends at this offset of its file.
fn ends_at(bytes: &[u8], end: u64, offset: u64) -> bool {
    use crate::storage::format::SegmentState;
    let header = bytes.first_chunk().map(SegmentHeader::decode);
    match header {
        Some(Ok(SegmentHeader {
            state: SegmentState::Active { base },
            ..
        })) => offset == SEGMENT_HEADER_LEN as u64 + end.saturating_sub(base.0),
        _ => false,
    }
}

/// Whether a segment has a block that was written by a moment.
fn begins_by(path: &std::path::Path, until: WallMillis) -> Result<bool, BackupError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut header = [0; BLOCK_HEADER_LEN];
    match file.read_exact_at(&mut header, SEGMENT_HEADER_LEN as u64) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(failed("read", path)(error)),
    }
    match BlockHeader::decode(&header) {
        Ok(header) => Ok(header.written <= until),
        Err(_) if header.iter().all(|byte| *byte == 0) => Ok(false),
        Err(error) => Err(BackupError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}
