//! Commands on the keys of a family, as bytes and as what chance makes of them.

use std::rc::Rc;

use super::super::random::Random;

/// Keys of a family: few, so that clients meet.
pub(super) const KEYS: usize = 4;
/// Of these, the first ones mostly hold numbers.
const COUNTERS: u64 = 2;
/// A time to live that is not over in any run, in milliseconds.
const LONG_MS: u64 = 1_000_000_000;

/// A key of a family.
pub(super) type Key = u8;

/// When a value that is set expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expires {
    Never,
    Keep,
    Millis(u64),
    Seconds(u64),
}

/// SET's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    Always,
    IfAbsent,
    IfPresent,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Get(Key),
    Pttl(Key),
    Set {
        key: Key,
        value: Rc<str>,
        expires: Expires,
        only: Only,
        get: bool,
    },
    GetDel(Key),
    GetEx(Key, Expires),
    Append(Key, Rc<str>),
    IncrBy(Key, i64),
    /// Some keys. Outside a transaction each is deleted on its own.
    Del(Vec<Key>),
    /// Outside a transaction each is read on its own.
    MGet(Vec<Key>),
    MSet(Vec<(Key, Rc<str>)>),
    MSetNx(Vec<(Key, Rc<str>)>),
    Rename {
        from: Key,
        to: Key,
        if_absent: bool,
    },
    Copy {
        from: Key,
        to: Key,
        replace: bool,
    },
}

impl Command {
    /// The keys that it is about, a bit each.
    pub(super) fn keys(&self) -> u8 {
        match self {
            Command::Get(key)
            | Command::Pttl(key)
            | Command::Set { key, .. }
            | Command::GetDel(key)
            | Command::GetEx(key, _)
            | Command::Append(key, _)
            | Command::IncrBy(key, _) => 1 << key,
            Command::Del(keys) | Command::MGet(keys) => {
                keys.iter().fold(0, |all, key| all | 1 << key)
            }
            Command::MSet(pairs) | Command::MSetNx(pairs) => {
                pairs.iter().fold(0, |all, (key, _)| all | 1 << key)
            }
            Command::Rename { from, to, .. } | Command::Copy { from, to, .. } => {
                1 << from | 1 << to
            }
        }
    }

    /// Whether it can't change anything.
    pub(super) fn only_reads(&self) -> bool {
        matches!(
            self,
            Command::Get(_)
                | Command::Pttl(_)
                | Command::MGet(_)
                | Command::GetEx(_, Expires::Keep)
        )
    }

    /// As a client sends it, with the keys' names.
    pub(super) fn arguments(&self, names: &[String; KEYS]) -> Vec<String> {
        let name = |key: &Key| names[usize::from(*key)].clone();
        let word = |word: &str| word.to_owned();
        match self {
            Command::Get(key) => vec![word("GET"), name(key)],
            Command::Pttl(key) => vec![word("PTTL"), name(key)],
            Command::Set {
                key,
                value,
                expires,
                only,
                get,
            } => {
                let mut arguments = vec![word("SET"), name(key), value.to_string()];
                arguments.extend(match only {
                    Only::Always => None,
                    Only::IfAbsent => Some(word("NX")),
                    Only::IfPresent => Some(word("XX")),
                });
                arguments.extend(get.then(|| word("GET")));
                match expires {
                    Expires::Never => {}
                    Expires::Keep => arguments.push(word("KEEPTTL")),
                    Expires::Millis(number) => arguments.extend([word("PX"), number.to_string()]),
                    Expires::Seconds(number) => arguments.extend([word("EX"), number.to_string()]),
                }
                arguments
            }
            Command::GetDel(key) => vec![word("GETDEL"), name(key)],
            Command::GetEx(key, expires) => {
                let mut arguments = vec![word("GETEX"), name(key)];
                match expires {
                    Expires::Keep => {}
                    Expires::Never => arguments.push(word("PERSIST")),
                    Expires::Millis(number) => arguments.extend([word("PX"), number.to_string()]),
                    Expires::Seconds(number) => arguments.extend([word("EX"), number.to_string()]),
                }
                arguments
            }
            Command::Append(key, value) => vec![word("APPEND"), name(key), value.to_string()],
            Command::IncrBy(key, by) => vec![word("INCRBY"), name(key), by.to_string()],
            Command::Del(keys) => [word("DEL")]
                .into_iter()
                .chain(keys.iter().map(name))
                .collect(),
            Command::MGet(keys) => [word("MGET")]
                .into_iter()
                .chain(keys.iter().map(name))
                .collect(),
            Command::MSet(pairs) | Command::MSetNx(pairs) => {
                let first = match self {
                    Command::MSet(_) => "MSET",
                    _ => "MSETNX",
                };
                let pairs = pairs
                    .iter()
                    .flat_map(|(key, value)| [name(key), value.to_string()]);
                [word(first)].into_iter().chain(pairs).collect()
            }
            Command::Rename {
                from,
                to,
                if_absent,
            } => {
                let first = if *if_absent { "RENAMENX" } else { "RENAME" };
                vec![word(first), name(from), name(to)]
            }
            Command::Copy { from, to, replace } => {
                let mut arguments = vec![word("COPY"), name(from), name(to)];
                arguments.extend(replace.then(|| word("REPLACE")));
                arguments
            }
        }
    }
}

