//! Everything of a driver that answers flow through: connections, links to the other shards, gathers.
//!
//! The hub stands apart from the shard so that the shard can hand its answers straight to it while it runs: an answer to a local
//! connection is encoded into that connection's output, one for another shard's connection into the batch for that shard.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use corduroy_proto_wire::{Body, LENGTH_LEN, Request, RequestId, Response, Status};
use slab::Slab;

use super::connection::Connection;
use super::gather::{Gather, Gathering};
use super::link::{Link, Route};
use super::resp::Accounts;
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::{GatherId, Origin, Replies, ShardCommand, ShardReply, Target};
use crate::types::{MonoNanos, ShardId};

/// Connections, links and gathers of one shard.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) me: ShardId,
    /// What is counted of this shard's Redis clients' commands, and which took long.
    pub(super) accounts: Accounts,
    /// When connections end a DEBUG SLEEP, those included that are gone.
    pub(super) sleeps: BTreeSet<MonoNanos>,
    /// How random numbers were drawn so far.
    pub(super) randoms: u64,
    /// When the turn began.
    pub(super) clock: MonoNanos,
    pub(super) connections: Slab<Connection>,
    /// One a shard of the node; the one to itself is never used.
    pub(super) links: Vec<Link>,
    pub(super) gathers: Slab<Gather>,
    /// Gathers whose last part has come.
    pub(super) complete: Vec<GatherId>,
    /// Connections with output that was not offered to their sockets yet.
    pub(super) dirty: VecDeque<ConnectionId>,
    /// Connections whose output waits for answers from other shards, and since when, in that order. Some are out of date.
    pub(super) held: VecDeque<(ConnectionId, MonoNanos)>,
    /// Requests that were refused here, and that the shard was not told of yet to count them.
    pub(super) refused: u64,
    /// The link to some shard is full: no more requests are taken until it is not, for the next one might go there.
    pub(super) congested: bool,
    /// A connection with more unsent output than this is cut.
    output_bytes_max: usize,
    generation_next: u32,
}

/// A connection, if it is still there. The hub's other parts can be used meanwhile.
#[inline]
fn find(connections: &mut Slab<Connection>, id: ConnectionId) -> Option<&mut Connection> {
    connections
        .get_mut(id.slot as usize)
        .filter(|connection| connection.generation == id.generation)
}

impl Hub {
    pub(super) fn new(me: ShardId, shard_count: u16, output_bytes_max: usize) -> Hub {
        Hub {
            me,
            accounts: Accounts::new(me, shard_count),
            sleeps: BTreeSet::new(),
            randoms: 0,
            clock: MonoNanos(0),
            connections: Slab::new(),
            links: (0..shard_count).map(|_| Link::default()).collect(),
            gathers: Slab::new(),
            complete: Vec::new(),
            dirty: VecDeque::new(),
            held: VecDeque::new(),
            refused: 0,
            congested: false,
            output_bytes_max,
            generation_next: 0,
        }
    }

    /// A generation that no living connection or gather has (they are 32 bits wide, and wrap after four billion uses).
    pub(super) fn generation(&mut self) -> u32 {
        self.generation_next = self.generation_next.wrapping_add(1);
        self.generation_next
    }

    /// Connections and gathers that there were so far.
    pub(super) fn connections_received(&self) -> u64 {
        u64::from(self.generation_next)
    }

