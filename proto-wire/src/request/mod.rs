//! What can be said of a request: its opcode, what makes it acceptable, and whether it may be sent twice.
//!
//! [`encode`] and [`decode`] hold its two directions, [`write`] the layout that a single write and an operation of a batch
//! have in common, [`unit`] what shards ask of each other.

mod decode;
mod encode;
mod unit;
mod write;

use crate::{
    ATOMIC_LEN_MAX, BACKUP_SERIES_LEN_MAX, BATCH_LEN_MAX, BatchItem, Condition, DecodeError,
    Delete, EXPIRES_AT_MS_MAX, Expiry, ExpiryCondition, Hello, INCREMENT_LEN_MAX, KEY_LEN_MAX,
    NAME_LEN_MAX, Opcode, PARTITIONS_MAX, PING_LEN_MAX, Put, Request, TTL_MS_MAX, Ttl, VERSION_MAX,
    VERSION_MIN,
};

/// Bit 0 of a hello's flags: the client asks for a shard.
const HELLO_NAMES_SHARD: u8 = 1;
/// Bit 0 of a scan's flags: the client asks for values.
const SCAN_WITH_VALUES: u8 = 1;
/// Bit 0 of a move's flags: only if the destination does not exist.
const MOVE_IF_ABSENT: u8 = 1;
/// Bit 1 of a move's flags: the source stays.
const MOVE_KEEP_SOURCE: u8 = 2;

