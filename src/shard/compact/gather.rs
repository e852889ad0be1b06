//! Finding what lives in a victim by the index, where that is cheaper than going through the victim.
//!
//! Of a segment that is nearly dead, each dead record costs a parse, a hash and a look-up, mostly three cache misses, to find that nobody needs it. The
//! index says the same from the other side: its entries lie in rows, and most don't point into the segment. So where the index is not
//! much larger than the segment, all its entries are looked at, and those that point into the victim are listed.
//!
//! The index doesn't know deletes, nor what stands for records whose time has passed. Whether such are in the victim, or something was overlooked for
//! another reason, the log's ledger knows: once the copies are committed nothing may be left in the victim by its count, or it is gone through
//! record by record after all. So a removal relies on the list for nothing.

use std::ops::Range;

use super::super::Shard;
use super::super::keyspaces::Keyspace;
use super::Victim;
use crate::limits;
use crate::storage::compaction::Step;
use crate::storage::format::RecordAt;
use crate::storage::index::HashCursor;
use crate::storage::log::{Log, SegmentFacts};
use crate::types::{KeyspaceId, PartitionId, Position};

/// How the records that must outlive a victim are found.
#[derive(Debug)]
pub(super) enum Search {
    /// Each of its records is looked at.
    Records,
    /// The index is gone through for what points at it.
    Index(Gather),
    /// These are what the index pointed at.
    Listed(List),
}

/// How far the index has been gone through.
#[derive(Debug)]
pub(super) struct Gather {
    keyspace: KeyspaceId,
    /// Where that was among the shard's keyspaces.
    place: usize,
    /// Of the shard's own partitions of that keyspace.
    local: usize,
    cursor: HashCursor,
    found: Vec<(PartitionId, Position)>,
}

/// Records by their places.
#[derive(Debug)]
pub(super) struct List {
    places: Vec<(PartitionId, Position)>,
    at: usize,
    /// One of them has left memory.
    is_broken: bool,
}

impl List {
    /// The next record, as a walk through the segment would show it.
    pub(super) fn next<'a>(&mut self, log: &'a Log) -> Step<'a> {
        let Some((partition, position)) = self.places.get(self.at) else {
            return Step::End;
        };
        let Some((record, _)) = log.record_at(*position) else {
            self.is_broken = true;
            return Step::Pause;
        };
        let found = RecordAt {
            position: *position,
            len: record.encoded_len() as u32,
            record,
        };
        Step::Record(*partition, found)
    }

    /// The record is dealt with. Says how many bytes it was.
    pub(super) fn advance(&mut self, record: &RecordAt<'_>) -> u64 {
        self.at += 1;
        u64::from(record.len)
    }
}

impl Shard {
    /// The cheapest way to find what must outlive a segment.
    pub(super) fn search_for(&self, victim: &SegmentFacts) -> Search {
        let len = victim.end.0 - victim.base.0;
        let keys: u64 = self.keyspaces.iter().map(|keyspace| keyspace.len()).sum();
        let record_len = self.log.live_bytes() / keys.max(1);
        let records = len / record_len.max(1);
        let is_nearly_dead = victim.live <= len / 4 && victim.tombstones == 0;
        let is_in_memory = self.log.content(victim.id).is_some();
        if !is_nearly_dead || !is_in_memory || keys > records * limits::COMPACT_GATHER_RATIO {
            return Search::Records;
        }
        Search::Index(Gather {
            keyspace: KeyspaceId(0),
            place: 0,
            local: 0,
            cursor: HashCursor::START,
            found: Vec::new(),
        })
    }

    /// Goes through a slice of the index, if that is how the victim is searched. Says whether records may be looked at.
    pub(super) fn gather(&self, search: &mut Search, victim: &Range<Position>) -> bool {
        if let Search::Listed(list) = search
            && list.is_broken
        {
            *search = Search::Records;
        }
        let Search::Index(gather) = search else {
            return true;
        };
        let mut page = Vec::new();
        let mut looked_at = 0;
        while looked_at < limits::COMPACT_GATHER_SLICE {
            let Some(keyspace) = self.gathered_next(gather, &mut looked_at) else {
                let places = std::mem::take(&mut gather.found);
                *search = Search::Listed(List {
                    places,
                    at: 0,
                    is_broken: false,
                });
                return true;
            };
            let Some(partition) = keyspace.local().get(gather.local) else {
                gather.keyspace = KeyspaceId(keyspace.id().0 + 1);
                gather.local = 0;
                gather.cursor = HashCursor::START;
                continue;
            };
            page.clear();
            let next = partition
                .index
                .page(gather.cursor, limits::COMPACT_GATHER_SLICE, &mut page);
            looked_at += page.len() + 1;
            let id = PartitionId {
                keyspace: keyspace.id(),
                index: keyspace.index_of(gather.local),
            };
            let inside = page
                .iter()
                .map(|(_, candidate)| candidate.address)
                .filter(|address| victim.contains(address));
            gather.found.extend(inside.map(|address| (id, address)));
            if gather.found.len() > limits::COMPACT_GATHER_FOUND_MAX {
                *search = Search::Records;
                return true;
            }
            match next {
                Some(cursor) => gather.cursor = cursor,
                None => {
                    gather.local += 1;
                    gather.cursor = HashCursor::START;
                }
            }
        }
        false
    }

    /// The keyspace that is being gone through, or the next one. They come and go meanwhile, but their numbers only grow.
    fn gathered_next(&self, gather: &mut Gather, looked_at: &mut usize) -> Option<&Keyspace> {
        let known = self.keyspaces.get(gather.place);
        if let Some(keyspace) = known.filter(|keyspace| keyspace.id() == gather.keyspace) {
            return Some(keyspace);
        }
        *looked_at += self.keyspaces.len();
        let later = self.keyspaces.iter().enumerate();
        let later = later.filter(|(_, keyspace)| keyspace.id() >= gather.keyspace);
        let (place, keyspace) = later.min_by_key(|(_, keyspace)| keyspace.id())?;
        if keyspace.id() != gather.keyspace {
            (gather.keyspace, gather.local) = (keyspace.id(), 0);
            gather.cursor = HashCursor::START;
        }
        gather.place = place;
        Some(keyspace)
    }

    /// Whether something is left in the victim that the list did not name. Then each of its records is to be looked at.
    pub(super) fn is_incomplete(&self, victim: &Victim) -> bool {
        let facts = self.log.facts(victim.id);
        matches!(victim.search, Search::Listed(_))
            && facts.is_some_and(|facts| facts.live + facts.tombstones > 0)
    }
}
