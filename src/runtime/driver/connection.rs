//! One client connection: what came in and is not worked off, what goes out and is not sent.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use corduroy_proto_wire::{LENGTH_LEN, RequestId, Response};

use super::resp::Resp;
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::GatherId;
use crate::storage::buffer::LargeBuffer;
use crate::types::MonoNanos;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No hello yet.
    Handshake,
    /// Requests and answers.
    Open,
    /// What is in the output is still sent, nothing more is read.
    Closing,
}

/// Bytes on their way to the client: frames one after the other, and large values that belong in between and are not copied.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    sent: usize,
    /// Large values, each with where in `bytes` it belongs, in order.
    large: VecDeque<(usize, Bytes)>,
    large_bytes: usize,
}

impl Output {
    /// What is to be sent next; not all of it if there are large values.
    pub(super) fn unsent(&self) -> &[u8] {
        match self.large.front() {
            Some((at, value)) if *at == self.sent => value,
            Some((at, _)) => &self.bytes[self.sent..*at],
            None => &self.bytes[self.sent..],
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.large_bytes
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// So many bytes of `unsent` were sent.
    pub(super) fn advance(&mut self, sent: usize) {
        match self.large.front_mut() {
            Some((at, value)) if *at == self.sent => {
                value.advance(sent);
                self.large_bytes -= sent;
                if value.is_empty() {
                    self.large.pop_front();
                }
            }
            _ => self.sent += sent,
        }
        assert!(
            self.sent <= self.bytes.len(),
            "no more is sent than there is"
        );
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
            self.bytes.shrink_to(limits::CONNECTION_BUFFER_KEEP);
        } else if self.sent >= limits::OUTPUT_COMPACT_BYTES && self.sent >= self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            for (at, _) in &mut self.large {
                *at -= self.sent;
            }
            self.sent = 0;
        }
    }

    #[inline]
    pub(super) fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a value that is not copied.
    pub(super) fn push_large(&mut self, value: Bytes) {
        self.large_bytes += value.len();
        self.large.push_back((self.bytes.len(), value));
    }
}

/// Memory for large frames that a shard's connections have taken, in bytes. Each claim gives its part back when it is dropped.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    taken: Rc<Cell<usize>>,
    most: usize,
}

impl Claims {
    pub(super) fn new(most: usize) -> Claims {
        Claims {
            taken: Rc::default(),
            most,
        }
    }

    /// Whether so much more may be taken: always if nothing is, so that the largest frame comes through whatever the bound.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let taken = self.taken.get();
        taken == 0 || taken + bytes <= self.most
    }

    fn take(&self, bytes: usize) -> Claim {
        self.taken.set(self.taken.get() + bytes);
        Claim {
            claims: self.clone(),
            bytes,
        }
    }
}

#[derive(Debug)]
struct Claim {
    claims: Claims,
    bytes: usize,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let taken = &self.claims.taken;
        taken.set(taken.get() - self.bytes);
    }
}

/// A large frame that is coming in, its length field included.
#[derive(Debug)]
pub(super) struct LargeInput {
    buffer: LargeBuffer,
    _claim: Claim,
}

impl LargeInput {
    /// For a frame of as many bytes in all as the buffer has room for.
    pub(super) fn new(buffer: LargeBuffer, claims: &Claims) -> LargeInput {
        LargeInput {
            _claim: claims.take(buffer.capacity()),
            buffer,
        }
    }

    /// Takes what belongs to the frame and answers how much that was.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.buffer.capacity() - self.buffer.len());
        self.buffer.extend(&bytes[..taken]);
        taken
    }

    pub(super) fn is_whole(&self) -> bool {
        self.buffer.len() == self.buffer.capacity()
    }

    /// Whether these bytes are at its end.
    pub(super) fn ends_with(&self, end: &[u8]) -> bool {
        self.buffer.as_ref().ends_with(end)
    }

    /// A RESP client's argument: what is between the room for a frame's head and the line break.
    pub(super) fn argument(&self) -> &[u8] {
        let end = self.buffer.len() - limits::RESP_LINE_END_LEN;
        &self.buffer.as_ref()[limits::RESP_HEAD_LEN..end]
    }

    /// The argument with a frame's head before it, for which there is room. The frame has no length field.
    pub(super) fn into_frame_of(mut self, head: &[u8]) -> Bytes {
        let begin = limits::RESP_HEAD_LEN - head.len();
        let end = self.buffer.len() - limits::RESP_LINE_END_LEN;
        self.buffer.overwrite(begin, head);
        self.buffer.freeze().slice(begin..end)
    }

    /// The frame without its length field.
    pub(super) fn into_frame(self) -> Bytes {
        self.buffer.freeze().slice(LENGTH_LEN..)
    }
}