impl Request<'_> {
    /// Its number on the wire.
    #[inline]
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        match self {
            Request::Hello(_) => Opcode::Hello,
            Request::Ping { .. } => Opcode::Ping,
            Request::Get { .. } => Opcode::Get,
            Request::Exists { .. } => Opcode::Exists,
            Request::Ttl { .. } => Opcode::Ttl,
            Request::Put { .. } => Opcode::Put,
            Request::Delete { .. } => Opcode::Delete,
            Request::Touch { .. } => Opcode::Touch,
            Request::Persist { .. } => Opcode::Persist,
            Request::Add { .. } => Opcode::Add,
            Request::Append { .. } => Opcode::Append,
            Request::Overwrite { .. } => Opcode::Overwrite,
            Request::AddFloat { .. } => Opcode::AddFloat,
            Request::Expire { .. } => Opcode::Expire,
            Request::ExpiresAt { .. } => Opcode::ExpiresAt,
            Request::Batch { .. } => Opcode::Batch,
            Request::AtomicBatch { .. } => Opcode::AtomicBatch,
            Request::Scan { .. } => Opcode::Scan,
            Request::Count { .. } => Opcode::Count,
            Request::Flush { .. } => Opcode::Flush,
            Request::KeyspaceCreate { .. } => Opcode::KeyspaceCreate,
            Request::KeyspaceDrop { .. } => Opcode::KeyspaceDrop,
            Request::KeyspaceList => Opcode::KeyspaceList,
            Request::KeyspaceOpen { .. } => Opcode::KeyspaceOpen,
            Request::Status => Opcode::Status,
            Request::Compact => Opcode::Compact,
            Request::Backup { .. } => Opcode::Backup,
            Request::Move { .. } => Opcode::Move,
            Request::Unit { .. } => Opcode::Unit,
        }
    }

    /// Whether it may be sent again when the outcome of the first sending is not known.
    ///
    /// True if running it twice, with a crash or another's writes between the two, leaves the same state and gives the same
    /// kind of answer as running it once, at the second time. That holds for
    ///
    /// - every read. A hello counts as one: it is sent again on a new connection.
    /// - a put that is unconditional and does not ask for the old value, with any time to live. A reader may see the
    ///   value, then another's, then the value again, as if it had been put late; no acknowledged write is lost
    ///   that a late put would not have overwritten.
    /// - taking an expiry away, unconditionally.
    /// - a batch of such puts and of gets, if no get comes before a put (the second time it might read what the first
    ///   time wrote); an atomic batch of such puts.
    ///
    /// It does not hold for
    ///
    /// - anything with a condition: the second time it meets its own doing.
    /// - a write that answers with the old value: the second time that is its own.
    /// - a delete: a second one answers "not found" about a key that the first took away.
    /// - a touch, and any other expiry: with a short time to live the key may be gone, by the first one's doing, when the second comes.
    /// - counters and appends, for they add; and an overwrite, for what another appends in between lands behind what the first
    ///   made of the value.
    /// - a move, which does not find its source again.
    /// - a unit: that a part of it is repeated is not for this to judge.
    /// - a backup: there would be two.
    /// - making and dropping keyspaces, for the answer differs; and a flush, for it would also drop everything that others
    ///   wrote, and saw acknowledged, since the first.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        match self {
            Request::Hello(_)
            | Request::Ping { .. }
            | Request::Get { .. }
            | Request::Exists { .. }
            | Request::Ttl { .. }
            | Request::Persist { .. }
            | Request::ExpiresAt { .. }
            | Request::Scan { .. }
            | Request::Count { .. }
            | Request::KeyspaceList
            | Request::KeyspaceOpen { .. }
            | Request::Status
            | Request::Compact => true,
            Request::Expire {
                expiry, condition, ..
            } => *expiry == Expiry::Never && *condition == ExpiryCondition::Always,
            Request::Put { put, .. } => is_blind(put),
            Request::Batch { items, .. } | Request::AtomicBatch { items, .. } => {
                is_blind_then_reads(items)
            }
            Request::Delete { .. }
            | Request::Touch { .. }
            | Request::Add { .. }
            | Request::Append { .. }
            | Request::Overwrite { .. }
            | Request::AddFloat { .. }
            | Request::Flush { .. }
            | Request::KeyspaceCreate { .. }
            | Request::KeyspaceDrop { .. }
            | Request::Backup { .. }
            | Request::Move { .. }
            | Request::Unit { .. } => false,
        }
    }

    /// Checks everything that the protocol itself demands of a request, whatever the server's configuration.
    ///
    /// # Errors
    ///
    /// What the decoder on the other side would answer. A request that passes is decoded to itself.
    pub fn validate(&self) -> Result<(), DecodeError> {
        match self {
            Request::Hello(hello) => validate_hello(hello),
            Request::Ping { payload } => {
                within("ping payload length", payload.len(), 0, PING_LEN_MAX)
            }
            Request::Get { key, .. }
            | Request::Exists { key, .. }
            | Request::Ttl { key, .. }
            | Request::Persist { key, .. }
            | Request::Add { key, .. }
            | Request::Append { key, .. }
            | Request::Overwrite { key, .. }
            | Request::ExpiresAt { key, .. } => validate_key(key),
            Request::AddFloat { key, increment, .. } => {
                validate_key(key)?;
                within("increment length", increment.len(), 0, INCREMENT_LEN_MAX)
            }
            Request::Expire { key, expiry, .. } => {
                validate_key(key)?;
                match expiry {
                    Expiry::Never => Ok(()),
                    Expiry::Millis(ttl_ms) => {
                        within_u64("time to live in milliseconds", *ttl_ms, 0, TTL_MS_MAX)
                    }
                    Expiry::At(at_ms) => validate_expires_at(*at_ms),
                }
            }
            Request::Move {
                source,
                destination,
                ..
            } => validate_key(source.1).and_then(|()| validate_key(destination.1)),
            Request::Unit {
                preconditions,
                frames,
            } => unit::validate_unit(preconditions, frames),
            Request::Put { put, .. } => validate_put(put),
            Request::Delete { delete, .. } => validate_delete(delete),
            Request::Touch { key, ttl_ms, .. } => {
                validate_key(key).and_then(|()| validate_ttl_ms(*ttl_ms))
            }
            Request::Batch { items, .. } => validate_batch(items, BATCH_LEN_MAX),
            Request::AtomicBatch { items, .. } => {
                match items
                    .iter()
                    .position(|item| matches!(item, BatchItem::Get { .. }))
                {
                    Some(index) => Err(DecodeError::GetInAtomicBatch { index }),
                    None => validate_batch(items, ATOMIC_LEN_MAX),
                }
            }
            Request::Scan { prefix, limit, .. } => {
                within("prefix length", prefix.len(), 0, KEY_LEN_MAX)?;
                within("scan limit", *limit as usize, 1, BATCH_LEN_MAX)
            }
            Request::KeyspaceCreate { name, partitions } => {
                KEYSPACE_NAME.validate(name)?;
                within(
                    "number of partitions",
                    usize::from(*partitions),
                    0,
                    usize::from(PARTITIONS_MAX),
                )
            }
            Request::KeyspaceDrop { name } | Request::KeyspaceOpen { name } => {
                KEYSPACE_NAME.validate(name)
            }
            Request::Backup { series } => validate_series(series),
            Request::Count { .. }
            | Request::Flush { .. }
            | Request::KeyspaceList
            | Request::Status
            | Request::Compact => Ok(()),
        }
    }
}

impl Hello<'_> {
    /// The highest protocol version that both sides speak, if there is one.
    #[must_use]
    pub fn negotiate(&self) -> Option<u16> {
        let version = self.version_max.min(VERSION_MAX);
        (version >= self.version_min.max(VERSION_MIN)).then_some(version)
    }
}

/// Writes without looking: neither what is done nor what is answered depends on what was there.
fn is_blind(put: &Put<'_>) -> bool {
    put.condition == Condition::Always && !put.return_value
}

