//! The shard against a disk in memory that does what it is told at once, or fails on request.

mod backup;
mod compaction;
mod durability;
mod flips;
mod requests;
mod reserve;
mod scrub;
mod semantics;
mod units;
mod waiting;

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use corduroy_proto_wire::{Body, Condition, Delete, Put, Request, Response, Status, Ttl};

use super::{Origin, Replies, Shard, ShardCommand, ShardConfig, ShardReply, SyncMode, Target};
use crate::ports::ConnectionId;
use crate::storage::disk::{DiskDone, DiskOperation, DiskTicket};
use crate::storage::format::{LogTag, SEGMENT_HEADER_LEN};
use crate::storage::log::SegmentMemory;
use crate::storage::recovery::{Identity, SegmentFile};
use crate::storage::summary::{self, SummaryFile};
use crate::types::{KeyspaceId, MonoNanos, Now, SegmentId, ShardId, WallMillis};

const KEYSPACE: u32 = KeyspaceId::DEFAULT.0;

/// An answer, owned.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    status: Status,
    version: u64,
    value: Option<Vec<u8>>,
    number: Option<i64>,
    text: String,
}

#[derive(Debug, Default)]
struct Inbox {
    answers: BTreeMap<u32, Answer>,
    internal: Vec<ShardReply>,
}

impl Replies for Inbox {
    fn reply(&mut self, origin: Origin, response: &Response<'_>) {
        let Target::Client(request) = origin.target else {
            panic!("the tests ask as clients")
        };
        let mut answer = Answer {
            status: response.status,
            version: response.version,
            value: None,
            number: None,
            text: String::new(),
        };
        match &response.body {
            Body::Value(value) => answer.value = Some(value.to_vec()),
            Body::Counter(value) => answer.number = Some(*value),
            Body::Number(value) => answer.number = Some(*value as i64),
            Body::Ttl(ttl) => answer.number = ttl.map(|ttl| ttl as i64),
            Body::Error(text) => answer.text = (*text).to_owned(),
            _ => {}
        }
        assert_eq!(
            self.answers.insert(request, answer),
            None,
            "a request is answered once"
        );
    }

    fn reply_large(&mut self, origin: Origin, response: &Response<'_>, value: Bytes) {
        assert_eq!(response.body, Body::Value(&value));
        self.reply(origin, response);
    }

    fn internal(&mut self, _origin: Origin, reply: ShardReply) {
        self.internal.push(reply);
    }
}

/// A shard, its disk and its clients.
struct World {
    shard: Shard,
    inbox: Inbox,
    files: BTreeMap<SegmentId, Vec<u8>>,
    summaries: BTreeMap<SegmentId, Vec<u8>>,
    queue: Vec<(DiskTicket, DiskOperation)>,
    now: Now,
    request_next: u32,
    config: ShardConfig,
    /// Compaction is kept from the first segment, after a restart too.
    holds_first: bool,
}

fn config() -> ShardConfig {
    ShardConfig {
        identity: Identity {
            node: 7,
            shard: ShardId(0),
            shard_count: 1,
        },
        log_tag: LogTag(0x1234_5678),
        sync: SyncMode::Always,
        value_len_max: 100_000,
        large_len: 5_000,
        memory_bytes: 64 << 20,
        segment_len: 1 << 20,
        compacts: true,
        scrub_period_ns: None,
        hash_secret: [3; 16],
    }
}

impl World {
    fn new() -> World {
        World::with(config())
    }

    fn with(config: ShardConfig) -> World {
        let now = Now {
            mono: MonoNanos(1_000_000_000),
            wall: WallMillis(1_700_000_000_000),
        };
        let mut world = World {
            shard: Shard::new(config.clone()),
            inbox: Inbox::default(),
            files: BTreeMap::new(),
            summaries: BTreeMap::new(),
            queue: Vec::new(),
            now,
            request_next: 1,
            config,
            holds_first: false,
        };
        world.shard.install(KeyspaceId::DEFAULT, 64, "default");
        world.settle();
        world
    }

    /// What a restart finds: only the files.
    fn restart(&self) -> World {
        self.restart_with(false)
    }

