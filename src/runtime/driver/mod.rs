//! The driver: moves bytes between the ports and one shard, and is the same in production and in simulation.
//!
//! It never waits. The runtime calls it when something has happened; it acts on the shard and submits through the ports:
//!
//! | call | when |
//! |---|---|
//! | [`Driver::opened`], [`Driver::received`], [`Driver::writable`], [`Driver::closed`] | a connection came, sent, has room again, is gone |
//! | [`Driver::mesh_received`], [`Driver::mesh_ready`] | another shard sent a batch, or has room for one again |
//! | [`Driver::disk_completed`] | an operation that was submitted is done |
//! | [`Driver::end_turn`] | everything that was there has been delivered, or the deadline has come |
//! | [`Driver::drain`], [`Driver::seal`] | a clean stop begins, and ends |
//!
//! A **turn** is whatever lies between two calls of `end_turn`: requests are evaluated as they come in; at its end the shard appends what
//! was staged, outputs are offered to the sockets, and batches go to the other shards.
//!
//! # Backpressure
//!
//! All the way back to the socket: a connection is paused ([`Flow::Pause`]) while the shard has no room, the link to the
//! owning shard is full, it has too many requests in flight, or its client does not read. What came in and was not worked off
//! waits in the connection's input, at most one frame and one receive slice of it. A client that reads nothing for the stall
//! timeout is cut.

mod backup;
mod bounds;
mod completion;
mod connection;
mod gather;
mod hub;
mod input;
mod keyspaces;
mod link;
mod multipart;
mod opening;
mod output;
mod requests;
mod resp;
mod scan;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use corduroy_proto_wire::{Body, Response, split};

pub use bounds::Buffered;
pub use link::MeshBatch;
pub use resp::NodeFacts;

use crate::gateway::resp::session::Settings;
use crate::limits;
use crate::ports::{Backups, Clock, ConnectionId, Mesh, Net, Surroundings};
use crate::shard::Shard;
use crate::storage::buffer::Memory;
use crate::storage::disk::{Disk, DiskOperation, DiskOutcome, DiskTicket};
use crate::types::{KeyspaceId, MonoNanos, Now, ShardId};
use connection::{Claims, Connection, LargeInput, Phase};
use hub::Hub;
use input::large_frame_len;

/// What a driver needs to know.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// Which shard this is.
    pub shard: ShardId,
    /// Shards of the node.
    pub shard_count: u16,
    /// Largest value, in bytes.
    pub value_len_max: usize,
    /// Frames over this many bytes are kept where they came in and never copied.
    pub large_len: usize,
    /// While large frames that are coming in take so much memory, in bytes, further ones wait. One is always let in.
    pub large_input_bytes_max: usize,
    /// Operations of a batch that one turn works off.
    pub batch_slice_len: usize,
    /// Most connections of this shard.
    pub connections_max: usize,
    /// Most requests without an answer that a connection may have.
    pub in_flight_max: usize,
    /// A connection with more unsent output than this is cut, in bytes.
    pub output_bytes_max: usize,
    /// A connection that has not opened after this long is closed, in nanoseconds.
    pub handshake_timeout_ns: u64,
    /// A connection that sends nothing for this long is closed, in nanoseconds; 0: never.
    pub idle_timeout_ns: u64,
    /// A connection that reads nothing for this long, though there is output for it, or that leaves a frame
    /// unfinished, is closed, in nanoseconds.
    pub stall_timeout_ns: u64,
    /// The program and its version, for the hello.
    pub server_name: String,
    /// What the settings mean for Redis clients.
    pub resp: Settings,
    /// What they may ask about the node.
    pub node: NodeFacts,
}

impl DriverConfig {
    /// The largest frame that is accepted, in bytes after the length field: a put with the largest value and the longest key that is
    /// compared with the largest value that may be compared with.
    #[must_use]
    pub fn frame_len_max(&self) -> u32 {
        let compared = self.value_len_max.min(limits::COMPARE_LEN_MAX);
        let put =
            (self.value_len_max + compared + corduroy_proto_wire::PUT_OVERHEAD_LEN_MAX) as u32;
        put.max(corduroy_proto_wire::frame_len_max_least(
            self.value_len_max as u32,
        ))
    }
}

/// What the runtime does with a connection after `received`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Read on.
    Continue,
    /// Read nothing more until [`Net::resume`] is called.
    Pause,
    /// The connection is no longer this driver's: it was closed or handed over through the port.
    Gone,
}

