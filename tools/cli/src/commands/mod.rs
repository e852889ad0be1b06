//! What each command does: arguments in, requests to the client crate, replies to [`Output`].
//!
//! A [`Session`] is what outlives a single command: the connection, made when it is first needed, and what the command line
//! set for all commands. The three ways of running ([`Mode`]) differ in where commands come from and so in what standard input is:
//! free for a value (one command), the script itself, or the keyboard.

mod backup;
mod keys;
mod keyspaces;
mod scan;
mod session;

pub(crate) use session::{Mode, Session};

use crate::arguments::{Cli, Command, SessionArguments};
use crate::error::Error;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::output::{Output, print_status};
use crate::transfer;
use clap::CommandFactory as _;

/// Runs one command; how it ended, if it was answered at all.
pub(crate) async fn run(
    session: &mut Session,
    own: &SessionArguments,
    command: Command,
) -> Result<Exit, Error> {
    let context = session.context(own);
    let mut output = Output::stdout(context.output, session.mode == Mode::Script);
    let exit = dispatch(session, &context, command, &mut output).await?;
    output.flush().map_err(Error::Stdout)?;
    Ok(exit)
}

async fn dispatch(
    session: &mut Session,
    context: &SessionArguments,
    command: Command,
    output: &mut Output,
) -> Result<Exit, Error> {
    match command {
        Command::Put(arguments) => keys::put(session, context, arguments, output).await,
        Command::Get(arguments) => keys::get(session, context, &arguments, output).await,
        Command::Del(arguments) => keys::delete(session, context, arguments, output).await,
        Command::Exists(arguments) => keys::exists(session, context, &arguments, output).await,
        Command::Add(arguments) => keys::add(session, context, &arguments, output).await,
        Command::Append(arguments) => keys::append(session, context, &arguments, output).await,
        Command::Ttl(arguments) => keys::ttl(session, context, &arguments, output).await,
        Command::Touch(arguments) => keys::touch(session, context, &arguments, output).await,
        Command::Persist(arguments) => keys::persist(session, context, &arguments, output).await,
        Command::Scan(arguments) => scan::scan(session, context, arguments, output).await,
        Command::Count => keyspaces::count(session, context, output).await,
        Command::Import(arguments) => {
            // Of a script, what follows the line would be taken for records.
            if session.mode != Mode::Command && arguments.file.as_os_str() == "-" {
                return Err(Error::StdinIsScript);
            }
            let keyspace = session.keyspace_for_bulk(context).await?;
            let (interrupt, _listening) = Interrupt::listen();
            let name = session.keyspace_name(context);
            Ok(Box::pin(transfer::import(keyspace, name, &arguments, interrupt)).await?)
        }
        Command::Export(arguments) => {
            let keyspace = session.keyspace_for_bulk(context).await?;
            let prefix = keys::bytes("PREFIX", &arguments.prefix, context)?;
            let (interrupt, _listening) = Interrupt::listen();
            let name = session.keyspace_name(context);
            Ok(Box::pin(transfer::export(
                &keyspace, name, &arguments, &prefix, interrupt,
            ))
            .await?)
        }
        Command::Keyspace(command) => keyspaces::keyspace(session, command, output).await,
        Command::Flush(arguments) => keyspaces::flush(session, context, &arguments, output).await,
        Command::Status => {
            let status = session.client().await?.status().await?;
            print_status(output, &status).map_err(Error::Stdout)?;
            Ok(Exit::Done)
        }
        Command::Compact => keyspaces::compact(session, output).await,
        Command::Backup { series } => backup::backup(session, &series, output).await,
        Command::Ping => keyspaces::ping(session, output).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "corduroy-cli", &mut script);
            output.bytes(&script).map_err(Error::Stdout)?;
            Ok(Exit::Done)
        }
    }
}
