//! What the tasks of one executor share: the driver and the signal that a turn is to end.
//!
//! Each task borrows the driver for a moment and never across an await. The tasks are, for a shard:
//!
//! | task | waits for | calls |
//! |---|---|---|
//! | reader | bytes on, or room in, any connection (`readiness`) | `received`, `writable`, `closed` |
//! | one a cold read | its completion | `disk_completed` |
//! | one a peer | a batch on the mesh | `mesh_received` |
//! | arrivals | a connection from the acceptor or another shard | `opened` |
//! | turn | something that any of the others delivered | `end_turn` |
//! | alarm | the deadline of the last turn | |
//! | orders | the node's word to stop | `drain`, `seal` |
//! | backups | the thread that takes backups | `begin_backup`, `end_backup`, `backup_done` |

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use flume::{Receiver, Sender};
use glommio::timer::Timer;

use super::backup::{BackupDesk, BackupInlet, BackupOrder};
use super::clock::SystemClock;
use super::coalescing::{self, Coalescing};
use super::connection::{Arrival, Received, Socket};
use super::files::Files;
use super::inlets::Inlets;
use super::mesh::MeshEnds;
use super::ports::GlommioPorts;
use super::preparer::Preparer;
use super::readiness::{self, Nap, Readiness, Ready};
use super::state::{Order, ShardState};
use super::turn::{Alarm, Signal, yield_once};
use super::watchdog::Pulse;
use super::writer::{Completion, LogWriter};
use crate::limits;
use crate::ports::Clock;
use crate::runtime::driver::{Driver, DriverConfig, Flow, MeshBatch};
use crate::shard::Shard;
use crate::storage::disk::{DiskOutcome, DiskTicket};
use crate::types::{MonoNanos, ShardId};

/// One executor's shared state.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) driver: RefCell<Driver<GlommioPorts>>,
    /// Given when a turn is to end.
    turn: Signal,
    /// Something was delivered to the driver since the last turn ended.
    delivered: Cell<bool>,
    /// A turn has ended, and the next is due once everything else has run.
    goes_on: Cell<bool>,
    /// Reads that io_uring has.
    pub(super) reads: Cell<usize>,
    /// Whether the reader may block the thread itself.
    naps: bool,
    /// What other shards have sent, and what the log writer has done: looked into whenever the executor looks for connections, because
    /// glommio looks at wakes from other threads only when it has nothing else to run.
    batches: Vec<(ShardId, Receiver<MeshBatch>)>,
    completions: Receiver<Completion>,
    /// Which connections have bytes or room.
    readiness: Rc<RefCell<Readiness>>,
    /// What connections receive into, one behind the other: a turn's bytes and the last one's slice.
    pub(super) scratch: RefCell<Box<[u8]>>,
    alarm: Alarm,
    clock: SystemClock,
    state: Arc<ShardState>,
    pub(super) backups: BackupInlet,
    pulse: Arc<Pulse>,
}

/// What an executor serves, and how it is connected to the rest of the node.
#[derive(Debug)]
pub struct Serving {
    /// The driver's settings.
    pub driver: DriverConfig,
    /// The recovered shard.
    pub shard: Shard,
    /// Its segments' directory.
    pub directory: std::path::PathBuf,
    /// The clock that all shards read.
    pub clock: SystemClock,
    /// Its ends of the mesh.
    pub mesh: MeshEnds,
    /// Connections for this shard.
    pub arrivals: Receiver<Arrival>,
    /// The ways to give a connection to a shard, by shard.
    pub peers: Vec<Sender<Arrival>>,
    /// The node's orders.
    pub orders: Receiver<Order>,
    /// What the node sees of this shard.
    pub state: Arc<ShardState>,
    /// What the watchdog sees of this executor, by shard.
    pub pulses: Vec<Arc<Pulse>>,
    /// Where the outcome of making the first segment goes.
    pub first_segment: Option<Sender<io::Result<()>>>,
    /// The way to who takes backups, if anybody does, and what that asks.
    pub backups: (Option<BackupDesk>, Receiver<BackupOrder>),
    /// What isn't to be synced may be written a little later than it is acknowledged.
    pub writes_behind: bool,
    /// The reader may block the thread itself when there is nothing to do: not where the executor is to spin.
    pub naps: bool,
    /// How long its executor rests between two looks at the connections while requests come densely; zero: never.
    pub coalesce: Duration,
}

