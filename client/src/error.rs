//! How a request can fail, and what that says about the data.
//!
//! The question that matters after a failed write is whether it was carried out. Every [`Error`] answers it, by
//! [`Error::outcome`]:
//!
//! - **Not done**: nothing was changed and nothing will be. The server said so, or the request's last byte was never
//!   handed to the socket, and the server does nothing before it has a whole frame.
//! - **Unknown**: the request was handed to the socket whole, and no answer came. The server may have carried it out, may
//!   be about to, or may never have seen it. To send it again is safe only where it is *repeatable*: idempotent, such as
//!   an unconditional put.
//!
//! A read changes nothing, so its failure is always *not done*. When several attempts were made, the outcome is that
//! of all of them: a put that was lost on its way once and could not connect the second time is *unknown*.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use corduroy_proto_wire::{BodyKind, DecodeError, FrameError, RequestId, Status};
use thiserror::Error;

/// What the client's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is known about a failed request's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was changed, and nothing will be.
    NotDone,
    /// The request may have been carried out, or may yet be.
    Unknown {
        /// Whether it may be sent again without changing the result.
        repeatable: bool,
    },
}

impl Outcome {
    /// Whether this is [`Outcome::Unknown`].
    #[must_use]
    pub fn is_unknown(self) -> bool {
        matches!(self, Outcome::Unknown { .. })
    }
}

/// Why a request failed. See [`Error::outcome`] for whether anything was changed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection could be opened; the request was not sent.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address as it was given.
        address: Arc<str>,
        /// What went wrong.
        source: ConnectError,
    },

    /// The connection ended before the answer was there.
    #[error("the connection to {address} was lost{}: {source}", outcome_note(*outcome))]
    ConnectionLost {
        /// The address as it was given.
        address: Arc<str>,
        /// Whether the request may have been carried out.
        outcome: Outcome,
        /// What ended the connection.
        source: LostReason,
    },

    /// The answer did not come in time.
    #[error("no answer within {} ms{}", after.as_millis(), outcome_note(*outcome))]
    Timeout {
        /// The request's timeout.
        after: Duration,
        /// Whether the request may have been carried out.
        outcome: Outcome,
    },

    /// The server answered with an error.
    #[error("{}{}{message}", status_text(*status), if message.is_empty() { "" } else { ": " })]
    Server {
        /// Which one. All but [`Status::OutcomeUnknown`] say that nothing was changed.
        status: Status,
        /// Why, for a person to read. Empty for an operation of a batch.
        message: String,
    },

    /// The request is outside a limit of the protocol or of the server; it was not sent.
    #[error(transparent)]
    Limit(#[from] LimitError),

    /// There is no keyspace of this name.
    #[error("there is no keyspace {name:?}")]
    KeyspaceNotFound {
        /// Its name.
        name: String,
    },

    /// The server answered with something that this request can't be answered with. The connection is closed.
    #[error("the server broke the protocol{}: {source}", outcome_note(*outcome))]
    Protocol {
        /// Whether the request may have been carried out.
        outcome: Outcome,
        /// What it answered.
        source: ProtocolError,
    },

    /// A repeatable request was tried several times, and one of the earlier attempts may have been carried out.
    #[error(
        "whether it was done is not known after {attempts} attempts, the last of which failed: {source}"
    )]
    Unresolved {
        /// How many attempts were made.
        attempts: u32,
        /// How the last one failed.
        source: Box<Error>,
    },

    /// The private runtime of a blocking client can't be started.
    #[error("cannot start the client's runtime: {source}")]
    Runtime {
        /// What the operating system said.
        source: Arc<io::Error>,
    },
}

