//! The native protocol's handshake: what a new connection's first bytes say.

use corduroy_proto_wire::{
    DecodeError, FrameError, HELLO_FRAME_LEN_MAX, Hello, PREAMBLE, Request, RequestId, VERSION_MAX,
    VERSION_MIN, split,
};
use thiserror::Error;

/// What the first bytes of a connection amount to.
#[derive(Debug, PartialEq)]
pub enum Opening<'a> {
    /// Not all there yet.
    Incomplete,
    /// A hello, and how many bytes it and the preamble take up.
    Hello {
        /// To be echoed in the answer.
        request: RequestId,
        /// What the client wants.
        hello: Hello<'a>,
        /// The version that both speak.
        version: u16,
        /// Bytes of the connection that are worked off with it.
        consumed: usize,
    },
}

/// Why a connection can't be opened.
#[derive(Debug, Error, PartialEq)]
pub enum OpeningError {
    /// The first bytes belong to no protocol that is spoken here.
    #[error(
        "the connection does not open with the native protocol's preamble; this port speaks Corduroy's native protocol"
    )]
    UnknownProtocol,
    /// The first frame is not a hello.
    #[error("the first request must be a hello")]
    NotAHello(RequestId),
    /// No version in common.
    #[error(
        "no common protocol version: the server speaks {VERSION_MIN} to {VERSION_MAX}, the client {min} to {max}"
    )]
    NoCommonVersion {
        /// To be echoed in the answer.
        request: RequestId,
        /// The client's lowest.
        min: u16,
        /// The client's highest.
        max: u16,
    },
    /// The first frame can't be followed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The hello is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl OpeningError {
    /// The request that the error answers, 0 if there was none to be read.
    #[must_use]
    pub fn request(&self) -> RequestId {
        match self {
            OpeningError::NotAHello(request) | OpeningError::NoCommonVersion { request, .. } => {
                *request
            }
            _ => corduroy_proto_wire::CONNECTION_REQUEST_ID,
        }
    }
}

/// Reads a new connection's first bytes. Refuses as soon as they can't become a hello any more.
///
/// # Errors
/// [`OpeningError`]: the connection is to be closed.
pub fn open(bytes: &[u8]) -> Result<Opening<'_>, OpeningError> {
    let compared = bytes.len().min(PREAMBLE.len());
    if bytes[..compared] != PREAMBLE[..compared] {
        return Err(OpeningError::UnknownProtocol);
    }
    let Some((frame, consumed)) = split(&bytes[compared..], HELLO_FRAME_LEN_MAX)? else {
        return Ok(Opening::Incomplete);
    };
    let (request, decoded) = Request::decode(frame)?;
    let Request::Hello(hello) = decoded else {
        return Err(OpeningError::NotAHello(request));
    };
    let Some(version) = hello.negotiate() else {
        return Err(OpeningError::NoCommonVersion {
            request,
            min: hello.version_min,
            max: hello.version_max,
        });
    };
    Ok(Opening::Hello {
        request,
        hello,
        version,
        consumed: PREAMBLE.len() + consumed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version_min: u16, version_max: u16) -> Vec<u8> {
        let mut bytes = PREAMBLE.to_vec();
        let hello = Hello {
            version_min,
            version_max,
            shard: Some(3),
            keyspace: "default",
            client_name: "test",
        };
        Request::Hello(hello).encode(5, &mut bytes);
        bytes
    }

    /// A hello that arrives byte by byte must be waited for, and nothing of what follows it swallowed.
    #[test]
    fn a_hello_opens_however_it_is_cut() {
        let mut bytes = hello(1, 1);
        let whole = bytes.len();
        bytes.extend_from_slice(b"next");
        for cut in 0..whole {
            assert_eq!(
                open(&bytes[..cut]),
                Ok(Opening::Incomplete),
                "{cut} of {whole} bytes"
            );
        }
        let Ok(Opening::Hello {
            request,
            hello,
            version,
            consumed,
        }) = open(&bytes)
        else {
            panic!("it is whole")
        };
        assert_eq!(
            (request, hello.shard, version, consumed),
            (5, Some(3), 1, whole)
        );
    }

    /// A client of another protocol must be told at its first byte, not after it waited for an answer.
    #[test]
    fn other_protocols_are_refused_at_their_first_byte() {
        for first in [&b"*"[..], b"GET / HTTP/1.1", b"\x16\x03\x01", b"PING\r\n"] {
            assert_eq!(open(first), Err(OpeningError::UnknownProtocol));
        }
    }

    /// A client from the future must hear which versions there are.
    #[test]
    fn versions_must_meet() {
        let bytes = hello(40, 41);
        assert_eq!(
            open(&bytes),
            Err(OpeningError::NoCommonVersion {
                request: 5,
                min: 40,
                max: 41
            })
        );
    }
}
