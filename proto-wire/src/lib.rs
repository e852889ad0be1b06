//! Corduroy's native wire protocol: a pure codec.
pub mod message;
pub use message::*;

/// Largest time to live, in milliseconds: a hundred years.
pub const TTL_MS_MAX: u64 = 100 * 365 * 24 * 3600 * 1000;
