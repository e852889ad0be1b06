//! From a command's arguments to what it asks for.
//!
//! [`order`] looks the command up in the [`table`], checks its number of arguments and calls the function that the table names for it. These
//! functions stand by group: `strings`, `keys`, `transactions`, `connection`, `client`, `server`, `describe`. They check
//! all that can be checked without the store, in the order in which Redis checks it, since a client sees which error comes first, and borrow keys and
//! values from the arguments. GET and SET are recognized before the table is looked at.
//!
//! What the store itself refuses (a key that is too long, a value that is no number) is not checked here: the shard answers, and
//! [`Shape::write`](super::Shape::write) words it.
//!
//! # Families of calls
//!
//! [`next`] for each command that comes in: it queues the command in an open transaction, or gives its order. [`order`] for each command of
//! a transaction that EXEC carries out.

mod client;
mod connection;
mod describe;
mod error;
mod foreign;
mod keys;
mod number;
mod server;
mod strings;
pub mod table;
mod transactions;

#[cfg(test)]
mod tests;

pub use error::{CommandError, Fixed};

use self::error::{repeated, unknown};
use self::table::{Command, Row};
use super::order::Order;
use super::session::Session;
use crate::limits;
use crate::types::{KeyspaceId, Now};

/// What a command's function gets.
struct Ask<'a, 's> {
    /// The command's row; for a subcommand, the subcommand's.
    command: &'static Command,
    /// All of them, the command's name first.
    arguments: &'s [&'a [u8]],
    session: &'s Session,
    now: Now,
}

/// What a command's function gives.
type Answer<'a> = Result<Order<'a>, CommandError>;

impl<'a> Ask<'a, '_> {
    /// The argument at this place, which the command's arity says is there.
    fn argument(&self, index: usize) -> &'a [u8] {
        self.arguments[index]
    }

    /// The arguments from this place on.
    fn rest(&self, index: usize) -> &[&'a [u8]] {
        &self.arguments[index..]
    }

    /// The key at this place.
    fn key(&self, index: usize) -> Result<&'a [u8], CommandError> {
        key(self.arguments[index])
    }

    fn integer(&self, index: usize) -> Result<i64, CommandError> {
        number::integer(self.arguments[index]).ok_or(Fixed::NotAnInteger.into())
    }

    /// The keyspace of the database that the connection selected.
    fn keyspace(&self) -> u32 {
        self.session.keyspace().0
    }

    fn keyspace_id(&self) -> KeyspaceId {
        self.session.keyspace()
    }

    /// Wall-clock time in milliseconds since 1970, as Redis computes with it.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.now.wall.0).unwrap_or(i64::MAX)
    }

    fn arity_error(&self) -> CommandError {
        CommandError::Arity(self.command.name)
    }
}

/// A key that may be one here: Redis allows the empty one, and long ones.
#[inline]
fn key(bytes: &[u8]) -> Result<&[u8], CommandError> {
    match bytes.len() {
        limits::KEY_LEN_MIN..=limits::KEY_LEN_MAX => Ok(bytes),
        0 => Err(Fixed::EmptyKey.into()),
        _ => Err(Fixed::KeyTooLong.into()),
    }
}

/// Whether an argument is this word, which is in capitals, in whatever case the client wrote it.
fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// What is to be done with a command that came in.
#[derive(Debug, PartialEq)]
pub enum Next<'a> {
    /// Carry it out.
    Do(Order<'a>),
    /// It waits for EXEC in the session. The reply is `+QUEUED`.
    Queued,
    /// Nothing. The reply is this error.
    Refused(CommandError),
}

/// Takes the next command of a connection.
#[inline]
pub fn next<'a>(arguments: &[&'a [u8]], session: &mut Session, now: Now) -> Next<'a> {
    if session.in_transaction() {
        return next_in_transaction(arguments, session, now);
    }
    let answer = match arguments {
        [name, key] if is_word(name, b"get") => {
            session.set_command(Some(Row::GET));
            strings::plain_get(key, session)
        }
        [name, key, value] if is_word(name, b"set") => {
            session.set_command(Some(Row::SET));
            strings::plain_set(key, value, session)
        }
        _ => match noted(arguments, session) {
            Ok(row) => run(row, arguments, session, now),
            Err(error) => Err(error),
        },
    };
    match answer {
        Ok(order) => Next::Do(order),
        Err(error) => {
            if error == CommandError::ExecArity {
                session.discard();
            }
            Next::Refused(error)
        }
    }
}

