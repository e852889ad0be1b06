//! The driver's side of a simulated world.
//!
//! A port never calls back, so these only note down what the driver wants. The world takes the notes after each call of the driver
//! and turns them into events. What a call has to answer at once (the time, how much a socket takes, whether a channel has room) lies
//! here, and the world keeps it up to date.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use corduroy_proto_wire::RequestId;

use super::random::Random;
use crate::ports::{
    BackupProgress, Backups, Clock, ConnectionId, Mesh, Net, NoBackup, ProcessFigures, Surroundings,
};
use crate::runtime::driver::MeshBatch;
use crate::storage::buffer::LargeBuffer;
use crate::storage::buffer::Memory;
use crate::storage::disk::{Disk, DiskDone, DiskOperation, DiskOutcome, DiskTicket};
use crate::types::{Now, SegmentId, ShardId};

/// What the driver did.
#[derive(Debug)]
pub(super) enum Effect {
    Submit(DiskTicket, DiskOperation),
    /// A block was written at once.
    Written(SegmentId, u64, Vec<u8>),
    Send(ConnectionId, Vec<u8>),
    Resume(ConnectionId),
    Close(ConnectionId),
    HandOver(ConnectionId, ShardId, Vec<u8>),
    Mesh(ShardId, MeshBatch),
}

/// A socket's side of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket {
    /// Bytes that it would take.
    pub(super) room: usize,
    /// The last send was not taken whole: the driver is owed a `writable`.
    pub(super) is_blocked: bool,
}

/// The ports of one shard in a simulated world.
#[derive(Debug)]
pub(super) struct SimPorts {
    pub(super) now: Now,
    pub(super) effects: Vec<Effect>,
    pub(super) sockets: BTreeMap<ConnectionId, Socket>,
    /// Room of the channel to each shard, in batches.
    pub(super) channels: Vec<usize>,
    /// Shards to which a batch was refused.
    pub(super) refused: Vec<ShardId>,
    /// Of the blocks that are not to be synced, those that are written at once.
    write_behind_percent: u64,
    random: Random,
}

impl SimPorts {
    pub(super) fn new(
        shard_count: u16,
        channel_room: usize,
        write_behind_percent: u64,
        random: Random,
    ) -> SimPorts {
        SimPorts {
            now: Now::default(),
            effects: Vec::new(),
            sockets: BTreeMap::new(),
            channels: vec![channel_room; usize::from(shard_count)],
            refused: Vec::new(),
            write_behind_percent,
            random,
        }
    }
}

impl Backups for SimPorts {
    fn back_up(&mut self, _: ConnectionId, _: RequestId, _: &str) -> Result<(), NoBackup> {
        Err(NoBackup::NoDirectory)
    }

    fn backup_progress(&self) -> Option<BackupProgress> {
        None
    }
}

impl Surroundings for SimPorts {
    fn addresses(&self, _: ConnectionId) -> Option<(SocketAddr, SocketAddr)> {
        None
    }

    fn process(&self) -> ProcessFigures {
        ProcessFigures::default()
    }
}

impl Clock for SimPorts {
    fn now(&self) -> Now {
        self.now
    }
}

impl Memory for SimPorts {
    fn large_buffer(&mut self, capacity: usize) -> io::Result<LargeBuffer> {
        LargeBuffer::new(capacity)
    }
}

impl Disk for SimPorts {
    /// Of the blocks that are not to be synced, some are written at once.
    fn submit(&mut self, ticket: DiskTicket, mut operation: DiskOperation) -> Option<DiskOutcome> {
        match &mut operation {
            DiskOperation::Release(_) => return None,
            DiskOperation::Write {
                segment,
                offset,
                block,
                sync: false,
            } if !block.has_large_values() && self.random.percent(self.write_behind_percent) => {
                let bytes = block.parts().flatten().copied().collect();
                let block = std::mem::take(block);
                self.effects.push(Effect::Written(*segment, *offset, bytes));
                return Some(Ok(DiskDone::Written(block)));
            }
            _ => {}
        }
        self.effects.push(Effect::Submit(ticket, operation));
        None
    }
}

impl Net for SimPorts {
    fn send(&mut self, connection: ConnectionId, bytes: &[u8]) -> io::Result<usize> {
        let Some(socket) = self.sockets.get_mut(&connection) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut taken = bytes.len().min(socket.room);
        if taken > 1 && self.random.one_in(8) {
            taken = 1 + self.random.index(taken - 1);
        }
        socket.room -= taken;
        socket.is_blocked = taken < bytes.len();
        self.effects
            .push(Effect::Send(connection, bytes[..taken].to_vec()));
        Ok(taken)
    }

    fn resume(&mut self, connection: ConnectionId) {
        self.effects.push(Effect::Resume(connection));
    }

    fn close(&mut self, connection: ConnectionId) {
        self.sockets.remove(&connection);
        self.effects.push(Effect::Close(connection));
    }

    fn hand_over(&mut self, connection: ConnectionId, to: ShardId, received: Vec<u8>) {
        self.sockets.remove(&connection);
        self.effects
            .push(Effect::HandOver(connection, to, received));
    }
}

impl Mesh<MeshBatch> for SimPorts {
    fn send(&mut self, to: ShardId, batch: MeshBatch) -> Result<(), MeshBatch> {
        let room = &mut self.channels[to.index()];
        if *room == 0 {
            self.refused.push(to);
            return Err(batch);
        }
        *room -= 1;
        self.effects.push(Effect::Mesh(to, batch));
        Ok(())
    }
}
