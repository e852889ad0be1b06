//! The slow log: the last commands that took longer than a bound.
//!
//! Bounded as Redis bounds it: by its number of entries, and in each by `ARGUMENTS_MAX` arguments of `ARGUMENT_LEN_MAX` bytes, with a remark in
//! place of what is left out.

use std::collections::VecDeque;

use super::reply;
use crate::limits;

/// Most arguments of a command that an entry keeps.
const ARGUMENTS_MAX: usize = 32;
/// Most bytes of an argument that an entry keeps.
const ARGUMENT_LEN_MAX: usize = 128;

/// The entries of one shard, or of a node.
#[derive(Debug)]
pub struct Slowlog {
    /// The newest first.
    entries: VecDeque<Entry>,
    next_id: u64,
    slower_than_us: i64,
    len_max: usize,
}

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Grows from entry to entry.
    pub id: u64,
    /// When it came, in seconds since 1970.
    pub at_seconds: u64,
    /// How long it took.
    pub micros: u64,
    /// Its arguments, cut off.
    pub arguments: Vec<Vec<u8>>,
    /// Who sent it.
    pub address: String,
    /// The name that the client gave itself.
    pub name: Vec<u8>,
}

impl Slowlog {
    /// An empty one. Commands that take longer than so many microseconds are noted: none if it is negative, all if it is 0.
    #[must_use]
    pub fn new(slower_than_us: i64, len_max: u64) -> Slowlog {
        let mut slowlog = Slowlog {
            entries: VecDeque::new(),
            next_id: 0,
            slower_than_us,
            len_max: 0,
        };
        slowlog.set_len_max(len_max);
        slowlog
    }

    /// CONFIG SET slowlog-log-slower-than.
    pub fn set_slower_than(&mut self, micros: i64) {
        self.slower_than_us = micros;
    }

    /// CONFIG SET slowlog-max-len. At most [`limits::SLOWLOG_LEN_MAX`].
    pub fn set_len_max(&mut self, len_max: u64) {
        self.len_max = usize::try_from(len_max)
            .unwrap_or(usize::MAX)
            .min(limits::SLOWLOG_LEN_MAX);
        self.entries.truncate(self.len_max);
    }

    /// What [`Slowlog::set_slower_than`] was told last.
    #[must_use]
    pub fn slower_than_us(&self) -> i64 {
        self.slower_than_us
    }

    /// Most entries.
    #[must_use]
    pub fn len_max(&self) -> u64 {
        self.len_max as u64
    }

    /// Whether a command that took so long is to be noted.
    #[inline]
    #[must_use]
    pub fn is_slow(&self, micros: u64) -> bool {
        u64::try_from(self.slower_than_us).is_ok_and(|bound| micros >= bound)
    }

    /// Notes a command, of which the id does not count.
    pub fn note(&mut self, entry: Entry) {
        if self.len_max == 0 {
            return;
        }
        self.entries.truncate(self.len_max - 1);
        self.entries.push_front(Entry {
            id: self.next_id,
            ..entry
        });
        self.next_id += 1;
    }

    /// SLOWLOG RESET. Ids go on.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// SLOWLOG LEN.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The newest entries, at most so many; all for -1.
    pub fn newest(&self, count: i64) -> impl ExactSizeIterator<Item = &Entry> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.entries.iter().take(count)
    }
}

impl Entry {
    /// What is kept of a command's arguments.
    #[must_use]
    pub fn cut_off(arguments: &[&[u8]]) -> Vec<Vec<u8>> {
        let kept = if arguments.len() > ARGUMENTS_MAX {
            ARGUMENTS_MAX - 1
        } else {
            arguments.len()
        };
        let mut cut: Vec<Vec<u8>> = arguments[..kept]
            .iter()
            .map(|argument| cut_argument(argument))
            .collect();
        if kept < arguments.len() {
            let more = arguments.len() - kept;
            cut.push(format!("... ({more} more arguments)").into_bytes());
        }
        cut
    }
}