/// Why a connection could not be opened.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The operating system said no.
    #[error("{0}")]
    Io(#[source] Arc<io::Error>),
    /// The name stands for no address.
    #[error("the name has no address")]
    NoAddress,
    /// It took too long, the handshake included.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection was closed during the handshake.
    #[error("the connection was closed during the handshake")]
    Closed,
    /// The server turned the client away.
    #[error("the server turned the connection away: {}{}{message}", status_text(*status), if message.is_empty() { "" } else { ": " })]
    Refused {
        /// With which status.
        status: Status,
        /// Why, for a person to read.
        message: String,
    },
    /// What answered is no Corduroy server.
    #[error("what answered does not speak Corduroy's protocol: {0}")]
    Protocol(#[source] ProtocolError),
    /// The runtime that the client was made on was shut down.
    #[error("the client was shut down")]
    Shutdown,
}

/// What ended a connection.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LostReason {
    /// The operating system reported an error.
    #[error("{0}")]
    Io(#[source] Arc<io::Error>),
    /// The server closed it.
    #[error("closed by the server")]
    Closed,
    /// The server closed it and said why.
    #[error("closed by the server: {}{}{message}", status_text(*status), if message.is_empty() { "" } else { ": " })]
    ClosedBecause {
        /// With which status.
        status: Status,
        /// Why, for a person to read.
        message: String,
    },
    /// The server sent something that can't be followed.
    #[error("{0}")]
    Protocol(#[source] ProtocolError),
    /// Nothing came for too long, not even the answer to a ping.
    #[error("silent for {} ms", .0.as_millis())]
    Silent(Duration),
    /// The client was dropped, or the runtime that it was made on was shut down.
    #[error("the client was shut down")]
    Shutdown,
}

/// What a server sent that it must not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The stream can't be followed any further.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame is not an answer.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An answer to nothing that was asked, or a second one.
    #[error("an answer has id {id}, which no request waits for")]
    UnknownRequest {
        /// The answer's request id.
        id: RequestId,
    },
    /// An answer of the wrong kind.
    #[error("a {request} was answered with status {status:?} and a body of kind {found:?}")]
    UnexpectedAnswer {
        /// What was asked.
        request: &'static str,
        /// The answer's status.
        status: Status,
        /// What kind of body it has.
        found: BodyKind,
    },
    /// The hello's answer can't be.
    #[error("the server's hello says {field} {value}")]
    Hello {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: u64,
    },
}

/// What is outside a limit. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LimitError {
    /// A rule of the protocol.
    #[error(transparent)]
    Request(#[from] DecodeError),
    /// The value is longer than the server accepts.
    #[error("a value of {length} bytes is over the server's limit of {maximum} bytes")]
    ValueLength {
        /// How long it is, in bytes.
        length: u64,
        /// How long it may be, in bytes.
        maximum: u32,
    },
    /// The request as a whole is longer than the server accepts.
    #[error("a request of {length} bytes is over the server's limit of {maximum} bytes")]
    RequestLength {
        /// How long it is, in bytes.
        length: u64,
        /// How long it may be, in bytes.
        maximum: u32,
    },
    /// The batch, or the page of a scan, is larger than the server accepts.
    #[error("{length} operations or keys at once are over the server's limit of {maximum}")]
    BatchLength {
        /// How many there are.
        length: u64,
        /// How many there may be.
        maximum: u32,
    },
}

impl Error {
    /// What is known about the request's effect.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::ConnectionLost { outcome, .. }
            | Error::Timeout { outcome, .. }
            | Error::Protocol { outcome, .. } => *outcome,
            Error::Server { status, .. } if !status.outcome_known() => {
                Outcome::Unknown { repeatable: false }
            }
            Error::Unresolved { .. } => Outcome::Unknown { repeatable: true },
            Error::Connect { .. }
            | Error::Server { .. }
            | Error::Limit(_)
            | Error::KeyspaceNotFound { .. }
            | Error::Runtime { .. } => Outcome::NotDone,
        }
    }

    /// Whether the request may have been carried out although it failed.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.outcome().is_unknown()
    }

    /// Whether the same request may be sent again with a hope of success: the cause passes by itself, and the request
    /// was either not done or is repeatable. The client has already done so as often as its [`crate::RetryPolicy`] allows.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.is_transient() && !matches!(self.outcome(), Outcome::Unknown { repeatable: false })
    }

    /// The status that the server answered with, if it did.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Error::Server { status, .. }
            | Error::Connect {
                source: ConnectError::Refused { status, .. },
                ..
            }
            | Error::ConnectionLost {
                source: LostReason::ClosedBecause { status, .. },
                ..
            } => Some(*status),
            Error::Unresolved { source, .. } => source.status(),
            _ => None,
        }
    }

    /// Whether the cause passes by itself.
    fn is_transient(&self) -> bool {
        match self {
            Error::Connect { source, .. } => source.is_transient(),
            Error::ConnectionLost { source, .. } => source.is_transient(),
            Error::Timeout { .. } => true,
            Error::Server { status, .. } => status.is_transient(),
            Error::Unresolved { source, .. } => source.is_transient(),
            Error::Limit(_)
            | Error::KeyspaceNotFound { .. }
            | Error::Protocol { .. }
            | Error::Runtime { .. } => false,
        }
    }
}

