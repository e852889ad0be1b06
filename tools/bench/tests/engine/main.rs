//! The engine against servers that misbehave on purpose, over real sockets on loopback.

mod closed_loop;
mod common;
mod faults;
mod journal;
mod open_loop;
