//! The way from one shard to another: one batch a turn each way, flow-controlled by bytes.
//!
//! Cross-core messages cost next to nothing in bulk and a lot one by one, so everything for a peer gathers in one
//! [`MeshBatch`] that is flushed once a turn: client requests as raw frames behind a fixed header, their answers as raw
//! frames too, and the rare internal commands as values.
//!
//! Two cores that wait for each other's full queues would deadlock. So nothing here ever waits: each side may have a window of
//! request bytes outstanding, and the receiver says in every batch how many it has worked off; while the window is full the
//! sender takes no more requests from its connections. Answers are bounded the same way: a shard evaluates a peer's requests only
//! while that peer's unread answers stay within a window.

use std::collections::VecDeque;

use bytes::Bytes;

use super::resp::{NodeAsk, NodeTold};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::{GatherId, Origin, ShardCommand, ShardReply, Target};
use crate::types::ShardId;

/// Frames on their way to another shard.
#[derive(Debug, Default)]
pub struct Frames {
    /// 24 bytes of route and a frame with its length field, one after the other. A large request's frame is left out, and so is a large value
    /// at the end of an answer's; the route says so.
    bytes: Vec<u8>,
    /// What is left out, in order: shared, not copied.
    large: VecDeque<Bytes>,
    /// How far the receiver has read.
    at: usize,
}

impl Frames {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that are in it.
    pub(super) fn len(&self) -> usize {
        let large: usize = self.large.iter().map(Bytes::len).sum();
        self.bytes.len() + large
    }

    /// Appends a frame that `encode` writes with its length field.
    #[inline]
    pub(super) fn push(&mut self, route: Route, encode: impl FnOnce(&mut Vec<u8>)) {
        route.encode(false, &mut self.bytes);
        encode(&mut self.bytes);
    }

    /// Appends a frame, or part of one, of which `large` is left out.
    pub(super) fn push_large(
        &mut self,
        route: Route,
        large: Bytes,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        route.encode(true, &mut self.bytes);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        encode(&mut self.bytes);
        let len = (self.bytes.len() - start - 4) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.large.push_back(large);
    }

    /// The next frame that was not read yet: its route, the frame without its length field, what was left out of it, and how many
    /// bytes it all takes.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(Route, &[u8], Option<Bytes>, usize)> {
        let (route, rest) = self.bytes[self.at..].split_first_chunk::<ROUTE_LEN>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (route, has_large) = Route::decode(route);
        let large = if has_large {
            Some(
                self.large
                    .pop_front()
                    .expect("what a route says was left out"),
            )
        } else {
            None
        };
        let taken = ROUTE_LEN + 4 + length;
        self.at += taken;
        let all = taken + large.as_ref().map_or(0, Bytes::len);
        Some((route, &rest[..length], large, all))
    }

    /// The frames that were not read yet, each without its length field and without what was left out of it.
    #[inline]
    pub(super) fn unread(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[self.at..];
        std::iter::from_fn(move || {
            let length = rest.get(ROUTE_LEN..)?.first_chunk::<4>()?;
            let (frame, after) =
                rest[ROUTE_LEN + 4..].split_at(u32::from_le_bytes(*length) as usize);
            rest = after;
            Some(frame)
        })
    }

    /// Whether all of it was read.
    pub(super) fn is_read(&self) -> bool {
        self.at == self.bytes.len()
    }
}

/// What one shard has for another after a turn.
#[derive(Debug, Default)]
pub struct MeshBatch {
    /// Requests.
    pub requests: Frames,
    /// Answers.
    pub replies: Frames,
    /// Commands for the receiving shard.
    pub commands: Vec<(Origin, ShardCommand)>,
    /// Answers to the receiver's commands.
    pub internal: Vec<(Origin, ShardReply)>,
    /// What the sending driver asks of the receiving one.
    pub(super) asks: Vec<(GatherId, NodeAsk)>,
    /// Answers to what the receiver asked.
    pub(super) tells: Vec<(GatherId, NodeTold)>,
    /// Request bytes of the receiver that the sender has worked off, in all.
    pub requests_done: u64,
    /// Reply bytes of the receiver that the sender has worked off, in all.
    pub replies_done: u64,
}

