//! What Corduroy's speed is measured with, until the load generator has all that it needs.
//!
//! Four things live here, most with a program of its own:
//!
//! - [`drive`]: a closed-loop driver. One thread on one core keeps a fixed number of requests in flight on each of a fixed
//!   number of connections, checks every reply, and sets the replies against the CPU time that the *server* used.
//! - [`burst`]: gets that wait in a stopped server's sockets until it goes on: what its cores do where there is no core for a client.
//! - [`echo`]: servers that do nothing but return the frames that they receive, on glommio and on plain epoll. No store on
//!   the same runtime can be faster, so they are the floor that a store is measured against.
//! - [`compare`]: starts Corduroy, Redis, memcached and the floor on one core, drives them from another, turn and turn about,
//!   and prints which of the promised ratios hold.
//!
//! A fourth, `resp_parse`, has no server: it measures the parser of Redis clients' commands against the crate that one would use instead (`docs/decisions/0020-resp-parser.md`).
//!
//! **Why ratios, and why CPU time.** The machines on which this runs drift, up to fourfold from hour to hour. A single figure
//! says little there; the ratio of two servers that were measured in turns within a minute says much. And where one core
//! serves and one core asks, requests per second show the slower of the two; requests per second *of server CPU* show the
//! server even where the client is the limit.
pub mod affinity;
pub mod burst;
pub mod compare;
pub mod drive;
pub mod echo;
pub mod process;
