//! Corduroy on one core and on two, hit by the same bursts in turns ([`crate::burst`]).
//!
//! A round is three bursts: two cores with keys of both on any connection, one core, and two cores with each connection asking for its own
//! shard's keys, so that nothing hops. A round's ratio is that of the first two; the difference in CPU time between the first and the
//! third, spread over the requests that hop, is what a hop costs.

use std::{
    fmt, io,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use super::{
    CompareError,
    arena::{Arena, Running},
    duel,
    outcome::median,
    row,
    server::{Server, Sync},
};
use crate::{
    burst::{Burst, Shape, Shot, Target},
    drive::{Config, DriveError, Protocol, Route},
    process::{CpuTime, MachineTime},
};

/// How many cores are set against one.
pub(super) const CORES: usize = 2;
/// Bursts that are not counted, of each kind: sockets and memory are new in the first.
const WARM_UP: u64 = 2;

/// Both servers, filled. They end with it.
#[derive(Debug)]
pub struct Field {
    two: Running,
    one: Running,
}

/// What the rounds of one shape came to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Figures {
    /// Of the bursts.
    pub shape: Shape,
    /// Two cores, any keys on any connection.
    pub two: Vec<Shot>,
    /// One core.
    pub one: Vec<Shot>,
    /// Two cores, each connection its shard's keys.
    pub direct: Vec<Shot>,
    /// Cores that other processes kept busy in all the time that it took.
    pub others_cores: f64,
}

impl Field {
    /// Starts and fills them.
    ///
    /// # Errors
    ///
    /// If one can't be started.
    pub fn start(arena: &Arena) -> Result<Field, CompareError> {
        let server = |cores: usize| Server::Corduroy {
            cores,
            sync: Sync::Never,
            memory_mib: row::MEMORY_MIB * cores as u32,
        };
        let field = Field {
            two: arena.start(server(CORES))?,
            one: arena.start(server(1))?,
        };
        for server in [&field.two, &field.one] {
            let config = Config {
                address: server.address,
                protocol: Protocol::Native,
                keys: row::KEYS,
                value_len: row::VALUE_LEN,
                core: Some(arena.driver_core()),
                ..Config::default()
            };
            duel::fill(server, &config)?;
        }
        Ok(field)
    }

    /// How the two were started: on two cores, and on one.
    #[must_use]
    pub fn commands(&self) -> [&str; 2] {
        [&self.two.command, &self.one.command]
    }

    /// Bursts of this shape in turns.
    ///
    /// # Errors
    ///
    /// If any is not answered rightly.
    pub fn measure(&mut self, shape: Shape, rounds: u64) -> Result<Figures, CompareError> {
        let connect = |server: &Running, route| {
            let target = Target {
                address: server.address,
                pid: server.pid(),
                keys: row::KEYS,
                value_len: row::VALUE_LEN,
            };
            Burst::connect(target, shape, route).map_err(failed(server))
        };
        let mut two = connect(&self.two, Route::Any)?;
        let mut one = connect(&self.one, Route::Any)?;
        let mut direct = connect(&self.two, Route::Direct)?;
        let mut figures = Figures {
            shape,
            two: Vec::new(),
            one: Vec::new(),
            direct: Vec::new(),
            others_cores: 0.0,
        };
        let before = self.clocks()?;
        for round in 0..WARM_UP + rounds {
            for (burst, server, shots) in [
                (&mut two, &self.two, &mut figures.two),
                (&mut one, &self.one, &mut figures.one),
                (&mut direct, &self.two, &mut figures.direct),
            ] {
                let shot = burst.fire().map_err(failed(server))?;
                if round >= WARM_UP {
                    shots.push(shot);
                }
            }
        }
        figures.others_cores = self.clocks()?.others_cores_since(&before);
        Ok(figures)
    }

