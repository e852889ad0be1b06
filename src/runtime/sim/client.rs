//! The clients: each sends what chance makes of its world's habits, and holds every answer against the protocol.

use std::collections::{BTreeMap, VecDeque};

use corduroy_proto_wire::{
    Body, Cursor, Expiry, ExpiryCondition, ItemResult, Response, Status, Ttl,
};

use super::action::{Act, Action, KeyNumber, Keys, When};
use super::catalog::ChangeId;
use super::habits::Habits;
use super::history::{EntryId, History, Outcome, Place, Time};
use super::random::Random;
use super::value::{PIECE_LEN_MIN, Piece, Value};

/// Less is little memory for a shard, in bytes.
const LITTLE_MEMORY: u64 = 3 << 20;

/// A request that was sent and not answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) action: Action,
    /// Where its keys are.
    pub(super) keyspace: u32,
    /// One for each key that it names, in their order.
    pub(super) entries: Vec<EntryId>,
    pub(super) invoked: Time,
    /// Which change of the keyspaces it is.
    pub(super) change: Option<ChangeId>,
    /// Which flush of the history it is.
    pub(super) flush: Option<usize>,
}

/// A scan that is under way, page by page.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) keyspace: u32,
    pub(super) prefix: &'static str,
    pub(super) cursor: Cursor,
    pub(super) began: Time,
    pub(super) seen: Vec<KeyNumber>,
    pub(super) with_values: bool,
    /// A page has been asked for.
    pub(super) is_asked: bool,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) random: Random,
    /// Its connection, if it has one.
    pub(super) pipe: Option<u32>,
    pub(super) is_open: bool,
    /// It is going to do something.
    pub(super) is_awake: bool,
    pub(super) pending: BTreeMap<u32, Pending>,
    pub(super) request_next: u32,
    pub(super) input: Vec<u8>,
    /// Most requests that it leaves unanswered.
    pub(super) depth: usize,
    pub(super) scan: Option<Scan>,
    /// What it has to do; then nothing. Chance decides if there is no script.
    pub(super) script: Option<VecDeque<(u32, Action)>>,
    /// It reads nothing until then.
    pub(super) stalls_until: Time,
}

impl Client {
    pub(super) fn new(random: Random, depth: usize) -> Client {
        Client {
            random,
            pipe: None,
            is_open: false,
            is_awake: false,
            pending: BTreeMap::new(),
            request_next: 1,
            input: Vec::new(),
            depth,
            scan: None,
            script: None,
            stalls_until: 0,
        }
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self) {
        self.pipe = None;
        self.is_open = false;
        self.pending.clear();
        self.input.clear();
        if let Some(scan) = &mut self.scan {
            scan.is_asked = false;
        }
    }

    /// What it asks next, and of which keyspace: of the default one, or of the one given.
    pub(super) fn choose(
        &mut self,
        habits: &Habits,
        keys: &Keys,
        history: &History,
        keyspace: u32,
        writer: &mut u32,
        now: Time,
    ) -> Option<(u32, Action)> {
        if let Some(script) = &mut self.script {
            return script.pop_front();
        }
        let random = &mut self.random;
        if let Some(scan) = &mut self.scan
            && !scan.is_asked
            && random.percent(40)
        {
            scan.is_asked = true;
            let action = Action::Scan {
                prefix: scan.prefix,
                cursor: scan.cursor,
                limit: 1 + random.skewed(30) as u32,
                with_values: scan.with_values,
            };
            return Some((scan.keyspace, action));
        }
        let kind = habits.kind(random);
        let mut chooser = Chooser {
            random,
            habits,
            keys,
            history,
            keyspace,
            writer,
            wall_ms: history.wall.at(now),
        };
        let action = match kind {
            Kind::One => {
                let key = chooser.key();
                Action::One(key, chooser.act(key))
            }
            Kind::Batch => Action::Batch(chooser.batch()),
            Kind::Atomic => Action::Atomic(chooser.atomic()),
            Kind::Scan if self.scan.is_none() => {
                let scan = Scan {
                    keyspace,
                    prefix: ["", "k", "c", "{g0}", "{g"][self.random.index(5)],
                    cursor: Cursor::START,
                    began: now,
                    seen: Vec::new(),
                    with_values: self.random.percent(50),
                    is_asked: true,
                };
                let action = Action::Scan {
                    prefix: scan.prefix,
                    cursor: scan.cursor,
                    limit: 1 + self.random.skewed(30) as u32,
                    with_values: scan.with_values,
                };
                self.scan = Some(scan);
                action
            }
            Kind::Scan | Kind::Count => Action::Count,
            Kind::Flush => Action::Flush,
            Kind::Status => Action::Status,
            Kind::Compact => Action::Compact,
            Kind::Ping => Action::Ping(self.random.skewed(2000) as usize),
            Kind::List => Action::List,
            Kind::Keyspace => {
                let name = ["a", "b"][self.random.index(2)].to_owned();
                match self.random.below(4) {
                    0 => Action::List,
                    1 => Action::Drop(name),
                    _ => Action::Create(name, self.random.between(0, 9) as u16),
                }
            }
        };
        Some((keyspace, action))
    }
}

