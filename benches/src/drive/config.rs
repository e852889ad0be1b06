//! What to ask of whom: the driver's flags, which [`crate::compare`] fills in too.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{DriveError, workload};

/// The most connections of a run.
pub const CONNECTIONS_MAX: usize = 60_000;
/// The most requests in flight on a connection.
pub const IN_FLIGHT_MAX: u32 = 65_536;

/// One run.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Config {
    /// The server.
    #[arg(long, default_value = "127.0.0.1:7379")]
    pub address: SocketAddr,
    /// The protocol to speak.
    #[arg(long, value_enum, default_value_t = Protocol::Native)]
    pub protocol: Protocol,
    /// What to do with the keys.
    #[arg(long = "op", value_enum, default_value_t = Operations::Get)]
    pub operations: Operations,
    /// Of 100 requests of a mix, how many are puts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub mix_puts: u8,
    /// Number of connections.
    #[arg(long, short = 'c', default_value_t = 50)]
    pub connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, short = 'P', default_value_t = 1)]
    pub in_flight: u32,
    /// Number of keys, asked uniformly at random.
    #[arg(long, default_value_t = 100_000)]
    pub keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 64)]
    pub value_len: usize,
    /// Length of the window, in seconds.
    #[arg(long = "seconds", value_parser = seconds, default_value = "5")]
    pub window: Duration,
    /// Asked before the window opens, in seconds.
    #[arg(long = "warm-up", value_parser = seconds, default_value = "1")]
    pub warm_up: Duration,
    /// End the window after this many replies, if its time isn't over before.
    #[arg(long)]
    pub requests: Option<u64>,
    /// Write every key once before the warm-up.
    #[arg(long)]
    pub preload: bool,
    /// Which keys a connection asks, where the server has shards.
    #[arg(long, value_enum, default_value_t = Route::Any)]
    pub route: Route,
    /// Count the CPU time of this process, and the requests against it.
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Run on this core alone.
    #[arg(long)]
    pub core: Option<usize>,
    /// What to do while no reply is there. A driver that sleeps makes the server pay for waking it.
    #[arg(long, value_enum, default_value_t = Wait::Sleep)]
    pub wait: Wait,
    /// Seed of the random keys.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Give up when nothing is answered for so many seconds.
    #[arg(long, value_parser = seconds, default_value = "30")]
    pub stall: Duration,
}

/// The protocol to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Corduroy's own frames.
    Native,
    /// Redis's.
    Resp,
    /// memcached's text protocol.
    Memcached,
    /// Frames that come back as they were sent.
    Echo,
}

/// What to do with the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operations {
    /// Read them.
    Get,
    /// Write them.
    Put,
    /// Both, as `--mix-puts` says.
    Mix,
}

/// Which keys a connection asks, where the server has shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// Any: the server finds the shard.
    Any,
    /// Those of the one shard that the connection's hello named.
    Direct,
}

/// What to do while no reply is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// Sleep in epoll, as most clients do.
    Sleep,
    /// Ask epoll again at once.
    Spin,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            address: SocketAddr::from(([127, 0, 0, 1], 7379)),
            protocol: Protocol::Native,
            operations: Operations::Get,
            mix_puts: 10,
            connections: 50,
            in_flight: 1,
            keys: 100_000,
            value_len: 64,
            window: Duration::from_secs(5),
            warm_up: Duration::from_secs(1),
            requests: None,
            preload: false,
            route: Route::Any,
            server_pid: None,
            core: None,
            wait: Wait::Sleep,
            seed: 1,
            stall: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Of 100 requests, how many are puts.
    #[must_use]
    pub fn puts_percent(&self) -> u8 {
        match self.operations {
            Operations::Get => 0,
            Operations::Put => 100,
            Operations::Mix => self.mix_puts,
        }
    }

    /// Whether the numbers go together.
    ///
    /// # Errors
    ///
    /// [`DriveError::Config`] with a sentence that names the flag.
    pub fn check(&self) -> Result<(), DriveError> {
        let within = |flag: &str, number: u64, max: u64| {
            if (1..=max).contains(&number) {
                return Ok(());
            }
            Err(DriveError::Config(format!(
                "--{flag} {number} is outside 1..={max}"
            )))
        };
        within(
            "connections",
            self.connections as u64,
            CONNECTIONS_MAX as u64,
        )?;
        within(
            "in-flight",
            u64::from(self.in_flight),
            u64::from(IN_FLIGHT_MAX),
        )?;
        within("keys", self.keys, workload::KEYS_MAX)?;
        within("requests", self.requests.unwrap_or(1), u64::MAX)?;
        if self.protocol == Protocol::Echo && self.value_len > crate::echo::FRAME_LEN_MAX / 2 {
            return Err(DriveError::Config(format!(
                "--value-len {} is more than half of the {} bytes that an echo's frame holds",
                self.value_len,
                crate::echo::FRAME_LEN_MAX
            )));
        }
        if self.protocol != Protocol::Native && self.route == Route::Direct {
            return Err(DriveError::Config(
                "--route direct needs --protocol native: the others know no shards".to_owned(),
            ));
        }
        if self.stall.is_zero() {
            return Err(DriveError::Config(
                "--stall 0 would give up at once".to_owned(),
            ));
        }
        Ok(())
    }
}

/// A number of seconds, with a fraction if need be.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        config: Config,
    }

    // The defaults stand twice, for the command line and for programs; if they drifted apart, the two would measure
    // different loads under the same name.
    #[test]
    fn the_flags_default_to_the_default() {
        let program = Program::parse_from(["drive"]);
        let json = |config: &Config| serde_json::to_value(config).unwrap();
        assert_eq!(json(&program.config), json(&Config::default()));
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_by_name() {
        let refused = |config: Config, flag: &str| {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(flag), "{error}");
        };
        refused(
            Config {
                connections: 0,
                ..Config::default()
            },
            "--connections",
        );
        refused(
            Config {
                in_flight: IN_FLIGHT_MAX + 1,
                ..Config::default()
            },
            "--in-flight",
        );
        refused(
            Config {
                keys: 0,
                ..Config::default()
            },
            "--keys",
        );
        refused(
            Config {
                protocol: Protocol::Resp,
                route: Route::Direct,
                ..Config::default()
            },
            "--route",
        );
        refused(
            Config {
                protocol: Protocol::Echo,
                value_len: 1 << 30,
                ..Config::default()
            },
            "--value-len",
        );
        assert!(Program::try_parse_from(["drive", "--seconds", "-1"]).is_err());
    }
}