impl MeshBatch {
    fn is_empty(&self) -> bool {
        self.requests.is_empty()
            && self.replies.is_empty()
            && self.commands.is_empty()
            && self.internal.is_empty()
            && self.asks.is_empty()
            && self.tells.is_empty()
    }
}

/// Bytes before each frame that travels: connection slot and generation, gather slot (all ones: none), generation and part, flags.
pub(super) const ROUTE_LEN: usize = 24;
/// The flag of a get.
const FLAG_GET: u32 = 1;
/// The flag of a frame of which something large is left out.
const FLAG_LARGE: u32 = 2;
const NO_GATHER: u32 = u32::MAX;

/// Where a frame that travels belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) client: ConnectionId,
    pub(super) gather: Option<(GatherId, u32)>,
    /// The request changes nothing, so its answer may be replaced by a refusal if there is no room for it.
    pub(super) get: bool,
}

impl Route {
    pub(super) fn of(origin: &Origin) -> Route {
        let gather = match origin.target {
            Target::Client(_) => None,
            Target::Gather(id, part) => Some((id, part)),
        };
        Route {
            client: origin.client,
            gather,
            get: origin.get,
        }
    }

    pub(super) fn origin(self, shard: ShardId, request: corduroy_proto_wire::RequestId) -> Origin {
        let target = match self.gather {
            None => Target::Client(request),
            Some((id, part)) => Target::Gather(id, part),
        };
        Origin {
            shard,
            client: self.client,
            target,
            get: self.get,
        }
    }

    #[inline]
    fn encode(self, has_large: bool, out: &mut Vec<u8>) {
        let (gather, part) = self.gather.unwrap_or((
            GatherId {
                slot: NO_GATHER,
                generation: 0,
            },
            0,
        ));
        let mut bytes = [0; ROUTE_LEN];
        for (place, number) in bytes.chunks_exact_mut(4).zip([
            self.client.slot,
            self.client.generation,
            gather.slot,
            gather.generation,
            part,
            if self.get { FLAG_GET } else { 0 } | if has_large { FLAG_LARGE } else { 0 },
        ]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&bytes);
    }

    /// A route, and whether something was left out of its frame.
    #[inline]
    fn decode(bytes: &[u8; ROUTE_LEN]) -> (Route, bool) {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| u32::from_le_bytes(words[at]);
        let gather = (word(2) != NO_GATHER).then(|| {
            (
                GatherId {
                    slot: word(2),
                    generation: word(3),
                },
                word(4),
            )
        });
        let route = Route {
            client: ConnectionId {
                slot: word(0),
                generation: word(1),
            },
            gather,
            get: word(5) & FLAG_GET != 0,
        };
        (route, word(5) & FLAG_LARGE != 0)
    }
}

/// One peer as this shard sees it.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// What goes out with the next flush.
    pub(super) out: MeshBatch,
    /// Request bytes sent, and of those worked off by the peer.
    requests_sent: u64,
    requests_done: u64,
    /// Reply bytes sent, and of those worked off by the peer.
    replies_sent: u64,
    replies_done: u64,
    /// Request and reply bytes of the peer that were worked off here, and what the peer was told of them.
    taken_requests: u64,
    taken_replies: u64,
    told_requests: u64,
    told_replies: u64,
    /// Requests that wait for room in the shard.
    pub(super) inbox: VecDeque<Frames>,
    /// The channel had no room for the last batch.
    pub(super) blocked: bool,
}

