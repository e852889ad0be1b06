//! CLIENT's subcommands.

use super::connection::ok;
use super::{Answer, Ask, CommandError, Fixed, is, number, repeated};
use crate::gateway::resp::order::{KillFilter, Order, ReplyMode, SessionOrder};
use crate::gateway::resp::session::{ClientText, check_text};

fn session<'a>(order: SessionOrder<'a>) -> Answer<'a> {
    Ok(Order::Session(order))
}

pub(super) fn id<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::ClientId)
}

pub(super) fn getname<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::GetName)
}

pub(super) fn setname<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let name = ask.argument(2);
    check_text(ClientText::Name, name)?;
    session(SessionOrder::SetText(ClientText::Name, name))
}

pub(super) fn setinfo<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let which = match ask.argument(2) {
        attribute if is(attribute, "LIB-NAME") => ClientText::LibraryName,
        attribute if is(attribute, "LIB-VER") => ClientText::LibraryVersion,
        attribute => return Err(CommandError::ClientAttribute(repeated(attribute))),
    };
    check_text(which, ask.argument(3))?;
    session(SessionOrder::SetText(which, ask.argument(3)))
}

pub(super) fn info<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    session(SessionOrder::ClientInfo)
}

pub(super) fn list<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    match ask.rest(2) {
        [] => session(SessionOrder::ClientList(None)),
        [option, kind] if is(option, "TYPE") => {
            let everybody = is_normal(kind)?;
            session(SessionOrder::ClientList((!everybody).then(Vec::new)))
        }
        [option, ids @ ..] if is(option, "ID") && !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|id| number::integer(id)).collect();
            let ids = ids.ok_or(Fixed::InvalidClientId)?;
            // Nobody has a negative one.
            let ids = ids.into_iter().filter_map(|id| u64::try_from(id).ok());
            session(SessionOrder::ClientList(Some(ids.collect())))
        }
        _ => Err(Fixed::Syntax.into()),
    }
}

/// Whether a type of clients is that of all who connect here; the others have no members.
fn is_normal(kind: &[u8]) -> Result<bool, CommandError> {
    match kind {
        _ if is(kind, "NORMAL") => Ok(true),
        _ if ["PUBSUB", "MASTER", "REPLICA", "SLAVE"]
            .iter()
            .any(|word| is(kind, word)) =>
        {
            Ok(false)
        }
        _ => Err(CommandError::UnknownClientType(repeated(kind))),
    }
}

pub(super) fn kill<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let text = |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).into_owned());
    let mut filter = KillFilter {
        skip_me: true,
        ..KillFilter::default()
    };
    if let [address] = ask.rest(2) {
        filter.old_form = true;
        filter.skip_me = false;
        filter.address = text(address);
        return session(SessionOrder::ClientKill(filter));
    }
    let (pairs, []) = ask.rest(2).as_chunks::<2>() else {
        return Err(Fixed::Syntax.into());
    };
    for &[option, value] in pairs {
        match option {
            _ if is(option, "ID") => {
                let id = number::integer(value).and_then(|id| u64::try_from(id).ok());
                let id = id.filter(|&id| id > 0).ok_or(Fixed::ClientIdNotPositive)?;
                filter.id = Some(id);
            }
            _ if is(option, "TYPE") => filter.nobody |= !is_normal(value)?,
            _ if is(option, "ADDR") => filter.address = text(value),
            _ if is(option, "LADDR") => filter.local_address = text(value),
            _ if is(option, "USER") && value != b"default" => {
                return Err(CommandError::NoSuchUser(repeated(value)));
            }
            _ if is(option, "USER") => {}
            _ if is(option, "SKIPME") && is(value, "YES") => filter.skip_me = true,
            _ if is(option, "SKIPME") && is(value, "NO") => filter.skip_me = false,
            _ => return Err(Fixed::Syntax.into()),
        }
    }
    session(SessionOrder::ClientKill(filter))
}

/// NO-EVICT and NO-TOUCH: no client is put out for its memory here, and reads leave no trace. So either way it is done.
pub(super) fn on_or_off<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if is(ask.argument(2), "ON") || is(ask.argument(2), "OFF") {
        return ok();
    }
    Err(Fixed::Syntax.into())
}

pub(super) fn reply<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let mode = match ask.argument(2) {
        mode if is(mode, "ON") => ReplyMode::On,
        mode if is(mode, "OFF") => ReplyMode::Off,
        mode if is(mode, "SKIP") => ReplyMode::Skip,
        _ => return Err(Fixed::Syntax.into()),
    };
    session(SessionOrder::ReplyMode(mode))
}
