//! A summary's body: partitions, and the newest record of each key, sorted.
//!
//! ```text
//! groups u32, reserved u32 (zero)
//! group  40 bytes, one a partition, ascending by keyspace and partition
//!          0  keyspace u32
//!          4  partition u16
//!          6  flags u8            bit 0: the partition was cleared
//!          7  reserved u8         zero
//!          8  records u32
//!         12  expiries u32
//!         16  version_max u64     of all records, those left out too
//!         24  clear u64           the highest version of a clear, if flagged
//!         32  entry_max u64       the highest entry's index
//! record 32 bytes, group by group, ascending by hash and check
//!          0  hash u64
//!          8  version u64
//!         16  check u32
//!         20  place u32           from the segment's base in units of 8; bit 31: it is a delete
//!         24  len u32             in bytes
//!         28  expiry u32          0 none, else its place among the group's expiries, counted from 1
//! expiry  8 bytes, group by group: wall-clock milliseconds
//! ```
//!
//! No key is there twice: of several records of one key in a segment only the newest can be the newest of all.

use super::SummaryError;
use crate::storage::format::{
    RECORD_ALIGN, RECORD_LEN_MIN, RecordAt, RecordKind, put, u16_at, u32_at, u64_at,
};
use crate::storage::hash::{KeyHash, KeyIdentity};
use crate::types::{KeyspaceId, PartitionId, Position, Version, WallMillis};

const COUNT_LEN: usize = 8;
const GROUP_LEN: usize = 40;
const RECORD_LEN: usize = 32;
const EXPIRY_LEN: usize = 8;

const CLEARED: u8 = 1;
const DELETE: u32 = 1 << 31;

/// One record, as the index needs it. 40 bytes: a start sorts millions of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    hash: KeyHash,
    version: Version,
    position: Position,
    /// [`NEVER`] if it has none.
    expiry: WallMillis,
    check: u32,
    /// Length in the log, in bytes; the lowest bit, which no length has, is set for a delete.
    len_and_kind: u32,
}

/// An expiry that never comes.
const NEVER: WallMillis = WallMillis(u64::MAX);

const _: () = assert!(size_of::<Item>() == 40 && RECORD_ALIGN > 1);

impl Item {
    /// A set or a delete of a key with this identity.
    #[must_use]
    pub fn new(key: KeyIdentity, at: &RecordAt<'_>) -> Item {
        let is_delete = at.record.kind == RecordKind::Delete;
        Item {
            hash: key.hash,
            check: key.check,
            version: at.record.version,
            position: at.position,
            len_and_kind: at.len | u32::from(is_delete),
            expiry: at.record.expiry.unwrap_or(NEVER),
        }
    }

    /// Whose it is.
    #[must_use]
    #[inline]
    pub fn key(&self) -> KeyIdentity {
        KeyIdentity {
            hash: self.hash,
            check: self.check,
        }
    }

    /// Its version.
    #[must_use]
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where it is.
    #[must_use]
    #[inline]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Its length in the log, in bytes.
    #[must_use]
    #[inline]
    pub fn record_len(&self) -> u32 {
        self.len_and_kind & !1
    }

    /// Whether it takes the key away.
    #[must_use]
    #[inline]
    pub fn is_delete(&self) -> bool {
        self.len_and_kind & 1 != 0
    }

    /// From when on the key is gone.
    #[must_use]
    #[inline]
    pub fn expiry(&self) -> Option<WallMillis> {
        (self.expiry != NEVER).then_some(self.expiry)
    }

    /// Sorts by key, and the newest of a key last.
    #[inline]
    pub(super) fn order(&self) -> (KeyHash, u32, Version, Position) {
        (self.hash, self.check, self.version, self.position)
    }
}

/// What one segment holds of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Which.
    pub partition: PartitionId,
    /// The highest version of its records.
    pub version_max: Version,
    /// The highest index of its entries.
    pub entry_max: u64,
    /// The highest version of its clears.
    pub clear: Option<Version>,
    records: &'a [[u8; RECORD_LEN]],
    expiries: &'a [[u8; EXPIRY_LEN]],
}

