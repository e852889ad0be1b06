//! Which keyspaces there must be, may be and can't be, by what clients were told.
//!
//! Keyspaces are made and dropped by name, on any shard, at any time, and are listed by any shard. Only what is certain is held against
//! a list: a keyspace whose making was acknowledged before the list was asked for, and of whose dropping there was no talk before
//! the answer, is in it, on whichever shard; one that was made and then dropped, both acknowledged before, is not. Numbers only grow.

use corduroy_proto_wire::KeyspaceInfo;

use super::history::Time;

/// The number of the keyspace that always exists.
pub(super) const DEFAULT: u32 = 1;

/// What was asked about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Make,
    Drop,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// No answer, or one that does not say.
    Unknown,
    /// Nothing was changed.
    Nothing,
    /// Made, with this number; or dropped.
    Done(u32),
}

#[derive(Clone, Debug)]
struct Change {
    name: String,
    deed: Deed,
    invoked: Time,
    answered: Time,
    end: End,
}

/// Names a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangeId(usize);

/// All changes of the keyspaces so far.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    changes: Vec<Change>,
    /// Clients use keyspaces of which this change or a later one tells.
    used_from: usize,
}

impl Catalog {
    pub(super) fn make(&mut self, now: Time, name: &str) -> ChangeId {
        self.begin(now, name, Deed::Make)
    }

    pub(super) fn drop(&mut self, now: Time, name: &str) -> ChangeId {
        self.begin(now, name, Deed::Drop)
    }

    fn begin(&mut self, now: Time, name: &str, deed: Deed) -> ChangeId {
        self.changes.push(Change {
            name: name.to_owned(),
            deed,
            invoked: now,
            answered: Time::MAX,
            end: End::Unknown,
        });
        ChangeId(self.changes.len() - 1)
    }

    /// Nothing came of it.
    pub(super) fn refused(&mut self, now: Time, id: ChangeId) {
        self.end(now, id, End::Nothing);
    }

    pub(super) fn dropped(&mut self, now: Time, id: ChangeId) {
        self.end(now, id, End::Done(0));
    }

    pub(super) fn made(&mut self, now: Time, id: ChangeId, number: u32) -> Result<(), String> {
        let invoked = self.changes[id.0].invoked;
        for other in &self.changes {
            if let (Deed::Make, End::Done(taken)) = (other.deed, other.end)
                && (taken == number || (other.answered < invoked && taken > number))
            {
                return Err(format!("keyspace {number} was made after {other:?}"));
            }
        }
        self.end(now, id, End::Done(number));
        Ok(())
    }

    fn end(&mut self, now: Time, id: ChangeId, end: End) {
        let change = &mut self.changes[id.0];
        change.answered = now;
        change.end = end;
    }

    /// The numbers of keyspaces that were made, the newest of them; some may have been dropped since.
    pub(super) fn known(&self) -> Vec<u32> {
        const MOST: usize = 3;
        let made = self.changes[self.used_from..].iter().rev();
        made.filter_map(|change| match (change.deed, change.end) {
            (Deed::Make, End::Done(number)) => Some(number),
            _ => None,
        })
        .take(MOST)
        .collect()
    }

    fn making(&self, number: u32) -> Option<&Change> {
        let wanted =
            |change: &&Change| change.deed == Deed::Make && change.end == End::Done(number);
        self.changes.iter().find(wanted)
    }

    /// Whether nobody has asked yet to drop a keyspace: then it is there for certain.
    pub(super) fn is_there(&self, number: u32) -> bool {
        number == DEFAULT
            || self.making(number).is_some_and(|made| {
                !self.changes.iter().any(|change| {
                    change.name == made.name
                        && change.deed == Deed::Drop
                        && change.end != End::Nothing
                        && change.answered > made.invoked
                })
            })
    }

    /// Whether a keyspace was gone for certain before a moment.
    pub(super) fn was_dropped(&self, number: u32, before: Time) -> bool {
        self.making(number).is_some_and(|made| {
            self.changes.iter().any(|change| {
                change.name == made.name
                    && change.deed == Deed::Drop
                    && change.end != End::Nothing
                    && change.end != End::Unknown
                    && change.invoked > made.answered
                    && change.answered < before
            })
        })
    }

    /// The node may have lost any of what it was told about its keyspaces.
    pub(super) fn forget(&mut self) {
        self.leave_alone();
        for change in &mut self.changes {
            change.end = End::Unknown;
            change.answered = Time::MAX;
        }
    }

    /// Clients use none of these keyspaces any more.
    pub(super) fn leave_alone(&mut self) {
        self.used_from = self.changes.len();
    }

    /// Holds a list against what is certain.
    pub(super) fn check(
        &self,
        invoked: Time,
        answered: Time,
        listed: &[KeyspaceInfo],
    ) -> Result<(), String> {
        let of = |name: &str, deed: Deed| {
            let name = name.to_owned();
            self.changes
                .iter()
                .filter(move |change| change.name == name && change.deed == deed)
        };
        // The databases of Redis clients are named by their numbers.
        let is_database = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        let made_by_name =
            |info: &&KeyspaceInfo| info.name != "default" && !is_database(&info.name);
        for info in listed.iter().filter(made_by_name) {
            let made = of(&info.name, Deed::Make)
                .find(|change| change.end == End::Done(info.id))
                .or_else(|| {
                    of(&info.name, Deed::Make)
                        .find(|change| change.end == End::Unknown && change.invoked < answered)
                });
            let Some(made) = made else {
                return Err(format!("a list shows {info:?}, which nobody made"));
            };
            let dropped = of(&info.name, Deed::Drop).find(|change| {
                matches!(change.end, End::Done(_))
                    && change.invoked > made.answered
                    && change.answered < invoked
            });
            if let Some(dropped) = dropped {
                return Err(format!("a list shows {info:?} after {dropped:?}"));
            }
        }
        for made in &self.changes {
            let (Deed::Make, End::Done(number)) = (made.deed, made.end) else {
                continue;
            };
            let may_be_gone = of(&made.name, Deed::Drop)
                .any(|change| change.end != End::Nothing && change.invoked < answered);
            if made.answered < invoked
                && !may_be_gone
                && !listed.iter().any(|info| info.id == number)
            {
                return Err(format!("a list lacks what {made:?} made"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: u32) -> KeyspaceInfo {
        KeyspaceInfo {
            id,
            partitions: 8,
            name: "a".to_owned(),
        }
    }

    /// A checker that excuses everything would not see a keyspace that one shard forgot to drop.
    #[test]
    fn what_is_certain_is_held_against_a_list() {
        let mut catalog = Catalog::default();
        let made = catalog.make(10, "a");
        catalog.made(20, made, 5).unwrap();
        assert!(catalog.check(30, 40, &[info(5)]).is_ok());
        assert!(catalog.check(30, 40, &[]).is_err());
        assert!(catalog.check(15, 40, &[]).is_ok(), "it was under way");
        let dropped = catalog.drop(50, "a");
        assert!(catalog.check(45, 55, &[]).is_ok());
        catalog.dropped(60, dropped);
        assert!(catalog.check(70, 80, &[info(5)]).is_err());
        assert!(catalog.check(70, 80, &[]).is_ok());
        let again = catalog.make(90, "a");
        assert!(catalog.made(95, again, 5).is_err(), "a number is used once");
    }
}
