//! What takes effect together: MSET, MSETNX, RENAME, COPY, and the commands on keys of an EXEC, which `execute` understands.
//!
//! All of it becomes one [`Request::Unit`] for the shard that has the keys, which evaluates it in one go and logs it in one block. Each
//! request inside is answered by its own slot, as if it had come alone; the unit's head says whether it took effect.
//!
//! With keys on several shards it is a transaction that this shard coordinates (`across`): isolated all the same, but it may be half done if the node dies
//! between the shards' commits. With one core, and for keys with the same `{tag}`, it is one block.

use corduroy_proto_wire::{self as wire, Request, RequestId};

use super::super::{Driver, Ports};
use super::across::{Shares, frame_of};
use super::input::Done;
use super::queue::Then;
use super::{Front, Tag};
use crate::gateway::resp::session::Transaction;
use crate::gateway::resp::{Moving, Precondition, Shape, reply};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::{Origin, Target, request_key};
use crate::types::{KeyspaceId, Now, ShardId};

/// The refusal of a move inside a transaction that is one over several shards by itself.
const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot: RENAME and COPY in a transaction take keys of one core; \
                         give them the same {tag}";

/// What takes effect together is one block of one shard's log at most.
const TOO_LARGE: &str = "ERR what takes effect together has at most 1024 keys and 1 MiB";
const _: () = assert!(limits::ATOMIC_LEN_MAX == 1024 && limits::BATCH_BYTES_MAX == 1 << 20);

