//! One connection, used by any number of callers at once.
//!
//! ```text
//!   callers ── encode, enqueue ──> exchange ── batches ──> socket
//!      ^                              │
//!      └───────── by request id ──────┴────── frames ────< socket
//! ```
//!
//! Callers wait for room, encode their requests themselves and put the frames in a queue; the connection's one task ([`driver`]) writes
//! whatever has gathered in one go, reads answers in bulk and hands each to its caller, who decodes it. Two semaphores bound what a
//! connection holds: requests in flight (the server's limit) and bytes in the queue. Whoever finds one exhausted waits,
//! and that is how a server that reads slowly slows its callers down.
//!
//! # Cancellation
//!
//! A [`Connection::call`] may be dropped at any time. A request that has not begun to be sent is then never sent; for one that was,
//! the answer is awaited without the caller and dropped, and the place that it holds is free again.

mod driver;
mod exchange;
mod frames;
mod handshake;
mod in_flight;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use corduroy_proto_wire::{CONNECTION_REQUEST_ID, HelloReply, Request, RequestId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{AcquireError, Notify, Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::{ConnectError, LostReason, ProtocolError};
use crate::limits::{IN_FLIGHT_MAX, QUEUED_LEN_MAX};
use exchange::{Cancelled, Exchange, Interrupted, charge_of};
use frames::FrameReader;
pub(crate) use handshake::Introduction;

/// How connections are to be opened and kept.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionOptions {
    /// Host and port.
    pub(crate) address: Arc<str>,
    pub(crate) introduction: Introduction,
    /// For all of it: look up, connect, handshake.
    pub(crate) connect_timeout: Duration,
    /// After this much silence the server is asked whether it is there.
    pub(crate) keepalive: Option<Duration>,
    /// Longest answer that is accepted, in bytes after the length field.
    pub(crate) answer_len_max: u32,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The connection ended.
    Lost { sent: bool, reason: LostReason },
    /// The time is over. `sent`: the request was handed to the socket, or is about to be.
    Timeout { sent: bool },
}

/// An open connection. Closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    hello: HelloReply,
}

/// What callers and the connection's task have in common.
#[derive(Debug)]
struct Shared {
    exchange: Mutex<Exchange>,
    /// Requests that may yet be put in flight.
    places: Semaphore,
    /// Bytes that may yet be put in the queue.
    room: Semaphore,
    /// Something is in the queue.
    queued: Notify,
    /// The connection shall end, for this reason or because nobody uses it any more.
    hang_up: Notify,
    hang_up_reason: Mutex<Option<LostReason>>,
    /// No new request should go here: the connection has ended, or is suspected of having.
    unusable: AtomicBool,
    /// How often something has arrived: what stays the same over a while is silence.
    arrivals: AtomicU64,
}

impl Connection {
    /// Opens a connection and starts its task on the current runtime.
    pub(crate) async fn open(
        options: &ConnectionOptions,
        shard: Option<u16>,
    ) -> Result<Self, ConnectError> {
        let opening = handshake::open(&options.address, &options.introduction, shard);
        let Ok(agreed) = tokio::time::timeout(options.connect_timeout, opening).await else {
            return Err(ConnectError::Timeout(options.connect_timeout));
        };
        let handshake::Agreed {
            stream,
            mut frames,
            hello,
        } = agreed?;
        // Not what the server accepts: it may hold values from a time when it accepted longer ones.
        frames.set_frame_len_max(options.answer_len_max);
        let (source, sink) = stream.into_split();
        Ok(Self::over(source, sink, frames, hello, options.keepalive))
    }

    /// A connection over anything that bytes go through, on which the hello has been answered.
    fn over(
        source: impl AsyncRead + Unpin + Send + 'static,
        sink: impl AsyncWrite + Unpin + Send + 'static,
        frames: FrameReader,
        hello: HelloReply,
        keepalive: Option<Duration>,
    ) -> Self {
        let in_flight_max = (hello.in_flight_max as usize).min(IN_FLIGHT_MAX);
        let shared = Arc::new(Shared::new(in_flight_max));
        tokio::spawn(driver::drive(
            source,
            sink,
            frames,
            Arc::clone(&shared),
            keepalive,
        ));
        Self { shared, hello }
    }

    /// What the server said when the connection was opened.
    pub(crate) fn hello(&self) -> &HelloReply {
        &self.hello
    }

    /// Whether new requests should go here.
    pub(crate) fn is_usable(&self) -> bool {
        !self.shared.unusable.load(Ordering::Acquire)
    }

