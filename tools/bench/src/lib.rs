//! `corduroy-bench`: how a key-value server behaves under a load that one can describe, told so that one can trust it.
//!
//! - [`workload`]: what is asked. Keys, values, the mix of operations, and when each is meant to start. Pure: the same seed asks the same.
//! - [`protocol`]: how it is said. Corduroy's native protocol, RESP, memcached's text. Bytes in, bytes out; and how a
//!   server is greeted and asked about itself.
//! - [`results`]: what came out, as values that are written as JSON, and what is derived of them.

pub mod protocol;
pub mod results;
pub mod workload;
