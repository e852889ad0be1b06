//! The ports of one shard over glommio: what the driver calls becomes system calls, messages to the log's threads, and tasks.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use corduroy_proto_wire::RequestId;
use flume::Sender;

use super::backup::{BackupAsk, BackupDesk};
use super::clock::SystemClock;
use super::connection::{self, Arrival, Socket};
use super::core::Core;
use super::files::Files;
use super::mesh::MeshEnds;
use super::preparer::{Background, Preparation, Preparer, Removing};
use super::readiness::Readiness;
use super::turn::yield_once;
use super::watchdog::Pulse;
use super::writer::LogWriter;
use crate::ports::{
    BackupProgress, Backups, Clock, ConnectionId, Mesh, Net, NoBackup, ProcessFigures, Surroundings,
};
use crate::runtime::driver::MeshBatch;
use crate::storage::buffer::{LargeBuffer, Memory, Reaper};
use crate::storage::disk::{Disk, DiskOperation, DiskOutcome, DiskTicket};
use crate::types::{Now, ShardId};

/// The ports of one shard over glommio.
pub(super) struct GlommioPorts {
    pub(super) core: Weak<Core>,
    pub(super) clock: SystemClock,
    pub(super) files: Rc<Files>,
    pub(super) reaper: Reaper,
    pub(super) writer: LogWriter,
    pub(super) preparer: Preparer,
    pub(super) readiness: Rc<RefCell<Readiness>>,
    pub(super) backup_desk: Option<BackupDesk>,
    pub(super) first_segment: Option<Sender<io::Result<()>>>,
    /// By the connection's slot.
    pub(super) sockets: Vec<Option<(u32, Rc<Socket>)>>,
    pub(super) mesh: MeshEnds,
    pub(super) peers: Vec<Sender<Arrival>>,
    pub(super) pulses: Vec<Arc<Pulse>>,
}

impl fmt::Debug for GlommioPorts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("GlommioPorts").finish_non_exhaustive()
    }
}

impl GlommioPorts {
    pub(super) fn attach(&mut self, id: ConnectionId, socket: Rc<Socket>) {
        let slot = id.slot as usize;
        if slot >= self.sockets.len() {
            self.sockets.resize_with(slot + 1, || None);
        }
        self.sockets[slot] = Some((id.generation, socket));
    }

