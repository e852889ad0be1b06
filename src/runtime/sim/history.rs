//! What clients asked and were told, key by key: the model that a run is checked against.
//!
//! Every request on a key becomes an [`Entry`] when it is sent, and gets its [`Outcome`] with the answer. A request whose answer never
//! came keeps [`Outcome::Unknown`]: it may have happened at any moment until the process died, and once, or never. `check` then
//! asks whether some order of the entries explains all answers; the versions in the answers say which one.

use std::collections::BTreeMap;

use super::action::{Act, KeyNumber};
use super::value::Value;

/// Virtual nanoseconds since the world began.
pub(super) type Time = u64;

/// A key of a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) keyspace: u32,
    pub(super) key: KeyNumber,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// No answer, yet or ever.
    Unknown,
    /// It did not happen, whatever the reason.
    Refused,
    /// It happened.
    Wrote {
        version: u64,
        timestamp_ms: u64,
        /// The old value, if there was one in the answer.
        old: Option<Value>,
        /// A counter's new value, or a value's new length.
        number: Option<i64>,
    },
    /// The key was there: read, or in the way of a condition.
    Saw {
        version: u64,
        timestamp_ms: u64,
        value: Option<Value>,
        /// What `ttl` said: nothing asked, no expiry, milliseconds left.
        ttl_ms: Option<Option<u64>>,
        /// What a scan said of the expiry.
        expires_at_ms: Option<Option<u64>>,
    },
    /// The key was not there.
    Absent,
    /// It was acknowledged by a node that may lose its last acknowledged writes at a power loss, and did.
    Lost,
}

/// One request on one key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The connection that it was sent over.
    pub(super) connection: u32,
    pub(super) invoked: Time,
    /// When the answer was there; `Time::MAX` if it never was.
    pub(super) answered: Time,
    /// A request without an answer can't take effect after this.
    pub(super) closed: Time,
    pub(super) act: Act,
    pub(super) outcome: Outcome,
}

/// A flush of a keyspace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flush {
    pub(super) keyspace: u32,
    pub(super) invoked: Time,
    pub(super) answered: Time,
    pub(super) closed: Time,
    pub(super) is_certain: bool,
}

/// The wall clock over time: the monotonic one plus an offset that jumps.
#[derive(Clone, Debug)]
pub(super) struct WallClock {
    /// From when on which offset holds, in milliseconds.
    offsets: Vec<(Time, u64)>,
}

impl WallClock {
    pub(super) fn new(start_ms: u64) -> WallClock {
        WallClock {
            offsets: vec![(0, start_ms)],
        }
    }

    pub(super) fn set(&mut self, now: Time, offset_ms: u64) {
        self.offsets.push((now, offset_ms));
    }

    pub(super) fn offset_ms(&self) -> u64 {
        self.offsets.last().map_or(0, |(_, offset)| *offset)
    }

    pub(super) fn at(&self, time: Time) -> u64 {
        let index = self.offsets.partition_point(|(from, _)| *from <= time) - 1;
        self.offsets[index].1 + time / 1_000_000
    }

    /// The earliest and the latest that the clock showed in a span of time.
    pub(super) fn span(&self, from: Time, to: Time) -> (u64, u64) {
        let mut low = self.at(from).min(self.at(to));
        let mut high = self.at(from).max(self.at(to));
        for (index, (start, offset)) in self.offsets.iter().enumerate() {
            if *start > from && *start <= to {
                let before = self.offsets[index - 1].1 + start / 1_000_000;
                let after = offset + start / 1_000_000;
                low = low.min(before).min(after);
                high = high.max(before).max(after);
            }
        }
        (low, high)
    }
}

/// All that was asked and told.
#[derive(Debug)]
pub(super) struct History {
    pub(super) keys: BTreeMap<Place, Vec<Entry>>,
    pub(super) flushes: Vec<Flush>,
    pub(super) wall: WallClock,
    /// Clean stops: when each ended, and what the clock showed at least when the log was sealed.
    pub(super) stops: Vec<(Time, u64)>,
}

/// Names an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryId {
    pub(super) place: Place,
    pub(super) index: usize,
}

impl History {
    pub(super) fn new(wall_start_ms: u64) -> History {
        History {
            keys: BTreeMap::new(),
            flushes: Vec::new(),
            stops: Vec::new(),
            wall: WallClock::new(wall_start_ms),
        }
    }

    pub(super) fn ask(&mut self, now: Time, connection: u32, place: Place, act: Act) -> EntryId {
        let entries = self.keys.entry(place).or_default();
        entries.push(Entry {
            connection,
            invoked: now,
            answered: Time::MAX,
            closed: Time::MAX,
            act,
            outcome: Outcome::Unknown,
        });
        EntryId {
            place,
            index: entries.len() - 1,
        }
    }

    pub(super) fn tell(&mut self, now: Time, id: EntryId, outcome: Outcome) {
        let entries = self
            .keys
            .get_mut(&id.place)
            .expect("an entry's place is known");
        let entry = &mut entries[id.index];
        entry.answered = now;
        entry.outcome = outcome;
    }

    /// Forgets what happened in other keyspaces.
    pub(super) fn keep_keyspace(&mut self, keyspace: u32) {
        self.keys.retain(|place, _| place.keyspace == keyspace);
        self.flushes.retain(|flush| flush.keyspace == keyspace);
    }

    /// The process has ended: what has no answer now took effect by now or never will.
    pub(super) fn close(&mut self, now: Time) {
        for entry in self.keys.values_mut().flatten() {
            entry.closed = entry.closed.min(now);
        }
        for flush in &mut self.flushes {
            flush.closed = flush.closed.min(now);
        }
    }

    /// What a client last heard a key to hold: to make conditions that sometimes hold.
    pub(super) fn last_seen(&self, place: Place) -> Option<(u64, Option<Value>)> {
        let entries = self.keys.get(&place)?;
        entries.iter().rev().find_map(|entry| match &entry.outcome {
            Outcome::Saw { version, value, .. } => Some((*version, value.clone())),
            Outcome::Wrote { version, .. } => match &entry.act {
                Act::Put { value, .. } => Some((*version, Some(value.clone()))),
                _ => Some((*version, None)),
            },
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checker that missed a jump of the clock would blame the server for what the clock did.
    #[test]
    fn a_span_of_the_wall_clock_covers_its_jumps() {
        const SECOND: Time = 1_000_000_000;
        let mut wall = WallClock::new(1000);
        wall.set(2 * SECOND, 9000);
        wall.set(3 * SECOND, 500);
        assert_eq!(wall.at(SECOND), 2000);
        assert_eq!(wall.at(2 * SECOND), 11_000);
        assert_eq!(wall.span(0, SECOND), (1000, 2000));
        assert_eq!(wall.span(SECOND, 4 * SECOND), (2000, 12_000));
        assert_eq!(wall.span(3 * SECOND, 4 * SECOND), (3500, 4500));
    }
}
