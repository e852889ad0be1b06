//! One request from its caller's point of view: choose a connection, send, wait, and try again where that is safe.
//!
//! # When a request is tried again
//!
//! | what happened | idempotent | any other |
//! |---|---|---|
//! | no connection could be opened | again | again |
//! | the connection ended before the request was handed to it whole | again | again |
//! | the connection ended after that | again | **outcome unknown** |
//! | the server is overloaded or shutting down (and says that nothing was done) | again | again |
//! | the server answered anything else | its answer | its answer |
//! | the deadline came | not done or unknown | not done or unknown |
//!
//! All attempts together keep to one deadline. An attempt whose outcome is unknown taints the whole request: if no later
//! attempt succeeds, the outcome is unknown, however certainly the last one was not done ([`Error::Unresolved`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corduroy_proto_wire::{
    APPEND_LEN_MAX, BATCH_BYTES_MAX, BatchItem, Body, COMPARE_LEN_MAX, Condition, HelloReply,
    LENGTH_LEN, Opcode, Request, Response,
};
use tokio::time::{Instant, timeout_at};

use crate::connection::{CallError, Connection};
use crate::error::{Error, LimitError, Outcome, ProtocolError, Result};
use crate::pool::{Pool, Target};
use crate::retry::RetryPolicy;

/// What all handles of one client share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) pool: Pool,
    pub(crate) retry: RetryPolicy,
    pub(crate) request_timeout: Duration,
}

/// An answer without an error, and the frame that its bytes are in.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) response: Response<'a>,
    frame: &'a Bytes,
}

impl Reply<'_> {
    /// Bytes of the answer, without copying them.
    pub(crate) fn slice(&self, part: &[u8]) -> Bytes {
        self.frame.slice_ref(part)
    }
}

/// When a request that begins now and may take so long must be over.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    let now = Instant::now();
    // A timeout beyond the clock's range is as good as a century.
    now.checked_add(timeout)
        .unwrap_or(now + Duration::from_secs(100 * 365 * 86_400))
}

impl Core {
    /// When a request that begins now must be over.
    pub(crate) fn deadline(&self) -> Instant {
        deadline_after(self.request_timeout)
    }

    /// Has a request answered, in as many attempts as it may take, and hands the answer to `interpret`, which answers `None` to what
    /// the request can't be answered with.
    pub(crate) async fn call<T>(
        &self,
        target: Target,
        request: &Request<'_>,
        deadline: Instant,
        interpret: impl Fn(&Reply<'_>) -> Option<T>,
    ) -> Result<T> {
        request.validate().map_err(LimitError::Request)?;
        let mut attempts = Attempts::default();
        loop {
            let error = match self.attempt(target, request, deadline, &interpret).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempts.note(&error);
            // A place in the pool paces its own attempts; everything else is paced here.
            let pause = match error {
                Error::Connect { .. } => Duration::ZERO,
                _ => self
                    .retry
                    .backoff(attempts.count, &mut fastrand::Rng::new()),
            };
            let may_retry = error.is_retryable()
                && self.retry.allows_another(attempts.count)
                && Instant::now() + pause < deadline;
            if !may_retry {
                return Err(attempts.conclude(error));
            }
            if pause > Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
            attempts.last = Some(error);
        }
    }

    async fn attempt<T>(
        &self,
        target: Target,
        request: &Request<'_>,
        deadline: Instant,
        interpret: impl Fn(&Reply<'_>) -> Option<T>,
    ) -> Result<T> {
        let connection = match timeout_at(deadline, self.pool.connection(target)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(source)) => {
                return Err(Error::Connect {
                    address: Arc::clone(self.pool.address()),
                    source,
                });
            }
            Err(_elapsed) => return Err(self.timeout(Outcome::NotDone)),
        };
        check_limits(request, connection.hello())?;
        match connection.call(request, deadline).await {
            Ok(frame) => read_answer(&connection, request, &frame, interpret),
            Err(CallError::Timeout { sent }) => Err(self.timeout(outcome_of(request, sent))),
            Err(CallError::Lost { sent, reason }) => Err(Error::ConnectionLost {
                address: Arc::clone(self.pool.address()),
                outcome: outcome_of(request, sent),
                source: reason,
            }),
        }
    }

    fn timeout(&self, outcome: Outcome) -> Error {
        Error::Timeout {
            after: self.request_timeout,
            outcome,
        }
    }
}

/// How often a request has been tried, and what that left behind.
#[derive(Default)]
struct Attempts {
    count: u32,
    /// An attempt may have been carried out.
    tainted: bool,
    /// How the attempt before the last one failed.
    last: Option<Error>,
}

impl Attempts {
    fn note(&mut self, error: &Error) {
        self.count += 1;
        self.tainted |= error.is_outcome_unknown();
    }

