//! Whether some order of what happened to a key explains everything that clients were told.
//!
//! A general search for such an order explodes; here the versions in the answers are the order, so the check is near linear:
//!
//! 1. Each acknowledged write is a **point** at its version. A version that was only read must have been written by one of the
//!    requests whose outcome is unknown: its value says by which.
//! 2. Along the points, each write must follow from the content before it: its condition held, its sum is right, its
//!    old value is the one that it gave back. Where a request of unknown outcome (or a flush) may lie between, anything goes.
//! 3. Each read shows exactly the content of its point, within its time.
//! 4. Real time agrees with the versions: whatever was answered before a request was sent has no higher version than it. As this holds
//!    across crashes too, it is also the check that no acknowledged write is ever lost.
//! 5. Requests on one connection take effect in the order in which they were sent.
//! 6. A key that was not there had a reason: it never was, or was deleted, flushed or expired at some moment of the request.

use super::action::{Act, When};
use super::history::{Entry, Flush, History, Outcome, Place, Time, WallClock};
use super::value::Value;
use corduroy_proto_wire::Ttl;

/// A turn's clock is read at its first event, so a request may be judged by a clock this much older than itself.
const CLOCK_AGE: Time = 2_000_000;

#[derive(Clone, Debug, PartialEq)]
enum Content {
    Absent,
    Present(Value),
    /// Can't be told.
    Open,
}

#[derive(Clone, Debug)]
struct Point {
    version: u64,
    invoked: Time,
    /// When it was certainly done.
    answered: Time,
    timestamp_ms: u64,
    entry: usize,
    content: Content,
    /// `None`: can't be told.
    expiry: Option<Option<u64>>,
}

struct Checker<'a> {
    entries: &'a [Entry],
    flushes: Vec<&'a Flush>,
    wall: &'a WallClock,
    points: Vec<Point>,
    /// Requests of unknown outcome that no point stands for.
    open: Vec<usize>,
    /// When something of a version was known for certain, ascending in time, with the highest version so far.
    floors: Vec<(Time, u64)>,
}

/// Checks everything that was asked about one key.
pub(super) fn check_key(history: &History, place: Place) -> Result<(), String> {
    let Some(entries) = history.keys.get(&place) else {
        return Ok(());
    };
    let mut checker = Checker {
        entries,
        flushes: history
            .flushes
            .iter()
            .filter(|flush| flush.keyspace == place.keyspace)
            .collect(),
        wall: &history.wall,
        points: Vec::new(),
        open: Vec::new(),
        floors: Vec::new(),
    };
    checker.find_floors();
    checker.find_points()?;
    checker.follow_points()?;
    let mut last_of_connection: Vec<(u32, u64)> = Vec::new();
    for entry in entries {
        let known = last_of_connection
            .iter()
            .position(|(connection, _)| *connection == entry.connection);
        let known = known.unwrap_or_else(|| {
            last_of_connection.push((entry.connection, 0));
            last_of_connection.len() - 1
        });
        let last = &mut last_of_connection[known].1;
        checker
            .check_entry(entry, last)
            .map_err(|reason| format!("{reason}: {entry:?}"))?;
    }
    Ok(())
}

fn version_of(entry: &Entry) -> Option<u64> {
    match entry.outcome {
        Outcome::Wrote { version, .. } | Outcome::Saw { version, .. } => Some(version),
        _ => None,
    }
}