/// One command of a transaction, understood.
pub(super) enum Step<'a> {
    /// A reply that needs no shard.
    Known(Vec<u8>),
    /// It is no part of the unit, and its reply comes later.
    Aside,
    /// The head of an array, and a request for each element.
    Array(Vec<Request<'a>>),
    Sum(Vec<Request<'a>>),
    One(Request<'a>, Shape),
}

impl<P: Ports> Driver<P> {
    /// MSET and MSETNX.
    pub(super) fn together(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        preconditions: &[Precondition<'_>],
        requests: &[Request<'_>],
        shape: Shape,
    ) -> Done {
        if !fits_a_unit(preconditions, requests) {
            self.reply_error(id, tag, TOO_LARGE);
            return Done::Yes;
        }
        let Some(owner) = self.owner_of_all(preconditions, requests) else {
            return self.together_across(now, id, tag, preconditions, requests, shape);
        };
        let queue = &mut self.resp(id).queue;
        let head = queue.head(tag, Then::Whole(shape), 1);
        let quiet = queue.quiet(tag, requests.len() as u32);
        let frames: Vec<Vec<u8>> = requests
            .iter()
            .map(|request| frame_of(quiet, request))
            .collect();
        self.send_unit(now, id, owner, head, preconditions, &frames);
        Done::Yes
    }

    /// RENAME, RENAMENX, COPY.
    pub(super) fn move_key(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        moving: &Moving<'_>,
        shape: Shape,
    ) -> Done {
        let mut moving = *moving;
        if let Some(number) = moving.database {
            // A keyspace that has to be made is one that nothing is in: it takes a round of its own.
            let step = std::mem::take(&mut front.step);
            match self.open_database(now, id, tag, number, &step) {
                Ok(keyspace) => moving.destination.0 = keyspace,
                Err(round) => return self.end_rounds(id, tag, round, front),
            }
        }
        let moving = &moving;
        let request = move_request(moving);
        let owner = self.owner(moving.source.0, moving.source.1);
        let destination = self.owner(moving.destination.0, moving.destination.1);
        if owner != destination {
            if !self.resp(id).queue.is_empty() {
                return self.wait_for_replies(id);
            }
            let queue = &mut self.resp(id).queue;
            let head = queue.head(tag, Then::Whole(shape), 3);
            let writes = if moving.keep_source { 1 } else { 2 };
            let quiet = queue.quiet(tag, writes);
            let slots = [queue.part(tag), queue.part(tag)];
            self.begin_move_across(now, id, head, moving, (owner, destination), quiet, &slots);
            self.resp(id).waits_for_replies = true;
            return Done::Yes;
        }
        let slot = self.resp(id).queue.one(tag, shape);
        self.hub.connections[id.slot as usize].in_flight += 1;
        self.send_to(now, id, owner, slot, &request);
        Done::Yes
    }

    fn together_across(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        preconditions: &[Precondition<'_>],
        requests: &[Request<'_>],
        shape: Shape,
    ) -> Done {
        // What came before on the same keys may still be on its way to their shards, and holds go another way.
        if !self.resp(id).queue.is_empty() {
            return self.wait_for_replies(id);
        }
        let mut shares = self.shares_of(preconditions, requests);
        let parts = shares.len() as u32;
        let queue = &mut self.resp(id).queue;
        let head = queue.head(tag, Then::Whole(shape), 1 + parts);
        let quiet = queue.quiet(tag, requests.len() as u32);
        let slots: Vec<RequestId> = (0..parts).map(|_| queue.part(tag)).collect();
        for request in requests {
            shares.frame(self.owner_of(request), frame_of(quiet, request));
        }
        self.begin_across(now, id, head, shares, &slots);
        self.resp(id).waits_for_replies = true;
        Done::Yes
    }

    /// The keys of a transaction by shard, and what must hold of them.
    fn shares_of<'a>(
        &self,
        preconditions: &[Precondition<'_>],
        requests: impl IntoIterator<Item = &'a Request<'a>>,
    ) -> Shares {
        let mut shares = Shares::default();
        for condition in preconditions {
            shares.condition(self.owner(condition.keyspace, condition.key), condition);
        }
        for request in requests {
            let (keyspace, key) = request_key(request).expect("it is about a key");
            shares.key(self.owner_of(request), KeyspaceId(keyspace), key);
            if let Request::Move { destination, .. } = request {
                shares.key(
                    self.owner_of(request),
                    KeyspaceId(destination.0),
                    destination.1,
                );
            }
        }
        shares
    }

    /// The shard that has a request's key.
    fn owner_of(&self, request: &Request<'_>) -> ShardId {
        let (keyspace, key) = request_key(request).expect("it is about a key");
        self.owner(KeyspaceId(keyspace), key)
    }

    /// Whether a transaction can be carried out as one unit, or else the error to answer.
    pub(super) fn check_transaction(
        &self,
        transaction: &Transaction,
        steps: &[Step<'_>],
    ) -> Result<(), String> {
        let preconditions: Vec<Precondition<'_>> = transaction.preconditions().collect();
        let requests = || steps.iter().flat_map(Step::requests);
        if self.owner_of_all(&preconditions, requests()).is_none()
            && !steps.iter().all(|step| self.is_on_one_shard(step))
        {
            return Err(CROSSSLOT.into());
        }
        if !fits_a_unit(&preconditions, requests()) {
            return Err(format!(
                "EXECABORT Transaction discarded because of: {TOO_LARGE}"
            ));
        }
        Ok(())
    }

    /// Sends a transaction that was checked.
    pub(super) fn send_transaction(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        transaction: &Transaction,
        steps: &[Step<'_>],
    ) {
        let preconditions: Vec<Precondition<'_>> = transaction.preconditions().collect();
        let requests = steps.iter().flat_map(Step::requests);
        let owner = self.owner_of_all(&preconditions, requests);
        let slots: usize = steps.iter().map(Step::slots).sum();
        let then = Then::Array(steps.len() as u32);
        let Some(owner) = owner else {
            let requests = steps.iter().flat_map(Step::requests);
            let mut shares = self.shares_of(&preconditions, requests);
            let parts = shares.len();
            let queue = &mut self.resp(id).queue;
            let head = queue.head(tag, then, (slots + parts) as u32);
            let mut frames = Vec::new();
            for step in steps {
                step.take_slots(queue, tag, &mut frames);
            }
            let slots: Vec<RequestId> = (0..parts).map(|_| queue.part(tag)).collect();
            let requests = steps.iter().flat_map(Step::requests);
            for (request, frame) in requests.zip(frames) {
                shares.frame(self.owner_of(request), frame);
            }
            self.begin_across(now, id, head, shares, &slots);
            self.resp(id).waits_for_replies = true;
            return;
        };
        let queue = &mut self.resp(id).queue;
        let head = queue.head(tag, then, slots as u32);
        let mut frames = Vec::new();
        for step in steps {
            step.take_slots(queue, tag, &mut frames);
        }
        self.send_unit(now, id, owner, head, &preconditions, &frames);
    }

    /// Whether each request of a step has all its keys on one shard.
    fn is_on_one_shard(&self, step: &Step<'_>) -> bool {
        step.requests().iter().all(|request| match request {
            Request::Move {
                source,
                destination,
                ..
            } => {
                self.owner(KeyspaceId(source.0), source.1)
                    == self.owner(KeyspaceId(destination.0), destination.1)
            }
            _ => true,
        })
    }

    /// The one shard that has all these keys; this one if there are none.
    fn owner_of_all<'a>(
        &self,
        preconditions: &[Precondition<'_>],
        requests: impl IntoIterator<Item = &'a Request<'a>>,
    ) -> Option<ShardId> {
        let mut owner = None;
        let mut is_same = |shard: ShardId| *owner.get_or_insert(shard) == shard;
        let conditions_agree = preconditions
            .iter()
            .all(|condition| is_same(self.owner(condition.keyspace, condition.key)));
        let requests_agree = requests.into_iter().all(|request| {
            let (keyspace, key) = request_key(request).expect("it is about a key");
            let second = match request {
                Request::Move { destination, .. } => *destination,
                _ => (keyspace, key),
            };
            is_same(self.owner(KeyspaceId(keyspace), key))
                && is_same(self.owner(KeyspaceId(second.0), second.1))
        });
        (conditions_agree && requests_agree).then(|| owner.unwrap_or(self.config.shard))
    }

    fn send_unit(
        &mut self,
        now: Now,
        id: ConnectionId,
        owner: ShardId,
        head: RequestId,
        preconditions: &[Precondition<'_>],
        frames: &[Vec<u8>],
    ) {
        self.hub.connections[id.slot as usize].in_flight += 1 + frames.len();
        let unit = Request::Unit {
            preconditions: preconditions
                .iter()
                .map(|condition| wire::Precondition {
                    keyspace: condition.keyspace.0,
                    key: condition.key,
                    version: condition.version,
                })
                .collect(),
            frames: frames.iter().map(Vec::as_slice).collect(),
        };
        self.send_to(now, id, owner, head, &unit);
    }

    /// Sends a request to the shard that is known to have its keys.
    fn send_to(
        &mut self,
        now: Now,
        id: ConnectionId,
        owner: ShardId,
        slot: RequestId,
        request: &Request<'_>,
    ) {
        let origin = Origin {
            shard: self.config.shard,
            client: id,
            target: Target::Client(slot),
            get: false,
        };
        if owner == self.config.shard {
            self.shard.execute(now, origin, request, &mut self.hub);
        } else {
            self.hub.forward(owner, &origin, request);
        }
    }
}

impl<'a> Step<'a> {
    pub(super) fn requests(&self) -> &[Request<'a>] {
        match self {
            Step::Known(_) | Step::Aside => &[],
            Step::Array(requests) | Step::Sum(requests) => requests,
            Step::One(request, _) => std::slice::from_ref(request),
        }
    }

    fn slots(&self) -> usize {
        match self {
            Step::Known(_) | Step::Aside | Step::Sum(_) | Step::One(..) => 1,
            Step::Array(requests) => 1 + requests.len(),
        }
    }

    /// Takes its slots, and adds the frames of its requests.
    fn take_slots(&self, queue: &mut super::ReplyQueue, tag: Tag, frames: &mut Vec<Vec<u8>>) {
        match self {
            Step::Known(bytes) => queue.known_later(tag, bytes),
            Step::Aside => queue.open(tag),
            Step::Array(requests) => {
                let mut head = Vec::new();
                reply::array(&mut head, requests.len());
                queue.known_later(tag, &head);
                for request in requests {
                    frames.push(frame_of(queue.one(tag, Shape::Value), request));
                }
            }
            Step::Sum(requests) => {
                let slot = match requests.first() {
                    Some(Request::Put { .. }) => queue.all(tag, requests.len() as u32),
                    _ => queue.sum(tag, requests.len() as u32),
                };
                frames.extend(requests.iter().map(|request| frame_of(slot, request)));
            }
            Step::One(request, shape) => {
                frames.push(frame_of(queue.one(tag, *shape), request));
            }
        }
    }
}

/// Whether a unit may hold all this. That some of it goes to other shards is not counted: nobody could foresee what is refused.
fn fits_a_unit<'a>(
    preconditions: &[Precondition<'_>],
    requests: impl IntoIterator<Item = &'a Request<'a>>,
) -> bool {
    let mut count = 0;
    let mut bytes = 0;
    for request in requests {
        count += 1;
        bytes += request.encoded_len();
    }
    let conditions_bytes: usize = preconditions
        .iter()
        .map(|condition| condition.key.len() + PRECONDITION_SLACK)
        .sum();
    count <= limits::ATOMIC_LEN_MAX
        && preconditions.len() <= limits::ATOMIC_LEN_MAX
        && bytes <= limits::BATCH_BYTES_MAX
        && conditions_bytes <= limits::BATCH_BYTES_MAX
}

/// At least what a precondition takes in a unit beside its key, in bytes.
const PRECONDITION_SLACK: usize = 32;

pub(super) fn move_request<'a>(moving: &Moving<'a>) -> Request<'a> {
    Request::Move {
        source: (moving.source.0.0, moving.source.1),
        destination: (moving.destination.0.0, moving.destination.1),
        if_absent: moving.if_absent,
        keep_source: moving.keep_source,
    }
}
