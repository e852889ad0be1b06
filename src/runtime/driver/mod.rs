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

mod bounds;
mod connection;
mod gather;
mod hub;
mod link;
mod multipart;
mod requests;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use corduroy_proto_wire::{
    Body, FrameError, HelloReply, KeyspaceInfo, LENGTH_LEN, Response, Status, split,
};

pub use bounds::Buffered;
pub use link::MeshBatch;

use crate::gateway::native::{self, Opening, OpeningError};
use crate::limits;
use crate::ports::{Clock, ConnectionId, Mesh, Net};
use crate::shard::Shard;
use crate::storage::buffer::Memory;
use crate::storage::disk::{Disk, DiskOperation, DiskOutcome, DiskTicket};
use crate::types::{KeyspaceId, MonoNanos, Now, ShardId};
use connection::{Claims, Connection, LargeInput, Phase};
use hub::Hub;
use requests::LookAhead;

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
pub trait Ports: Clock + Disk + Memory + Net + Mesh<MeshBatch> {}

impl<P: Clock + Disk + Memory + Net + Mesh<MeshBatch>> Ports for P {}

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
    draining: bool,
    sealing: bool,
    housekeeping_at: MonoNanos,
}

impl<P: Ports> Driver<P> {
    /// A driver over a recovered shard.
    #[must_use]
    pub fn new(config: DriverConfig, shard: Shard, ports: P) -> Driver<P> {
        Driver {
            hub: Hub::new(config.shard, config.shard_count, config.output_bytes_max),
            claims: Claims::new(config.large_input_bytes_max),
            config,
            shard,
            ports,
            turn: None,
            waiting: VecDeque::new(),
            waiting_large: VecDeque::new(),
            operations: Vec::new(),
            draining: false,
            sealing: false,
            housekeeping_at: MonoNanos(0),
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
            None => *self.turn.insert(self.ports.now()),
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
        let is_whole = |large: &LargeInput| large.is_whole();
        if !connection.large.as_ref().is_none_or(is_whole) {
            return Flow::Continue;
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

    /// Another shard has sent a batch.
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
        let mut budget = limits::TURN_MESH_BYTES;
        self.work_off_inbox(now, from, &mut budget);
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
        for peer in 0..self.config.shard_count {
            self.work_off_inbox(began, ShardId(peer), &mut budget);
        }
        self.go_on_with_waiting(began);
        self.complete_gathers(began);
        let now = self.ports.now();
        if self.sealing && self.is_drained() {
            self.shard.stop();
        }
        self.shard
            .end_turn(now, began.mono, &mut self.operations, &mut self.hub);
        self.complete_gathers(now);
        for (ticket, operation) in self.operations.drain(..) {
            self.ports.submit(ticket, operation);
        }
        if now.mono >= self.housekeeping_at {
            self.housekeeping_at = MonoNanos(now.mono.0 + limits::HOUSEKEEPING_NS);
            self.close_overdue(now.mono);
        }
        self.flush_outputs(now.mono);
        self.flush_links();
        let ended = self.ports.now();
        self.shard
            .turn_took(ended.mono.0.saturating_sub(began.mono.0));
        self.turn = None;
        let housekeeping = (!self.hub.connections.is_empty()).then_some(self.housekeeping_at);
        let held = self.hub.held.front();
        let held = held.map(|(_, since)| MonoNanos(since.0 + limits::HOLD_NS));
        let can_go_on = !self.hub.dirty.is_empty()
            || self.shard.has_slices()
            || (0..self.config.shard_count).any(|peer| self.may_work_off(ShardId(peer)))
            || (self.has_room()
                && (self.first_large_may_go_on()
                    || self.waiting.iter().any(|&id| self.is_ready(id))));
        TurnEnd {
            deadline: [self.shard.deadline(now), housekeeping, held]
                .into_iter()
                .flatten()
                .min(),
            again: can_go_on,
        }
    }

    /// Begins a clean stop: no connection comes in any more and nothing more is read; what was read is answered.
    pub fn drain(&mut self) {
        self.draining = true;
        let open: Vec<ConnectionId> = self
            .hub
            .connections
            .iter()
            .map(|(slot, connection)| ConnectionId {
                slot: slot as u32,
                generation: connection.generation,
            })
            .collect();
        for id in open {
            let connection = self.hub.connection(id).expect("it was listed just now");
            connection.phase = Phase::Closing;
            connection.input = Vec::new();
            connection.large = None;
            self.hub.mark_dirty(id);
        }
        self.waiting_large.clear();
        // What was read in part is still carried out.
        let hub = &mut self.hub;
        self.waiting.retain(|&id| {
            hub.connection(id)
                .is_some_and(|connection| connection.batch.is_some())
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
        let id = |(slot, connection): (usize, &Connection)| ConnectionId {
            slot: slot as u32,
            generation: connection.generation,
        };
        let open: Vec<ConnectionId> = self.hub.connections.iter().map(id).collect();
        for id in open {
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

    /// Works off what a connection sent, as far as there is room.
    fn work_off(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> Flow {
        if let Some(flow) = self.take_large(now, id, bytes) {
            return flow;
        }
        let mut at = 0;
        if self.hub.connections[id.slot as usize].phase == Phase::Handshake {
            match self.shake_hands(now, id, bytes) {
                Ok(Some(consumed)) => at = consumed,
                Ok(None) => return self.keep_input(now, id, bytes, false),
                Err(flow) => return flow,
            }
        }
        loop {
            // One frame alone is not worth a look ahead.
            let mut ahead = match split(&bytes[at..], self.config.frame_len_max()) {
                Ok(Some((_, consumed))) if at + consumed < bytes.len() => {
                    self.look_ahead(&bytes[at..])
                }
                _ => LookAhead::default(),
            };
            for place in &mut ahead.places {
                if !self.may_go_on(id) {
                    return self.keep_input(now, id, &bytes[at..], true);
                }
                match split(&bytes[at..], self.config.frame_len_max()) {
                    Ok(Some((frame, consumed))) => {
                        at += consumed;
                        self.hub.connections[id.slot as usize].frame_since = None;
                        if frame.len() > self.config.large_len {
                            self.large_request(now, id, Bytes::copy_from_slice(frame));
                        } else {
                            self.request(now, id, frame, place.take());
                        }
                    }
                    Ok(None) => return self.keep_input(now, id, &bytes[at..], false),
                    Err(error) => return self.refuse_stream(id, &error),
                }
            }
        }
    }

    /// Takes the large frame that came in before `bytes`, if there is one. Answers what becomes of the connection if its turn ends there.
    fn take_large(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> Option<Flow> {
        self.hub.connections[id.slot as usize].large.as_ref()?;
        if !self.may_go_on(id) {
            return Some(self.keep_input(now, id, bytes, true));
        }
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.frame_since = None;
        let large = connection.large.take()?;
        self.large_request(now, id, large.into_frame());
        None
    }

    /// Whether one more request of this connection may be taken.
    #[inline]
    fn may_go_on(&self, id: ConnectionId) -> bool {
        let connection = &self.hub.connections[id.slot as usize];
        connection.batch.is_none()
            && connection.in_flight < self.config.in_flight_max
            && connection.output.len() < limits::OUTPUT_HIGH_WATER
            && (connection.large_wanted == 0 || self.claims.has_room(connection.large_wanted))
            && self.has_room()
    }

    /// Whether this shard can take one more request of any connection.
    #[inline]
    fn has_room(&self) -> bool {
        self.shard.has_room() && self.hub.gathers.len() < limits::GATHERS_MAX && !self.hub.congested
    }

    fn keep_input(
        &mut self,
        now: Now,
        id: ConnectionId,
        rest: &[u8],
        waits_for_room: bool,
    ) -> Flow {
        let connection = &mut self.hub.connections[id.slot as usize];
        debug_assert!(connection.input.is_empty());
        connection.large_wanted = 0;
        let mut waits_for_room = waits_for_room;
        if !waits_for_room
            && connection.phase == Phase::Open
            && let Some(len) = large_frame_len(rest, self.config.large_len)
        {
            if self.claims.has_room(len) {
                connection.frame_since.get_or_insert(now.mono);
                return self.begin_large(id, len, rest);
            }
            connection.large_wanted = len;
            waits_for_room = true;
        }
        connection.input.extend_from_slice(rest);
        if rest.is_empty() {
            connection.frame_since = None;
            connection.input.shrink_to(limits::CONNECTION_BUFFER_KEEP);
        } else if !waits_for_room {
            connection.frame_since.get_or_insert(now.mono);
        }
        if waits_for_room {
            // It is not the client that is slow.
            connection.frame_since = None;
            if !connection.waits_for_room {
                connection.waits_for_room = true;
                let line = if connection.large_wanted > 0 {
                    &mut self.waiting_large
                } else {
                    &mut self.waiting
                };
                line.push_back(id);
            }
            connection.paused = true;
            return Flow::Pause;
        }
        Flow::Continue
    }

    /// Gives a large frame that has begun to come in a buffer of its own.
    fn begin_large(&mut self, id: ConnectionId, len: usize, begin: &[u8]) -> Flow {
        match self.ports.large_buffer(len) {
            Ok(buffer) => {
                let mut large = LargeInput::new(buffer, &self.claims);
                large.take(begin);
                let connection = &mut self.hub.connections[id.slot as usize];
                connection.large = Some(large);
                connection.input.shrink_to(limits::CONNECTION_BUFFER_KEEP);
                Flow::Continue
            }
            Err(error) => {
                let reason = format!("there is no memory for a frame of {len} bytes: {error}");
                let request = corduroy_proto_wire::CONNECTION_REQUEST_ID;
                self.close_with(id, request, Status::Overloaded, &reason)
            }
        }
    }

    /// Takes up connections that waited for room, as many as a turn's slice allows.
    fn go_on_with_waiting(&mut self, now: Now) {
        let mut budget = limits::TURN_INPUT_BYTES;
        while budget > 0 && self.has_room() && self.first_large_may_go_on() {
            let Some(id) = self.waiting_large.pop_front() else {
                break;
            };
            if self.hub.connection(id).is_none() {
                continue;
            }
            if self.may_go_on(id) {
                self.go_on(now, id, &mut budget);
            } else {
                // Something of its own holds it up, and others need not wait for that.
                self.waiting.push_back(id);
            }
        }
        for _ in 0..self.waiting.len() {
            if budget == 0 || !self.has_room() {
                return;
            }
            let Some(id) = self.waiting.pop_front() else {
                return;
            };
            let Some(connection) = self.hub.connection(id) else {
                continue;
            };
            if connection.batch.is_some() {
                self.go_on_with_batch(now, id);
                budget = budget.saturating_sub(limits::TURN_INPUT_BYTES / 2);
                self.waiting.push_back(id);
                continue;
            }
            if connection.phase == Phase::Closing {
                connection.waits_for_room = false;
                continue;
            }
            if !self.may_go_on(id) {
                self.waiting.push_back(id);
                continue;
            }
            self.go_on(now, id, &mut budget);
        }
    }

    /// Goes on with a connection that waited and may go on.
    fn go_on(&mut self, now: Now, id: ConnectionId, budget: &mut usize) {
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.waits_for_room = false;
        let input = std::mem::take(&mut connection.input);
        *budget = budget.saturating_sub(input.len().max(1));
        if self.work_off(now, id, &input) == Flow::Continue
            && let Some(connection) = self.hub.connection(id)
            && std::mem::take(&mut connection.paused)
        {
            self.ports.resume(id);
        }
    }

    /// Whether there is memory for the large frame that has waited for longest, or its connection is gone.
    fn first_large_may_go_on(&self) -> bool {
        self.waiting_large.front().is_some_and(|&id| {
            let connection = self.hub.connections.get(id.slot as usize);
            let alive = connection.filter(|connection| connection.generation == id.generation);
            alive.is_none_or(|connection| self.claims.has_room(connection.large_wanted))
        })
    }

    /// Whether a connection that waits could go on now.
    fn is_ready(&self, id: ConnectionId) -> bool {
        let connection = self.hub.connections.get(id.slot as usize);
        connection.is_some_and(|connection| {
            connection.generation == id.generation
                && (connection.batch.is_some() || self.may_go_on(id))
        })
    }

    /// Reads the hello. `Ok(None)`: not whole yet. `Err`: the connection is closed or another shard's.
    fn shake_hands(
        &mut self,
        now: Now,
        id: ConnectionId,
        bytes: &[u8],
    ) -> Result<Option<usize>, Flow> {
        let (request, hello, version, consumed) = match native::open(bytes) {
            Ok(Opening::Incomplete) => return Ok(None),
            Ok(Opening::Hello {
                request,
                hello,
                version,
                consumed,
            }) => (request, hello, version, consumed),
            Err(error) => return Err(self.refuse_opening(id, &error)),
        };
        if let Some(shard) = hello.shard.filter(|&shard| shard != self.config.shard.0) {
            if shard >= self.config.shard_count {
                let reason = format!(
                    "there is no shard {shard}: the node has {}",
                    self.config.shard_count
                );
                return Err(self.close_with(id, request, Status::Handshake, &reason));
            }
            self.hub.connections.remove(id.slot as usize);
            self.ports.hand_over(id, ShardId(shard), bytes.to_vec());
            return Err(Flow::Gone);
        }
        let keyspace = self
            .shard
            .keyspaces()
            .find(|keyspace| keyspace.name() == hello.keyspace)
            .map(|keyspace| KeyspaceInfo {
                id: keyspace.id().0,
                partitions: keyspace.partitions(),
                name: keyspace.name().to_owned(),
            });
        let reply = HelloReply {
            version,
            shard_count: self.config.shard_count,
            shard: self.config.shard.0,
            frame_len_max: self.config.frame_len_max(),
            value_len_max: self.config.value_len_max as u32,
            in_flight_max: self.config.in_flight_max as u32,
            batch_len_max: limits::BATCH_LEN_MAX as u32,
            keyspace,
            server_name: self.config.server_name.clone(),
        };
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.phase = Phase::Open;
        connection.received_at = now.mono;
        let response = Response {
            status: Status::Ok,
            version: 0,
            timestamp_ms: 0,
            body: Body::Hello(reply),
        };
        connection.push(request, &response);
        self.hub.mark_dirty(id);
        Ok(Some(consumed))
    }

    fn refuse_opening(&mut self, id: ConnectionId, error: &OpeningError) -> Flow {
        self.close_with(id, error.request(), Status::Handshake, &error.to_string())
    }

    fn refuse_stream(&mut self, id: ConnectionId, error: &FrameError) -> Flow {
        self.close_with(
            id,
            corduroy_proto_wire::CONNECTION_REQUEST_ID,
            error.status(),
            &error.to_string(),
        )
    }

    /// Says why, and closes the connection once that and every answer before it is sent.
    fn close_with(&mut self, id: ConnectionId, request: u32, status: Status, reason: &str) -> Flow {
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.phase = Phase::Closing;
        connection.input = Vec::new();
        connection.large = None;
        connection.frame_since = None;
        connection.push(
            request,
            &Response {
                status,
                version: 0,
                timestamp_ms: 0,
                body: Body::Error(reason),
            },
        );
        self.hub.mark_dirty(id);
        Flow::Continue
    }

    /// Evaluates another shard's requests as far as there is room, as long as it reads their answers, and within the budget.
    fn work_off_inbox(&mut self, now: Now, peer: ShardId, budget: &mut usize) {
        while *budget > 0 && self.may_work_off(peer) {
            let link = &mut self.hub.links[peer.index()];
            let inbox = link.inbox.front_mut().expect("there is work in the inbox");
            let mut batch = std::mem::take(inbox);
            let mut done = 0;
            while let Some((route, frame, large, taken)) = batch.next() {
                done += taken;
                *budget = budget.saturating_sub(taken);
                self.forwarded_request(now, peer, route, frame, large.as_ref());
                let link = &self.hub.links[peer.index()];
                if *budget == 0 || !self.shard.has_room() || !link.reader_keeps_up() {
                    break;
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

    /// Whether a peer's requests wait and could be evaluated now.
    fn may_work_off(&self, peer: ShardId) -> bool {
        let link = &self.hub.links[peer.index()];
        !link.inbox.is_empty() && link.reader_keeps_up() && self.shard.has_room()
    }

    /// Offers each connection's output to its socket, a slice at a time, and no more connections and bytes than a turn's slice.
    fn flush_outputs(&mut self, now: MonoNanos) {
        self.hub.release_held(now);
        let offered = self.hub.dirty.len().min(limits::TURN_SENDS_MAX);
        let mut sent = 0;
        for _ in 0..offered {
            if sent >= limits::TURN_SEND_BYTES {
                return;
            }
            let Some(id) = self.hub.dirty.pop_front() else {
                return;
            };
            let Some(connection) = self.hub.connections.get_mut(id.slot as usize) else {
                continue;
            };
            if connection.generation != id.generation {
                continue;
            }
            connection.dirty = false;
            if connection.may_hold(now) {
                if connection.held_since.is_none() {
                    connection.held_since = Some(now);
                    self.hub.held.push_back((id, now));
                }
                continue;
            }
            connection.held_since = None;
            let unsent = connection.output.len();
            if unsent > self.config.output_bytes_max || !self.offer(now, id) {
                self.cut(id);
                continue;
            }
            let connection = &self.hub.connections[id.slot as usize];
            sent += unsent - connection.output.len();
            if connection.phase == Phase::Closing && connection.is_quiet() {
                self.cut(id);
            } else if !connection.output.is_empty() && !connection.blocked {
                self.hub.mark_dirty(id);
            }
        }
    }

    /// Offers one slice of a connection's output to its socket; false if the connection is dead.
    fn offer(&mut self, now: MonoNanos, id: ConnectionId) -> bool {
        let connection = &mut self.hub.connections[id.slot as usize];
        if connection.blocked || connection.output.is_empty() {
            return true;
        }
        let unsent = connection.output.unsent();
        let slice = &unsent[..unsent.len().min(limits::SEND_SLICE_BYTES)];
        let offered = slice.len();
        match Net::send(&mut self.ports, id, slice) {
            Ok(sent) => {
                connection.blocked = sent < offered;
                connection.output.advance(sent);
                if sent > 0 {
                    connection.sent_at = now;
                }
                true
            }
            Err(_) => false,
        }
    }

    fn flush_links(&mut self) {
        for peer in 0..self.config.shard_count {
            let link = &mut self.hub.links[usize::from(peer)];
            if let Some(batch) = link.take_batch()
                && let Err(batch) = Mesh::send(&mut self.ports, ShardId(peer), batch)
            {
                link.give_back(batch);
            }
        }
        self.hub.look_for_congestion();
    }

    fn cut(&mut self, id: ConnectionId) {
        self.hub.forget(id);
        self.ports.close(id);
    }

    /// Closes connections that never opened, left a frame unfinished, read nothing, or sent nothing for too long.
    fn close_overdue(&mut self, now: MonoNanos) {
        let config = &self.config;
        let overdue: Vec<(ConnectionId, bool)> = self
            .hub
            .connections
            .iter_mut()
            .filter_map(|(slot, connection)| {
                if connection.output.is_empty() {
                    connection.sent_at = now;
                }
                let since_received = now.0 - connection.received_at.0;
                let stalled = now.0 - connection.sent_at.0 > config.stall_timeout_ns
                    || connection.frame_overdue(now, config.stall_timeout_ns);
                let late = match connection.phase {
                    Phase::Handshake => since_received > config.handshake_timeout_ns,
                    Phase::Open => {
                        config.idle_timeout_ns > 0
                            && since_received > config.idle_timeout_ns
                            && connection.is_quiet()
                            && !connection.waits_for_room
                    }
                    Phase::Closing => false,
                };
                let id = ConnectionId {
                    slot: slot as u32,
                    generation: connection.generation,
                };
                (stalled || late).then_some((id, stalled))
            })
            .collect();
        for (id, _) in overdue {
            self.cut(id);
        }
    }

    fn keyspace_info(&self, id: KeyspaceId) -> Option<(KeyspaceId, u16)> {
        self.shard
            .keyspaces()
            .find(|keyspace| keyspace.id() == id)
            .map(|keyspace| (id, keyspace.partitions()))
    }
}

/// How long the frame that begins here is in all, if it is a large one. Its length field was checked.
fn large_frame_len(bytes: &[u8], large_len: usize) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk::<LENGTH_LEN>()?) as usize;
    (length > large_len).then_some(LENGTH_LEN + length)
}
