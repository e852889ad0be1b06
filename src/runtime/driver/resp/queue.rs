//! The replies of one RESP connection, in the order of its commands.
//!
//! Requests are answered as shards get to them; a Redis client matches replies to commands by their order alone. So each command takes a
//! **slot** here when it is sent off, and replies leave from the front. A slot's number is the request id under which its answer
//! comes back. An answer to the front slot is written straight to the output; one that is early waits in its slot.
//!
//! | slot | answers that it takes | what it writes |
//! |---|---|---|
//! | `One` | one | that, in its shape |
//! | `Sum`, `All` | one a key | how many succeeded, or that all did |
//! | `Head` | one: whether a unit took effect | an array's head, and the unit's slots follow; or why not, and they fall away |
//! | `Version`, `Silent` | one | nothing: the command makes its reply when all are there |
//! | `Done` | none | bytes that are known |
//!
//! # What holds always
//!
//! - The front slot is never a finished one: whoever finishes it takes it and all finished ones behind it away.
//! - Every request that was sent has a slot that waits for it, and is answered exactly once.

use std::collections::VecDeque;

use bytes::Bytes;
use corduroy_proto_wire::{Body, RequestId, Response, Status};

use super::super::connection::Output;
use crate::gateway::resp::{Protocol, Shape, reply};

/// What a unit's head writes once it is known that the unit took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Then {
    /// EXEC: the head of an array of so many replies; those of the slots behind it follow.
    Array(u32),
    /// MSET, MSETNX: one reply for all. The slot behind it takes the writes' answers and writes nothing.
    Whole(Shape),
}