impl Group<'_> {
    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no record is left of the partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The hash of a record, by its number.
    pub(super) fn hash(&self, number: usize) -> KeyHash {
        KeyHash(u64_at(&self.records[number], 0))
    }

    /// A record, by its number; `base` is the segment's.
    pub(super) fn item(&self, number: usize, base: Position) -> Item {
        let record = &self.records[number];
        let place = u32_at(record, 20);
        let expiry = (u32_at(record, 28) as usize).checked_sub(1);
        Item {
            hash: self.hash(number),
            check: u32_at(record, 16),
            version: Version(u64_at(record, 8)),
            position: Position(base.0.saturating_add(offset(place))),
            len_and_kind: u32_at(record, 24) & !1 | place >> 31,
            expiry: expiry
                .and_then(|at| self.expiries.get(at))
                .map_or(NEVER, |bytes| WallMillis(u64::from_le_bytes(*bytes))),
        }
    }

    /// The records.
    pub fn items(&self, base: Position) -> impl Iterator<Item = Item> {
        (0..self.records.len()).map(move |number| self.item(number, base))
    }
}

fn offset(place: u32) -> u64 {
    u64::from(place & !DELETE) * RECORD_ALIGN as u64
}

/// What one segment holds, partition by partition.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    groups: Vec<Group<'a>>,
}

impl<'a> Body<'a> {
    /// Reads a body, and checks that it makes sense.
    ///
    /// # Errors
    /// [`SummaryError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Body<'a>, SummaryError> {
        Body::read(bytes).ok_or(SummaryError::Contradiction)
    }

    fn read(bytes: &'a [u8]) -> Option<Body<'a>> {
        let (count, rest) = bytes.split_at_checked(COUNT_LEN)?;
        let groups_len = u64::from(u32_at(count, 0)) * GROUP_LEN as u64;
        let (table, rest) = rest.split_at_checked(usize::try_from(groups_len).ok()?)?;
        let (table, _) = table.as_chunks::<GROUP_LEN>();
        let records = table.iter().map(|group| u64::from(u32_at(group, 8)));
        let records_len = records.sum::<u64>().checked_mul(RECORD_LEN as u64)?;
        let (records, expiries) = rest.split_at_checked(usize::try_from(records_len).ok()?)?;
        let (mut records, _) = records.as_chunks::<RECORD_LEN>();
        let (mut expiries, odd) = expiries.as_chunks::<EXPIRY_LEN>();
        if !odd.is_empty() || u32_at(count, 4) != 0 {
            return None;
        }
        let mut groups: Vec<Group<'a>> = Vec::with_capacity(table.len());
        for bytes in table {
            let group = Group {
                partition: PartitionId {
                    keyspace: KeyspaceId(u32_at(bytes, 0)),
                    index: u16_at(bytes, 4),
                },
                version_max: Version(u64_at(bytes, 16)),
                entry_max: u64_at(bytes, 32),
                clear: (bytes[6] & CLEARED != 0).then(|| Version(u64_at(bytes, 24))),
                records: take(&mut records, u32_at(bytes, 8))?,
                expiries: take(&mut expiries, u32_at(bytes, 12))?,
            };
            let follows = groups
                .last()
                .is_none_or(|before| before.partition < group.partition);
            let is_known = bytes[6] & !CLEARED == 0 && bytes[7] == 0;
            if !follows || !is_known || !group.is_sound() {
                return None;
            }
            groups.push(group);
        }
        expiries.is_empty().then_some(Body { groups })
    }

    /// The partitions of which there is something, ascending.
    #[must_use]
    pub fn groups(&self) -> &[Group<'a>] {
        &self.groups
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.groups.iter().map(|group| group.len() as u64).sum()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the last of the records ends.
    #[must_use]
    pub fn position_end(&self, base: Position) -> Position {
        let ends = self.groups.iter().flat_map(|group| group.records);
        let ends = ends.map(|record| offset(u32_at(record, 20)) + u64::from(u32_at(record, 24)));
        Position(base.0.saturating_add(ends.max().unwrap_or(0)))
    }
}

impl Group<'_> {
    fn is_sound(&self) -> bool {
        let key = |record: &[u8; RECORD_LEN]| (u64_at(record, 0), u32_at(record, 16));
        let is_sound = |record: &[u8; RECORD_LEN]| {
            let (expiry, len) = (u32_at(record, 28) as usize, u32_at(record, 24) as usize);
            expiry <= self.expiries.len()
                && len >= RECORD_LEN_MIN
                && len.is_multiple_of(RECORD_ALIGN)
        };
        self.records.iter().all(is_sound)
            && self
                .records
                .is_sorted_by(|left, right| key(left) < key(right))
    }
}

