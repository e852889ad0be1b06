//! Whom to ask.

use std::net::{SocketAddr, ToSocketAddrs as _};

use clap::Args;

use crate::protocol::{Protocol, native::Route};

/// Where a password may stand that is not to be seen in a list of processes.
pub const PASSWORD: &str = "CORDUROY_PASSWORD";

/// Whom to ask, and in which language.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct TargetArguments {
    /// The server, as HOST:PORT [default: 127.0.0.1 and the protocol's usual port]
    #[arg(short, long, value_name = "ADDR", env = "CORDUROY_SERVER")]
    pub server: Option<String>,
    /// The language: native (Corduroy), resp (Redis, Valkey, Dragonfly) or memcached-text
    #[arg(long, value_name = "PROTOCOL", default_value = "native")]
    pub protocol: Protocol,
    /// The keyspace (native only)
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub keyspace: String,
    /// The database (RESP only)
    #[arg(long, value_name = "N")]
    pub database: Option<u32>,
    /// The password (RESP only) [env: CORDUROY_PASSWORD, which other protocols leave alone]
    #[arg(long, value_name = "WORD")]
    pub password: Option<String>,
    /// The user that the password is for (RESP only)
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

/// The same, and how what is measured gets there.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArguments {
    /// Whom to ask.
    #[command(flatten)]
    pub target: TargetArguments,
    /// Make the keyspace if it isn't there
    #[arg(long)]
    pub create_keyspace: bool,
    /// Where requests go: `any` connection, or `direct` to the core that owns the key (native only; needs a connection a core)
    #[arg(long, value_name = "ROUTE", default_value = "any")]
    pub route: Route,
}

impl From<TargetArguments> for ServerArguments {
    fn from(target: TargetArguments) -> ServerArguments {
        ServerArguments {
            target,
            create_keyspace: false,
            route: Route::Any,
        }
    }
}

impl TargetArguments {
    /// As it was given, or in RESP as the environment has it.
    #[must_use]
    pub fn password(&self) -> Option<String> {
        let of_environment = || match self.protocol {
            Protocol::Resp => std::env::var(PASSWORD).ok(),
            Protocol::Native | Protocol::MemcachedText => None,
        };
        self.password.clone().or_else(of_environment)
    }

    /// As it was written, or the default.
    #[must_use]
    pub fn name(&self) -> String {
        self.server
            .clone()
            .unwrap_or_else(|| format!("127.0.0.1:{}", self.protocol.default_port()))
    }

    /// The address, looked up.
    ///
    /// # Errors
    ///
    /// In words: why there is none.
    pub fn address(&self) -> Result<SocketAddr, String> {
        let name = self.name();
        let with_port = if name
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        {
            name.clone()
        } else {
            format!("{name}:{}", self.protocol.default_port())
        };
        let mut found = with_port.to_socket_addrs().map_err(|error| {
            format!(
                "`{name}` can't be looked up: {error}; write HOST:PORT, such as 127.0.0.1:{}",
                self.protocol.default_port()
            )
        })?;
        found
            .next()
            .ok_or_else(|| format!("`{name}` has no address"))
    }
}
