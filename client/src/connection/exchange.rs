//! What a connection's two ends agree on: which requests wait to be sent, which are on their way, which await an answer.
//! A state machine without I/O; callers and the connection's task share it under a mutex that is never held across
//! an await.
//!
//! # The life of a request
//!
//! ```text
//!            enqueue          take_batch            written (its last byte)
//!   caller ----------> Queued ----------> Writing ------------------------> Sent ---- answer ----> caller
//!                        |                   |                                |
//!                     cancel              cancel                           cancel
//!                        v                   v                                v
//!                      gone               orphaned: the answer, when it comes, is dropped
//! ```
//!
//! **Queued** and **Writing** requests are certain not to have been carried out when the connection ends: the server does
//! nothing before it has a whole frame, and the last byte of this one was never handed to the socket. **Sent** ones may
//! have been. That is the whole difference between *not done* and *outcome unknown*, so it rests on one rule: whoever ends
//! the connection ([`Exchange::end`]) runs in the same task as whoever writes to the socket and notes the progress
//! ([`Exchange::written`]), so no byte can have been handed over unnoticed.
//!
//! A request that is cancelled while **Writing** will be sent whole if the connection lives, so its caller must take
//! the outcome as unknown. A cancelled **Queued** one is never sent: its frame is skipped when its turn comes.
//!
//! # Methods
//!
//! Callers: [`Exchange::enqueue`], then [`Exchange::cancel`] or nothing. The task: [`Exchange::take_batch`],
//! [`Exchange::written`] until the batch is, [`Exchange::answer`], and at last [`Exchange::end`], once.

use std::collections::VecDeque;

use bytes::Bytes;
use corduroy_proto_wire::{
    Body, CONNECTION_REQUEST_ID, DecodeError, LENGTH_LEN, RESPONSE_HEADER_LEN, RequestId, Response,
};
use tokio::sync::oneshot;

use super::in_flight::InFlight;
use crate::error::{LostReason, ProtocolError};
use crate::limits::{QUEUED_LEN_MAX, QUEUED_OVERHEAD_LEN, WRITE_BATCH_LEN};

/// Where a caller learns how its request ended.
pub(super) type Waiter = oneshot::Sender<Result<Bytes, Interrupted>>;

/// The connection ended before the answer was there.
#[derive(Debug)]
pub(super) struct Interrupted {
    /// Whether the whole request had been handed to the socket.
    pub(super) sent: bool,
    pub(super) reason: LostReason,
}

/// What became of a request that its caller gave up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// It was not sent and will not be.
    NeverSent,
    /// It was sent, or is being sent.
    Sent,
    /// It had ended already; the waiter knows how.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Queued,
    Writing,
    Sent,
}

#[derive(Debug)]
struct Pending {
    stage: Stage,
    /// `None` once the caller gave up.
    waiter: Option<Waiter>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Exchange {
    in_flight: InFlight<Pending>,
    /// In the order of their sending. May hold frames of cancelled requests, which `in_flight` no longer knows.
    queue: VecDeque<(RequestId, Vec<u8>)>,
    /// Why the connection ended, once it has; then nothing is queued or in flight.
    ended: Option<LostReason>,
}

/// Frames on their way to the socket.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Each request and the end of its frame in `bytes`.
    frames: Vec<(RequestId, usize)>,
    written: usize,
    /// How many of `frames` are written whole.
    frames_written: usize,
    /// What the frames took up of the queue.
    charge: usize,
}

impl Batch {
    /// What is still to be handed to the socket.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// What the batch took up of the queue's room, to be given back once it is written.
    pub(super) fn charge(&self) -> usize {
        self.charge
    }
}

