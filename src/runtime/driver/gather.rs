//! Requests that concern several keys or all shards: split into parts, gathered again.
//!
//! The shard whose connection received the request coordinates it. Parts go to the shards that own them, each answer comes back
//! to its place, and the last one completes the gather. Some take several rounds (a scan goes from partition to partition; a
//! keyspace is first recorded, then installed everywhere): then completing a round yields the next one.

use bytes::Bytes;
use corduroy_proto_wire::{
    Body, Cursor, ItemResult, KeyspaceInfo, RequestId, Response, ScanItem, Status,
};

use super::resp::{Across, NodeTold};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::statistics::{Kind, ShardStatus};
use crate::shard::{OwnedScanItem, ShardReply, keyspace_of_version};
use crate::storage::index::HashCursor;
use crate::types::{KeyspaceId, MonoNanos};

/// One operation's result, kept until all are there.
#[derive(Clone, Debug)]
pub(super) struct OwnedItem {
    pub(super) status: Status,
    pub(super) version: u64,
    pub(super) timestamp_ms: u64,
    pub(super) value: Option<Vec<u8>>,
}

/// A scan in the middle of a page.
#[derive(Clone, Debug)]
pub(super) struct ScanProgress {
    pub(super) keyspace: KeyspaceId,
    pub(super) prefix: Vec<u8>,
    pub(super) limit: usize,
    pub(super) with_values: bool,
    /// The partition that is being read, and the last one to read.
    pub(super) partition: u16,
    pub(super) partition_last: u16,
    pub(super) from: HashCursor,
    pub(super) items: Vec<OwnedScanItem>,
    pub(super) bytes: usize,
    pub(super) entries: usize,
    pub(super) steps: u32,
    /// Values over this many bytes are not copied.
    pub(super) large_len: usize,
}

/// What is gathered.
#[derive(Debug)]
pub(super) enum Gathering {
    Batch {
        results: Vec<Option<OwnedItem>>,
        bytes: usize,
        /// What the values may take together: the answer must fit into a frame.
        bytes_max: usize,
    },
    Count {
        keys: u64,
    },
    /// Wait for all shards, then answer success.
    Flush,
    /// The same, of a round of compaction.
    Compact,
    Scan(Box<ScanProgress>),
    Status {
        shards: Vec<ShardStatus>,
    },
    /// The record in the system keyspace is being written.
    CreateRecord {
        name: String,
        partitions: u16,
    },
    /// The keyspace is being installed on all shards.
    CreateInstall {
        info: KeyspaceInfo,
    },
    DropRecord {
        id: KeyspaceId,
    },
    DropRemove,
    /// A Redis client's transaction over several shards.
    Across(Box<Across>),
    /// What the drivers of all shards tell of themselves.
    Node(NodeTold),
}

impl Gathering {
    /// As what it is counted when it is answered.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Gathering::Batch { .. } => Kind::Batch,
            Gathering::Count { .. } => Kind::Count,
            Gathering::Flush => Kind::Flush,
            Gathering::Compact => Kind::Compact,
            Gathering::Scan(_) => Kind::Scan,
            Gathering::Status { .. } => Kind::Status,
            Gathering::CreateRecord { .. } | Gathering::CreateInstall { .. } => {
                Kind::KeyspaceCreate
            }
            Gathering::DropRecord { .. } | Gathering::DropRemove => Kind::KeyspaceDrop,
            // A transaction's parts are counted by their shards; what drivers ask each other for Redis clients is no request of the store's.
            Gathering::Across(_) | Gathering::Node(_) => Kind::Part,
        }
    }
}

/// A request in parts.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) generation: u32,
    pub(super) client: ConnectionId,
    pub(super) request: RequestId,
    /// When the turn began in which it came in.
    pub(super) since: MonoNanos,
    pub(super) remaining: usize,
    /// The keyspace is recorded; its installation on all shards has been asked for.
    pub(super) installed: bool,
    pub(super) failure: Option<(Status, String)>,
    pub(super) gathering: Gathering,
}