/// Kinds of requests, for the habits to weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    One,
    Batch,
    Atomic,
    Scan,
    Count,
    Flush,
    Status,
    Compact,
    Ping,
    List,
    Keyspace,
}

struct Chooser<'a> {
    random: &'a mut Random,
    habits: &'a Habits,
    keys: &'a Keys,
    history: &'a History,
    keyspace: u32,
    /// The last piece's writer.
    writer: &'a mut u32,
    /// What the wall clock shows.
    wall_ms: u64,
}

impl Chooser<'_> {
    fn key(&mut self) -> KeyNumber {
        self.random.index(self.keys.len()) as KeyNumber
    }

    fn piece(&mut self) -> Piece {
        let most = u64::from(self.habits.value_len_max) - u64::from(PIECE_LEN_MIN);
        *self.writer += 1;
        // Where there is little memory, values are large, so that it is soon over and records are read from disk.
        let len = match self.habits.memory_bytes {
            ..LITTLE_MEMORY => self.random.below(most + 1),
            _ => self.random.skewed(most + 1),
        };
        Piece {
            writer: *self.writer,
            len: PIECE_LEN_MIN + len as u32,
        }
    }

    fn ttl_ms(&mut self) -> u64 {
        1 + self.random.skewed(self.habits.ttl_ms_max)
    }

    /// A time to come, or one that has passed.
    fn expires_at_ms(&mut self) -> u64 {
        let ttl_ms = self.ttl_ms();
        if self.random.one_in(4) {
            self.wall_ms - ttl_ms
        } else {
            self.wall_ms + ttl_ms
        }
    }

    fn expire(&mut self) -> Act {
        let mut condition = [
            ExpiryCondition::Always,
            ExpiryCondition::IfNone,
            ExpiryCondition::IfSome,
            ExpiryCondition::IfLater,
            ExpiryCondition::IfEarlier,
        ][self.random.index(5)];
        let expiry = match self.random.below(4) {
            0 => Expiry::Never,
            1 => Expiry::At(self.expires_at_ms()),
            2 if self.random.one_in(4) => Expiry::Millis(0),
            _ => Expiry::Millis(self.ttl_ms()),
        };
        // Its answer would not tell whether anything changed.
        if (expiry, condition) == (Expiry::Never, ExpiryCondition::Always) {
            condition = ExpiryCondition::IfSome;
        }
        Act::Expire {
            expiry,
            condition,
            return_value: self.random.one_in(3),
        }
    }

    fn when(&mut self, key: KeyNumber) -> When {
        if !self.random.percent(self.habits.conditional_percent) {
            return When::Always;
        }
        let place = Place {
            keyspace: self.keyspace,
            key,
        };
        match (self.random.below(4), self.history.last_seen(place)) {
            (0, _) => When::IfPresent,
            (1, Some((version, _))) => When::IfVersion(version),
            (2, Some((_, Some(value)))) => When::IfValue(value),
            _ => When::IfAbsent,
        }
    }

    fn put(&mut self, key: KeyNumber) -> Act {
        let value = if Keys::is_counter(key) {
            *self.writer += 1;
            Value::Counter(i64::from(*self.writer) * 1000)
        } else if self.random.one_in(20) && !self.habits.append {
            Value::Pieces(Vec::new())
        } else {
            Value::Pieces(vec![self.piece()])
        };
        let ttl = if !self.random.percent(self.habits.ttl_percent) {
            Ttl::None
        } else if self.random.one_in(3) {
            Ttl::Keep
        } else if self.random.one_in(3) {
            Ttl::At(self.expires_at_ms())
        } else {
            Ttl::Millis(self.ttl_ms())
        };
        Act::Put {
            value,
            ttl,
            when: self.when(key),
            return_value: self.random.one_in(4),
        }
    }

    fn delete(&mut self, key: KeyNumber) -> Act {
        let when = match self.when(key) {
            When::IfAbsent => When::Always,
            when => when,
        };
        Act::Delete {
            when,
            return_value: self.random.one_in(4),
        }
    }

    fn act(&mut self, key: KeyNumber) -> Act {
        match self.random.below(100) {
            0..30 => Act::Get,
            30..33 => Act::Exists,
            33..35 => Act::Ttl,
            35..37 => Act::ExpiresAt,
            37..55 if Keys::is_counter(key) => Act::Add(self.random.below(200) as i64 - 100),
            55..70 if Keys::is_counter(key) => Act::AddFloat(self.random.below(200) as i64 - 100),
            70..75 if Keys::is_counter(key) => Act::Overwrite(b'1' + self.random.below(9) as u8),
            37..53 if self.habits.append => Act::Append(self.piece()),
            75..85 => self.delete(key),
            85..87 if self.habits.ttl_percent > 0 => Act::Touch(self.ttl_ms()),
            87..91 if self.habits.ttl_percent > 0 => self.expire(),
            91..93 if self.habits.ttl_percent > 0 => Act::Persist,
            _ => self.put(key),
        }
    }

    fn batch(&mut self) -> Vec<(KeyNumber, Act)> {
        let count = 1 + self.random.skewed(12);
        let mut acts: Vec<(KeyNumber, Act)> = Vec::new();
        for _ in 0..count {
            let key = self.key();
            let act = match self.random.below(10) {
                0..5 => Act::Get,
                5..8 => self.put(key),
                8 => self.delete(key),
                _ => Act::Get,
            };
            acts.push((key, act));
        }
        acts
    }

    fn atomic(&mut self) -> Vec<(KeyNumber, Act)> {
        let key = self.key();
        let group = self.keys.group(key);
        let conditional = self.random.percent(self.habits.conditional_percent);
        let mut acts = Vec::new();
        for key in group {
            if acts.is_empty() || self.random.percent(60) {
                let act = if self.random.percent(75) {
                    self.put(key)
                } else {
                    self.delete(key)
                };
                acts.push((key, if conditional { act } else { unconditional(act) }));
            }
        }
        acts
    }
}

