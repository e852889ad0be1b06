//! Exit codes: scripts and CI lean on them.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A `--fail-if` holds or can't be told, `verify` found a fault, or `load` could not write every key.
    Failed = 1,
    /// The command line makes no sense, or the server can't be asked that.
    Usage = 2,
    /// The server could not be reached.
    CannotConnect = 3,
    /// A local file can't be read or written.
    Local = 7,
    /// Ended by Ctrl-C; what was measured until then was printed.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// What `--help` says of them.
pub(super) const HELP: &str = "\
Exit codes:
    0  done
    1  a --fail-if holds or can't be told, verify found a fault, or load could not write every key
    2  the command line makes no sense, or this server can't be asked that
    3  the server could not be reached
    7  a file could not be read or written
  130  ended by Ctrl-C; what was measured until then was printed

Sizes may be written as 64, 4KiB or 1MB, numbers as 100k or 2M, times as 500us, 10ms or 1m.";
