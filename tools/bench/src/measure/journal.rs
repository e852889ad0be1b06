//! The journal of a run whose server is to be checked afterwards: for each key what was acknowledged last, and what may have happened since.
//!
//! It is kept in memory while the run goes on, for the generator outlives the server's faults, and written as a whole at the end. Only outcomes are noted: an operation that
//! never had one is still in flight when its connection is lost or the run ends, and is noted as unknown then.
//!
//! **The file** is JSON, one value a line. The first is the header, the last the trailer with the CRC-32 of all bytes before it; between them stands
//! one array a key, in the order of the keys:
//!
//! ```text
//! {"format":"corduroy-bench-journal/1","settings":{"keys":"1000"}}
//! [17,{"acknowledged":{"stamp":4},"highest":5,"unknown":[{"stamp":5,"is_delete":true}]}]
//! {"entries":1,"crc32":"90a3f1b2"}
//! ```
//!
//! What is false, empty or zero is left out. It is written beside its place, synced and renamed, so that it is there whole or not at all.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::tally::Ending;
use crate::workload::{Ask, Operation};

/// The name of the format; a reader refuses another one.
pub const FORMAT: &str = "corduroy-bench-journal/1";
/// Writes of unknown outcome that are kept apart for one key. A server that answers nothing for a long time makes many.
const UNKNOWN_MAX: usize = 256;

/// A write or a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Greater than that of the key's write before.
    pub stamp: u64,
    /// It removed the key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_delete: bool,
    /// It had a time to live.
    #[serde(default, skip_serializing_if = "is_default")]
    pub may_expire: bool,
}

/// Additions to a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Additions {
    /// Carried out for certain.
    pub acknowledged: u64,
    /// Perhaps.
    pub unknown: u64,
    /// What it held before them, as far as the answers tell: one less than the lowest sum that was ever answered. All additions that
    /// were acknowledged came on top of it, and a run before this one may have left it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub base: u64,
}

impl Additions {
    /// One more, after which the counter held this, if the server tells.
    fn acknowledge(&mut self, sum: Option<i64>) {
        let before = sum.and_then(|sum| u64::try_from(sum).ok());
        let before = before.map_or(0, |sum| sum.saturating_sub(1));
        self.base = if self.acknowledged == 0 {
            before
        } else {
            self.base.min(before)
        };
        self.acknowledged += 1;
    }
}

/// What is known of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The acknowledged write or delete with the highest stamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Write>,
    /// Sent, and perhaps carried out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Write>,
    /// The highest stamp of all of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub highest: u64,
    /// There were more of unknown outcome than are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub has_forgotten: bool,
    /// If it is a counter.
    #[serde(default, skip_serializing_if = "is_default")]
    pub additions: Additions,
}

/// All keys that were written to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    entries: HashMap<u64, Entry>,
    /// What a check needs to know of the run: how keys and values are made.
    pub settings: BTreeMap<String, String>,
}