impl Core {
    pub(super) fn new(
        serving: Serving,
        readiness: Readiness,
        (writer, preparer): (LogWriter, Preparer),
        completions: Receiver<Completion>,
    ) -> (Rc<Core>, Inlets) {
        let readiness = Rc::new(RefCell::new(readiness));
        let Serving {
            driver,
            shard,
            directory,
            clock,
            mut mesh,
            arrivals,
            peers,
            orders,
            state,
            pulses,
            first_segment,
            backups: (backup_desk, backup_orders),
            writes_behind: _,
            naps,
            coalesce: _,
        } = serving;
        let batches = mesh.take_receivers();
        let inlets = Inlets {
            batches: batches.clone(),
            completions: completions.clone(),
            arrivals,
            orders,
        };
        let pulse = Arc::clone(&pulses[driver.shard.index()]);
        let core = Rc::new_cyclic(|core| {
            let ports = GlommioPorts {
                core: Weak::clone(core),
                clock,
                files: Rc::new(Files::new(directory, preparer.reaper())),
                reaper: preparer.reaper(),
                writer,
                preparer,
                first_segment,
                backup_desk,
                readiness: Rc::clone(&readiness),
                sockets: Vec::new(),
                mesh,
                peers,
                pulses,
            };
            Core {
                driver: RefCell::new(Driver::new(driver, shard, ports)),
                turn: Signal::default(),
                readiness,
                batches,
                completions,
                delivered: Cell::new(false),
                goes_on: Cell::new(false),
                reads: Cell::new(0),
                naps,
                scratch: RefCell::new(
                    vec![0; limits::TURN_RECEIVE_BYTES + limits::RECEIVE_SLICE_BYTES]
                        .into_boxed_slice(),
                ),
                alarm: Alarm::new(Arc::clone(&pulse)),
                clock,
                state,
                backups: BackupInlet::new(backup_orders),
                pulse,
            }
        });
        (core, inlets)
    }

    /// Something was delivered to the driver: a turn ends once everything else that is ready has been, too.
    #[inline]
    pub(super) fn delivered(&self) {
        self.delivered.set(true);
        self.turn.give();
    }

    pub(super) fn disk_completed(&self, ticket: DiskTicket, outcome: DiskOutcome) {
        self.driver.borrow_mut().disk_completed(ticket, outcome);
        self.delivered();
    }

    /// Takes a connection in, if there is a place for it; else it is closed.
    pub(super) fn open(self: &Rc<Core>, arrival: Arrival) {
        let mut driver = self.driver.borrow_mut();
        let Some(id) = driver.opened() else {
            return;
        };
        let socket = Socket::new(arrival.socket, arrival.seat, id, &self.readiness.borrow());
        let socket = match socket {
            Ok(socket) => Rc::new(socket),
            Err(error) => {
                tracing::warn!(%error, "can't wait for a new connection; it is closed");
                driver.closed(id);
                return;
            }
        };
        driver.ports().attach(id, Rc::clone(&socket));
        if !arrival.received.is_empty() && driver.received(id, &arrival.received) == Flow::Pause {
            socket.ask(&self.readiness.borrow(), id, |interest| {
                interest.read = false;
            });
        }
        drop(driver);
        self.delivered();
    }

