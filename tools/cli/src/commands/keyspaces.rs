//! The commands on whole keyspaces, and on the server.
//!
//! What destroys asks first. It asks a person at a terminal and nobody else: where standard input is a script or a pipe, the
//! answer would be taken from data, so there only `--yes` will do.

use super::{Mode, Session};
use crate::arguments::{FlushArguments, KeyspaceCommand, OutputFormat, SessionArguments};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Output, note};
use crate::text::escape;
use corduroy_client::{Error as ClientError, Status};
use serde_json::json;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

pub(super) async fn keyspace(
    session: &mut Session,
    command: KeyspaceCommand,
    output: &mut Output,
) -> Result<Exit, Error> {
    match command {
        KeyspaceCommand::Create {
            name,
            partitions,
            if_absent,
        } => {
            let partitions = (partitions > 0).then_some(partitions);
            match session
                .client()
                .await?
                .create_keyspace(&name, partitions)
                .await
            {
                Ok(_) => done(output, "created", &name),
                Err(ClientError::Server {
                    status: Status::AlreadyExists,
                    ..
                }) if if_absent => done(output, "exists", &name),
                Err(error) => Err(error.into()),
            }
        }
        KeyspaceCommand::Drop { name, yes } => {
            let shown = escape::printable(name.as_bytes());
            let question = format!(
                "Remove the keyspace {shown} and all its keys on {}?",
                session.server()
            );
            confirm(session, yes, "keyspace drop", &question)?;
            if session.client().await?.drop_keyspace(&name).await? {
                return done(output, "dropped", &name);
            }
            if output.format == OutputFormat::Json {
                output
                    .json(&json!({"keyspace": name, "found": false}))
                    .map_err(Error::Stdout)?;
            }
            note(format_args!("there is no keyspace {shown}"));
            Ok(Exit::NotFound)
        }
        KeyspaceCommand::List => {
            let keyspaces = session.client().await?.list_keyspaces().await?;
            output.keyspaces(&keyspaces).map_err(Error::Stdout)?;
            Ok(Exit::Done)
        }
    }
}

pub(super) async fn count(
    session: &mut Session,
    context: &SessionArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let count = session.keyspace(context).await?.count().await?;
    match output.format {
        OutputFormat::Json => {
            output.json(&json!({"keyspace": session.keyspace_name(context), "count": count}))
        }
        OutputFormat::Raw | OutputFormat::Table => output.line(&count.to_string()),
    }
    .map_err(Error::Stdout)?;
    Ok(Exit::Done)
}

pub(super) async fn flush(
    session: &mut Session,
    context: &SessionArguments,
    arguments: &FlushArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let name = session.keyspace_name(context);
    let shown = escape::printable(name.as_bytes());
    let question = format!(
        "Drop all keys of the keyspace {shown} on {}?",
        session.server()
    );
    confirm(session, arguments.yes, "flush", &question)?;
    session.keyspace(context).await?.flush().await?;
    done(output, "flushed", name)
}

pub(super) async fn ping(session: &mut Session, output: &mut Output) -> Result<Exit, Error> {
    let round_trip = session.client().await?.ping().await?;
    let round_trip_us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
    match output.format {
        OutputFormat::Json => output.json(&json!({"round_trip_us": round_trip_us})),
        OutputFormat::Raw => output.line(&round_trip_us.to_string()),
        OutputFormat::Table => {
            output.line(&format!("the server answered after {round_trip_us} µs"))
        }
    }
    .map_err(Error::Stdout)?;
    Ok(Exit::Done)
}

pub(super) async fn compact(session: &mut Session, output: &mut Output) -> Result<Exit, Error> {
    session.client().await?.compact().await?;
    match output.format {
        OutputFormat::Json => output.json(&json!({"done": "compacted"})),
        OutputFormat::Raw => Ok(()),
        OutputFormat::Table => output.line("compacted"),
    }
    .map_err(Error::Stdout)?;
    Ok(Exit::Done)
}

/// Says that something was done to a keyspace: nothing in raw form, where the exit code says it.
fn done(output: &mut Output, what: &str, name: &str) -> Result<Exit, Error> {
    match output.format {
        OutputFormat::Json => output.json(&json!({"keyspace": name, "done": what})),
        OutputFormat::Raw => Ok(()),
        OutputFormat::Table => {
            output.line(&format!("{what} {}", escape::printable(name.as_bytes())))
        }
    }
    .map_err(Error::Stdout)?;
    Ok(Exit::Done)
}

fn confirm(
    session: &Session,
    yes: bool,
    command: &'static str,
    question: &str,
) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    if session.mode == Mode::Script || !io::stdin().is_terminal() {
        return Err(Error::NotConfirmed { command });
    }
    let mut stderr = io::stderr();
    // If the question can't be shown, the answer will be missing.
    drop(write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(Error::Stdin)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::Declined),
    }
}
