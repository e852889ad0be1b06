//! From a command to requests: what goes to which shard, and what is answered here.

use bytes::Bytes;
use corduroy_proto_wire::{Put, Request, RequestId};

use super::super::{Driver, Ports};
use super::across::frame_of;
use super::input::Done;
use super::{Ask, Front, LargePut, Parts, Resp, Tag};
use crate::gateway::resp::commands::{self, Next};
use crate::gateway::resp::order::SessionOrder;
use crate::gateway::resp::{Order, Shape, reply};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::{Origin, Target, Whereabouts, request_key};
use crate::types::{KeyspaceId, Now};

impl<P: Ports> Driver<P> {
    #[inline]
    pub(in super::super) fn resp_mut(&mut self, id: ConnectionId) -> Option<&mut Resp> {
        self.hub.connection(id)?.resp.as_deref_mut()
    }

    /// As [`Driver::resp_mut`] of a connection whose command is in hand.
    #[inline]
    pub(super) fn resp(&mut self, id: ConnectionId) -> &mut Resp {
        let resp = self.hub.connections[id.slot as usize].resp.as_deref_mut();
        resp.expect("a connection of which a command came is one that speaks RESP")
    }

    /// Carries out one command, or the next round of it.
    pub(super) fn carry_out(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        arguments: &[&[u8]],
    ) -> Done {
        let next = commands::next(arguments, &mut front.session, now);
        if let Next::Do(order) = &next
            && is_barrier(order)
            && !self.resp(id).queue.is_empty()
        {
            return self.wait_for_replies(id);
        }
        let tag = Tag {
            muted: !front.session.takes_reply(),
        };
        match next {
            Next::Do(order) if front.has_large && !takes_large(&order, arguments) => {
                let longest = arguments.iter().map(|argument| argument.len()).max();
                let text = format!(
                    "ERR an argument of {} bytes is over append_len_max, {} bytes",
                    longest.unwrap_or(0),
                    limits::APPEND_LEN_MAX
                );
                self.reply_error(id, tag, &text);
                Done::Yes
            }
            Next::Do(order) => self.carry_out_order(now, id, front, tag, order),
            Next::Queued => {
                self.reply_known(id, tag, b"+QUEUED\r\n");
                Done::Yes
            }
            Next::Refused(error) if is_http(arguments) => {
                self.close_resp(id, &error.to_string());
                Done::Closed
            }
            Next::Refused(error) => {
                self.reply_error(id, tag, &error.to_string());
                Done::Yes
            }
        }
    }

    fn carry_out_order(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        order: Order<'_>,
    ) -> Done {
        match order {
            Order::One(request, shape) => {
                self.send_one(now, id, front, tag, &request, shape);
                Done::Yes
            }
            Order::Reply(bytes) | Order::AfterEarlier(bytes) => {
                self.reply_known(id, tag, &bytes);
                Done::Yes
            }
            Order::Array(requests) => {
                let mut head = Vec::new();
                reply::array(&mut head, requests.len());
                self.reply_known(id, tag, &head);
                let requests: Vec<Request<'_>> =
                    requests.into_iter().map(|(request, _)| request).collect();
                self.send_each(now, id, front, tag, None, &requests)
            }
            Order::Sum(requests) => {
                let slot = self.resp(id).queue.sum(tag, requests.len() as u32);
                self.send_each(now, id, front, tag, Some(slot), &requests)
            }
            Order::Together {
                preconditions,
                requests,
                shape,
            } => self.together(now, id, tag, &preconditions, &requests, shape),
            Order::Move(moving, shape) => self.move_key(now, id, front, tag, &moving, shape),
            Order::Session(SessionOrder::Exec) => self.execute(now, id, front, tag),
            Order::Session(order) => self.session_order(now, id, front, tag, order),
            order => self.next_round(now, id, front, tag, order),
        }
    }

    /// Sends one request, whose answer is the reply.
    #[inline]
    fn send_one(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        request: &Request<'_>,
        shape: Shape,
    ) {
        let slot = self.resp(id).queue.one(tag, shape);
        if front.has_large
            && let Request::Put { keyspace, put } = request
            && put.value.len() > self.config.large_len
        {
            front.large_put = Some(large_put(slot, *keyspace, put));
            return;
        }
        let (keyspace, key) = request_key(request).expect("it is about one key");
        let ahead = front.ahead.take(key);
        // A SELECT may have come in between.
        let ahead = ahead.filter(|_| keyspace == front.ahead.keyspace);
        self.send_request_to(now, id, slot, request, ahead);
    }

    /// Sends a request on one key to the shard that has it.
    #[inline]
    pub(super) fn send_request(
        &mut self,
        now: Now,
        id: ConnectionId,
        slot: RequestId,
        request: &Request<'_>,
    ) {
        self.send_request_to(now, id, slot, request, None);
    }

    /// As [`Driver::send_request`], of which it may be known where its key lives.
    #[inline]
    fn send_request_to(
        &mut self,
        now: Now,
        id: ConnectionId,
        slot: RequestId,
        request: &Request<'_>,
        whereabouts: Option<Whereabouts>,
    ) {
        self.hub.connections[id.slot as usize].in_flight += 1;
        let (keyspace, key) = request_key(request).expect("it is about one key");
        let origin = Origin {
            shard: self.config.shard,
            client: id,
            target: Target::Client(slot),
            get: matches!(request, Request::Get { .. }),
        };
        let whereabouts =
            whereabouts.unwrap_or_else(|| self.shard.whereabouts(KeyspaceId(keyspace), key));
        match whereabouts {
            Whereabouts::Here(place) => {
                self.shard
                    .execute_at(now, origin, place, request, &mut self.hub);
            }
            Whereabouts::On(owner) => self.hub.forward_counted(owner, &origin, request),
            Whereabouts::NoKeyspace => self.shard.execute(now, origin, request, &mut self.hub),
        }
    }

