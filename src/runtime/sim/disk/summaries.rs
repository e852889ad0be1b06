//! The saved indexes beside a disk's segment files.
//!
//! They are written whole under another name and then renamed, so that under their own there is a whole one or none. Whoever reads them must not
//! rely on that: a death in the middle leaves any part of one here, and at rest they rot, are cut, vanish, and turn up in each other's place, or as they
//! were at an earlier time. Nothing of that is damage to the data, and none of it counts as such.

use std::collections::BTreeMap;

use super::super::random::Random;
use super::SimDisk;
use crate::storage::hash::KeyIdentifier;
use crate::storage::summary::{MakeError, SummaryFile, make};
use crate::types::{Position, SegmentId};

/// Earlier summaries that are kept.
const EARLIER_MAX: usize = 16;

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub(super) struct Summaries {
    files: BTreeMap<SegmentId, Vec<u8>>,
    /// What was there before, to turn up again.
    earlier: Vec<Vec<u8>>,
}

/// What happened to a summary at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum SummaryDamage {
    /// A bit turned over.
    Flipped(SegmentId),
    /// It is shorter than it was.
    Cut(SegmentId),
    /// It is gone.
    Gone(SegmentId),
    /// It is one of another segment, or of another time.
    Replaced(SegmentId),
}

impl Summaries {
    /// The segment is not what it was.
    pub(super) fn forget(&mut self, segment: SegmentId) {
        self.files.remove(&segment);
        // Nor is a copy of its summary worth anything: nobody promises to find out that it tells of what salvage gave up.
        self.earlier.clear();
    }
}

impl SimDisk {
    /// All summaries that there are.
    pub(in super::super) fn summaries(&self) -> Vec<SummaryFile<'_>> {
        self.summaries
            .files
            .iter()
            .map(|(segment, bytes)| SummaryFile {
                segment: *segment,
                bytes,
            })
            .collect()
    }

    /// Makes a summary of what a reader sees of a segment.
    pub(in super::super) fn summarize(
        &self,
        segment: SegmentId,
        end: Position,
        identifier: KeyIdentifier,
    ) -> Result<Vec<u8>, MakeError> {
        let file = self.files.get(&segment);
        let image = file.map_or(&[][..], |file| &file.image);
        let made = make(identifier, image, segment, end);
        let is_rotten = self.rotten_segments().contains(&segment);
        assert!(
            made.is_ok() || is_rotten || made == Err(MakeError::Salvaged),
            "a segment that is as it was written has a summary: {:?}",
            made.err()
        );
        made
    }

    /// A summary is there from now on, whatever happens.
    pub(in super::super) fn put_summary(&mut self, segment: SegmentId, summary: Vec<u8>) {
        let summaries = &mut self.summaries;
        if let Some(before) = summaries.files.insert(segment, summary)
            && summaries.earlier.len() < EARLIER_MAX
        {
            summaries.earlier.push(before);
        }
    }

    /// Death came while a summary was made: nothing, all or any part of it is there.
    pub(in super::super) fn summarize_in_part(
        &mut self,
        segment: SegmentId,
        end: Position,
        identifier: KeyIdentifier,
        random: &mut Random,
    ) {
        let Ok(mut summary) = self.summarize(segment, end, identifier) else {
            return;
        };
        match random.below(4) {
            0 => summary.truncate(random.index(summary.len())),
            1 => {
                let from = random.index(summary.len());
                summary[from..].fill(0);
            }
            2 => return,
            _ => {}
        }
        self.put_summary(segment, summary);
    }

    /// Something happens to one of the summaries; `foreign` is one of another disk.
    pub(in super::super) fn rot_summary(
        &mut self,
        foreign: Option<Vec<u8>>,
        random: &mut Random,
    ) -> Option<SummaryDamage> {
        let segments: Vec<SegmentId> = self.summaries.files.keys().copied().collect();
        if segments.is_empty() {
            return None;
        }
        let segment = segments[random.index(segments.len())];
        let mut others = self.summaries.earlier.clone();
        others.extend(foreign);
        let files = self.summaries.files.iter();
        others.extend(
            files
                .filter(|(other, _)| **other != segment)
                .map(|(_, bytes)| bytes.clone()),
        );
        let summary = self.summaries.files.get_mut(&segment)?;
        match random.below(4) {
            0 if !summary.is_empty() => {
                let at = match random.percent(30) {
                    true => random.index(summary.len().min(256)),
                    false => random.index(summary.len()),
                };
                summary[at] ^= 1 << random.below(8);
                Some(SummaryDamage::Flipped(segment))
            }
            1 if !summary.is_empty() => {
                summary.truncate(random.index(summary.len()));
                Some(SummaryDamage::Cut(segment))
            }
            2 if !others.is_empty() => {
                *summary = others.swap_remove(random.index(others.len()));
                Some(SummaryDamage::Replaced(segment))
            }
            _ => {
                self.summaries.files.remove(&segment);
                Some(SummaryDamage::Gone(segment))
            }
        }
    }

    /// One of the summaries, if there are any.
    pub(in super::super) fn any_summary(&self) -> Option<Vec<u8>> {
        self.summaries.files.values().next_back().cloned()
    }
}
