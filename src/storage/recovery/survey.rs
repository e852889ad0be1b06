//! The first step of recovery: which files there are, whether they belong together, and which of them have begun.
//!
//! A segment has **begun** if its header says so. The header can be lost, so there are other signs: a later
//! segment has begun; its header is neither whole nor blank (one sector, no crash does that); a block in it
//! testifies that the first one was synced. All files up to the last that has begun have begun, since segments
//! begin in order and only after the one before is synced: a header among them that doesn't say so is damage.
//! The files after it were being prepared, or were about to begin when a crash came: whatever is in them was
//! never synced, and they are deleted.
//!
//! A segment whose content compaction has removed leaves a **stub**, which may stand for the segments before it too. A file that a later stub
//! stands for is what a crash left of that removal: nothing in it is looked at, for what it held lives on elsewhere or is meant to be gone.
//!
//! A segment is prepared only when the one before was, and unused ones are deleted highest first, each for good before the next. So **no crash
//! leaves a hole** in the numbers: a file that is missing before one that was prepared, and that no stub stands for, is lost, and may have held data. Salvage takes it for an empty one.

use super::error::{Damage, Fault, Proof, RecoveryError};
use super::{Identity, SegmentFile, log_bytes, tear};
use crate::limits::{
    SALVAGE_MISSING_MAX, SECTOR_LEN, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN, SEGMENT_LEN_READ_MIN,
};
use crate::storage::format::{
    BlockHeader, LogTag, RemovedRange, SegmentError, SegmentHeader, SegmentState,
};
use crate::types::{Position, SegmentId, WallMillis};

/// The log's first segment.
pub(super) const FIRST: SegmentId = SegmentId(1);

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
    /// The file is not there.
    pub(super) is_missing: bool,
    /// Nothing that is left of the file says how long it was.
    pub(super) len_is_lost: bool,
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

/// A file, or the place of one that is missing.
struct Place<'a> {
    file: SegmentFile<'a>,
    header: Result<SegmentHeader, SegmentError>,
    is_missing: bool,
}

/// What a file says that stands for a range that was removed. Its two headers are the same, and one is enough.
fn stub(file: &SegmentFile<'_>) -> Option<(SegmentHeader, RemovedRange)> {
    let (sectors, _) = file.bytes.as_chunks::<SECTOR_LEN>();
    let mut headers = sectors.iter().take(2).map(SegmentHeader::decode);
    let header = match headers.next()? {
        Ok(header) => header,
        // A header of another version is whole: it is what counts.
        Err(SegmentError::Version(_)) => return None,
        Err(_) => headers.next()?.ok()?,
    };
    match header.state {
        SegmentState::Removed(range) => Some((header, range)),
        _ => None,
    }
}

/// Takes the files out that later stubs stand for, and gives back their numbers. `files` are in order.
pub(super) fn take_covered(files: &mut Vec<SegmentFile<'_>>) -> Vec<SegmentId> {
    let mut covered = Vec::new();
    let mut first = None;
    for file in files.iter().rev() {
        if first.is_some_and(|first| file.id >= first) {
            covered.push(file.id);
        } else if let Some((_, range)) = stub(file) {
            first = Some(range.first);
        }
    }
    files.retain(|file| !covered.contains(&file.id));
    covered
}

/// `absent` are the files that are missing between others, to be taken for empty ones; none without salvage.
pub(super) fn survey<'a>(
    identity: &Identity,
    files: &[SegmentFile<'a>],
    absent: &'a [Absent],
) -> Result<Survey<'a>, RecoveryError> {
    let headers = read_headers(identity, files)?;
    let tag = headers.iter().flatten().map(|header| header.log).next();
    let tag = tag.or_else(|| {
        files
            .iter()
            .find_map(|file| any_block(file).map(|block| block.log))
    });
    let longest = headers.iter().flatten().map(|header| header.segment_len);
    let longest = longest.max().unwrap_or(SEGMENT_LEN_MIN);
    let places = places(files, headers, absent, tag)?;
    let last = (0..places.len())
        .rev()
        .find(|index| has_begun(&places[*index], tag) || was_emptied(&places[*index..]));
    let begun_count = last.map_or(0, |last| last + 1);
    let (begun, unused) = places.split_at(begun_count);
    if begun_count > 0 && tag.is_none() {
        return Err(RecoveryError::Unreadable {
            file: files[0].name.to_owned(),
        });
    }
    let tag = tag.unwrap_or(LogTag(0));
    let begun = begun
        .iter()
        .enumerate()
        .map(|(index, place)| match &place.header {
            Ok(header) if header.state != SegmentState::Prepared => {
                Begun::as_read(&place.file, header)
            }
            _ => Begun::rebuilt(identity, tag, place, begun.get(index + 1), longest),
        });
    let testimony = unused
        .iter()
        .flat_map(|place| tear::blocks(log_bytes(place.file.bytes), 0, tag));
    let testimony = testimony
        .map(|(_, block)| block.durable)
        .max()
        .unwrap_or_default();
    Ok(Survey {
        log: tag,
        begun: begun.collect(),
        unused: unused.iter().map(|place| place.file.id).collect(),
        testimony,
    })
}

