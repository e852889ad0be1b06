//! The first step of recovery: which files there are, whether they belong together, and which of them have begun.
//!
//! A segment has **begun** if its header says so. The header can be lost, so there are other signs: a later
//! segment has begun; its header is neither whole nor blank (one sector, no crash does that); a block in it
//! testifies that the first one was synced. All files up to the last that has begun have begun, since segments
//! begin in order and only after the one before is synced: a header among them that doesn't say so is damage.
//! The files after it were being prepared, or were about to begin when a crash came: whatever is in them was
//! never synced, and they are deleted.

use super::error::{Damage, Fault, Proof, RecoveryError};
use super::{Identity, SegmentFile, log_bytes, tear};
use crate::limits::{SECTOR_LEN, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN};
use crate::storage::format::{BlockHeader, LogTag, SegmentError, SegmentHeader, SegmentState};
use crate::types::{Position, SegmentId, WallMillis};

/// The log's first segment.
const FIRST: SegmentId = SegmentId(1);

/// What the survey found.
pub(super) struct Survey<'a> {
    /// The log's tag. Means nothing if no segment has begun.
    pub(super) log: LogTag,
    /// The segments that have begun, in order, none missing.
    pub(super) begun: Vec<Begun<'a>>,
    /// The segments that have not, in order.
    pub(super) unused: Vec<SegmentId>,
    /// The highest `durable` of the blocks in those.
    pub(super) testimony: Position,
}

/// A segment that has begun.
pub(super) struct Begun<'a> {
    pub(super) file: SegmentFile<'a>,
    /// As read, or as it must have been.
    pub(super) header: SegmentHeader,
    /// Whether the header can stay as it is.
    pub(super) header_is_good: bool,
    /// Position of its first block, if the header or a block tells.
    pub(super) base: Option<Position>,
    /// What is wrong with the header.
    pub(super) damage: Vec<Damage>,
}

impl<'a> Begun<'a> {
    /// The bytes of log that there are: fewer than the capacity if the file was truncated, never more.
    pub(super) fn log_bytes(&self) -> &'a [u8] {
        let bytes = log_bytes(self.file.bytes);
        &bytes[..bytes.len().min(self.header.capacity() as usize)]
    }
}

pub(super) fn survey<'a>(
    identity: &Identity,
    files: &[SegmentFile<'a>],
) -> Result<Survey<'a>, RecoveryError> {
    let headers = read_headers(identity, files)?;
    let tag = headers.iter().flatten().map(|header| header.log).next();
    let tag = tag.or_else(|| {
        files
            .iter()
            .find_map(|file| any_block(file).map(|block| block.log))
    });
    let last = (0..files.len()).rev().find(|index| {
        has_begun(&files[*index], &headers[*index], tag) || was_emptied(&headers[*index..])
    });
    let Some(last) = last else {
        let unused = files.iter().map(|file| file.id).collect();
        return Ok(Survey {
            log: LogTag(0),
            begun: Vec::new(),
            unused,
            testimony: Position(0),
        });
    };
    let Some(tag) = tag else {
        return Err(RecoveryError::Unreadable {
            file: files[0].name.to_owned(),
        });
    };
    let lengths = headers.iter().flatten().map(|header| header.segment_len);
    let longest = lengths.max().unwrap_or(SEGMENT_LEN_MIN);
    let mut begun = Vec::with_capacity(last + 1);
    for (index, file) in files[..=last].iter().enumerate() {
        let expected = SegmentId(FIRST.0 + index as u64);
        if file.id != expected {
            return Err(RecoveryError::MissingSegment {
                missing: expected,
                file: file.name.to_owned(),
            });
        }
        let later = files[..=last].get(index + 1);
        begun.push(match &headers[index] {
            Ok(header) if header.state != SegmentState::Prepared => Begun::as_read(file, header),
            other => Begun::rebuilt(identity, tag, file, other, later, longest),
        });
    }
    let testimony = files[last + 1..]
        .iter()
        .flat_map(|file| tear::blocks(log_bytes(file.bytes), 0, tag));
    let testimony = testimony
        .map(|(_, block)| block.durable)
        .max()
        .unwrap_or_default();
    let unused = files[last + 1..].iter().map(|file| file.id).collect();
    Ok(Survey {
        log: tag,
        begun,
        unused,
        testimony,
    })
}

