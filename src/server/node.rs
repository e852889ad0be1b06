//! A node from its start to its stop.
//!
//! # Start
//!
//! 1. **Ask** the kernel for what executors need, raise the limit of open files, lock the data directory, take the ports. Whatever
//!    fails, fails here, before the long part. From now on the admin HTTP answers.
//!    If the data is spread over another number of shards than there are cores, it is moved first (`reshard`).
//! 2. **Recover** all shards at once, each on its own thread and core: map, replay, repair, sync.
//! 3. **Install** the keyspaces that shard 0's log records on every shard.
//! 4. **Run** the drivers. A new shard makes its first segment before anyone connects, so that a full disk is found now.
//! 5. **Listen**.
//!
//! # Stop
//!
//! No connection comes in any more, every shard answers what it has read, and when all have, each seals its log. Shards go on
//! with turns and mesh until all are drained: the last answers of one depend on others. What takes longer than the stop
//! timeout is cut off; acknowledged writes are on disk in any case. Then the process ends, from the main thread: executors
//! that may wake each other are not torn down.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};

use super::admin::{Admin, Health, ShardProgress};
use super::backup::Keeper;
use super::config::{Config, Spin, SyncPolicy};
use super::directory::{DataDirectory, random};
use super::error::StartError;
use super::facts::node_facts;
use super::recover::ShardFiles;
use super::reshard::move_shards;
use crate::gateway::resp::session::Settings;
use crate::limits;
use crate::ports::Clock;
use crate::runtime::driver::DriverConfig;
use crate::runtime::glommio::{
    Acceptor, Arrival, BackupAsk, BackupDesk, BackupGauge, BackupLine, BackupOrder, Executor,
    ExecutorError, MeshEnds, Order, Pulse, Seats, Serving, ShardState, SystemClock, check_kernel,
    forget_written_behind, mesh, raise_open_files, start_watchdog,
};
use crate::shard::recover::{StoredKeyspace, install_keyspaces};
use crate::shard::{ShardConfig, SyncMode};
use crate::storage::format::LogTag;
use crate::storage::recovery::Identity;
use crate::types::ShardId;

/// How often the progress of a long recovery is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// How long an executor may take to run its first task, and how many are made for one shard: the patience of all of them
/// together is that with a machine that is very busy.
const EXECUTOR_PATIENCE: Duration = Duration::from_millis(500);
const EXECUTOR_ATTEMPTS: u32 = 60;
/// How often the node looks how far its shards are with stopping.
const STOP_POLL: Duration = Duration::from_millis(1);
/// How long shards that were cut off may take to finish what they had begun, and how long sealing may take.
const STOP_REST: Duration = Duration::from_secs(5);

/// A running node.
#[derive(Debug)]
pub struct Node {
    acceptor: Acceptor,
    admin: Option<Admin>,
    health: Arc<Health>,
    orders: Vec<Sender<Order>>,
    states: Vec<Arc<ShardState>>,
    /// Tells the thread that takes backups to give up.
    stop_backups: Arc<AtomicBool>,
    stop_timeout: Duration,
    connections_max: usize,
    directory: DataDirectory,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything that was read was answered, and every log is sealed.
    Clean,
    /// The time was over before everything was answered; every log is sealed.
    Cut,
    /// Some log could not be sealed: the next start will recover as after a crash.
    Unsealed,
}

