//! The connection's bookkeeping, cut at every point of a request's life.

use corduroy_proto_wire::{Request, Status};
use tokio::sync::oneshot::Receiver;

use super::*;

type Answer = Receiver<Result<Bytes, Interrupted>>;

fn frame(payload_len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    Request::Ping {
        payload: &vec![7; payload_len],
    }
    .encode(0, &mut frame);
    frame
}

fn enqueue(exchange: &mut Exchange, payload_len: usize) -> (RequestId, Answer) {
    let (waiter, answer) = oneshot::channel();
    (
        exchange.enqueue(frame(payload_len), Some(waiter)).unwrap(),
        answer,
    )
}

fn answer_frame(id: RequestId, status: Status, body: Body<'_>) -> Bytes {
    let mut bytes = Vec::new();
    Response {
        status,
        version: 0,
        timestamp_ms: 0,
        body,
    }
    .encode(id, &mut bytes);
    Bytes::from(bytes).slice(LENGTH_LEN..)
}

fn pong(id: RequestId) -> Bytes {
    answer_frame(id, Status::Ok, Body::Value(&[]))
}

/// Whether a caller was told that its request had been sent when the connection ended.
fn told_sent(answer: &mut Answer) -> bool {
    match answer.try_recv() {
        Ok(Err(Interrupted { sent, .. })) => sent,
        other => panic!("not interrupted: {other:?}"),
    }
}

/// Somebody who is told "not done" of a request that the server has will do it twice; somebody who is told "unknown" of
/// one that it can't have will look for it in vain. Three requests are written, and the connection ends after each
/// byte in turn: exactly those whose last byte was handed over are unknown.
#[test]
fn a_request_is_sent_once_its_last_byte_is_and_not_before() {
    let lens = [0, 5, 100].map(|payload_len| frame(payload_len).len());
    let total: usize = lens.iter().sum();
    for cut in 0..=total {
        let mut exchange = Exchange::new();
        let mut answers = [0, 5, 100].map(|payload_len| enqueue(&mut exchange, payload_len).1);
        let mut batch = Batch::default();
        assert!(exchange.take_batch(&mut batch));
        assert_eq!(batch.rest().len(), total);
        // In two steps, as a socket that is nearly full would take them.
        exchange.written(&mut batch, cut / 2);
        exchange.written(&mut batch, cut - cut / 2);
        exchange.end(&LostReason::Closed);
        let mut frame_end = 0;
        for (answer, len) in answers.iter_mut().zip(lens) {
            frame_end += len;
            assert_eq!(
                told_sent(answer),
                frame_end <= cut,
                "cut after {cut} of {total} bytes"
            );
        }
    }
}

/// A request that waits behind a slow write was never sent, whatever the one before it went through.
#[test]
fn what_is_still_queued_when_the_connection_ends_was_not_sent() {
    let mut exchange = Exchange::new();
    let (_, mut first) = enqueue(&mut exchange, 0);
    let mut batch = Batch::default();
    exchange.take_batch(&mut batch);
    let len = batch.rest().len();
    exchange.written(&mut batch, len);
    let (_, mut second) = enqueue(&mut exchange, 0);
    exchange.end(&LostReason::Closed);
    assert!(told_sent(&mut first));
    assert!(!told_sent(&mut second));
    assert!(matches!(
        exchange.enqueue(frame(0), None),
        Err(LostReason::Closed)
    ));
}

