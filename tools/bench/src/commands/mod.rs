//! The subcommands: each ties a server, a workload and the engine together, and says what came out.
//!
//! Results go to standard output, all else (progress, warnings, errors) to standard error.

mod files;
mod live;
mod load;
mod measure;
mod quick;
mod results;
mod run;
mod sweep;
mod verify;

use std::{
    io::{self, Write as _},
    sync::{Arc, atomic::AtomicBool},
};

use crate::{
    cli::{self, Cli, Command, Exit},
    session::Failure,
};

/// Carries out a command line.
#[must_use]
pub fn carry_out(cli: Cli) -> Exit {
    let done = match cli.command {
        None => say(cli::TRY).map(|()| Exit::Done),
        Some(Command::Load(arguments)) => load::load(&arguments),
        Some(Command::Run(arguments)) => run::run(&arguments),
        Some(Command::Sweep(arguments)) => sweep::sweep(&arguments),
        Some(Command::Compare(arguments)) => files::compare(&arguments),
        Some(Command::Plot(arguments)) => files::plot(&arguments),
        Some(Command::Show(arguments)) => files::show(&arguments),
        Some(Command::Verify(arguments)) => verify::verify(&arguments),
        Some(Command::Quick(arguments)) => quick::quick(&arguments),
    };
    match done {
        Ok(exit) => exit,
        Err(failure) => {
            note(&format!("corduroy-bench: {}", failure.message));
            failure.exit
        }
    }
}

/// Writes to standard output.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(
            Exit::Local,
            format!("cannot write to standard output: {error}"),
        )),
        Ok(()) => Ok(()),
    }
}

/// Writes a line to standard error. It may be closed; then nobody wants to know.
fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Set by the first Ctrl-C, upon which a run ends in good order; the second ends the process.
fn interruption() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let code = i32::from(Exit::Interrupted as u8);
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|error| Failure::new(Exit::Local, format!("cannot catch Ctrl-C: {error}")))?;
    }
    Ok(flag)
}

/// For a local file.
fn local(path: &std::path::Path) -> impl Fn(io::Error) -> Failure + '_ {
    move |error| Failure::new(Exit::Local, format!("{}: {error}", path.display()))
}
