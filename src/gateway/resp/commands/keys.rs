//! Commands on keys whatever they hold: existence, expiry, names, scans.

use corduroy_proto_wire::{Condition, Delete, ExpiryCondition, Request};

use super::strings::{
    AT_MILLI, AT_SECOND, ExpiryUnit, IN_MILLIS, IN_SECONDS, expiry_ms, relative_or_absolute,
};
use super::{Answer, Ask, CommandError, Fixed, is, key, number};
use crate::gateway::resp::order::{Moving, Order, ScanOrder};
use crate::gateway::resp::shape::{RefusedIfFound, Shape};

fn delete<'a>(keyspace: u32, key: &'a [u8], condition: Condition<'a>) -> Request<'a> {
    Request::Delete {
        keyspace,
        delete: Delete {
            key,
            condition,
            return_value: false,
        },
    }
}

/// One request for each key from the first argument on; one alone needs no list.
fn sum<'a>(ask: &Ask<'a, '_>, request: impl Fn(&'a [u8]) -> Request<'a>) -> Answer<'a> {
    if let &[name] = ask.rest(1) {
        return Ok(Order::One(request(key(name)?), Shape::Flag));
    }
    let requests: Result<_, CommandError> = ask
        .rest(1)
        .iter()
        .map(|name| Ok(request(key(name)?)))
        .collect();
    Ok(Order::Sum(requests?))
}

pub(super) fn del<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let keyspace = ask.keyspace();
    sum(ask, |key| delete(keyspace, key, Condition::Always))
}

pub(super) fn delifeq<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let condition = Condition::IfValue(ask.argument(2));
    let request = delete(ask.keyspace(), ask.key(1)?, condition);
    Ok(Order::One(request, Shape::Flag))
}

/// EXISTS and TOUCH: reads leave no trace here, so both only look.
pub(super) fn exists<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let keyspace = ask.keyspace();
    sum(ask, |key| Request::Exists { keyspace, key })
}

pub(super) fn expire<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    set_expiry(ask, IN_SECONDS)
}

pub(super) fn pexpire<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    set_expiry(ask, IN_MILLIS)
}

pub(super) fn expireat<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    set_expiry(ask, AT_SECOND)
}

pub(super) fn pexpireat<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    set_expiry(ask, AT_MILLI)
}

fn set_expiry<'a>(ask: &Ask<'a, '_>, unit: ExpiryUnit) -> Answer<'a> {
    let condition = expiry_condition(ask.rest(3))?;
    let invalid = CommandError::InvalidExpiry(ask.command.name);
    let at_ms = expiry_ms(ask.integer(2)?, unit, ask.now_ms()).ok_or(invalid)?;
    let request = Request::Expire {
        keyspace: ask.keyspace(),
        key: ask.key(1)?,
        expiry: relative_or_absolute(at_ms, unit, ask.now_ms()),
        condition,
        return_value: false,
    };
    Ok(Order::One(request, Shape::Flag))
}

fn expiry_condition(options: &[&[u8]]) -> Result<ExpiryCondition, CommandError> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in options {
        let flag = match option {
            _ if is(option, "NX") => &mut nx,
            _ if is(option, "XX") => &mut xx,
            _ if is(option, "GT") => &mut gt,
            _ if is(option, "LT") => &mut lt,
            _ => return Err(CommandError::UnsupportedOption(super::repeated(option))),
        };
        *flag = true;
    }
    if nx && (xx || gt || lt) {
        return Err(Fixed::ExpireNxWithOthers.into());
    }
    if gt && lt {
        return Err(Fixed::ExpireGtWithLt.into());
    }
    Ok(match (nx, xx, gt, lt) {
        (true, ..) => ExpiryCondition::IfNone,
        // A key that never expires has no earlier expiry, so GT asks for one by itself.
        (_, _, true, _) => ExpiryCondition::IfLater,
        (_, true, _, true) => ExpiryCondition::IfSomeEarlier,
        (_, _, _, true) => ExpiryCondition::IfEarlier,
        (_, true, ..) => ExpiryCondition::IfSome,
        _ => ExpiryCondition::Always,
    })
}

pub(super) fn persist<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let request = Request::Expire {
        keyspace: ask.keyspace(),
        key: ask.key(1)?,
        expiry: corduroy_proto_wire::Expiry::Never,
        condition: ExpiryCondition::IfSome,
        return_value: false,
    };
    Ok(Order::One(request, Shape::Flag))
}

pub(super) fn ttl<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    time_left(ask, Shape::TtlSeconds)
}

pub(super) fn pttl<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    time_left(ask, Shape::TtlMillis)
}

fn time_left<'a>(ask: &Ask<'a, '_>, shape: Shape) -> Answer<'a> {
    let request = Request::Ttl {
        keyspace: ask.keyspace(),
        key: ask.key(1)?,
    };
    Ok(Order::One(request, shape))
}

pub(super) fn expiretime<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    time_of_expiry(ask, Shape::ExpirySeconds)
}

pub(super) fn pexpiretime<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    time_of_expiry(ask, Shape::ExpiryMillis)
}

fn time_of_expiry<'a>(ask: &Ask<'a, '_>, shape: Shape) -> Answer<'a> {
    let request = Request::ExpiresAt {
        keyspace: ask.keyspace(),
        key: ask.key(1)?,
    };
    Ok(Order::One(request, shape))
}

/// Whether the key at this place is there, told in this shape.
fn if_exists<'a>(ask: &Ask<'a, '_>, index: usize, shape: Shape) -> Answer<'a> {
    let request = Request::Exists {
        keyspace: ask.keyspace(),
        key: ask.key(index)?,
    };
    Ok(Order::One(request, shape))
}

