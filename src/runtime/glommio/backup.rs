//! The executor's end of backups: one thread of the node takes them (`server::backup`), and talks with the executors over these channels.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use corduroy_proto_wire::RequestId;
use flume::{Receiver, Sender, TrySendError};

use super::ports::GlommioPorts;
use super::watchdog::Pulse;
use crate::ports::{BackupProgress, ConnectionId, NoBackup};
use crate::runtime::driver::Driver;
use crate::shard::backup::ShardPoint;
use crate::types::ShardId;

/// Who asks for a backup.
#[derive(Debug)]
pub struct BackupAsk {
    /// The shard of the client's connection.
    pub shard: ShardId,
    /// The connection.
    pub client: ConnectionId,
    /// The client's number for the request.
    pub request: RequestId,
    /// Which series it is to belong to; empty for the default.
    pub series: String,
}

/// What the node asks of a shard.
#[derive(Debug)]
pub enum BackupOrder {
    /// Name a point, and hold what is below.
    Begin(Sender<Result<ShardPoint, String>>),
    /// Let go.
    End,
    /// Answer a client.
    Answer {
        /// The connection.
        client: ConnectionId,
        /// The client's number for the request.
        request: RequestId,
        /// What is told of the backup, or why there is none.
        outcome: Result<String, String>,
    },
}

/// The node's end of the way to a shard.
#[derive(Clone, Debug)]
pub struct BackupLine {
    orders: Sender<BackupOrder>,
    pulse: Arc<Pulse>,
}

impl BackupLine {
    /// The way to one shard, and the shard's end of it.
    #[must_use]
    pub fn new(pulse: Arc<Pulse>) -> (BackupLine, Receiver<BackupOrder>) {
        let (orders, ordered) = flume::unbounded();
        (BackupLine { orders, pulse }, ordered)
    }

    /// Sends an order.
    pub fn order(&self, order: BackupOrder) {
        // A shard that takes no orders is one whose process is about to end.
        let _ = self.orders.send(order);
        self.pulse.sent_to();
    }
}

/// How far the backup is that is being taken. Written by the node's thread, read by the executors.
#[derive(Debug, Default)]
pub struct BackupGauge {
    is_running: AtomicBool,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
}

impl BackupGauge {
    /// A backup begins.
    pub fn begin(&self) {
        self.bytes_done.store(0, Ordering::Relaxed);
        self.bytes_total.store(0, Ordering::Relaxed);
        self.is_running.store(true, Ordering::Relaxed);
    }

    /// Its files have so many bytes.
    pub fn total(&self, bytes: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// So many more are done.
    pub fn add(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It is over.
    pub fn end(&self) {
        self.is_running.store(false, Ordering::Relaxed);
    }

    fn progress(&self) -> Option<BackupProgress> {
        let is_running = self.is_running.load(Ordering::Relaxed);
        is_running.then(|| BackupProgress {
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_total: self.bytes_total.load(Ordering::Relaxed),
        })
    }
}

/// The way to the thread that takes backups.
#[derive(Clone, Debug)]
pub struct BackupDesk {
    /// Whose it is.
    pub shard: ShardId,
    /// Bounded: who comes when it is full is refused.
    pub asks: Sender<BackupAsk>,
    /// How far it is.
    pub gauge: Arc<BackupGauge>,
}

impl BackupDesk {
    pub(super) fn ask(&self, ask: BackupAsk) -> Result<(), NoBackup> {
        self.asks.try_send(ask).map_err(|error| match error {
            TrySendError::Full(_) => NoBackup::Busy,
            TrySendError::Disconnected(_) => NoBackup::NoDirectory,
        })
    }

    pub(super) fn progress(&self) -> Option<BackupProgress> {
        self.gauge.progress()
    }
}

/// One executor's part.
#[derive(Debug)]
pub(super) struct BackupInlet {
    pub(super) orders: Receiver<BackupOrder>,
    /// Who waits for the shard's point.
    asked: RefCell<Option<Sender<Result<ShardPoint, String>>>>,
}

impl BackupInlet {
    pub(super) fn new(orders: Receiver<BackupOrder>) -> BackupInlet {
        BackupInlet {
            orders,
            asked: RefCell::new(None),
        }
    }

    pub(super) fn ordered(&self, driver: &mut Driver<GlommioPorts>, order: BackupOrder) {
        match order {
            BackupOrder::Begin(to) => {
                driver.begin_backup();
                self.asked.replace(Some(to));
            }
            BackupOrder::End => {
                driver.end_backup();
                self.asked.replace(None);
            }
            BackupOrder::Answer {
                client,
                request,
                outcome,
            } => driver.backup_done(client, request, &outcome),
        }
    }

    /// After each turn.
    #[inline]
    pub(super) fn turn_ended(&self, driver: &mut Driver<GlommioPorts>) {
        let mut asked = self.asked.borrow_mut();
        if asked.is_some()
            && let Some(point) = driver.backup_point()
            && let Some(to) = asked.take()
        {
            // Whoever asked may have given up: an end follows.
            let _ = to.send(point);
        }
    }
}
