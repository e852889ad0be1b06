//! One pinned glommio executor: how it is made, and the life of a shard on it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use thiserror::Error;

use super::coalescing::Coalescing;
use super::core::{Core, Serving};
use super::files::io_error;
use super::preparer::Preparer;
use super::readiness::Readiness;
use super::turn::yield_once;
use super::watchdog::Pulse;
use super::write_behind::WriteBehind;
use super::writer::LogWriter;

/// After this long a running task lets the executor look at its rings and at wakes from other threads: glommio's own 100 ms
/// would make a request that crosses cores wait that long behind a busy one.
const PREEMPT_TIMER: Duration = Duration::from_millis(1);
/// What glommio registers with the kernel for direct I/O, of which there is none here: the least that it allows, because it counts
/// against the limit of locked memory.
const IO_MEMORY: usize = 64 << 10;

/// Why an executor can't be made.
#[derive(Debug, Error)]
#[error("can't set up io_uring and epoll on core {core}: {source}")]
pub struct ExecutorError {
    /// The core.
    pub core: usize,
    /// What the kernel or glommio says.
    pub source: io::Error,
}

/// An executor on the thread that made it, which it has pinned to its core.
pub struct Executor {
    inner: LocalExecutor,
    readiness: Readiness,
    /// Wakes the task that the watchdog pokes, once the executor is proven.
    poked_by: Option<Waker>,
}

impl Executor {
    /// Makes the calling thread an executor's, on a core. `spin` is how long it looks for work before it sleeps.
    ///
    /// # Errors
    /// [`ExecutorError`], for the most part because the kernel refuses io_uring.
    pub fn new(core: usize, spin: Option<Duration>) -> Result<Executor, ExecutorError> {
        let mut builder = LocalExecutorBuilder::new(Placement::Fixed(core))
            .preempt_timer(PREEMPT_TIMER)
            .io_memory(IO_MEMORY)
            // Its thread would sit on the executor's own core otherwise.
            .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
        if let Some(spin) = spin {
            builder = builder.spin_before_park(spin);
        }
        let inner = builder.make().map_err(|error| ExecutorError {
            core,
            source: io_error(error),
        })?;
        let readiness = Readiness::new().map_err(|source| ExecutorError { core, source })?;
        Ok(Executor {
            inner,
            readiness,
            poked_by: None,
        })
    }

    /// Runs the executor once, with nothing to lose, and leaves behind the task by which the watchdog wakes it from then on.
    ///
    /// It may never return: an executor that loses its core for a millisecond at a bad moment parks before it has run its
    /// first task (`watchdog`), and nobody knows a way to wake it. Whoever waits for it gives it up then, thread and all, and makes
    /// another.
    pub fn prove(&mut self, pulse: Arc<Pulse>) {
        let shown = Rc::<RefCell<Option<Waker>>>::default();
        let seen = Rc::clone(&shown);
        self.poked_by = self.inner.run(async move {
            let answering = async move {
                let show = |waker: &Waker| *shown.borrow_mut() = Some(waker.clone());
                pulse.answer(show).await;
            };
            glommio::spawn_local(answering).detach();
            while seen.borrow().is_none() {
                yield_once().await;
            }
            seen.take()
        });
    }

    /// Serves a shard for as long as the process lives: only its end stops this.
    ///
    /// # Errors
    /// When the kernel gives no threads for the shard's log.
    pub fn run(self, serving: Serving) -> io::Result<()> {
        let shard = serving.driver.shard;
        let coalescing = Coalescing::new(serving.coalesce);
        let pulse = Arc::clone(&serving.pulses[shard.index()]);
        // Not before: of the executors that were proven for a shard only one serves it.
        if let Some(waker) = self.poked_by {
            pulse.poked_by(waker);
        }
        pulse.called_by(self.readiness.call());
        let (done, completions) = flume::unbounded();
        let directory = &serving.directory;
        let behind = serving
            .writes_behind
            .then(|| WriteBehind::create(directory))
            .transpose()
            .unwrap_or_else(|error| {
                tracing::info!(%shard, %error, "no memory that outlives the process; each block is written to the log's file before it is acknowledged");
                None
            });
        let writer = LogWriter::start(
            shard,
            directory.clone(),
            Arc::clone(&pulse),
            done.clone(),
            behind,
        )?;
        let preparer = Preparer::start(shard, directory.clone(), pulse, done)?;
        self.inner.run(async move {
            let (core, inlets) =
                Core::new(serving, self.readiness, (writer, preparer), completions);
            inlets.serve(&core);
            let reader = Rc::clone(&core);
            glommio::spawn_local(async move { reader.run_reader(coalescing).await }).detach();
            let alarm = Rc::clone(&core);
            glommio::spawn_local(async move { alarm.run_alarm().await }).detach();
            // A first turn, for the first segment.
            core.delivered();
            core.run_turns().await;
        });
        Ok(())
    }
}
