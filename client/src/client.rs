//! The client: how it is made, and what is not about one keyspace.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use corduroy_proto_wire::{HelloReply, KeyspaceInfo, Request};
use tokio::time::Instant;

use crate::call::{Core, deadline_after};
use crate::connection::{ConnectionOptions, Introduction};
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::limits;
use crate::pool::{Pool, Target};
use crate::reply;
use crate::retry::RetryPolicy;

/// The keyspace that always exists.
const KEYSPACE_DEFAULT: &str = "default";

/// How requests find a core of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Route {
    /// Straight to the shard that owns the key, on a connection to that shard's core. The server passes nothing on.
    #[default]
    Direct,
    /// On any connection. The server passes requests on to their shards. Fewer connections, for the price of a hop inside the server.
    Any,
}

/// A client of one server. Cheap to clone; all clones share the connections, which close with the last of them.
///
/// It lives on the tokio runtime that it was made on, and needs that runtime's I/O and time.
///
/// ```no_run
/// # async fn example() -> corduroy_client::Result<()> {
/// use corduroy_client::Client;
///
/// let client = Client::connect("127.0.0.1:7379").await?;
/// let keyspace = client.default_keyspace();
/// keyspace.put("greeting", "hello").await?;
/// let greeting = keyspace.get("greeting").await?.expect("it was just put");
/// assert_eq!(greeting.value, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    core: Arc<Core>,
    default_keyspace: Keyspace,
}

/// Settings for a [`Client`]. Everything but the address has a default.
///
/// ```no_run
/// # async fn example() -> corduroy_client::Result<()> {
/// use corduroy_client::{Client, RetryPolicy, Route};
/// use std::time::Duration;
///
/// let client = Client::builder()
///     .address("db.example:7379")
///     .name("billing")
///     .connections(2)
///     .route(Route::Direct)
///     .request_timeout(Duration::from_secs(3))
///     .retry(RetryPolicy::default().attempts_max(5))
///     .build()
///     .await?;
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    address: String,
    connections: usize,
    connect_timeout: Duration,
    request_timeout: Duration,
    keepalive: Option<Duration>,
    retry: RetryPolicy,
    route: Route,
    name: String,
    answer_len_max: u32,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            address: format!("127.0.0.1:{}", limits::PORT_DEFAULT),
            connections: 1,
            connect_timeout: limits::CONNECT_TIMEOUT_DEFAULT,
            request_timeout: limits::REQUEST_TIMEOUT_DEFAULT,
            keepalive: Some(limits::KEEPALIVE_DEFAULT),
            retry: RetryPolicy::default(),
            route: Route::default(),
            name: concat!("corduroy-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            answer_len_max: limits::ANSWER_LEN_MAX_DEFAULT,
        }
    }
}

impl ClientBuilder {
    /// Host and port; the port is 7379 where there is none. By default `127.0.0.1:7379`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// Most connections: to each shard with [`Route::Direct`], in all with [`Route::Any`]. By default 1. They are opened when they
    /// are first needed. One connection carries any number of requests at once; more than a few are seldom of use.
    /// Taken as 1 where it is 0.
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count.clamp(1, limits::CONNECTIONS_MAX);
        self
    }

    /// How long it may take to open a connection, name lookup and handshake included. By default 5 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a request may take, all its attempts and pauses included. By default 10 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// After how much silence on a connection the server is asked whether it is there; after as much again, the
    /// connection is given up. `None` for never. By default 15 s.
    pub fn keepalive(mut self, interval: Option<Duration>) -> Self {
        self.keepalive = interval.filter(|interval| *interval > Duration::ZERO);
        self
    }

    /// When to try a request again. By default up to 16 attempts within the request's timeout.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How requests find a core of the server. By default [`Route::Direct`].
    pub fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// What the server calls the client in its logs and its status: at most 255 bytes, no control characters.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The longest answer to accept, in bytes. By default 32 MiB, more than any of the protocol. It bounds what a server can make the client hold
    /// on one connection.
    pub fn answer_len_max(mut self, len: u32) -> Self {
        self.answer_len_max = len;
        self
    }

    /// Opens the first connection.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] if that fails; there are no further attempts. [`Error::Limit`] if the name is not one.
    pub async fn build(self) -> Result<Client> {
        let address: Arc<str> = with_port(&self.address).into();
        let introduction = Introduction {
            client_name: self.name,
            keyspace: KEYSPACE_DEFAULT.to_owned(),
        };
        introduction.validate()?;
        let options = ConnectionOptions {
            address: Arc::clone(&address),
            introduction,
            connect_timeout: self.connect_timeout,
            keepalive: self.keepalive,
            answer_len_max: self.answer_len_max,
        };
        let direct = self.route == Route::Direct;
        let pool = Pool::open(options, self.retry.clone(), direct, self.connections)
            .await
            .map_err(|source| Error::Connect { address, source })?;
        let hello = pool.hello();
        let core = Arc::new(Core {
            pool,
            retry: self.retry,
            request_timeout: self.request_timeout,
        });
        let default_keyspace =
            Keyspace::new(Arc::clone(&core), KEYSPACE_DEFAULT, hello.keyspace.as_ref());
        Ok(Client {
            core,
            default_keyspace,
        })
    }
}

