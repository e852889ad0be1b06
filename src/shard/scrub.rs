//! The background scrub: reads the whole log once a period and holds it against its checksums (`storage::scrub`), so that rot is known of before
//! somebody needs what it took.
//!
//! # A pass
//!
//! It begins with the oldest segment and ends with what was the active one when it began, of which what is on disk for certain is read. One piece at a
//! time is read, and the pieces are spread over the period: the more there is, the closer they follow each other, and never closer than
//! [`limits::SCRUB_REST_NS`]. A pass that can't keep up takes longer than its period.
//!
//! Where a pass is, is not kept over restarts. Instead passes are laid out on the wall clock: the first after a start begins as far into the log as the
//! period that the clock is in has gone by. So a node that is restarted every day still reads everything in a month. That pass is in part, and not counted.
//!
//! # Compaction
//!
//! A pass holds no segment: at its pace that would keep dead space for days. Compaction waits for a read that is under way, none begins in a segment that is about to
//! go, and when a segment has gone, the pass goes on with the next.
//!
//! # What is found
//!
//! It is counted, listed for `status`, and told once to whoever writes the log lines. It stops nothing: what is served is checked when it is read, and the other
//! records are as good as they were.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Shard;
use super::pipeline::Operation;
use crate::limits;
use crate::storage::disk::{DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::format::SEGMENT_HEADER_LEN;
use crate::storage::recovery::RecoveredSegment;
use crate::storage::scrub::{Check, Finding};
use crate::types::{MonoNanos, Now, SegmentId, WallMillis};

/// One way through the log.
#[derive(Debug)]
struct Pass {
    began: MonoNanos,
    /// The last segment that belongs to it.
    last: SegmentId,
    /// What there was to read when it began, in bytes.
    total: u64,
    /// How much of that was passed over at its beginning, and how far it has come.
    first: u64,
    done: u64,
    /// The segment in hand, if the pass has come to one.
    segment: SegmentId,
    check: Check,
}

/// The state of the scrub.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    pass: Option<Pass>,
    /// Of which segment a piece is being read.
    reading: Option<SegmentId>,
    /// Nothing is to be done before this.
    due: MonoNanos,
    /// A piece was read: the segment may be at its end.
    look_due: bool,
    /// A pass has begun since the start.
    has_begun: bool,
    passes: u64,
    bytes: u64,
    pass_ended: Option<WallMillis>,
    found: u64,
    places: BTreeMap<(SegmentId, u64), String>,
    news: Vec<ScrubDamage>,
}

/// A place in a file that is not what was written, or can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScrubDamage {
    /// The file's name.
    pub file: String,
    /// In bytes from its start.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

/// What `status` says of the scrub. Counters count since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScrubStatus {
    /// Passes over the whole log that have ended.
    pub passes: u64,
    /// When the last one ended, in milliseconds since 1970.
    pub last_pass_ended_ms: Option<u64>,
    /// Bytes read.
    pub bytes: u64,
    /// The segment that it is at.
    pub segment: Option<u64>,
    /// How often something was found to be wrong. The same place counts again in each pass.
    pub damage_found: u64,
    /// The places, in order: the first so many that were found, of segments that are still there.
    pub damage: Vec<ScrubDamage>,
}

impl Scrub {
    /// Whether a piece of this segment is being read.
    pub(super) fn is_reading(&self, segment: SegmentId) -> bool {
        self.reading == Some(segment)
    }

    /// Takes note of something that is wrong.
    fn found(&mut self, segment: SegmentId, finding: Finding) {
        self.found += 1;
        let place = (segment, finding.offset);
        let has_room = self.places.len() < limits::SCRUB_PLACES_MAX;
        if self.places.contains_key(&place) || !has_room {
            return;
        }
        self.places.insert(place, finding.reason.clone());
        if self.news.len() < limits::SCRUB_PLACES_MAX {
            self.news
                .push(damage(segment, finding.offset, finding.reason));
        }
    }

