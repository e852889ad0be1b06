//! Compaction: giving back the space of what was overwritten and deleted, while the shard serves.
//!
//! One segment at a time, the **victim**, is gone over from its first block to its last. What lives in it is logged again at the log's end, as it
//! is: same version, expiry and timestamp. When all of that is on disk, the segment is removed. Two things here decide, and do nothing:
//!
//! - `policy`: which segment is worth it, and how much of the shard's work may go into it;
//! - `walk`: record by record through a segment's blocks, in slices, from memory or from what was read of the file.
//!
//! The shard's `compact` carries it out.
//!
//! # What may go, and what may not
//!
//! Recovery reads the log from its start, and *the highest version of a key wins*. So a record may go once something newer of its key stays.
//! Three kinds of records say something for which that is not enough:
//!
//! - **A delete** hides every older record of its key, wherever that is. All of those lie below the position at which it was first written: a
//!   record is copied only while it lives, and then its copy, too, lies before the delete. So a delete may go when nothing of the log is left
//!   below that position but the victim itself. Until then it is copied, and the copy says where it was first written (its *origin*).
//! - **A clear** is a delete of a whole partition.
//! - **A set whose time has passed** hides older ones without an expiry. When it goes a delete of the same version takes its place, with its
//!   position as origin, under the same rule.
//!
//! Two things a start takes as a maximum over the whole log, and they must not sink when a record goes. Which **versions** were given the stub says
//! that stands for the segment. Which **time** the clock has shown every block says, as far as it was known by then: so the newest one does.
//!
//! `docs/on-disk-format.md` argues each crash.

mod policy;
mod walk;

pub use policy::{Pace, Totals, choose, pace};
pub use walk::{Step, Walk, Window};
