//! A thin client for Corduroy, the durable key-value store with one log and one core a shard.
//!
//! ```no_run
//! use corduroy_client::{Client, Condition, PutOptions, PutOutcome};
//! use std::time::Duration;
//!
//! # async fn example() -> corduroy_client::Result<()> {
//! let client = Client::connect("127.0.0.1:7379").await?;
//! let users = client.default_keyspace();
//!
//! users.put("user:1", "Ada").await?;
//! let ada = users.get("user:1").await?.expect("it was just put");
//! println!("{:?} at version {}", ada.value, ada.version);
//!
//! // Change it only if nobody else has in the meantime.
//! let unchanged = PutOptions::new().condition(Condition::IfVersion(ada.version));
//! match users.put_with("user:1", "Ada Lovelace", unchanged).await? {
//!     PutOutcome::Done(written, _) => println!("now at version {}", written.version),
//!     PutOutcome::ConditionFailed { .. } => println!("somebody was faster"),
//! }
//!
//! users.put_with("session:1", "…", PutOptions::new().ttl(Duration::from_secs(1800))).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] and [`Keyspace`] are cheap to clone and meant to be shared: any number of tasks may use one at the same time.
//! The client needs a tokio runtime with I/O and time. Programs without one enable the feature `blocking` and use the module
//! of that name, which has the same functions.
//!
//! # What it does for you
//!
//! - **Multiplexing.** One connection carries any number of requests, whose answers come in any order. Whatever the tasks have
//!   queued goes out in one write. Values come in as slices of what was read, uncopied.
//! - **Routing.** The server says at the handshake how many shards it has. The client keeps a connection to each that it needs and
//!   sends each request straight to the core that owns the key ([`Route`]).
//! - **Backpressure.** A connection has no more requests in flight than the server allows and a bounded queue. Who would exceed them waits.
//! - **Timeouts and retries.** Each request has one deadline for all its attempts ([`ClientBuilder::request_timeout`]). A lost connection is
//!   opened again, with exponential backoff and full jitter ([`RetryPolicy`]); a silent one is asked whether it is alive, and given up.
//!
//! # What a failure means
//!
//! A write that failed was *not done*, or its outcome is *unknown*, and every [`Error`] says which ([`Error::outcome`]):
//!
//! | the failure | was it done? | does the client try again? |
//! |---|---|---|
//! | no connection; the connection ended before the whole request was handed to it | no | yes |
//! | the server is overloaded or shutting down | no | yes |
//! | the server refused for another reason; a limit was exceeded | no | no |
//! | the connection ended, or the time ran out, after the request was sent | **unknown** | an idempotent request, within its time |
//! | the server itself does not know (its disk failed in the middle) | **unknown** | no |
//!
//! Idempotent are all reads, `persist`, the unconditional put, and batches of such puts followed by gets. Everything else (`add`, `append`, `overwrite`, `delete`,
//! `touch`, `expire`, conditional writes, `flush`, keyspaces) is never sent a second time unless it is certain that the first was not done.
//! To be safe with an unknown outcome, read the key's version before, and look at it again afterwards:
//!
//! ```no_run
//! # async fn example(keyspace: corduroy_client::Keyspace) -> corduroy_client::Result<()> {
//! match keyspace.add("visits", 1).await {
//!     Ok(counter) => println!("{}", counter.value),
//!     Err(error) if error.is_outcome_unknown() => println!("counted, or not: {error}"),
//!     Err(error) => println!("certainly not counted: {error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! One thing no client can exclude: a put that is repeated after a lost connection may reach the server twice, the first copy late. If
//! another write of the same key comes in between, the late copy overwrites it. Keys that several writers share are better
//! written under a condition, which the client never repeats unless it is safe.
//!
//! A call may be dropped at any time (in a `select`, by a timeout of the caller's own). If its request had not begun to be sent, it
//! never is; otherwise it may be carried out, and the answer is dropped.
//!
//! # Order
//!
//! Requests that are awaited one after the other take effect in that order. Requests that are in flight together may take effect
//! in any order, on one key too if the client has several connections.

mod batch;
#[cfg(feature = "blocking")]
pub mod blocking;
mod call;
mod client;
mod connection;
mod edits;
mod error;
mod keyspace;
mod limits;
mod pool;
mod reply;
mod retry;
mod scan;
mod value;

pub use batch::{AtomicOutcome, BatchOp, BatchResult, FailedOperation};
pub use bytes::Bytes;
pub use client::{Client, ClientBuilder, Route};
pub use corduroy_proto_wire::{HelloReply, KeyspaceInfo, Status};
pub use error::{ConnectError, Error, LimitError, LostReason, Outcome, ProtocolError, Result};
pub use keyspace::Keyspace;
pub use retry::RetryPolicy;
pub use scan::{Cursor, CursorParseError, Scan, ScanEntry};
pub use value::{
    Appended, Condition, Counter, DeleteOptions, DeleteOutcome, ExpireOutcome, Expiry,
    ExpiryCondition, FloatSum, PutOptions, PutOutcome, Versioned, Written,
};
