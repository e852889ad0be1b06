//! The commands on one key.

use super::{Mode, Session};
use crate::arguments::{
    AddArguments, AppendArguments, ConditionArguments, DeleteArguments, KeyArguments, PutArguments,
    SessionArguments, TouchArguments,
};
use crate::error::Error;
use crate::exit::Exit;
use crate::limits::STDIN_VALUE_LEN_MAX;
use crate::output::{Output, Reply, Stamp};
use crate::text::escape;
use corduroy_client::{Condition, DeleteOptions, DeleteOutcome, PutOptions, PutOutcome, Written};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;

pub(super) async fn put(
    session: &mut Session,
    context: &SessionArguments,
    arguments: PutArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = bytes("KEY", &arguments.key, context)?;
    let condition = match arguments.if_absent {
        true => Condition::IfAbsent,
        false => condition(&arguments.condition, context)?,
    };
    let mut options = PutOptions::new()
        .condition(condition)
        .return_value(arguments.return_value);
    if let Some(ttl) = arguments.ttl {
        options = options.ttl(ttl);
    }
    if arguments.keep_ttl {
        options = options.keep_ttl();
    }
    let value = value(session, &arguments.value, context)?;
    let outcome = session
        .keyspace(context)
        .await?
        .put_with(&key, &value, options)
        .await?;
    let reply = match outcome {
        PutOutcome::Done(written, old) => done(written, arguments.return_value.then_some(old)),
        PutOutcome::ConditionFailed { current, value } => condition_failed(current, value),
    };
    print(output, &key, &reply)
}

pub(super) async fn get(
    session: &mut Session,
    context: &SessionArguments,
    arguments: &KeyArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = bytes("KEY", &arguments.key, context)?;
    let reply = match session.keyspace(context).await?.get(&key).await? {
        None => Reply::NotFound,
        Some(found) => Reply::Found {
            value: found.value,
            stamp: Stamp {
                version: found.version,
                timestamp_ms: found.timestamp_ms,
            },
        },
    };
    print(output, &key, &reply)
}

pub(super) async fn delete(
    session: &mut Session,
    context: &SessionArguments,
    arguments: DeleteArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = bytes("KEY", &arguments.key, context)?;
    let options = DeleteOptions::new()
        .condition(condition(&arguments.condition, context)?)
        .return_value(arguments.return_value);
    let reply = match session
        .keyspace(context)
        .await?
        .delete_with(&key, options)
        .await?
    {
        DeleteOutcome::Done(written, old) => done(written, arguments.return_value.then_some(old)),
        DeleteOutcome::NotFound => Reply::NotFound,
        DeleteOutcome::ConditionFailed { current, value } => condition_failed(current, value),
    };
    print(output, &key, &reply)
}

pub(super) async fn exists(
    session: &mut Session,
    context: &SessionArguments,
    arguments: &KeyArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = bytes("KEY", &arguments.key, context)?;
    let exists = session.keyspace(context).await?.exists(&key).await?;
    print(output, &key, &Reply::Exists(exists))
}

pub(super) async fn add(
    session: &mut Session,
    context: &SessionArguments,
    arguments: &AddArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = bytes("KEY", &arguments.key, context)?;
    let counter = session
        .keyspace(context)
        .await?
        .add(&key, arguments.delta)
        .await?;
    let stamp = Stamp {
        version: counter.version,
        timestamp_ms: counter.timestamp_ms,
    };
    print(
        output,
        &key,
        &Reply::Counter {
            value: counter.value,
            stamp,
        },
    )
}

pub(super) async fn append(
    session: &mut Session,
    context: &SessionArguments,
    arguments: &AppendArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = bytes("KEY", &arguments.key, context)?;
    let suffix = value(session, &arguments.value, context)?;
    let appended = session
        .keyspace(context)
        .await?
        .append(&key, &suffix)
        .await?;
    let stamp = Stamp {
        version: appended.version,
        timestamp_ms: appended.timestamp_ms,
    };
    print(
        output,
        &key,
        &Reply::Length {
            length: appended.length,
            stamp,
        },
    )
}