    #[inline]
    pub(super) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        find(&mut self.connections, id)
    }

    /// All connections.
    pub(super) fn open(&self) -> Vec<ConnectionId> {
        let connections = self.connections.iter();
        connections
            .map(|(slot, connection)| connection.id(slot))
            .collect()
    }

    /// Answers a client of this shard. A client that is gone gets nothing.
    #[inline]
    pub(super) fn answer(
        &mut self,
        client: ConnectionId,
        request: RequestId,
        response: &Response<'_>,
    ) {
        if let Some(connection) = find(&mut self.connections, client) {
            match &mut connection.resp {
                None => {
                    connection.push(request, response);
                    connection.in_flight -= 1;
                }
                Some(_) => connection.reply(request, response, None, client, &mut self.accounts),
            }
            if !connection.dirty {
                connection.dirty = true;
                self.dirty.push_back(client);
            }
        }
    }

    /// As [`Hub::answer`], of an answer that ends with `value`, which is not copied.
    pub(super) fn answer_large(
        &mut self,
        client: ConnectionId,
        request: RequestId,
        response: &Response<'_>,
        value: Bytes,
    ) {
        if let Some(connection) = find(&mut self.connections, client) {
            if connection.resp.is_some() {
                let accounts = &mut self.accounts;
                connection.reply(request, response, Some(value), client, accounts);
            } else {
                response.encode_but_last_value(request, connection.output.frames());
                connection.output.push_large(value);
                connection.in_flight -= 1;
            }
            self.mark_dirty(client);
        }
    }

    /// Sends a frame that another shard encoded as an answer to a client of this one. `large` is the value that belongs at its end.
    pub(super) fn answer_frame(&mut self, route: &Route, frame: &[u8], large: Option<Bytes>) {
        let client = route.client;
        if route.get
            && let Some(connection) = self.connection(client)
        {
            connection.remote_gets -= 1;
        }
        let len = frame.len() + large.as_ref().map_or(0, Bytes::len);
        if route.get && self.is_flooded(client, len) {
            let (request, _) =
                Response::decode(frame).expect("a shard of this node encodes what decodes");
            return self.refuse_flooded(client, request);
        }
        if let Some(connection) = find(&mut self.connections, client) {
            if connection.resp.is_some() {
                let (request, response) =
                    Response::decode(frame).expect("a shard of this node encodes what decodes");
                connection.reply(request, &response, large, client, &mut self.accounts);
                self.mark_dirty(client);
                return;
            }
            let out = connection.output.frames();
            out.extend_from_slice(&(len as u32).to_le_bytes());
            out.extend_from_slice(frame);
            if let Some(value) = large {
                connection.output.push_large(value);
            }
            connection.in_flight -= 1;
            if !connection.dirty {
                connection.dirty = true;
                self.dirty.push_back(client);
            }
        }
    }

    /// Whether an answer would leave a connection half as much unsent output as it may have. Requests of its own shard stop being evaluated
    /// long before; but those that are on their way to other shards when the first large answers come back can't be stopped.
    pub(super) fn is_flooded(&self, client: ConnectionId, more: usize) -> bool {
        let connection = self.connections.get(client.slot as usize);
        connection.is_some_and(|connection| {
            let unsent = connection.unsent();
            unsent > 0 && unsent + more > self.output_bytes_max / 2
        })
    }

    /// Refuses a get or a scan whose answer has come and has no room: the client may ask again when it has read what it asked for before.
    pub(super) fn refuse_flooded(&mut self, client: ConnectionId, request: RequestId) {
        self.refused += 1;
        let reason = "the connection has too many answers to read: read them and ask again";
        let body = Body::Error(reason);
        self.answer(
            client,
            request,
            &Response {
                status: Status::Overloaded,
                version: 0,
                timestamp_ms: 0,
                body,
            },
        );
    }

    /// Lets go of output that has been held for long enough.
    pub(super) fn release_held(&mut self, now: MonoNanos) {
        while let Some(&(id, since)) = self.held.front() {
            let is_held = self
                .connection(id)
                .is_some_and(|connection| connection.held_since == Some(since));
            if is_held && now.0 - since.0 < limits::HOLD_NS {
                return;
            }
            self.held.pop_front();
            if is_held {
                self.mark_dirty(id);
            }
        }
    }

    pub(super) fn mark_dirty(&mut self, client: ConnectionId) {
        if let Some(connection) = self.connection(client)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push_back(client);
        }
    }

    pub(super) fn gather(
        &mut self,
        client: ConnectionId,
        request: RequestId,
        parts: usize,
        gathering: Gathering,
    ) -> GatherId {
        assert!(parts > 0, "a gather has parts");
        let generation = self.generation();
        let gather = Gather {
            generation,
            client,
            request,
            since: self.clock,
            remaining: parts,
            installed: false,
            failure: None,
            gathering,
        };
        let slot = self.gathers.insert(gather) as u32;
        GatherId { slot, generation }
    }

    pub(super) fn gather_mut(&mut self, id: GatherId) -> &mut Gather {
        let gather = self
            .gathers
            .get_mut(id.slot as usize)
            .expect("a gather lives until its last part has come");
        assert_eq!(
            gather.generation, id.generation,
            "a gather lives until its last part has come"
        );
        gather
    }

    /// Forgets a connection. What is left of a batch of its is not asked for any more.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        let connection = self.connections.remove(id.slot as usize);
        if let Some(batch) = connection.batch {
            let gather = self.gather_mut(batch.gather);
            gather.give_up(batch.len - batch.next);
            if gather.remaining == 0 {
                self.complete.push(batch.gather);
            }
        }
    }

    pub(super) fn gather_part(&mut self, id: GatherId, part: u32, response: &Response<'_>) {
        let gather = self.gather_mut(id);
        gather.part(part, response);
        if gather.remaining == 0 {
            self.complete.push(id);
        }
    }

    pub(super) fn gather_internal(&mut self, id: GatherId, reply: ShardReply) {
        let gather = self.gather_mut(id);
        gather.internal(reply);
        if gather.remaining == 0 {
            self.complete.push(id);
        }
    }

    /// Sends a request to the shard that owns its key.
    #[inline]
    pub(super) fn forward_frame(&mut self, owner: ShardId, origin: &Origin, frame: &[u8]) {
        if origin.get
            && let Some(connection) = self.connections.get_mut(origin.client.slot as usize)
        {
            connection.remote_gets += 1;
        }
        let requests = &mut self.links[owner.index()].out.requests;
        requests.push(Route::of(origin), |out| {
            out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            out.extend_from_slice(frame);
        });
        self.note_congestion(owner);
    }

    /// As [`Hub::forward_frame`], of a large one, which is not copied.
    pub(super) fn forward_large(&mut self, owner: ShardId, origin: &Origin, frame: Bytes) {
        let requests = &mut self.links[owner.index()].out.requests;
        requests.push_large(Route::of(origin), frame, |_| {});
        self.note_congestion(owner);
    }

    /// As [`Hub::forward`], counting a get as one whose answer others may wait for.
    #[inline]
    pub(super) fn forward_counted(
        &mut self,
        owner: ShardId,
        origin: &Origin,
        request: &Request<'_>,
    ) {
        if origin.get
            && let Some(connection) = self.connections.get_mut(origin.client.slot as usize)
        {
            connection.remote_gets += 1;
        }
        self.forward(owner, origin, request);
    }

    pub(super) fn forward(&mut self, owner: ShardId, origin: &Origin, request: &Request<'_>) {
        let requests = &mut self.links[owner.index()].out.requests;
        requests.push(Route::of(origin), |out| {
            request.encode(origin.request(), out);
        });
        self.note_congestion(owner);
    }

    /// Looks again whether every link has room; called when a peer has made progress.
    pub(super) fn look_for_congestion(&mut self) {
        if self.congested {
            self.congested = !self.links.iter().all(Link::has_room);
        }
    }

    fn note_congestion(&mut self, owner: ShardId) {
        self.congested |= !self.links[owner.index()].has_room();
    }

    pub(super) fn forward_command(
        &mut self,
        owner: ShardId,
        origin: Origin,
        command: ShardCommand,
    ) {
        self.links[owner.index()]
            .out
            .commands
            .push((origin, command));
        self.note_congestion(owner);
    }
}