impl Checker<'_> {
    /// Step 1: who wrote which version.
    fn find_points(&mut self) -> Result<(), String> {
        for (number, entry) in self.entries.iter().enumerate() {
            match &entry.outcome {
                Outcome::Wrote {
                    version,
                    timestamp_ms,
                    ..
                } => self
                    .points
                    .push(point(number, entry, *version, *timestamp_ms)),
                Outcome::Unknown if entry.act.is_write() => self.open.push(number),
                _ => {}
            }
        }
        self.points.sort_by_key(|point| point.version);
        if let Some(pair) = self
            .points
            .windows(2)
            .find(|pair| pair[0].version == pair[1].version)
        {
            return Err(format!(
                "two writes got version {}: {:?} and {:?}",
                pair[0].version, self.entries[pair[0].entry], self.entries[pair[1].entry]
            ));
        }
        // Versions with a value first, for the value names the writer.
        for with_value in [true, false] {
            for entry in self.entries {
                if let Outcome::Saw {
                    version,
                    timestamp_ms,
                    value,
                    ..
                } = &entry.outcome
                    && value.is_some() == with_value
                    && self.point_of(*version).is_none()
                {
                    let writer =
                        self.writer_of(entry, *version, value.as_ref())
                            .ok_or_else(|| {
                                format!(
                                    "nobody wrote version {version} of what was read: {entry:?}"
                                )
                            })?;
                    self.open.retain(|number| *number != writer);
                    let mut found = point(writer, &self.entries[writer], *version, *timestamp_ms);
                    if let Some(value) = value {
                        found.content = Content::Present(value.clone());
                    }
                    let at = self
                        .points
                        .partition_point(|point| point.version < *version);
                    self.points.insert(at, found);
                }
            }
        }
        Ok(())
    }

    /// The request of unknown outcome that can have written what was read.
    fn writer_of(&self, reader: &Entry, version: u64, value: Option<&Value>) -> Option<usize> {
        let exact = |act: &Act| match (act, value) {
            (Act::Put { value, .. }, Some(seen)) => value == seen,
            (Act::Append(piece), Some(Value::Pieces(seen))) => seen.last() == Some(piece),
            _ => false,
        };
        let possible = |act: &Act| match (act, value) {
            (Act::Touch(_) | Act::Persist, _) => true,
            (Act::Add(_), None | Some(Value::Counter(_))) => true,
            (Act::Put { .. } | Act::Append(_), None) => true,
            _ => false,
        };
        let in_time = |number: &&usize| {
            let entry = &self.entries[**number];
            entry.invoked < reader.answered
                && version > self.floor(entry.invoked)
                && version < self.ceiling(entry.closed)
        };
        let find = |matches: &dyn Fn(&Act) -> bool| {
            self.open
                .iter()
                .rev()
                .filter(in_time)
                .find(|number| matches(&self.entries[**number].act))
                .copied()
        };
        find(&exact).or_else(|| find(&possible))
    }

    fn point_of(&self, version: u64) -> Option<&Point> {
        let at = self.points.partition_point(|point| point.version < version);
        self.points.get(at).filter(|point| point.version == version)
    }

    /// Whether something that nobody can place may have happened in a span of time.
    fn is_open(&self, from: Time, to: Time) -> bool {
        self.may_have_been_flushed(from, to)
            || self
                .open
                .iter()
                .map(|number| &self.entries[*number])
                .any(|entry| entry.invoked < to && entry.closed >= from)
    }

    fn may_have_been_touched(&self) -> bool {
        self.open
            .iter()
            .any(|number| matches!(self.entries[*number].act, Act::Touch(_) | Act::Persist))
    }

    fn may_have_been_flushed(&self, from: Time, to: Time) -> bool {
        self.flushes.iter().any(|flush| {
            let end = if flush.is_certain {
                flush.answered
            } else {
                flush.closed
            };
            flush.invoked < to && end >= from
        })
    }

    /// Step 2: each write follows from the content before it.
    fn follow_points(&mut self) -> Result<(), String> {
        let mut content = Content::Absent;
        let mut expiry = Some(None);
        let mut version = 0;
        let mut from = 0;
        for number in 0..self.points.len() {
            let found = self.points[number].clone();
            let entry = &self.entries[found.entry];
            if self.is_open(from, found.answered.min(entry.closed)) {
                content = Content::Open;
                expiry = None;
            }
            let before = self.as_of(&content, expiry, &found);
            match before {
                Content::Absent => expiry = Some(None),
                Content::Open => expiry = None,
                Content::Present(_) => {}
            }
            follows(entry, &before, version).map_err(|reason| {
                format!(
                    "{reason}: {entry:?} came after version {version}, when the key held {before:?}"
                )
            })?;
            let after = content_after(entry, &before);
            // What was read tells more than a guess who wrote it.
            let after = match (&found.content, entry.outcome == Outcome::Unknown) {
                (Content::Present(seen), true) => Content::Present(seen.clone()),
                _ => after,
            };
            // What has this value may have been written by the put itself, or by a touch of unknown outcome after it.
            let is_guess = entry.outcome == Outcome::Unknown
                && (!matches!(entry.act, Act::Put { .. }) || self.may_have_been_touched());
            expiry = match is_guess {
                true => None,
                false => expiry_after(entry, found.timestamp_ms, expiry),
            };
            content = after.clone();
            version = found.version;
            from = found.invoked;
            let point = &mut self.points[number];
            point.content = after;
            point.expiry = expiry;
        }
        Ok(())
    }

    /// A content as a write sees it that was decided at a moment: expired keys are not there.
    fn as_of(&self, content: &Content, expiry: Option<Option<u64>>, point: &Point) -> Content {
        let end = point.answered.min(self.entries[point.entry].closed);
        match (content, expiry) {
            (Content::Present(_), None) => Content::Open,
            (Content::Present(_), Some(Some(at))) if at <= point.timestamp_ms => Content::Absent,
            // The clock went back: the key may have been taken away before.
            (Content::Present(_), Some(Some(at))) if at <= self.wall.span(0, end).1 => {
                Content::Open
            }
            _ => content.clone(),
        }
    }

    fn find_floors(&mut self) {
        let mut known: Vec<(Time, u64)> = self
            .entries
            .iter()
            .filter_map(|entry| Some((entry.answered, version_of(entry)?)))
            .collect();
        known.sort_unstable();
        let mut highest = 0;
        for (_, version) in &mut known {
            highest = highest.max(*version);
            *version = highest;
        }
        self.floors = known;
    }

    /// The highest version that was certain before a moment.
    fn floor(&self, before: Time) -> u64 {
        let at = self.floors.partition_point(|(time, _)| *time < before);
        at.checked_sub(1).map_or(0, |at| self.floors[at].1)
    }

    /// The lowest version of a write that was sent after a moment.
    fn ceiling(&self, after: Time) -> u64 {
        self.entries
            .iter()
            .filter(|entry| entry.invoked > after)
            .filter_map(|entry| match entry.outcome {
                Outcome::Wrote { version, .. } => Some(version),
                _ => None,
            })
            .min()
            .unwrap_or(u64::MAX)
    }

    fn check_entry(&self, entry: &Entry, last: &mut u64) -> Result<(), String> {
        let floor = self.floor(entry.invoked);
        match &entry.outcome {
            Outcome::Wrote {
                version,
                timestamp_ms,
                ..
            } => {
                if *version <= floor {
                    return Err(format!(
                        "version {version} was given though {floor} was told before"
                    ));
                }
                if *version <= *last {
                    return Err(format!(
                        "the same connection had version {last} before: out of order"
                    ));
                }
                let (low, high) = self.wall_span(entry);
                if !(low..=high).contains(timestamp_ms) {
                    return Err(format!(
                        "the clock showed {low} to {high} when it was written"
                    ));
                }
                *last = *version;
                Ok(())
            }
            Outcome::Saw { version, .. } => {
                if *version < floor {
                    return Err(format!("version {floor} was told before"));
                }
                if *version < *last {
                    return Err(format!(
                        "the same connection had version {last} before: out of order"
                    ));
                }
                *last = *version;
                self.check_seen(entry)
            }
            Outcome::Absent => {
                if !may_be_absent(&entry.act) {
                    return Err("this can't answer that there is no key".to_owned());
                }
                self.check_absent(entry, floor.max(*last))
            }
            Outcome::Unknown | Outcome::Refused | Outcome::Lost => Ok(()),
        }
    }

    fn wall_span(&self, entry: &Entry) -> (u64, u64) {
        self.wall
            .span(entry.invoked.saturating_sub(CLOCK_AGE), entry.answered)
    }

    /// Step 3.
    fn check_seen(&self, entry: &Entry) -> Result<(), String> {
        let Outcome::Saw {
            version,
            value,
            ttl_ms,
            expires_at_ms,
            ..
        } = &entry.outcome
        else {
            return Ok(());
        };
        let point = self
            .point_of(*version)
            .expect("every version that was read has a point");
        if point.invoked >= entry.answered {
            return Err("it was read before it was written".to_owned());
        }
        match (&point.content, value) {
            (Content::Absent, _) => return Err("that version is a delete".to_owned()),
            (Content::Present(held), Some(seen)) if held != seen => {
                return Err(format!("wrong bytes: the version holds {held:?}"));
            }
            _ => {}
        }
        let (low, high) = self.wall_span(entry);
        if let Some(Some(at)) = point.expiry
            && at <= low
        {
            return Err(format!("it expired at {at}, and the clock showed {low}"));
        }
        if let (Some(expiry), Some(seen)) = (point.expiry, expires_at_ms)
            && expiry != *seen
        {
            return Err(format!("its expiry is {expiry:?}"));
        }
        match (point.expiry, ttl_ms) {
            (Some(None), Some(Some(left))) => {
                return Err(format!("it does not expire, and {left} ms were left"));
            }
            (Some(Some(at)), Some(None)) => return Err(format!("it expires at {at}")),
            (Some(Some(at)), Some(Some(left))) if !(low..=high).contains(&(at - left.min(&at))) => {
                return Err(format!(
                    "it expires at {at}, the clock showed {low} to {high}"
                ));
            }
            _ => {}
        }
        for flush in &self.flushes {
            let before = point.answered < flush.invoked && flush.is_certain;
            if before && flush.answered < entry.invoked {
                return Err("it was flushed".to_owned());
            }
        }
        match &entry.act {
            Act::Put { when, .. } | Act::Delete { when, .. } => {
                condition_failed(when, *version, &point.content)
            }
            _ => Ok(()),
        }
    }

    /// Step 6.
    fn check_absent(&self, entry: &Entry, floor: u64) -> Result<(), String> {
        let Some(first) = self.point_of(floor) else {
            return Ok(());
        };
        let (_, latest) = self.wall.span(0, entry.answered);
        let reason = self
            .points
            .iter()
            .filter(|point| {
                point.version == floor || (point.version > floor && point.invoked < entry.answered)
            })
            .any(|point| match (&point.content, point.expiry) {
                (Content::Absent, _) | (_, None) => true,
                (_, Some(Some(at))) => at <= latest,
                _ => false,
            });
        let removed = |number: &usize| {
            let other = &self.entries[*number];
            let removes = match &other.act {
                Act::Delete { .. } | Act::Touch(_) => true,
                Act::Put { ttl, .. } => *ttl != Ttl::None,
                _ => false,
            };
            removes && other.invoked < entry.answered && other.closed >= first.invoked
        };
        if reason
            || self.may_have_been_flushed(first.invoked, entry.answered)
            || self.open.iter().any(removed)
        {
            return Ok(());
        }
        Err(format!(
            "the key is not there, though version {floor} was certain: {:?}",
            self.entries[first.entry]
        ))
    }
}