    /// Sends a request and waits for its answer's frame. The request must be valid and within the server's limits.
    ///
    /// May be dropped at any time; see the module's documentation.
    pub(crate) async fn call(
        &self,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Bytes, CallError> {
        let shared = &*self.shared;
        let (place, room) = match timeout_at(deadline, shared.admit(request.encoded_len())).await {
            Ok(Ok(permits)) => permits,
            Ok(Err(_closed)) => {
                return Err(CallError::Lost {
                    sent: false,
                    reason: shared.ended_reason(),
                });
            }
            Err(_elapsed) => return Err(CallError::Timeout { sent: false }),
        };

        // Not before there is room for it: of what waits outside the queue there is no second copy.
        let mut frame = Vec::new();
        request.encode(CONNECTION_REQUEST_ID, &mut frame);
        let arrivals = shared.arrivals();
        let (waiter, mut answer) = oneshot::channel();
        let id = match shared.exchange().enqueue(frame, Some(waiter)) {
            Ok(id) => id,
            Err(reason) => {
                return Err(CallError::Lost {
                    sent: false,
                    reason,
                });
            }
        };
        // Both are given back by whoever frees what they stand for.
        place.forget();
        room.forget();
        shared.queued.notify_one();

        let mut place = OccupiedPlace {
            shared,
            id: Some(id),
        };
        let outcome = timeout_at(deadline, &mut answer).await;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(_elapsed) => match place.vacate() {
                Cancelled::NeverSent => return Err(CallError::Timeout { sent: false }),
                Cancelled::Sent => {
                    if shared.arrivals() == arrivals {
                        // Not a sound in all that time: the next request had better go elsewhere.
                        shared.retire();
                    }
                    return Err(CallError::Timeout { sent: true });
                }
                // The answer came while the time ran out.
                Cancelled::Ended => answer.await,
            },
        };
        place.id = None;
        match outcome {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(Interrupted { sent, reason })) => Err(CallError::Lost { sent, reason }),
            Err(_dropped) => Err(CallError::Lost {
                sent: true,
                reason: LostReason::Shutdown,
            }),
        }
    }

    /// An answer made no sense to its caller: nothing else that comes from there can be trusted.
    pub(crate) fn condemn(&self, error: ProtocolError) {
        self.shared.hang_up(LostReason::Protocol(error));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.hang_up(LostReason::Shutdown);
    }
}

impl Shared {
    fn new(in_flight_max: usize) -> Self {
        Self {
            exchange: Mutex::new(Exchange::new()),
            places: Semaphore::new(in_flight_max),
            room: Semaphore::new(QUEUED_LEN_MAX),
            queued: Notify::new(),
            hang_up: Notify::new(),
            hang_up_reason: Mutex::new(None),
            unusable: AtomicBool::new(false),
            arrivals: AtomicU64::new(0),
        }
    }

    /// Waits for a place in flight and room in the queue, for a frame of this length.
    async fn admit(
        &self,
        frame_len: usize,
    ) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), AcquireError> {
        let place = self.places.acquire().await?;
        let room = self.room.acquire_many(charge_of(frame_len) as u32).await?;
        Ok((place, room))
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        // A panic inside the exchange is our own mistake and was reported as such; what it left behind is still ended below.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// Sends no new requests here; what is in flight may yet be answered.
    fn retire(&self) {
        self.unusable.store(true, Ordering::Release);
    }

    /// Asks the task to end the connection. The first reason counts.
    fn hang_up(&self, reason: LostReason) {
        self.retire();
        self.hang_up_reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
        self.hang_up.notify_one();
    }

    /// Tells everybody that the connection has ended.
    fn end(&self, reason: &LostReason) {
        self.retire();
        self.exchange().end(reason);
        self.places.close();
        self.room.close();
    }

    fn ended_reason(&self) -> LostReason {
        self.exchange()
            .ended()
            .cloned()
            .unwrap_or(LostReason::Shutdown)
    }
}

/// A request in flight whose caller still waits.
struct OccupiedPlace<'a> {
    shared: &'a Shared,
    /// `None` once the request has ended.
    id: Option<RequestId>,
}

impl OccupiedPlace<'_> {
    /// The caller waits no longer.
    fn vacate(&mut self) -> Cancelled {
        let Some(id) = self.id.take() else {
            return Cancelled::Ended;
        };
        let cancelled = self.shared.exchange().cancel(id);
        if cancelled == Cancelled::NeverSent {
            self.shared.places.add_permits(1);
        }
        cancelled
    }
}

impl Drop for OccupiedPlace<'_> {
    fn drop(&mut self) {
        self.vacate();
    }
}

#[cfg(test)]
pub(crate) mod tests;
