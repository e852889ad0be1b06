//! Commands on the connection itself: greeting, database, the end.

use super::keys::database_number;
use super::{Answer, Ask, CommandError, Fixed, is, number, repeated};
use crate::gateway::resp::Protocol;
use crate::gateway::resp::order::{Order, SessionOrder};
use crate::gateway::resp::reply;
use crate::gateway::resp::session::{ClientText, check_text};

/// The one user, whom every connection is.
const USER: &[u8] = b"default";

pub(super) fn ping<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let mut bytes = Vec::new();
    match ask.rest(1) {
        [] => reply::simple(&mut bytes, "PONG"),
        [payload] => reply::bulk(&mut bytes, payload),
        _ => return Err(ask.arity_error()),
    }
    Ok(Order::Reply(bytes))
}

pub(super) fn echo<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let mut bytes = Vec::new();
    reply::bulk(&mut bytes, ask.argument(1));
    Ok(Order::Reply(bytes))
}

/// A reply of `+OK` that changes nothing.
pub(super) fn ok<'a>() -> Answer<'a> {
    let mut bytes = Vec::new();
    reply::simple(&mut bytes, "OK");
    Ok(Order::Reply(bytes))
}

/// As a Redis without a password: any password is right for the user `default`, and there is no other.
pub(super) fn auth<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    match ask.rest(1) {
        [_] => Err(Fixed::NoPasswordConfigured.into()),
        [user, _] if *user == USER => ok(),
        [_, _] => Err(Fixed::WrongPassword.into()),
        _ => Err(Fixed::Syntax.into()),
    }
}

pub(super) fn hello<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let mut protocol = None;
    let mut name = None;
    if let [version, options @ ..] = ask.rest(1) {
        protocol = Some(
            match number::integer(version).ok_or(Fixed::ProtocolNotAnInteger)? {
                2 => Protocol::Resp2,
                3 => Protocol::Resp3,
                _ => return Err(Fixed::NoProtocol.into()),
            },
        );
        let mut rest = options;
        while let [option, behind @ ..] = rest {
            rest = match behind {
                [user, _, ..] if is(option, "AUTH") && *user != USER => {
                    return Err(Fixed::WrongPassword.into());
                }
                [_, _, behind @ ..] if is(option, "AUTH") => behind,
                [given, behind @ ..] if is(option, "SETNAME") => {
                    check_text(ClientText::Name, given)?;
                    name = Some(*given);
                    behind
                }
                _ => return Err(CommandError::HelloOption(repeated(option))),
            };
        }
    }
    Ok(Order::Session(SessionOrder::Hello { protocol, name }))
}

pub(super) fn select<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let number = database_number(ask, ask.argument(1))?;
    Ok(Order::Session(SessionOrder::Select(number)))
}

pub(super) fn quit<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    Ok(Order::Session(SessionOrder::Quit))
}

pub(super) fn reset<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    Ok(Order::Session(SessionOrder::Reset))
}

pub(super) fn readonly<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    Ok(Order::Session(SessionOrder::ReadOnly(true)))
}

pub(super) fn readwrite<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    Ok(Order::Session(SessionOrder::ReadOnly(false)))
}

/// No slot is ever on its way to another node, so there is nothing to ask for.
pub(super) fn asking<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    ok()
}

/// HELP of any command with subcommands: what the table says of them.
pub(super) fn help<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let (container, _) = ask
        .command
        .name
        .split_once('|')
        .expect("HELP is a subcommand");
    let subcommands = super::table::find(container.as_bytes())
        .and_then(|command| command.subcommands)
        .expect("a subcommand's command is in the table");
    let mut lines = vec![format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.to_ascii_uppercase()
    )];
    for subcommand in subcommands {
        lines.push(subcommand.own_name().to_ascii_uppercase());
        lines.push(format!("    {}.", subcommand.summary.trim_end_matches('.')));
    }
    let mut bytes = Vec::new();
    reply::array(&mut bytes, lines.len());
    for line in &lines {
        reply::simple(&mut bytes, line);
    }
    Ok(Order::Reply(bytes))
}
