//! A thin client for Corduroy.
//!
//! ```no_run
//! use corduroy_client::{Client, Condition, PutOptions, PutOutcome};
//! use std::time::Duration;
//!
//! # async fn example() -> corduroy_client::Result<()> {
//! let client = Client::connect("127.0.0.1:7379").await?;
//! let keyspace = client.default_keyspace();
//!
//! keyspace.put("user:1", "Ada").await?;
//! if let Some(user) = keyspace.get("user:1").await? {
//!     println!("{:?} at version {}", user.value, user.version);
//! }
//! # Ok(())
//! # }
//! ```

mod batch;
mod call;
mod client;
mod connection;
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
    Appended, Condition, Counter, DeleteOptions, DeleteOutcome, PutOptions, PutOutcome, Versioned,
    Written,
};