impl Link {
    /// Whether another request may be sent to the peer.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        let outstanding = self.requests_sent + self.out.requests.len() as u64 - self.requests_done;
        outstanding < limits::MESH_WINDOW_BYTES as u64
            && self.out.commands.len() < limits::MESH_COMMANDS_MAX
    }

    /// Whether the peer reads its answers, so that more of its requests may be evaluated.
    pub(super) fn reader_keeps_up(&self) -> bool {
        let unread = self.replies_sent + self.out.replies.len() as u64 - self.replies_done;
        unread < limits::MESH_WINDOW_BYTES as u64
    }

    /// Takes in the peer's word on how far it is.
    pub(super) fn acknowledged(&mut self, batch: &MeshBatch) {
        self.requests_done = self.requests_done.max(batch.requests_done);
        self.replies_done = self.replies_done.max(batch.replies_done);
    }

    pub(super) fn took_request(&mut self, bytes: usize) {
        self.taken_requests += bytes as u64;
    }

    pub(super) fn took_replies(&mut self, bytes: usize) {
        self.taken_replies += bytes as u64;
    }

    /// The batch to send now, if there is something to say. Progress alone is told once it is a good part of the window.
    pub(super) fn take_batch(&mut self) -> Option<MeshBatch> {
        let progress =
            (self.taken_requests - self.told_requests).max(self.taken_replies - self.told_replies);
        if self.blocked || (self.out.is_empty() && progress < limits::MESH_WINDOW_BYTES as u64 / 8)
        {
            return None;
        }
        let mut batch = std::mem::take(&mut self.out);
        self.requests_sent += batch.requests.len() as u64;
        self.replies_sent += batch.replies.len() as u64;
        batch.requests_done = self.taken_requests;
        batch.replies_done = self.taken_replies;
        self.told_requests = self.taken_requests;
        self.told_replies = self.taken_replies;
        Some(batch)
    }

    /// The channel was full: keeps the batch for later.
    pub(super) fn give_back(&mut self, batch: MeshBatch) {
        assert!(self.out.is_empty(), "a batch is given back at once");
        self.requests_sent -= batch.requests.len() as u64;
        self.replies_sent -= batch.replies.len() as u64;
        // The peer was not told after all, and a batch may hold nothing but that.
        self.told_requests = 0;
        self.told_replies = 0;
        self.out = batch;
        self.blocked = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer whose window is full sends nothing more until it hears of progress. Were that word lost because the channel was full
    /// just then, both sides would wait for ever.
    #[test]
    fn progress_is_told_though_the_channel_was_full() {
        let mut link = Link::default();
        link.took_request(limits::MESH_WINDOW_BYTES);
        let batch = link.take_batch().expect("there is progress to tell");
        assert!(batch.is_empty(), "and nothing else");
        link.give_back(batch);
        assert!(link.take_batch().is_none(), "the channel is full");
        link.blocked = false;
        let told = link.take_batch().expect("the progress is still to be told");
        assert_eq!(told.requests_done, limits::MESH_WINDOW_BYTES as u64);
        assert!(link.take_batch().is_none(), "it is told once");
    }

    /// A route that lost its gather would send a batch item's answer to the client as an answer of its own.
    #[test]
    fn routes_survive_the_way() {
        for gather in [
            None,
            Some((
                GatherId {
                    slot: 7,
                    generation: 9,
                },
                11,
            )),
        ] {
            let route = Route {
                client: ConnectionId {
                    slot: 1,
                    generation: u32::MAX,
                },
                gather,
                get: true,
            };
            let mut frames = Frames::default();
            frames.push(route, |out| out.extend_from_slice(b"\x03\0\0\0abc"));
            let large = Bytes::from_static(b"large");
            frames.push_large(route, large.clone(), |out| out.extend_from_slice(b"de"));
            assert_eq!(frames.len(), 2 * (ROUTE_LEN + 4) + 10);
            assert_eq!(
                frames.next(),
                Some((route, &b"abc"[..], None, ROUTE_LEN + 7))
            );
            assert_eq!(
                frames.next(),
                Some((route, &b"de"[..], Some(large), ROUTE_LEN + 11))
            );
            assert!(frames.is_read() && frames.next().is_none());
        }
    }
}