#[derive(Debug)]
enum Content {
    One(Shape),
    Sum {
        remaining: u32,
        total: i64,
        failure: Option<Vec<u8>>,
    },
    /// MSET in a transaction.
    All {
        remaining: u32,
        failure: Option<Vec<u8>>,
    },
    Head {
        then: Then,
        /// Slots behind it that fall away if the unit does not take effect.
        followers: u32,
        /// What one of the writes behind it failed with, if it has one reply.
        failure: Option<Vec<u8>>,
    },
    /// The writes of a unit with one reply: their answers say nothing but what failed.
    Quiet {
        remaining: u32,
        failure: Option<Vec<u8>>,
    },
    /// A key's version, for WATCH. Nothing is written.
    Version,
    /// A shard's part of a transaction, and the slots of the requests in it: if the part fails as a whole, they are answered with that.
    Part(Vec<RequestId>),
    /// The end of a gather of which the command makes its reply itself. Nothing is written.
    Silent,
    /// Written when its turn comes.
    Done(Vec<u8>, Option<(Bytes, &'static [u8])>),
}

#[derive(Debug)]
struct Slot {
    content: Content,
    muted: bool,
}

/// What was asked and not written yet.
#[derive(Debug, Default)]
pub(in super::super) struct ReplyQueue {
    /// The number of the front slot.
    first: RequestId,
    slots: VecDeque<Slot>,
    /// Bytes of replies that wait for earlier ones.
    held_bytes: usize,
    /// Versions that were asked for, each with its slot's number; or the first error among the answers.
    versions: Vec<(RequestId, Option<u64>)>,
    versions_failure: Option<Vec<u8>>,
}

/// What belongs to each slot of a command.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Tag {
    /// Its reply is not wanted: CLIENT REPLY.
    pub(in super::super) muted: bool,
}

impl ReplyQueue {
    /// Whether every command has its reply.
    #[inline]
    pub(in super::super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes that wait for earlier replies.
    #[inline]
    pub(in super::super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// A slot for one request's answer; its number is the request's id.
    #[inline]
    pub(in super::super) fn one(&mut self, tag: Tag, shape: Shape) -> RequestId {
        self.push(tag, Content::One(shape))
    }

    /// A slot for the answers to `keys` requests under its one number.
    pub(in super::super) fn sum(&mut self, tag: Tag, keys: u32) -> RequestId {
        let content = Content::Sum {
            remaining: keys,
            total: 0,
            failure: None,
        };
        self.push(tag, content)
    }

    /// A slot for a unit's own answer, before those of its `followers` further slots.
    pub(in super::super) fn head(&mut self, tag: Tag, then: Then, followers: u32) -> RequestId {
        let content = Content::Head {
            then,
            followers,
            failure: None,
        };
        self.push(tag, content)
    }

    /// A slot for a key's version.
    pub(in super::super) fn version(&mut self, tag: Tag) -> RequestId {
        self.push(tag, Content::Version)
    }

    /// A slot that waits for a gather and writes nothing.
    pub(in super::super) fn silent(&mut self, tag: Tag) -> RequestId {
        self.push(tag, Content::Silent)
    }

    /// A slot for the answer of a shard's part of a transaction. It writes nothing.
    pub(in super::super) fn part(&mut self, tag: Tag) -> RequestId {
        self.push(tag, Content::Part(Vec::new()))
    }

    /// Tells a part's slot those of the requests in it, one for each.
    pub(in super::super) fn part_has(&mut self, slot: RequestId, requests: Vec<RequestId>) {
        let at = slot.wrapping_sub(self.first) as usize;
        if let Some(Content::Part(place)) = self.slots.get_mut(at).map(|slot| &mut slot.content) {
            *place = requests;
        }
    }

    /// The versions that were asked for, in the order in which they were; or the error to answer instead.
    pub(in super::super) fn take_versions(&mut self) -> Result<Vec<Option<u64>>, Vec<u8>> {
        let mut versions = std::mem::take(&mut self.versions);
        if let Some(error) = self.versions_failure.take() {
            return Err(error);
        }
        let first = self.first;
        // Numbers wrap around; those that were given last are the nearest below the next one.
        versions.sort_unstable_by_key(|(id, _)| id.wrapping_sub(first));
        Ok(versions.into_iter().map(|(_, version)| version).collect())
    }

    /// The slot behind a head with one reply, for the answers to the unit's writes.
    pub(in super::super) fn quiet(&mut self, tag: Tag, writes: u32) -> RequestId {
        let content = Content::Quiet {
            remaining: writes,
            failure: None,
        };
        self.push(tag, content)
    }

    /// A reply that is known already: at once if nothing is before it.
    pub(in super::super) fn known(&mut self, tag: Tag, bytes: &[u8], out: &mut Output) {
        if !self.slots.is_empty() {
            self.known_later(tag, bytes);
        } else if !tag.muted {
            out.frames().extend_from_slice(bytes);
        }
    }

    /// A reply that is known already, behind a unit's head.
    pub(in super::super) fn known_later(&mut self, tag: Tag, bytes: &[u8]) {
        self.held_bytes += bytes.len();
        self.push(tag, Content::Done(bytes.to_vec(), None));
    }

    /// A slot for the answers to `writes` requests under its one number, of which the reply says that all succeeded.
    pub(in super::super) fn all(&mut self, tag: Tag, writes: u32) -> RequestId {
        let content = Content::All {
            remaining: writes,
            failure: None,
        };
        self.push(tag, content)
    }

    #[inline]
    fn push(&mut self, tag: Tag, content: Content) -> RequestId {
        let id = self.first.wrapping_add(self.slots.len() as u32);
        self.slots.push_back(Slot {
            content,
            muted: tag.muted,
        });
        id
    }

    /// Takes an answer. `value` is given if the answer ends with a value that is not copied. Says how many requests are answered
    /// with it: more than one if a unit did not take effect.
    #[inline]
    pub(in super::super) fn answer(
        &mut self,
        id: RequestId,
        response: &Response<'_>,
        value: Option<Bytes>,
        protocol: Protocol,
        out: &mut Output,
    ) -> usize {
        let at = id.wrapping_sub(self.first) as usize;
        let slot = self.slots.get_mut(at).expect("each request has a slot");
        if let Content::One(shape) = slot.content {
            let muted = slot.muted;
            if at == 0 && (muted || value.is_none()) {
                if !muted {
                    shape.write(response, protocol, out.frames());
                }
                self.pop();
                self.drain(out);
            } else {
                slot.content = done(shape, response, value, protocol);
                self.held_bytes += self.slots[at].held_bytes();
                if at == 0 {
                    self.drain(out);
                }
            }
            return 1;
        }
        self.answer_many(at, response, protocol, out)
    }

    fn answer_many(
        &mut self,
        at: usize,
        response: &Response<'_>,
        protocol: Protocol,
        out: &mut Output,
    ) -> usize {
        let slot = &mut self.slots[at];
        let mut answered = 1;
        let mut bytes = Vec::new();
        match &mut slot.content {
            Content::Sum {
                remaining,
                total,
                failure,
            } => {
                *remaining -= 1;
                *total += i64::from(response.status == Status::Ok);
                note_failure(failure, response, protocol);
                if *remaining > 0 {
                    return 1;
                }
                match failure.take() {
                    Some(error) => bytes = error,
                    None => reply::integer(&mut bytes, *total),
                }
                slot.content = Content::Done(bytes, None);
            }
            Content::All { remaining, failure } => {
                *remaining -= 1;
                note_failure(failure, response, protocol);
                if *remaining > 0 {
                    return 1;
                }
                match failure.take() {
                    Some(error) => bytes = error,
                    None => reply::simple(&mut bytes, "OK"),
                }
                slot.content = Content::Done(bytes, None);
            }
            Content::Quiet { remaining, failure } => {
                *remaining -= 1;
                note_failure(failure, response, protocol);
                if *remaining > 0 {
                    return 1;
                }
                let failure = failure.take();
                slot.content = Content::Done(Vec::new(), None);
                self.settle_head(at, failure);
            }
            Content::Head {
                then,
                followers,
                failure,
            } => {
                let (then, followers) = (*then, *followers as usize);
                let failure = failure.take();
                let took_effect = response.status == Status::Ok;
                match then {
                    Then::Array(len) if took_effect => reply::array(&mut bytes, len as usize),
                    Then::Array(_) if !response.status.is_error() => {
                        reply::null_array(&mut bytes, protocol);
                    }
                    Then::Array(_) => Shape::Ok.write(response, protocol, &mut bytes),
                    Then::Whole(_) if let Some(error) = failure => bytes = error,
                    Then::Whole(shape) => shape.write(response, protocol, &mut bytes),
                }
                slot.content = Content::Done(bytes, None);
                if !took_effect {
                    answered += self.drop_followers(at, followers);
                }
            }
            Content::Version => {
                note_failure(&mut self.versions_failure, response, protocol);
                let version = (response.status == Status::Ok).then_some(response.version);
                self.versions
                    .push((self.first.wrapping_add(at as u32), version));
                slot.content = Content::Done(bytes, None);
            }
            Content::Silent => slot.content = Content::Done(bytes, None),
            Content::Part(requests) => {
                let requests = std::mem::take(requests);
                slot.content = Content::Done(bytes, None);
                if response.status.is_error() {
                    for request in requests {
                        answered += self.answer(request, response, None, protocol, out);
                    }
                }
                // What was before it may have taken it away with itself.
                self.drain(out);
                return answered;
            }
            Content::One(_) | Content::Done(..) => {
                unreachable!("a request is answered once")
            }
        }
        self.held_bytes += self.slots[at].held_bytes();
        self.drain(out);
        answered
    }

    /// The writes of a unit with one reply are answered: if one failed, that is the reply.
    fn settle_head(&mut self, quiet: usize, failure: Option<Vec<u8>>) {
        let Some(error) = failure else {
            return;
        };
        let head = quiet.checked_sub(1).map(|head| &mut self.slots[head]);
        let head = head.expect("its head waits for it");
        if let Content::Head { failure, .. } = &mut head.content {
            *failure = Some(error);
            return;
        }
        self.held_bytes -= head.held_bytes();
        head.content = Content::Done(error, None);
        self.held_bytes += self.slots[quiet - 1].held_bytes();
    }

    /// Those behind a head that did not take effect write nothing. Says how many answers they waited for.
    fn drop_followers(&mut self, head: usize, followers: usize) -> usize {
        let mut dropped = 0;
        for slot in self.slots.range_mut(head + 1..=head + followers) {
            self.held_bytes -= slot.held_bytes();
            dropped += match &slot.content {
                Content::One(_)
                | Content::Head { .. }
                | Content::Version
                | Content::Part(_)
                | Content::Silent => 1,
                Content::Sum { remaining, .. }
                | Content::All { remaining, .. }
                | Content::Quiet { remaining, .. } => *remaining as usize,
                Content::Done(..) => 0,
            };
            slot.content = Content::Done(Vec::new(), None);
        }
        dropped
    }

    /// Writes what is finished at the front.
    #[inline]
    fn drain(&mut self, out: &mut Output) {
        while let Some(front) = self.slots.front() {
            if !matches!(front.content, Content::Done(..)) || self.waits_for_quiet() {
                return;
            }
            let slot = self.pop();
            self.held_bytes -= slot.held_bytes();
            if let Content::Done(bytes, value) = slot.content
                && !slot.muted
            {
                out.frames().extend_from_slice(&bytes);
                if let Some((value, tail)) = value {
                    out.push_large(value);
                    out.frames().extend_from_slice(tail);
                }
            }
        }
    }

    /// Whether the front is the finished head of a unit whose writes are not all answered.
    fn waits_for_quiet(&self) -> bool {
        matches!(
            self.slots.get(1).map(|slot| &slot.content),
            Some(Content::Quiet { .. })
        )
    }

    #[inline]
    fn pop(&mut self) -> Slot {
        self.first = self.first.wrapping_add(1);
        self.slots.pop_front().expect("it is there")
    }
}

impl Slot {
    fn held_bytes(&self) -> usize {
        match &self.content {
            Content::Done(bytes, value) => {
                bytes.len() + value.as_ref().map_or(0, |(value, _)| value.len())
            }
            _ => 0,
        }
    }
}

fn note_failure(failure: &mut Option<Vec<u8>>, response: &Response<'_>, protocol: Protocol) {
    if response.status.is_error() && failure.is_none() {
        let mut bytes = Vec::new();
        Shape::Ok.write(response, protocol, &mut bytes);
        *failure = Some(bytes);
    }
}

/// A finished slot; a value that is not to be copied stays apart.
fn done(
    shape: Shape,
    response: &Response<'_>,
    value: Option<Bytes>,
    protocol: Protocol,
) -> Content {
    let mut bytes = Vec::new();
    match value {
        Some(value) if shape == Shape::Value && !response.status.is_error() => {
            reply::bulk_head(&mut bytes, value.len());
            Content::Done(bytes, Some((value, b"\r\n")))
        }
        Some(value) => {
            let whole = Response {
                body: Body::Value(&value),
                ..response.clone()
            };
            shape.write(&whole, protocol, &mut bytes);
            Content::Done(bytes, None)
        }
        None => {
            shape.write(response, protocol, &mut bytes);
            Content::Done(bytes, None)
        }
    }
}
