//! Requests that can't be evaluated yet: their record is on disk, or they must see a commit first.
//!
//! A request never resumes in the middle. When what it waits for is there, it is evaluated again from its start, with the
//! record read from disk pinned in memory meanwhile; so atomicity needs no locks.
//!
//! Each key that something waits for has a **queue**. A request that waits stands in the queues of all its keys, and so does each
//! later one on any of them, whether it would have to wait for itself or not: that keeps the order of requests on a key. A request is
//! evaluated when it is the first in all its queues. As requests enter their queues in one go, the oldest of all is the first
//! in each of its own, so there is always one that can go on.
//!
//! Everything here is bounded by `WAITING_BYTES_MAX`: the driver stops taking requests before it is exceeded by more than
//! the one request that crossed it. What may go on at once is bounded by the batch: once that is full, the rest waits for its commit.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use corduroy_proto_wire::{BatchItem, LENGTH_LEN, Request, key_of};

use super::hold::{Hold, refuse_hold};
use super::origin::{Origin, Replies};
use super::overlay::OverlayKey;
use super::scan::ScanStep;
use super::{Refusal, Shard, Stop, unit};
use crate::limits;
use crate::storage::disk::{DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::format::RecordCheck;
use crate::types::{KeyspaceId, Now, Position};

/// What waits in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum QueueId {
    Key(OverlayKey),
    /// A scan: nothing queues behind it.
    Alone(u64),
}

#[derive(Debug)]
pub(super) enum Task {
    /// A request's frame without its length field.
    Request(Bytes),
    Scan(ScanStep),
    /// Keys are to be held.
    Hold(Hold),
    /// They are, until they are released or a part is carried out.
    Held,
    /// A unit's frame, carried out in the place of a hold.
    Part(Bytes),
}

impl Task {
    fn bytes(&self) -> usize {
        match self {
            Task::Request(frame) | Task::Part(frame) => frame.len(),
            Task::Hold(hold) => hold.bytes(),
            Task::Held => 0,
            Task::Scan(step) => step.prefix.len() + size_of::<ScanStep>(),
        }
    }
}

/// Names something that waits, in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct WaiterId(u64);

#[derive(Debug)]
struct Waiter {
    origin: Origin,
    task: Task,
    /// The queues that it stands in; no two are the same.
    queues: Vec<QueueId>,
    /// Reads that it waits for.
    missing: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiters: VecDeque<WaiterId>,
    /// Records kept for those in this queue.
    pinned: Vec<Position>,
}

#[derive(Debug)]
struct Read {
    len: u32,
    waiters: Vec<WaiterId>,
}

/// A large record that was read and is checked a slice at a time.
#[derive(Debug)]
struct Checking {
    position: Position,
    bytes: Bytes,
    check: RecordCheck,
}

impl Checking {
    fn advance(&mut self, len: usize) {
        self.check.advance(&self.bytes, len);
    }

    /// The record's bytes, if they are right.
    fn finish(self) -> Result<Bytes, String> {
        let len = self.check.finish().map_err(|error| error.to_string())?;
        Ok(self.bytes.slice(..len))
    }
}

#[derive(Debug)]
struct Warm {
    record: Result<Bytes, String>,
    pins: usize,
}

