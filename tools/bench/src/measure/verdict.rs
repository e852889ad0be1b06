//! Whether what a server holds after faults is what it promised to keep. Pure: an [`Entry`] of the journal and what was seen give a verdict.
//!
//! The check leans on three things. Each key is written through one connection only, so its writes have an order. Each write and delete of a key has a
//! greater **stamp** than the one before. A value tells its stamp, and whether all of it is as it was written.
//!
//! Keys may have held something **before the run**. Its values have another writer's number in their stamps than the one through whose connection the run wrote
//! the key (see [`crate::scenario`]), so they are told apart: right where nothing was acknowledged since, and lost writes where something was.
//! A counter's answers tell what it began with ([`super::journal::Additions::base`]).
//!
//! What was acknowledged must be there, unless something of **unknown outcome** took its place: a request that was sent and never answered may
//! have been carried out or not.

use super::journal::{Entry, Write};
use crate::workload::values::Stamp;

/// What a read of the key showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No such key.
    Absent,
    /// A whole value with this stamp.
    Value {
        /// Its stamp.
        stamp: u64,
    },
    /// Bytes that are no value of this key: another key's, torn, or changed.
    Foreign,
    /// The sum of a counter.
    Sum(u64),
}

/// What that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was acknowledged last, or something of unknown outcome after it.
    Ok,
    /// A write of unknown outcome that was sent *before* the last acknowledged one, through a connection that was lost. A server that went on running may have
    /// carried it out late, and is right; one that was killed in between has lost the acknowledged one.
    Overtaken {
        /// What was acknowledged last.
        acknowledged: u64,
        /// What is there; 0 if a delete is.
        found: u64,
    },
    /// The acknowledged write isn't there.
    Lost {
        /// What was acknowledged last.
        acknowledged: u64,
        /// The older write that is there instead, if there is one.
        found: Option<u64>,
    },
    /// The key was deleted, that was acknowledged, and an older value is there again.
    Resurrected {
        /// The delete.
        deleted: u64,
        /// The older write that is there.
        found: u64,
    },
    /// A stamp that was never sent, or was refused.
    NeverWritten {
        /// The stamp.
        found: u64,
    },
    /// Bytes that nobody wrote to this key.
    Damaged,
    /// A counter that is less than the additions that were acknowledged.
    CountLost {
        /// What it began with and what was acknowledged.
        at_least: u64,
        /// There.
        found: u64,
    },
    /// A counter that is more than all additions that were sent.
    CountedTwice {
        /// What it began with and what was sent.
        at_most: u64,
        /// There.
        found: u64,
    },
}

impl Verdict {
    /// Whether a promise was broken. [`Verdict::Overtaken`] may be none: the caller knows whether the server was killed.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        !matches!(self, Verdict::Ok | Verdict::Overtaken { .. })
    }
}

/// Judges one key. The journal must be of all that was written to it, from a state that [`Entry::acknowledged`] begins with.
#[must_use]
pub fn verify(entry: &Entry, seen: Seen) -> Verdict {
    let acknowledged = entry.acknowledged.map_or(0, |write| write.stamp);
    match seen {
        Seen::Foreign => Verdict::Damaged,
        Seen::Sum(found) => verify_sum(entry, found),
        Seen::Absent => verify_absent(entry, acknowledged),
        Seen::Value { stamp } => verify_value(entry, acknowledged, stamp),
    }
}

fn verify_absent(entry: &Entry, acknowledged: u64) -> Verdict {
    if entry.additions.acknowledged > 0 {
        return verify_sum(entry, 0);
    }
    let is_fine = match entry.acknowledged {
        None => true,
        Some(write) => write.is_delete || write.may_expire,
    };
    // What has expired leaves nothing, like a delete.
    let leaves_nothing = |write: &&Write| write.is_delete || write.may_expire;
    let unknown = entry.unknown.iter().filter(leaves_nothing);
    match unknown.map(|write| write.stamp).max() {
        _ if is_fine => Verdict::Ok,
        Some(stamp) if stamp > acknowledged => Verdict::Ok,
        _ if entry.has_forgotten => Verdict::Ok,
        Some(_) => Verdict::Overtaken {
            acknowledged,
            found: 0,
        },
        None => Verdict::Lost {
            acknowledged,
            found: None,
        },
    }
}

