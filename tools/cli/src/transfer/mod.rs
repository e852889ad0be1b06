//! Import and export: files in and out, at the speed of the connection, and resumable.
//!
//! ```text
//! import   file ── reader (own thread: lines, parsing) ──parcels──▶ sender (many requests in flight)
//!                                                                     │ acknowledged
//!          state file ◀── checkpoint ◀── watermark: everything before this byte is acknowledged
//!
//! export   scan pages ──▶ lines ──▶ file ──▶ fdatasync ──▶ checkpoint (cursor, length) ──▶ state file
//! ```
//!
//! Both keep one promise: **what the state file says is true at whatever moment the process dies**. An import's
//! state names an offset before which every line was acknowledged by the server; what lies after it may have been done too,
//! and is done again, which changes nothing because puts are idempotent and lines of the same key are sent in the
//! order of the file. An export's state names a length of the file that is on disk and the cursor that goes on from there; what
//! the file holds beyond that length is cut off on resuming, and the scan repeats it.

pub(crate) mod cursor;
pub(crate) mod record;