impl<'a> Begun<'a> {
    fn as_read(file: &SegmentFile<'a>, header: &SegmentHeader) -> Begun<'a> {
        let base = match header.state {
            SegmentState::Active { base } => Some(base),
            SegmentState::Prepared => None,
        };
        Begun {
            file: *file,
            header: *header,
            header_is_good: true,
            base,
            damage: Vec::new(),
        }
    }

    /// A segment that has begun and whose header doesn't say so. Its base is where its blocks say that it is;
    /// if none can be read, where the segment before ends.
    fn rebuilt(
        identity: &Identity,
        tag: LogTag,
        file: &SegmentFile<'a>,
        read: &Result<SegmentHeader, SegmentError>,
        later: Option<&SegmentFile<'a>>,
        longest: u64,
    ) -> Begun<'a> {
        let first = tear::blocks(log_bytes(file.bytes), 0, tag).next();
        let base = first
            .and_then(|(at, block)| block.position.0.checked_sub(at as u64))
            .map(Position);
        let len = match file.bytes.len() {
            // Nothing is left that says how long it was.
            ..SECTOR_LEN => longest,
            len => (len as u64).next_multiple_of(SECTOR_LEN as u64),
        };
        let header = SegmentHeader {
            node: identity.node,
            shard: identity.shard,
            shard_count: identity.shard_count,
            log: tag,
            segment: file.id,
            segment_len: len.clamp(SEGMENT_LEN_MIN, SEGMENT_LEN_MAX),
            created: WallMillis(0),
            state: SegmentState::Prepared,
        };
        let damage = Damage {
            file: file.name.to_owned(),
            segment: file.id,
            offset: 0,
            len: 0,
            fault: match read {
                Ok(_) => Fault::NotBegun,
                Err(error) => Fault::SegmentHeader(error.clone()),
            },
            proof: match (later, first) {
                (Some(later), _) => Proof::LaterSegment {
                    file: later.name.to_owned(),
                },
                (None, Some((_, block))) if matches!(read, Ok(_) | Err(SegmentError::Blank)) => {
                    Proof::LaterBlock {
                        position: block.position,
                        durable: block.durable,
                    }
                }
                (None, _) => Proof::Prepared,
            },
        };
        let header = read.clone().unwrap_or(header);
        Begun {
            file: *file,
            header,
            header_is_good: false,
            base,
            damage: vec![damage],
        }
    }
}

/// Reads all headers, and refuses those that are whole and not of this log.
fn read_headers(
    identity: &Identity,
    files: &[SegmentFile<'_>],
) -> Result<Vec<Result<SegmentHeader, SegmentError>>, RecoveryError> {
    let mut headers = Vec::with_capacity(files.len());
    let mut first: Option<(LogTag, &str)> = None;
    for file in files {
        let read = match file.bytes.first_chunk() {
            Some(sector) => SegmentHeader::decode(sector),
            // A crash may cut a file that is being prepared before its header.
            None if file.bytes.iter().all(|byte| *byte == 0) => Err(SegmentError::Blank),
            None => Err(SegmentError::Magic),
        };
        match &read {
            Ok(header) => {
                check_identity(identity, file, header)?;
                let (expected, other) = *first.get_or_insert((header.log, file.name));
                if header.log != expected {
                    return Err(RecoveryError::OtherLog {
                        file: file.name.to_owned(),
                        other: other.to_owned(),
                    });
                }
            }
            Err(error @ SegmentError::Version(_)) => {
                return Err(RecoveryError::Version {
                    file: file.name.to_owned(),
                    error: error.clone(),
                });
            }
            Err(_) => {}
        }
        headers.push(read);
    }
    Ok(headers)
}

fn check_identity(
    identity: &Identity,
    file: &SegmentFile<'_>,
    header: &SegmentHeader,
) -> Result<(), RecoveryError> {
    let name = || file.name.to_owned();
    if header.node != identity.node {
        return Err(RecoveryError::WrongNode {
            file: name(),
            found: header.node,
            expected: identity.node,
        });
    }
    if header.shard_count != identity.shard_count {
        return Err(RecoveryError::WrongShardCount {
            file: name(),
            found: header.shard_count,
            expected: identity.shard_count,
        });
    }
    if header.shard != identity.shard {
        return Err(RecoveryError::WrongShard {
            file: name(),
            found: header.shard.0,
            expected: identity.shard.0,
        });
    }
    if header.segment != file.id {
        return Err(RecoveryError::WrongSegment {
            file: name(),
            found: header.segment,
            expected: file.id,
        });
    }
    Ok(())
}

/// Whether the first of these headers is blank though a later file was prepared: that is done only once the file before is whole and
/// its header synced, so no crash leaves this.
fn was_emptied(headers: &[Result<SegmentHeader, SegmentError>]) -> bool {
    matches!(headers, [Err(SegmentError::Blank), later @ ..] if later.iter().any(Result::is_ok))
}

fn has_begun(
    file: &SegmentFile<'_>,
    header: &Result<SegmentHeader, SegmentError>,
    tag: Option<LogTag>,
) -> bool {
    let Some(tag) = tag else {
        // No block can be read: blank files were never begun, and any other header was.
        return !matches!(header, Err(SegmentError::Blank));
    };
    match header {
        Ok(SegmentHeader {
            state: SegmentState::Active { .. },
            ..
        }) => true,
        // The header is synced as prepared before the first block is written, so no crash leaves a blank one
        // with blocks.
        Err(SegmentError::Blank) => tear::blocks(log_bytes(file.bytes), 0, tag).next().is_some(),
        Err(_) => true,
        // Blocks without the active header: torn together, unless one says that the first one, and with it the
        // header, was synced.
        Ok(_) => tear::blocks(log_bytes(file.bytes), 0, tag).any(|(at, block)| {
            block
                .position
                .0
                .checked_sub(at as u64)
                .is_some_and(|base| block.durable.0 > base)
        }),
    }
}

fn any_block(file: &SegmentFile<'_>) -> Option<BlockHeader> {
    tear::block_headers(log_bytes(file.bytes), 0)
        .next()
        .map(|(_, block)| block)
}