fn verify_value(entry: &Entry, acknowledged: u64, stamp: u64) -> Verdict {
    let is_unknown = entry
        .unknown
        .iter()
        .any(|write| write.stamp == stamp && !write.is_delete);
    match entry.acknowledged {
        Some(write) if write.stamp == stamp && !write.is_delete => Verdict::Ok,
        None if is_from_before(entry, stamp) => Verdict::Ok,
        Some(write) if is_from_before(entry, stamp) => {
            if write.is_delete {
                Verdict::Resurrected {
                    deleted: acknowledged,
                    found: stamp,
                }
            } else {
                Verdict::Lost {
                    acknowledged,
                    found: Some(stamp),
                }
            }
        }
        _ if stamp > acknowledged && is_unknown => Verdict::Ok,
        _ if stamp > acknowledged && entry.has_forgotten && stamp <= entry.highest => Verdict::Ok,
        _ if stamp >= acknowledged => Verdict::NeverWritten { found: stamp },
        _ if is_unknown || entry.has_forgotten => Verdict::Overtaken {
            acknowledged,
            found: stamp,
        },
        Some(write) if write.is_delete => Verdict::Resurrected {
            deleted: acknowledged,
            found: stamp,
        },
        _ => Verdict::Lost {
            acknowledged,
            found: Some(stamp),
        },
    }
}

/// Whether another writer wrote it than the one whose key this was in the run.
#[must_use]
pub fn is_from_before(entry: &Entry, stamp: u64) -> bool {
    Stamp::unpack(stamp).writer != Stamp::unpack(entry.highest).writer
}

