//! What a client asks, and how it turns into a request of the protocol.

use corduroy_proto_wire::{
    BatchItem, Condition, Cursor, Delete, Expiry, ExpiryCondition, Put, Request, Ttl,
};

use super::value::{Piece, Value};

/// A key of the simulated world, by its number.
pub(super) type KeyNumber = u16;

/// When a write may happen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum When {
    Always,
    IfAbsent,
    IfPresent,
    IfVersion(u64),
    IfValue(Value),
}

/// One thing done to one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    Get,
    Exists,
    Ttl,
    ExpiresAt,
    Put {
        value: Value,
        ttl: Ttl,
        when: When,
        return_value: bool,
    },
    Delete {
        when: When,
        return_value: bool,
    },
    Touch(u64),
    Persist,
    Expire {
        expiry: Expiry,
        condition: ExpiryCondition,
        return_value: bool,
    },
    Add(i64),
    /// In the arithmetic of numbers with a fraction, of which counters have none.
    AddFloat(i64),
    Append(Piece),
    /// Writes over the first byte of a counter, with a digit from 1 to 9: what comes of it is a counter.
    Overwrite(u8),
    /// A scan that was at the key's place and did not show it.
    Missed,
}

impl Act {
    /// Whether it may log the value again that is there, at another version.
    pub(super) fn rewrites(&self) -> bool {
        matches!(
            self,
            Act::Touch(_) | Act::Persist | Act::Expire { .. } | Act::Overwrite(_)
        )
    }

    /// Whether it may take a key away, at once or later.
    pub(super) fn removes(&self) -> bool {
        match self {
            Act::Delete { .. } | Act::Touch(_) | Act::Expire { .. } => true,
            Act::Put { ttl, .. } => *ttl != Ttl::None,
            _ => false,
        }
    }

    pub(super) fn is_write(&self) -> bool {
        !matches!(
            self,
            Act::Get | Act::Exists | Act::Ttl | Act::ExpiresAt | Act::Missed
        )
    }
}

/// One request of a client.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    One(KeyNumber, Act),
    Batch(Vec<(KeyNumber, Act)>),
    Atomic(Vec<(KeyNumber, Act)>),
    Scan {
        prefix: &'static str,
        cursor: Cursor,
        limit: u32,
        with_values: bool,
    },
    Count,
    Flush,
    Status,
    Compact,
    Ping(usize),
    Create(String, u16),
    Drop(String),
    List,
}

/// The keys of a world: some alone, some in groups that share a partition, one in five a counter.
#[derive(Debug)]
pub(super) struct Keys {
    names: Vec<String>,
}

