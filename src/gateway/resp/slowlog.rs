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
    /// From one id to the next.
    id_step: u64,
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
    /// Ids begin with `id_first` and go on in steps, so that several logs of a node have none in common.
    #[must_use]
    pub fn new(slower_than_us: i64, len_max: u64, id_first: u64, id_step: u64) -> Slowlog {
        let mut slowlog = Slowlog {
            entries: VecDeque::new(),
            next_id: id_first,
            id_step,
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

    /// Whether any command is noted.
    #[inline]
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.slower_than_us >= 0
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
        self.next_id += self.id_step;
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
        redact(&mut cut);
        cut
    }

    /// Whether [`Entry::cut_off_bytes`] gives the same of a command's first `bytes_max` bytes as [`Entry::cut_off`] of its arguments.
    #[inline]
    #[must_use]
    pub fn is_in_first_bytes(command: &[u8], arguments: &[&[u8]], bytes_max: usize) -> bool {
        let is_array = command.first() == Some(&b'*') && arguments.len() <= ARGUMENTS_MAX;
        is_array
            && (command.len() <= bytes_max || {
                let before_last = &arguments[..arguments.len() - 1];
                let len: usize = before_last.iter().map(|argument| argument.len()).sum();
                len + arguments.len() * HEAD_LEN + ARGUMENT_LEN_MAX <= bytes_max
            })
    }

    /// What is kept of a command's arguments, from the first bytes of the array in which it came.
    #[must_use]
    pub fn cut_off_bytes(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut cut = Vec::new();
        let count = take_number(&mut rest).unwrap_or(0);
        for _ in 0..count {
            let Some(len) = take_number(&mut rest) else {
                break;
            };
            let (argument, behind) = rest.split_at(len.min(rest.len()));
            cut.push(cut_part(argument, len));
            rest = behind.get(LINE_END_LEN..).unwrap_or_default();
        }
        redact(&mut cut);
        cut
    }

    /// What is kept of a transaction, of whose commands these are the arguments: EXEC, and each command as one argument.
    #[must_use]
    pub fn of_transaction<'a>(
        count: usize,
        commands: impl Iterator<Item = Vec<&'a [u8]>>,
    ) -> Vec<Vec<u8>> {
        let kept = if count < ARGUMENTS_MAX {
            count
        } else {
            ARGUMENTS_MAX - 2
        };
        let mut cut = vec![b"EXEC".to_vec()];
        for command in commands.take(kept) {
            let len = command
                .iter()
                .map(|argument| argument.len() + 1)
                .sum::<usize>()
                - 1;
            let mut line = Vec::new();
            for argument in command {
                if line.len() > ARGUMENT_LEN_MAX {
                    break;
                }
                if !line.is_empty() {
                    line.push(b' ');
                }
                line.extend_from_slice(&argument[..argument.len().min(ARGUMENT_LEN_MAX)]);
            }
            cut.push(cut_part(&line, len));
        }
        if kept < count {
            cut.push(format!("... ({} more commands)", count - kept).into_bytes());
        }
        cut
    }
}

/// At most what an argument has before and behind it, in bytes, as long as it is shorter than what is kept.
const HEAD_LEN: usize = 16;

const LINE_END_LEN: usize = 2;

/// The number in the line that begins here, behind its sign.
fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let end = rest
        .windows(LINE_END_LEN)
        .position(|pair| pair == b"\r\n")?;
    let digits = std::str::from_utf8(rest.get(1..end)?).ok()?;
    let number = digits.parse().ok()?;
    *rest = &rest[end + LINE_END_LEN..];
    Some(number)
}

/// As Redis does it, passwords don't get into the log.
fn redact(arguments: &mut [Vec<u8>]) {
    let Some((name, rest)) = arguments.split_first_mut() else {
        return;
    };
    let secret = if name.eq_ignore_ascii_case(b"auth") {
        rest
    } else if name.eq_ignore_ascii_case(b"hello") {
        let option = rest
            .iter()
            .position(|word| word.eq_ignore_ascii_case(b"auth"));
        let begin = option.map_or(rest.len(), |at| at + 1);
        let end = (begin + 2).min(rest.len());
        &mut rest[begin..end]
    } else {
        return;
    };
    for argument in secret {
        *argument = b"(redacted)".to_vec();
    }
}