impl Gather {
    /// Takes the answer to one part that was a client's kind of request.
    pub(super) fn part(&mut self, part: u32, response: &Response<'_>) {
        self.remaining -= 1;
        match &mut self.gathering {
            Gathering::Batch {
                results,
                bytes,
                bytes_max,
            } => {
                let mut item = OwnedItem {
                    status: response.status,
                    version: response.version,
                    timestamp_ms: response.timestamp_ms,
                    value: None,
                };
                if let Body::Value(value) = response.body {
                    if *bytes + value.len() > *bytes_max {
                        item.status = over_limit(response.status);
                    } else {
                        *bytes += value.len();
                        item.value = Some(value.to_vec());
                    }
                }
                results[part as usize] = Some(item);
            }
            Gathering::CreateRecord { name, partitions } => match response.status {
                Status::Ok => {
                    let id = keyspace_of_version(response.version);
                    let info = KeyspaceInfo {
                        id: id.0,
                        partitions: *partitions,
                        name: std::mem::take(name),
                    };
                    self.gathering = Gathering::CreateInstall { info };
                }
                Status::ConditionFailed => {
                    self.failure = Some((
                        Status::AlreadyExists,
                        format!("keyspace {name:?} exists already"),
                    ));
                }
                status => self.failure = Some((status, reason(response))),
            },
            Gathering::DropRecord { .. } => match response.status {
                Status::Ok => {}
                Status::NotFound | Status::ConditionFailed => {
                    self.failure = Some((Status::NotFound, "there is no such keyspace".to_owned()));
                }
                status => self.failure = Some((status, reason(response))),
            },
            _ => unreachable!("only batches and keyspace changes have parts of this kind"),
        }
    }

    /// So many parts are not asked for any more, because nobody is there to be answered.
    pub(super) fn give_up(&mut self, parts: usize) {
        self.remaining -= parts;
        self.failure = Some((Status::OutcomeUnknown, "the client is gone".to_owned()));
    }

    /// Takes the answer to one part that was an internal command.
    pub(super) fn internal(&mut self, reply: ShardReply) {
        self.remaining -= 1;
        match (reply, &mut self.gathering) {
            (ShardReply::Failed(status, reason), Gathering::Flush) => {
                // Other shards may have dropped their keys already.
                let status = if status == Status::ReadOnly {
                    Status::OutcomeUnknown
                } else {
                    status
                };
                self.failure = Some((status, reason));
            }
            (ShardReply::Failed(status, reason), _) => self.failure = Some((status, reason)),
            (ShardReply::Held(held), Gathering::Across(across)) => across.held(held),
            (ShardReply::Count(more), Gathering::Count { keys }) => *keys += more,
            (ShardReply::Status(status), Gathering::Status { shards }) => shards.push(*status),
            (
                ShardReply::Done,
                Gathering::Flush
                | Gathering::Compact
                | Gathering::CreateInstall { .. }
                | Gathering::DropRemove,
            ) => {}
            (ShardReply::Scan(page), Gathering::Scan(scan)) => {
                scan.bytes += page.bytes;
                scan.entries += page.entries;
                scan.items.extend(page.items);
                scan.steps += 1;
                match page.next {
                    Some(next) => scan.from = next,
                    None => {
                        scan.partition += 1;
                        scan.from = HashCursor::START;
                    }
                }
            }
            (reply, gathering) => unreachable!("{gathering:?} does not ask for {reply:?}"),
        }
    }
}

/// A read that does not fit into the batch's answer was not done; a write that can't give its old value back was.
fn over_limit(status: Status) -> Status {
    if status == Status::Ok {
        Status::LimitExceeded
    } else {
        status
    }
}

fn reason(response: &Response<'_>) -> String {
    match response.body {
        Body::Error(text) => text.to_owned(),
        _ => String::new(),
    }
}

