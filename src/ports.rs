//! The traits through which a driver reaches the world, and the values that cross them.
//!
//! Everything above (`storage`, `shard`, `gateway`) computes; everything that waits is behind one of these. They are tiny on
//! purpose: each has a real implementation (`runtime::glommio`) and a faulty one (`runtime::sim`), and the driver in
//! `runtime::driver` can't tell which it runs on.
//!
//! The direction is always the same: the driver *submits* through a port and never waits; the runtime later calls the driver
//! with the outcome (`received`, `mesh_received`, `disk_completed`, `writable`). A port never calls back from inside a call.

use std::io;

use bytes::Bytes;

use crate::storage::buffer::LargeBuffer;
use crate::storage::log::{OutgoingBlock, Retired, SegmentMemory};
use crate::types::{Now, SegmentId, ShardId};

/// One connection of one shard: a slot and how often the slot was used before, so that a late answer to a connection that is
/// gone never reaches its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Index into the shard's table of connections.
    pub slot: u32,
    /// Grows with every use of the slot.
    pub generation: u32,
}

/// Names one submitted disk operation; unique in a shard for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiskTicket(pub u64);

/// Something to be done with a segment file.
#[derive(Debug)]
pub enum DiskOperation {
    /// Makes the file, writes `header` at its start, makes the rest read as zeros up to `len` bytes, syncs file and directory.
    /// When it succeeds, all of that is durable.
    Prepare {
        /// The new segment.
        segment: SegmentId,
        /// The file's whole length in bytes.
        len: u64,
        /// Its first bytes.
        header: Vec<u8>,
        /// Memory for what goes into it, if there is some to use again; else new memory is made, and populated.
        memory: Option<SegmentMemory>,
        /// Whether zeros are written over the file's space, not only reserved: an fdatasync of later writes is then faster.
        zeros: bool,
    },
    /// Writes all of `block` at `offset`; then, if `sync`, waits for an fdatasync.
    Write {
        /// The segment.
        segment: SegmentId,
        /// In bytes from the start of the file.
        offset: u64,
        /// What to write; to be sealed first.
        block: OutgoingBlock,
        /// Whether to sync the file before the operation completes.
        sync: bool,
    },
    /// Waits for an fdatasync of everything written to the segment before this was submitted.
    Sync {
        /// The segment.
        segment: SegmentId,
    },
    /// Reads `len` bytes at `offset` (fewer only at the end of the file).
    Read {
        /// The segment.
        segment: SegmentId,
        /// In bytes from the start of the file.
        offset: u64,
        /// How many bytes.
        len: usize,
    },
    /// Gives memory back to the kernel, where that holds nobody up. Nothing comes back.
    Release(Vec<Retired>),
}

/// What a disk operation that succeeded gives back.
#[derive(Debug)]
pub enum DiskDone {
    /// A segment is prepared; the memory for its content.
    Prepared(SegmentMemory),
    /// A segment is synced.
    Synced,
    /// The block that was written, sealed.
    Written(OutgoingBlock),
    /// What was read.
    Read(Bytes),
}

impl DiskDone {
    /// What a read brought.
    ///
    /// # Panics
    /// If it was no read: the port mixed up its operations.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            DiskDone::Read(bytes) => bytes,
            other => unreachable!("a read does not end with {other:?}"),
        }
    }
}

/// How a disk operation ended.
pub type DiskOutcome = Result<DiskDone, io::Error>;

/// Memory for large things.
pub trait Memory {
    /// A buffer for `capacity` bytes, which costs nothing to drop.
    ///
    /// # Errors
    /// When the kernel refuses the memory.
    fn large_buffer(&mut self, capacity: usize) -> io::Result<LargeBuffer>;
}

/// Time.
pub trait Clock {
    /// Both clocks. The driver reads them once a turn.
    fn now(&self) -> Now;
}

/// The shard's segment files.
pub trait Disk {
    /// Starts an operation; its outcome comes back as `disk_completed(ticket, …)`, in any order.
    fn submit(&mut self, ticket: DiskTicket, operation: DiskOperation);
}

/// The shard's client connections.
pub trait Net {
    /// Sends what the connection takes at once and says how much that was. If it was not all, the runtime calls
    /// `writable(connection)` once there is room again. An error means that the connection is dead.
    fn send(&mut self, connection: ConnectionId, bytes: &[u8]) -> io::Result<usize>;

    /// Goes on reading from a connection for which `received` answered `Flow::Pause`.
    fn resume(&mut self, connection: ConnectionId);

    /// Closes a connection. The driver has forgotten it already; `closed` is not called for it.
    fn close(&mut self, connection: ConnectionId);

    /// Gives the connection to another shard of the node with the bytes that came in so far. The driver has forgotten it.
    fn hand_over(&mut self, connection: ConnectionId, to: ShardId, received: Vec<u8>);
}

/// The channels to the other shards of the node.
pub trait Mesh<Batch> {
    /// Sends a batch if the channel has room, else gives it back. The runtime calls `mesh_ready(to)` once there is room again.
    fn send(&mut self, to: ShardId, batch: Batch) -> Result<(), Batch>;
}
