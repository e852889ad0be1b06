//! What an answer means for the request that it answers. Each function answers `None` to what a server that keeps to the protocol
//! never answers to that request.

use std::time::Duration;

use bytes::Bytes;
use corduroy_proto_wire::{Body, KeyspaceInfo, Response, Status};

use crate::call::Reply;
use crate::value::{
    Appended, Counter, DeleteOutcome, ExpireOutcome, FloatSum, PutOutcome, Versioned, Written,
};

/// `get`.
pub(crate) fn versioned(reply: &Reply<'_>) -> Option<Option<Versioned>> {
    let Response {
        status,
        version,
        timestamp_ms,
        body,
    } = &reply.response;
    match (status, body) {
        (Status::Ok, Body::Value(value)) => Some(Some(Versioned {
            value: reply.slice(value),
            version: *version,
            timestamp_ms: *timestamp_ms,
        })),
        (Status::NotFound, _) => Some(None),
        _ => None,
    }
}

/// An unconditional put.
pub(crate) fn written(reply: &Reply<'_>) -> Option<Written> {
    (reply.response.status == Status::Ok).then(|| written_by(&reply.response))
}

/// `exists`, `touch`, `persist`, an unconditional delete.
pub(crate) fn written_if_found(reply: &Reply<'_>) -> Option<Option<Written>> {
    match reply.response.status {
        Status::Ok => Some(Some(written_by(&reply.response))),
        Status::NotFound => Some(None),
        _ => None,
    }
}

/// Any put.
pub(crate) fn put_outcome(reply: &Reply<'_>) -> Option<PutOutcome> {
    let value = value(reply)?;
    match reply.response.status {
        Status::Ok => Some(PutOutcome::Done(written_by(&reply.response), value)),
        Status::ConditionFailed => Some(PutOutcome::ConditionFailed {
            current: current(&reply.response),
            value,
        }),
        _ => None,
    }
}

/// Any delete.
pub(crate) fn delete_outcome(reply: &Reply<'_>) -> Option<DeleteOutcome> {
    let value = value(reply)?;
    match reply.response.status {
        Status::Ok => Some(DeleteOutcome::Done(written_by(&reply.response), value)),
        Status::NotFound => Some(DeleteOutcome::NotFound),
        Status::ConditionFailed => Some(DeleteOutcome::ConditionFailed {
            current: current(&reply.response),
            value,
        }),
        _ => None,
    }
}

/// `ttl`.
pub(crate) fn ttl(reply: &Reply<'_>) -> Option<Option<Option<Duration>>> {
    match (&reply.response.status, &reply.response.body) {
        (Status::Ok, Body::Ttl(left)) => Some(Some(left.map(Duration::from_millis))),
        (Status::NotFound, _) => Some(None),
        _ => None,
    }
}

/// `add`.
pub(crate) fn counter(reply: &Reply<'_>) -> Option<Counter> {
    let Response {
        status,
        version,
        timestamp_ms,
        body,
    } = &reply.response;
    match (status, body) {
        (Status::Ok, Body::Counter(value)) => Some(Counter {
            value: *value,
            version: *version,
            timestamp_ms: *timestamp_ms,
        }),
        _ => None,
    }
}

/// `add_float`.
pub(crate) fn float_sum(reply: &Reply<'_>) -> Option<FloatSum> {
    versioned(reply)?.map(|sum| FloatSum {
        value: sum.value,
        version: sum.version,
        timestamp_ms: sum.timestamp_ms,
    })
}

/// `expires_at`.
pub(crate) fn expires_at(reply: &Reply<'_>) -> Option<Option<Option<u64>>> {
    match (&reply.response.status, &reply.response.body) {
        (Status::Ok, Body::Ttl(at_ms)) => Some(Some(*at_ms)),
        (Status::NotFound, _) => Some(None),
        _ => None,
    }
}

/// `expire`.
pub(crate) fn expire_outcome(reply: &Reply<'_>) -> Option<ExpireOutcome> {
    match reply.response.status {
        Status::Ok => Some(ExpireOutcome::Done(written_by(&reply.response))),
        Status::NotFound => Some(ExpireOutcome::NotFound),
        Status::ConditionFailed => Some(ExpireOutcome::ConditionFailed {
            current: current(&reply.response),
        }),
        _ => None,
    }
}

/// `append`, `overwrite`.
pub(crate) fn appended(reply: &Reply<'_>) -> Option<Appended> {
    let Written {
        version,
        timestamp_ms,
    } = written_by(&reply.response);
    number(reply).map(|length| Appended {
        length,
        version,
        timestamp_ms,
    })
}

/// `count`.
pub(crate) fn number(reply: &Reply<'_>) -> Option<u64> {
    match (&reply.response.status, &reply.response.body) {
        (Status::Ok, Body::Number(number)) => Some(*number),
        _ => None,
    }
}

/// Whatever answers that it is done, and no more.
pub(crate) fn done(reply: &Reply<'_>) -> Option<()> {
    (reply.response.status == Status::Ok).then_some(())
}

/// Dropping a keyspace: whether there was one.
pub(crate) fn done_if_found(reply: &Reply<'_>) -> Option<bool> {
    match reply.response.status {
        Status::Ok => Some(true),
        Status::NotFound => Some(false),
        _ => None,
    }
}

/// Keyspaces.
pub(crate) fn keyspaces(reply: &Reply<'_>) -> Option<Vec<KeyspaceInfo>> {
    match (&reply.response.status, &reply.response.body) {
        (Status::Ok, Body::Keyspaces(keyspaces)) => Some(keyspaces.clone()),
        _ => None,
    }
}

/// `status`.
pub(crate) fn status(reply: &Reply<'_>) -> Option<String> {
    match (&reply.response.status, &reply.response.body) {
        (Status::Ok, Body::Status(text)) => Some((*text).to_owned()),
        _ => None,
    }
}

fn written_by(response: &Response<'_>) -> Written {
    Written {
        version: response.version,
        timestamp_ms: response.timestamp_ms,
    }
}

/// Version 0 stands for none.
fn current(response: &Response<'_>) -> Option<Written> {
    (response.version != 0).then(|| written_by(response))
}

/// The value that a write was asked to answer with. The outer `None`: neither a value nor nothing.
fn value(reply: &Reply<'_>) -> Option<Option<Bytes>> {
    match &reply.response.body {
        Body::Empty => Some(None),
        Body::Value(value) => Some(Some(reply.slice(value))),
        _ => None,
    }
}