fn point(number: usize, entry: &Entry, version: u64, timestamp_ms: u64) -> Point {
    Point {
        version,
        invoked: entry.invoked,
        answered: entry.answered,
        timestamp_ms,
        entry: number,
        content: Content::Open,
        expiry: None,
    }
}

fn may_be_absent(act: &Act) -> bool {
    match act {
        Act::Put { when, .. } => !matches!(when, When::Always | When::IfAbsent),
        Act::Add(_) | Act::Append(_) => false,
        _ => true,
    }
}

/// Whether a write that was done could be done on this content.
fn follows(entry: &Entry, before: &Content, version: u64) -> Result<(), String> {
    let (old, number) = match &entry.outcome {
        Outcome::Wrote { old, number, .. } => (old.as_ref(), *number),
        // It was found by what it wrote alone.
        _ => (None, None),
    };
    let current = match before {
        Content::Open => return Ok(()),
        Content::Absent => None,
        Content::Present(value) => Some(value),
    };
    let told = matches!(entry.outcome, Outcome::Wrote { .. });
    let (holds, wants_old) = match &entry.act {
        Act::Put {
            when, return_value, ..
        } => (held(when, current, version), *return_value),
        Act::Delete { when, return_value } => (
            current.is_some() && held(when, current, version),
            *return_value,
        ),
        Act::Touch(_) | Act::Persist => (current.is_some(), false),
        _ => (true, false),
    };
    if !holds {
        return Err("the write's condition did not hold".to_owned());
    }
    if told && wants_old && old != current {
        return Err("the old value is another".to_owned());
    }
    let expected = match (&entry.act, current) {
        (Act::Add(delta), None) => Some(*delta),
        (Act::Add(delta), Some(Value::Counter(count))) => Some(count + delta),
        (Act::Append(piece), current) => {
            Some(i64::from(piece.len) + current.map_or(0, Value::len) as i64)
        }
        _ => None,
    };
    if told && expected.is_some() && number != expected {
        return Err(format!("the result must be {expected:?}"));
    }
    Ok(())
}

