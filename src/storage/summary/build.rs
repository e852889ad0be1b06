//! From a segment's records, in log order, to a summary's body.

use std::collections::BTreeMap;

use super::body::{GroupParts, Item, encode};
use super::merge::keep_newest;
use crate::storage::format::{EntryHeader, RecordAt, RecordKind};
use crate::storage::hash::KeyIdentifier;
use crate::types::{PartitionId, Position, Version};

/// Takes what a segment holds, entry by entry.
#[derive(Debug)]
pub struct Builder {
    identifier: KeyIdentifier,
    /// No record lies before it.
    base: Position,
    places: BTreeMap<PartitionId, usize>,
    groups: Vec<Gathered>,
    /// The group of the last entry.
    current: usize,
}

/// What the builder has of a partition.
#[derive(Debug)]
pub struct Gathered {
    /// Which.
    pub partition: PartitionId,
    /// The highest version so far.
    pub version_max: Version,
    /// The highest index of an entry so far.
    pub entry_max: u64,
    clear: Option<Version>,
    items: Vec<Item>,
}

impl Builder {
    /// A builder for records from `base` on, at most a segment's length of them.
    #[must_use]
    pub fn new(identifier: KeyIdentifier, base: Position) -> Builder {
        Builder {
            identifier,
            base,
            places: BTreeMap::new(),
            groups: Vec::new(),
            current: 0,
        }
    }

    /// Where it counts from.
    #[must_use]
    pub fn base(&self) -> Position {
        self.base
    }

    /// An entry begins.
    pub fn entry(&mut self, header: &EntryHeader) {
        self.select(header.partition);
        let group = &mut self.groups[self.current];
        group.entry_max = group.entry_max.max(header.index);
    }

    /// A record of it.
    pub fn record(&mut self, partition: PartitionId, record: &RecordAt<'_>) {
        self.select(partition);
        let group = &mut self.groups[self.current];
        let effect = &record.record;
        group.version_max = group.version_max.max(effect.version);
        if effect.kind == RecordKind::Clear {
            group.clear = group.clear.max(Some(effect.version));
            return;
        }
        let key = self.identifier.identify(effect.key);
        group.items.push(Item::new(key, record));
    }

    /// What there is of each partition so far.
    pub fn gathered(&self) -> impl Iterator<Item = &Gathered> {
        self.groups.iter()
    }

    /// The body.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.groups.sort_unstable_by_key(|group| group.partition);
        for group in &mut self.groups {
            group.keep_newest();
        }
        let parts: Vec<GroupParts<'_>> = self
            .groups
            .iter()
            .map(|group| GroupParts {
                partition: group.partition,
                version_max: group.version_max,
                entry_max: group.entry_max,
                clear: group.clear,
                items: &group.items,
            })
            .collect();
        encode(&parts, self.base)
    }

    #[inline]
    fn select(&mut self, partition: PartitionId) {
        let is_current = |group: &Gathered| group.partition == partition;
        if self.groups.get(self.current).is_some_and(is_current) {
            return;
        }
        let groups = &mut self.groups;
        self.current = *self.places.entry(partition).or_insert_with(|| {
            groups.push(Gathered {
                partition,
                version_max: Version(0),
                entry_max: 0,
                clear: None,
                items: Vec::new(),
            });
            groups.len() - 1
        });
    }
}

impl Gathered {
    /// Sorts the records, and leaves out those that can't be the newest of their key.
    fn keep_newest(&mut self) {
        let clear = self.clear;
        self.items
            .retain(|item| clear.is_none_or(|clear| item.version() > clear));
        self.items.sort_unstable_by_key(Item::order);
        keep_newest(&mut self.items);
    }
}