/// Why a journal can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file's, reading it.
    #[error("{}: {source}; give a file that `run --record FILE` wrote", path.display())]
    NotRead {
        /// Which file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file's, writing it.
    #[error("{}: {source}", path.display())]
    NotWritten {
        /// Which file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It is no journal, of another version, cut off or changed.
    #[error("{}, line {line}: {reason}; give a file that `run --record FILE` wrote", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    settings: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    entries: usize,
    crc32: String,
}

impl Journal {
    /// An operation was answered, and not refused.
    pub(crate) fn ended(&mut self, ask: &Ask, ending: Ending) {
        let write = match (ask.operation, ending) {
            // Another one made the counter first: nothing was added.
            (Operation::Add, Ending::Conflict) => return,
            (Operation::Add, ending) => {
                let sum = match ending {
                    Ending::Counted(sum) => Some(sum),
                    _ => None,
                };
                self.entry(ask.key).additions.acknowledge(sum);
                return;
            }
            // Where there is nothing to delete, the key is as absent as after a delete.
            (Operation::Delete, _)
            | (
                Operation::Put | Operation::CompareAndSet | Operation::ReadModifyWrite,
                Ending::Done,
            ) => write_of(ask),
            _ => return,
        };
        let entry = self.entry(ask.key);
        entry.highest = entry.highest.max(write.stamp);
        // Answers may overtake each other, writes of one connection don't.
        if entry
            .acknowledged
            .is_none_or(|before| before.stamp < write.stamp)
        {
            entry.acknowledged = Some(write);
        }
    }

    /// An operation was sent and was not answered, or refused in words that may mean anything.
    pub(crate) fn unknown(&mut self, ask: &Ask, second: bool) {
        match (ask.operation, second) {
            (Operation::Add, _) => self.entry(ask.key).additions.unknown += 1,
            (Operation::Put | Operation::Delete, _)
            | (Operation::CompareAndSet | Operation::ReadModifyWrite, true) => {
                let entry = self.entry(ask.key);
                entry.highest = entry.highest.max(ask.stamp);
                if entry.unknown.len() < UNKNOWN_MAX {
                    entry.unknown.push(write_of(ask));
                } else {
                    entry.has_forgotten = true;
                }
            }
            // Nothing was to be written yet.
            _ => {}
        }
    }

    /// Adds another thread's, whose keys are others.
    pub(crate) fn merge(&mut self, other: Journal) {
        self.entries.extend(other.entries);
    }

    /// What is known of a key.
    #[must_use]
    pub fn get(&self, key: u64) -> Entry {
        self.entries.get(&key).cloned().unwrap_or_default()
    }

    /// The keys that were written to, ascending.
    #[must_use]
    pub fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.entries.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Writes it to a file, whole or not at all.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn write_to(&self, path: &Path) -> Result<(), JournalError> {
        let failed = |source| JournalError::NotWritten {
            path: path.to_owned(),
            source,
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".part");
        let beside = PathBuf::from(beside);
        let file = File::create(&beside).map_err(failed)?;
        self.write_lines(&file).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)
    }

    /// Reads it from a file.
    ///
    /// # Errors
    ///
    /// The file's, or that it is no whole journal.
    pub fn read_from(path: &Path) -> Result<Journal, JournalError> {
        let text = fs::read_to_string(path).map_err(|source| JournalError::NotRead {
            path: path.to_owned(),
            source,
        })?;
        Journal::parse(&text).map_err(|(line, reason)| JournalError::Unreadable {
            path: path.to_owned(),
            line,
            reason,
        })
    }

    fn write_lines(&self, file: &File) -> io::Result<()> {
        let mut out = BufWriter::new(file);
        let mut checksum = crc32fast::Hasher::new();
        let mut put = |line: &str| {
            checksum.update(line.as_bytes());
            checksum.update(b"\n");
            writeln!(out, "{line}")
        };
        put(&serde_json::to_string(&Header {
            format: FORMAT.to_owned(),
            settings: self.settings.clone(),
        })?)?;
        for key in self.keys() {
            put(&serde_json::to_string(&(key, &self.entries[&key]))?)?;
        }
        let trailer = Trailer {
            entries: self.entries.len(),
            crc32: format!("{:08x}", checksum.finalize()),
        };
        writeln!(out, "{}", serde_json::to_string(&trailer)?)?;
        out.flush()
    }

    /// The journal that is in these lines, or which of them is wrong and why.
    fn parse(text: &str) -> Result<Journal, (usize, String)> {
        let count = text.lines().count();
        let cut_off = || (count, "the file ends before its trailer".to_owned());
        let body_len = text
            .strip_suffix('\n')
            .and_then(|text| text.rfind('\n'))
            .ok_or_else(cut_off)?
            + 1;
        let (body, trailer) = text.split_at(body_len);
        let trailer: Trailer = serde_json::from_str(trailer).map_err(|_| cut_off())?;
        if format!("{:08x}", crc32fast::hash(body.as_bytes())) != trailer.crc32 {
            return Err((
                count,
                "the checksum does not fit: it was changed".to_owned(),
            ));
        }
        let mut lines = body.lines();
        let header: Header = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|error| (1, format!("this is no journal: {error}")))?;
        if header.format != FORMAT {
            return Err((1, format!("the format is {}, not {FORMAT}", header.format)));
        }
        let mut journal = Journal {
            entries: HashMap::with_capacity(trailer.entries),
            settings: header.settings,
        };
        for (index, line) in lines.enumerate() {
            let (key, entry) =
                serde_json::from_str(line).map_err(|error| (index + 2, error.to_string()))?;
            journal.entries.insert(key, entry);
        }
        if journal.entries.len() != trailer.entries {
            return Err((count, "a key stands there twice".to_owned()));
        }
        Ok(journal)
    }

    fn entry(&mut self, key: u64) -> &mut Entry {
        self.entries.entry(key).or_default()
    }
}

