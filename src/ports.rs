//! The traits through which a driver reaches the world, and the values that cross them. Two more stand beside what they are about: the disk's
//! (`storage::disk`, whose operations carry the log's own values) and the one for large memory (`storage::buffer`).
//!
//! Everything above (`storage`, `shard`, `gateway`) computes; everything that waits is behind one of these. They are tiny on
//! purpose: each has a real implementation (`runtime::glommio`) and a faulty one (`runtime::sim`), and the driver in
//! `runtime::driver` can't tell which it runs on.
//!
//! The direction is always the same: the driver *submits* through a port and never waits; the runtime later calls the driver
//! with the outcome (`received`, `mesh_received`, `disk_completed`, `writable`). A port never calls back from inside a call.

use std::io;
use std::net::SocketAddr;

use corduroy_proto_wire::RequestId;

use crate::types::{Now, ShardId};

/// One connection of one shard: a slot and how often the slot was used before, so that a late answer to a connection that is
/// gone never reaches its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Index into the shard's table of connections.
    pub slot: u32,
    /// Grows with every use of the slot.
    pub generation: u32,
}

/// Time.
pub trait Clock {
    /// Both clocks. The driver reads them once a turn.
    fn now(&self) -> Now;
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

/// What an operator asks about process and connections. Not on any request's path.
pub trait Surroundings {
    /// The client's address and the one that it connected to, if the connection is there.
    fn addresses(&self, connection: ConnectionId) -> Option<(SocketAddr, SocketAddr)>;

    /// What the process uses.
    fn process(&self) -> ProcessFigures;
}

/// What the process uses, as the kernel counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Memory, in bytes.
    pub resident_bytes: u64,
    /// The most of it so far.
    pub resident_bytes_max: u64,
    /// Memory of the machine, in bytes.
    pub machine_bytes: u64,
    /// Processor time outside the kernel, in microseconds.
    pub cpu_user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub cpu_system_us: u64,
}

/// Who takes backups of the node.
pub trait Backups {
    /// Has a backup taken. Its outcome comes back as `backup_done(connection, request, …)`.
    ///
    /// # Errors
    /// [`NoBackup`]: nothing comes back then.
    fn back_up(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        series: &str,
    ) -> Result<(), NoBackup>;

    /// How far the backup is that is being taken.
    fn backup_progress(&self) -> Option<BackupProgress>;
}

/// Why no backup is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBackup {
    /// The node is not told where to.
    NoDirectory,
    /// Too many wait for their turn.
    Busy,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupProgress {
    /// Bytes of files that are in it, linked, copied and checked.
    pub bytes_done: u64,
    /// Bytes of all its files; 0 until the points are known.
    pub bytes_total: u64,
}
