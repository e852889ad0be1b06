//! From a command to requests: what goes to which shard, and what is answered here.

use bytes::Bytes;
use corduroy_proto_wire::{Put, Request, RequestId};

use super::super::{Driver, Ports};
use super::accounts::{Call, Called, Failing, Kept, Unsettled};
use super::across::frame_of;
use super::input::Done;
use super::{Ask, Front, LargePut, Parts, Resp, Tag};
use crate::gateway::resp::commands::{self, Next};
use crate::gateway::resp::order::SessionOrder;
use crate::gateway::resp::slowlog::Entry;
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

    /// Carries out one command, or the next round of it, and counts it. `bytes` are those that it came in.
    pub(super) fn carry_out(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        bytes: &[u8],
        arguments: &[&[u8]],
    ) -> Done {
        let began = if self.hub.accounts.is_precise() {
            self.ports.now().mono
        } else {
            now.mono
        };
        let first = self.resp(id).queue.next();
        let (done, outcome) = self.carry_out_round(now, id, front, arguments);
        if done == Done::Later {
            if front.tag.is_some() {
                front.began.get_or_insert(began);
            }
            return done;
        }
        front.tag = None;
        let began = front.began.take().unwrap_or(began);
        let failing = self.hub.accounts.take_failing();
        let Some(row) = front.session.command() else {
            return done;
        };
        match outcome {
            Outcome::Rejected => self.hub.accounts.rejected(Some(row)),
            Outcome::Queued => {}
            Outcome::CarriedOut => {
                let is_failed = match failing {
                    Failing::No => false,
                    Failing::Answered => row.command().name != "exec",
                    Failing::Refused => true,
                };
                if is_failed {
                    self.hub.accounts.failed(row);
                }
                let exec = front.kept.take();
                if let Some(parts) = &mut front.parts {
                    parts.called = Some(((row, began, first), Entry::cut_off(arguments)));
                    return done;
                }
                let may_keep_bytes = !front.has_large;
                self.count(id, (row, began, first), |unsettled| {
                    match (exec, unsettled) {
                        (Some(arguments), _) => Kept::Arguments(arguments),
                        (None, Some(unsettled))
                            if may_keep_bytes
                                && Entry::is_in_first_bytes(
                                    bytes,
                                    arguments,
                                    limits::SLOWLOG_KEPT_LEN_MAX,
                                ) =>
                        {
                            unsettled.keep(bytes)
                        }
                        _ => Kept::Arguments(Entry::cut_off(arguments)),
                    }
                });
            }
        }
        done
    }

    /// Counts a command whose requests are all sent. `kept` says what the slow log shows of it.
    #[inline]
    fn count(
        &mut self,
        id: ConnectionId,
        (row, began, first): Called,
        kept: impl FnOnce(Option<&mut Unsettled>) -> Kept,
    ) {
        let accounts = &mut self.hub.accounts;
        let connection = self.hub.connections.get_mut(id.slot as usize);
        let Some(resp) = connection.and_then(|connection| connection.resp.as_deref_mut()) else {
            return;
        };
        if !resp.queue.is_empty() && resp.queue.waits_from(first) {
            accounts.called_for(row, 0);
            let call = Call {
                row,
                began,
                first,
                last: resp.queue.next().wrapping_sub(1),
            };
            let kept = if accounts.slowlog.is_on() {
                kept(Some(&mut resp.unsettled))
            } else {
                Kept::Name
            };
            resp.unsettled.push(call, kept);
            return;
        }
        let is_precise = accounts.is_precise();
        if began == accounts.clock && !is_precise {
            return accounts.called(row);
        }
        let ended = if is_precise {
            self.ports.now().mono
        } else {
            accounts.clock
        };
        let nanos = ended.0.saturating_sub(began.0);
        accounts.called_for(row, nanos);
        if accounts.slowlog.is_slow(nanos / 1000) {
            accounts.note(id, nanos, kept(None).into_arguments(row));
        }
    }

    /// Carries out one command, or the next round of it.
    #[inline]
    fn carry_out_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        arguments: &[&[u8]],
    ) -> (Done, Outcome) {
        if front.executing.is_some() {
            let done = self.go_on_executing(now, id, front);
            return (done, Outcome::CarriedOut);
        }
        let next = commands::next(arguments, &mut front.session, now);
        if let Next::Do(order) = &next
            && is_barrier(order)
            && !self.resp(id).queue.is_empty()
        {
            return (self.wait_for_replies(id), Outcome::CarriedOut);
        }
        let tag = front.tag.take().unwrap_or_else(|| Tag {
            muted: !front.session.takes_reply(),
        });
        // Most commands: the request is not moved.
        if let Next::Do(Order::One(request, shape)) = &next
            && !front.has_large
        {
            self.send_one(now, id, front, tag, request, *shape);
            return (Done::Yes, Outcome::CarriedOut);
        }
        match next {
            Next::Do(order) if front.has_large && !takes_large(&order, arguments) => {
                let longest = arguments.iter().map(|argument| argument.len()).max();
                let text = format!(
                    "ERR an argument of {} bytes is over append_len_max, {} bytes",
                    longest.unwrap_or(0),
                    limits::APPEND_LEN_MAX
                );
                self.reply_error(id, tag, text);
                (Done::Yes, Outcome::CarriedOut)
            }
            Next::Do(order) => {
                let done = self.carry_out_order(now, id, front, tag, order);
                if done == Done::Later {
                    front.tag = Some(tag);
                }
                (done, Outcome::CarriedOut)
            }
            Next::Queued => {
                self.reply_known(id, tag, b"+QUEUED\r\n");
                (Done::Yes, Outcome::Queued)
            }
            Next::Refused(error) if is_http(arguments) => {
                self.close_resp(id, error.text());
                (Done::Closed, Outcome::Rejected)
            }
            Next::Refused(error) => {
                self.reply_error(id, tag, error.text());
                let outcome = if error.is_rejection() {
                    Outcome::Rejected
                } else {
                    Outcome::CarriedOut
                };
                (Done::Yes, outcome)
            }
        }
    }

    pub(super) fn carry_out_order(
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
            called: None,
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
        if parts.next < parts.keys.len() {
            if let Some(front) = self.resp(id).front.as_mut() {
                front.parts = Some(parts);
            }
        } else if let Some((called, arguments)) = parts.called {
            self.count(id, called, |_| Kept::Arguments(arguments));
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
            if let Some(captured) = &mut resp.captured {
                captured.extend_from_slice(bytes);
                return;
            }
            resp.queue.known(tag, bytes, &mut connection.output);
        }
        self.hub.mark_dirty(id);
    }

    pub(super) fn reply_error(&mut self, id: ConnectionId, tag: Tag, text: impl AsRef<[u8]>) {
        self.shard.refused_outside(1);
        self.hub.accounts.refuses();
        self.reply_known(id, tag, &reply::error_bytes(text));
    }

    /// The command in hand is looked at again when all earlier replies are there.
    pub(super) fn wait_for_replies(&mut self, id: ConnectionId) -> Done {
        self.resp(id).waits_for_replies = true;
        Done::Later
    }
}

/// What became of a command, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    CarriedOut,
    /// It waits for EXEC.
    Queued,
    /// Its name or the number of its arguments is wrong.
    Rejected,
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
