//! One step of a scan: the keys of one partition in the order of their hashes, from a cursor on.
//!
//! A scan keeps no state on the server. Its cursor is a partition and a hash; a key that is there throughout has one place
//! in that order whatever is inserted or removed around it, so it is met at least once. The work of a step is bounded
//! by the entries that it looks at, the bytes that it gathers and the cold records that it reads; the driver strings
//! steps together into a page.

use bytes::Bytes;
use corduroy_proto_wire::Status;

use super::lookup::is_expired;
use super::origin::{Origin, Replies, ShardReply};
use super::{Refusal, Shard, Stop};
use crate::limits;
use crate::storage::format::RecordKind;
use crate::storage::index::{Candidate, HashCursor};
use crate::types::{KeyspaceId, Now, Position};

/// Where a step begins and how far it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanStep {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// The partition, which lives on the shard that is asked.
    pub partition: u16,
    /// Where in hash order to begin.
    pub from: HashCursor,
    /// Only keys that begin with this.
    pub prefix: Vec<u8>,
    /// Most keys to return.
    pub limit: usize,
    /// Whether to return values.
    pub with_values: bool,
    /// Stop after this many bytes of keys and values (but not before one key).
    pub bytes_max: usize,
}

/// One key that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedScanItem {
    /// The key.
    pub key: Vec<u8>,
    /// Its value, if asked for.
    pub value: Option<Bytes>,
    /// Its version.
    pub version: u64,
    /// When it was written.
    pub timestamp_ms: u64,
    /// When it expires.
    pub expires_at_ms: Option<u64>,
}

/// What a step found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage {
    /// The keys, in hash order.
    pub items: Vec<OwnedScanItem>,
    /// Bytes of keys and values in them.
    pub bytes: usize,
    /// Where the partition goes on; `None` when it is done.
    pub next: Option<HashCursor>,
    /// Index entries looked at.
    pub entries: usize,
}

impl Shard {
    pub(super) fn scan(
        &mut self,
        now: Now,
        origin: Origin,
        step: ScanStep,
        out: &mut impl Replies,
    ) {
        match self.try_scan(now, origin, &step, out) {
            Ok(()) => {}
            Err(Stop::Refused(refusal)) => self.refuse_scan(origin, &refusal, out),
            Err(stop) => self.wait_scan(origin, step, stop),
        }
    }

    pub(super) fn refuse_scan(
        &mut self,
        origin: Origin,
        refusal: &Refusal,
        out: &mut impl Replies,
    ) {
        self.statistics.errors += 1;
        out.internal(
            origin,
            ShardReply::Failed(refusal.status, refusal.reason.clone()),
        );
    }

    pub(super) fn try_scan(
        &mut self,
        now: Now,
        origin: Origin,
        step: &ScanStep,
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        let page = self.scan_page(now, step)?;
        out.internal(origin, ShardReply::Scan(page));
        Ok(())
    }

    fn scan_page(&self, now: Now, step: &ScanStep) -> Result<ScanPage, Stop> {
        let Some(keyspace) = self.keyspace(step.keyspace) else {
            return Err(Refusal::new(
                Status::UnknownKeyspace,
                format!("there is no keyspace with the number {}", step.keyspace.0),
            )
            .into());
        };
        let shard_count = self.config.identity.shard_count;
        if step.partition >= keyspace.partitions()
            || step.partition % shard_count != self.config.identity.shard.0
        {
            return Err(Refusal::new(
                Status::InvalidRequest,
                "the cursor is not one of this keyspace",
            )
            .into());
        }
        let partition = keyspace.partition(usize::from(step.partition / shard_count));
        let mut entries = Vec::new();
        let end = partition
            .index
            .page(step.from, limits::SCAN_STEP_ENTRIES_MAX, &mut entries);
        let (taken, cut) = self.take_what_is_cheap(step, &entries)?;
        let mut page = ScanPage {
            items: Vec::new(),
            bytes: 0,
            next: end,
            entries: entries.len(),
        };
        if cut {
            page.next = Some(entries[taken - 1].0);
        }
        for (number, (_, candidate)) in entries[..taken].iter().enumerate() {
            let large_last = page.items.last().is_some_and(|item| {
                item.value
                    .as_ref()
                    .is_some_and(|value| value.len() > self.config.large_len)
            });
            let full = page.items.len() >= step.limit || page.bytes >= step.bytes_max || large_last;
            if full && may_stop(step, &entries, number) {
                page.next = Some(entries[number - 1].0);
                page.entries = number;
                break;
            }
            let record = self
                .record_at(candidate.address)?
                .expect("what is not in memory was asked for above");
            if record.kind != RecordKind::Set
                || is_expired(&record, now)
                || !record.key.starts_with(&step.prefix)
            {
                continue;
            }
            page.bytes += record.key.len()
                + if step.with_values {
                    record.value.len()
                } else {
                    0
                };
            page.items.push(OwnedScanItem {
                key: record.key.to_vec(),
                value: step.with_values.then(|| record.value()),
                version: record.version.0,
                timestamp_ms: record.timestamp.0,
                expires_at_ms: record.expiry.map(|expiry| expiry.0),
            });
        }
        Ok(page)
    }

    /// How many of the entries can be looked at with a bounded number of reads, and whether that cuts the step short.
    /// Asks for those reads if they have not been done yet.
    fn take_what_is_cheap(
        &self,
        step: &ScanStep,
        entries: &[(HashCursor, Candidate)],
    ) -> Result<(usize, bool), Stop> {
        let mut missing: Vec<(Position, u32)> = Vec::new();
        let (mut cold, mut cold_bytes) = (0, 0);
        let mut taken = entries.len();
        for (number, (_, candidate)) in entries.iter().enumerate() {
            if candidate.address >= self.log.tail_start() {
                continue;
            }
            let over =
                cold >= limits::SCAN_COLD_READS_MAX || cold_bytes >= limits::SCAN_PAGE_BYTES_MAX;
            if over && may_stop(step, entries, number) {
                taken = number;
                break;
            }
            cold += 1;
            cold_bytes += candidate.len_hint as usize;
            if self.waiting.warm(candidate.address).is_none() {
                missing.push((candidate.address, candidate.len_hint));
            }
        }
        if missing.is_empty() {
            Ok((taken, taken < entries.len()))
        } else {
            Err(Stop::Cold(missing))
        }
    }
}

/// Whether a step may end before entry `number`: only if the next one then begins further on. (Of several entries with one
/// hash all but the last resume at that hash, so stopping among them may return some twice, and never skips one.)
fn may_stop(step: &ScanStep, entries: &[(HashCursor, Candidate)], number: usize) -> bool {
    number > 0 && entries[number - 1].0 > step.from
}