fn verify_sum(entry: &Entry, found: u64) -> Verdict {
    if entry.additions.acknowledged == 0 {
        // No answer has told what it began with.
        return Verdict::Ok;
    }
    let at_least = entry.additions.base + entry.additions.acknowledged;
    let at_most = at_least + entry.additions.unknown;
    if found < at_least {
        Verdict::CountLost { at_least, found }
    } else if found > at_most {
        Verdict::CountedTwice { at_most, found }
    } else {
        Verdict::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::{super::journal::Additions, *};

    fn write(stamp: u64) -> Write {
        Write {
            stamp,
            is_delete: false,
            may_expire: false,
        }
    }

    fn delete(stamp: u64) -> Write {
        Write {
            is_delete: true,
            ..write(stamp)
        }
    }

    fn entry(acknowledged: Option<Write>, unknown: &[Write]) -> Entry {
        Entry {
            acknowledged,
            unknown: unknown.to_vec(),
            ..Entry::default()
        }
    }

    const fn value(stamp: u64) -> Seen {
        Seen::Value { stamp }
    }

    // The promise itself: an acknowledged write is there after kill -9.
    #[test]
    fn an_acknowledged_write_is_there_or_lost() {
        let entry = entry(Some(write(7)), &[]);
        assert_eq!(verify(&entry, value(7)), Verdict::Ok);
        assert_eq!(
            verify(&entry, Seen::Absent),
            Verdict::Lost {
                acknowledged: 7,
                found: None
            }
        );
        assert_eq!(
            verify(&entry, value(6)),
            Verdict::Lost {
                acknowledged: 7,
                found: Some(6)
            }
        );
        assert_eq!(verify(&entry, value(8)), Verdict::NeverWritten { found: 8 });
        assert_eq!(verify(&entry, Seen::Foreign), Verdict::Damaged);
    }

    // A server that dies between carrying out and answering has done nothing wrong, whichever of the two states is there.
    #[test]
    fn what_was_never_answered_may_be_there_or_not() {
        let entry = entry(Some(write(7)), &[write(8), write(9)]);
        for stamp in [7, 8, 9] {
            assert_eq!(verify(&entry, value(stamp)), Verdict::Ok);
        }
        assert_eq!(
            verify(&entry, value(10)),
            Verdict::NeverWritten { found: 10 }
        );
        assert!(verify(&entry, Seen::Absent).is_fault());
        let never_acknowledged = self::entry(None, &[write(1)]);
        assert_eq!(verify(&never_acknowledged, Seen::Absent), Verdict::Ok);
        assert_eq!(verify(&never_acknowledged, value(1)), Verdict::Ok);
        assert_eq!(
            verify(&never_acknowledged, value(2)),
            Verdict::NeverWritten { found: 2 }
        );
    }

    // A request in the buffers of a server that hung may be carried out after later ones; after a kill it cannot.
    #[test]
    fn an_older_write_of_unknown_outcome_is_told_apart() {
        let entry = entry(Some(write(7)), &[write(5), delete(6)]);
        let verdict = verify(&entry, value(5));
        assert_eq!(
            verdict,
            Verdict::Overtaken {
                acknowledged: 7,
                found: 5
            }
        );
        assert!(!verdict.is_fault());
        assert_eq!(
            verify(&entry, Seen::Absent),
            Verdict::Overtaken {
                acknowledged: 7,
                found: 0
            }
        );
        // The stamp of a delete is in no value.
        assert!(verify(&entry, value(6)).is_fault());
    }

    // A log that is replayed without its tombstones brings keys back.
    #[test]
    fn a_deleted_key_stays_away() {
        let entry = entry(Some(delete(7)), &[]);
        assert_eq!(verify(&entry, Seen::Absent), Verdict::Ok);
        assert_eq!(
            verify(&entry, value(6)),
            Verdict::Resurrected {
                deleted: 7,
                found: 6
            }
        );
        assert_eq!(verify(&entry, value(7)), Verdict::NeverWritten { found: 7 });
        let rewritten = self::entry(Some(delete(7)), &[write(8)]);
        assert_eq!(verify(&rewritten, value(8)), Verdict::Ok);
        assert_eq!(verify(&rewritten, Seen::Absent), Verdict::Ok);
        let perhaps = self::entry(Some(write(7)), &[delete(8)]);
        assert_eq!(verify(&perhaps, Seen::Absent), Verdict::Ok);
        assert_eq!(verify(&perhaps, value(7)), Verdict::Ok);
    }

    #[test]
    fn what_may_expire_may_be_gone() {
        let expiring = Write {
            may_expire: true,
            ..write(7)
        };
        let entry = entry(Some(expiring), &[]);
        assert_eq!(verify(&entry, Seen::Absent), Verdict::Ok);
        assert_eq!(verify(&entry, value(7)), Verdict::Ok);
        assert!(verify(&entry, value(6)).is_fault());
    }

    // A retry inside a server that counts twice, and an addition that is lost, both look like a plausible number.
    #[test]
    fn counters_lie_between_what_was_acknowledged_and_what_was_sent() {
        let entry = Entry {
            additions: Additions {
                acknowledged: 10,
                unknown: 2,
                base: 0,
            },
            ..Entry::default()
        };
        for found in [10, 11, 12] {
            assert_eq!(verify(&entry, Seen::Sum(found)), Verdict::Ok);
        }
        assert_eq!(
            verify(&entry, Seen::Sum(9)),
            Verdict::CountLost {
                at_least: 10,
                found: 9
            }
        );
        assert_eq!(
            verify(&entry, Seen::Sum(13)),
            Verdict::CountedTwice {
                at_most: 12,
                found: 13
            }
        );
        assert!(verify(&entry, Seen::Absent).is_fault());
        let mut second_run = entry;
        second_run.additions.base = 100;
        assert_eq!(verify(&second_run, Seen::Sum(110)), Verdict::Ok);
        assert!(verify(&second_run, Seen::Sum(109)).is_fault());
        assert!(verify(&second_run, Seen::Sum(113)).is_fault());
    }

    // The same keys were written by a load and by another run before: what these left is no fault where this run has acknowledged nothing, and shows a
    // loss where it has, however large its stamps are.
    #[test]
    fn values_from_before_the_run_are_told_apart() {
        let of = |writer, sequence| Stamp { writer, sequence }.pack();
        let mine = |sequence| of(20, sequence);
        let unanswered = Entry {
            highest: mine(5),
            ..entry(None, &[write(mine(5))])
        };
        let written = Entry {
            highest: mine(5),
            ..entry(Some(write(mine(4))), &[write(mine(5))])
        };
        let deleted = Entry {
            highest: mine(4),
            ..entry(Some(delete(mine(4))), &[])
        };
        for before in [of(0, 9), of(19, 5), of(21, 5)] {
            assert_eq!(verify(&unanswered, value(before)), Verdict::Ok);
            assert_eq!(
                verify(&written, value(before)),
                Verdict::Lost {
                    acknowledged: mine(4),
                    found: Some(before)
                }
            );
            assert_eq!(
                verify(&deleted, value(before)),
                Verdict::Resurrected {
                    deleted: mine(4),
                    found: before
                }
            );
        }
        assert!(verify(&unanswered, value(mine(6))).is_fault());
    }

    // Where too many outcomes are unknown to be kept apart, the check is weaker and must not accuse.
    #[test]
    fn forgotten_outcomes_accuse_nobody() {
        let entry = Entry {
            has_forgotten: true,
            highest: 9,
            ..entry(Some(write(3)), &[])
        };
        assert_eq!(verify(&entry, value(9)), Verdict::Ok);
        assert_eq!(verify(&entry, Seen::Absent), Verdict::Ok);
        assert_eq!(
            verify(&entry, value(10)),
            Verdict::NeverWritten { found: 10 }
        );
        assert!(!verify(&entry, value(2)).is_fault());
    }
}
