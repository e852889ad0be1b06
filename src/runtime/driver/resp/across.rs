//! Transactions on keys of several shards: this shard coordinates them.
//!
//! ```text
//! hold on the first shard, then on the next … → every precondition holds? → run every part
//!                                              → no, or a failure        → release what is held
//! ```
//!
//! `shard::hold` says why that is isolated and can't deadlock. The transaction is a gather, so it goes on to its end though its client goes away meanwhile.
//! Its slots are those of a unit on one shard, and one more for each part, which writes nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use corduroy_proto_wire::{
    self as wire, Condition, Delete, LENGTH_LEN, Put, Request, RequestId, Status, Ttl,
};

use super::super::gather::Gathering;
use super::super::{Driver, Ports};
use super::session::failed;
use crate::gateway::resp::{Moving, Precondition};
use crate::ports::ConnectionId;
use crate::shard::hold::{Held, Hold, HoldId};
use crate::shard::{GatherId, Origin, ShardCommand, Target};
use crate::types::{KeyspaceId, Now, ShardId, WallMillis};

/// A transaction over several shards in progress.
#[derive(Debug, Default)]
pub(in super::super) struct Across {
    /// In the order of the shards' numbers.
    parts: Vec<Part>,
    /// How many of them are held, or were asked and refused.
    asked: usize,
    /// A precondition does not hold.
    refused: bool,
    moving: Option<MoveAcross>,
}

/// What one shard has to do.
#[derive(Debug)]
struct Part {
    shard: ShardId,
    hold: Hold,
    /// Requests, as frames without their length fields.
    frames: Vec<Vec<u8>>,
    /// The slot of its own answer.
    slot: RequestId,
    held: Option<HoldId>,
}

/// A key that moves to another shard: what is written is known when it has been read.
#[derive(Debug)]
struct MoveAcross {
    source: (ShardId, KeyspaceId, Vec<u8>),
    destination: (ShardId, KeyspaceId, Vec<u8>),
    keep_source: bool,
    /// The slot of the writes' answers.
    slot: RequestId,
    read: Option<(Bytes, Option<WallMillis>)>,
}

/// Keys and requests of a transaction, by shard.
#[derive(Debug, Default)]
pub(super) struct Shares {
    shares: BTreeMap<ShardId, (Hold, Vec<Vec<u8>>)>,
}

impl Shares {
    fn share(&mut self, shard: ShardId) -> &mut (Hold, Vec<Vec<u8>>) {
        self.shares.entry(shard).or_default()
    }

    /// How many shards have a part.
    pub(super) fn len(&self) -> usize {
        self.shares.len()
    }

    pub(super) fn key(&mut self, shard: ShardId, keyspace: KeyspaceId, key: &[u8]) {
        self.share(shard).0.keys.push((keyspace, key.to_vec()));
    }

    pub(super) fn condition(&mut self, shard: ShardId, condition: &Precondition<'_>) {
        let owned = (condition.keyspace, condition.key.to_vec());
        let hold = &mut self.share(shard).0;
        hold.keys.push(owned.clone());
        hold.preconditions.push((owned, condition.version));
    }

    /// A part for each shard, with these slots for their own answers.
    fn into_parts(self, slots: &[RequestId]) -> Vec<Part> {
        let shares = self.shares.into_iter().zip(slots);
        shares
            .map(|((shard, (hold, frames)), &slot)| Part {
                shard,
                hold,
                frames,
                slot,
                held: None,
            })
            .collect()
    }

    pub(super) fn frame(&mut self, shard: ShardId, frame: Vec<u8>) {
        let share = self.share(shard);
        share.0.writes = true;
        share.1.push(frame);
    }
}

impl Across {
    /// Takes a shard's word that it holds.
    pub(in super::super) fn held(&mut self, held: Held) {
        self.parts[self.asked].held = Some(held.id);
        self.asked += 1;
        self.refused |= !held.allowed;
        if let (Some(moving), Some(read)) = (&mut self.moving, held.read) {
            moving.read = Some(read);
        }
    }

    /// How it ends if nothing failed; `None` while shards are to be asked.
    fn outcome(&self) -> Option<Status> {
        let is_complete = self.asked == self.parts.len();
        match &self.moving {
            // That there is nothing to move counts first, and the shard that knows may be the last one.
            Some(_) if !is_complete => None,
            Some(moving) if moving.read.is_none() => Some(Status::NotFound),
            _ if self.refused => Some(Status::ConditionFailed),
            _ => is_complete.then_some(Status::Ok),
        }
    }

    /// Makes the writes of a move, now that its value is known.
    fn settle_move(&mut self) {
        let Some(moving) = self.moving.take() else {
            return;
        };
        let Some((value, expiry)) = moving.read else {
            return;
        };
        let put = Request::Put {
            keyspace: moving.destination.1.0,
            put: Put {
                key: &moving.destination.2,
                value: &value,
                ttl: expiry.map_or(Ttl::None, |at| Ttl::At(at.0)),
                condition: Condition::Always,
                return_value: false,
            },
        };
        self.add_frame(moving.destination.0, moving.slot, &put);
        if !moving.keep_source {
            let delete = Request::Delete {
                keyspace: moving.source.1.0,
                delete: Delete {
                    key: &moving.source.2,
                    condition: Condition::Always,
                    return_value: false,
                },
            };
            self.add_frame(moving.source.0, moving.slot, &delete);
        }
    }

    fn add_frame(&mut self, shard: ShardId, slot: RequestId, request: &Request<'_>) {
        let part = self.parts.iter_mut().find(|part| part.shard == shard);
        let part = part.expect("both shards of a move have a part");
        part.frames.push(frame_of(slot, request));
    }
}