/// Everything that waits in a shard.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: HashMap<WaiterId, Waiter>,
    queues: HashMap<QueueId, Queue>,
    reads: HashMap<Position, Read>,
    warm: HashMap<Position, Warm>,
    to_submit: VecDeque<Position>,
    checking: VecDeque<Checking>,
    for_commit: Vec<WaiterId>,
    waiter_next: u64,
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
        self.waiters.len()
    }

    /// Whether there is a slice of work for the next turn.
    pub(super) fn has_slices(&self) -> bool {
        !self.checking.is_empty() || !self.to_submit.is_empty()
    }

    pub(super) fn cold_reads(&self) -> u64 {
        self.cold_reads
    }

    /// Whether something in this range of the log is being read, or is going to be.
    pub(super) fn reads_in(&self, range: &Range<Position>) -> bool {
        self.reads.keys().any(|position| range.contains(position))
    }

    /// A record that was read for a waiting request.
    pub(super) fn warm(&self, position: Position) -> Option<Result<&Bytes, &str>> {
        self.warm
            .get(&position)
            .map(|warm| warm.record.as_ref().map_err(String::as_str))
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

    /// Puts a request or a scan into its queues.
    fn enter(&mut self, queues: Vec<QueueId>, origin: Origin, task: Task) -> WaiterId {
        let id = self.next_id();
        self.bytes += task.bytes();
        for queue in &queues {
            self.queues.entry(*queue).or_default().waiters.push_back(id);
        }
        let waiter = Waiter {
            origin,
            task,
            queues,
            missing: 0,
        };
        self.waiters.insert(id, waiter);
        id
    }

    fn next_id(&mut self) -> WaiterId {
        self.waiter_next += 1;
        WaiterId(self.waiter_next)
    }

    fn waiter(&mut self, id: WaiterId) -> &mut Waiter {
        self.waiters
            .get_mut(&id)
            .expect("a waiter stays until it was evaluated to its end")
    }

    fn queue(&mut self, id: QueueId) -> &mut Queue {
        self.queues
            .get_mut(&id)
            .expect("a queue stays while something stands in it")
    }

    /// Notes what a waiter that is the first in its queues needs.
    fn need(&mut self, id: WaiterId, stop: Stop) {
        match stop {
            Stop::Commit => self.for_commit.push(id),
            Stop::Cold(records) => {
                self.waiter(id).missing = records.len();
                for (position, len) in records {
                    let read = self.reads.entry(position).or_insert_with(|| {
                        self.to_submit.push_back(position);
                        self.bytes += len as usize;
                        Read {
                            len,
                            waiters: Vec::new(),
                        }
                    });
                    read.waiters.push(id);
                }
            }
            Stop::Refused(_) => unreachable!("a refused request does not wait"),
        }
    }

    /// Whether a waiter is the first in all its queues.
    fn is_first(&self, id: WaiterId) -> bool {
        self.waiters[&id]
            .queues
            .iter()
            .all(|queue| self.queues[queue].waiters.front() == Some(&id))
    }

    /// Takes a waiter out of its queues and adds those that are the first in theirs now.
    fn leave(&mut self, id: WaiterId, next: &mut VecDeque<WaiterId>) {
        let waiter = self
            .waiters
            .remove(&id)
            .expect("a waiter leaves its queues once");
        self.bytes -= waiter.task.bytes();
        for queue_id in &waiter.queues {
            let queue = self.queue(*queue_id);
            let first = queue.waiters.pop_front();
            assert_eq!(first, Some(id), "the first in its queues leaves them");
            if queue.waiters.is_empty() {
                let queue = self.queues.remove(queue_id).expect("it was there just now");
                self.unpin(queue.pinned);
            }
        }
        for queue in &waiter.queues {
            let first = self
                .queues
                .get(queue)
                .and_then(|queue| queue.waiters.front());
            if let Some(&first) = first
                && self.is_first(first)
                && !next.contains(&first)
            {
                next.push_back(first);
            }
        }
    }
}

impl Shard {
    /// If earlier requests on the same keys wait, puts this one behind them.
    pub(super) fn queued_behind(&mut self, origin: Origin, request: &Request<'_>) -> bool {
        let queues = self.queues_of(request);
        let is_busy = |id: &QueueId| self.waiting.queues.contains_key(id);
        if !queues.iter().any(is_busy) {
            return false;
        }
        let task = Task::Request(self.frame_of(request));
        self.waiting.enter(queues, origin, task);
        true
    }

    /// Puts a request that could not be evaluated into line.
    pub(super) fn wait(&mut self, origin: Origin, request: &Request<'_>, stop: Stop) {
        let queues = self.queues_of(request);
        assert!(!queues.is_empty(), "a request that waits is about a key");
        let task = Task::Request(self.frame_of(request));
        let id = self.waiting.enter(queues, origin, task);
        self.waiting.need(id, stop);
    }

    /// Puts a task into line, and goes on with it if it is the first.
    pub(super) fn enter_waiting(
        &mut self,
        now: Now,
        queues: Vec<QueueId>,
        origin: Origin,
        task: Task,
        out: &mut impl Replies,
    ) {
        let id = self.waiting.enter(queues, origin, task);
        if self.waiting.is_first(id) {
            self.go_on_with(now, id, out);
        }
    }

    /// Gives one that stays in its place something else to do.
    pub(super) fn replace_task(&mut self, id: WaiterId, origin: Origin, task: Task) {
        let more = task.bytes();
        let waiter = self.waiting.waiter(id);
        let less = std::mem::replace(&mut waiter.task, task).bytes();
        waiter.origin = origin;
        self.waiting.bytes = self.waiting.bytes + more - less;
    }

    pub(super) fn go_on_with(&mut self, now: Now, id: WaiterId, out: &mut impl Replies) {
        self.go_on(now, VecDeque::from([id]), out);
    }

    /// Takes one out of its place, and goes on with those behind it.
    pub(super) fn leave_waiting(&mut self, now: Now, id: WaiterId, out: &mut impl Replies) {
        let mut next = VecDeque::new();
        self.waiting.leave(id, &mut next);
        self.go_on(now, next, out);
    }

