//! What the current turn has decided and not yet handed to the disk, and how commands see it.
//!
//! Commands are evaluated at once, one after the other, against the committed state *and* everything evaluated before
//! them; so a counter can be added to a hundred times in one turn. Their effects gather in a [`Batch`]; the [overlay](super::overlay)
//! finds them again by key.

use std::borrow::Cow;

use bytes::Bytes;

use super::origin::Origin;
use super::statistics::Kind;
use crate::storage::format::{Record, RecordKind};
use crate::storage::hash::KeyHash;
use crate::types::{MonoNanos, PartitionId, Position, Version, WallMillis};

/// What an effect takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Previous {
    /// The key did not exist.
    Nothing,
    /// A record at a known position.
    At(Position, u32),
    /// The effect of this number in the same batch.
    Effect(u32),
}

/// One effect: an encoded record in the batch's arena and what is needed to apply it after commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect {
    pub(super) partition: PartitionId,
    pub(super) hash: KeyHash,
    pub(super) kind: RecordKind,
    /// Where in the arena, and how many bytes there: the whole record, or what comes before a value that is kept apart.
    pub(super) at: u32,
    pub(super) arena_len: u32,
    /// Which of the batch's large values is its own.
    pub(super) large: Option<u32>,
    /// The record's length in the log.
    pub(super) len: u32,
    pub(super) version: Version,
    pub(super) expiry: Option<WallMillis>,
    pub(super) previous: Previous,
    /// Final once the block is put together.
    pub(super) position: Position,
    /// Compaction logs again what was logged and committed before: nobody waits for it, and it changes nothing but positions.
    pub(super) is_copy: bool,
}

/// What a reply that waits for its block carries.
#[derive(Debug)]
pub(super) enum PendingBody {
    Empty,
    Value(Bytes),
    Counter(i64),
    Number(u64),
    Ttl(Option<u64>),
    Items(Vec<PendingItem>),
    /// Why it failed.
    Error(Cow<'static, str>),
    /// The answers to the requests of a unit, which come before its own.
    Unit(Vec<UnitAnswer>),
    /// The answer to an internal command.
    Done,
}

/// The answer to one request of a unit.
#[derive(Debug)]
pub(super) struct UnitAnswer {
    pub(super) reply: PendingReply,
    /// It is in the statistics already.
    pub(super) is_counted: bool,
}

/// One operation's result in an atomic batch.
#[derive(Debug)]
pub(super) struct PendingItem {
    pub(super) status: corduroy_proto_wire::Status,
    pub(super) version: u64,
    pub(super) timestamp_ms: u64,
    pub(super) value: Option<Bytes>,
}

/// A reply that may be given only once everything up to here is committed.
#[derive(Debug)]
pub(super) struct PendingReply {
    pub(super) origin: Origin,
    pub(super) kind: Kind,
    pub(super) since: MonoNanos,
    pub(super) status: corduroy_proto_wire::Status,
    pub(super) version: Version,
    pub(super) timestamp: WallMillis,
    pub(super) body: PendingBody,
}

/// What gathers until the disk is free.
#[derive(Debug, Default)]
pub(super) struct Batch {
    arena: Vec<u8>,
    /// Values that are kept apart from the arena.
    large: Vec<Bytes>,
    /// Length of all records in the log.
    pub(super) records_len: usize,
    /// How many of the effects are copies.
    pub(super) copies: usize,
    /// Their length in the log.
    pub(super) copied_len: usize,
    /// How many of the effects are new values: neither deletes nor copies.
    pub(super) sets: usize,
    /// What evaluating took beside, as so many bytes: enough of that fills a batch, too.
    pub(super) toil: usize,
    pub(super) effects: Vec<Effect>,
    pub(super) replies: Vec<PendingReply>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.replies.is_empty()
    }

    /// Encodes a record and notes its effect; answers the effect's number. `shared` is given if the record's value is to be kept apart.
    pub(super) fn push(
        &mut self,
        partition: PartitionId,
        hash: KeyHash,
        record: &Record<'_>,
        shared: Option<Bytes>,
        previous: Previous,
    ) -> u32 {
        let at = self.arena.len();
        let large = shared.map(|value| {
            debug_assert_eq!(value.len(), record.value.len());
            self.large.push(value);
            self.large.len() as u32 - 1
        });
        if large.is_some() {
            record.encode_head(&mut self.arena);
        } else {
            record.encode(&mut self.arena);
        }
        let number = self.effects.len() as u32;
        self.sets += usize::from(record.kind == RecordKind::Set);
        let len = record.encoded_len();
        self.records_len += len;
        self.effects.push(Effect {
            partition,
            hash,
            kind: record.kind,
            at: at as u32,
            arena_len: (self.arena.len() - at) as u32,
            large,
            len: len as u32,
            version: record.version,
            expiry: record.expiry,
            previous,
            position: Position(u64::MAX),
            is_copy: false,
        });
        number
    }

    /// As [`Batch::push`], of something that compaction logs again.
    pub(super) fn push_copy(
        &mut self,
        partition: PartitionId,
        hash: KeyHash,
        record: &Record<'_>,
        shared: Option<Bytes>,
        previous: Previous,
    ) -> u32 {
        let number = self.push(partition, hash, record, shared, previous);
        let effect = &mut self.effects[number as usize];
        effect.is_copy = true;
        self.sets -= usize::from(effect.kind == RecordKind::Set);
        self.copies += 1;
        self.copied_len += effect.len as usize;
        number
    }

    /// The bytes of an effect's record, or what comes before its value and the value.
    #[inline]
    pub(super) fn encoded(&self, effect: &Effect) -> (&[u8], Option<&Bytes>) {
        let bytes = &self.arena[effect.at as usize..(effect.at + effect.arena_len) as usize];
        (bytes, effect.large.map(|large| &self.large[large as usize]))
    }

    pub(super) fn record(&self, effect: u32) -> (Record<'_>, Option<&Bytes>) {
        let (bytes, large) = self.encoded(&self.effects[effect as usize]);
        let record = match large {
            None => Record::parse(bytes),
            Some(value) => Record::parse_apart(bytes, value),
        };
        (record.expect("what this process encoded parses"), large)
    }

    pub(super) fn clear(&mut self) {
        self.arena.clear();
        self.large.clear();
        self.records_len = 0;
        self.copies = 0;
        self.copied_len = 0;
        self.sets = 0;
        self.toil = 0;
        self.effects.clear();
        self.replies.clear();
        // One oversized turn shall not hold its memory for ever.
        self.arena.shrink_to(crate::limits::BATCH_ARENA_KEEP);
    }
}
