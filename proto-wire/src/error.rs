//! Why bytes were refused.
//!
//! [`FrameError`] means that the stream itself can no longer be followed: where the next frame begins is not known or not
//! worth waiting for, so the connection ends. [`DecodeError`] means that one frame is bad and the next one is where it
//! should be: a server answers with [`DecodeError::status`] and the error's text, and goes on. Either way nothing was
//! changed, as nothing was done yet.

use thiserror::Error;

use crate::{BodyKind, Status};

/// The stream can't be followed any further; the connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The frame is over the limit. Known, and said, before any of it is buffered.
    #[error("frame length {length} is over the limit of {limit} bytes")]
    TooLong {
        /// What the length field says, in bytes.
        length: u32,
        /// The largest that is accepted, in bytes.
        limit: u32,
    },
    /// The frame can't even hold a header: what arrives is not this protocol.
    #[error("frame length {length} is below the {minimum} bytes of a header")]
    TooShort {
        /// What the length field says, in bytes.
        length: u32,
        /// The length of the smallest header, in bytes.
        minimum: u32,
    },
}

impl FrameError {
    /// With which status a server says so before it closes the connection.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            FrameError::TooLong { .. } => Status::LimitExceeded,
            FrameError::TooShort { .. } => Status::InvalidRequest,
        }
    }
}

/// One frame is not a message. Nothing was done on its account; the frames after it are unharmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The frame ends before what its own fields promise.
    #[error("the frame ends inside the {field}: {needed} bytes needed, {available} there")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// How long it is, in bytes.
        needed: usize,
        /// How many bytes are left in the frame.
        available: usize,
    },
    /// Something follows the end of the message.
    #[error("{excess} bytes follow the end of the message")]
    TrailingBytes {
        /// How many bytes.
        excess: usize,
    },
    /// No such request in this version of the protocol.
    #[error("opcode {opcode:#04x} is not supported")]
    UnknownOpcode {
        /// The header's opcode.
        opcode: u8,
    },
    /// A field holds a number that means nothing.
    #[error("{field} {tag} is not known")]
    UnknownTag {
        /// Which field.
        field: &'static str,
        /// What it holds.
        tag: u8,
    },
    /// A field or bits that this message does not use are not zero.
    #[error("{field} must be zero where it is unused, not {value:#x}")]
    ReservedNotZero {
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A length, count or time is outside its limit.
    #[error("{field} {value} is outside {minimum}..={maximum}")]
    OutsideLimit {
        /// What is limited.
        field: &'static str,
        /// What it came to.
        value: u64,
        /// The least that is allowed.
        minimum: u64,
        /// The most that is allowed.
        maximum: u64,
    },
    /// Text is not UTF-8.
    #[error("the {field} is not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// Which text.
        field: &'static str,
        /// How many bytes of it are.
        offset: usize,
    },
    /// A name holds a control character, which would garble logs and listings.
    #[error("the {field} holds a control character at byte {offset}")]
    ControlCharacter {
        /// Which name.
        field: &'static str,
        /// Where in it.
        offset: usize,
    },
    /// A name that becomes part of a path holds something else than letters, digits, `-`, `_` and `.`, or begins with a `.`.
    #[error("the {field} may hold letters, digits, '-', '_' and '.', and not begin with '.'")]
    NotPlain {
        /// Which name.
        field: &'static str,
    },
    /// A hello's lowest version is above its highest.
    #[error("protocol versions {minimum}..={maximum} are an empty range")]
    VersionRange {
        /// The hello's lowest version.
        minimum: u16,
        /// The hello's highest version.
        maximum: u16,
    },
    /// An atomic batch holds writes alone.
    #[error("operation {index} of the atomic batch is a get; only puts and deletes may be in one")]
    GetInAtomicBatch {
        /// Which operation, counted from 0.
        index: usize,
    },
    /// An answer has an error status without an error text, or the other way about.
    #[error("an answer with status {status:?} can't have a body of kind {kind:?}")]
    StatusBodyMismatch {
        /// The answer's status.
        status: Status,
        /// The answer's kind of body.
        kind: BodyKind,
    },
    /// A hello's answer names a shard that its own shard count rules out.
    #[error("shard {shard} is not one of {shard_count}")]
    ShardOutsideCount {
        /// The shard that is said to serve the connection.
        shard: u16,
        /// The node's number of shards.
        shard_count: u16,
    },
}

impl DecodeError {
    /// With which status a server answers such a request. Each of them says that nothing was changed.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            DecodeError::OutsideLimit { .. } => Status::LimitExceeded,
            DecodeError::UnknownOpcode { .. } => Status::Unsupported,
            _ => Status::InvalidRequest,
        }
    }
}