fn cut_argument(argument: &[u8]) -> Vec<u8> {
    cut_part(argument, argument.len())
}

/// As [`cut_argument`], of an argument of `len` bytes of which the first ones are given: as many at least as are kept.
fn cut_part(argument: &[u8], len: usize) -> Vec<u8> {
    if len <= ARGUMENT_LEN_MAX {
        return argument.to_vec();
    }
    let more = len - ARGUMENT_LEN_MAX;
    let mut cut = argument[..argument.len().min(ARGUMENT_LEN_MAX)].to_vec();
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
        let mut slowlog = Slowlog::new(10, 2, 0, 1);
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

    /// What is read out of a copy of a command's first bytes must be what its arguments give, or an operator looks for a key that nobody used.
    #[test]
    fn first_bytes_give_the_same_as_the_arguments() {
        let long = vec![b'x'; 2000];
        let key = vec![b'k'; 300];
        for arguments in [
            vec![b"GET".as_slice(), b"a"],
            vec![b"SET", b"", b"\r\n$1\r\n"],
            vec![b"SET", &key, &long],
            vec![b"AUTH", b"secret"],
            vec![
                b"HELLO", b"3", b"AUTH", b"default", b"secret", b"SETNAME", b"n",
            ],
            vec![b"a"; 32],
        ] {
            let mut command = format!("*{}\r\n", arguments.len()).into_bytes();
            for argument in &arguments {
                reply::bulk(&mut command, argument);
            }
            let bytes_max = 1024;
            assert!(Entry::is_in_first_bytes(&command, &arguments, bytes_max));
            let first = &command[..command.len().min(bytes_max)];
            assert_eq!(Entry::cut_off_bytes(first), Entry::cut_off(&arguments));
        }
        assert!(!Entry::is_in_first_bytes(
            &long,
            &[b"x".as_slice(); 33],
            4096
        ));
        for arguments in [[b"SET".as_slice(), &long, b"a"], [b"SET", b"a", &long]] {
            let mut command = b"*3\r\n".to_vec();
            for argument in arguments {
                reply::bulk(&mut command, argument);
            }
            let is_short = arguments[1].len() < 1000;
            assert_eq!(
                Entry::is_in_first_bytes(&command, &arguments, 1024),
                is_short
            );
        }
    }

    /// An operator who finds an EXEC in the log wants to know what it did, and a password must not be there to be read.
    #[test]
    fn transactions_show_their_commands_and_passwords_are_left_out() {
        let long = vec![b'v'; 300];
        let commands = [vec![b"SET".as_slice(), b"a", &long], vec![b"GET", b"a"]];
        let entry = Entry::of_transaction(2, commands.iter().cloned());
        assert_eq!(entry[0], b"EXEC");
        assert!(entry[1].starts_with(b"SET a vvv") && entry[1].ends_with(b"v... (178 more bytes)"));
        assert_eq!(entry[2], b"GET a");
        let many = std::iter::repeat_n(vec![b"PING".as_slice()], 100);
        let entry = Entry::of_transaction(100, many);
        assert_eq!(entry.len(), ARGUMENTS_MAX);
        assert_eq!(entry.last().unwrap(), b"... (70 more commands)");
        let cut = Entry::cut_off(&[b"auth", b"default", b"secret"]);
        assert_eq!(cut[1..], [b"(redacted)", b"(redacted)"]);
    }

    /// Tools read an entry's fields by their places.
    #[test]
    fn entries_are_written_as_redis_writes_them() {
        let mut slowlog = Slowlog::new(0, 10, 1, 2);
        slowlog.note(entry(11));
        let mut out = Vec::new();
        write(&mut out, slowlog.newest(10));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "*1\r\n*6\r\n:1\r\n:1\r\n:11\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n$9\r\n1.2.3.4:5\r\n$6\r\nworker\r\n"
        );
    }
}