    /// The frame of the request in hand, to be kept.
    fn frame_of(&self, request: &Request<'_>) -> Bytes {
        self.frame.clone().unwrap_or_else(|| encode(request))
    }

    /// Puts a scan's step into line.
    pub(super) fn wait_scan(&mut self, origin: Origin, step: ScanStep, stop: Stop) {
        let queue = QueueId::Alone(self.waiting.next_id().0);
        let id = self.waiting.enter(vec![queue], origin, Task::Scan(step));
        self.waiting.need(id, stop);
    }

    fn queues_of(&self, request: &Request<'_>) -> Vec<QueueId> {
        let keys: Vec<(KeyspaceId, &[u8])> = match *request {
            Request::AtomicBatch {
                keyspace,
                ref items,
            } => items
                .iter()
                .map(|item| (KeyspaceId(keyspace), item_key(item)))
                .collect(),
            Request::Move {
                source,
                destination,
                ..
            } => vec![
                (KeyspaceId(source.0), source.1),
                (KeyspaceId(destination.0), destination.1),
            ],
            Request::Unit {
                ref preconditions,
                ref frames,
            } => unit::keys_of(preconditions, frames),
            _ => request_key(request)
                .map(|(keyspace, key)| (KeyspaceId(keyspace), key))
                .into_iter()
                .collect(),
        };
        self.key_queues(keys.into_iter())
    }