fn unconditional(act: Act) -> Act {
    match act {
        Act::Put {
            value,
            ttl,
            return_value,
            ..
        } => Act::Put {
            value,
            ttl,
            when: When::Always,
            return_value,
        },
        Act::Delete { return_value, .. } => Act::Delete {
            when: When::Always,
            return_value,
        },
        act => act,
    }
}

/// What an answer to a request on one key says, or why it can't be an answer to it.
pub(super) fn outcome_of(act: &Act, response: &Response<'_>) -> Result<Outcome, String> {
    let value = match response.body {
        Body::Value(bytes) => Some(
            Value::parse(bytes)
                .ok_or_else(|| format!("nobody wrote these {} bytes", bytes.len()))?,
        ),
        _ => None,
    };
    let saw = |value, ttl_ms| Outcome::Saw {
        version: response.version,
        timestamp_ms: response.timestamp_ms,
        value,
        ttl_ms,
        expires_at_ms: None,
    };
    let expires = |value, at| Outcome::Saw {
        version: response.version,
        timestamp_ms: response.timestamp_ms,
        value,
        ttl_ms: None,
        expires_at_ms: Some(at),
    };
    match (response.status, act) {
        (Status::OutcomeUnknown, _) => Ok(Outcome::Unknown),
        (status, _) if status.is_error() => Ok(Outcome::Refused),
        (Status::NotFound, _) => Ok(Outcome::Absent),
        (Status::ConditionFailed, _) if response.version == 0 => Ok(Outcome::Absent),
        (Status::ConditionFailed, _) => Ok(saw(value, None)),
        (Status::Ok, Act::Get) if value.is_none() => Err("a get without a value".to_owned()),
        (Status::Ok, Act::Get | Act::Exists | Act::Missed) => Ok(saw(value, None)),
        (Status::Ok, Act::ExpiresAt) => match response.body {
            Body::Ttl(at) => Ok(expires(None, at)),
            _ => Err("an expiry without a time".to_owned()),
        },
        // It had no expiry and got none.
        (
            Status::Ok,
            Act::Expire {
                expiry: Expiry::Never,
                condition: ExpiryCondition::IfNone,
                ..
            },
        ) => Ok(expires(value, None)),
        // A value that was past its time, where there was none.
        (
            Status::Ok,
            Act::Put {
                ttl: Ttl::At(_), ..
            },
        ) if response.version == 0 => Ok(Outcome::Absent),
        (Status::Ok, Act::AddFloat(_)) => match value {
            Some(Value::Counter(sum)) => Ok(Outcome::Wrote {
                version: response.version,
                timestamp_ms: response.timestamp_ms,
                old: None,
                number: Some(sum),
            }),
            other => Err(format!("a sum came as {other:?}")),
        },
        (Status::Ok, Act::Ttl) => match response.body {
            Body::Ttl(left) => Ok(saw(None, Some(left))),
            _ => Err("a ttl without a time to live".to_owned()),
        },
        (_, _) => Ok(Outcome::Wrote {
            version: response.version,
            timestamp_ms: response.timestamp_ms,
            old: value,
            number: match response.body {
                Body::Counter(number) => Some(number),
                Body::Number(number) => Some(number as i64),
                _ => None,
            },
        }),
    }
}

/// The same for one operation of a batch. In an atomic batch that was not carried out, nothing was written.
pub(super) fn outcome_of_item(
    act: &Act,
    item: &ItemResult<'_>,
    carried_out: bool,
) -> Result<Outcome, String> {
    if !carried_out && item.status == Status::Ok {
        return Ok(Outcome::Refused);
    }
    let response = Response {
        status: item.status,
        version: item.version,
        timestamp_ms: item.timestamp_ms,
        body: item.value.map_or(Body::Empty, Body::Value),
    };
    outcome_of(act, &response)
}
