//! `corduroy-cli`: Corduroy from a shell, a script, or a prompt.
//!
//! ```text
//! arguments ─▶ commands ─▶ corduroy-client ─▶ server
//!                 │  └──▶ transfer (import, export)
//!                 └─▶ output ─▶ standard output
//! ```
//!
//! Where the commands come from: a subcommand on the command line runs alone; without one, a terminal gets a prompt
//! ([`repl`]) and anything else on standard input is a script ([`script`]). All three run the same [`commands`].
//!
//! Three rules hold throughout. Data goes to standard output and everything else to standard error. How it ended is in the exit code
//! ([`exit`]). Keys and values are bytes from end to end, never text ([`text`] turns them into text and back where something
//! is read or shown).

mod arguments;
mod commands;
mod error;
mod exit;
mod interrupt;
mod limits;
mod output;
mod repl;
mod script;
mod text;
mod transfer;

use arguments::{Cli, SessionArguments};
use clap::Parser as _;
use commands::{Mode, Session};
use error::Error;
use exit::Exit;
use output::note;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A usage error ends the process here with 2, a request for help with 0: the codes that clap shares with us.
    let cli = Cli::parse();
    let exit = run(cli).unwrap_or_else(|error| report(&error, ""));
    ExitCode::from(exit)
}

fn run(cli: Cli) -> Result<Exit, Error> {
    let mode = match &cli.command {
        Some(_) => Mode::Command,
        None if io::stdin().is_terminal() => Mode::Interactive,
        None => Mode::Script,
    };
    // Two threads: one may write a file or wait for a person while the other keeps the connections going.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let mut session = Session::new(mode, cli.connection, cli.session);
    let result = match cli.command {
        Some(command) => runtime.block_on(Box::pin(commands::run(
            &mut session,
            &SessionArguments::default(),
            command,
        ))),
        None if mode == Mode::Interactive => repl::run(&runtime, &mut session),
        None => script::run(&runtime, &mut session, io::stdin().lock()),
    };
    // A thread of ours may be in a read that never returns; nothing is lost with it.
    runtime.shutdown_background();
    result
}

/// Says what went wrong, and `place` where; how the program ends.
fn report(error: &Error, place: &str) -> Exit {
    let exit = error.exit();
    match error {
        // Whoever read our output has seen enough.
        _ if exit == Exit::BrokenPipe => {}
        // Clap has its own form, with colours and a tip, and no room for a place. A closed standard error is nobody's loss.
        Error::Arguments(error) => {
            if !place.is_empty() && error.use_stderr() {
                note(format_args!("corduroy-cli: {place}this is no command"));
            }
            drop(error.print());
        }
        _ => {
            note(format_args!("corduroy-cli: {place}{error}"));
            if let Some(hint) = error.hint() {
                note(format_args!("  {hint}"));
            }
        }
    }
    exit
}