/// The files in order, with those that are missing in their places.
fn places<'a>(
    files: &[SegmentFile<'a>],
    headers: Vec<Result<SegmentHeader, SegmentError>>,
    absent: &'a [Absent],
    tag: Option<LogTag>,
) -> Result<Vec<Place<'a>>, RecoveryError> {
    let mut places = Vec::with_capacity(files.len());
    for (file, header) in files.iter().zip(headers) {
        places.push(Place {
            file: *file,
            header,
            is_missing: false,
        });
    }
    // A blank file proves nothing of those before it.
    let proven = places.iter().rposition(|place| {
        has_begun(place, tag) || !matches!(place.header, Err(SegmentError::Blank))
    });
    let proven = proven.map_or(0, |last| last + 1);
    let mut expected = FIRST.0;
    let missing = places[..proven].iter().find(|place| {
        let is_missing = first_of(&place.file).0 != expected;
        if !is_missing {
            expected = place.file.id.0.saturating_add(1);
        }
        is_missing
    });
    let Some(before) = missing.map(|place| place.file) else {
        return Ok(places);
    };
    if absent.is_empty() {
        return Err(RecoveryError::MissingSegment {
            missing: SegmentId(expected),
            file: before.name.to_owned(),
        });
    }
    let last = places[proven - 1].file;
    if absent.len() > SALVAGE_MISSING_MAX {
        return Err(RecoveryError::TooManyMissing {
            missing: SegmentId(expected),
            file: last.name.to_owned(),
        });
    }
    let absent = absent.iter().filter(|absent| absent.id < last.id);
    places.extend(absent.map(|absent| Place {
        file: SegmentFile {
            id: absent.id,
            name: &absent.name,
            bytes: &[],
        },
        header: Err(SegmentError::Blank),
        is_missing: true,
    }));
    places.sort_by_key(|place| place.file.id);
    Ok(places)
}

/// A file that is missing before another.
pub(super) struct Absent {
    id: SegmentId,
    name: String,
}

/// The first segment that a file stands for: its own, unless it is a stub.
fn first_of(file: &SegmentFile<'_>) -> SegmentId {
    stub(file).map_or(file.id, |(_, range)| range.first)
}

/// The files that are missing between `files`, in order, and one more than [`SALVAGE_MISSING_MAX`] of them at most.
pub(super) fn absent(files: &[SegmentFile<'_>]) -> Vec<Absent> {
    let mut absent = Vec::new();
    let mut expected = FIRST.0;
    for file in files {
        let id = file.id.0;
        let missing = (expected..first_of(file).0).map(|missing| Absent {
            id: SegmentId(missing),
            name: name_beside(file, SegmentId(missing)),
        });
        absent.extend(missing.take(SALVAGE_MISSING_MAX + 1 - absent.len()));
        expected = id.saturating_add(1);
    }
    absent
}

/// What a file beside `file` would be called that holds segment `id`.
fn name_beside(file: &SegmentFile<'_>, id: SegmentId) -> String {
    match file.name.rsplit_once(&file.id.to_string()) {
        Some((before, after)) => format!("{before}{id}{after}"),
        None => format!("segment {id} before {}", file.name),
    }
}

impl<'a> Begun<'a> {
    fn as_read(file: &SegmentFile<'a>, header: &SegmentHeader) -> Begun<'a> {
        let base = match header.state {
            SegmentState::Active { base } => Some(base),
            SegmentState::Removed(range) => Some(range.base),
            SegmentState::Prepared => None,
        };
        Begun {
            file: *file,
            header: *header,
            is_missing: false,
            len_is_lost: false,
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
        place: &Place<'a>,
        later: Option<&Place<'_>>,
        longest: u64,
    ) -> Begun<'a> {
        let (file, read) = (place.file, &place.header);
        let first = tear::blocks(log_bytes(file.bytes), 0, tag).next();
        let base = first
            .and_then(|(at, block)| block.position.0.checked_sub(at as u64))
            .map(Position);
        let len_is_lost = file.bytes.len() < SECTOR_LEN;
        let len = match len_is_lost {
            true => longest,
            false => (file.bytes.len() as u64).next_multiple_of(SECTOR_LEN as u64),
        };
        let header = SegmentHeader {
            node: identity.node,
            shard: identity.shard,
            shard_count: identity.shard_count,
            log: tag,
            segment: file.id,
            segment_len: len.clamp(SEGMENT_LEN_READ_MIN, SEGMENT_LEN_MAX),
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
                    file: later.file.name.to_owned(),
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
        Begun {
            file,
            header: read.clone().unwrap_or(header),
            is_missing: place.is_missing,
            len_is_lost,
            header_is_good: false,
            base,
            // If nothing is left, one sentence is enough: the one on what was in it.
            damage: match len_is_lost {
                true => Vec::new(),
                false => vec![damage],
            },
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
            Some(sector) => match stub(file) {
                Some((header, _)) => Ok(header),
                None => SegmentHeader::decode(sector),
            },
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

/// Whether the first of these files is missing or has a blank header though a later file was prepared: that is done only once the file before is whole and
/// its header synced, so no crash leaves this.
fn was_emptied(places: &[Place<'_>]) -> bool {
    let [first, later @ ..] = places else {
        return false;
    };
    matches!(first.header, Err(SegmentError::Blank))
        && later.iter().any(|place| place.header.is_ok())
}

fn has_begun(place: &Place<'_>, tag: Option<LogTag>) -> bool {
    let Some(tag) = tag else {
        // No block can be read: blank files were never begun, and any other header was.
        return !matches!(place.header, Err(SegmentError::Blank));
    };
    let mut blocks = tear::blocks(log_bytes(place.file.bytes), 0, tag);
    match &place.header {
        Ok(SegmentHeader {
            state: SegmentState::Active { .. } | SegmentState::Removed(_),
            ..
        }) => true,
        // The header is synced as prepared before the first block is written, so no crash leaves a blank one
        // with blocks.
        Err(SegmentError::Blank) => blocks.next().is_some(),
        Err(_) => true,
        // Blocks without the active header: torn together, unless one says that the first one, and with it the
        // header, was synced.
        Ok(_) => blocks.any(|(at, block)| {
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