    /// What the caller is told when there are no more attempts.
    fn conclude(self, error: Error) -> Error {
        let error = match (error, self.last) {
            // That the time ran out on the way to a connection says less than why there was none.
            (
                Error::Timeout {
                    outcome: Outcome::NotDone,
                    ..
                },
                Some(last),
            ) => last,
            (error, _) => error,
        };
        if self.tainted && !error.is_outcome_unknown() {
            return Error::Unresolved {
                attempts: self.count,
                source: Box::new(error),
            };
        }
        error
    }
}

/// Reads an answer. One that makes no sense ends the connection, for what else comes from there can't be trusted.
fn read_answer<T>(
    connection: &Connection,
    request: &Request<'_>,
    frame: &Bytes,
    interpret: impl Fn(&Reply<'_>) -> Option<T>,
) -> Result<T> {
    let source = match Response::decode(frame) {
        Ok((
            _,
            Response {
                status,
                body: Body::Error(text),
                ..
            },
        )) => {
            return Err(Error::Server {
                status,
                message: text.to_owned(),
            });
        }
        Ok((_, response)) => {
            let reply = Reply { response, frame };
            match interpret(&reply) {
                Some(answer) => return Ok(answer),
                None => ProtocolError::UnexpectedAnswer {
                    request: request.opcode().name(),
                    status: reply.response.status,
                    found: reply.response.body.kind(),
                },
            }
        }
        Err(error) => ProtocolError::Decode(error),
    };
    connection.condemn(source.clone());
    Err(Error::Protocol {
        outcome: outcome_of(request, true),
        source,
    })
}

/// What is known of a request that has no answer.
fn outcome_of(request: &Request<'_>, sent: bool) -> Outcome {
    if sent && changes_data(request) {
        Outcome::Unknown {
            repeatable: request.is_idempotent(),
        }
    } else {
        Outcome::NotDone
    }
}

/// Whether the request is any but a read.
fn changes_data(request: &Request<'_>) -> bool {
    match request.opcode() {
        Opcode::Hello
        | Opcode::Ping
        | Opcode::Status
        | Opcode::Compact
        | Opcode::Get
        | Opcode::Exists
        | Opcode::Ttl
        | Opcode::ExpiresAt
        | Opcode::Scan
        | Opcode::Count
        | Opcode::KeyspaceList
        | Opcode::KeyspaceOpen => false,
        Opcode::Batch => match request {
            Request::Batch { items, .. } => items
                .iter()
                .any(|item| !matches!(item, BatchItem::Get { .. })),
            _ => true,
        },
        Opcode::Put
        | Opcode::Delete
        | Opcode::Touch
        | Opcode::Persist
        | Opcode::Add
        | Opcode::Append
        | Opcode::Overwrite
        | Opcode::AddFloat
        | Opcode::Expire
        | Opcode::AtomicBatch
        | Opcode::Flush
        | Opcode::KeyspaceCreate
        | Opcode::KeyspaceDrop
        | Opcode::Backup
        | Opcode::Move
        | Opcode::Unit => true,
    }
}

/// Checks what this server, by its hello, would refuse. What the protocol itself forbids was checked before.
fn check_limits(request: &Request<'_>, hello: &HelloReply) -> Result<(), LimitError> {
    let value = |value: &[u8]| match value.len() as u64 {
        length if length > u64::from(hello.value_len_max) => Err(LimitError::ValueLength {
            length,
            maximum: hello.value_len_max,
        }),
        _ => Ok(()),
    };
    let within = |bytes: &[u8], limit: usize| match bytes.len() as u64 {
        length if length > limit as u64 => Err(LimitError::ValueLength {
            length,
            maximum: limit as u32,
        }),
        _ => Ok(()),
    };
    let condition = |condition: &Condition<'_>| match condition {
        Condition::IfValue(expected) => {
            value(expected).and_then(|()| within(expected, COMPARE_LEN_MAX))
        }
        _ => Ok(()),
    };
    let batch_len = |length: u64| match length {
        length if length > u64::from(hello.batch_len_max) => Err(LimitError::BatchLength {
            length,
            maximum: hello.batch_len_max,
        }),
        _ => Ok(()),
    };
    match request {
        Request::Put { put, .. } => value(put.value).and_then(|()| condition(&put.condition))?,
        Request::Delete { delete, .. } => condition(&delete.condition)?,
        Request::Append { suffix, .. } => {
            value(suffix).and_then(|()| within(suffix, APPEND_LEN_MAX))?;
        }
        Request::Overwrite { bytes, .. } => {
            value(bytes).and_then(|()| within(bytes, APPEND_LEN_MAX))?;
        }
        Request::Batch { items, .. } | Request::AtomicBatch { items, .. } => {
            batch_len(items.len() as u64)?;
            items.iter().try_for_each(|item| match item {
                BatchItem::Get { .. } => Ok(()),
                BatchItem::Put(put) => value(put.value).and_then(|()| condition(&put.condition)),
                BatchItem::Delete(delete) => condition(&delete.condition),
            })?;
        }
        Request::Scan { limit, .. } => batch_len(u64::from(*limit))?,
        _ => {}
    }
    let maximum = match request {
        Request::Batch { .. } | Request::AtomicBatch { .. } => {
            hello.frame_len_max.min(BATCH_BYTES_MAX as u32)
        }
        _ => hello.frame_len_max,
    };
    match (request.encoded_len() - LENGTH_LEN) as u64 {
        length if length > u64::from(maximum) => Err(LimitError::RequestLength { length, maximum }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