impl Replies for Hub {
    #[inline]
    fn reply(&mut self, origin: Origin, response: &Response<'_>) {
        if origin.shard == self.me {
            match origin.target {
                Target::Client(request) => self.answer(origin.client, request, response),
                Target::Gather(id, part) => self.gather_part(id, part, response),
            }
            return;
        }
        let replies = &mut self.links[origin.shard.index()].out.replies;
        replies.push(Route::of(&origin), |out| {
            response.encode(origin.request(), out);
        });
    }

    fn reply_large(&mut self, origin: Origin, response: &Response<'_>, value: Bytes) {
        if origin.shard == self.me {
            match origin.target {
                Target::Client(request) => {
                    self.answer_large(origin.client, request, response, value);
                }
                Target::Gather(id, part) => self.gather_part(id, part, response),
            }
            return;
        }
        let replies = &mut self.links[origin.shard.index()].out.replies;
        let mut head = Vec::new();
        response.encode_but_last_value(origin.request(), &mut head);
        replies.push_large(Route::of(&origin), value, |out| {
            out.extend_from_slice(&head[LENGTH_LEN..]);
        });
    }

    fn internal(&mut self, origin: Origin, reply: ShardReply) {
        let Target::Gather(id, _) = origin.target else {
            unreachable!("internal commands are asked by gathers");
        };
        if origin.shard == self.me {
            self.gather_internal(id, reply);
        } else {
            self.links[origin.shard.index()]
                .out
                .internal
                .push((origin, reply));
        }
    }
}
