//! MULTI and what belongs to it, and waiting for replicas.

use super::{Answer, Ask, CommandError, Fixed, key, number};
use crate::gateway::resp::order::{Order, SessionOrder};
use crate::gateway::resp::reply;

pub(super) fn multi<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if ask.session.in_transaction() {
        return Err(Fixed::MultiNested.into());
    }
    Ok(Order::Session(SessionOrder::Multi))
}

pub(super) fn exec<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if !ask.session.in_transaction() {
        return Err(Fixed::ExecWithoutMulti.into());
    }
    Ok(Order::Session(SessionOrder::Exec))
}

pub(super) fn discard<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if !ask.session.in_transaction() {
        return Err(Fixed::DiscardWithoutMulti.into());
    }
    Ok(Order::Session(SessionOrder::Discard))
}

pub(super) fn watch<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if ask.session.in_transaction() {
        return Err(Fixed::WatchInMulti.into());
    }
    let keys: Result<Vec<&[u8]>, CommandError> = ask.rest(1).iter().map(|name| key(name)).collect();
    let keys = keys?;
    let bytes = keys.iter().map(|key| key.len()).sum();
    if !ask.session.may_watch(keys.len(), bytes) {
        return Err(Fixed::TooManyWatched.into());
    }
    Ok(Order::Session(SessionOrder::Watch(keys)))
}

pub(super) fn unwatch<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    Ok(Order::Session(SessionOrder::Unwatch))
}

/// How many replicas have the connection's writes: none, on one node. It is said once the writes are acknowledged.
pub(super) fn wait<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    ask.integer(1)?;
    check_timeout(ask.argument(2))?;
    let mut bytes = Vec::new();
    reply::integer(&mut bytes, 0);
    Ok(Order::AfterEarlier(bytes))
}

/// How many local disks (one, if acknowledged means on disk) and replicas have the connection's writes.
pub(super) fn waitaof<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if !(0..=1).contains(&ask.integer(1)?) {
        return Err(Fixed::NotZeroOrOne.into());
    }
    if ask.integer(2)? < 0 {
        return Err(Fixed::NotPositive.into());
    }
    check_timeout(ask.argument(3))?;
    let mut bytes = Vec::new();
    reply::array(&mut bytes, 2);
    reply::integer(&mut bytes, i64::from(ask.session.settings().sync_always));
    reply::integer(&mut bytes, 0);
    Ok(Order::AfterEarlier(bytes))
}

fn check_timeout(text: &[u8]) -> Result<(), CommandError> {
    match number::integer(text) {
        None => Err(Fixed::TimeoutNotAnInteger.into()),
        Some(..0) => Err(Fixed::TimeoutNegative.into()),
        Some(_) => Ok(()),
    }
}