pub(super) async fn ttl(
    session: &mut Session,
    context: &SessionArguments,
    arguments: &KeyArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = bytes("KEY", &arguments.key, context)?;
    let left = session.keyspace(context).await?.ttl(&key).await?;
    print(output, &key, &left.map_or(Reply::NotFound, Reply::Ttl))
}

pub(super) async fn touch(
    session: &mut Session,
    context: &SessionArguments,
    arguments: &TouchArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = bytes("KEY", &arguments.key, context)?;
    let written = session
        .keyspace(context)
        .await?
        .touch(&key, arguments.ttl)
        .await?;
    print(output, &key, &done_if_found(written))
}

pub(super) async fn persist(
    session: &mut Session,
    context: &SessionArguments,
    arguments: &KeyArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = bytes("KEY", &arguments.key, context)?;
    let written = session.keyspace(context).await?.persist(&key).await?;
    print(output, &key, &done_if_found(written))
}

/// The bytes of an argument, which the help calls `what`: as they are, or with `--escape` what they stand for.
pub(super) fn bytes<'a>(
    what: &'static str,
    argument: &'a OsStr,
    context: &SessionArguments,
) -> Result<Cow<'a, [u8]>, Error> {
    if !context.escape {
        return Ok(Cow::Borrowed(argument.as_bytes()));
    }
    let unescaped = escape::unescape(argument.as_bytes());
    unescaped
        .map(Cow::Owned)
        .map_err(|source| Error::Escape { what, source })
}

/// The bytes of a value: all of standard input if it is a lone hyphen.
fn value<'a>(
    session: &Session,
    argument: &'a OsStr,
    context: &SessionArguments,
) -> Result<Cow<'a, [u8]>, Error> {
    if argument != "-" {
        return bytes("VALUE", argument, context);
    }
    if session.mode != Mode::Command {
        return Err(Error::StdinIsScript);
    }
    let mut value = Vec::new();
    io::stdin()
        .lock()
        .take(STDIN_VALUE_LEN_MAX + 1)
        .read_to_end(&mut value)
        .map_err(Error::Stdin)?;
    if value.len() as u64 > STDIN_VALUE_LEN_MAX {
        return Err(Error::StdinTooLong {
            max: STDIN_VALUE_LEN_MAX,
        });
    }
    Ok(Cow::Owned(value))
}

fn condition(
    arguments: &ConditionArguments,
    context: &SessionArguments,
) -> Result<Condition, Error> {
    let condition = match arguments {
        ConditionArguments {
            if_present: true, ..
        } => Condition::IfPresent,
        ConditionArguments {
            if_version: Some(version),
            ..
        } => Condition::IfVersion(*version),
        ConditionArguments {
            if_value: Some(value),
            ..
        } => Condition::IfValue(bytes("--if-value", value, context)?.into_owned().into()),
        _ => Condition::Always,
    };
    Ok(condition)
}

fn done(written: Written, old: Option<Option<corduroy_client::Bytes>>) -> Reply {
    Reply::Done {
        stamp: written.into(),
        old,
    }
}

/// To a request that has nothing to do where there is no key.
fn done_if_found(written: Option<Written>) -> Reply {
    written.map_or(Reply::NotFound, |written| done(written, None))
}

fn condition_failed(current: Option<Written>, value: Option<corduroy_client::Bytes>) -> Reply {
    Reply::ConditionFailed {
        current: current.map(Stamp::from),
        value,
    }
}

fn print(output: &mut Output, key: &[u8], reply: &Reply) -> Result<Exit, Error> {
    output.reply(key, reply).map_err(Error::Stdout)?;
    Ok(reply.exit())
}

impl From<Written> for Stamp {
    fn from(written: Written) -> Self {
        Self {
            version: written.version,
            timestamp_ms: written.timestamp_ms,
        }
    }
}