    /// Serves connections that are ready, for as long as the executor lives. While there is traffic this never sleeps: it looks, delivers, lets
    /// everything else run, the turn first, and looks again; after a rest, if that gathers more (`coalescing`).
    pub(super) async fn run_reader(&self, mut coalescing: Coalescing) {
        let mut ready = Vec::new();
        // Connections with more than one receive took.
        let mut again = Vec::new();
        coalescing.be_punctual();
        loop {
            self.take_from_threads();
            ready.append(&mut again);
            if ready.is_empty() && self.may_nap() {
                if self.nap(&mut ready) == Nap::Called && self.delivered.get() {
                    yield_once().await;
                    continue;
                }
                // What glommio must wake somebody for finds nothing ready, too.
            } else {
                let looked = self.readiness.borrow_mut().look(&mut ready);
                looked.unwrap_or_else(|error| blind(&error));
            }
            if ready.is_empty() {
                let set = self.readiness.borrow().duplicate();
                match set {
                    Ok(set) => readiness::wait(set).await,
                    // Out of descriptors: the set is looked at again in a moment.
                    Err(_) => {
                        Timer::new(Duration::from_nanos(limits::MESH_RETRY_NS)).await;
                    }
                }
                continue;
            }
            let rest = coalescing.looked(|| self.clock.mono(), ready.len() as u64);
            let (mut served, mut received) = (0, 0);
            while served < ready.len() {
                let (connections, bytes) = self.serve(&ready[served..], &mut again);
                served += connections;
                received += bytes;
                if received >= limits::TURN_RECEIVE_BYTES {
                    received = 0;
                    self.delivered();
                    yield_once().await;
                }
            }
            ready.clear();
            self.delivered();
            yield_once().await;
            // Whoever waits for the log would wait for the rest, too.
            if let Some(nanos) = rest
                && again.is_empty()
                && !self.driver.borrow().shard().has_block_in_flight()
            {
                coalescing.rested();
                coalescing::rest(nanos);
            }
        }
    }

    /// Whether no task of this executor is runnable, or soon will be by what only glommio sees.
    fn may_nap(&self) -> bool {
        let nap_ends = || MonoNanos(self.clock.mono().0 + limits::NAP_NS);
        self.naps
            && !self.turn.is_given()
            && !self.goes_on.get()
            && self.reads.get() == 0
            && self.alarm.is_after(nap_ends())
    }

    /// Blocks until something has come, for a moment at most, and takes what came from other threads.
    fn nap(&self, ready: &mut Vec<Ready>) -> Nap {
        self.pulse.naps(true);
        self.take_from_threads();
        let nap = match self.delivered.get() {
            true => Nap::Called,
            false => {
                let napped = self.readiness.borrow_mut().nap(ready);
                napped.unwrap_or_else(|error| blind(&error))
            }
        };
        self.pulse.naps(false);
        if nap == Nap::Called {
            self.take_from_threads();
        }
        nap
    }

    /// Takes what other threads have sent and what is there already.
    #[inline]
    fn take_from_threads(&self) {
        while let Ok((ticket, outcome)) = self.completions.try_recv() {
            self.disk_completed(ticket, outcome);
        }
        for (from, batches) in &self.batches {
            while let Ok(batch) = batches.try_recv() {
                self.driver.borrow_mut().mesh_received(*from, batch);
                self.delivered();
            }
        }
    }