/// How much of the queue's room a frame takes up.
pub(super) fn charge_of(frame_len: usize) -> usize {
    (frame_len + QUEUED_OVERHEAD_LEN).min(QUEUED_LEN_MAX)
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            in_flight: InFlight::new(),
            queue: VecDeque::new(),
            ended: None,
        }
    }

    /// Puts a frame in the queue and its request id into the frame.
    ///
    /// # Errors
    ///
    /// Why the connection ended, if it has; the frame is then never sent.
    pub(super) fn enqueue(
        &mut self,
        mut frame: Vec<u8>,
        waiter: Option<Waiter>,
    ) -> Result<RequestId, LostReason> {
        if let Some(reason) = &self.ended {
            return Err(reason.clone());
        }
        let pending = Pending {
            stage: Stage::Queued,
            waiter,
        };
        let id = self.in_flight.insert(pending);
        frame[LENGTH_LEN..LENGTH_LEN + size_of::<RequestId>()].copy_from_slice(&id.to_le_bytes());
        self.queue.push_back((id, frame));
        Ok(id)
    }

    /// The caller gave up.
    pub(super) fn cancel(&mut self, id: RequestId) -> Cancelled {
        match self.in_flight.get_mut(id) {
            None => Cancelled::Ended,
            Some(Pending {
                stage: Stage::Queued,
                ..
            }) => {
                self.in_flight.remove(id);
                Cancelled::NeverSent
            }
            Some(pending) => {
                pending.waiter = None;
                Cancelled::Sent
            }
        }
    }

    /// Moves frames from the queue into an empty batch: as many as make one good write, or a single large one, which
    /// is not copied. `false` if there is nothing to send.
    pub(super) fn take_batch(&mut self, batch: &mut Batch) -> bool {
        if batch.bytes.capacity() > 2 * WRITE_BATCH_LEN {
            // A large frame came by itself; its memory is not kept for small ones.
            batch.bytes = Vec::new();
        }
        batch.bytes.clear();
        batch.frames.clear();
        (batch.written, batch.frames_written, batch.charge) = (0, 0, 0);
        while let Some((_, frame)) = self.queue.front() {
            if !batch.bytes.is_empty() && batch.bytes.len() + frame.len() > WRITE_BATCH_LEN {
                break;
            }
            let Some((id, frame)) = self.queue.pop_front() else {
                break;
            };
            batch.charge += charge_of(frame.len());
            let Some(pending) = self.in_flight.get_mut(id) else {
                continue;
            };
            assert_eq!(pending.stage, Stage::Queued, "a frame is in the queue once");
            pending.stage = Stage::Writing;
            if frame.len() >= WRITE_BATCH_LEN {
                batch.bytes = frame;
            } else {
                batch.bytes.extend_from_slice(&frame);
            }
            batch.frames.push((id, batch.bytes.len()));
        }
        batch.charge > 0
    }

    /// The socket took the next `len` bytes of the batch.
    pub(super) fn written(&mut self, batch: &mut Batch, len: usize) {
        batch.written += len;
        assert!(
            batch.written <= batch.bytes.len(),
            "a socket takes no more than it is given"
        );
        while let Some((id, end)) = batch.frames.get(batch.frames_written)
            && *end <= batch.written
        {
            if let Some(pending) = self.in_flight.get_mut(*id) {
                pending.stage = Stage::Sent;
            }
            batch.frames_written += 1;
        }
    }

    /// Hands an answer's frame to whoever waits for it.
    ///
    /// # Errors
    ///
    /// Why the connection can't go on: the answer is to nothing that was sent, or is the server's farewell.
    pub(super) fn answer(&mut self, frame: Bytes) -> Result<(), LostReason> {
        let id = answer_id(&frame).map_err(|error| LostReason::Protocol(error.into()))?;
        if id == CONNECTION_REQUEST_ID {
            return Err(farewell(&frame));
        }
        match self.in_flight.get_mut(id) {
            // An error may be answered as soon as the beginning of a frame has arrived, so `Writing` will do.
            Some(pending) if pending.stage != Stage::Queued => {}
            _ => return Err(LostReason::Protocol(ProtocolError::UnknownRequest { id })),
        }
        if let Some(waiter) = self.in_flight.remove(id).and_then(|pending| pending.waiter) {
            // The caller may have given up at this very moment.
            let _ = waiter.send(Ok(frame));
        }
        Ok(())
    }

    /// Ends the connection: everybody who waits is told, with what is certain about their request.
    pub(super) fn end(&mut self, reason: &LostReason) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(reason.clone());
        self.queue.clear();
        for pending in self.in_flight.drain() {
            if let Some(waiter) = pending.waiter {
                let sent = pending.stage == Stage::Sent;
                let _ = waiter.send(Err(Interrupted {
                    sent,
                    reason: reason.clone(),
                }));
            }
        }
    }

    /// How many requests are queued or await an answer.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Why the connection ended, if it has.
    pub(super) fn ended(&self) -> Option<&LostReason> {
        self.ended.as_ref()
    }
}

/// The request id that an answer begins with.
fn answer_id(frame: &[u8]) -> Result<RequestId, DecodeError> {
    match frame.first_chunk::<{ size_of::<RequestId>() }>() {
        Some(id) if frame.len() >= RESPONSE_HEADER_LEN => Ok(RequestId::from_le_bytes(*id)),
        _ => Err(DecodeError::Truncated {
            field: "answer header",
            needed: RESPONSE_HEADER_LEN,
            available: frame.len(),
        }),
    }
}

/// What the server says about the connection before it closes it.
fn farewell(frame: &[u8]) -> LostReason {
    match Response::decode(frame) {
        Ok((_, Response { status, body, .. })) => {
            let message = if let Body::Error(text) = body {
                text.to_owned()
            } else {
                String::new()
            };
            LostReason::ClosedBecause { status, message }
        }
        Err(error) => LostReason::Protocol(error.into()),
    }
}

#[cfg(test)]
mod tests;