    /// The queues of keys, each once.
    pub(super) fn key_queues<'a>(
        &self,
        keys: impl Iterator<Item = (KeyspaceId, &'a [u8])>,
    ) -> Vec<QueueId> {
        let mut queues: Vec<QueueId> = Vec::new();
        for (keyspace, key) in keys {
            if let Ok(place) = self.locate(keyspace, key) {
                queues.push(QueueId::Key(place.overlay_key()));
            }
        }
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    /// Hands the reads that requests wait for to the disk, one slice.
    pub(super) fn submit_reads(&mut self, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
        let mut bytes = 0;
        while bytes < limits::TURN_READ_BYTES
            && let Some(position) = self.waiting.to_submit.pop_front()
        {
            let len = self.waiting.reads[&position].len;
            bytes += len as usize;
            self.waiting.cold_reads += 1;
            assert!(
                self.submit_read(position, len, disk),
                "the index points into the log"
            );
        }
    }

    /// A read has come back: check it, and go on with whoever waited for it. A large record is checked a slice a turn.
    pub(super) fn cold_read_done(
        &mut self,
        now: Now,
        position: Position,
        outcome: DiskOutcome,
        out: &mut impl Replies,
    ) {
        let begun = outcome.map_err(|error| error.to_string()).and_then(|done| {
            let bytes = done.into_bytes();
            let check = RecordCheck::begin(&bytes, position).map_err(|error| error.to_string())?;
            Ok(Checking {
                position,
                bytes,
                check,
            })
        });
        match begun {
            Ok(mut checking) => {
                checking.advance(self.config.large_len);
                if checking.check.is_done() {
                    self.read_checked(now, position, checking.finish(), out);
                } else {
                    self.waiting.checking.push_back(checking);
                }
            }
            Err(error) => self.read_checked(now, position, Err(error), out),
        }
    }

    /// Goes on with checking large records, one slice.
    pub(super) fn check_slice(&mut self, now: Now, out: &mut impl Replies) {
        let Some(checking) = self.waiting.checking.front_mut() else {
            return;
        };
        checking.advance(limits::CHECK_SLICE_BYTES);
        if checking.check.is_done() {
            let checking = self
                .waiting
                .checking
                .pop_front()
                .expect("it was there just now");
            self.read_checked(now, checking.position, checking.finish(), out);
        }
    }

    /// What a read brought is known to be right or wrong.
    fn read_checked(
        &mut self,
        now: Now,
        position: Position,
        record: Result<Bytes, String>,
        out: &mut impl Replies,
    ) {
        let read = self
            .waiting
            .reads
            .remove(&position)
            .expect("a read that completes was asked for");
        self.waiting.bytes -= read.len as usize;
        let record = record.map_err(|error| {
            self.statistics.damaged_reads += 1;
            let place = self.log.place_of(position).map(|place| (place.segment.to_string(), place.offset));
            let (segment, offset) = place.unwrap_or_default();
            format!(
                "shard {}, segment {segment}, file offset {offset}: the record there can't be read: {error}",
                self.config.identity.shard
            )
        });
        self.waiting.bytes += record.as_ref().map_or(0, Bytes::len);
        let mut ready = VecDeque::new();
        let mut pins = 0;
        for id in read.waiters {
            let waiter = self.waiting.waiter(id);
            waiter.missing -= 1;
            if waiter.missing == 0 {
                ready.push_back(id);
            }
            for queue in waiter.queues.clone() {
                self.waiting.queue(queue).pinned.push(position);
                pins += 1;
            }
        }
        self.waiting.warm.insert(position, Warm { record, pins });
        self.go_on(now, ready, out);
    }

    /// After a commit, or after a batch was refused: looks again at what waited for it.
    pub(super) fn resume_waiting(&mut self, now: Now, out: &mut impl Replies) {
        let ready = std::mem::take(&mut self.waiting.for_commit);
        self.go_on(now, ready.into(), out);
    }

    /// Evaluates what is the first in its queues, until it has to wait again or none is left.
    fn go_on(&mut self, now: Now, mut ready: VecDeque<WaiterId>, out: &mut impl Replies) {
        while let Some(id) = ready.pop_front() {
            if self.batch_is_full() {
                self.waiting.for_commit.push(id);
                continue;
            }
            let waiter = self.waiting.waiter(id);
            let origin = waiter.origin;
            // Out of its place while it is evaluated.
            let task = std::mem::replace(&mut waiter.task, Task::Request(Bytes::new()));
            let result = match &task {
                Task::Request(frame) => {
                    let (_, request) =
                        Request::decode(frame).expect("what was decoded before decodes");
                    self.frame = (frame.len() > self.config.large_len).then(|| frame.clone());
                    let result = self.evaluate(now, origin, &request, out);
                    self.frame = None;
                    result
                }
                Task::Part(frame) => {
                    let (_, request) = Request::decode(frame).expect("a unit of this node decodes");
                    let result = self.evaluate(now, origin, &request, out);
                    if result.is_ok() {
                        self.share_part(&request);
                    }
                    result
                }
                Task::Scan(step) => self.try_scan(now, origin, step, out),
                Task::Hold(hold) => self.try_hold(now, origin, id, hold, out),
                Task::Held => unreachable!("it waits for its coordinator alone"),
            };
            if let Err(Stop::Refused(refusal)) = &result {
                self.refuse_task(origin, &task, refusal, out);
            }
            let is_hold = matches!(task, Task::Hold(_));
            self.waiting.waiter(id).task = task;
            if is_hold && result.is_ok() {
                self.replace_task(id, origin, Task::Held);
                continue;
            }
            match result {
                Ok(()) | Err(Stop::Refused(_)) => {
                    self.waiting.leave(id, &mut ready);
                }
                Err(stop) => self.waiting.need(id, stop),
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
            Task::Request(_) | Task::Part(_) => self.refuse(origin, refusal, out),
            Task::Scan(_) => self.refuse_scan(origin, refusal, out),
            Task::Hold(_) | Task::Held => refuse_hold(origin, refusal, out),
        }
    }
}

/// The keyspace and the key of a request about one key; of a move, those of its source.
#[must_use]
#[inline]
pub fn request_key<'a>(request: &Request<'a>) -> Option<(u32, &'a [u8])> {
    match *request {
        Request::Get { keyspace, key }
        | Request::Exists { keyspace, key }
        | Request::Ttl { keyspace, key }
        | Request::Touch { keyspace, key, .. }
        | Request::Persist { keyspace, key }
        | Request::Add { keyspace, key, .. }
        | Request::Append { keyspace, key, .. }
        | Request::Overwrite { keyspace, key, .. }
        | Request::AddFloat { keyspace, key, .. }
        | Request::Expire { keyspace, key, .. }
        | Request::ExpiresAt { keyspace, key } => Some((keyspace, key)),
        Request::Put { keyspace, put } => Some((keyspace, put.key)),
        Request::Delete { keyspace, delete } => Some((keyspace, delete.key)),
        Request::Move { source, .. } => Some(source),
        _ => None,
    }
}

/// The key of one operation of a batch.
#[must_use]
pub fn item_key<'a>(item: &BatchItem<'a>) -> &'a [u8] {
    match *item {
        BatchItem::Get { key } => key,
        BatchItem::Put(put) => put.key,
        BatchItem::Delete(delete) => delete.key,
    }
}

fn encode(request: &Request<'_>) -> Bytes {
    let mut frame = Vec::with_capacity(request.encoded_len());
    request.encode(0, &mut frame);
    debug_assert!(
        key_of(&frame[LENGTH_LEN..]).is_some()
            || matches!(
                request,
                Request::AtomicBatch { .. } | Request::Move { .. } | Request::Unit { .. }
            )
    );
    Bytes::from(frame).slice(LENGTH_LEN..)
}
