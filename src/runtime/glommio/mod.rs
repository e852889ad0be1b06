//! Shards on glommio: one pinned executor a core, the ports over io_uring and sockets.
//!
//! The only module that names glommio. What was measured about it is worked into each part where it matters; the rules:
//!
//! - The default task queue alone, and `watchdog` wakes an executor that sleeps though it has work: glommio (0.9) may park with
//!   runnable tasks when it is preempted before it ran any.
//! - A pending operation is polled by one task, once for each wake.
//! - Nothing is borrowed across an await; and because a spawned task runs at once, inside the call that spawns it, a task that is
//!   spawned by a port first lets the driver finish.
//! - An executor that ends takes the process with it: no node runs on half its shards. A clean stop ends the process too, because
//!   executors that wake each other can't be torn down one by one.
//!
//! `core` is the hub of it; `turn` decides when a turn ends, `coalescing` when the executor rests between two; `ports` is what the driver calls, on `connection`, `files`, `writer`, `preparer`, `mesh` and
//! `clock`; `inlets` waits for other threads; `acceptor` and `seats` deal connections out; `segments` and `generations` are for the time before the first executor runs,
//! `summaries` for what `preparer` does besides, `backup` is how the thread that takes backups talks with an executor.

mod acceptor;
mod backup;
mod clock;
mod coalescing;
mod connection;
mod core;
mod direct;
mod executor;
mod files;
mod generations;
mod inlets;
mod kernel;
mod mesh;
mod ports;
mod preparer;
mod process;
mod readiness;
mod seats;
mod segments;
mod shared_ring;
mod state;
mod summaries;
mod turn;
mod watchdog;
mod write_behind;
mod writer;

pub use acceptor::{Acceptor, ListenError};
pub use backup::{BackupAsk, BackupDesk, BackupGauge, BackupLine, BackupOrder};
pub use clock::SystemClock;
pub use connection::Arrival;
pub use core::Serving;
pub use executor::{Executor, ExecutorError};
pub use generations::Generations;
pub use kernel::{KernelError, check_kernel, raise_open_files};
pub use mesh::{MeshEnds, mesh};
pub use preparer::stand_behind;
pub use seats::{Seat, Seats};
pub use segments::{Segments, SegmentsError, file_name, segment_of, summary_name};
pub use state::{Order, ShardState};
pub use watchdog::{Pulse, start_watchdog};
pub use write_behind::{bring_back, forget_written_behind};