/// A long batch that is worked off a slice a turn.
#[derive(Debug)]
pub(super) struct BatchProgress {
    /// Its frame without the length field.
    pub(super) frame: Bytes,
    pub(super) gather: GatherId,
    /// The next operation.
    pub(super) next: usize,
    /// How many there are.
    pub(super) len: usize,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) generation: u32,
    pub(super) phase: Phase,
    /// Came in and is not worked off: part of a frame, or more while the connection is paused.
    pub(super) input: Vec<u8>,
    /// The large frame before that, as far as it has come in.
    pub(super) large: Option<LargeInput>,
    /// Bytes of the large frame whose beginning is in the input and for which there was no room: 0 if there is none.
    pub(super) large_wanted: usize,
    /// The long batch before all that, as far as it is worked off.
    pub(super) batch: Option<BatchProgress>,
    /// What a Redis client's connection has beside all this.
    pub(super) resp: Option<Box<Resp>>,
    pub(super) output: Output,
    /// Requests without an answer.
    pub(super) in_flight: usize,
    /// Of those, gets that another shard has in hand.
    pub(super) remote_gets: usize,
    /// Since when its output waits for the answers to those.
    pub(super) held_since: Option<MonoNanos>,
    /// The last word on it: a frame that is sent when every request has been answered.
    pub(super) farewell: Option<Vec<u8>>,
    /// The runtime was told to stop reading.
    pub(super) paused: bool,
    /// It is on the list of connections to go on with.
    pub(super) waits_for_room: bool,
    /// The socket took less than was offered; `writable` will come.
    pub(super) blocked: bool,
    /// It has output that was not offered to the socket yet.
    pub(super) dirty: bool,
    /// When it came.
    pub(super) opened_at: MonoNanos,
    /// Last time that something came in.
    pub(super) received_at: MonoNanos,
    /// Last time that the socket took something, or that there was nothing to take.
    pub(super) sent_at: MonoNanos,
    /// When the frame that is not whole yet began to come in.
    pub(super) frame_since: Option<MonoNanos>,
}

impl Connection {
    pub(super) fn new(generation: u32, now: MonoNanos) -> Connection {
        Connection {
            generation,
            phase: Phase::Handshake,
            input: Vec::new(),
            large: None,
            large_wanted: 0,
            batch: None,
            resp: None,
            output: Output::default(),
            in_flight: 0,
            remote_gets: 0,
            held_since: None,
            farewell: None,
            paused: false,
            waits_for_room: false,
            blocked: false,
            dirty: false,
            opened_at: now,
            received_at: now,
            sent_at: now,
            frame_since: None,
        }
    }

    /// Its name, given its place in the shard's table.
    pub(super) fn id(&self, slot: usize) -> ConnectionId {
        ConnectionId {
            slot: slot as u32,
            generation: self.generation,
        }
    }

    /// What is in the output is still sent. What came in and was not worked off is forgotten.
    pub(super) fn read_nothing_more(&mut self) {
        self.phase = Phase::Closing;
        self.input = Vec::new();
        self.large = None;
    }

    pub(super) fn push(&mut self, request: RequestId, response: &Response<'_>) {
        response.encode(request, self.output.frames());
    }

    /// Writes an answer as a Redis client wants to read it, or keeps it until those before it are there. `value` is given if the answer ends
    /// with a value that is not copied.
    #[inline]
    pub(super) fn reply(
        &mut self,
        request: RequestId,
        response: &Response<'_>,
        value: Option<Bytes>,
    ) {
        let resp = self.resp.as_mut().expect("it speaks RESP");
        let protocol = resp.protocol;
        let answered = resp
            .queue
            .answer(request, response, value, protocol, &mut self.output);
        self.in_flight -= answered;
    }

    /// Bytes of answers that its client has not got yet.
    #[inline]
    pub(super) fn unsent(&self) -> usize {
        let held = self.resp.as_ref().map_or(0, |resp| resp.queue.held_bytes());
        self.output.len() + held
    }

    /// Whether a long batch, or a command with many keys, is worked off in slices.
    pub(super) fn has_parts(&self) -> bool {
        self.batch.is_some() || self.resp.as_ref().is_some_and(|resp| resp.has_parts())
    }

    /// Whether there is nothing left to do for it: no request in work, no answer to send.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight == 0 && self.output.is_empty()
    }

    /// Whether what is in the output may wait a little for answers that are on their way from other shards. One packet for all answers
    /// to a pipeline costs both sides half of what two cost.
    pub(super) fn may_hold(&self, now: MonoNanos) -> bool {
        self.remote_gets > 0
            && self.phase == Phase::Open
            && self.output.len() < limits::HOLD_BYTES_MAX
            && self
                .held_since
                .is_none_or(|since| now.0 - since.0 < limits::HOLD_NS)
    }

    /// Bytes that came in and are not worked off.
    pub(super) fn input_bytes(&self) -> usize {
        self.input.len() + self.large.as_ref().map_or(0, |large| large.buffer.len())
    }

    /// Whether an incomplete frame takes too long: a client that sends part of a frame and then nothing must not keep its place, nor the
    /// memory that a large frame has claimed, however much of it has come; one that uploads a large value over a slow line may.
    pub(super) fn frame_overdue(&self, now: MonoNanos, patience_nanos: u64) -> bool {
        let come = self.input_bytes() as u64;
        let allowed = patience_nanos.saturating_mul(1 + come / limits::SLOW_UPLOAD_BYTES);
        self.frame_since.is_some_and(|since| {
            let silent_since = since.max(self.received_at);
            now.0 - since.0 > allowed || now.0 - silent_since.0 > patience_nanos
        })
    }
}