    /// Sends requests of which each has a slot of its own, or all have one; a slice of them now.
    fn send_each(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        slot: Option<RequestId>,
        requests: &[Request<'_>],
    ) -> Done {
        if requests.len() <= self.config.batch_slice_len {
            for request in requests {
                let slot = slot.unwrap_or_else(|| self.resp(id).queue.one(tag, Shape::Value));
                self.send_request(now, id, slot, request);
            }
            return Done::Yes;
        }
        let mut bytes = Vec::new();
        let mut keys = Vec::with_capacity(requests.len());
        for request in requests {
            let (_, key) = request_key(request).expect("it is about one key");
            keys.push((bytes.len() as u32, key.len() as u32));
            bytes.extend_from_slice(key);
        }
        front.parts = Some(Parts {
            bytes: Bytes::from(bytes),
            keys,
            next: 0,
            ask: Ask::of(&requests[0]),
            keyspace: front.session.keyspace(),
            slot,
            tag,
        });
        Done::Parts
    }

    /// Goes on with a command of many keys, one slice.
    pub(in super::super) fn go_on_with_parts(&mut self, now: Now, id: ConnectionId) {
        let front = self.resp(id).front.as_mut();
        let Some(mut parts) = front.and_then(|front| front.parts.take()) else {
            return;
        };
        for _ in 0..self.config.batch_slice_len {
            let Some(&(at, len)) = parts.keys.get(parts.next) else {
                return;
            };
            if !self.part_may_go_on(id) {
                break;
            }
            let key = &parts.bytes[at as usize..(at + len) as usize];
            let request = parts.ask.request(parts.keyspace, key);
            let slot = match parts.slot {
                Some(slot) => slot,
                None => self.resp(id).queue.one(parts.tag, Shape::Value),
            };
            self.send_request(now, id, slot, &request);
            parts.next += 1;
        }
        let is_done = parts.next == parts.keys.len();
        if !is_done && let Some(front) = self.resp(id).front.as_mut() {
            front.parts = Some(parts);
        }
    }

    /// Whether there is room for one more part of a connection's command.
    fn part_may_go_on(&self, id: ConnectionId) -> bool {
        let connection = &self.hub.connections[id.slot as usize];
        self.takes_more(connection) && self.has_room()
    }

    /// A reply that is known already.
    pub(super) fn reply_known(&mut self, id: ConnectionId, tag: Tag, bytes: &[u8]) {
        let connection = &mut self.hub.connections[id.slot as usize];
        if let Some(resp) = &mut connection.resp {
            resp.queue.known(tag, bytes, &mut connection.output);
        }
        self.hub.mark_dirty(id);
    }

    pub(super) fn reply_error(&mut self, id: ConnectionId, tag: Tag, text: &str) {
        self.shard.refused_outside(1);
        self.reply_known(id, tag, &reply::error_bytes(text));
    }

    /// The command in hand is looked at again when all earlier replies are there.
    pub(super) fn wait_for_replies(&mut self, id: ConnectionId) -> Done {
        self.resp(id).waits_for_replies = true;
        Done::Later
    }
}

impl Ask {
    fn of(request: &Request<'_>) -> Ask {
        match request {
            Request::Get { .. } => Ask::Get,
            Request::Delete { .. } => Ask::Delete,
            _ => Ask::Exists,
        }
    }

    fn request(self, keyspace: KeyspaceId, key: &[u8]) -> Request<'_> {
        let keyspace = keyspace.0;
        match self {
            Ask::Get => Request::Get { keyspace, key },
            Ask::Exists => Request::Exists { keyspace, key },
            Ask::Delete => Request::Delete {
                keyspace,
                delete: corduroy_proto_wire::Delete {
                    key,
                    condition: corduroy_proto_wire::Condition::Always,
                    return_value: false,
                },
            },
        }
    }
}

/// Whether this is a line of HTTP: a page in somebody's browser must not get to send commands to a node that it can reach. As in Redis, what follows is not
/// looked at any more.
fn is_http(arguments: &[&[u8]]) -> bool {
    let is = |word: &[u8]| arguments[0].eq_ignore_ascii_case(word);
    is(b"post") || is(b"host:")
}

/// Whether an order looks at more than single keys, or changes the connection: then it waits for the replies of all before it.
fn is_barrier(order: &Order<'_>) -> bool {
    match order {
        Order::Reply(_)
        | Order::One(..)
        | Order::Array(_)
        | Order::Sum(_)
        | Order::Together { .. }
        | Order::AfterEarlier(_) => false,
        Order::Move(moving, _) => moving.database.is_some(),
        Order::Session(session) => !matches!(
            session,
            SessionOrder::Multi
                | SessionOrder::Exec
                | SessionOrder::Discard
                | SessionOrder::Unwatch
        ),
        _ => true,
    }
}

/// Whether an order may have an argument as long as one that is kept apart.
fn takes_large(order: &Order<'_>, arguments: &[&[u8]]) -> bool {
    matches!(order, Order::One(Request::Put { .. }, _))
        || arguments
            .iter()
            .all(|argument| argument.len() <= limits::APPEND_LEN_MAX)
}

/// What sends a put whose value is kept apart.
fn large_put(slot: RequestId, keyspace: u32, put: &Put<'_>) -> LargePut {
    let without = Request::Put {
        keyspace,
        put: Put { value: &[], ..*put },
    };
    LargePut {
        head: frame_of(slot, &without),
        value: put.value.as_ptr().addr(),
    }
}