    pub(super) fn status(&self) -> ScrubStatus {
        let places = self.places.iter();
        ScrubStatus {
            passes: self.passes,
            last_pass_ended_ms: self.pass_ended.map(|ended| ended.0),
            bytes: self.bytes,
            segment: self.pass.as_ref().map(|pass| pass.segment.0),
            damage_found: self.found,
            damage: places
                .map(|(&(segment, offset), reason)| damage(segment, offset, reason.clone()))
                .collect(),
        }
    }
}

fn damage(segment: SegmentId, offset: u64, reason: String) -> ScrubDamage {
    ScrubDamage {
        file: format!("{segment}.seg"),
        offset,
        reason,
    }
}

impl Shard {
    /// What the scrub has found and nobody was told of yet.
    pub fn take_scrub_news(&mut self) -> Vec<ScrubDamage> {
        std::mem::take(&mut self.scrub.news)
    }

    /// What it has done and found.
    #[must_use]
    pub fn scrub_status(&self) -> ScrubStatus {
        self.scrub.status()
    }

    /// Whether an operation that is under way is one of its reads.
    #[must_use]
    pub fn is_scrub(&self, ticket: DiskTicket) -> bool {
        let operation = self.pipeline.operations.get(&ticket);
        matches!(operation, Some(Operation::Scrub { .. }))
    }

    /// When it wants a turn though nothing arrives.
    pub(super) fn scrub_deadline(&self) -> Option<MonoNanos> {
        let waits = self.scrub.reading.is_some() || self.compaction.is_leaving();
        (self.config.scrub_period_ns.is_some() && !waits).then_some(self.scrub.due)
    }

    /// One turn's part: asks for the next piece when its time has come.
    pub(super) fn scrub(&mut self, now: Now, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
        let Some(period) = self.config.scrub_period_ns else {
            return;
        };
        let is_bad_time = self.pipeline.stopping
            || self.pipeline.failed.is_some()
            || self.compaction.is_leaving();
        if is_bad_time || self.scrub.reading.is_some() {
            return;
        }
        if std::mem::take(&mut self.scrub.look_due) {
            self.find_next_segment(now, period);
        }
        if now.mono < self.scrub.due {
            return;
        }
        if self.scrub.pass.is_none() {
            self.scrub.pass = self.begin_pass(now, period);
        } else {
            // What was in hand may have gone meanwhile.
            self.find_next_segment(now, period);
        }
        let Some(pass) = &self.scrub.pass else {
            let wait = period.min(limits::SCRUB_LOOK_NS);
            self.scrub.due = self.scrub.due.max(MonoNanos(now.mono.0 + wait));
            return;
        };
        let len = pass.check.left().min(limits::SCRUB_PIECE_BYTES) as usize;
        let (segment, offset) = (pass.segment, pass.check.at());
        self.scrub.reading = Some(segment);
        self.pipeline.submit(
            Operation::Scrub { segment, len },
            DiskOperation::Read {
                segment,
                offset,
                len,
            },
            disk,
        );
    }

    /// If the segment in hand is read to its end, or gone, goes on to the next, or ends the pass.
    fn find_next_segment(&mut self, now: Now, period: u64) {
        let Some(pass) = &self.scrub.pass else {
            return;
        };
        let (segment, last) = (pass.segment, pass.last);
        let is_there =
            self.log.end_of(segment).is_some() && self.compaction.half_removed() != Some(segment);
        if pass.check.left() > 0 && is_there {
            return;
        }
        let next = self
            .readable_segments()
            .find(|it| it.id > segment && it.id <= last);
        let check = next.map(|next| self.check_of(&next));
        match (&mut self.scrub.pass, next, check) {
            (Some(pass), Some(next), Some(check)) => {
                pass.segment = next.id;
                pass.check = check;
            }
            _ => self.end_pass(now, period),
        }
    }

