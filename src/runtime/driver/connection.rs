//! One client connection: what came in and is not worked off, what goes out and is not sent.

use corduroy_proto_wire::{RequestId, Response};

use crate::limits;
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

/// Bytes on their way to the client.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    sent: usize,
}

impl Output {
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        assert!(
            self.sent <= self.bytes.len(),
            "no more is sent than there is"
        );
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
            self.bytes.shrink_to(limits::CONNECTION_BUFFER_KEEP);
        } else if self.sent >= limits::OUTPUT_COMPACT_BYTES && self.sent >= self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    #[inline]
    pub(super) fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) generation: u32,
    pub(super) phase: Phase,
    /// Came in and is not worked off: part of a frame, or more while the connection is paused.
    pub(super) input: Vec<u8>,
    pub(super) output: Output,
    /// Requests without an answer.
    pub(super) in_flight: usize,
    /// The runtime was told to stop reading.
    pub(super) paused: bool,
    /// It is on the list of connections to go on with.
    pub(super) waits_for_room: bool,
    /// The socket took less than was offered; `writable` will come.
    pub(super) blocked: bool,
    /// It has output that was not offered to the socket yet.
    pub(super) dirty: bool,
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
            output: Output::default(),
            in_flight: 0,
            paused: false,
            waits_for_room: false,
            blocked: false,
            dirty: false,
            received_at: now,
            sent_at: now,
            frame_since: None,
        }
    }

    pub(super) fn push(&mut self, request: RequestId, response: &Response<'_>) {
        response.encode(request, self.output.frames());
    }

    /// Whether there is nothing left to do for it: no request in work, no answer to send.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight == 0 && self.output.is_empty()
    }

    /// Since when an incomplete frame has been coming in, and how long it may take: a client that sends half a frame and
    /// then nothing must not keep its place, one that uploads a large value over a slow line may.
    pub(super) fn frame_overdue(&self, now: MonoNanos, patience_nanos: u64) -> bool {
        let allowed = patience_nanos * (1 + self.input.len() as u64 / limits::SLOW_UPLOAD_BYTES);
        self.frame_since
            .is_some_and(|since| now.0 - since.0 > allowed)
    }
}
