//! Exit codes: the part of the interface that scripts lean on.
//!
//! A code is never reused for another meaning. What a script needs to tell apart is whether the question was answered
//! (0, 1, 4), whether asking again is safe (3: nothing was done; 5: nobody knows), and whether it is the caller's own mistake (2, 7).

use std::process::ExitCode;

/// How the program (or one line of a script) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done, or found.
    Done = 0,
    /// The key, or the keyspace to drop, does not exist.
    NotFound = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The server could not be reached, or the connection ended before the request was sent: nothing was done.
    CannotConnect = 3,
    /// The condition did not hold; nothing was changed.
    ConditionFailed = 4,
    /// The request was sent and no answer came: it may or may not have been done.
    OutcomeUnknown = 5,
    /// The server refused the request; nothing was changed.
    Refused = 6,
    /// A local file, standard input or standard output failed, or an imported line makes no sense.
    Local = 7,
    /// An import came to its end but left lines out (`--on-error skip`).
    Skipped = 8,
    /// Ended by Ctrl-C: what a shell reports for SIGINT.
    Interrupted = 130,
    /// The reader of standard output went away: what a shell reports for SIGPIPE.
    BrokenPipe = 141,
}

impl Exit {
    /// Whether a script stops at a line that ended so. An absent key or a condition that did not hold is an answer, not an error.
    pub(crate) fn ends_script(self) -> bool {
        !matches!(self, Self::Done | Self::NotFound | Self::ConditionFailed)
    }

    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table that `--help` and `docs/cli.md` show.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done, or found
    1  not found: the key (or the keyspace to drop) does not exist
    2  usage: the command line makes no sense
    3  cannot connect: nothing was done
    4  condition failed: nothing was changed
    5  outcome unknown: the request was sent, but no answer came
    6  refused: the server answered with an error; nothing was changed
    7  local: a file, standard input or output failed, or an imported line makes no sense
    8  skipped: an import left lines out (--on-error skip)
  130  interrupted by Ctrl-C
  141  the reader of standard output went away";

#[cfg(test)]
mod tests {
    use super::*;

    /// The help text once fell out of step with the codes of a tool like this one, and scripts were written against the
    /// help. Every code must stand in the text at its own line.
    #[test]
    fn help_names_every_code() {
        let all = [
            Exit::Done,
            Exit::NotFound,
            Exit::Usage,
            Exit::CannotConnect,
            Exit::ConditionFailed,
            Exit::OutcomeUnknown,
            Exit::Refused,
            Exit::Local,
            Exit::Skipped,
            Exit::Interrupted,
            Exit::BrokenPipe,
        ];
        let listed: Vec<u8> = HELP
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(listed, all.map(Exit::code));
    }

    /// A script that asks for an absent key gets its answer and goes on; one whose server is gone stops.
    #[test]
    fn answers_do_not_end_a_script() {
        for exit in [Exit::Done, Exit::NotFound, Exit::ConditionFailed] {
            assert!(!exit.ends_script());
        }
        for exit in [
            Exit::Usage,
            Exit::CannotConnect,
            Exit::OutcomeUnknown,
            Exit::Refused,
            Exit::Local,
        ] {
            assert!(exit.ends_script());
        }
    }
}
