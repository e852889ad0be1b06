//! A segment's saved index, its **summary**: what a start needs of the segment, without the values.
//!
//! The log is the only copy of the data, and a start rebuilds the index from it. But reading every value again only to throw it away makes a
//! start as slow as the data is large. So when a segment has been left, its summary is written beside it: for each key the newest of its
//! records there, as the index needs it, and of the blocks what recovery learns from them. The next start reads that instead.
//!
//! | file | what it holds |
//! |---|---|
//! | `header` | which segment a summary is of, and the checksums |
//! | `body` | partitions and records, byte by byte |
//! | `build` | from records in log order to a body |
//! | `make` | from a segment's bytes, piece by piece, to a summary |
//! | `merge` | from the bodies of all segments to the newest record of each key |
//!
//! # Never trusted blindly
//!
//! A summary is a copy, and whoever reads it must be able to do without. It is used only if it is whole (its checksum covers every byte), of this
//! version, made under this node's secret, and says of its segment what the segment's own header, the log before it and the segment after it
//! say ([`Summary::is_of`]; the log's part is in `recovery`). If any of that fails, the segment is read as if there were no summary. The
//! segment in which the log ends is always read.
//!
//! # Which record is the newest
//!
//! *The highest version of a key wins*, of two with one version the later in the log; a clear takes away all of its partition whose version is not
//! above its own. That doesn't ask for the order in the log, so records can be sorted by the key's identity instead: a summary is sorted, and
//! a start merges sorted lists into finished tables of the index, without one random access. Keys are told apart by 96 bits
//! ([`KeyIdentity`](super::hash::KeyIdentity)). A delete stays in a summary, because what it deletes may be in an earlier segment.

mod body;
mod build;
mod header;
mod make;
mod merge;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use body::{Body, Group, Item};
pub use build::Builder;
pub use header::{SUMMARY_HEADER_LEN, SUMMARY_VERSION, SummaryHeader};
pub use make::{Fed, MakeError, Maker, make};
pub use merge::{Run, newest, range_bits};

use super::format::{SegmentHeader, SegmentState};
use crate::types::{Position, SegmentId};

/// A summary's file, and which segment it is of by its name.
#[derive(Clone, Copy, Debug)]
pub struct SummaryFile<'a> {
    /// The segment.
    pub segment: SegmentId,
    /// All its bytes.
    pub bytes: &'a [u8],
}

/// A summary that is whole. Whether it can stand for the segment is another question.
#[derive(Debug)]
pub struct Summary<'a> {
    /// Which segment it is of, and what the blocks there say.
    pub header: SummaryHeader,
    /// The records.
    pub body: Body<'a>,
}

impl<'a> Summary<'a> {
    /// Reads a summary's file, and checks every byte of it.
    ///
    /// # Errors
    /// [`SummaryError`]: it can't be used.
    pub fn parse(bytes: &'a [u8]) -> Result<Summary<'a>, SummaryError> {
        let (header, body) = SummaryHeader::decode(bytes)?;
        let body = Body::parse(body)?;
        if body.position_end(header.base) > header.end {
            return Err(SummaryError::Contradiction);
        }
        Ok(Summary { header, body })
    }

    /// Whether it is of the segment with this header, which begins at `base` and ends at `end`.
    #[must_use]
    pub fn is_of(&self, header: &SegmentHeader, base: Position, end: Position) -> bool {
        let state = SegmentState::Active { base };
        header.state == state
            && self.header.segment == *header
            && self.header.base == base
            && self.header.end == end
    }
}

/// Why a summary can't be used. The segment is read instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SummaryError {
    /// It has not the length that it should have.
    #[error("it has {actual} bytes where it should have {expected}")]
    Length {
        /// As the header says, or what a header takes.
        expected: u64,
        /// As it is.
        actual: u64,
    },
    /// It begins with something else.
    #[error("it is no saved index")]
    Magic,
    /// Another release wrote it.
    #[error("it has version {0}, and this release knows {SUMMARY_VERSION}")]
    Version(u32),
    /// The bytes are not those that were written.
    #[error("its checksum is {stored:08x} and that of its bytes {computed:08x}")]
    Checksum {
        /// The checksum that is stored.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// What is in it can't be true together.
    #[error("it contradicts itself")]
    Contradiction,
}
