//! Whom to ask.

use std::net::{SocketAddr, ToSocketAddrs as _};

use clap::Args;

use crate::protocol::{Protocol, native::Route};

/// Whom to ask, and in which language.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArguments {
    /// The server, as HOST:PORT [default: 127.0.0.1 and the protocol's usual port]
    #[arg(short, long, value_name = "ADDR", env = "CORDUROY_SERVER")]
    pub server: Option<String>,
    /// The language: native (Corduroy), resp (Redis, Valkey, Dragonfly) or memcached-text
    #[arg(long, value_name = "PROTOCOL", default_value = "native")]
    pub protocol: Protocol,
    /// Where requests go: `any` connection, or `direct` to the core that owns the key (native only; needs a connection a core)
    #[arg(long, value_name = "ROUTE", default_value = "any")]
    pub route: Route,
    /// The keyspace (native only)
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub keyspace: String,
    /// Make the keyspace if it isn't there
    #[arg(long)]
    pub create_keyspace: bool,
    /// The database (RESP only)
    #[arg(long, value_name = "N")]
    pub database: Option<u32>,
    /// The password (RESP only)
    #[arg(
        long,
        value_name = "WORD",
        env = "CORDUROY_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,
    /// The user that the password is for (RESP only)
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The server's process, if it runs on this machine: the CPU time that it uses is told too
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
}

impl ServerArguments {
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