pub(super) fn type_of<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if_exists(ask, 1, Shape::Type)
}

pub(super) fn object_idletime<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if_exists(ask, 2, Shape::Constant(0))
}

pub(super) fn object_refcount<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if_exists(ask, 2, Shape::Constant(1))
}

pub(super) fn object_freq<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    if_exists(ask, 2, Shape::RefusedIfFound(RefusedIfFound::NoFrequencies))
}

pub(super) fn object_encoding<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    get(ask, 2, Shape::Encoding)
}

pub(super) fn memory_usage<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let mut rest = ask.rest(3);
    while let [option, behind @ ..] = rest {
        let [samples, behind @ ..] = behind else {
            return Err(Fixed::Syntax.into());
        };
        if !is(option, "SAMPLES") {
            return Err(Fixed::Syntax.into());
        }
        if number::integer(samples).ok_or(Fixed::NotAnInteger)? < 0 {
            return Err(Fixed::Syntax.into());
        }
        rest = behind;
    }
    get(ask, 2, Shape::Memory(ask.argument(2).len() as u32))
}

fn get<'a>(ask: &Ask<'a, '_>, index: usize, shape: Shape) -> Answer<'a> {
    let request = Request::Get {
        keyspace: ask.keyspace(),
        key: ask.key(index)?,
    };
    Ok(Order::One(request, shape))
}

pub(super) fn rename<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    rename_to(ask, false)
}

pub(super) fn renamenx<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    rename_to(ask, true)
}

fn rename_to<'a>(ask: &Ask<'a, '_>, if_absent: bool) -> Answer<'a> {
    let shape = if if_absent {
        Shape::FlagIfFound
    } else {
        Shape::OkIfFound
    };
    let (source, destination) = (ask.key(1)?, ask.key(2)?);
    if source == destination {
        // Nothing moves, and its own name is taken.
        let shape = if if_absent { Shape::ZeroIfFound } else { shape };
        return if_exists(ask, 1, shape);
    }
    let keyspace = ask.keyspace_id();
    let moving = Moving {
        source: (keyspace, source),
        destination: (keyspace, destination),
        database: None,
        if_absent,
        keep_source: false,
    };
    Ok(Order::Move(moving, shape))
}

pub(super) fn copy<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let mut replace = false;
    let mut database = None;
    let mut rest = ask.rest(3);
    while let [option, behind @ ..] = rest {
        rest = behind;
        if is(option, "REPLACE") {
            replace = true;
        } else if let ([number, behind @ ..], true) = (behind, is(option, "DB")) {
            database = Some(database_number(ask, number)?);
            rest = behind;
        } else {
            return Err(Fixed::Syntax.into());
        }
    }
    let database = database.filter(|&number| number != ask.session.database());
    let (source, destination) = (ask.key(1)?, ask.key(2)?);
    if source == destination && database.is_none() {
        return Err(Fixed::SameObjects.into());
    }
    let keyspace = ask.keyspace_id();
    let moving = Moving {
        source: (keyspace, source),
        destination: (keyspace, destination),
        database,
        if_absent: !replace,
        keep_source: true,
    };
    Ok(Order::Move(moving, Shape::Flag))
}

/// A database's number.
pub(super) fn database_number(ask: &Ask<'_, '_>, text: &[u8]) -> Result<u32, CommandError> {
    let number = number::integer(text).ok_or(Fixed::NotAnInteger)?;
    let number = i32::try_from(number).map_err(|_| Fixed::NotAnInt32)?;
    match u32::try_from(number) {
        Ok(number) if number < ask.session.settings().databases => Ok(number),
        _ => Err(Fixed::DatabaseOutOfRange.into()),
    }
}

pub(super) fn randomkey<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    Ok(Order::RandomKey)
}

pub(super) fn keys<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    Ok(Order::Keys {
        pattern: ask.argument(1),
    })
}

pub(super) fn scan<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let mut scan = ScanOrder {
        cursor: number::cursor(ask.argument(1)).ok_or(Fixed::InvalidCursor)?,
        pattern: None,
        count: 10,
        strings: true,
    };
    let mut rest = ask.rest(2);
    while let [option, behind @ ..] = rest {
        let [argument, behind @ ..] = behind else {
            return Err(Fixed::Syntax.into());
        };
        if is(option, "COUNT") {
            let count = number::integer(argument).ok_or(Fixed::NotAnInteger)?;
            if count < 1 {
                return Err(Fixed::Syntax.into());
            }
            scan.count = count as u64;
        } else if is(option, "MATCH") {
            scan.pattern = Some(*argument).filter(|pattern| pattern != b"*");
        } else if is(option, "TYPE") {
            scan.strings = is(argument, "STRING");
        } else {
            return Err(Fixed::Syntax.into());
        }
        rest = behind;
    }
    Ok(Order::Scan(scan))
}

pub(super) fn dbsize<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    Ok(Order::DbSize)
}

pub(super) fn flushdb<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    flush(ask, false)
}

pub(super) fn flushall<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    flush(ask, true)
}

/// ASYNC and SYNC are the same here: a flush drops tables, and their memory is given back in slices.
fn flush<'a>(ask: &Ask<'a, '_>, all: bool) -> Answer<'a> {
    match ask.rest(1) {
        [] => Ok(Order::Flush { all }),
        [option] if is(option, "ASYNC") || is(option, "SYNC") => Ok(Order::Flush { all }),
        _ => Err(Fixed::Syntax.into()),
    }
}
