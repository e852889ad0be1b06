//! Front doors: bytes in, commands out; replies in, bytes out. No I/O.
//!
//! A connection's first bytes say which protocol it speaks. The native one opens with a preamble that no RESP client sends.

pub mod native;
pub mod resp;
