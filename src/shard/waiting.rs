//! Requests that can't be evaluated yet: their record is on disk, or they must see a commit first.
//!
//! A request never resumes in the middle. When what it waits for is there, it is evaluated again from its start, with the
//! record read from disk pinned in memory meanwhile; so atomicity needs no locks. Requests on one key wait in one queue and
//! leave it in order; a new request on a key that has a queue joins it. Only the first of a queue has reads under way.
//!
//! Everything here is bounded by `WAITING_BYTES_MAX`: the driver stops taking requests before it is exceeded by more than
//! the one request that crossed it.

use std::collections::{HashMap, VecDeque};

use corduroy_proto_wire::{BatchItem, LENGTH_LEN, Request, key_of};

use super::origin::{Origin, Replies};
use super::scan::ScanStep;
use super::staging::OverlayKey;
use super::{Refusal, Shard, Stop};
use crate::ports::{DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::format::Record;
use crate::types::{KeyspaceId, Now, Position};

/// What waits in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum QueueId {
    Key(OverlayKey),
    /// A scan: nothing queues behind it.
    Alone(u64),
}

#[derive(Debug)]
enum Task {
    /// An encoded request, its length field included.
    Request(Vec<u8>),
    Scan(ScanStep),
}

impl Task {
    fn bytes(&self) -> usize {
        match self {
            Task::Request(frame) => frame.len(),
            Task::Scan(step) => step.prefix.len() + size_of::<ScanStep>(),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    tasks: VecDeque<(Origin, Task)>,
    /// Reads that the first task waits for.
    missing: usize,
    /// Records kept for the tasks of this queue.
    pinned: Vec<Position>,
}

#[derive(Debug)]
struct Read {
    len: u32,
    queues: Vec<QueueId>,
}

#[derive(Debug)]
struct Warm {
    record: Result<Vec<u8>, String>,
    pins: usize,
}

/// Everything that waits in a shard.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queues: HashMap<QueueId, Queue>,
    reads: HashMap<Position, Read>,
    warm: HashMap<Position, Warm>,
    to_submit: Vec<Position>,
    for_commit: Vec<QueueId>,
    alone_next: u64,
    bytes: usize,
    cold_reads: u64,
}

impl Waiting {
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.queues.is_empty()
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn requests(&self) -> usize {
        self.queues.values().map(|queue| queue.tasks.len()).sum()
    }

    pub(super) fn cold_reads(&self) -> u64 {
        self.cold_reads
    }

    /// A record that was read for a waiting request.
    pub(super) fn warm(&self, position: Position) -> Option<Result<&[u8], &str>> {
        self.warm
            .get(&position)
            .map(|warm| warm.record.as_deref().map_err(String::as_str))
    }

    fn unpin(&mut self, positions: Vec<Position>) {
        for position in positions {
            let warm = self
                .warm
                .get_mut(&position)
                .expect("a pinned record is kept");
            warm.pins -= 1;
            if warm.pins == 0 {
                let warm = self.warm.remove(&position).expect("it was there just now");
                self.bytes -= warm.record.map_or(0, |bytes| bytes.len());
            }
        }
    }

    /// Notes what the first task of a queue needs.
    fn need(&mut self, id: QueueId, stop: Stop) {
        match stop {
            Stop::Commit => self.for_commit.push(id),
            Stop::Cold(records) => {
                let queue = self
                    .queues
                    .get_mut(&id)
                    .expect("the queue that waits is there");
                queue.missing = records.len();
                for (position, len) in records {
                    let read = self.reads.entry(position).or_insert_with(|| {
                        self.to_submit.push(position);
                        self.bytes += len as usize;
                        Read {
                            len,
                            queues: Vec::new(),
                        }
                    });
                    read.queues.push(id);
                }
            }
            Stop::Refused(_) => unreachable!("a refused request does not wait"),
        }
    }
}

impl Shard {
    /// If earlier requests on the same key wait, puts this one behind them.
    pub(super) fn queued_behind(&mut self, origin: Origin, request: &Request<'_>) -> bool {
        let Some(id) = self.busy_queue(request) else {
            return false;
        };
        let task = Task::Request(encode(request));
        self.waiting.bytes += task.bytes();
        self.waiting
            .queues
            .get_mut(&id)
            .expect("a busy queue is there")
            .tasks
            .push_back((origin, task));
        true
    }

    /// Puts a request that could not be evaluated into line.
    pub(super) fn wait(&mut self, origin: Origin, request: &Request<'_>, stop: Stop) {
        let id = self
            .queue_ids(request)
            .next()
            .expect("a request that waits is about a key");
        self.enqueue(id, origin, Task::Request(encode(request)), stop);
    }

    /// Puts a scan's step into line.
    pub(super) fn wait_scan(&mut self, origin: Origin, step: ScanStep, stop: Stop) {
        self.waiting.alone_next += 1;
        self.enqueue(
            QueueId::Alone(self.waiting.alone_next),
            origin,
            Task::Scan(step),
            stop,
        );
    }

    fn enqueue(&mut self, id: QueueId, origin: Origin, task: Task, stop: Stop) {
        self.waiting.bytes += task.bytes();
        self.waiting
            .queues
            .entry(id)
            .or_default()
            .tasks
            .push_back((origin, task));
        self.waiting.need(id, stop);
    }

    fn busy_queue(&self, request: &Request<'_>) -> Option<QueueId> {
        self.queue_ids(request)
            .find(|id| self.waiting.queues.contains_key(id))
    }

