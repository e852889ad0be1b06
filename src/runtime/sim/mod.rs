//! The simulated world: the same driver and shard as in production, over a disk, a network and clocks that one seed moves.
//!
//! [`run`] builds a node of one to four shards, some clients and a plan of misfortunes from a seed, lets them loose on virtual
//! time, and holds everything that the clients were told against a model. The same seed gives the same run, event by event, on any
//! machine: so a failure is a number that can be kept. What is checked, what can go wrong and how to replay a seed stands in `docs/testing.md`.
//!
//! | file | what it holds |
//! |---|---|
//! | `random`, `habits` | chance, and what it may do in one world |
//! | `disk` | files that lose, tear and reorder what was not synced, and rot |
//! | `ports` | what the driver sees of the world |
//! | `world`, `asking`, `traffic`, `storage`, `life` | the events: rounds, clients, connections, disks and channels, starts and deaths |
//! | `full` | disks that others fill |
//! | `report` | what a run leaves |
//! | `client`, `action`, `answers`, `value` | what clients ask, and what the answers say |
//! | `rogue`, `nonsense` | clients that break the protocol |
//! | `redis` | clients of the RESP front door |
//! | `salvage` | starts with `--salvage`, and what they may give up |
//! | `backup` | backups while everything else goes on, and what comes out of them |
//! | `history`, `check`, `atomic`, `catalog`, `losses` | the model, and whether the history of each key adds up |
//!
//! # Invariants
//!
//! - Everything that happens is an event of one queue, ordered by time and then by the order in which it was queued.
//! - Nothing depends on the order of a hash map, an address, a thread or the real clock.

mod action;
mod answers;
mod asking;
mod atomic;
mod backup;
mod catalog;
mod check;
mod client;
mod disk;
mod full;
mod habits;
mod history;
mod life;
mod losses;
mod nonsense;
mod ports;
mod random;
mod redis;
mod report;
mod reshard;
mod rogue;
mod salvage;
mod scrub;
mod storage;
mod traffic;
mod value;
mod world;

use std::cell::Cell;
use std::fmt;

pub use report::Tally;

use world::World;

thread_local! {
    static RUNNING: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The seed that this thread is running: for a panic hook, as an assertion that fails ends the run without a report.
#[must_use]
pub fn running() -> Option<u64> {
    RUNNING.get()
}

/// What a run that found nothing leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// A hash of everything that happened: two runs of one seed give the same.
    pub hash: u64,
    /// What happened, in numbers.
    pub tally: Tally,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that finds it again.
    pub seed: u64,
    /// What does not add up.
    pub reason: String,
    /// What the world was like.
    pub habits: String,
    /// The last events.
    pub events: Vec<String>,
    /// All that was asked and told about the key whose history does not add up.
    pub evidence: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} fails: {}", self.seed, self.reason)?;
        writeln!(f, "{}", self.habits)?;
        for event in &self.events {
            writeln!(f, "  {event}")?;
        }
        for entry in &self.evidence {
            writeln!(f, "  {entry}")?;
        }
        write!(f, "seed {} fails: {}", self.seed, self.reason)
    }
}

impl std::error::Error for Failure {}

/// Runs one seed.
///
/// # Errors
/// [`Failure`]: the node broke a promise.
///
/// # Panics
/// If an assertion of the shard or the driver fails; [`running`] then says the seed.
pub fn run(seed: u64) -> Result<Report, Box<Failure>> {
    RUNNING.set(Some(seed));
    let mut world = World::new(seed);
    let result = world.run();
    RUNNING.set(None);
    match result {
        Ok(()) => Ok(Report {
            hash: world.trace.hash(),
            tally: world.tally,
        }),
        Err(reason) => Err(Box::new(Failure {
            seed,
            reason,
            habits: format!("{:?}", world.habits),
            events: world.trace.lines(),
            evidence: world.evidence(),
        })),
    }
}