impl Client {
    /// Connects with default settings to `host:port`.
    ///
    /// # Errors
    ///
    /// See [`ClientBuilder::build`].
    pub async fn connect(address: impl Into<String>) -> Result<Self> {
        Self::builder().address(address).build().await
    }

    /// Settings to connect with.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The keyspace `default`, which always exists.
    #[must_use]
    pub fn default_keyspace(&self) -> Keyspace {
        self.default_keyspace.clone()
    }

    /// The keyspace of this name.
    ///
    /// # Errors
    ///
    /// [`Error::KeyspaceNotFound`] if there is none; anything else as [`Error`] says.
    pub async fn keyspace(&self, name: &str) -> Result<Keyspace> {
        let keyspace = Keyspace::new(Arc::clone(&self.core), name, None);
        keyspace.open().await?;
        Ok(keyspace)
    }

    /// Makes a keyspace of so many partitions, or of the server's default number of them.
    ///
    /// # Errors
    ///
    /// [`Error::Server`] with `AlreadyExists` if there is one of this name; anything else as [`Error`] says.
    pub async fn create_keyspace(&self, name: &str, partitions: Option<u16>) -> Result<Keyspace> {
        let request = Request::KeyspaceCreate {
            name,
            partitions: partitions.unwrap_or(0),
        };
        let made = self
            .core
            .call(
                Target::Any,
                &request,
                self.core.deadline(),
                reply::keyspaces,
            )
            .await?;
        Ok(Keyspace::new(
            Arc::clone(&self.core),
            name,
            made.iter().find(|info| info.name == name),
        ))
    }

    /// Removes a keyspace and all its keys. `false` if there was none of this name.
    ///
    /// # Errors
    ///
    /// See [`Error`]. `default` can't be dropped.
    pub async fn drop_keyspace(&self, name: &str) -> Result<bool> {
        let request = Request::KeyspaceDrop { name };
        self.core
            .call(
                Target::Any,
                &request,
                self.core.deadline(),
                reply::done_if_found,
            )
            .await
    }

    /// All keyspaces.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn list_keyspaces(&self) -> Result<Vec<KeyspaceInfo>> {
        self.core
            .call(
                Target::Any,
                &Request::KeyspaceList,
                self.core.deadline(),
                reply::keyspaces,
            )
            .await
    }

    /// How the server and each of its shards are doing, as JSON.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn status(&self) -> Result<String> {
        self.core
            .call(
                Target::Any,
                &Request::Status,
                self.core.deadline(),
                reply::status,
            )
            .await
    }

    /// Has every shard give back the space of what was overwritten and deleted, and waits until that is done. It takes as long as it takes to
    /// copy what lives beside it; if that is longer than the client's timeout, it goes on without anybody waiting.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn compact(&self) -> Result<()> {
        self.core
            .call(
                Target::Any,
                &Request::Compact,
                self.core.deadline(),
                reply::done,
            )
            .await
    }

    /// Has the node take a backup of itself, into a series of this name below the directory that it is configured with (empty: `default`), and waits
    /// until it is whole, or for so long. Answers what was done, as JSON (`docs/backup.md`). If it takes longer, it goes on without anybody waiting.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn backup(&self, series: &str, timeout: Duration) -> Result<String> {
        self.core
            .call(
                Target::Any,
                &Request::Backup { series },
                deadline_after(timeout),
                reply::status,
            )
            .await
    }

    /// Asks whether the server is there; answers how long it took.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn ping(&self) -> Result<Duration> {
        let begin = Instant::now();
        let request = Request::Ping { payload: &[] };
        self.core
            .call(Target::Any, &request, self.core.deadline(), reply::done)
            .await?;
        Ok(begin.elapsed())
    }

    /// What the server said of itself when a connection was last opened: its shards, its limits, its program and version.
    #[must_use]
    pub fn server(&self) -> HelloReply {
        self.core.pool.hello()
    }
}

/// The address with a port: the default one if it names none.
fn with_port(address: &str) -> String {
    let port = limits::PORT_DEFAULT;
    if let Ok(ip) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
        return SocketAddr::new(ip, port).to_string();
    }
    match address.rsplit_once(':') {
        Some((_, digits)) if digits.parse::<u16>().is_ok() => address.to_owned(),
        _ => format!("{address}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv6 address is full of colons: the last group must not be taken for a port.
    #[test]
    fn the_port_is_7379_where_there_is_none() {
        for (given, expected) in [
            ("127.0.0.1", "127.0.0.1:7379"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("::1", "[::1]:7379"),
            ("[::1]", "[::1]:7379"),
            ("[::1]:1", "[::1]:1"),
            ("fe80::1:7379", "[fe80::1:7379]:7379"),
            ("db.example", "db.example:7379"),
            ("db.example:1", "db.example:1"),
        ] {
            assert_eq!(with_port(given), expected);
        }
    }
}
