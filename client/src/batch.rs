//! Several operations in one request.

use bytes::Bytes;
use corduroy_proto_wire::{BatchItem, Body, ItemResult, Status};

use crate::call::Reply;
use crate::error::{Error, Result};
use crate::value::{DeleteOptions, DeleteOutcome, PutOptions, PutOutcome, Versioned, Written};

/// One operation of a batch. A get can't be part of an atomic batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOp {
    /// Reads a key.
    Get {
        /// 1 to 65,535 bytes.
        key: Bytes,
    },
    /// Writes a value.
    Put {
        /// 1 to 65,535 bytes.
        key: Bytes,
        /// 0 bytes to the server's limit.
        value: Bytes,
        /// Expiry, condition, and whether to answer with the old value.
        options: PutOptions,
    },
    /// Removes a key.
    Delete {
        /// 1 to 65,535 bytes.
        key: Bytes,
        /// Condition, and whether to answer with the old value.
        options: DeleteOptions,
    },
}

impl BatchOp {
    /// Reads a key.
    pub fn get(key: impl Into<Bytes>) -> Self {
        BatchOp::Get { key: key.into() }
    }

    /// Writes a value, whatever the key holds.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::put_with(key, value, PutOptions::new())
    }

    /// Writes a value with an expiry, under a condition, or asking for the old value.
    pub fn put_with(key: impl Into<Bytes>, value: impl Into<Bytes>, options: PutOptions) -> Self {
        BatchOp::Put {
            key: key.into(),
            value: value.into(),
            options,
        }
    }

    /// Removes a key.
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::delete_with(key, DeleteOptions::new())
    }

    /// Removes a key under a condition, or asking for the old value.
    pub fn delete_with(key: impl Into<Bytes>, options: DeleteOptions) -> Self {
        BatchOp::Delete {
            key: key.into(),
            options,
        }
    }

    /// The key that the operation is about.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            BatchOp::Get { key } | BatchOp::Put { key, .. } | BatchOp::Delete { key, .. } => key,
        }
    }

    pub(crate) fn to_wire(&self) -> BatchItem<'_> {
        match self {
            BatchOp::Get { key } => BatchItem::Get { key },
            BatchOp::Put {
                key,
                value,
                options,
            } => BatchItem::Put(options.to_wire(key, value)),
            BatchOp::Delete { key, options } => BatchItem::Delete(options.to_wire(key)),
        }
    }
}

/// What became of one operation of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchResult {
    /// Of a get: the value, if the key exists.
    Get(Option<Versioned>),
    /// Of a put.
    Put(PutOutcome),
    /// Of a delete.
    Delete(DeleteOutcome),
}

/// What became of an atomic batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtomicOutcome {
    /// All of it was done: a result for each operation, in the order asked. A delete may have found nothing to do.
    Done(Vec<BatchResult>),
    /// At least one condition did not hold; nothing was changed. The operations whose conditions did not hold.
    ConditionFailed(Vec<FailedOperation>),
}

/// An operation of an atomic batch whose condition did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedOperation {
    /// Which one, counted from 0.
    pub index: usize,
    /// The key's version; `None` where the key never was. A key that was deleted may have one.
    pub current: Option<Written>,
    /// The current value, if it was asked for and there is one.
    pub value: Option<Bytes>,
}

/// The results of a batch of independent operations.
pub(crate) fn results(
    reply: &Reply<'_>,
    operations: &[BatchOp],
) -> Option<Vec<Result<BatchResult>>> {
    let items = items(reply, operations)?;
    items
        .iter()
        .zip(operations)
        .map(|(item, operation)| result(reply, item, operation))
        .collect()
}

/// The outcome of an atomic batch.
pub(crate) fn atomic_outcome(reply: &Reply<'_>, operations: &[BatchOp]) -> Option<AtomicOutcome> {
    let items = items(reply, operations)?;
    match reply.response.status {
        Status::Ok => {
            let results = items
                .iter()
                .zip(operations)
                .map(|(item, operation)| result(reply, item, operation)?.ok());
            results.collect::<Option<_>>().map(AtomicOutcome::Done)
        }
        Status::ConditionFailed => {
            let failed = items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.status == Status::ConditionFailed);
            let failed = failed.map(|(index, item)| FailedOperation {
                index,
                current: current(item),
                value: item.value.map(|value| reply.slice(value)),
            });
            Some(AtomicOutcome::ConditionFailed(failed.collect()))
        }
        _ => None,
    }
}

/// One item for each operation, or the server broke the protocol.
fn items<'a>(reply: &'a Reply<'_>, operations: &[BatchOp]) -> Option<&'a [ItemResult<'a>]> {
    match &reply.response.body {
        Body::Batch(items) if items.len() == operations.len() => Some(items),
        _ => None,
    }
}

fn result(
    reply: &Reply<'_>,
    item: &ItemResult<'_>,
    operation: &BatchOp,
) -> Option<Result<BatchResult>> {
    let ItemResult {
        status,
        version,
        timestamp_ms,
        value,
    } = *item;
    if status.is_error() {
        return Some(Err(Error::Server {
            status,
            message: String::new(),
        }));
    }
    let written = Written {
        version,
        timestamp_ms,
    };
    let value = value.map(|value| reply.slice(value));
    Some(Ok(match (operation, status) {
        (BatchOp::Get { .. }, Status::Ok) => BatchResult::Get(Some(Versioned {
            value: value?,
            version,
            timestamp_ms,
        })),
        (BatchOp::Get { .. }, Status::NotFound) => BatchResult::Get(None),
        (BatchOp::Put { .. }, Status::Ok) => BatchResult::Put(PutOutcome::Done(written, value)),
        (BatchOp::Put { .. }, Status::ConditionFailed) => {
            BatchResult::Put(PutOutcome::ConditionFailed {
                current: current(item),
                value,
            })
        }
        (BatchOp::Delete { .. }, Status::Ok) => {
            BatchResult::Delete(DeleteOutcome::Done(written, value))
        }
        (BatchOp::Delete { .. }, Status::NotFound) => BatchResult::Delete(DeleteOutcome::NotFound),
        (BatchOp::Delete { .. }, Status::ConditionFailed) => {
            BatchResult::Delete(DeleteOutcome::ConditionFailed {
                current: current(item),
                value,
            })
        }
        _ => return None,
    }))
}

/// Version 0 stands for none.
fn current(item: &ItemResult<'_>) -> Option<Written> {
    (item.version != 0).then_some(Written {
        version: item.version,
        timestamp_ms: item.timestamp_ms,
    })
}
