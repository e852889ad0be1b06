//! The interactive mode: a prompt with editing, history and completion.
//!
//! A line is what a line of a script is, and three words more: `use KEYSPACE` makes a keyspace the one that commands are about,
//! `help` lists the commands, `exit` (or Ctrl-D) leaves. An error is said and the prompt comes back. Ctrl-C while editing drops
//! the line; while a command runs it ends the waiting, and what was sent may have been done.
//!
//! The prompt blocks its thread; the connections live on the runtime's threads and don't notice.

mod completion;
mod history;

use crate::arguments::{Line, SessionArguments};
use crate::commands::{self, Session};
use crate::error::Error;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::limits::HISTORY_LINES_MAX;
use crate::output::note;
use crate::text::words;
use clap::{CommandFactory as _, Parser as _};
use completion::Completion;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use tokio::runtime::Runtime;

/// What a line came to.
enum Next {
    /// Ask for another.
    Continue,
    /// Leave.
    Exit,
}

/// Asks and answers until the person leaves.
pub(crate) fn run(runtime: &Runtime, session: &mut Session) -> Result<Exit, Error> {
    greet(runtime, session)?;
    let configuration = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<Completion, FileHistory> = Editor::with_config(configuration)?;
    editor.set_helper(Some(Completion::new()));
    let history = history::load(&mut editor);
    let result = ask(runtime, session, &mut editor);
    if let Some(path) = history {
        history::store(&mut editor, &path);
    }
    result.map(|()| Exit::Done)
}

/// Connects, so that a wrong address is noticed before the first command is typed.
fn greet(runtime: &Runtime, session: &mut Session) -> Result<(), Error> {
    let server = runtime.block_on(Box::pin(session.client()))?.server();
    note(format_args!(
        "{} at {}, {} shards; `help` lists the commands",
        server.server_name,
        session.server(),
        server.shard_count
    ));
    Ok(())
}

fn ask(
    runtime: &Runtime,
    session: &mut Session,
    editor: &mut Editor<Completion, FileHistory>,
) -> Result<(), Error> {
    loop {
        let names = runtime.block_on(Box::pin(keyspace_names(session)));
        if let (Some(helper), Some(names)) = (editor.helper_mut(), names) {
            helper.set_keyspaces(names);
        }
        let prompt = format!(
            "{}> ",
            session.keyspace_name(&session.context(&SessionArguments::default()))
        );
        let line = match editor.readline(&prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        editor.add_history_entry(&line)?;
        match run_line(runtime, session, &line) {
            Ok(Next::Continue) => {}
            Ok(Next::Exit) => return Ok(()),
            Err(error) => drop(crate::report(&error, "")),
        }
    }
}

fn run_line(runtime: &Runtime, session: &mut Session, line: &str) -> Result<Next, Error> {
    let words = words::split(line.as_bytes())?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    match words[..] {
        [] => return Ok(Next::Continue),
        [b"exit" | b"quit"] => return Ok(Next::Exit),
        [b"help"] => {
            note(Line::command().render_help());
            note("Also: use KEYSPACE, help, exit");
            return Ok(Next::Continue);
        }
        [b"use", name] => {
            let name = String::from_utf8_lossy(name).into_owned();
            let own = SessionArguments {
                keyspace: Some(name.clone()),
                ..SessionArguments::default()
            };
            // Opened once, so that a name that does not exist is noticed now.
            runtime.block_on(Box::pin(session.keyspace(&own)))?;
            session.use_keyspace(name);
            return Ok(Next::Continue);
        }
        _ => {}
    }
    let line = Line::try_parse_from(
        words
            .into_iter()
            .map(|word| OsString::from_vec(word.to_vec())),
    )?;
    runtime.block_on(Box::pin(interruptible(session, line)))?;
    Ok(Next::Continue)
}

/// Runs a command until it ends or Ctrl-C is pressed. Those that look at Ctrl-C themselves end in their own time.
async fn interruptible(session: &mut Session, line: Line) -> Result<Exit, Error> {
    if line.command.handles_interrupts() {
        return commands::run(session, &line.session, line.command).await;
    }
    let (mut interrupt, _listening) = Interrupt::listen();
    tokio::select! {
        result = commands::run(session, &line.session, line.command) => result,
        () = interrupt.wait() => Err(Error::Interrupted),
    }
}

/// For completion; `None` if the server has no answer now, and then the old names do.
async fn keyspace_names(session: &mut Session) -> Option<Vec<String>> {
    let client = session.client().await.ok()?;
    let list = tokio::time::timeout(completion::REFRESH_TIMEOUT, client.list_keyspaces())
        .await
        .ok()?
        .ok()?;
    Some(list.into_iter().map(|info| info.name).collect())
}