    fn clocks(&self) -> Result<Clocks, CompareError> {
        let read = || -> io::Result<Clocks> {
            let own = clock_gettime(ClockId::ProcessCPUTime);
            let servers = [&self.two, &self.one].map(|server| CpuTime::of(server.pid()));
            let [two, one] = servers;
            Ok(Clocks {
                at: Instant::now(),
                machine: MachineTime::now()?,
                ours: Duration::new(own.tv_sec as u64, own.tv_nsec as u32)
                    + two?.total
                    + one?.total,
            })
        };
        read().map_err(CompareError::io("read CPU times"))
    }
}

/// CPU times at one moment.
struct Clocks {
    at: Instant,
    machine: MachineTime,
    /// Of this process and both servers.
    ours: Duration,
}

impl Clocks {
    fn others_cores_since(&self, earlier: &Clocks) -> f64 {
        let busy = self.machine.since(earlier.machine).busy;
        let others = busy.saturating_sub(self.ours.saturating_sub(earlier.ours));
        others.as_secs_f64() / self.at.duration_since(earlier.at).as_secs_f64()
    }
}

fn failed(server: &Running) -> impl Fn(DriveError) -> CompareError {
    let server = server.server.to_string();
    move |source| CompareError::Drive {
        server: server.clone(),
        source,
    }
}

impl Figures {
    /// Each round's ratio of rates: two cores to one.
    #[must_use]
    pub fn ratios(&self) -> Vec<f64> {
        let seconds = self.two.iter().zip(&self.one);
        seconds
            .map(|(two, one)| one.seconds / two.seconds)
            .collect()
    }

    /// Each round's ratio of rates without hops.
    #[must_use]
    pub fn direct_ratios(&self) -> Vec<f64> {
        let seconds = self.direct.iter().zip(&self.one);
        seconds
            .map(|(direct, one)| one.seconds / direct.seconds)
            .collect()
    }

    /// What a hop costs the server, in microseconds of CPU.
    #[must_use]
    pub fn hop_us(&self) -> f64 {
        let hopping_share = (CORES - 1) as f64 / CORES as f64;
        let rounds = self.two.iter().zip(&self.direct);
        let hops: Vec<f64> = rounds
            .map(|(any, direct)| any.cpu_seconds - direct.cpu_seconds)
            .collect();
        self.us_a_request(median(&hops)) / hopping_share
    }

    /// The client's share of one core while the server worked: how little it was in the way.
    #[must_use]
    pub fn client_share(&self) -> f64 {
        let shots = self.two.iter().chain(&self.one);
        let shares: Vec<f64> = shots
            .map(|shot| shot.client_seconds / shot.seconds)
            .collect();
        median(&shares)
    }

    /// The median rate of such bursts.
    #[must_use]
    pub fn rate(&self, shots: &[Shot]) -> f64 {
        let seconds: Vec<f64> = shots.iter().map(|shot| shot.seconds).collect();
        self.shape.requests() as f64 / median(&seconds)
    }

    /// The server's CPU time a request in such bursts, in microseconds.
    #[must_use]
    pub fn cpu_us(&self, shots: &[Shot]) -> f64 {
        let seconds: Vec<f64> = shots.iter().map(|shot| shot.cpu_seconds).collect();
        self.us_a_request(median(&seconds))
    }

    fn us_a_request(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.shape.requests() as f64
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bursts of {}: {:.2} times one core ({:.2} without hops); {:.0} against {:.0} requests/s ({:.0} without hops); \
             CPU a request {:.3} against {:.3} us ({:.3} without hops), so a hop costs {:.3} us; client {:.1} % of a core, others {:.2} cores",
            self.shape,
            median(&self.ratios()),
            median(&self.direct_ratios()),
            self.rate(&self.two),
            self.rate(&self.one),
            self.rate(&self.direct),
            self.cpu_us(&self.two),
            self.cpu_us(&self.one),
            self.cpu_us(&self.direct),
            self.hop_us(),
            self.client_share() * 100.0,
            self.others_cores
        )
    }
}