fn held(when: &When, current: Option<&Value>, version: u64) -> bool {
    match when {
        When::Always => true,
        When::IfAbsent => current.is_none(),
        When::IfPresent => current.is_some(),
        When::IfVersion(wanted) => current.is_some() && *wanted == version,
        When::IfValue(wanted) => current == Some(wanted),
    }
}

/// A condition that failed must have failed.
fn condition_failed(when: &When, version: u64, content: &Content) -> Result<(), String> {
    let held = match (when, content) {
        (When::Always | When::IfPresent, _) => true,
        (When::IfVersion(wanted), _) => *wanted == version,
        (When::IfValue(wanted), Content::Present(value)) => wanted == value,
        _ => false,
    };
    if held {
        return Err("the condition held".to_owned());
    }
    Ok(())
}

fn content_after(entry: &Entry, before: &Content) -> Content {
    match (&entry.act, before) {
        (Act::Put { value, .. }, _) => Content::Present(value.clone()),
        (Act::Delete { .. }, _) => Content::Absent,
        (Act::Add(delta), before) => match (&entry.outcome, before) {
            (
                Outcome::Wrote {
                    number: Some(sum), ..
                },
                _,
            ) => Content::Present(Value::Counter(*sum)),
            (_, Content::Absent) => Content::Present(Value::Counter(*delta)),
            (_, Content::Present(Value::Counter(count))) => {
                Content::Present(Value::Counter(count + delta))
            }
            _ => Content::Open,
        },
        (Act::Append(piece), Content::Absent) => Content::Present(Value::Pieces(vec![*piece])),
        (Act::Append(piece), Content::Present(Value::Pieces(pieces))) => {
            let mut pieces = pieces.clone();
            pieces.push(*piece);
            Content::Present(Value::Pieces(pieces))
        }
        (Act::Append(_), _) => Content::Open,
        (_, before) => before.clone(),
    }
}

fn expiry_after(
    entry: &Entry,
    timestamp_ms: u64,
    before: Option<Option<u64>>,
) -> Option<Option<u64>> {
    match &entry.act {
        Act::Put { ttl, .. } => match ttl {
            Ttl::None => Some(None),
            Ttl::Keep => before,
            Ttl::Millis(ttl_ms) => Some(Some(timestamp_ms + ttl_ms)),
        },
        Act::Touch(ttl_ms) => Some(Some(timestamp_ms + ttl_ms)),
        Act::Persist | Act::Delete { .. } => Some(None),
        _ => before,
    }
}