    /// A piece was read, or can't be.
    pub(super) fn scrub_read(
        &mut self,
        now: Now,
        segment: SegmentId,
        len: usize,
        outcome: DiskOutcome,
    ) {
        let scrub = &mut self.scrub;
        scrub.reading = None;
        scrub.look_due = true;
        let pass = scrub.pass.as_mut();
        let pass = pass.expect("a pass goes on until its read is done");
        assert_eq!(pass.segment, segment, "one piece is read at a time");
        let findings = match outcome.map(|done| done.into_bytes()) {
            Ok(bytes) if bytes.len() >= len => pass.check.feed(&bytes[..len]),
            Ok(bytes) => {
                let reason = format!(
                    "the file ends {} bytes behind it, where {len} are expected",
                    bytes.len()
                );
                vec![pass.check.fails(len as u64, &reason)]
            }
            Err(error) => {
                let reason = format!("{len} bytes there can't be read: {error}");
                vec![pass.check.fails(len as u64, &reason)]
            }
        };
        pass.done += len as u64;
        scrub.bytes += len as u64;
        let period = self.config.scrub_period_ns.unwrap_or_default();
        let rested = now.mono.0 + limits::SCRUB_REST_NS;
        scrub.due = MonoNanos(rested.max(pass.begins_piece_at(period)));
        for finding in findings {
            scrub.found(segment, finding);
        }
    }

    fn begin_pass(&mut self, now: Now, period: u64) -> Option<Pass> {
        let log = &self.log;
        self.scrub
            .places
            .retain(|(segment, _), _| log.end_of(*segment).is_some());
        let last = self.log.active()?;
        let total: u64 = self.readable_segments().map(|it| file_len(&it)).sum();
        let gone_by = u128::from(now.wall.0) * 1_000_000 % u128::from(period);
        let first = match self.scrub.has_begun {
            true => 0,
            false => (u128::from(total) * gone_by / u128::from(period)) as u64,
        };
        let mut skip = first;
        let segment = self.readable_segments().find(|segment| {
            let len = file_len(segment);
            let is_it = skip < len;
            skip -= if is_it { 0 } else { len };
            is_it
        })?;
        self.scrub.has_begun = true;
        Some(Pass {
            began: now.mono,
            last,
            total,
            first,
            done: first,
            segment: segment.id,
            check: self.check_of(&segment).starting_at(skip),
        })
    }

    /// Everything is read.
    fn end_pass(&mut self, now: Now, period: u64) {
        let Some(pass) = self.scrub.pass.take() else {
            return;
        };
        if pass.first == 0 {
            self.scrub.passes += 1;
            self.scrub.pass_ended = Some(now.wall);
        }
        let rested = now.mono.0 + limits::SCRUB_REST_NS;
        let whole = Pass::spread(period, pass.total - pass.first, pass.total);
        self.scrub.due = MonoNanos(rested.max(pass.began.0.saturating_add(whole)));
    }

    /// The segments in order, each as far as it is on disk for certain. One of which that is nothing may have no header there yet.
    fn readable_segments(&self) -> impl Iterator<Item = RecoveredSegment> {
        let durable = self.pipeline.durable;
        let segments = self.log.segments().map(move |segment| RecoveredSegment {
            end: segment.end.min(durable),
            ..segment
        });
        let half_removed = self.compaction.half_removed();
        segments
            .filter(move |segment| segment.base < segment.end && Some(segment.id) != half_removed)
    }

    fn check_of(&self, segment: &RecoveredSegment) -> Check {
        Check::new(segment.id, self.log.tag(), segment.base, segment.end)
    }
}

/// Bytes of a segment's file that a pass reads.
fn file_len(segment: &RecoveredSegment) -> u64 {
    SEGMENT_HEADER_LEN as u64 + (segment.end.0 - segment.base.0)
}

impl Pass {
    /// When the piece that comes next is due.
    fn begins_piece_at(&self, period: u64) -> u64 {
        let done = Pass::spread(period, self.done - self.first, self.total);
        self.began.0.saturating_add(done)
    }

    /// The share of a period that so many of all bytes take.
    fn spread(period: u64, bytes: u64, total: u64) -> u64 {
        let nanos = u128::from(period) * u128::from(bytes) / u128::from(total.max(1));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}
