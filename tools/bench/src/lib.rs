//! `corduroy-bench`: how a key-value server behaves under a load that one can describe, told so that one can trust it.
//!
//! - [`workload`]: what is asked. Keys, values, the mix of operations, and when each is meant to start. Pure: the same seed asks the same.
//! - [`protocol`]: how it is said. Corduroy's native protocol, RESP, memcached's text. Bytes in, bytes out; and how a
//!   server is greeted and asked about itself.
//! - [`engine`]: the threads, sockets and slots that carry it out, at the times that were meant, and [`measure`]: what they note down. The hot path.
//! - [`session`]: a server that was met. [`scenario`]: a workload against it.
//! - [`results`]: what came out, as values that are written as JSON.
//! - [`report`]: what is made of them: tables, plots, pages, comparisons, verdicts. Pure: a report in, text out.

pub mod cli;
pub mod commands;
pub mod engine;
pub mod measure;
pub mod protocol;
pub mod report;
pub mod results;
pub mod scenario;
pub mod session;
pub mod workload;
