//! Which segment is worth being compacted, and how much work may go into it: pure functions of what the log knows of its segments.
//!
//! # The promise
//!
//! Under uniform overwrites the files take at most 1.5 times the live data, plus two segments a shard (the active one and the one that is
//! prepared). So work begins when the sealed segments come near that: at 1.4 times, or one segment below 1.5 times, whichever is less.
//!
//! Where all that lives is less than a segment, nothing sealed may be there at all by this; and each segment, copied when it is sealed, would be
//! copied for nothing, for nearly all of it is overwritten while the next one fills. So as long as clients write, one sealed segment may stay: the
//! files of a shard with hardly any data take three segments then, and no more than promised once the clients are quiet.
//!
//! # Which one
//!
//! The segment of which least has to be kept: greedy choice is close to the best for uniform overwrites (Rosenblum and Ousterhout, "The Design and
//! Implementation of a Log-Structured File System", 1992, section 3.5; at a dead share of a third it copies about one byte for each that is
//! written). What nothing lives in goes first and costs nothing.
//!
//! Deletes are the difficulty: one is of no use to anybody but must be kept until everything older is gone (see the module's header). A log with a
//! cold old segment could carry deletes about for ever. So when they make up much of what is dead, the oldest segment is taken, whatever
//! lives in it: its own deletes may go with it, and when it is gone those of the next one may.

use crate::storage::log::SegmentFacts;
use crate::types::SegmentId;

/// What is known of the whole log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of records that the index points at.
    pub live: u64,
    /// Length of all sealed segments' files.
    pub files: u64,
    /// Length of a new segment's file.
    pub segment_len: u64,
}

/// How eager compaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The shard has other things to do.
    Loaded,
    /// It has not.
    Idle,
    /// An operator has asked for it: everything before this segment.
    Forced(SegmentId),
}

impl Totals {
    /// Whether there is so much in the files that work must go into it.
    #[must_use]
    pub fn is_pressing(&self) -> bool {
        let begin = self.live * 7 / 5;
        let bound = (self.live * 3 / 2).saturating_sub(self.segment_len);
        self.files > begin.min(bound)
    }
}

/// Bytes of work that each byte of new data earns.
#[must_use]
pub fn pace(totals: &Totals) -> u64 {
    let percent = totals.files.saturating_mul(100) / totals.live.max(1);
    match percent {
        0..145 => 2,
        145..150 => 4,
        _ => 8,
    }
}