/// Makes commands by chance.
#[derive(Debug)]
pub(super) struct Chooser {
    /// Numbers what is written, so that each value says who wrote it.
    writer: u64,
    /// Longest value, in bytes.
    value_len_max: u64,
    /// Longest of the times to live that may be over in a run, in milliseconds; 0: there are none.
    ttl_ms_max: u64,
}

impl Chooser {
    pub(super) fn new(value_len_max: u64, ttl_ms_max: u64) -> Chooser {
        Chooser {
            writer: 0,
            value_len_max,
            ttl_ms_max,
        }
    }

    /// Text that nobody else writes.
    fn text(&mut self, random: &mut Random, len_max: u64) -> Rc<str> {
        self.writer += 1;
        let mut text = format!("w{}:", self.writer);
        for place in 0..random.skewed(len_max) {
            let letter = (self.writer + place * place + place) % 26;
            text.push(char::from(b'a' + letter as u8));
        }
        text.into()
    }

    fn value(&mut self, random: &mut Random, key: Key) -> Rc<str> {
        if u64::from(key) < COUNTERS && random.percent(80) {
            self.writer += 1;
            return (self.writer * 1_000_000).to_string().into();
        }
        self.text(random, self.value_len_max)
    }

    fn key(random: &mut Random) -> Key {
        random.index(KEYS) as Key
    }

    /// Two or three keys, or all.
    pub(super) fn some_keys(random: &mut Random) -> Vec<Key> {
        let mut keys: Vec<Key> = (0..KEYS as Key).collect();
        while keys.len() > 2 && random.percent(60) {
            keys.remove(random.index(keys.len()));
        }
        keys
    }

    fn expires(&self, random: &mut Random) -> Expires {
        match random.below(6) {
            0 if self.ttl_ms_max > 0 => Expires::Millis(random.between(1, self.ttl_ms_max)),
            1 => Expires::Keep,
            2 => Expires::Millis(LONG_MS + random.below(1000)),
            3 => Expires::Seconds(LONG_MS / 1000),
            _ => Expires::Never,
        }
    }

    fn pairs(&mut self, random: &mut Random) -> Vec<(Key, Rc<str>)> {
        let keys = Chooser::some_keys(random);
        keys.into_iter()
            .map(|key| (key, self.value(random, key)))
            .collect()
    }

    /// A command outside a transaction.
    pub(super) fn alone(&mut self, random: &mut Random) -> Command {
        let from = Chooser::key(random);
        let to = (from + random.between(1, KEYS as u64 - 1) as Key) % KEYS as Key;
        match random.below(100) {
            0..10 => Command::MSet(self.pairs(random)),
            10..16 => Command::MSetNx(self.pairs(random)),
            16..26 => Command::MGet(Chooser::some_keys(random)),
            26..34 => Command::Del(Chooser::some_keys(random)),
            34..42 => Command::Rename {
                from,
                to,
                if_absent: random.one_in(2),
            },
            42..50 => Command::Copy {
                from,
                to,
                replace: random.one_in(2),
            },
            _ => self.of_one_key(random),
        }
    }

    /// A command that may stand in a transaction. `moves`: the keys are of one shard for sure.
    pub(super) fn inside(&mut self, random: &mut Random, moves: bool) -> Command {
        match random.below(100) {
            0..15 => Command::MSet(self.pairs(random)),
            15..40 => Command::MGet(Chooser::some_keys(random)),
            40..45 => Command::Del(Chooser::some_keys(random)),
            45..55 if moves => {
                let from = Chooser::key(random);
                Command::Rename {
                    from,
                    to: (from + 1) % KEYS as Key,
                    if_absent: random.one_in(2),
                }
            }
            _ => self.of_one_key(random),
        }
    }

    fn of_one_key(&mut self, random: &mut Random) -> Command {
        let key = Chooser::key(random);
        match random.below(100) {
            0..30 => Command::Get(key),
            30..35 => Command::Pttl(key),
            35..42 => Command::GetDel(key),
            42..50 => Command::GetEx(key, self.expires(random)),
            50..60 => Command::Append(key, self.text(random, 20)),
            60..75 => Command::IncrBy(key, random.between(1, 1000) as i64),
            75..79 => Command::Del(vec![key]),
            _ => Command::Set {
                key,
                value: self.value(random, key),
                expires: self.expires(random),
                only: match random.below(4) {
                    0 => Only::IfAbsent,
                    1 => Only::IfPresent,
                    _ => Only::Always,
                },
                get: random.one_in(3),
            },
        }
    }
}
