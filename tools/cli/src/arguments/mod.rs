//! What may stand on the command line: the whole grammar, its help and its examples.
//!
//! The same grammar serves three places. [`Cli`] is the command line of the process. [`Line`] is one line of a script or of the
//! interactive mode: the same subcommands and [`SessionArguments`], but no server, for that is settled when the program
//! starts. Keys and values are taken as the operating system hands them over, as bytes and not as text;
//! [`SessionArguments::escape`] decides afterwards whether escapes in them mean anything.

mod bulk;
mod keys;
mod keyspaces;

pub(crate) use bulk::{ExportArguments, ImportArguments, OnError, ScanArguments};
pub(crate) use keys::{
    AddArguments, AppendArguments, ConditionArguments, DeleteArguments, KeyArguments, PutArguments,
    TouchArguments,
};
pub(crate) use keyspaces::{FlushArguments, KeyspaceCommand};

use crate::exit;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::time::Duration;

/// Where the server listens unless told otherwise.
pub(crate) const SERVER_DEFAULT: &str = "127.0.0.1:7379";

const EXAMPLES: &str = "\
Examples:
  corduroy-cli put greeting 'hello, world'
  corduroy-cli get greeting
  corduroy-cli --server db1:7379 -k sessions scan user:
  corduroy-cli import packages.jsonl
  printf 'put a 1\\nadd a 41\\nget a\\n' | corduroy-cli

Without a command: a prompt with history and completion on a terminal; otherwise the lines
of standard input are run as a script.";

/// The command line of the process.
#[derive(Debug, Parser)]
#[command(
    name = "corduroy-cli",
    version,
    about = "Talks to a Corduroy server: reads and writes keys, moves data in and out, administers keyspaces",
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::HELP),
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
    #[command(flatten)]
    pub(crate) session: SessionArguments,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Which server, and how patiently.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectionArguments {
    /// The server, as HOST:PORT
    #[arg(short, long, global = true, env = "CORDUROY_SERVER", value_name = "ADDR", default_value = SERVER_DEFAULT)]
    pub(crate) server: String,

    /// How long to wait for a connection, and for each answer, such as 500ms or 1m
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
}

/// What a line of a script may set for itself, over what the command line said.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SessionArguments {
    /// The keyspace [default: default]
    #[arg(
        short,
        long,
        global = true,
        env = "CORDUROY_KEYSPACE",
        value_name = "NAME"
    )]
    pub(crate) keyspace: Option<String>,

    /// How to print results [default: table on a terminal, else raw]
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<OutputFormat>,

    /// Read \xNN, \n, \t, \r, \0 and \\ in keys and values on the command line as the bytes they stand for
    #[arg(long, global = true)]
    pub(crate) escape: bool,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people: aligned columns, unprintable bytes escaped
    Table,
    /// One JSON object a result; bytes that are not UTF-8 as {"base64": …}
    Json,
    /// The value's bytes and nothing else
    Raw,
}

/// One line of a script or of the interactive mode.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_version_flag = true, name = "")]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) session: SessionArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a value
    Put(PutArguments),
    /// Read a value
    #[command(after_help = "\
Examples:
  corduroy-cli get greeting
  corduroy-cli -o raw get photo > photo.jpg      every byte, nothing added
  corduroy-cli -o json get greeting              with version and time
  corduroy-cli --escape get 'bin\\x00key'

Ends with 1 if the key does not exist.")]
    Get(KeyArguments),
    /// Delete a key
    #[command(visible_alias = "delete")]
    Del(DeleteArguments),
    /// Say whether a key exists
    #[command(after_help = "\
Examples:
  corduroy-cli exists greeting && echo there

Prints true or false; ends with 0 if the key exists, with 1 if not.")]
    Exists(KeyArguments),
    /// Add to a counter
    Add(AddArguments),
    /// Append to a value
    Append(AppendArguments),
    /// Say how long a key has left to live
    #[command(after_help = "\
Examples:
  corduroy-cli ttl session:42
  corduroy-cli -o raw ttl session:42             milliseconds, or \"none\"

Ends with 1 if the key does not exist.")]
    Ttl(KeyArguments),
    /// Give a key a new time to live
    Touch(TouchArguments),
    /// Let a key live until it is deleted
    #[command(after_help = "\
Examples:
  corduroy-cli persist session:42

Ends with 1 if the key does not exist.")]
    Persist(KeyArguments),
    /// List keys, all or those with a prefix
    Scan(ScanArguments),
    /// Count the keys of the keyspace
    #[command(after_help = "\
Examples:
  corduroy-cli count
  corduroy-cli -k sessions count")]
    Count,
    /// Write the records of a file
    Import(ImportArguments),
    /// Write all records to a file
    Export(ExportArguments),
    /// Create, drop and list keyspaces
    #[command(subcommand)]
    Keyspace(KeyspaceCommand),
    /// Drop all keys of the keyspace
    Flush(FlushArguments),
    /// Say how the node and its shards are doing
    #[command(after_help = "\
Examples:
  corduroy-cli status
  corduroy-cli -o json status | jq .")]
    Status,
    /// Give back the space of what was overwritten and deleted
    #[command(after_help = "\
Examples:
  corduroy-cli compact
  corduroy-cli --timeout 1h compact              a large log takes its time

The node does this by itself as it becomes necessary. Ends when everything that was there is compacted, as far as that is worth it.")]
    Compact,
    /// Have the node take a backup of itself
    #[command(after_help = "\
Examples:
  corduroy-cli backup
  corduroy-cli backup nightly && corduroy backup verify /srv/backups/nightly