    /// Serves the first of some connections: as many as are looked ahead for together, or fewer once a turn's bytes have come. Answers how many,
    /// and how many bytes they had sent. Those that may have sent more go to `again`.
    fn serve(&self, ready: &[Ready], again: &mut Vec<Ready>) -> (usize, usize) {
        let mut driver = self.driver.borrow_mut();
        let mut scratch = self.scratch.borrow_mut();
        let mut came = [None; limits::LOOK_AHEAD_FRAMES];
        let (mut served, mut end) = (0, 0);
        for (ready, came) in ready.iter().zip(&mut came) {
            served += 1;
            let id = ready.connection;
            let Some(socket) = driver.ports().socket(id).map(Rc::clone) else {
                continue;
            };
            if ready.write {
                socket.ask(&self.readiness.borrow(), id, |interest| {
                    interest.write = false;
                });
                driver.writable(id);
            }
            let received = if ready.read && socket.is_read() {
                socket.receive(&mut scratch[end..end + limits::RECEIVE_SLICE_BYTES])
            } else if ready.broken {
                Received::End
            } else {
                Received::Nothing
            };
            match received {
                Received::Bytes(len) => {
                    *came = Some((id, end, len));
                    end += len;
                    if ready.at_end || len == limits::RECEIVE_SLICE_BYTES {
                        again.push(Ready {
                            write: false,
                            ..*ready
                        });
                    }
                    if end >= limits::TURN_RECEIVE_BYTES {
                        break;
                    }
                }
                Received::Nothing => {}
                Received::End => {
                    driver.closed(id);
                    driver.ports().detach(id);
                }
            }
        }
        let came = || came.iter().flatten();
        // One alone would be looked up twice.
        if came().nth(1).is_some() {
            driver.foresee(came().map(|&(id, at, len)| (id, &scratch[at..at + len])));
        }
        for &(id, at, len) in came() {
            if driver.received(id, &scratch[at..at + len]) == Flow::Pause
                && let Some(socket) = driver.ports().socket(id).map(Rc::clone)
            {
                socket.ask(&self.readiness.borrow(), id, |interest| {
                    interest.read = false;
                });
            }
        }
        (served, end)
    }

    /// Ends turns for as long as the executor lives.
    pub(super) async fn run_turns(&self) {
        loop {
            self.turn.taken().await;
            if self.end_turn() {
                self.goes_on.set(true);
                yield_once().await;
                // The reader may be waiting for bytes meanwhile, and does not look then.
                self.take_from_threads();
                self.turn.give();
                self.goes_on.set(false);
            }
        }
    }

    /// Ends a turn, and sees to the next. Answers whether that is due at once.
    fn end_turn(&self) -> bool {
        let mut driver = self.driver.borrow_mut();
        for to in driver.ports().mesh.take_full() {
            driver.mesh_ready(to);
        }
        let end = driver.end_turn();
        let mut deadline = end.deadline;
        if driver.ports().mesh.is_full() {
            let retry = MonoNanos(self.clock.now().mono.0 + limits::MESH_RETRY_NS);
            deadline = Some(deadline.map_or(retry, |deadline| deadline.min(retry)));
        }
        self.state.turn_ended(&driver);
        for damage in driver.take_scrub_news() {
            let shard = driver.shard().identity().shard;
            tracing::error!(%shard, file = damage.file, offset = damage.offset, "damage on disk: {}", damage.reason);
        }
        self.backups.turn_ended(&mut driver);
        self.alarm.set(deadline);
        self.pulse.turn_ended(self.delivered.replace(false));
        end.again
    }

    /// Ends a turn whenever its deadline has come.
    pub(super) async fn run_alarm(&self) {
        loop {
            self.alarm.rung(|| self.clock.now().mono).await;
            self.turn.give();
        }
    }

    pub(super) fn backup_ordered(&self, order: BackupOrder) {
        self.backups.ordered(&mut self.driver.borrow_mut(), order);
        self.delivered();
    }

    pub(super) fn ordered(&self, order: Order) {
        let mut driver = self.driver.borrow_mut();
        match order {
            Order::Drain => driver.drain(),
            Order::Cut => driver.cut_connections(),
            Order::Seal => driver.seal(),
        }
        self.state.ordered(order);
        drop(driver);
        self.delivered();
    }
}

/// Whoever doesn't see its connections can't serve them.
fn blind(error: &io::Error) -> ! {
    tracing::error!(%error, "can't tell which connections are ready; the node ends");
    std::process::abort();
}
