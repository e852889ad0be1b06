//! The points of a key's history: who wrote which version, and what the key held from then on. Steps 1 and 2.

use corduroy_proto_wire::{Expiry, ExpiryCondition, Ttl};

use super::super::action::{Act, When};
use super::super::history::{Entry, Flush, Outcome, Time};
use super::super::value::Value;
use super::{Checker, Content, Point};

impl Checker<'_> {
    /// Step 1: who wrote which version.
    pub(super) fn find_points(&mut self) -> Result<(), String> {
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
                    let writer = self
                        .writer_of(entry, *version, value.as_ref())
                        .or_else(|| self.writer_taken_back(entry, *version))
                        .ok_or_else(|| {
                            format!("nobody wrote version {version} of what was read: {entry:?}")
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
        let possible = |act: &Act| {
            matches!(
                (act, value),
                (Act::Touch(_) | Act::Persist | Act::Expire { .. }, _)
                    | (
                        Act::Add(_) | Act::AddFloat(_) | Act::Overwrite(_),
                        None | Some(Value::Counter(_))
                    )
                    | (Act::Put { .. } | Act::Append(_), None)
            )
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

    /// A put of unknown outcome that was taken for the writer of a later version, as its value was read there: if that may have been logged
    /// again by a touch, or the like, of unknown outcome, then that wrote the later version, and the put is free for this one.
    fn writer_taken_back(&mut self, reader: &Entry, version: u64) -> Option<usize> {
        let may_have_written = |number: usize, version: u64| {
            let entry = &self.entries[number];
            version > self.floor(entry.invoked) && version < self.ceiling(entry.closed)
        };
        let (at, rewriter) = self.points.iter().enumerate().find_map(|(at, later)| {
            let entry = &self.entries[later.entry];
            let may_give_way = later.version > version
                && entry.outcome == Outcome::Unknown
                && matches!(entry.act, Act::Put { .. })
                && entry.invoked < reader.answered
                && may_have_written(later.entry, version);
            let rewriter = self.open.iter().copied().find(|number| {
                self.entries[*number].act.rewrites() && may_have_written(*number, later.version)
            });
            Some((at, rewriter.filter(|_| may_give_way)?))
        })?;
        let later = &mut self.points[at];
        let writer = later.entry;
        let content = later.content.clone();
        *later = point(
            rewriter,
            &self.entries[rewriter],
            later.version,
            later.timestamp_ms,
        );
        later.content = content;
        self.open.retain(|number| *number != rewriter);
        Some(writer)
    }

    pub(super) fn point_of(&self, version: u64) -> Option<&Point> {
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

    /// Whether a touch, or the like, of unknown outcome may have written a version that a put is taken for. It may have been taken for the writer of
    /// another version itself: which of the two wrote which is a guess.
    fn may_have_been_touched(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.outcome == Outcome::Unknown && entry.act.rewrites())
    }

    /// Whether another put of unknown outcome has the same value, as many have the empty one: which of them wrote what was read is a guess.
    fn may_be_of_another(&self, writer: usize) -> bool {
        let Act::Put { value: written, .. } = &self.entries[writer].act else {
            return false;
        };
        self.entries.iter().enumerate().any(|(number, entry)| {
            number != writer
                && entry.outcome == Outcome::Unknown
                && matches!(&entry.act, Act::Put { value, .. } if value == written)
        })
    }

    pub(super) fn may_have_been_flushed(&self, from: Time, to: Time) -> bool {
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
    pub(super) fn follow_points(&mut self) -> Result<(), String> {
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
            follows(entry, &found, &before, expiry, version).map_err(|reason| {
                format!(
                    "{reason}: {entry:?} came after version {version}, when the key held {before:?}"
                )
            })?;
            let after = content_after(entry, found.timestamp_ms, &before);
            // What was read tells more than a guess who wrote it.
            let after = match (&found.content, entry.outcome == Outcome::Unknown) {
                (Content::Present(seen), true) => Content::Present(seen.clone()),
                // Nobody saw its value, so any other may have written it.
                (_, true) => Content::Open,
                _ => after,
            };
            // What has this value may have been written by the put itself, or by a touch of unknown outcome after it.
            let is_guess = entry.outcome == Outcome::Unknown
                && (!matches!(entry.act, Act::Put { .. })
                    || found.content == Content::Open
                    || self.may_have_been_touched()
                    || self.may_be_of_another(found.entry));
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
}

impl Checker<'_> {
    /// For each point, whether a flush that was carried out for certain came after it.
    ///
    /// It did if the point was certain before the flush was asked for; and also if the point follows from what another such
    /// point left, for a flush in between would have taken that away. Where a request of unknown outcome may lie in between, nothing is known.
    pub(super) fn flushed_after(&self, flush: &Flush) -> Vec<bool> {
        let mut flushed: Vec<bool> = Vec::with_capacity(self.points.len());
        for (number, point) in self.points.iter().enumerate() {
            let entry = &self.entries[point.entry];
            let is_told = matches!(entry.outcome, Outcome::Wrote { .. });
            let before = number.checked_sub(1).map(|before| &self.points[before]);
            let follows = before.is_some_and(|before| {
                flushed[number - 1] && found_the_key(entry) && !self.is_unclear(before, point)
            });
            flushed.push(point.answered < flush.invoked || (is_told && follows));
        }
        flushed
    }

    /// Whether a write that nobody was told of may lie between two points.
    fn is_unclear(&self, one: &Point, next: &Point) -> bool {
        self.entries.iter().any(|entry| {
            entry.act.is_write()
                && entry.outcome == Outcome::Unknown
                && entry.invoked < next.answered
                && entry.closed >= one.invoked
        })
    }
}

/// Whether a write's answer shows that the key was there before.
fn found_the_key(entry: &Entry) -> bool {
    let Outcome::Wrote { old, number, .. } = &entry.outcome else {
        return false;
    };
    match &entry.act {
        Act::Delete { .. } | Act::Touch(_) | Act::Persist | Act::Expire { .. } => true,
        Act::Put { when, .. } => old.is_some() || !matches!(when, When::Always | When::IfAbsent),
        Act::Add(delta) | Act::AddFloat(delta) => number.is_some_and(|number| number != *delta),
        Act::Append(piece) => number.is_some_and(|number| number > i64::from(piece.len)),
        _ => false,
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

/// Whether a write that was done could be done on this content.
fn follows(
    entry: &Entry,
    point: &Point,
    before: &Content,
    expiry: Option<Option<u64>>,
    version: u64,
) -> Result<(), String> {
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
        Act::Expire {
            expiry: new,
            condition,
            return_value,
        } => {
            let holds = expiry.is_none_or(|old| {
                expiry_held(*condition, old, expiry_of(*new, point.timestamp_ms))
            });
            (current.is_some() && holds, *return_value)
        }
        _ => (true, false),
    };
    if !holds {
        return Err("the write's condition did not hold".to_owned());
    }
    if told && wants_old && old != current {
        return Err("the old value is another".to_owned());
    }
    let expected = match (&entry.act, current) {
        (Act::Add(delta) | Act::AddFloat(delta), None) => Some(*delta),
        (Act::Add(delta) | Act::AddFloat(delta), Some(Value::Counter(count))) => {
            Some(count + delta)
        }
        (Act::Overwrite(_), current) => Some(current.map_or(1, Value::len) as i64),
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

/// Whether a key with this expiry might get that one.
fn expiry_held(condition: ExpiryCondition, old: Option<u64>, new: Option<u64>) -> bool {
    // Never is later than any time.
    let (was, will) = (old.unwrap_or(u64::MAX), new.unwrap_or(u64::MAX));
    match condition {
        ExpiryCondition::Always => true,
        ExpiryCondition::IfNone => old.is_none(),
        ExpiryCondition::IfSome => old.is_some(),
        ExpiryCondition::IfLater => will > was,
        ExpiryCondition::IfEarlier => will < was,
        ExpiryCondition::IfSomeEarlier => old.is_some() && will < was,
    }
}

fn expiry_of(expiry: Expiry, timestamp_ms: u64) -> Option<u64> {
    match expiry {
        Expiry::Never => None,
        Expiry::Millis(ttl_ms) => Some(timestamp_ms + ttl_ms),
        Expiry::At(at_ms) => Some(at_ms),
    }
}

/// A counter whose first byte is written over.
fn overwritten(count: i64, digit: u8) -> Content {
    let mut text = count.to_string().into_bytes();
    text[0] = digit;
    Value::parse(&text).map_or(Content::Open, Content::Present)
}

fn content_after(entry: &Entry, timestamp_ms: u64, before: &Content) -> Content {
    let has_passed = |at: Option<u64>| at.is_some_and(|at| at <= timestamp_ms);
    match (&entry.act, before) {
        (
            Act::Put {
                ttl: Ttl::At(at), ..
            },
            _,
        ) if has_passed(Some(*at)) => Content::Absent,
        (Act::Expire { expiry, .. }, _) if has_passed(expiry_of(*expiry, timestamp_ms)) => {
            Content::Absent
        }
        (Act::Overwrite(digit), Content::Absent) => {
            Content::Present(Value::Counter(i64::from(digit - b'0')))
        }
        (Act::Overwrite(digit), Content::Present(Value::Counter(count))) => {
            overwritten(*count, *digit)
        }
        (Act::Overwrite(_), _) => Content::Open,
        (Act::Put { value, .. }, _) => Content::Present(value.clone()),
        (Act::Delete { .. }, _) => Content::Absent,
        (Act::Add(delta) | Act::AddFloat(delta), before) => match (&entry.outcome, before) {
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
            Ttl::At(at_ms) if *at_ms <= timestamp_ms => Some(None),
            Ttl::At(at_ms) => Some(Some(*at_ms)),
        },
        Act::Touch(ttl_ms) => Some(Some(timestamp_ms + ttl_ms)),
        Act::Expire { expiry, .. } => {
            Some(expiry_of(*expiry, timestamp_ms).filter(|at| *at > timestamp_ms))
        }
        Act::Persist | Act::Delete { .. } => Some(None),
        _ => before,
    }
}
