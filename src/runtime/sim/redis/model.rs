//! What commands do to a family of keys, and which replies they have: Redis as this simulator knows it.
//!
//! A state is what the keys hold, what connections watch, and what is left of commands that take effect key by key. Carrying a command out
//! gives the states in which the reply is right: none if it is wrong, and more than one only where a key's time may be over or not.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::command::{Command, Expires, KEYS, Key, Only};
use super::reply::Reply;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) value: Rc<str>,
    /// The earliest and the latest moment at which it may expire, in milliseconds.
    pub(super) expires: Option<(u64, u64)>,
}

impl Hash for Held {
    /// Values that differ do so at their beginning, which says who wrote them, or in their length.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.value.as_bytes()[..self.value.len().min(16)].hash(hasher);
        (self.value.len(), self.expires).hash(hasher);
    }
}

/// What a connection remembers of a watched key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watched {
    was_there: bool,
    is_changed: bool,
}

/// A command whose keys are deleted one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Share {
    left: usize,
    deleted: i64,
}

/// See the module's header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) keys: [Option<Held>; KEYS],
    watched: BTreeMap<(u32, Key), Watched>,
    shares: BTreeMap<u32, Share>,
    /// Keys of a transaction that the node's death cut in two: held until then, a bit each.
    pub(super) stuck: u8,
}

/// What the wall clock may have shown when a command was carried out, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) low: u64,
    pub(super) high: u64,
}

/// What one request does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A command.
    One(Command),
    /// EXEC, with what else was watched.
    Exec { commands: Vec<Command>, watched: u8 },
    /// WATCH, of one key.
    Watch(Key),
    /// One key of a DEL with this number, which has so many.
    Share { key: Key, group: u32, of: usize },
}

impl Deed {
    /// The keys that it is about, a bit each.
    pub(super) fn keys(&self) -> u8 {
        match self {
            Deed::One(command) => command.keys(),
            Deed::Exec { commands, watched } => commands
                .iter()
                .fold(*watched, |all, command| all | command.keys()),
            Deed::Watch(key) | Deed::Share { key, .. } => 1 << key,
        }
    }

    /// Whether it can't change anything. An EXEC ends its connection's watches, and what the connection sends next goes by that.
    pub(super) fn only_reads(&self) -> bool {
        match self {
            Deed::One(command) => command.only_reads(),
            Deed::Exec { commands, watched } => {
                *watched == 0 && commands.iter().all(Command::only_reads)
            }
            Deed::Watch(_) => true,
            Deed::Share { .. } => false,
        }
    }
}

/// What a reply must be.
enum Right {
    Exactly(Reply),
    /// Milliseconds that are left, from and to.
    Left(i64, i64),
    /// An error that begins so.
    Error(&'static str),
}

impl Right {
    fn is(&self, reply: &Reply) -> bool {
        match (self, reply) {
            (Right::Exactly(right), reply) => right == reply,
            (Right::Left(low, high), Reply::Number(left)) => {
                (&0..=high).contains(&left) && low <= left
            }
            (Right::Error(begins), Reply::Error(text)) => text.starts_with(begins),
            _ => false,
        }
    }
}

/// Bounds of the node that replies depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) value_len_max: usize,
}

impl State {
    /// One in which the keys hold this.
    pub(super) fn of(keys: [Option<Held>; KEYS]) -> State {
        State {
            keys,
            ..State::default()
        }
    }

    /// The states after a deed of a connection to which this is the right reply; any is if there was none.
    pub(super) fn after(
        &self,
        connection: u32,
        deed: &Deed,
        reply: Option<&Reply>,
        clock: Clock,
        bounds: Bounds,
    ) -> Vec<State> {
        let mut states = vec![self.clone()];
        for key in (0..KEYS as Key).filter(|key| deed.keys() & 1 << key != 0) {
            states = states
                .iter()
                .flat_map(|state| state.in_time(key, clock))
                .collect();
        }
        states.retain_mut(|state| state.does(connection, deed, reply, clock, bounds));
        states
    }