/// A caller that gave up is told "not done" if its frame was still queued. That must then stay true: the frame may
/// never leave, although the connection lives on and its place is used again.
#[test]
fn a_cancelled_request_that_was_queued_is_never_sent() {
    let mut exchange = Exchange::new();
    let (kept, mut kept_answer) = enqueue(&mut exchange, 1);
    let (cancelled, _) = enqueue(&mut exchange, 2);
    assert_eq!(exchange.cancel(cancelled), Cancelled::NeverSent);
    assert_eq!(exchange.cancel(cancelled), Cancelled::Ended);
    let (successor, mut successor_answer) = enqueue(&mut exchange, 3);
    assert_eq!(
        cancelled as u16, successor as u16,
        "the place is used again"
    );

    let mut batch = Batch::default();
    assert!(exchange.take_batch(&mut batch));
    assert_eq!(batch.rest().len(), frame(1).len() + frame(3).len());
    assert_eq!(
        batch.charge(),
        charge_of(frame(1).len()) + charge_of(frame(2).len()) + charge_of(frame(3).len()),
        "the room of the frame that was not sent is given back too",
    );
    let len = batch.rest().len();
    exchange.written(&mut batch, len);
    exchange.answer(pong(successor)).unwrap();
    exchange.answer(pong(kept)).unwrap();
    assert!(successor_answer.try_recv().unwrap().is_ok());
    assert!(kept_answer.try_recv().unwrap().is_ok());
}

/// The answer to a request that nobody waits for any more must free its place, and disturb nobody.
#[test]
fn the_answer_to_a_cancelled_request_that_was_sent_is_dropped() {
    let mut exchange = Exchange::new();
    let (id, _) = enqueue(&mut exchange, 0);
    let mut batch = Batch::default();
    exchange.take_batch(&mut batch);
    assert_eq!(
        exchange.cancel(id),
        Cancelled::Sent,
        "it is on its way and can't be called back"
    );
    let len = batch.rest().len();
    exchange.written(&mut batch, len);
    exchange.answer(pong(id)).unwrap();
    assert!(matches!(
        exchange.answer(pong(id)),
        Err(LostReason::Protocol(ProtocolError::UnknownRequest { .. }))
    ));
}

/// A server that answers what was never asked is out of step: the next answer could go to the wrong caller.
#[test]
fn answers_that_nobody_asked_for_end_the_connection() {
    let mut exchange = Exchange::new();
    let (queued, _answer) = enqueue(&mut exchange, 0);
    for id in [queued, queued + 1, RequestId::MAX] {
        assert!(matches!(
            exchange.answer(pong(id)),
            Err(LostReason::Protocol(ProtocolError::UnknownRequest { .. }))
        ));
    }
    assert!(matches!(
        exchange.answer(Bytes::from_static(&[1; RESPONSE_HEADER_LEN - 1])),
        Err(LostReason::Protocol(ProtocolError::Decode(_)))
    ));
}

/// "Connection reset" tells nobody that the server had a limit on connections; its last words do.
#[test]
fn the_servers_farewell_is_kept() {
    let mut exchange = Exchange::new();
    let farewell = answer_frame(
        CONNECTION_REQUEST_ID,
        Status::Overloaded,
        Body::Error("1000 connections are enough"),
    );
    match exchange.answer(farewell) {
        Err(LostReason::ClosedBecause {
            status: Status::Overloaded,
            message,
        }) => {
            assert_eq!(message, "1000 connections are enough");
        }
        other => panic!("{other:?}"),
    }
}

/// One large value must neither be copied into a batch nor make small ones wait for a write of sixteen megabytes more
/// than they have to; and its memory must not stay with the connection.
#[test]
fn large_frames_are_written_by_themselves() {
    let mut exchange = Exchange::new();
    let large = WRITE_BATCH_LEN * 4;
    let _answers = [10, large, 10, 10].map(|payload_len| enqueue(&mut exchange, payload_len));
    let mut batch = Batch::default();
    let mut lens = Vec::new();
    while exchange.take_batch(&mut batch) {
        let len = batch.rest().len();
        lens.push(len);
        exchange.written(&mut batch, len);
    }
    let [small, large] = [10, large].map(|payload_len| frame(payload_len).len());
    assert_eq!(lens, [small, large, 2 * small]);
    assert!(batch.bytes.capacity() <= 2 * WRITE_BATCH_LEN);
}