/// Blind puts, then gets, and nothing else.
fn is_blind_then_reads(items: &[BatchItem<'_>]) -> bool {
    let puts = items
        .iter()
        .take_while(|item| matches!(item, BatchItem::Put(put) if is_blind(put)))
        .count();
    items[puts..]
        .iter()
        .all(|item| matches!(item, BatchItem::Get { .. }))
}

fn validate_hello(hello: &Hello<'_>) -> Result<(), DecodeError> {
    if hello.version_min > hello.version_max {
        return Err(DecodeError::VersionRange {
            minimum: hello.version_min,
            maximum: hello.version_max,
        });
    }
    HELLO_KEYSPACE_NAME.validate(hello.keyspace)?;
    CLIENT_NAME.validate(hello.client_name)
}

fn validate_batch(items: &[BatchItem<'_>], len_max: usize) -> Result<(), DecodeError> {
    validate_batch_len(items.len(), len_max)?;
    items.iter().try_for_each(|item| match item {
        BatchItem::Get { key } => validate_key(key),
        BatchItem::Put(put) => validate_put(put),
        BatchItem::Delete(delete) => validate_delete(delete),
    })
}

/// Checked by the decoder before it reads the first operation.
fn validate_batch_len(len: usize, len_max: usize) -> Result<(), DecodeError> {
    within("batch length", len, 1, len_max)
}

fn validate_put(put: &Put<'_>) -> Result<(), DecodeError> {
    validate_key(put.key)?;
    match put.ttl {
        Ttl::Millis(ttl_ms) => validate_ttl_ms(ttl_ms),
        Ttl::At(at_ms) => validate_expires_at(at_ms),
        Ttl::None | Ttl::Keep => Ok(()),
    }
}

fn validate_delete(delete: &Delete<'_>) -> Result<(), DecodeError> {
    validate_key(delete.key)
}

fn validate_key(key: &[u8]) -> Result<(), DecodeError> {
    within("key length", key.len(), 1, KEY_LEN_MAX)
}

fn validate_ttl_ms(ttl_ms: u64) -> Result<(), DecodeError> {
    within_u64("time to live in milliseconds", ttl_ms, 1, TTL_MS_MAX)
}

fn validate_expires_at(at_ms: u64) -> Result<(), DecodeError> {
    within_u64("expiry in milliseconds", at_ms, 0, EXPIRES_AT_MS_MAX)
}

/// Names go into logs and listings: they are short and hold no control characters.
pub(crate) struct NameRule {
    field: &'static str,
    length_field: &'static str,
    len_min: usize,
}

/// A keyspace's name.
pub(crate) const KEYSPACE_NAME: NameRule = NameRule {
    field: "keyspace name",
    length_field: "keyspace name length",
    len_min: 1,
};
/// The keyspace that a hello names, if it names one.
const HELLO_KEYSPACE_NAME: NameRule = NameRule {
    len_min: 0,
    ..KEYSPACE_NAME
};
/// What a client calls itself, if anything.
const CLIENT_NAME: NameRule = NameRule {
    field: "client name",
    length_field: "client name length",
    len_min: 0,
};
/// What a server calls itself, if anything.
pub(crate) const SERVER_NAME: NameRule = NameRule {
    field: "server name",
    length_field: "server name length",
    len_min: 0,
};

impl NameRule {
    pub(crate) fn validate(&self, name: &str) -> Result<(), DecodeError> {
        within(self.length_field, name.len(), self.len_min, NAME_LEN_MAX)?;
        match name
            .char_indices()
            .find(|(_, character)| character.is_control())
        {
            Some((offset, _)) => Err(DecodeError::ControlCharacter {
                field: self.field,
                offset,
            }),
            None => Ok(()),
        }
    }
}

fn validate_series(series: &str) -> Result<(), DecodeError> {
    const FIELD: &str = "name of a series of backups";
    within(FIELD, series.len(), 0, BACKUP_SERIES_LEN_MAX)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if series.starts_with('.') || !series.bytes().all(is_plain) {
        return Err(DecodeError::NotPlain { field: FIELD });
    }
    Ok(())
}

/// Lengths and counts, in bytes or items.
#[inline]
pub(crate) fn within(
    field: &'static str,
    value: usize,
    minimum: usize,
    maximum: usize,
) -> Result<(), DecodeError> {
    within_u64(field, value as u64, minimum as u64, maximum as u64)
}

/// Times, too.
#[inline]
fn within_u64(
    field: &'static str,
    value: u64,
    minimum: u64,
    maximum: u64,
) -> Result<(), DecodeError> {
    if value < minimum || value > maximum {
        return Err(DecodeError::OutsideLimit {
            field,
            value,
            minimum,
            maximum,
        });
    }
    Ok(())
}
