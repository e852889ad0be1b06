//! The client's own bounds, in one place. What the server bounds (frames, values, requests in flight) comes with its hello.

use std::time::Duration;

/// The port that an address without one means.
pub(crate) const PORT_DEFAULT: u16 = 7379;

/// How long connecting may take, name lookup and handshake included, unless told otherwise.
pub(crate) const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// How long a request may take, all its attempts included, unless told otherwise.
pub(crate) const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// How long a connection may be silent before it is asked whether it is still there, unless told otherwise.
pub(crate) const KEEPALIVE_DEFAULT: Duration = Duration::from_secs(15);

/// Most attempts for one request unless told otherwise: with the backoff below they span some five seconds on average.
pub(crate) const ATTEMPTS_MAX_DEFAULT: u32 = 16;

/// The first pause between two attempts is at most this long, unless told otherwise.
pub(crate) const BACKOFF_BASE_DEFAULT: Duration = Duration::from_millis(10);

/// No pause between two attempts is longer than this, unless told otherwise.
pub(crate) const BACKOFF_MAX_DEFAULT: Duration = Duration::from_secs(1);

/// Most connections of a pool to one shard (or in all, without routing).
pub(crate) const CONNECTIONS_MAX: usize = 1024;

/// Most requests in flight on one connection, whatever the server allows: an index into the table is 16 bits of the request id.
pub(crate) const IN_FLIGHT_MAX: usize = 16_384;

/// Most bytes that wait in a connection's outgoing queue. Whoever would exceed it waits; one frame that is
/// larger by itself has the queue to itself.
pub(crate) const QUEUED_LEN_MAX: usize = 4 << 20;

/// What a queued frame costs beside its bytes: its place in the queue and in the table.
pub(crate) const QUEUED_OVERHEAD_LEN: usize = 64;

/// Frames are gathered up to this many bytes for one write to the socket; a longer frame is written by itself, uncopied.
pub(crate) const WRITE_BATCH_LEN: usize = 64 << 10;

/// How much room each read from the socket has. Values are handed out as slices of it, so a small value that is kept
/// keeps this much memory.
pub(crate) const READ_CHUNK_LEN: usize = 16 << 10;

/// How much room each read has inside a frame that is longer than a chunk. A length field that lies costs this much
/// memory and no more until the bytes are really there.
pub(crate) const READ_CHUNK_LEN_LARGE: usize = 256 << 10;

/// Longest answer that is accepted, in bytes after the length field, unless told otherwise: more than any that the protocol
/// allows (18 MiB).
pub(crate) const ANSWER_LEN_MAX_DEFAULT: u32 = 32 << 20;

/// Longest answer to a hello, in bytes after the length field: two names, or the text of a refusal.
pub(crate) const HELLO_ANSWER_LEN_MAX: u32 = 64 << 10;

/// Keys in a page of a scan, unless told otherwise.
pub(crate) const PAGE_SIZE_DEFAULT: u32 = 1000;

const _: () = assert!(
    IN_FLIGHT_MAX <= 1 << 16,
    "a slot's index is 16 bits of the request id"
);
const _: () = assert!(
    QUEUED_LEN_MAX <= u32::MAX as usize,
    "bytes in the queue are counted in semaphore permits"
);
const _: () = assert!(WRITE_BATCH_LEN <= QUEUED_LEN_MAX);
const _: () = assert!(READ_CHUNK_LEN <= READ_CHUNK_LEN_LARGE);