    fn queue_ids<'a>(&'a self, request: &Request<'a>) -> impl Iterator<Item = QueueId> + use<'a> {
        let (keyspace, keys): (u32, Vec<&[u8]>) = match *request {
            Request::Get { keyspace, key }
            | Request::Exists { keyspace, key }
            | Request::Ttl { keyspace, key }
            | Request::Touch { keyspace, key, .. }
            | Request::Persist { keyspace, key }
            | Request::Add { keyspace, key, .. }
            | Request::Append { keyspace, key, .. } => (keyspace, vec![key]),
            Request::Put { keyspace, put } => (keyspace, vec![put.key]),
            Request::Delete { keyspace, delete } => (keyspace, vec![delete.key]),
            Request::AtomicBatch {
                keyspace,
                ref items,
            } => (keyspace, items.iter().map(item_key).collect()),
            _ => (0, Vec::new()),
        };
        keys.into_iter()
            .filter_map(move |key| self.locate(KeyspaceId(keyspace), key).ok())
            .map(|place| QueueId::Key(place.overlay_key()))
    }

    /// Hands the reads that requests wait for to the disk.
    pub(super) fn submit_reads(&mut self, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
        for position in std::mem::take(&mut self.waiting.to_submit) {
            let len = self.waiting.reads[&position].len;
            self.waiting.cold_reads += 1;
            assert!(
                self.submit_read(position, len, disk),
                "the index points into the log"
            );
        }
    }

    /// A read has come back: check it, and go on with whoever waited for it.
    pub(super) fn cold_read_done(
        &mut self,
        now: Now,
        position: Position,
        outcome: DiskOutcome,
        out: &mut impl Replies,
    ) {
        let read = self
            .waiting
            .reads
            .remove(&position)
            .expect("a read that completes was asked for");
        self.waiting.bytes -= read.len as usize;
        let record = outcome
            .map_err(|error| error.to_string())
            .and_then(|mut bytes| {
                let len = Record::check(&bytes, position)
                    .map_err(|error| error.to_string())?
                    .encoded_len();
                bytes.truncate(len);
                Ok(bytes)
            });
        let record = record.map_err(|error| {
            self.statistics.damaged_reads += 1;
            let place = self.log.place_of(position).map(|place| (place.segment.to_string(), place.offset));
            let (segment, offset) = place.unwrap_or_default();
            format!(
                "shard {}, segment {segment}, file offset {offset}: the record there can't be read: {error}",
                self.config.identity.shard
            )
        });
        self.waiting.bytes += record.as_ref().map_or(0, Vec::len);
        self.waiting.warm.insert(
            position,
            Warm {
                record,
                pins: read.queues.len(),
            },
        );
        for id in read.queues {
            let queue = self
                .waiting
                .queues
                .get_mut(&id)
                .expect("a queue stays while it waits for a read");
            queue.pinned.push(position);
            queue.missing -= 1;
            if queue.missing == 0 {
                self.advance(now, id, out);
            }
        }
    }

    /// After a commit, or after the disk failed: looks again at what waited for it.
    pub(super) fn resume_waiting(&mut self, now: Now, out: &mut impl Replies) {
        for id in std::mem::take(&mut self.waiting.for_commit) {
            self.advance(now, id, out);
        }
    }

    /// Evaluates a queue's tasks until one has to wait again or none is left.
    fn advance(&mut self, now: Now, id: QueueId, out: &mut impl Replies) {
        loop {
            let queue = self
                .waiting
                .queues
                .get_mut(&id)
                .expect("a queue that advances is there");
            let Some((origin, task)) = queue.tasks.pop_front() else {
                let queue = self
                    .waiting
                    .queues
                    .remove(&id)
                    .expect("it was there just now");
                self.waiting.unpin(queue.pinned);
                return;
            };
            self.waiting.bytes -= task.bytes();
            let result = match &task {
                Task::Request(frame) => {
                    let (_, request) = Request::decode(&frame[LENGTH_LEN..])
                        .expect("what was encoded here decodes");
                    self.evaluate(now, origin, &request, out)
                }
                Task::Scan(step) => self.try_scan(now, origin, step, out),
            };
            match result {
                Ok(()) => {}
                Err(Stop::Refused(refusal)) => self.refuse_task(origin, &task, &refusal, out),
                Err(stop) => {
                    self.waiting.bytes += task.bytes();
                    let queue = self
                        .waiting
                        .queues
                        .get_mut(&id)
                        .expect("the queue stays while it advances");
                    queue.tasks.push_front((origin, task));
                    self.waiting.need(id, stop);
                    return;
                }
            }
        }
    }

    fn refuse_task(
        &mut self,
        origin: Origin,
        task: &Task,
        refusal: &Refusal,
        out: &mut impl Replies,
    ) {
        match task {
            Task::Request(_) => self.refuse(origin, refusal, out),
            Task::Scan(_) => self.refuse_scan(origin, refusal, out),
        }
    }
}

fn item_key<'a>(item: &BatchItem<'a>) -> &'a [u8] {
    match *item {
        BatchItem::Get { key } => key,
        BatchItem::Put(put) => put.key,
        BatchItem::Delete(delete) => delete.key,
    }
}

fn encode(request: &Request<'_>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(request.encoded_len());
    request.encode(0, &mut frame);
    debug_assert!(
        key_of(&frame[LENGTH_LEN..]).is_some() || matches!(request, Request::AtomicBatch { .. })
    );
    frame
}