impl Keys {
    pub(super) fn new(count: usize) -> Keys {
        let name = |number: usize| match number % 5 {
            0 => format!("c{number}"),
            1 | 2 => format!("{{g{}}}-{number}", number / 10),
            _ => format!("k{number}"),
        };
        Keys {
            names: (0..count).map(name).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn name(&self, key: KeyNumber) -> &str {
        &self.names[usize::from(key)]
    }

    pub(super) fn number(&self, name: &[u8]) -> Option<KeyNumber> {
        let found = self.names.iter().position(|known| known.as_bytes() == name);
        found.map(|number| number as KeyNumber)
    }

    pub(super) fn is_counter(key: KeyNumber) -> bool {
        key.is_multiple_of(5)
    }

    /// Keys that share a partition with this one, itself included.
    pub(super) fn group(&self, key: KeyNumber) -> Vec<KeyNumber> {
        let tag = |key: KeyNumber| {
            self.name(key)
                .split('}')
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        if !self.name(key).starts_with('{') {
            return vec![key];
        }
        (0..self.len() as KeyNumber)
            .filter(|other| self.name(*other).starts_with('{') && tag(*other) == tag(key))
            .collect()
    }
}

/// The bytes that an act refers to, kept so that a request can borrow them.
#[derive(Default)]
struct Bytes {
    value: Vec<u8>,
    expected: Vec<u8>,
}

impl Bytes {
    fn of(act: &Act) -> Bytes {
        let expected = |when: &When| match when {
            When::IfValue(value) => value.render(),
            _ => Vec::new(),
        };
        match act {
            Act::Put { value, when, .. } => Bytes {
                value: value.render(),
                expected: expected(when),
            },
            Act::Delete { when, .. } => Bytes {
                value: Vec::new(),
                expected: expected(when),
            },
            Act::AddFloat(increment) => Bytes {
                value: increment.to_string().into_bytes(),
                expected: Vec::new(),
            },
            Act::Overwrite(digit) => Bytes {
                value: vec![*digit],
                expected: Vec::new(),
            },
            Act::Append(piece) => Bytes {
                value: Value::Pieces(vec![*piece]).render(),
                expected: Vec::new(),
            },
            _ => Bytes::default(),
        }
    }
}

fn condition<'a>(when: &When, bytes: &'a Bytes) -> Condition<'a> {
    match when {
        When::Always => Condition::Always,
        When::IfAbsent => Condition::IfAbsent,
        When::IfPresent => Condition::IfPresent,
        When::IfVersion(version) => Condition::IfVersion(*version),
        When::IfValue(_) => Condition::IfValue(&bytes.expected),
    }
}

fn item<'a>(key: &'a [u8], act: &Act, bytes: &'a Bytes) -> BatchItem<'a> {
    match act {
        Act::Put {
            ttl,
            when,
            return_value,
            ..
        } => BatchItem::Put(Put {
            key,
            value: &bytes.value,
            ttl: *ttl,
            condition: condition(when, bytes),
            return_value: *return_value,
        }),
        Act::Delete { when, return_value } => BatchItem::Delete(Delete {
            key,
            condition: condition(when, bytes),
            return_value: *return_value,
        }),
        _ => BatchItem::Get { key },
    }
}

impl Action {
    /// Appends the request's frame.
    pub(super) fn encode(&self, id: u32, keyspace: u32, keys: &Keys, out: &mut Vec<u8>) {
        match self {
            Action::One(number, act) => {
                let key = keys.name(*number).as_bytes();
                let bytes = Bytes::of(act);
                let request = match act {
                    Act::Get | Act::Missed => Request::Get { keyspace, key },
                    Act::Exists => Request::Exists { keyspace, key },
                    Act::Ttl => Request::Ttl { keyspace, key },
                    Act::ExpiresAt => Request::ExpiresAt { keyspace, key },
                    Act::Persist => Request::Persist { keyspace, key },
                    Act::Expire {
                        expiry,
                        condition,
                        return_value,
                    } => Request::Expire {
                        keyspace,
                        key,
                        expiry: *expiry,
                        condition: *condition,
                        return_value: *return_value,
                    },
                    Act::AddFloat(_) => Request::AddFloat {
                        keyspace,
                        key,
                        increment: &bytes.value,
                    },
                    Act::Overwrite(_) => Request::Overwrite {
                        keyspace,
                        key,
                        offset: 0,
                        bytes: &bytes.value,
                    },
                    Act::Touch(ttl_ms) => Request::Touch {
                        keyspace,
                        key,
                        ttl_ms: *ttl_ms,
                    },
                    Act::Add(delta) => Request::Add {
                        keyspace,
                        key,
                        delta: *delta,
                    },
                    Act::Append(_) => Request::Append {
                        keyspace,
                        key,
                        suffix: &bytes.value,
                    },
                    Act::Put { .. } | Act::Delete { .. } => match item(key, act, &bytes) {
                        BatchItem::Put(put) => Request::Put { keyspace, put },
                        BatchItem::Delete(delete) => Request::Delete { keyspace, delete },
                        BatchItem::Get { key } => Request::Get { keyspace, key },
                    },
                };
                request.encode(id, out);
            }
            Action::Batch(acts) | Action::Atomic(acts) => {
                let bytes: Vec<Bytes> = acts.iter().map(|(_, act)| Bytes::of(act)).collect();
                let items = acts.iter().zip(&bytes);
                let items = items
                    .map(|((key, act), bytes)| item(keys.name(*key).as_bytes(), act, bytes))
                    .collect();
                let request = match self {
                    Action::Atomic(_) => Request::AtomicBatch { keyspace, items },
                    _ => Request::Batch { keyspace, items },
                };
                request.encode(id, out);
            }
            Action::Scan {
                prefix,
                cursor,
                limit,
                with_values,
            } => Request::Scan {
                keyspace,
                prefix: prefix.as_bytes(),
                cursor: *cursor,
                limit: *limit,
                with_values: *with_values,
            }
            .encode(id, out),
            Action::Count => Request::Count { keyspace }.encode(id, out),
            Action::Flush => Request::Flush { keyspace }.encode(id, out),
            Action::Status => Request::Status.encode(id, out),
            Action::Compact => Request::Compact.encode(id, out),
            Action::Ping(len) => Request::Ping {
                payload: &vec![7; *len],
            }
            .encode(id, out),
            Action::Create(name, partitions) => Request::KeyspaceCreate {
                name,
                partitions: *partitions,
            }
            .encode(id, out),
            Action::Drop(name) => Request::KeyspaceDrop { name }.encode(id, out),
            Action::List => Request::KeyspaceList.encode(id, out),
        }
    }
}
