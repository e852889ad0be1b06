//! Why a command failed, and how the program ends then.
//!
//! One enum for the whole program. Each variant's text is what a person reads after `corduroy-cli:`, and
//! [`Error::exit`] is what a script reads. Whether something was changed is the client crate's to say
//! ([`corduroy_client::Error::outcome`]); here it only becomes a code.

use crate::exit::Exit;
use crate::text::escape::EscapeError;
use crate::text::words::WordsError;
use crate::transfer::TransferError;
use std::io;

/// See the module's header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request failed: no connection, no answer, or a refusal.
    #[error("{0}")]
    Client(#[from] corduroy_client::Error),
    /// A key or value on the command line holds a bad escape.
    #[error("{what}: {source}")]
    Escape {
        /// Which argument.
        what: &'static str,
        /// What is wrong with it.
        source: EscapeError,
    },
    /// A line of a script or of the interactive mode can't be cut into words.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// The words of a line make no command, or ask for help; clap has the text.
    #[error("{0}")]
    Arguments(#[from] clap::Error),
    /// `-` as a value, where standard input holds the commands.
    #[error("a value can't be read from standard input here: the commands come from there")]
    StdinIsScript,
    /// The value on standard input does not end.
    #[error("the value on standard input is longer than {max} bytes")]
    StdinTooLong {
        /// The bound, in bytes.
        max: u64,
    },
    /// A command that destroys was not confirmed, and there is nobody to ask.
    #[error("{command} needs --yes where it cannot ask")]
    NotConfirmed {
        /// Which command.
        command: &'static str,
    },
    /// Somebody was asked and said no.
    #[error("nothing was done")]
    Declined,
    /// Ctrl-C. What was under way may have been done.
    #[error("interrupted")]
    Interrupted,
    /// Standard input can't be read.
    #[error("cannot read standard input: {0}")]
    Stdin(#[source] io::Error),
    /// Standard output can't be written.
    #[error("cannot write standard output: {0}")]
    Stdout(#[source] io::Error),
    /// A line of a script is longer than any command.
    #[error("the line is longer than {max} bytes")]
    LineTooLong {
        /// The bound, in bytes.
        max: usize,
    },
    /// The interactive mode can't use the terminal.
    #[error("cannot use the terminal: {0}")]
    Terminal(#[from] rustyline::error::ReadlineError),
    /// The runtime can't be started.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// An import or export ended early.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl Error {
    /// How the program ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => client_exit(error),
            Self::Escape { .. }
            | Self::Words(_)
            | Self::StdinIsScript
            | Self::LineTooLong { .. }
            | Self::NotConfirmed { .. } => Exit::Usage,
            Self::Arguments(error) if error.use_stderr() => Exit::Usage,
            // A request for help, which was answered.
            Self::Arguments(_) => Exit::Done,
            Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::BrokenPipe,
            Self::Declined | Self::Interrupted => Exit::Interrupted,
            Self::Stdin(_)
            | Self::StdinTooLong { .. }
            | Self::Stdout(_)
            | Self::Terminal(_)
            | Self::Runtime(_) => Exit::Local,
            Self::Transfer(error) => error.exit(),
        }
    }

    /// What could be done about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => client_hint(error),
            Self::Transfer(error) => error.client_error().and_then(client_hint),
            _ => None,
        }
    }
}

/// The code for an error of the client crate.
pub(crate) fn client_exit(error: &corduroy_client::Error) -> Exit {
    use corduroy_client::Error as Client;
    if error.is_outcome_unknown() {
        return Exit::OutcomeUnknown;
    }
    match error {
        Client::Server { .. } | Client::Limit(_) | Client::KeyspaceNotFound { .. } => Exit::Refused,
        Client::Runtime { .. } => Exit::Local,
        _ => Exit::CannotConnect,
    }
}

fn client_hint(error: &corduroy_client::Error) -> Option<String> {
    use corduroy_client::Error as Client;
    match error {
        Client::Connect { .. } => Some(
            "start a server with `corduroy serve`, or name another one with --server ADDR or CORDUROY_SERVER".to_owned(),
        ),
        Client::KeyspaceNotFound { name } => Some(format!("`corduroy-cli keyspace create {name}` makes it")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corduroy_client::{Error as Client, LostReason, Outcome, Status};

    /// A script that retries on 3 and stops on 5 loses or doubles data if the two are mixed up.
    #[test]
    fn unknown_outcomes_have_a_code_of_their_own() {
        let lost = |outcome| Client::ConnectionLost {
            address: "a:1".into(),
            outcome,
            source: LostReason::Closed,
        };
        let server = |status| Client::Server {
            status,
            message: String::new(),
        };
        let cases = [
            (lost(Outcome::NotDone), Exit::CannotConnect),
            (
                lost(Outcome::Unknown { repeatable: false }),
                Exit::OutcomeUnknown,
            ),
            (
                lost(Outcome::Unknown { repeatable: true }),
                Exit::OutcomeUnknown,
            ),
            (server(Status::OutcomeUnknown), Exit::OutcomeUnknown),
            (server(Status::ReadOnly), Exit::Refused),
            (server(Status::NotACounter), Exit::Refused),
            (
                Client::KeyspaceNotFound {
                    name: "x".to_owned(),
                },
                Exit::Refused,
            ),
        ];
        for (error, exit) in cases {
            assert_eq!(client_exit(&error), exit, "{error}");
        }
    }

    /// `scan | head` must end without a word, but a full disk must be heard of.
    #[test]
    fn a_broken_pipe_is_not_a_full_disk() {
        assert_eq!(
            Error::Stdout(io::ErrorKind::BrokenPipe.into()).exit(),
            Exit::BrokenPipe
        );
        assert_eq!(
            Error::Stdout(io::ErrorKind::StorageFull.into()).exit(),
            Exit::Local
        );
    }
}