fn take<'a, T>(from: &mut &'a [T], count: u32) -> Option<&'a [T]> {
    let (taken, rest) = from.split_at_checked(count as usize)?;
    *from = rest;
    Some(taken)
}

/// A partition to be encoded: its records sorted, each key once.
#[derive(Debug)]
pub(super) struct GroupParts<'a> {
    pub(super) partition: PartitionId,
    pub(super) version_max: Version,
    pub(super) entry_max: u64,
    pub(super) clear: Option<Version>,
    pub(super) items: &'a [Item],
}

/// Writes a body; positions are counted from `base`, and all lie within 16 GiB of it.
pub(super) fn encode(groups: &[GroupParts<'_>], base: Position) -> Vec<u8> {
    let records: usize = groups.iter().map(|group| group.items.len()).sum();
    let all = groups.iter().flat_map(|group| group.items);
    let expiries = all.filter(|item| item.expiry().is_some()).count();
    let records_at = COUNT_LEN + groups.len() * GROUP_LEN;
    let expiries_at = records_at + records * RECORD_LEN;
    let mut out = vec![0; expiries_at + expiries * EXPIRY_LEN];
    put(&mut out, 0, (groups.len() as u32).to_le_bytes());
    let (table, rest) = out[COUNT_LEN..].split_at_mut(groups.len() * GROUP_LEN);
    let (records, expiries) = rest.split_at_mut(records * RECORD_LEN);
    let (table, _) = table.as_chunks_mut::<GROUP_LEN>();
    let (records, _) = records.as_chunks_mut::<RECORD_LEN>();
    let (expiries, _) = expiries.as_chunks_mut::<EXPIRY_LEN>();
    let mut records = records.iter_mut();
    let mut expiries = expiries.iter_mut();
    for (group, bytes) in groups.iter().zip(table) {
        let mut expiring = 0u32;
        for (item, bytes) in group.items.iter().zip(&mut records) {
            let mut number = 0;
            if let Some(expiry) = item.expiry() {
                expiring += 1;
                number = expiring;
                let bytes = expiries.next().expect("there is room for all of them");
                *bytes = expiry.0.to_le_bytes();
            }
            let units = (item.position.0 - base.0) / RECORD_ALIGN as u64;
            assert!(units < u64::from(DELETE), "a segment is not that long");
            let delete = if item.is_delete() { DELETE } else { 0 };
            put(bytes, 0, item.hash.0.to_le_bytes());
            put(bytes, 8, item.version.0.to_le_bytes());
            put(bytes, 16, item.check.to_le_bytes());
            put(bytes, 20, (units as u32 | delete).to_le_bytes());
            put(bytes, 24, item.record_len().to_le_bytes());
            put(bytes, 28, number.to_le_bytes());
        }
        put(bytes, 0, group.partition.keyspace.0.to_le_bytes());
        put(bytes, 4, group.partition.index.to_le_bytes());
        bytes[6] = if group.clear.is_some() { CLEARED } else { 0 };
        put(bytes, 8, (group.items.len() as u32).to_le_bytes());
        put(bytes, 12, expiring.to_le_bytes());
        put(bytes, 16, group.version_max.0.to_le_bytes());
        put(bytes, 24, group.clear.unwrap_or_default().0.to_le_bytes());
        put(bytes, 32, group.entry_max.to_le_bytes());
    }
    out
}
