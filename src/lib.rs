//! Corduroy: a durable key-value store in which each core owns a shard with its own append-only log and in-memory index.
//!
//! Layers, top to bottom; imports point down only (`cargo xtask layers` holds this):
//! `server` → `runtime` → `gateway`, `shard` → `storage` → `ports`, `types`, `limits`.
//! Only `runtime` does I/O; everything below it takes time, bytes and completions as arguments and gives back values.

pub mod gateway;
pub mod limits;
pub mod ports;
pub mod runtime;
pub mod server;
pub mod shard;
pub mod storage;
pub mod types;
