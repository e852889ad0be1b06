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
//! 6. A key whose time had passed by the clock of a clean stop is not shown by a later life, wherever the clock is set.
//! 7. A key that was not there had a reason: it never was, or was deleted, flushed or expired at some moment of the request.
//! 8. A flush takes all that is before it: what was certain before it was asked for, and what follows from that, is not there after it.

mod points;
#[cfg(test)]
mod tests;

use corduroy_proto_wire::{Expiry, ExpiryCondition, Ttl};

use super::action::{Act, When};
use super::history::{Entry, Flush, History, Outcome, Place, Time, WallClock};
use super::value::Value;

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
    stops: &'a [(Time, u64)],
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
        stops: &history.stops,
        points: Vec::new(),
        open: Vec::new(),
        floors: Vec::new(),
    };
    checker.find_floors();
    checker.find_points()?;
    checker.follow_points()?;
    checker.check_flushes()?;
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

    /// Steps 3 and 6.
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
        // The log knew that its time had passed: the clock may go back, the key may not come back.
        if let Some(Some(at)) = point.expiry
            && let Some((_, shown)) = self.stops.iter().find(|(stop, shown)| {
                point.answered < *stop && *stop < entry.invoked && at <= *shown
            })
        {
            return Err(format!(
                "it expired at {at}, and a clean stop showed {shown} before"
            ));
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
        match &entry.act {
            Act::Put { when, .. } | Act::Delete { when, .. } => {
                condition_failed(when, *version, &point.content)
            }
            Act::Expire {
                expiry, condition, ..
            } => match point.expiry {
                Some(old) if !may_fail(*condition, old, *expiry, (low, high)) => {
                    Err(format!("the condition held: its expiry was {old:?}"))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Step 8.
    fn check_flushes(&self) -> Result<(), String> {
        for flush in self.flushes.iter().filter(|flush| flush.is_certain) {
            let flushed = self.flushed_after(flush);
            let later = |entry: &&Entry| flush.answered < entry.invoked;
            for entry in self.entries.iter().filter(later) {
                let of_version = |version: u64| {
                    let at = self.points.partition_point(|point| point.version < version);
                    self.points
                        .get(at)
                        .is_some_and(|point| point.version == version)
                        && flushed[at]
                };
                let survived = match &entry.outcome {
                    Outcome::Saw { version, .. } => of_version(*version),
                    _ => false,
                };
                if survived {
                    return Err(format!("it was flushed by {flush:?}: {entry:?}"));
                }
            }
            for (number, point) in self.points.iter().enumerate().skip(1) {
                let entry = &self.entries[point.entry];
                if flushed[number] && later(&entry) {
                    return Err(format!(
                        "it follows from what {flush:?} took away: {entry:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Step 7.
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
            other.act.removes() && other.invoked < entry.answered && other.closed >= first.invoked
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

fn may_be_absent(act: &Act) -> bool {
    match act {
        Act::Put { ttl, when, .. } => {
            !matches!(when, When::Always | When::IfAbsent) || matches!(ttl, Ttl::At(_))
        }
        Act::Add(_) | Act::AddFloat(_) | Act::Append(_) | Act::Overwrite(_) => false,
        _ => true,
    }
}

/// Whether a key with this expiry may be left as it is, at some time of the wall clock in this span.
fn may_fail(
    condition: ExpiryCondition,
    old: Option<u64>,
    new: Expiry,
    (low, high): (u64, u64),
) -> bool {
    // Never is later than any time.
    let old = old.unwrap_or(u64::MAX);
    let (earliest, latest) = match new {
        Expiry::Never => (u64::MAX, u64::MAX),
        Expiry::Millis(ttl_ms) => (low + ttl_ms, high + ttl_ms),
        Expiry::At(at_ms) => (at_ms, at_ms),
    };
    match condition {
        ExpiryCondition::Always => false,
        // What had no expiry and got none was left as it is, too.
        ExpiryCondition::IfNone => old != u64::MAX || new == Expiry::Never,
        ExpiryCondition::IfSome => old == u64::MAX,
        ExpiryCondition::IfLater => earliest <= old,
        ExpiryCondition::IfEarlier => latest >= old,
        ExpiryCondition::IfSomeEarlier => old == u64::MAX || latest >= old,
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
