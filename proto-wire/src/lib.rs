//! Corduroy's native wire protocol: a pure codec.
//!
//! A connection carries **frames**: a little-endian `u32` length, then that many bytes, one request or one answer.
//! The client chooses a request's id and the answer echoes it, so requests are pipelined and answered in any order.
//! `docs/wire-protocol.md` draws every byte; `tests/golden.rs` holds the bytes themselves, so neither can drift.
//!
//! The crate is bytes in, values out, and back. It has no I/O, no clock and no state. Reading goes like this:
//!
//! 1. [`split`] finds the first whole frame in what has arrived, and refuses one over the limit as soon as its length
//!    is there, before anything of it is kept.
//! 2. [`peek`] and [`key_of`] read a request's fixed header and key, which is all that routing needs.
//! 3. [`Request::decode`] and [`Response::decode`] turn the frame into a value that borrows keys and values from it.
//!
//! # Invariants
//!
//! - **No byte from the network is trusted.** Decoding never panics, and never allocates by what a length or a count
//!   claims: a list reserves no more than the bytes that are really there could hold.
//! - **One value, one encoding.** Unused bits, unused fields and bytes after the end are refused. So `encode` of what
//!   `decode` accepted gives back the very same bytes, and everything that is unused today can be given a meaning in a
//!   later version without an old peer misreading it.
//! - **The rules are in one place.** [`Request::validate`] says what makes a request acceptable; the decoder calls it,
//!   and so may a client before it sends. What depends on a server's configuration (the largest value, the largest frame) is
//!   the server's to check.
//! - **A get costs nothing to speak of.** The header has a fixed layout and the key a fixed offset, a put's value is
//!   simply the rest of its frame, and these two are decoded without a call.
//!
//! ```
//! use corduroy_proto_wire::{Body, Request, Response, Status, key_of, split};
//!
//! let mut stream = Vec::new();
//! Request::Get { keyspace: 1, key: b"user:7" }.encode(42, &mut stream);
//!
//! let (frame, consumed) = split(&stream, 1 << 20)?.expect("the frame is all there");
//! assert_eq!(consumed, stream.len());
//! assert_eq!(key_of(frame), Some(b"user:7".as_slice()));
//! let (id, request) = Request::decode(frame)?;
//! assert_eq!((id, request), (42, Request::Get { keyspace: 1, key: b"user:7" }));
//!
//! let answer = Response { status: Status::Ok, version: 3, timestamp_ms: 1_700_000_000_000, body: Body::Value(b"Ada") };
//! let mut reply = Vec::new();
//! answer.encode(id, &mut reply);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod frame;
mod message;
mod opcode;
mod reader;
mod request;
mod response;
mod slot;
mod status;

pub use error::{DecodeError, FrameError};
pub use frame::{
    CONNECTION_REQUEST_ID, HELLO_FRAME_LEN_MAX, LENGTH_LEN, PREAMBLE, PUT_OVERHEAD_LEN_MAX,
    REQUEST_HEADER_LEN, RESPONSE_HEADER_LEN, RequestHead, frame_len_max_least, key_of, peek, split,
};
pub use message::*;
pub use opcode::Opcode;
pub use response::BodyKind;
pub use slot::{SLOTS, hashed_part, partition_of_slot, shard_of_partition, slot_of};

/// Lowest protocol version that this crate speaks.
pub const VERSION_MIN: u16 = 1;
/// Highest protocol version that this crate speaks.
pub const VERSION_MAX: u16 = 1;

/// Longest key and longest scan prefix, in bytes. The shortest key has one byte.
pub const KEY_LEN_MAX: usize = 65_535;
/// Largest time to live, in milliseconds: a hundred years.
pub const TTL_MS_MAX: u64 = 100 * 365 * 24 * 3600 * 1000;
/// Latest time at which a key can be told to expire, in milliseconds since 1970: what 63 bits hold.
pub const EXPIRES_AT_MS_MAX: u64 = i64::MAX as u64;
/// Most operations in a batch, and most keys in a scan page. A server may announce less.
pub const BATCH_LEN_MAX: usize = 4096;
/// Most operations in an atomic batch: all of them are carried out in one go.
pub const ATOMIC_LEN_MAX: usize = 1024;
/// Longest frame of a batch, and most bytes of values in its answer: larger values are put and got on their own.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Longest value that a condition compares with; longer ones have a version to go by.
pub const COMPARE_LEN_MAX: usize = 1 << 20;
/// Longest value that an `append` or an `overwrite` makes: all of it is written anew each time.
pub const APPEND_LEN_MAX: usize = 1 << 20;
/// Longest increment of an `add_float`, in bytes: one byte less than what Redis has room for.
pub const INCREMENT_LEN_MAX: usize = 5 * 1024 - 1;
/// Longest keyspace, client or server name, in bytes.
pub const NAME_LEN_MAX: usize = 255;
/// Longest payload of a ping, in bytes.
pub const PING_LEN_MAX: usize = 64 << 10;
/// Longest name of a series of backups, in bytes.
pub const BACKUP_SERIES_LEN_MAX: usize = 64;
/// Most partitions of a keyspace: one for each slot.
pub const PARTITIONS_MAX: u16 = 16_384;

const _: () = assert!(VERSION_MIN <= VERSION_MAX);
const _: () = assert!(
    KEY_LEN_MAX == u16::MAX as usize,
    "a key's length is a u16 on the wire"
);
const _: () = assert!(
    NAME_LEN_MAX == u8::MAX as usize,
    "a name's length is a u8 on the wire"
);