/// As [`row_of`], and the session remembers it as the last command: one with a wrong number of arguments too, as in Redis.
fn noted(arguments: &[&[u8]], session: &mut Session) -> Result<Row, CommandError> {
    let row = row_of(arguments);
    session.set_command(match &row {
        Ok(row) => Some(*row),
        Err(CommandError::Arity(_) | CommandError::ExecArity) => {
            let row = table::find_row(arguments[0]);
            let subcommand = row
                .zip(arguments.get(1))
                .and_then(|(row, name)| row.subcommand(name));
            subcommand.or(row)
        }
        Err(_) => None,
    });
    row
}

fn next_in_transaction<'a>(arguments: &[&'a [u8]], session: &mut Session, now: Now) -> Next<'a> {
    let row = noted(arguments, session);
    let queued = match row.and_then(Queueing::of) {
        Ok(Queueing::Immediate) => {
            return match order(arguments, session, now) {
                Ok(order) => Next::Do(order),
                // MULTI in MULTI, WATCH in MULTI: the transaction goes on.
                Err(error) => Next::Refused(error),
            };
        }
        Ok(Queueing::Queue) => session.enqueue(arguments),
        Err(CommandError::ExecArity) => {
            session.discard();
            return Next::Refused(CommandError::ExecArity);
        }
        Err(error) => Err(error),
    };
    match queued {
        Ok(()) => Next::Queued,
        Err(error) => {
            session.abort();
            Next::Refused(error)
        }
    }
}

/// How a command is treated between MULTI and EXEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queueing {
    /// It is queued.
    Queue,
    /// It is carried out at once: EXEC, DISCARD, MULTI, WATCH, QUIT, RESET.
    Immediate,
}

impl Queueing {
    /// How a command is treated of which the name and the number of arguments are right.
    fn of(row: Row) -> Result<Queueing, CommandError> {
        let command = row.command();
        if command.has(table::flags::NO_MULTI) {
            return Err(Fixed::NotInTransaction.into());
        }
        Ok(match command.name {
            "exec" | "discard" | "multi" | "watch" | "quit" | "reset" => Queueing::Immediate,
            _ => Queueing::Queue,
        })
    }
}

/// What a command asks for. `arguments` has the command's name first and is never empty.
///
/// The errors are those that can be told without asking the store.
#[inline]
pub fn order<'a>(arguments: &[&'a [u8]], session: &Session, now: Now) -> Answer<'a> {
    match arguments {
        [name, key] if is_word(name, b"get") => strings::plain_get(key, session),
        [name, key, value] if is_word(name, b"set") => strings::plain_set(key, value, session),
        _ => order_of_any(arguments, session, now),
    }
}

/// Whether three bytes are this word, which is in lower case, in whatever case.
#[inline]
fn is_word(name: &[u8], word: &[u8; 3]) -> bool {
    // The bit tells a capital from its small letter, and nothing else from a small letter.
    matches!(name, &[a, b, c] if [a | 0x20, b | 0x20, c | 0x20] == *word)
}

fn order_of_any<'a>(arguments: &[&'a [u8]], session: &Session, now: Now) -> Answer<'a> {
    run(row_of(arguments)?, arguments, session, now)
}

fn run<'a>(row: Row, arguments: &[&'a [u8]], session: &Session, now: Now) -> Answer<'a> {
    let command = row.command();
    (command.run)(&Ask {
        command,
        arguments,
        session,
        now,
    })
}

/// The row of a command or subcommand, whose arity the number of arguments fits.
pub fn row_of(arguments: &[&[u8]]) -> Result<Row, CommandError> {
    let name = arguments[0];
    let Some(mut row) = table::find_row(name) else {
        return Err(foreign::find(name).unwrap_or_else(|| unknown(arguments)));
    };
    let command = row.command();
    if let (Some(_), Some(name)) = (command.subcommands, arguments.get(1)) {
        row = row.subcommand(name).ok_or_else(|| {
            foreign::find_subcommand(command.name, name).unwrap_or_else(|| {
                CommandError::UnknownSubcommand {
                    command: command.name.to_ascii_uppercase(),
                    subcommand: repeated(name),
                }
            })
        })?;
    }
    let command = row.command();
    if !command.takes(arguments.len()) {
        return Err(match command.name {
            "exec" => CommandError::ExecArity,
            name => CommandError::Arity(name),
        });
    }
    Ok(row)
}