impl Node {
    /// Starts a node; when it returns, clients can connect.
    ///
    /// # Errors
    /// [`StartError`]: nothing was served. Threads that were started stay behind until the process ends.
    pub fn start(config: &Config) -> Result<Node, StartError> {
        check_kernel()?;
        let connections_max = connections_max(config)?;
        let clock = SystemClock::start();
        let shard_count = config.shard_count();
        let mut directory = DataDirectory::open(&config.data, shard_count, clock.now().wall)?;
        let mut acceptor = Acceptor::bind(config.listen)?;
        let health = Arc::<Health>::default();
        let mut admin = match config.admin {
            Some(address) => Some(Admin::bind(address, Arc::clone(&health))?),
            None => None,
        };
        if let Some(admin) = &mut admin {
            admin.start()?;
            tracing::info!(address = %admin.address(), "the admin HTTP answers");
        }
        directory.establish()?;
        move_shards(config, &mut directory, clock, &health)?;
        // If the kernel chose the port, clients are told that one.
        let config = &Config {
            listen: acceptor.address(),
            ..config.clone()
        };
        let started = Instant::now();
        let mut starting = Starting::spawn(config, &directory, clock, connections_max)?;
        health.recovering(Arc::clone(&starting.progress.0));
        let keyspaces = starting.recovered()?;
        tracing::debug!(elapsed = ?started.elapsed(), "all shards are recovered");
        start_watchdog(&starting.pulses, clock).map_err(StartError::Thread)?;
        starting.run(&keyspaces, config, &directory)?;
        directory.settle()?;
        let seats = Seats::new(shard_count, connections_max);
        let stop_backups = starting.keep_backups(config, &directory)?;
        acceptor.start(seats, starting.arrivals, starting.pulses)?;
        health.serving(acceptor.address(), starting.states.clone());
        Ok(Node {
            acceptor,
            admin,
            health,
            orders: starting.orders,
            states: starting.states,
            stop_backups,
            stop_timeout: config.stop_timeout,
            connections_max,
            directory,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Where the admin HTTP answers, if it does.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Most client connections: what is configured, or what the limit of open files allows.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Stops the node. The process is to end afterwards.
    #[must_use]
    pub fn stop(mut self) -> Stopped {
        self.health.stopping();
        self.acceptor.stop();
        // A client that waits for a backup would hold up the drain for as long as that takes.
        self.stop_backups.store(true, Ordering::Relaxed);
        self.order(Order::Drain);
        let drained = self.wait(ShardState::is_drained, self.stop_timeout);
        if !drained {
            tracing::warn!(
                "requests were still in work when the stop timeout was over; they are cut off"
            );
            self.order(Order::Cut);
            self.wait(ShardState::is_drained, STOP_REST);
        }
        self.order(Order::Seal);
        let sealed = self.wait(ShardState::is_sealed, STOP_REST);
        if sealed {
            for shard in 0..self.states.len() {
                forget_written_behind(&self.directory.shard(ShardId(shard as u16)));
            }
        }
        if let Some(admin) = &mut self.admin {
            admin.stop();
        }
        match (sealed, drained) {
            (true, true) => Stopped::Clean,
            (true, false) => Stopped::Cut,
            (false, _) => Stopped::Unsealed,
        }
    }

    fn order(&self, order: Order) {
        for orders in &self.orders {
            // A shard that takes no orders has ended: whoever waits for it finds out.
            let _ = orders.send(order);
        }
    }

    fn wait(&self, done: impl Fn(&ShardState) -> bool, timeout: Duration) -> bool {
        let began = Instant::now();
        loop {
            if self.states.iter().all(|state| done(state)) {
                return true;
            }
            if began.elapsed() >= timeout {
                return false;
            }
            thread::sleep(STOP_POLL);
        }
    }
}

/// A node whose shards are on their way.
struct Starting {
    arrivals: Vec<Sender<Arrival>>,
    orders: Vec<Sender<Order>>,
    states: Vec<Arc<ShardState>>,
    pulses: Vec<Arc<Pulse>>,
    recovered: Receiver<Recovered>,
    installs: Vec<Sender<Vec<StoredKeyspace>>>,
    first_segments: Vec<Receiver<std::io::Result<()>>>,
    backups: Vec<BackupLine>,
    backup_asks: Receiver<BackupAsk>,
    backup_gauge: Arc<BackupGauge>,
    progress: Progress,
    shard_count: u16,
}

/// One shard's word that it is recovered, and the keyspaces that its log records.
type Recovered = (ShardId, Result<Vec<StoredKeyspace>, StartError>);

/// How far recovery is, shard by shard.
#[derive(Clone, Debug)]
struct Progress(Arc<[ShardProgress]>);

impl Starting {
    /// Starts a thread for each shard, which begins to recover it.
    fn spawn(
        config: &Config,
        directory: &DataDirectory,
        clock: SystemClock,
        connections_max: usize,
    ) -> Result<Starting, StartError> {
        let shard_count = config.shard_count();
        let spin = spin(config);
        let pulses = Pulse::all(shard_count);
        let progress = Progress((0..shard_count).map(|_| ShardProgress::default()).collect());
        let (recovered_to, recovered) = flume::unbounded();
        let (arrivals, arrivals_from): (Vec<_>, Vec<_>) =
            (0..shard_count).map(|_| flume::unbounded()).unzip();
        let (backup_asks_to, backup_asks) = flume::bounded(limits::BACKUPS_WAITING_MAX);
        let backup_gauge = Arc::<BackupGauge>::default();
        let mut starting = Starting {
            arrivals,
            orders: Vec::new(),
            states: Vec::new(),
            pulses,
            recovered,
            installs: Vec::new(),
            first_segments: Vec::new(),
            backups: Vec::new(),
            backup_asks,
            backup_gauge: Arc::clone(&backup_gauge),
            progress,
            shard_count,
        };
        for ((number, mesh), arrivals) in (0..).zip(mesh(shard_count)).zip(arrivals_from) {
            let shard = ShardId(number);
            let (orders_to, orders) = flume::unbounded();
            let (install_to, install) = flume::bounded(1);
            let (first_segment_to, first_segment) = flume::bounded(1);
            let pulse = Arc::clone(&starting.pulses[shard.index()]);
            let (backup_line, backup_orders) = BackupLine::new(pulse);
            let backup_desk = config.backup_directory.is_some().then(|| BackupDesk {
                shard,
                asks: backup_asks_to.clone(),
                gauge: Arc::clone(&backup_gauge),
            });
            let state = Arc::<ShardState>::default();
            let thread = ShardThread {
                shard,
                core: config.cores[shard.index()],
                spin,
                coalesce: config.coalesce.unwrap_or_default(),
                salvage: config.salvage,
                may_be_empty: directory.manifest().is_new,
                config: shard_config(config, directory, shard),
                driver: driver_config(config, directory, shard, connections_max),
                directory: directory.shard(shard),
                clock,
                mesh,
                arrivals,
                peers: starting.arrivals.clone(),
                orders,
                state: Arc::clone(&state),
                pulses: starting.pulses.clone(),
                progress: starting.progress.clone(),
                recovered: recovered_to.clone(),
                install,
                first_segment: first_segment_to,
                backups: (backup_desk, backup_orders),
            };
            starting.backups.push(backup_line);
            starting.orders.push(orders_to);
            starting.states.push(state);
            starting.installs.push(install_to);
            starting.first_segments.push(first_segment);
            thread.start()?;
        }
        Ok(starting)
    }

    /// Waits for all shards, and tells how far they are. Answers the node's keyspaces.
    fn recovered(&self) -> Result<Vec<StoredKeyspace>, StartError> {
        let mut keyspaces = Vec::new();
        let mut waiting: Vec<ShardId> = (0..self.shard_count).map(ShardId).collect();
        while let Some(&first) = waiting.first() {
            match self.recovered.recv_timeout(PROGRESS_INTERVAL) {
                Ok((shard, outcome)) => {
                    let found = outcome?;
                    if shard == ShardId(0) {
                        keyspaces = found;
                    }
                    waiting.retain(|other| *other != shard);
                }
                Err(RecvTimeoutError::Timeout) => self.progress.tell(),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(StartError::Ended { shard: first });
                }
            }
        }
        Ok(keyspaces)
    }

    /// Lets the shards serve, and waits until the new ones have their first segment.
    fn run(
        &mut self,
        keyspaces: &[StoredKeyspace],
        config: &Config,
        directory: &DataDirectory,
    ) -> Result<(), StartError> {
        for install in &self.installs {
            // A shard that is gone is found below.
            let _ = install.send(keyspaces.to_vec());
        }
        for (number, first_segment) in (0..).zip(&self.first_segments) {
            let shard = ShardId(number);
            match first_segment.recv() {
                Ok(Ok(())) => {}
                Ok(Err(source)) => {
                    return Err(StartError::FirstSegment {
                        shard,
                        directory: directory.shard(shard),
                        segment_len: config.segment_len,
                        source,
                    });
                }
                Err(_) => return Err(StartError::Ended { shard }),
            }
        }
        Ok(())
    }

    /// Starts the thread that takes backups, if the node is told where to. Answers by what it is stopped.
    fn keep_backups(
        &self,
        config: &Config,
        directory: &DataDirectory,
    ) -> Result<Arc<AtomicBool>, StartError> {
        let stop = Arc::<AtomicBool>::default();
        let Some(backups) = &config.backup_directory else {
            return Ok(stop);
        };
        let keeper = Keeper {
            node: directory.manifest().clone(),
            data: directory.path().to_owned(),
            directory: backups.clone(),
            every: config.backup_every,
            keep: config.backup_keep,
            shards: self.backups.clone(),
            asks: self.backup_asks.clone(),
            gauge: Arc::clone(&self.backup_gauge),
            stop: Arc::clone(&stop),
        };
        keeper.start().map_err(StartError::Thread)?;
        Ok(stop)
    }
}

impl Progress {
    fn tell(&self) {
        let sum = |of: fn(&ShardProgress) -> &AtomicU64| -> u64 {
            self.0
                .iter()
                .map(|shard| of(shard).load(Ordering::Relaxed))
                .sum()
        };
        let (done, total) = (sum(|shard| &shard.done), sum(|shard| &shard.total));
        tracing::info!(
            "recovering: {} of {} MiB of log read, or known from saved indexes",
            done >> 20,
            total >> 20
        );
    }
}

/// What a shard's thread starts with.
struct ShardThread {
    shard: ShardId,
    core: usize,
    spin: Option<Duration>,
    coalesce: Duration,
    salvage: bool,
    /// No client was ever let in, so a shard need not have files.
    may_be_empty: bool,
    config: ShardConfig,
    driver: DriverConfig,
    directory: PathBuf,
    clock: SystemClock,
    mesh: MeshEnds,
    arrivals: Receiver<Arrival>,
    peers: Vec<Sender<Arrival>>,
    orders: Receiver<Order>,
    state: Arc<ShardState>,
    pulses: Vec<Arc<Pulse>>,
    progress: Progress,
    recovered: Sender<Recovered>,
    install: Receiver<Vec<StoredKeyspace>>,
    first_segment: Sender<std::io::Result<()>>,
    backups: (Option<BackupDesk>, Receiver<BackupOrder>),
}

impl ShardThread {
    /// Starts the thread, with an executor that is proven to run. One that isn't in time is given up with its thread; should it
    /// wake after all, it finds the shard taken.
    fn start(self) -> Result<(), StartError> {
        let (shard, core, spin) = (self.shard, self.core, self.spin);
        let pulse = Arc::clone(&self.pulses[shard.index()]);
        let unclaimed = Arc::new(Mutex::new(Some(self)));
        let (proven_to, proven) = flume::unbounded();
        for _ in 0..EXECUTOR_ATTEMPTS {
            let pulse = Arc::clone(&pulse);
            let unclaimed = Arc::clone(&unclaimed);
            let proven_to = proven_to.clone();
            thread::Builder::new()
                .name(format!("shard-{shard}"))
                .spawn(move || {
                    // Made first: it pins the thread, so the index is built on the core, and in the memory, that it is used on.
                    let mut executor = Executor::new(core, spin);
                    if let Ok(executor) = &mut executor {
                        executor.prove(pulse);
                    }
                    let claimed = unclaimed
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .take();
                    if let Some(thread) = claimed {
                        // The starter waits for it.
                        let _ = proven_to.send(());
                        thread.run(executor);
                    }
                })
                .map_err(StartError::Thread)?;
            if proven.recv_timeout(EXECUTOR_PATIENCE).is_ok() {
                return Ok(());
            }
            tracing::warn!(%shard, "the executor does not run; another one is made");
        }
        Err(StartError::Ended { shard })
    }

    fn run(self, executor: Result<Executor, ExecutorError>) {
        let executor = match executor {
            Ok(executor) => executor,
            Err(error) => return self.tell(Err(error.into())),
        };
        let (mut shard, keyspaces) = match self.recover() {
            Ok(recovered) => recovered,
            Err(error) => return self.tell(Err(error)),
        };
        // An old log is served even if the disk is full; a new one can't hold anything then.
        let is_new = shard.log_mut().active().is_none();
        self.tell(Ok(keyspaces));
        let Ok(keyspaces) = self.install.recv() else {
            return;
        };
        install_keyspaces(&mut shard, &keyspaces);
        if !is_new {
            let _ = self.first_segment.send(Ok(()));
        }
        let writes_behind = self.config.sync != SyncMode::Always;
        let ended = executor.run(Serving {
            driver: self.driver,
            shard,
            directory: self.directory,
            clock: self.clock,
            mesh: self.mesh,
            arrivals: self.arrivals,
            peers: self.peers,
            orders: self.orders,
            state: self.state,
            pulses: self.pulses,
            first_segment: is_new.then_some(self.first_segment),
            backups: self.backups,
            writes_behind,
            naps: self.spin.is_none(),
            coalesce: self.coalesce,
        });
        if let Err(error) = ended {
            tracing::error!(shard = %self.shard, %error, "can't start the thread that writes the log");
        }
        tracing::error!(shard = %self.shard, "the executor has ended though nobody told it to; the process ends");
        process::abort();
    }

    fn tell(&self, outcome: Result<Vec<StoredKeyspace>, StartError>) {
        // Nobody listens if another shard has failed.
        let _ = self.recovered.send((self.shard, outcome));
    }

    fn recover(&self) -> Result<(crate::shard::Shard, Vec<StoredKeyspace>), StartError> {
        let files = ShardFiles {
            shard: self.shard,
            directory: &self.directory,
            salvage: self.salvage,
            may_be_empty: self.may_be_empty,
            by_saved_indexes: true,
        };
        let progress = &self.progress.0[self.shard.index()];
        let recovered = files.recover(&self.config, self.clock, progress)?;
        Ok((recovered.shard, recovered.keyspaces))
    }
}

/// How many connections there may be, by the configuration and by the limit of open files, which is raised if it can be.
fn connections_max(config: &Config) -> Result<usize, StartError> {
    let own =
        limits::NODE_DESCRIPTORS + u64::from(config.shard_count()) * limits::SHARD_DESCRIPTORS;
    let limit = raise_open_files(own + config.connections_max as u64);
    let left = limit.saturating_sub(own);
    if left == 0 {
        return Err(StartError::OpenFiles {
            limit,
            needed: own + 1,
        });
    }
    let connections_max = config
        .connections_max
        .min(usize::try_from(left).unwrap_or(usize::MAX));
    if connections_max < config.connections_max {
        tracing::warn!(
            "{} connections are configured and only {connections_max} possible: the limit of open files is {limit} (ulimit -n)",
            config.connections_max
        );
    }
    Ok(connections_max)
}

/// How long executors spin before they sleep. By itself a node does so only where the kernel was told to leave the cores alone:
/// spinning beside anyone else's work costs both.
fn spin(config: &Config) -> Option<Duration> {
    match config.spin {
        Spin::Off => None,
        Spin::For(time) => Some(time),
        Spin::Auto => {
            let isolated = std::fs::read_to_string("/sys/devices/system/cpu/isolated");
            let isolated = cores_of_list(isolated.unwrap_or_default().trim());
            config
                .cores
                .iter()
                .all(|core| isolated.contains(core))
                .then_some(SPIN_AUTO)
        }
    }
}

/// Measured: 83,000 round trips a second between two cores, against 18,000 without.
const SPIN_AUTO: Duration = Duration::from_micros(50);

/// The kernel's notation for sets of cores, such as `2-3,6`.
fn cores_of_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

pub(super) fn shard_config(
    config: &Config,
    directory: &DataDirectory,
    shard: ShardId,
) -> ShardConfig {
    let manifest = directory.manifest();
    let share = config.memory / u64::from(config.shard_count());
    ShardConfig {
        identity: Identity {
            node: u128::from_be_bytes(manifest.node),
            shard,
            shard_count: manifest.shard_count,
        },
        log_tag: LogTag(u32::from_le_bytes(random())),
        sync: match config.sync {
            SyncPolicy::Always => SyncMode::Always,
            SyncPolicy::Interval(interval) => SyncMode::Interval {
                nanos: nanos(interval),
            },
            SyncPolicy::Never => SyncMode::Never,
        },
        value_len_max: config.value_len_max,
        large_len: limits::LARGE_LEN,
        memory_bytes: share.saturating_sub(limits::SHARD_MEMORY_BASE).max(1),
        segment_len: config.segment_len,
        compacts: config.compaction,
        scrub_period_ns: config.scrub_period.map(nanos),
        hash_secret: manifest.hash_secret,
    }
}

fn driver_config(
    config: &Config,
    directory: &DataDirectory,
    shard: ShardId,
    connections_max: usize,
) -> DriverConfig {
    DriverConfig {
        node: node_facts(config, directory),
        resp: Settings {
            sync_always: matches!(config.sync, SyncPolicy::Always),
            debug: config.debug_commands,
            ..Settings::default()
        },
        shard,
        shard_count: config.shard_count(),
        value_len_max: config.value_len_max,
        large_len: limits::LARGE_LEN,
        large_input_bytes_max: limits::LARGE_INPUT_BYTES_MAX,
        batch_slice_len: limits::BATCH_SLICE_LEN,
        // Of the node: clients that know the layout may all want the same shard.
        connections_max,
        in_flight_max: config.in_flight_max,
        output_bytes_max: config.output_bytes_max,
        handshake_timeout_ns: nanos(config.handshake_timeout),
        idle_timeout_ns: config.idle_timeout.map_or(0, nanos),
        stall_timeout_ns: nanos(config.stall_timeout),
        server_name: concat!("corduroy/", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that spun on cores that it shares would slow its neighbours down threefold: only a core that is listed counts.
    #[test]
    fn the_kernels_lists_of_cores() {
        assert!(cores_of_list("").is_empty());
        assert_eq!(cores_of_list("3"), [3]);
        assert_eq!(cores_of_list("2-3,6"), [2, 3, 6]);
    }
}