/// What the runtime does after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnEnd {
    /// End another turn at this time, if nothing happens before.
    pub deadline: Option<MonoNanos>,
    /// There is more to do at once.
    pub again: bool,
}

/// All that a driver needs of a world.
pub trait Ports: Backups + Clock + Disk + Memory + Net + Surroundings + Mesh<MeshBatch> {}

impl<P: Backups + Clock + Disk + Memory + Net + Surroundings + Mesh<MeshBatch>> Ports for P {}

/// One shard with its connections and links, over a world's ports.
#[derive(Debug)]
pub struct Driver<P> {
    config: DriverConfig,
    shard: Shard,
    hub: Hub,
    ports: P,
    /// The clocks as of the turn's first event.
    turn: Option<Now>,
    /// Connections whose input waits for room.
    waiting: VecDeque<ConnectionId>,
    /// Connections that wait for memory for a large frame, in the order of their coming: only the first of them is looked at.
    waiting_large: VecDeque<ConnectionId>,
    operations: Vec<(DiskTicket, DiskOperation)>,
    /// Memory of large frames that are coming in.
    claims: Claims,
    /// Keyspaces that every shard is known to have.
    everywhere: Vec<KeyspaceId>,
    /// The shard whose requests the next turn's end goes on with first.
    peer_first: u16,
    draining: bool,
    sealing: bool,
    housekeeping_at: MonoNanos,
    /// The next connection to look over, while that is under way.
    housekeeping_slot: Option<usize>,
}

impl<P: Ports> Driver<P> {
    /// A driver over a recovered shard.
    #[must_use]
    pub fn new(config: DriverConfig, shard: Shard, ports: P) -> Driver<P> {
        Driver {
            hub: Hub::new(config.shard, config.shard_count, config.output_bytes_max),
            claims: Claims::new(config.large_input_bytes_max),
            // All shards start with the same ones.
            everywhere: shard.keyspaces().map(|keyspace| keyspace.id()).collect(),
            config,
            shard,
            ports,
            turn: None,
            waiting: VecDeque::new(),
            waiting_large: VecDeque::new(),
            operations: Vec::new(),
            peer_first: 0,
            draining: false,
            sealing: false,
            housekeeping_at: MonoNanos(0),
            housekeeping_slot: None,
        }
    }

    /// The shard, to look at.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The ports.
    pub fn ports(&mut self) -> &mut P {
        &mut self.ports
    }