/// The segment to compact next, if one is worth it. `segments` are the sealed ones in order.
#[must_use]
pub fn choose(segments: &[SegmentFacts], totals: &Totals, eagerness: Pace) -> Option<SegmentId> {
    let oldest = segments.first()?.id;
    let kept = |segment: &SegmentFacts| {
        let tombstones = if segment.id == oldest {
            0
        } else {
            segment.tombstones
        };
        (segment.live + tombstones).min(segment.file_len)
    };
    let may_go = |segment: &&SegmentFacts| {
        !segment.must_stay
            && match eagerness {
                Pace::Forced(end) => segment.id < end,
                Pace::Loaded | Pace::Idle => true,
            }
    };
    let best = segments
        .iter()
        .filter(may_go)
        .min_by_key(|segment| kept(segment) * 1024 / segment.file_len)?;
    if kept(best) == 0 {
        return Some(best.id);
    }
    let may_stay = match eagerness {
        Pace::Loaded => totals.segment_len,
        Pace::Idle | Pace::Forced(_) => 0,
    };
    let is_pressing = totals.is_pressing() && totals.files > may_stay;
    // The least that has to be gained, as one part in so many.
    let share = match eagerness {
        Pace::Forced(_) => 16,
        Pace::Loaded | Pace::Idle if is_pressing => 16,
        Pace::Idle => 2,
        Pace::Loaded => return None,
    };
    let tombstones: u64 = segments.iter().map(|segment| segment.tombstones).sum();
    let dead = totals.files.saturating_sub(totals.live);
    let must_reach_oldest = tombstones * 4 > dead && (is_pressing || share == 16);
    if must_reach_oldest && let Some(oldest) = segments.first().filter(may_go) {
        return Some(oldest.id);
    }
    let gain = best.file_len - kept(best);
    (gain >= best.file_len / share).then_some(best.id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::types::Position;

    const LEN: u64 = 1 << 20;

    fn segments(live_percent: &[u64]) -> Vec<SegmentFacts> {
        let segment = |(at, percent): (usize, &u64)| SegmentFacts {
            id: SegmentId(at as u64 + 1),
            base: Position(at as u64 * LEN),
            end: Position((at as u64 + 1) * LEN),
            file_len: LEN,
            live: LEN * percent / 100,
            tombstones: 0,
            must_stay: false,
        };
        live_percent.iter().enumerate().map(segment).collect()
    }

    fn totals(segments: &[SegmentFacts]) -> Totals {
        Totals {
            live: segments.iter().map(|segment| segment.live).sum(),
            files: segments.iter().map(|segment| segment.file_len).sum(),
            segment_len: LEN,
        }
    }

    fn chosen(segments: &[SegmentFacts], eagerness: Pace) -> Option<u64> {
        choose(segments, &totals(segments), eagerness).map(|segment| segment.0)
    }

    /// While there is room, copying would cost the clients something and gain nobody anything; but what costs nothing is always done.
    #[test]
    fn a_loaded_shard_works_only_when_it_must() {
        let mut log = segments(&[90; 20]);
        assert_eq!(chosen(&log, Pace::Loaded), None);
        assert_eq!(chosen(&log, Pace::Idle), None, "a tenth is not worth it");
        log[7].live = 0;
        assert_eq!(chosen(&log, Pace::Loaded), Some(8));
        let log = segments(&[60, 60, 50, 60, 60, 60, 60, 60, 60, 60]);
        assert_eq!(chosen(&log, Pace::Loaded), Some(3), "the most dead one");
    }

    /// A backup reads segments for minutes; another one is compacted meanwhile.
    #[test]
    fn what_must_stay_is_left_alone() {
        let mut log = segments(&[0, 30, 40, 60]);
        log[0].must_stay = true;
        assert_eq!(chosen(&log, Pace::Loaded), Some(2));
        for segment in &mut log {
            segment.must_stay = true;
        }
        assert_eq!(chosen(&log, Pace::Idle), None);
    }

    /// A segment that holds nothing but deletes looks all dead, and copying it gains nothing as long as something older is there: it would be copied
    /// again and again, for ever. The old segment has to go first, live as it is.
    #[test]
    fn deletes_lead_to_the_oldest_segment() {
        let mut log = segments(&[100, 0, 0]);
        for segment in &mut log[1..] {
            segment.tombstones = LEN;
        }
        assert_eq!(chosen(&log, Pace::Loaded), Some(1));
        let mut log = segments(&[0, 100]);
        log[0].tombstones = LEN;
        assert_eq!(chosen(&log, Pace::Loaded), Some(1), "nothing is older");
        // While a backup holds the oldest one, the others go on.
        let mut log = segments(&[100, 50, 0, 0]);
        log[0].must_stay = true;
        log[2].tombstones = LEN;
        log[3].tombstones = LEN;
        assert_eq!(chosen(&log, Pace::Loaded), Some(2));
    }

    /// An operator who asks for a round wants it to end: what is written meanwhile is none of it.
    #[test]
    fn a_forced_round_ends_where_it_was_asked_to() {
        let log = segments(&[95, 80, 10]);
        assert_eq!(chosen(&log, Pace::Forced(SegmentId(3))), Some(2));
        assert_eq!(chosen(&log, Pace::Forced(SegmentId(2))), None);
    }

    /// An ideal shard: keys of equal records, each in some segment.
    struct Model {
        place: Vec<Option<u64>>,
        /// The keys that were written to each segment, and how many of these live there.
        segments: BTreeMap<u64, (u64, Vec<usize>)>,
    }

    impl Model {
        const SLOTS: usize = 1000;
        const RECORD: u64 = 1000;

        fn put(&mut self, key: usize) {
            let (&newest, active) = self.segments.iter_mut().next_back().unwrap();
            active.0 += 1;
            active.1.push(key);
            let is_full = active.1.len() == Self::SLOTS;
            if let Some(old) = self.place[key].replace(newest) {
                self.segments.get_mut(&old).unwrap().0 -= 1;
            }
            if is_full {
                self.segments.insert(newest + 1, (0, Vec::new()));
            }
        }

        fn facts(&self) -> Vec<SegmentFacts> {
            let file_len = Self::SLOTS as u64 * Self::RECORD;
            let sealed = self.segments.iter().take(self.segments.len() - 1);
            let facts = sealed.map(|(id, (live, _))| SegmentFacts {
                id: SegmentId(*id),
                base: Position(id * file_len),
                end: Position((id + 1) * file_len),
                file_len,
                live: live * Self::RECORD,
                tombstones: 0,
                must_stay: false,
            });
            facts.collect()
        }

        /// Compacts one segment; says how many records it copied.
        fn compact(&mut self, victim: u64) -> u64 {
            let keys = std::mem::take(&mut self.segments.get_mut(&victim).unwrap().1);
            let mut copied = 0;
            for key in keys {
                if self.place[key] == Some(victim) {
                    self.put(key);
                    copied += 1;
                }
            }
            assert_eq!(self.segments.remove(&victim).unwrap().0, 0);
            copied
        }
    }

    /// Overwrites an ideal shard uniformly. Says how many records were copied, and how much the files took at worst.
    fn overwrite(keys: usize, steps: u64) -> (u64, u64) {
        let mut model = Model {
            place: vec![None; keys],
            segments: [(1, (0, Vec::new()))].into(),
        };
        let mut random = 1_u64;
        let (mut copied, mut worst) = (0, 0);
        for step in 0..steps {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let key = (random >> 33) as usize % keys;
            // First all of them once.
            model.put(if step < keys as u64 {
                step as usize
            } else {
                key
            });
            if step < keys as u64 || !step.is_multiple_of(50) {
                continue;
            }
            loop {
                let facts = model.facts();
                let files = facts.iter().map(|segment| segment.file_len).sum();
                let totals = Totals {
                    live: keys as u64 * Model::RECORD,
                    files,
                    segment_len: Model::SLOTS as u64 * Model::RECORD,
                };
                worst = worst.max(files);
                let Some(victim) = choose(&facts, &totals, Pace::Loaded) else {
                    break;
                };
                copied += model.compact(victim.0);
            }
        }
        (copied, worst)
    }

    /// The bound must hold throughout, and copying must not cost more than a few times what is written.
    #[test]
    fn uniform_overwrites_stay_within_the_bound() {
        const KEYS: usize = 20_000;
        const STEPS: u64 = 300_000;
        let (copied, worst) = overwrite(KEYS, STEPS);
        let percent = worst * 100 / (KEYS as u64 * Model::RECORD);
        assert!(percent <= 150, "files of {percent} % of what lives");
        assert!(copied < 2 * STEPS, "{copied} copied for {STEPS} written");
    }

    /// Where a segment is overwritten as a whole before the next one is full, copying what lives in it would be for nothing; but it must not be
    /// for ever that it is waited for.
    #[test]
    fn little_data_is_not_copied_again_and_again() {
        const STEPS: u64 = 100_000;
        let (copied, worst) = overwrite(Model::SLOTS / 4, STEPS);
        assert!(copied < STEPS / 10, "{copied} copied for {STEPS} written");
        assert_eq!(worst, 2 * Model::SLOTS as u64 * Model::RECORD);
        let log = segments(&[30]);
        assert_eq!(chosen(&log, Pace::Loaded), None);
        assert_eq!(chosen(&log, Pace::Idle), Some(1), "nobody writes");
    }
}