DIR is a directory below the one that the node is configured with (backup_directory), on the node's machine: a plain name, \"default\" if \
none is given. Segments that an earlier backup there has are linked to that. Nothing on the node stops or waits meanwhile. Takes as long as it \
takes, whatever --timeout says; interrupted, it goes on without anybody waiting.")]
    Backup {
        /// The series of backups that it is to belong to
        #[arg(value_name = "DIR", default_value = "")]
        series: String,
    },
    /// Measure the time to the server and back
    #[command(after_help = "\
Examples:
  corduroy-cli ping
  until corduroy-cli --timeout 1s ping; do sleep 1; done")]
    Ping,
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  source <(corduroy-cli completion bash)
  corduroy-cli completion zsh > ~/.zfunc/_corduroy-cli
  corduroy-cli completion fish > ~/.config/fish/completions/corduroy-cli.fish")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether the command itself looks at Ctrl-C, to end in good order.
    pub(crate) fn handles_interrupts(&self) -> bool {
        matches!(self, Self::Scan(_) | Self::Import(_) | Self::Export(_))
    }
}

/// A duration over nothing, in words such as `1h 30m`.
fn positive_duration(text: &str) -> Result<Duration, DurationError> {
    let duration = humantime::parse_duration(text)?;
    if duration.as_millis() == 0 {
        return Err(DurationError::TooShort);
    }
    Ok(duration)
}

/// Why a text is no duration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DurationError {
    /// Not a number with a unit.
    #[error("{0}; write it like 500ms, 10s or 1h 30m")]
    Text(#[from] humantime::DurationError),
    /// Less than the wire can say.
    #[error("the shortest duration is 1ms")]
    TooShort,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("corduroy-cli").chain(words.iter().copied()))
    }

    fn command(words: &[&str]) -> Command {
        parse(words).unwrap().command.unwrap()
    }

    /// Clap finds contradictions in a grammar only when it is asked to.
    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
        Line::command().debug_assert();
    }

    /// A subcommand was once added without an example, and its users guessed.
    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            for subcommand in command.get_subcommands() {
                check(subcommand);
            }
            if command.get_subcommands().next().is_none() {
                let help = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(help.split_whitespace().any(|word| word == name), "{name}");
            }
        }
        check(&Cli::command());
    }

    /// A counter goes down too, and values begin with whatever they like: neither may be taken for a flag.
    #[test]
    fn hyphens_in_values() {
        assert!(
            matches!(command(&["add", "k", "-5"]), Command::Add(arguments) if arguments.delta == -5)
        );
        assert!(
            matches!(command(&["put", "k", "-"]), Command::Put(arguments) if arguments.value == "-")
        );
        assert!(
            matches!(command(&["put", "k", "-5"]), Command::Put(arguments) if arguments.value == "-5")
        );
        assert!(
            matches!(command(&["put", "k", "--no-flag"]), Command::Put(arguments) if arguments.value == "--no-flag")
        );
        assert!(
            matches!(command(&["put", "--", "-k", "--ttl"]), Command::Put(arguments) if arguments.key == "-k" && arguments.value == "--ttl")
        );
    }

    /// Flags after the value are flags: `put k v --ttl 10s` must not store a key that lives for ever.
    #[test]
    fn flags_after_values() {
        let Command::Put(arguments) = command(&["put", "k", "v", "--ttl", "10s", "--return"])
        else {
            panic!("not a put");
        };
        assert_eq!(arguments.ttl, Some(Duration::from_secs(10)));
        assert!(arguments.return_value);
        let cli = parse(&[
            "get", "k", "-k", "sessions", "-o", "json", "--server", "db:1",
        ])
        .unwrap();
        assert_eq!(cli.session.keyspace.as_deref(), Some("sessions"));
        assert_eq!(cli.session.output, Some(OutputFormat::Json));
        assert_eq!(cli.connection.server, "db:1");
    }

    /// Two conditions, or two answers to what becomes of the expiry: better refused than one silently ignored.
    #[test]
    fn contradictions_are_refused() {
        for words in [
            &["put", "k", "v", "--if-absent", "--if-version", "3"][..],
            &["put", "k", "v", "--ttl", "1s", "--keep-ttl"],
            &["del", "k", "--if-present", "--if-value", "x"],
        ] {
            assert_eq!(
                parse(words).unwrap_err().kind(),
                ErrorKind::ArgumentConflict,
                "{words:?}"
            );
        }
        for words in [
            &["put", "k", "v", "--ttl", "0s"][..],
            &["touch", "k", "10"],
            &["add", "k", "1.5"],
        ] {
            assert_eq!(
                parse(words).unwrap_err().kind(),
                ErrorKind::ValueValidation,
                "{words:?}"
            );
        }
    }

    /// Keys are bytes. A key that is not UTF-8 must reach the server as it was typed.
    #[test]
    fn keys_need_not_be_text() {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt as _;
        let key = OsString::from_vec(vec![0xff, 0xfe]);
        let words = [
            OsString::from("corduroy-cli"),
            OsString::from("get"),
            key.clone(),
        ];
        let cli = Cli::try_parse_from(words).unwrap();
        assert!(matches!(cli.command, Some(Command::Get(arguments)) if arguments.key == key));
    }

    /// A script is tied to one server: a line that names another would be obeyed only in part.
    #[test]
    fn a_line_has_no_server() {
        assert!(Line::try_parse_from(["get", "k", "-o", "raw"]).is_ok());
        assert_eq!(
            Line::try_parse_from(["get", "k", "--server", "x"])
                .unwrap_err()
                .kind(),
            ErrorKind::UnknownArgument
        );
    }
}