    pub(super) fn detach(&mut self, id: ConnectionId) -> Option<Rc<Socket>> {
        let place = self.sockets.get_mut(id.slot as usize)?;
        match place {
            Some((generation, _)) if *generation == id.generation => {
                place.take().map(|(_, socket)| socket)
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn socket(&self, id: ConnectionId) -> Option<&Rc<Socket>> {
        match self.sockets.get(id.slot as usize) {
            Some(Some((generation, socket))) if *generation == id.generation => Some(socket),
            _ => None,
        }
    }

    /// Closes a socket so that the last word on it arrives.
    fn say_farewell(&self, socket: Rc<Socket>) {
        if self.readiness.borrow().remove(&*socket).is_ok() {
            glommio::spawn_local(connection::linger(self.core(), socket)).detach();
        }
    }

    fn core(&self) -> Rc<Core> {
        self.core
            .upgrade()
            .expect("ports are called by the driver, which the core owns")
    }
}

impl Surroundings for GlommioPorts {
    fn addresses(&self, id: ConnectionId) -> Option<(SocketAddr, SocketAddr)> {
        let socket = self.socket(id)?;
        let peer = rustix::net::getpeername(&**socket).ok()??;
        let local = rustix::net::getsockname(&**socket).ok()?;
        Some((
            SocketAddr::try_from(peer).ok()?,
            SocketAddr::try_from(local).ok()?,
        ))
    }

    fn process(&self) -> ProcessFigures {
        super::process::figures()
    }
}

impl Backups for GlommioPorts {
    fn back_up(
        &mut self,
        client: ConnectionId,
        request: RequestId,
        series: &str,
    ) -> Result<(), NoBackup> {
        let desk = self.backup_desk.as_ref().ok_or(NoBackup::NoDirectory)?;
        desk.ask(BackupAsk {
            shard: desk.shard,
            client,
            request,
            series: series.to_owned(),
        })
    }

    fn backup_progress(&self) -> Option<BackupProgress> {
        self.backup_desk.as_ref()?.progress()
    }
}

impl Clock for GlommioPorts {
    #[inline]
    fn now(&self) -> Now {
        self.clock.now()
    }
}

impl Disk for GlommioPorts {
    fn submit(&mut self, ticket: DiskTicket, operation: DiskOperation) -> Option<DiskOutcome> {
        match operation {
            DiskOperation::Write { .. } | DiskOperation::Sync { .. } => {
                return self.writer.submit(ticket, operation);
            }
            DiskOperation::Prepare {
                segment,
                len,
                header,
                memory,
                zeros,
            } => self.preparer.prepare(Preparation {
                ticket,
                segment,
                len,
                header,
                memory,
                zeros,
                told: self.first_segment.take(),
            }),
            DiskOperation::Summarize {
                segment,
                end,
                identifier,
            } => {
                let summarize = Background::Summarize {
                    segment,
                    end,
                    identifier,
                };
                self.preparer.background(ticket, summarize);
            }
            DiskOperation::Load(place) => {
                self.preparer.background(ticket, Background::Load(place));
            }
            DiskOperation::Remove {
                stub,
                header,
                delete,
            } => self.preparer.remove(Removing {
                ticket,
                stub,
                header,
                delete,
            }),
            DiskOperation::Release(retired) => self.preparer.release(retired),
            DiskOperation::Read {
                segment,
                offset,
                len,
            } => {
                let files = Rc::clone(&self.files);
                let core = self.core();
                glommio::spawn_local(async move {
                    // A spawned task runs at once, and this is the driver's call: it must be over before its completion can come.
                    core.reads.set(core.reads.get() + 1);
                    yield_once().await;
                    let outcome = files.read(segment, offset, len).await;
                    core.reads.set(core.reads.get() - 1);
                    core.disk_completed(ticket, outcome);
                })
                .detach();
            }
        }
        None
    }
}

impl Memory for GlommioPorts {
    fn large_buffer(&mut self, capacity: usize) -> io::Result<LargeBuffer> {
        let buffer = LargeBuffer::new(capacity)?;
        Ok(buffer.reaped_by(Arc::clone(&self.reaper)))
    }
}

impl Net for GlommioPorts {
    #[inline]
    fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> io::Result<usize> {
        let socket = self.socket(id).ok_or(io::ErrorKind::NotConnected)?;
        let sent = socket.send(bytes)?;
        if sent < bytes.len() {
            socket.ask(&self.readiness.borrow(), id, |interest| {
                interest.write = true;
            });
        }
        Ok(sent)
    }

    fn resume(&mut self, id: ConnectionId) {
        if let Some(socket) = self.socket(id) {
            socket.ask(&self.readiness.borrow(), id, |interest| {
                interest.read = true;
            });
        }
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(socket) = self.detach(id) {
            self.say_farewell(socket);
        }
    }

    fn hand_over(&mut self, id: ConnectionId, to: ShardId, received: Vec<u8>) {
        let Some(socket) = self.detach(id) else {
            return;
        };
        let handed_over = socket.hand_over(&self.readiness.borrow());
        match handed_over {
            Ok((descriptor, mut seat)) => {
                seat.move_to(to);
                let arrival = Arrival {
                    socket: descriptor,
                    seat,
                    received,
                };
                // A shard that takes no arrivals is one whose process is about to end.
                let _ = self.peers[to.index()].send(arrival);
                self.pulses[to.index()].sent_to();
            }
            Err(error) => {
                tracing::warn!(%error, "can't hand a connection to another shard; it is closed");
                self.say_farewell(socket);
            }
        }
    }
}

impl Mesh<MeshBatch> for GlommioPorts {
    fn send(&mut self, to: ShardId, batch: MeshBatch) -> Result<(), MeshBatch> {
        self.mesh.send(to, batch)?;
        self.pulses[to.index()].sent_to();
        Ok(())
    }
}
