//! What outlives a single command.

use crate::arguments::{ConnectionArguments, SessionArguments};
use crate::error::Error;
use corduroy_client::{Client, Keyspace, Route};

/// The keyspace that always exists.
const KEYSPACE_DEFAULT: &str = "default";

/// Where the commands come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The command line: one command.
    Command,
    /// Standard input, line by line.
    Script,
    /// A person at a prompt.
    Interactive,
}

/// The connection and the settings that commands share.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where the commands come from.
    pub(crate) mode: Mode,
    connection: ConnectionArguments,
    /// What the command line set for all commands.
    defaults: SessionArguments,
    /// Made when it is first needed: `completion` needs none.
    client: Option<Client>,
}

impl Session {
    /// Without a connection yet.
    pub(crate) fn new(
        mode: Mode,
        connection: ConnectionArguments,
        defaults: SessionArguments,
    ) -> Self {
        Self {
            mode,
            connection,
            defaults,
            client: None,
        }
    }

    /// The settings of one command: its own, and those of the session where it has none.
    pub(crate) fn context(&self, own: &SessionArguments) -> SessionArguments {
        SessionArguments {
            keyspace: own
                .keyspace
                .clone()
                .or_else(|| self.defaults.keyspace.clone()),
            output: own.output.or(self.defaults.output),
            escape: own.escape || self.defaults.escape,
        }
    }

    /// Where the server is, as it was named.
    pub(crate) fn server(&self) -> &str {
        &self.connection.server
    }

    /// The keyspace that a command with these settings is about.
    pub(crate) fn keyspace_name<'a>(&self, context: &'a SessionArguments) -> &'a str {
        context.keyspace.as_deref().unwrap_or(KEYSPACE_DEFAULT)
    }

    /// From now on commands are about this keyspace, if they don't say otherwise.
    pub(crate) fn use_keyspace(&mut self, name: String) {
        self.defaults.keyspace = Some(name);
    }

    /// The client of single commands: one connection, whichever core serves it. What a hop inside the server costs is
    /// nothing beside a second connection.
    pub(crate) async fn client(&mut self) -> Result<&Client, Error> {
        if self.client.is_none() {
            self.client = Some(self.connect(Route::Any).await?);
        }
        Ok(self.client.as_ref().expect("it was just made"))
    }

    /// The keyspace of a single command.
    pub(crate) async fn keyspace(&mut self, context: &SessionArguments) -> Result<Keyspace, Error> {
        let name = self.keyspace_name(context);
        let client = self.client().await?;
        open(client, name).await
    }

    /// The keyspace of an import or export: over connections of its own, one to each shard.
    pub(crate) async fn keyspace_for_bulk(
        &mut self,
        context: &SessionArguments,
    ) -> Result<Keyspace, Error> {
        let client = self.connect(Route::Direct).await?;
        open(&client, self.keyspace_name(context)).await
    }

    async fn connect(&self, route: Route) -> Result<Client, Error> {
        let client = Client::builder()
            .address(&*self.connection.server)
            .connect_timeout(self.connection.timeout)
            .request_timeout(self.connection.timeout)
            .route(route)
            .name(concat!("corduroy-cli/", env!("CARGO_PKG_VERSION")))
            .build()
            .await?;
        Ok(client)
    }
}

async fn open(client: &Client, name: &str) -> Result<Keyspace, Error> {
    if name == KEYSPACE_DEFAULT {
        return Ok(client.default_keyspace());
    }
    Ok(client.keyspace(name).await?)
}