fn cut_argument(argument: &[u8]) -> Vec<u8> {
    if argument.len() <= ARGUMENT_LEN_MAX {
        return argument.to_vec();
    }
    let more = argument.len() - ARGUMENT_LEN_MAX;
    let mut cut = argument[..ARGUMENT_LEN_MAX].to_vec();
    cut.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
    cut
}

/// SLOWLOG GET's reply.
pub fn write<'e>(out: &mut Vec<u8>, entries: impl ExactSizeIterator<Item = &'e Entry>) {
    let number = |out: &mut Vec<u8>, number: u64| {
        reply::integer(out, i64::try_from(number).unwrap_or(i64::MAX));
    };
    reply::array(out, entries.len());
    for entry in entries {
        reply::array(out, 6);
        number(out, entry.id);
        number(out, entry.at_seconds);
        number(out, entry.micros);
        reply::array(out, entry.arguments.len());
        for argument in &entry.arguments {
            reply::bulk(out, argument);
        }
        reply::bulk(out, entry.address.as_bytes());
        reply::bulk(out, &entry.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(micros: u64) -> Entry {
        Entry {
            id: 0,
            at_seconds: 1,
            micros,
            arguments: Entry::cut_off(&[b"GET", b"a"]),
            address: "1.2.3.4:5".into(),
            name: b"worker".to_vec(),
        }
    }

    /// A log without a bound, or one that drops the newest instead of the oldest.
    #[test]
    fn the_newest_entries_stay_and_ids_go_on() {
        let mut slowlog = Slowlog::new(10, 2);
        assert!(slowlog.is_slow(10) && !slowlog.is_slow(9));
        for micros in [11, 12, 13] {
            slowlog.note(entry(micros));
        }
        let newest: Vec<(u64, u64)> = slowlog.newest(-1).map(|it| (it.id, it.micros)).collect();
        assert_eq!(newest, [(2, 13), (1, 12)]);
        assert_eq!(slowlog.newest(1).count(), 1);
        slowlog.set_len_max(1);
        assert_eq!(slowlog.len(), 1);
        slowlog.clear();
        slowlog.note(entry(14));
        assert_eq!(slowlog.newest(10).next().unwrap().id, 3);
        slowlog.set_len_max(0);
        slowlog.note(entry(15));
        assert!(slowlog.is_empty());
        slowlog.set_slower_than(-1);
        assert!(!slowlog.is_slow(u64::MAX));
        slowlog.set_slower_than(0);
        assert!(slowlog.is_slow(0));
        slowlog.set_len_max(u64::MAX);
        assert_eq!(slowlog.len_max, limits::SLOWLOG_LEN_MAX);
    }

    /// An MSET of a gigabyte must not stay in memory because it was slow.
    #[test]
    fn long_commands_are_cut_off_in_redis_words() {
        let long = vec![b'x'; 200];
        let arguments: Vec<&[u8]> = std::iter::repeat_n(long.as_slice(), 40).collect();
        let cut = Entry::cut_off(&arguments);
        assert_eq!(cut.len(), 32);
        assert_eq!(cut[31], b"... (9 more arguments)");
        assert!(cut[0].ends_with(b"x... (72 more bytes)"));
        assert_eq!(Entry::cut_off(&arguments[..32]).len(), 32);
        assert_eq!(Entry::cut_off(&[&long[..128]])[0], &long[..128]);
    }

    /// Tools read an entry's fields by their places.
    #[test]
    fn entries_are_written_as_redis_writes_them() {
        let mut slowlog = Slowlog::new(0, 10);
        slowlog.note(entry(11));
        let mut out = Vec::new();
        write(&mut out, slowlog.newest(10));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "*1\r\n*6\r\n:0\r\n:1\r\n:11\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n$9\r\n1.2.3.4:5\r\n$6\r\nworker\r\n"
        );
    }
}