fn write_of(ask: &Ask) -> Write {
    Write {
        stamp: ask.stamp,
        is_delete: ask.operation == Operation::Delete,
        may_expire: ask.ttl_ms > 0,
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Heat;

    fn ask(operation: Operation, key: u64, stamp: u64) -> Ask {
        Ask {
            operation,
            key,
            heat: Heat::Cold,
            value_len: 8,
            stamp,
            ttl_ms: 0,
            count: 1,
        }
    }

    fn sample() -> Journal {
        let mut journal = Journal::default();
        journal.settings.insert("keys".to_owned(), "10".to_owned());
        journal.ended(&ask(Operation::Put, 1, 2), Ending::Done);
        journal.ended(&ask(Operation::Put, 1, 1), Ending::Done);
        journal.unknown(&ask(Operation::Delete, 1, 3), false);
        journal.ended(&ask(Operation::Delete, 2, 5), Ending::Missed(1));
        journal.ended(&ask(Operation::CompareAndSet, 3, 1), Ending::Conflict);
        journal.unknown(&ask(Operation::CompareAndSet, 3, 2), false);
        journal.unknown(&ask(Operation::CompareAndSet, 4, 2), true);
        journal.ended(&ask(Operation::Add, 5, 0), Ending::Counted(8));
        journal.ended(&ask(Operation::Add, 5, 0), Ending::Counted(7));
        journal.ended(&ask(Operation::Add, 5, 0), Ending::Conflict);
        journal.unknown(&ask(Operation::Add, 5, 0), false);
        journal.ended(&ask(Operation::Get, 6, 0), Ending::Done);
        journal
    }

    // In a language that answers in any order the answer to the older write may come last; the newer one is still what must be there.
    #[test]
    fn the_highest_stamp_counts_and_what_wrote_nothing_does_not() {
        let journal = sample();
        assert_eq!(journal.keys(), [1, 2, 4, 5]);
        let first = journal.get(1);
        assert_eq!(first.acknowledged.unwrap().stamp, 2);
        assert!(first.unknown[0].is_delete);
        assert!(journal.get(2).acknowledged.unwrap().is_delete);
        assert_eq!(journal.get(4).unknown.len(), 1);
        assert_eq!(
            journal.get(5).additions,
            Additions {
                acknowledged: 2,
                unknown: 1,
                base: 6,
            }
        );
    }

    // A check against half a journal would find everything in order.
    #[test]
    fn a_journal_is_read_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let journal = sample();
        journal.write_to(&path).unwrap();
        assert_eq!(Journal::read_from(&path).unwrap(), journal);

        let text = fs::read_to_string(&path).unwrap();
        for end in 0..text.len() {
            assert!(Journal::parse(&text[..end]).is_err(), "cut at {end}");
        }
        let changed = text.replacen("\"stamp\":2", "\"stamp\":1", 1);
        assert_ne!(changed, text);
        let (_, reason) = Journal::parse(&changed).unwrap_err();
        assert!(reason.contains("checksum"), "{reason}");
        assert!(Journal::read_from(&directory.path().join("none")).is_err());
    }

    #[test]
    fn a_server_that_never_answers_does_not_fill_memory() {
        let mut journal = Journal::default();
        for stamp in 1..=10_000 {
            journal.unknown(&ask(Operation::Put, 1, stamp), false);
        }
        let entry = journal.get(1);
        assert_eq!(entry.unknown.len(), UNKNOWN_MAX);
        assert_eq!((entry.highest, entry.has_forgotten), (10_000, true));
    }
}