    /// Connections that this driver serves.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.hub.connections.len()
    }

    #[inline]
    fn now(&mut self) -> Now {
        match self.turn {
            Some(now) => now,
            None => {
                let now = self.ports.now();
                self.hub.clock = now.mono;
                self.hub.accounts.clock = now.mono;
                *self.turn.insert(now)
            }
        }
    }

    /// A connection has come. `None` if there is no place for it; the runtime closes it then.
    pub fn opened(&mut self) -> Option<ConnectionId> {
        if self.draining || self.hub.connections.len() >= self.config.connections_max {
            return None;
        }
        let now = self.now();
        let generation = self.hub.generation();
        let slot = self
            .hub
            .connections
            .insert(Connection::new(generation, now.mono)) as u32;
        Some(ConnectionId { slot, generation })
    }

    /// Bytes have come in on a connection.
    pub fn received(&mut self, id: ConnectionId, bytes: &[u8]) -> Flow {
        let now = self.now();
        let Some(connection) = self.hub.connection(id) else {
            return Flow::Gone;
        };
        connection.received_at = now.mono;
        if connection.phase == Phase::Closing {
            return Flow::Continue;
        }
        let taken = match &mut connection.large {
            Some(large) => large.take(bytes),
            None => 0,
        };
        let bytes = &bytes[taken..];
        let is_unfinished = |large: &LargeInput| !large.is_whole();
        if connection.large.as_ref().is_some_and(is_unfinished) {
            return Flow::Continue;
        }
        if connection.resp.is_some() {
            return self.resp_received(now, id, bytes);
        }
        if connection.input.is_empty() && !connection.waits_for_room {
            return self.work_off(now, id, bytes);
        }
        connection.input.extend_from_slice(bytes);
        if connection.waits_for_room {
            connection.paused = true;
            return Flow::Pause;
        }
        // Part of a frame: it is looked at again when it is whole, not copied about with every slice.
        if connection.phase == Phase::Open
            && large_frame_len(&connection.input, self.config.large_len).is_none()
            && matches!(
                split(&connection.input, self.config.frame_len_max()),
                Ok(None)
            )
        {
            return Flow::Continue;
        }
        let input = std::mem::take(&mut connection.input);
        self.work_off(now, id, &input)
    }

    /// A connection's socket has room again.
    pub fn writable(&mut self, id: ConnectionId) {
        let now = self.now();
        if let Some(connection) = self.hub.connection(id) {
            connection.blocked = false;
            connection.sent_at = now.mono;
            self.hub.mark_dirty(id);
        }
    }

    /// A connection is gone: its client closed it or it broke. Requests in work are carried out; their answers go nowhere.
    pub fn closed(&mut self, id: ConnectionId) {
        if self.hub.connection(id).is_some() {
            let now = self.now();
            self.hub.forget(id);
            self.complete_gathers(now);
        }
    }

    /// Another shard has sent a batch. Its requests are worked off when the turn ends, for all shards together.
    pub fn mesh_received(&mut self, from: ShardId, mut batch: MeshBatch) {
        let now = self.now();
        let link = &mut self.hub.links[from.index()];
        link.acknowledged(&batch);
        link.took_replies(batch.replies.len());
        self.hub.look_for_congestion();
        let link = &mut self.hub.links[from.index()];
        if !batch.requests.is_empty() {
            link.inbox.push_back(std::mem::take(&mut batch.requests));
        }
        while let Some((route, frame, large, _)) = batch.replies.next() {
            match route.gather {
                None => self.hub.answer_frame(&route, frame, large),
                Some((id, part)) => {
                    let (_, mut response) =
                        Response::decode(frame).expect("a shard of this node encodes what decodes");
                    if let Some(value) = &large {
                        response.body = Body::Value(value);
                    }
                    self.hub.gather_part(id, part, &response);
                }
            }
        }
        for (origin, reply) in batch.internal {
            let crate::shard::Target::Gather(id, _) = origin.target else {
                unreachable!("asked by a gather")
            };
            self.hub.gather_internal(id, reply);
        }
        for (origin, command) in batch.commands {
            self.shard.command(now, origin, command, &mut self.hub);
        }
        for (gather, ask) in std::mem::take(&mut batch.asks) {
            self.asked(now, from, gather, &ask);
        }
        for (gather, told) in std::mem::take(&mut batch.tells) {
            self.hub.gather_told(gather, told);
        }
        self.complete_gathers(now);
    }

    /// The channel to another shard has room again.
    pub fn mesh_ready(&mut self, to: ShardId) {
        self.hub.links[to.index()].blocked = false;
    }

    /// A disk operation is done.
    pub fn disk_completed(&mut self, ticket: DiskTicket, outcome: DiskOutcome) {
        let now = self.now();
        self.shard
            .disk_completed(now, ticket, outcome, &mut self.hub);
        self.complete_gathers(now);
    }

    /// Ends a turn.
    pub fn end_turn(&mut self) -> TurnEnd {
        let began = self.now();
        let mut budget = limits::TURN_MESH_BYTES;
        for peer in self.peers_in_turn() {
            self.work_off_inbox(began, peer, &mut budget);
        }
        self.go_on_with_waiting(began);
        self.complete_gathers(began);
        let now = self.ports.now();
        if self.sealing && self.is_drained() {
            self.shard.stop();
        }
        self.shard
            .refused_outside(std::mem::take(&mut self.hub.refused));
        self.shard
            .end_turn(now, began.mono, &mut self.operations, &mut self.hub);
        self.complete_gathers(now);
        let goes_on = self.submit(now);
        self.note_slow(now);
        self.keep_house(now.mono);
        // First: what this shard's sockets take a while for, the others can use.
        self.flush_links();
        self.flush_outputs(now.mono);
        let ended = self.ports.now();
        let nanos = ended.mono.0.saturating_sub(began.mono.0);
        self.shard.turn_took(nanos);
        self.hub.accounts.turn_ended(nanos);
        self.turn = None;
        let housekeeping = (!self.hub.connections.is_empty()).then_some(self.housekeeping_at);
        let held = self.hub.held.front();
        let held = held.map(|(_, since)| MonoNanos(since.0 + limits::HOLD_NS));
        let can_go_on = !self.hub.dirty.is_empty()
            || self.housekeeping_slot.is_some()
            || self.shard.has_slices()
            || goes_on
            || (0..self.config.shard_count).any(|peer| self.may_work_off(ShardId(peer)))
            || (self.has_room()
                && (self.first_large_may_go_on()
                    || self.waiting.iter().any(|&id| self.is_ready(id))));
        TurnEnd {
            deadline: [
                self.shard.deadline(now),
                housekeeping,
                held,
                self.wakes_at(),
            ]
            .into_iter()
            .flatten()
            .min(),
            again: can_go_on,
        }
    }

    /// Submits what the shard asked for in this turn. What is done at once the shard is told at once, so that its answers leave with this turn's. Answers whether the shard goes on
    /// from there at once.
    fn submit(&mut self, now: Now) -> bool {
        let mut done_at_once = false;
        let mut operations = std::mem::take(&mut self.operations);
        for (ticket, operation) in operations.drain(..) {
            if let Some(outcome) = self.ports.submit(ticket, operation) {
                self.shard
                    .disk_completed(now, ticket, outcome, &mut self.hub);
                done_at_once = true;
            }
        }
        self.operations = operations;
        if done_at_once {
            self.complete_gathers(now);
        }
        done_at_once && self.shard.goes_on_after_commit()
    }

    /// When the next connection ends its DEBUG SLEEP.
    fn wakes_at(&mut self) -> Option<MonoNanos> {
        while self
            .hub
            .sleeps
            .first()
            .is_some_and(|at| *at <= self.hub.clock)
        {
            self.hub.sleeps.pop_first();
        }
        self.hub.sleeps.first().copied()
    }

    /// Begins a clean stop: no connection comes in any more and nothing more is read; what was read is answered.
    pub fn drain(&mut self) {
        self.draining = true;
        for id in self.hub.open() {
            let connection = self.hub.connection(id).expect("it was listed just now");
            connection.read_nothing_more();
            self.hub.mark_dirty(id);
        }
        self.waiting_large.clear();
        // What was read in part is still carried out.
        let hub = &mut self.hub;
        self.waiting.retain(|&id| {
            hub.connection(id)
                .is_some_and(|connection| connection.has_parts())
        });
    }

    /// Whether everything that was read is answered and sent, here and for the other shards.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.draining
            && self.hub.gathers.is_empty()
            && self
                .hub
                .connections
                .iter()
                .all(|(_, connection)| connection.is_quiet())
    }

    /// Closes every connection, whether it is quiet or not: the time for a clean stop is over.
    pub fn cut_connections(&mut self) {
        for id in self.hub.open() {
            self.cut(id);
        }
    }

    /// Ends a clean stop, once all shards of the node are drained: seals the log.
    pub fn seal(&mut self) {
        self.sealing = true;
        self.shard.stop();
    }

    /// Whether everything is on disk and the process may end.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealing && self.shard.is_stopped()
    }

    /// Evaluates another shard's requests as far as there is room, as long as it reads their answers, and within the budget.
    fn work_off_inbox(&mut self, now: Now, peer: ShardId, budget: &mut usize) {
        while *budget > 0 && self.may_work_off(peer) {
            let link = &mut self.hub.links[peer.index()];
            let inbox = link.inbox.front_mut().expect("there is work in the inbox");
            let mut batch = std::mem::take(inbox);
            let mut done = 0;
            'room: while !batch.is_read() {
                let ahead = self.look_ahead(batch.unread());
                for place in ahead.places {
                    let Some((route, frame, large, taken)) = batch.next() else {
                        break;
                    };
                    done += taken;
                    *budget = budget.saturating_sub(taken);
                    self.forwarded_request(now, peer, route, frame, large.as_ref(), place);
                    let link = &self.hub.links[peer.index()];
                    if *budget == 0 || !self.shard.has_room() || !link.reader_keeps_up() {
                        break 'room;
                    }
                }
            }
            let link = &mut self.hub.links[peer.index()];
            link.took_request(done);
            if batch.is_read() {
                link.inbox.pop_front();
            } else {
                *link.inbox.front_mut().expect("the batch's place is kept") = batch;
            }
        }
    }

    /// All shards, another one first in each turn: what one of them asks must not use up the budget of the others for ever.
    fn peers_in_turn(&mut self) -> impl Iterator<Item = ShardId> + use<P> {
        let count = self.config.shard_count;
        let first = self.peer_first;
        self.peer_first = (first + 1) % count;
        (0..count).map(move |step| ShardId((first + step) % count))
    }

    /// Whether a peer's requests wait and could be evaluated now.
    fn may_work_off(&self, peer: ShardId) -> bool {
        let link = &self.hub.links[peer.index()];
        !link.inbox.is_empty() && link.reader_keeps_up() && self.shard.has_room()
    }

    fn keyspace_info(&self, id: KeyspaceId) -> Option<(KeyspaceId, u16)> {
        self.shard
            .keyspaces()
            .find(|keyspace| keyspace.id() == id)
            .map(|keyspace| (id, keyspace.partitions()))
    }
}