    /// With the key still there, or its time over, as far as the clock allows each.
    fn in_time(&self, key: Key, clock: Clock) -> Vec<State> {
        let held = &self.keys[usize::from(key)];
        let Some((earliest, latest)) = held.as_ref().and_then(|held| held.expires) else {
            return vec![self.clone()];
        };
        let mut states = Vec::new();
        if clock.low < latest {
            states.push(self.clone());
        }
        if earliest <= clock.high {
            let mut gone = self.clone();
            gone.keys[usize::from(key)] = None;
            states.push(gone);
        }
        states
    }

    fn does(
        &mut self,
        connection: u32,
        deed: &Deed,
        reply: Option<&Reply>,
        clock: Clock,
        bounds: Bounds,
    ) -> bool {
        match deed {
            Deed::One(command) => {
                let right = self.command(command, clock, bounds);
                reply.is_none_or(|reply| right.is(reply))
            }
            Deed::Watch(key) => {
                let watched = Watched {
                    was_there: self.is_there(*key),
                    is_changed: false,
                };
                self.watched.entry((connection, *key)).or_insert(watched);
                true
            }
            Deed::Share { key, group, of } => {
                let deleted = i64::from(self.is_there(*key));
                self.write(*key, None);
                let share = self.shares.entry(*group).or_insert(Share {
                    left: *of,
                    deleted: 0,
                });
                share.left -= 1;
                share.deleted += deleted;
                let share = *share;
                if share.left > 0 {
                    return true;
                }
                self.shares.remove(group);
                reply.is_none_or(|reply| *reply == Reply::Number(share.deleted))
            }
            Deed::Exec { commands, .. } => {
                let holds = self.watch_holds(connection);
                self.watched
                    .retain(|(watcher, _), _| *watcher != connection);
                if !holds {
                    return reply.is_none_or(|reply| *reply == Reply::NoArray);
                }
                let rights: Vec<Right> = commands
                    .iter()
                    .map(|command| self.command(command, clock, bounds))
                    .collect();
                match reply {
                    None => true,
                    Some(Reply::Array(parts)) => {
                        let mut pairs = rights.iter().zip(parts);
                        rights.len() == parts.len() && pairs.all(|(right, part)| right.is(part))
                    }
                    Some(_) => false,
                }
            }
        }
    }

    /// Whether nothing that the connection watches has changed. A key that was not there, came and went is as it was.
    fn watch_holds(&self, connection: u32) -> bool {
        let mut own = self
            .watched
            .iter()
            .filter(|((watcher, _), _)| *watcher == connection);
        own.all(|((_, key), watched)| {
            watched.was_there == self.is_there(*key) && !(watched.was_there && watched.is_changed)
        })
    }

    fn is_there(&self, key: Key) -> bool {
        self.keys[usize::from(key)].is_some()
    }

    fn value(&self, key: Key) -> Option<&Rc<str>> {
        self.keys[usize::from(key)].as_ref().map(|held| &held.value)
    }

    fn bulk(&self, key: Key) -> Reply {
        Reply::Bulk(self.value(key).map(|value| value.to_string()))
    }

    fn expires(&self, key: Key) -> Option<(u64, u64)> {
        self.keys[usize::from(key)]
            .as_ref()
            .and_then(|held| held.expires)
    }

    fn write(&mut self, key: Key, held: Option<Held>) {
        let place = &mut self.keys[usize::from(key)];
        if place.is_none() && held.is_none() {
            return;
        }
        *place = held;
        for ((_, watched_key), watched) in &mut self.watched {
            watched.is_changed |= *watched_key == key;
        }
    }

    fn expiry(&self, key: Key, expires: Expires, clock: Clock) -> Option<(u64, u64)> {
        let from_now = |millis: u64| Some((clock.low + millis, clock.high + millis));
        match expires {
            Expires::Never => None,
            Expires::Keep => self.expires(key),
            Expires::Millis(millis) => from_now(millis),
            Expires::Seconds(seconds) => from_now(seconds * 1000),
        }
    }