    /// As after a kill, with `--salvage` or without.
    fn restart_with(&self, salvage: bool) -> World {
        let mut world = self.restarted(salvage);
        world.settle();
        world
    }

    /// The same before its first turn.
    fn restarted(&self, salvage: bool) -> World {
        let names: Vec<(SegmentId, String)> = self
            .files
            .keys()
            .map(|id| (*id, format!("{id}.seg")))
            .collect();
        let files: Vec<SegmentFile<'_>> = names
            .iter()
            .map(|(id, name)| SegmentFile {
                id: *id,
                name,
                bytes: &self.files[id],
            })
            .collect();
        let summaries = self.summaries.iter();
        let summaries: Vec<SummaryFile<'_>> = summaries
            .map(|(segment, bytes)| SummaryFile {
                segment: *segment,
                bytes,
            })
            .collect();
        let recovered = crate::shard::recover::recover_shard(
            &self.config,
            self.now,
            salvage,
            &files,
            &summaries,
            &mut |_| {},
        )
        .expect("a log that was written properly recovers");
        let mut world = World {
            shard: recovered.shard,
            inbox: Inbox::default(),
            files: self.files.clone(),
            summaries: self.summaries.clone(),
            queue: Vec::new(),
            now: self.now,
            request_next: 1,
            config: self.config.clone(),
            holds_first: self.holds_first,
        };
        if world.holds_first {
            world.hold_first();
        }
        for repair in recovered.repairs {
            world.repair(repair);
        }
        world.shard.install(KeyspaceId::DEFAULT, 64, "default");
        world
    }

    fn repair(&mut self, repair: crate::storage::recovery::Repair) {
        use crate::storage::recovery::Repair;
        self.summaries.remove(&repair.segment());
        match repair {
            Repair::Zero {
                segment,
                offset,
                len,
            } => {
                let file = self.files.get_mut(&segment).expect("it was there");
                file[offset as usize..(offset + len) as usize].fill(0);
            }
            Repair::Write {
                segment,
                offset,
                bytes,
            } => {
                let file = self.files.get_mut(&segment).expect("it was there");
                let end = offset as usize + bytes.len();
                file.resize(file.len().max(end), 0);
                file[offset as usize..end].copy_from_slice(&bytes);
            }
            Repair::Extend { segment, len } => {
                let file = self.files.get_mut(&segment).expect("it was there");
                file.resize(len as usize, 0);
            }
            Repair::Create { segment } => {
                self.files.entry(segment).or_default();
            }
            Repair::Truncate { segment, len } => {
                let file = self.files.get_mut(&segment).expect("it was there");
                file.truncate(len as usize);
            }
            Repair::Delete { segment } => {
                self.files.remove(&segment);
            }
        }
    }

    /// Sends a request over one of several connections and answers its number.
    fn send_as(&mut self, client: u32, request: &Request<'_>) -> u32 {
        let number = self.request_next;
        self.request_next += 1;
        let origin = Origin {
            shard: ShardId(0),
            client: ConnectionId {
                slot: client,
                generation: 1,
            },
            target: Target::Client(number),
            get: false,
        };
        self.shard
            .execute(self.now, origin, request, &mut self.inbox);
        number
    }

    fn send(&mut self, request: &Request<'_>) -> u32 {
        self.send_as(1, request)
    }

    fn command(&mut self, command: ShardCommand) {
        let origin = Origin {
            shard: ShardId(0),
            client: ConnectionId {
                slot: 1,
                generation: 1,
            },
            target: Target::Gather(
                super::GatherId {
                    slot: 0,
                    generation: 0,
                },
                0,
            ),
            get: false,
        };
        self.shard
            .command(self.now, origin, command, &mut self.inbox);
    }

    fn end_turn(&mut self) {
        self.shard
            .end_turn(self.now, self.now.mono, &mut self.queue, &mut self.inbox);
    }