impl ConnectError {
    fn is_transient(&self) -> bool {
        match self {
            ConnectError::Io(_) | ConnectError::Timeout(_) | ConnectError::Closed => true,
            ConnectError::Refused { status, .. } => status.is_transient(),
            ConnectError::NoAddress | ConnectError::Protocol(_) | ConnectError::Shutdown => false,
        }
    }
}

impl LostReason {
    fn is_transient(&self) -> bool {
        match self {
            LostReason::Io(_)
            | LostReason::Closed
            | LostReason::ClosedBecause { .. }
            | LostReason::Silent(_) => true,
            LostReason::Protocol(_) | LostReason::Shutdown => false,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Closed
        } else {
            Self::Io(Arc::new(error))
        }
    }
}

impl From<io::Error> for LostReason {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

fn outcome_note(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotDone => "",
        Outcome::Unknown { .. } => {
            " after the request was sent, and whether it was done is not known"
        }
    }
}

/// A status in words.
fn status_text(status: Status) -> &'static str {
    match status {
        Status::Ok => "done",
        Status::NotFound => "not found",
        Status::ConditionFailed => "the condition did not hold",
        Status::InvalidRequest => "invalid request",
        Status::LimitExceeded => "outside a limit",
        Status::UnknownKeyspace => "there is no such keyspace",
        Status::AlreadyExists => "it exists already",
        Status::NotACounter => "not a counter",
        Status::CrossPartition => "the keys are not all in one partition",
        Status::Unsupported => "not supported by this server",
        Status::Overloaded => "the server is overloaded",
        Status::ShuttingDown => "the server is shutting down",
        Status::ReadOnly => "the server takes no writes",
        Status::Damaged => "the stored data is damaged",
        Status::OutcomeUnknown => "whether it was done is not known",
        Status::Handshake => "the handshake failed",
        Status::Failed => "it could not be done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever repeats an `add` because an error called itself retryable counts twice.
    #[test]
    fn nothing_with_an_unknown_outcome_is_retryable_unless_it_is_repeatable() {
        let lost = |outcome| Error::ConnectionLost {
            address: "a:1".into(),
            outcome,
            source: LostReason::Closed,
        };
        assert!(lost(Outcome::NotDone).is_retryable());
        assert!(lost(Outcome::Unknown { repeatable: true }).is_retryable());
        assert!(!lost(Outcome::Unknown { repeatable: false }).is_retryable());
        assert!(!lost(Outcome::NotDone).is_outcome_unknown());
        assert!(lost(Outcome::Unknown { repeatable: true }).is_outcome_unknown());
    }

    /// A server that does not know what became of a write must not be read as one that refused it.
    #[test]
    fn a_servers_unknown_outcome_stays_unknown_and_its_refusals_stay_not_done() {
        let answer = |status| Error::Server {
            status,
            message: String::new(),
        };
        assert!(answer(Status::OutcomeUnknown).is_outcome_unknown());
        assert!(!answer(Status::OutcomeUnknown).is_retryable());
        for status in [
            Status::ReadOnly,
            Status::Overloaded,
            Status::NotACounter,
            Status::Damaged,
        ] {
            assert_eq!(answer(status).outcome(), Outcome::NotDone);
        }
        assert!(answer(Status::Overloaded).is_retryable());
        assert!(!answer(Status::ReadOnly).is_retryable());
    }

    /// The last attempt's "cannot connect" must not hide that the first attempt may have been carried out.
    #[test]
    fn an_earlier_unknown_attempt_is_not_hidden_by_the_last_ones_failure() {
        let refused = Error::Connect {
            address: "a:1".into(),
            source: ConnectError::Closed,
        };
        assert_eq!(refused.outcome(), Outcome::NotDone);
        let unresolved = Error::Unresolved {
            attempts: 2,
            source: Box::new(refused),
        };
        assert!(unresolved.is_outcome_unknown());
        assert!(unresolved.is_retryable());
    }
}