    fn command(&mut self, command: &Command, clock: Clock, bounds: Bounds) -> Right {
        let ok = || Reply::Simple("OK".to_owned());
        let flag = |done: bool| Right::Exactly(Reply::Number(i64::from(done)));
        match command {
            Command::Get(key) => Right::Exactly(self.bulk(*key)),
            Command::Pttl(key) => match (self.is_there(*key), self.expires(*key)) {
                (false, _) => Right::Exactly(Reply::Number(-2)),
                (true, None) => Right::Exactly(Reply::Number(-1)),
                (true, Some((earliest, latest))) => Right::Left(
                    earliest as i64 - clock.high as i64,
                    latest as i64 - clock.low as i64,
                ),
            },
            Command::Set {
                key,
                value,
                expires,
                only,
                get,
            } => {
                let before = self.bulk(*key);
                let sets = match only {
                    Only::Always => true,
                    Only::IfAbsent => !self.is_there(*key),
                    Only::IfPresent => self.is_there(*key),
                };
                if sets {
                    let expires = self.expiry(*key, *expires, clock);
                    let value = value.clone();
                    self.write(*key, Some(Held { value, expires }));
                }
                Right::Exactly(match (get, sets) {
                    (true, _) => before,
                    (false, true) => ok(),
                    (false, false) => Reply::Bulk(None),
                })
            }
            Command::GetDel(key) => {
                let before = self.bulk(*key);
                self.write(*key, None);
                Right::Exactly(before)
            }
            Command::GetEx(key, expires) => {
                let before = self.bulk(*key);
                // PERSIST writes nothing where there is no expiry.
                let writes = match expires {
                    Expires::Keep => false,
                    Expires::Never => self.expires(*key).is_some(),
                    _ => true,
                };
                if let Some(value) = self.value(*key).cloned().filter(|_| writes) {
                    let expires = self.expiry(*key, *expires, clock);
                    self.write(*key, Some(Held { value, expires }));
                }
                Right::Exactly(before)
            }
            Command::Append(key, suffix) => {
                let value = format!("{}{suffix}", self.value(*key).map_or("", |value| value));
                if value.len() > bounds.value_len_max {
                    return Right::Error("ERR");
                }
                let len = value.len() as i64;
                let (value, expires) = (value.into(), self.expires(*key));
                self.write(*key, Some(Held { value, expires }));
                Right::Exactly(Reply::Number(len))
            }
            Command::IncrBy(key, by) => {
                let Ok(number) = self.value(*key).map_or("0", |value| value).parse::<i64>() else {
                    return Right::Error("ERR value is not an integer");
                };
                let (value, expires) = ((number + by).to_string().into(), self.expires(*key));
                self.write(*key, Some(Held { value, expires }));
                Right::Exactly(Reply::Number(number + by))
            }
            Command::Del(keys) => {
                let deleted = keys.iter().filter(|key| self.is_there(**key)).count();
                keys.iter().for_each(|key| self.write(*key, None));
                Right::Exactly(Reply::Number(deleted as i64))
            }
            Command::MGet(keys) => Right::Exactly(Reply::Array(
                keys.iter().map(|key| self.bulk(*key)).collect(),
            )),
            Command::MSet(pairs) => {
                self.set_all(pairs);
                Right::Exactly(ok())
            }
            Command::MSetNx(pairs) => {
                let sets = !pairs.iter().any(|(key, _)| self.is_there(*key));
                if sets {
                    self.set_all(pairs);
                }
                flag(sets)
            }
            Command::Rename {
                from,
                to,
                if_absent,
            } => {
                let Some(held) = self.keys[usize::from(*from)].clone() else {
                    return Right::Error("ERR no such key");
                };
                let moves = !(*if_absent && self.is_there(*to));
                if moves {
                    self.write(*to, Some(held));
                    self.write(*from, None);
                }
                match if_absent {
                    true => flag(moves),
                    false => Right::Exactly(ok()),
                }
            }
            Command::Copy { from, to, replace } => {
                let held = self.keys[usize::from(*from)].clone();
                let copies = held.is_some() && (*replace || !self.is_there(*to));
                if copies {
                    self.write(*to, held);
                }
                flag(copies)
            }
        }
    }

    fn set_all(&mut self, pairs: &[(Key, Rc<str>)]) {
        for (key, value) in pairs {
            let value = value.clone();
            let held = Held {
                value,
                expires: None,
            };
            self.write(*key, Some(held));
        }
    }
}
