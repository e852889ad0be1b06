//! What `corduroy check` says of saved indexes: whether a start could use them.
//!
//! A bad one is no damage. Nothing is lost with it: the start reads its segment instead, and the node makes another.

use std::fs;

use serde::Serialize;

use super::reading::ShardFiles;
use crate::limits::SECTOR_LEN;
use crate::runtime::glommio::summary_name;
use crate::storage::format::SegmentHeader;
use crate::storage::hash::KeyIdentifier;
use crate::storage::recovery::RecoveredSegment;
use crate::storage::summary::{Summary, make};

/// The saved indexes of one shard.
#[derive(Debug, Default, Serialize)]
pub(super) struct SavedIndexes {
    /// How many could stand for their segments.
    good: u64,
    /// The others.
    pub(super) bad: Vec<BadIndex>,
}

/// A saved index that a start does not use.
#[derive(Debug, Serialize)]
pub(super) struct BadIndex {
    pub(super) file: String,
    pub(super) reason: String,
}

/// Looks at the saved indexes of `segments`, of which the bytes have been read before. That of the last one doesn't matter: a start reads that segment.
pub(super) fn check_saved(
    shard: &ShardFiles,
    segments: &[RecoveredSegment],
    identifier: KeyIdentifier,
) -> SavedIndexes {
    let mut saved = SavedIndexes::default();
    let files = shard.segments.files();
    for segment in segments.iter().rev().skip(1).rev() {
        let name = summary_name(segment.id);
        let bytes = match fs::read(shard.directory.join(&name)) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => Err(format!("it can't be read: {error}")),
        };
        let file = files.iter().find(|file| file.id == segment.id);
        let content = file.map_or(&[][..], |file| file.bytes);
        match bytes.and_then(|bytes| compare(&bytes, segment, content, identifier)) {
            Ok(()) => saved.good += 1,
            Err(reason) => saved.bad.push(BadIndex { file: name, reason }),
        }
    }
    saved
}

/// Whether a saved index is whole, of this segment, and says of it what is in it. What is wrong if not.
fn compare(
    bytes: &[u8],
    segment: &RecoveredSegment,
    content: &[u8],
    identifier: KeyIdentifier,
) -> Result<(), String> {
    let summary = Summary::parse(bytes).map_err(|error| error.to_string())?;
    let header = content
        .first_chunk::<SECTOR_LEN>()
        .map(SegmentHeader::decode);
    let is_of =
        matches!(header, Some(Ok(header)) if summary.is_of(&header, segment.base, segment.end));
    if !is_of {
        return Err("it is of another segment, or of another state of this one".to_owned());
    }
    // Of a segment that is damaged none can be made, and then there is nothing to compare with.
    match make(identifier, content, segment.id, segment.end) {
        Ok(made) if made != bytes => Err(
            "it does not say what its segment holds, or was made under another secret".to_owned(),
        ),
        Ok(_) | Err(_) => Ok(()),
    }
}
