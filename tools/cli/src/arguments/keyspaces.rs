//! Arguments of the commands on whole keyspaces.

use clap::{Args, Subcommand};

/// `keyspace`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyspaceCommand {
    /// Make a keyspace
    #[command(after_help = "\
Examples:
  corduroy-cli keyspace create sessions
  corduroy-cli keyspace create big --partitions 256
  corduroy-cli keyspace create sessions --if-absent")]
    Create {
        /// Its name: 1 to 255 bytes
        name: String,
        /// How many partitions it is divided into; 0 for the server's default
        #[arg(long, value_name = "N", default_value_t = 0)]
        partitions: u16,
        /// Be content if it exists already
        #[arg(long)]
        if_absent: bool,
    },
    /// Remove a keyspace and all its keys
    #[command(after_help = "\
Examples:
  corduroy-cli keyspace drop sessions
  corduroy-cli keyspace drop sessions --yes

Asks before it does so; --yes answers. Ends with 1 if there is no such keyspace.")]
    Drop {
        /// Its name
        name: String,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
    },
    /// List all keyspaces
    #[command(after_help = "\
Examples:
  corduroy-cli keyspace list")]
    List,
}

/// `flush`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  corduroy-cli -k sessions flush
  corduroy-cli -k sessions flush --yes

Asks before it does so; --yes answers.")]
pub(crate) struct FlushArguments {
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}
