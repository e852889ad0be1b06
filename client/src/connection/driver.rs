//! The task that owns a connection's socket: it writes what callers queued, hands out what the server answers, and makes
//! sure that the server is still there.
//!
//! All three are one task, so they never run at the same time. When one of them ends the connection, the progress
//! of the writing is noted to the byte (see [`super::exchange`] for what rests on that). The task ends when the connection does;
//! if it is dropped instead, with its runtime, callers are told too.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corduroy_proto_wire::Request;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::Shared;
use super::exchange::{Batch, charge_of};
use super::frames::FrameReader;
use crate::error::LostReason;

/// After a failed write the server may have said why; its words are waited for no longer than this.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);

/// Runs the connection to its end.
pub(super) async fn drive(
    source: impl AsyncRead + Unpin,
    sink: impl AsyncWrite + Unpin,
    mut frames: FrameReader,
    shared: Arc<Shared>,
    keepalive: Option<Duration>,
) {
    let ending = EndOnDrop(&shared);
    let mut reading = pin!(read_answers(source, &mut frames, &shared));
    let reason = tokio::select! {
        // Reading comes first: what is not written to a connection that has ended is certain not to have been done.
        biased;
        reason = &mut reading => reason,
        reason = write_requests(sink, &shared) => {
            shared.retire();
            timeout(FAREWELL_WAIT, &mut reading).await.unwrap_or(reason)
        }
        reason = watch(&shared, keepalive) => reason,
        reason = hung_up(&shared) => reason,
    };
    shared.end(&reason);
    drop(ending);
}

/// Hands answers to their callers until the connection ends.
async fn read_answers(
    mut source: impl AsyncRead + Unpin,
    frames: &mut FrameReader,
    shared: &Shared,
) -> LostReason {
    loop {
        if let Err(reason) = hand_out(frames, shared) {
            return reason;
        }
        match frames.fill(&mut source).await {
            Ok(0) => return LostReason::Closed,
            Ok(_) => {
                shared.arrivals.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return error.into(),
        }
    }
}

/// Hands out all answers that are there whole.
fn hand_out(frames: &mut FrameReader, shared: &Shared) -> Result<(), LostReason> {
    let mut answered = 0;
    let mut exchange = shared.exchange();
    let result = loop {
        match frames.next() {
            Ok(None) => break Ok(()),
            Ok(Some(frame)) => match exchange.answer(frame) {
                Ok(()) => answered += 1,
                Err(reason) => break Err(reason),
            },
            Err(error) => break Err(LostReason::Protocol(error.into())),
        }
    };
    drop(exchange);
    shared.places.add_permits(answered);
    result
}

/// Writes what is queued, as much at a time as has gathered, until the socket fails.
async fn write_requests(mut sink: impl AsyncWrite + Unpin, shared: &Shared) -> LostReason {
    let mut batch = Batch::default();
    loop {
        if !shared.exchange().take_batch(&mut batch) {
            shared.queued.notified().await;
            continue;
        }
        while !batch.rest().is_empty() {
            match sink.write(batch.rest()).await {
                Ok(0) => return LostReason::Closed,
                // Nothing may be awaited between the write and this.
                Ok(len) => shared.exchange().written(&mut batch, len),
                Err(error) => return error.into(),
            }
        }
        shared.room.add_permits(batch.charge());
    }
}

/// After a silence, asks the server whether it is there; after a second one, takes it for gone.
async fn watch(shared: &Shared, keepalive: Option<Duration>) -> LostReason {
    let Some(interval) = keepalive else {
        return std::future::pending().await;
    };
    let mut asked = false;
    let mut arrivals = shared.arrivals();
    loop {
        sleep(interval).await;
        let seen = shared.arrivals();
        if seen != arrivals {
            arrivals = seen;
            asked = false;
        } else if asked {
            return LostReason::Silent(interval * 2);
        } else {
            asked = send_ping(shared).is_some();
        }
    }
}

/// Queues a ping that nobody waits for, if there is a place for it; if not, requests enough are under way to tell.
fn send_ping(shared: &Shared) -> Option<()> {
    let mut frame = Vec::new();
    Request::Ping { payload: &[] }.encode(0, &mut frame);
    let place = shared.places.try_acquire().ok()?;
    let room = shared
        .room
        .try_acquire_many(charge_of(frame.len()) as u32)
        .ok()?;
    shared.exchange().enqueue(frame, None).ok()?;
    place.forget();
    room.forget();
    shared.queued.notify_one();
    Some(())
}

/// Waits until nobody uses the connection any more, or somebody can't.
async fn hung_up(shared: &Shared) -> LostReason {
    shared.hang_up.notified().await;
    let reason = shared
        .hang_up_reason
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    reason.clone().unwrap_or(LostReason::Shutdown)
}

/// However the task ends, nobody waits in vain.
struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end(&LostReason::Shutdown);
    }
}
