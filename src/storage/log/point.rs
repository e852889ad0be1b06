//! A point in the log, and the files that hold everything below it: what a backup is made of.

use super::Log;
use crate::types::{Position, SegmentId};

/// The log up to a position, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPoint {
    /// Every block below is in the files; none that is not.
    pub end: Position,
    /// In the order of their segments.
    pub files: Vec<PointFile>,
}

/// One file of a [`LogPoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointFile {
    /// Its segment.
    pub segment: SegmentId,
    /// What the file is.
    pub kind: PointFileKind,
}

/// What a file of a [`LogPoint`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointFileKind {
    /// The stub of what compaction has removed.
    Stub,
    /// A segment that was left: nothing is written to it any more, and nothing behind `end` means anything.
    Sealed {
        /// Where its first block begins.
        base: Position,
        /// Where its last block ends.
        end: Position,
    },
    /// The segment that the log goes on in: only what lies below `end` belongs to the point.
    Active {
        /// Where its first block begins.
        base: Position,
        /// The point.
        end: Position,
    },
}

impl Log {
    /// The log's end, and the files that hold all before it.
    #[must_use]
    pub fn point(&self) -> LogPoint {
        let active = self.active();
        let stubs = self.stubs.iter().map(|stub| PointFile {
            segment: stub.stub,
            kind: PointFileKind::Stub,
        });
        let segments = self.segments.iter().map(|segment| {
            let (base, end) = (segment.base, segment.end);
            let kind = match Some(segment.id) == active {
                true => PointFileKind::Active { base, end },
                false => PointFileKind::Sealed { base, end },
            };
            PointFile {
                segment: segment.id,
                kind,
            }
        });
        let mut files: Vec<PointFile> = stubs.chain(segments).collect();
        files.sort_by_key(|file| file.segment);
        LogPoint {
            end: self.end(),
            files,
        }
    }
}