    /// Does the oldest disk operation.
    fn step(&mut self) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let (ticket, operation) = self.queue.remove(0);
        let outcome = match operation {
            DiskOperation::Prepare {
                segment,
                len,
                header,
                memory,
                ..
            } => {
                let mut file = vec![0; len as usize];
                file[..header.len()].copy_from_slice(&header);
                self.files.insert(segment, file);
                let len = len as usize - SEGMENT_HEADER_LEN;
                DiskDone::Prepared(memory.unwrap_or_else(|| SegmentMemory::new(len).unwrap()))
            }
            DiskOperation::Write {
                segment,
                offset,
                mut block,
                ..
            } => {
                block.seal(|| {});
                let file = self.files.get_mut(&segment).expect("a prepared segment");
                let mut at = offset as usize;
                for part in block.parts() {
                    file[at..at + part.len()].copy_from_slice(part);
                    at += part.len();
                }
                DiskDone::Written(block)
            }
            DiskOperation::Sync { .. } => DiskDone::Synced,
            DiskOperation::Release(_) => return true,
            DiskOperation::Remove {
                stub,
                header,
                delete,
            } => {
                let file = self.files.get_mut(&stub).expect("a segment");
                file[..header.len()].copy_from_slice(&header);
                file.truncate(SEGMENT_HEADER_LEN);
                for segment in delete {
                    self.files.remove(&segment);
                }
                DiskDone::Removed
            }
            DiskOperation::Read {
                segment,
                offset,
                len,
            } => {
                let file = &self.files[&segment];
                let end = (offset as usize + len).min(file.len());
                let bytes = file.get(offset as usize..end).unwrap_or_default();
                DiskDone::Read(Bytes::copy_from_slice(bytes))
            }
            DiskOperation::Summarize {
                segment,
                end,
                identifier,
            } => {
                let made = summary::make(identifier, &self.files[&segment], segment, end);
                match made {
                    Ok(summary) => self.summaries.insert(segment, summary),
                    Err(summary::MakeError::Salvaged) => self.summaries.remove(&segment),
                    Err(error) => panic!("segment {segment} has no summary: {error}"),
                };
                DiskDone::Summarized
            }
            DiskOperation::Load(place) => {
                let loaded = place.check_file(&self.files[&place.segment]);
                DiskDone::Loaded(loaded.expect("what was written properly is right"))
            }
        };
        self.shard
            .disk_completed(self.now, ticket, Ok(outcome), &mut self.inbox);
        true
    }

    /// Fails the oldest disk operation of a kind.
    fn fail(&mut self, which: impl Fn(&DiskOperation) -> bool, errno: i32) {
        let at = self
            .queue
            .iter()
            .position(|(_, operation)| which(operation))
            .expect("such an operation");
        let (ticket, _) = self.queue.remove(at);
        let error = io::Error::from_raw_os_error(errno);
        self.shard
            .disk_completed(self.now, ticket, Err(error), &mut self.inbox);
    }

    /// Turns and disk operations until nothing is left to do.
    fn settle(&mut self) {
        loop {
            self.end_turn();
            if !self.step() && !self.shard.has_slices() {
                return;
            }
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> Answer {
        let number = self.send(request);
        self.settle();
        self.inbox.answers[&number].clone()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Answer {
        self.ask(&put(key, value))
    }

    fn get(&mut self, key: &[u8]) -> Answer {
        self.ask(&get(key))
    }
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Request<'a> {
    put_if(key, value, Condition::Always)
}

fn put_if<'a>(key: &'a [u8], value: &'a [u8], condition: Condition<'a>) -> Request<'a> {
    Request::Put {
        keyspace: KEYSPACE,
        put: Put {
            key,
            value,
            ttl: Ttl::None,
            condition,
            return_value: false,
        },
    }
}

fn put_ttl<'a>(key: &'a [u8], value: &'a [u8], ttl_ms: u64) -> Request<'a> {
    let condition = Condition::Always;
    Request::Put {
        keyspace: KEYSPACE,
        put: Put {
            key,
            value,
            ttl: Ttl::Millis(ttl_ms),
            condition,
            return_value: false,
        },
    }
}

fn get(key: &[u8]) -> Request<'_> {
    Request::Get {
        keyspace: KEYSPACE,
        key,
    }
}

fn delete(key: &[u8]) -> Request<'_> {
    let delete = Delete {
        key,
        condition: Condition::Always,
        return_value: false,
    };
    Request::Delete {
        keyspace: KEYSPACE,
        delete,
    }
}