impl<P: Ports> Driver<P> {
    /// Begins a transaction. `slots` are those of the parts' own answers, as many as there are shards.
    pub(super) fn begin_across(
        &mut self,
        now: Now,
        id: ConnectionId,
        head: RequestId,
        shares: Shares,
        slots: &[RequestId],
    ) {
        let parts = shares.into_parts(slots);
        let requests: usize = parts.iter().map(|part| part.frames.len()).sum();
        for part in &parts {
            let heads = part
                .frames
                .iter()
                .filter_map(|frame| wire::peek(frame).ok());
            let slots = heads.map(|head| head.id).collect();
            self.resp(id).queue.part_has(part.slot, slots);
        }
        self.hub.connections[id.slot as usize].in_flight += 1 + requests + parts.len();
        let across = Across {
            parts,
            ..Across::default()
        };
        self.go_across(now, id, head, across);
    }

    /// Begins to move a key to another shard. `slot` is the one for the writes' answers.
    #[expect(clippy::too_many_arguments, reason = "a move and its surroundings")]
    pub(super) fn begin_move_across(
        &mut self,
        now: Now,
        id: ConnectionId,
        head: RequestId,
        moving: &Moving<'_>,
        shards: (ShardId, ShardId),
        slot: RequestId,
        slots: &[RequestId],
    ) {
        let mut shares = Shares::default();
        let (source, destination) = (moving.source, moving.destination);
        shares.key(shards.0, source.0, source.1);
        let hold = &mut shares.share(shards.0).0;
        hold.read = Some((source.0, source.1.to_vec()));
        hold.writes = !moving.keep_source;
        if moving.if_absent {
            let absent = Precondition {
                keyspace: destination.0,
                key: destination.1,
                version: None,
            };
            shares.condition(shards.1, &absent);
        } else {
            shares.key(shards.1, destination.0, destination.1);
        }
        shares.share(shards.1).0.writes = true;
        let across = Across {
            parts: shares.into_parts(slots),
            moving: Some(MoveAcross {
                source: (shards.0, source.0, source.1.to_vec()),
                destination: (shards.1, destination.0, destination.1.to_vec()),
                keep_source: moving.keep_source,
                slot,
                read: None,
            }),
            ..Across::default()
        };
        for part in &across.parts {
            let writes = part.shard == shards.1 || !moving.keep_source;
            let requests = if writes { vec![slot] } else { Vec::new() };
            self.resp(id).queue.part_has(part.slot, requests);
        }
        let writes = if moving.keep_source { 1 } else { 2 };
        self.hub.connections[id.slot as usize].in_flight += 1 + writes + slots.len();
        self.go_across(now, id, head, across);
    }

    fn go_across(&mut self, now: Now, id: ConnectionId, head: RequestId, across: Across) {
        let gathering = Gathering::Across(Box::new(across));
        let gather = self.hub.gather(id, head, 1, gathering);
        self.go_on_across(now, gather);
    }

    /// Asks the next shard to hold, or ends the transaction.
    pub(in super::super) fn go_on_across(&mut self, now: Now, id: GatherId) {
        let gather = &mut self.hub.gathers[id.slot as usize];
        let client = gather.client;
        let Gathering::Across(across) = &mut gather.gathering else {
            unreachable!("only transactions go on like this");
        };
        if gather.failure.is_none() && across.outcome().is_none() {
            gather.remaining = 1;
            let part = &across.parts[across.asked];
            let (shard, hold) = (part.shard, part.hold.clone());
            self.command(now, shard, client, id, ShardCommand::Hold(hold));
            return;
        }
        let gather = self.hub.gathers.remove(id.slot as usize);
        let Gathering::Across(mut across) = gather.gathering else {
            unreachable!("it was looked at just now");
        };
        let (status, reason) = match (gather.failure, across.outcome()) {
            (Some(failure), _) => failure,
            (None, outcome) => (outcome.unwrap_or(Status::Ok), String::new()),
        };
        if status == Status::Ok {
            across.settle_move();
        }
        for part in &across.parts {
            let Some(held) = part.held else {
                continue;
            };
            let command = if status == Status::Ok {
                ShardCommand::Run(held, unit_of(part))
            } else {
                ShardCommand::Release(held)
            };
            self.command_for(now, part.shard, client, part.slot, command);
        }
        self.hub
            .answer(client, gather.request, &failed(status, &reason));
    }

    /// Sends a command of which the answer is a client's.
    fn command_for(
        &mut self,
        now: Now,
        shard: ShardId,
        client: ConnectionId,
        slot: RequestId,
        command: ShardCommand,
    ) {
        let origin = Origin {
            shard: self.config.shard,
            client,
            target: Target::Client(slot),
            get: false,
        };
        if shard == self.config.shard {
            self.shard.command(now, origin, command, &mut self.hub);
        } else {
            self.hub.forward_command(shard, origin, command);
        }
    }
}

/// A part as a unit's frame without its length field.
fn unit_of(part: &Part) -> Bytes {
    let unit = Request::Unit {
        preconditions: Vec::<wire::Precondition<'_>>::new(),
        frames: part.frames.iter().map(Vec::as_slice).collect(),
    };
    Bytes::from(frame_of(part.slot, &unit))
}

/// A request's frame without its length field.
pub(super) fn frame_of(slot: RequestId, request: &Request<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    request.encode(slot, &mut frame);
    frame.drain(..LENGTH_LEN);
    frame
}