impl ScanProgress {
    /// Whether the page is to be answered now.
    pub(super) fn is_done(&self) -> bool {
        self.partition > self.partition_last
            || self.items.len() >= self.limit
            || self.bytes >= limits::SCAN_PAGE_BYTES_MAX
            || self.last_value_is_large()
            || self.entries >= limits::SCAN_STEP_ENTRIES_MAX * 4
            || self.steps >= limits::SCAN_PAGE_STEPS_MAX
    }

    /// Whether the page ends with a large value. It then ends there, so that the value can be sent without being copied.
    fn last_value_is_large(&self) -> bool {
        self.last_value()
            .is_some_and(|value| value.len() > self.large_len)
    }

    /// The value of the last key.
    fn last_value(&self) -> Option<&Bytes> {
        self.items.last().and_then(|item| item.value.as_ref())
    }

    /// The value at the page's end, if it is a large one.
    pub(super) fn large_value(&self) -> Option<Bytes> {
        self.last_value()
            .filter(|_| self.last_value_is_large())
            .cloned()
    }

    /// Where the next page begins.
    pub(super) fn cursor(&self) -> Cursor {
        if self.partition > self.partition_last {
            return Cursor::START;
        }
        ScanProgress::cursor_at(self.keyspace, self.partition, self.from)
    }

    /// Partition and place of a cursor, if it is one of this keyspace.
    pub(super) fn parse_cursor(
        cursor: Cursor,
        keyspace: KeyspaceId,
        partitions: u16,
    ) -> Option<(u16, HashCursor)> {
        if cursor == Cursor::START {
            return Some((0, HashCursor::START));
        }
        let bytes = cursor.0;
        let partition = u16::from_le_bytes([bytes[2], bytes[3]]);
        let id = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let mut hash = [0; 8];
        hash.copy_from_slice(&bytes[8..16]);
        let valid = bytes[0] == CURSOR_FORMAT
            && bytes[1] == 0
            && id == keyspace.0
            && partition < partitions;
        HashCursor::from_u64(u64::from_le_bytes(hash))
            .filter(|_| valid)
            .map(|hash| (partition, hash))
    }

    /// The cursor of a place in a partition.
    pub(super) fn cursor_at(keyspace: KeyspaceId, partition: u16, from: HashCursor) -> Cursor {
        let mut bytes = [0; 16];
        bytes[0] = CURSOR_FORMAT;
        bytes[2..4].copy_from_slice(&partition.to_le_bytes());
        bytes[4..8].copy_from_slice(&keyspace.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&from.as_u64().to_le_bytes());
        Cursor(bytes)
    }

    /// Partition and place of a cursor that is not the start.
    pub(super) fn place_of(cursor: Cursor) -> Option<(u16, HashCursor)> {
        if cursor == Cursor::START {
            return None;
        }
        let bytes = cursor.0;
        let mut place = [0; 8];
        place.copy_from_slice(&bytes[8..16]);
        let place = HashCursor::from_u64(u64::from_le_bytes(place))?;
        Some((u16::from_le_bytes([bytes[2], bytes[3]]), place))
    }

    pub(super) fn wire_items(&self) -> Vec<ScanItem<'_>> {
        self.items
            .iter()
            .map(|item| ScanItem {
                key: &item.key,
                value: item.value.as_deref(),
                version: item.version,
                timestamp_ms: item.timestamp_ms,
                expires_at_ms: item.expires_at_ms,
            })
            .collect()
    }
}

/// First byte of a cursor that is not the start.
const CURSOR_FORMAT: u8 = 1;

pub(super) fn wire_results(results: &[Option<OwnedItem>]) -> Vec<ItemResult<'_>> {
    results
        .iter()
        .map(|result| {
            let item = result
                .as_ref()
                .expect("a batch is complete when all parts are there");
            ItemResult {
                status: item.status,
                version: item.version,
                timestamp_ms: item.timestamp_ms,
                value: item.value.as_deref(),
            }
        })
        .collect()
}
