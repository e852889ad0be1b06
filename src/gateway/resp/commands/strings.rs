//! Commands on values: GET, SET and their kin, counters, parts of values.

use corduroy_proto_wire::{
    Condition, Delete, Expiry, ExpiryCondition, Put, Request, TTL_MS_MAX, Ttl,
};

use super::{Answer, Ask, CommandError, Fixed, is, key, number};
use crate::gateway::resp::order::{Order, Precondition};
use crate::gateway::resp::session::Session;
use crate::gateway::resp::shape::{RefusedIfFound, Shape};
use crate::limits;

/// GET, before the table is looked at.
#[inline]
pub(super) fn plain_get<'a>(name: &'a [u8], session: &Session) -> Answer<'a> {
    let request = Request::Get {
        keyspace: session.keyspace().0,
        key: key(name)?,
    };
    Ok(Order::One(request, Shape::Value))
}

/// SET without options, before the table is looked at.
#[inline]
pub(super) fn plain_set<'a>(name: &'a [u8], value: &'a [u8], session: &Session) -> Answer<'a> {
    let put = simple_put(key(name)?, value);
    Ok(Order::One(
        Request::Put {
            keyspace: session.keyspace().0,
            put,
        },
        Shape::Ok,
    ))
}

fn simple_put<'a>(key: &'a [u8], value: &'a [u8]) -> Put<'a> {
    Put {
        key,
        value,
        ttl: Ttl::None,
        condition: Condition::Always,
        return_value: false,
    }
}

fn put<'a>(ask: &Ask<'a, '_>, put: Put<'a>, shape: Shape) -> Answer<'a> {
    let request = Request::Put {
        keyspace: ask.keyspace(),
        put,
    };
    Ok(Order::One(request, shape))
}

pub(super) fn get<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    plain_get(ask.argument(1), ask.session)
}

pub(super) fn set<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let (name, value) = (ask.argument(1), ask.argument(2));
    let options = SetOptions::parse(ask.rest(3), SetOptions::of_set)?;
    let ttl = match options.expiry {
        Some(given) => given.ttl(ask)?,
        None if options.keep_ttl => Ttl::Keep,
        None => Ttl::None,
    };
    put(
        ask,
        Put {
            key: key(name)?,
            value,
            ttl,
            condition: options.condition.unwrap_or(Condition::Always),
            return_value: options.get,
        },
        if options.get { Shape::Value } else { Shape::Ok },
    )
}

/// What stands behind SET's value or GETEX's key.
#[derive(Default)]
struct SetOptions<'a> {
    condition: Option<Condition<'a>>,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    expiry: Option<GivenExpiry<'a>>,
}

/// `EX 10` and the like, not looked into yet: Redis checks the grammar first.
#[derive(Clone, Copy, PartialEq)]
struct GivenExpiry<'a> {
    unit: ExpiryUnit,
    number: &'a [u8],
}

/// What a time's number counts, and from when.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct ExpiryUnit {
    pub(super) seconds: bool,
    pub(super) absolute: bool,
}

/// `EX`, EXPIRE.
pub(super) const IN_SECONDS: ExpiryUnit = ExpiryUnit {
    seconds: true,
    absolute: false,
};
/// `PX`, PEXPIRE.
pub(super) const IN_MILLIS: ExpiryUnit = ExpiryUnit {
    seconds: false,
    absolute: false,
};
/// `EXAT`, EXPIREAT.
pub(super) const AT_SECOND: ExpiryUnit = ExpiryUnit {
    seconds: true,
    absolute: true,
};
/// `PXAT`, PEXPIREAT.
pub(super) const AT_MILLI: ExpiryUnit = ExpiryUnit {
    seconds: false,
    absolute: true,
};

/// Takes an option that only one of the commands has, with what stands behind it. Says how many arguments that took; `None` if there is
/// no such option or it contradicts another.
type OwnOption<'a> = fn(&mut SetOptions<'a>, &'a [u8], Option<&'a [u8]>) -> Option<usize>;

impl<'a> SetOptions<'a> {
    /// Each option may come twice, but not with one that says the contrary; the same time option twice counts the last time.
    fn parse(arguments: &[&'a [u8]], own: OwnOption<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut options = SetOptions::default();
        let mut rest = arguments;
        while let [option, behind @ ..] = rest {
            let argument = behind.first().copied();
            let taken = options
                .time(option, argument)
                .or_else(|| own(&mut options, option, argument))
                .ok_or(Fixed::Syntax)?;
            rest = &rest[taken..];
        }
        Ok(options)
    }

    /// A time option, which both commands have. Says how many arguments it took.
    fn time(&mut self, option: &[u8], argument: Option<&'a [u8]>) -> Option<usize> {
        let unit = match option {
            _ if is(option, "EX") => IN_SECONDS,
            _ if is(option, "PX") => IN_MILLIS,
            _ if is(option, "EXAT") => AT_SECOND,
            _ if is(option, "PXAT") => AT_MILLI,
            _ => return None,
        };
        let other = self.expiry.is_some_and(|given| given.unit != unit);
        if self.keep_ttl || self.persist || other {
            return None;
        }
        self.expiry = Some(GivenExpiry {
            unit,
            number: argument?,
        });
        Some(2)
    }

    fn of_set(&mut self, option: &'a [u8], argument: Option<&'a [u8]>) -> Option<usize> {
        let condition = match option {
            _ if is(option, "NX") => Condition::IfAbsent,
            _ if is(option, "XX") => Condition::IfPresent,
            _ if is(option, "IFEQ") => Condition::IfValue(argument?),
            _ if is(option, "GET") => {
                self.get = true;
                return Some(1);
            }
            _ if is(option, "KEEPTTL") && self.expiry.is_none() => {
                self.keep_ttl = true;
                return Some(1);
            }
            _ => return None,
        };
        let taken = 1 + usize::from(matches!(condition, Condition::IfValue(_)));
        let other = self.condition.replace(condition);
        let same_kind = |other: Condition<'_>| {
            std::mem::discriminant(&other) == std::mem::discriminant(&condition)
        };
        other.is_none_or(same_kind).then_some(taken)
    }

    fn of_getex(&mut self, option: &'a [u8], _: Option<&'a [u8]>) -> Option<usize> {
        if is(option, "PERSIST") && self.expiry.is_none() {
            self.persist = true;
            return Some(1);
        }
        None
    }
}

impl GivenExpiry<'_> {
    /// When the key is to expire.
    fn at_ms(self, ask: &Ask<'_, '_>) -> Result<i64, CommandError> {
        let number = number::integer(self.number).ok_or(Fixed::NotAnInteger)?;
        let invalid = CommandError::InvalidExpiry(ask.command.name);
        if number <= 0 {
            return Err(invalid);
        }
        expiry_ms(number, self.unit, ask.now_ms()).ok_or(invalid)
    }

    fn ttl(self, ask: &Ask<'_, '_>) -> Result<Ttl, CommandError> {
        let at_ms = self.at_ms(ask)?;
        Ok(match from_now(at_ms, self.unit, ask.now_ms()) {
            Some(millis) => Ttl::Millis(millis),
            None => Ttl::At(at_ms as u64),
        })
    }
}

/// The Unix time in milliseconds of a time as a command gives it; `None` if it does not fit.
pub(super) fn expiry_ms(number: i64, unit: ExpiryUnit, now_ms: i64) -> Option<i64> {
    let factor = if unit.seconds { 1000 } else { 1 };
    let base_ms = if unit.absolute { 0 } else { now_ms };
    number.checked_mul(factor)?.checked_add(base_ms)
}

/// The time to live that a relative time means, if a request can hold it: the shard then counts it from when it carries the request out.
pub(super) fn from_now(at_ms: i64, unit: ExpiryUnit, now_ms: i64) -> Option<u64> {
    let millis = u64::try_from(at_ms.checked_sub(now_ms)?).ok()?;
    (!unit.absolute && (1..=TTL_MS_MAX).contains(&millis)).then_some(millis)
}

pub(super) fn setnx<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let absent = Put {
        condition: Condition::IfAbsent,
        ..simple_put(ask.key(1)?, ask.argument(2))
    };
    put(ask, absent, Shape::Flag)
}

pub(super) fn setex<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    set_with_ttl(ask, IN_SECONDS)
}

pub(super) fn psetex<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    set_with_ttl(ask, IN_MILLIS)
}

fn set_with_ttl<'a>(ask: &Ask<'a, '_>, unit: ExpiryUnit) -> Answer<'a> {
    let given = GivenExpiry {
        unit,
        number: ask.argument(2),
    };
    let ttl = given.ttl(ask)?;
    put(
        ask,
        Put {
            ttl,
            ..simple_put(ask.key(1)?, ask.argument(3))
        },
        Shape::Ok,
    )
}

pub(super) fn getset<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let old = Put {
        return_value: true,
        ..simple_put(ask.key(1)?, ask.argument(2))
    };
    put(ask, old, Shape::Value)
}

pub(super) fn getdel<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let delete = Delete {
        key: ask.key(1)?,
        condition: Condition::Always,
        return_value: true,
    };
    let request = Request::Delete {
        keyspace: ask.keyspace(),
        delete,
    };
    Ok(Order::One(request, Shape::Value))
}

pub(super) fn getex<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let options = SetOptions::parse(ask.rest(2), SetOptions::of_getex)?;
    let (keyspace, key) = (ask.keyspace(), ask.key(1)?);
    let (expiry, condition) = match options.expiry {
        None if options.persist => (Expiry::Never, ExpiryCondition::IfSome),
        None => return plain_get(key, ask.session),
        Some(given) => match given.at_ms(ask) {
            Ok(at_ms) => (
                relative_or_absolute(at_ms, given.unit, ask.now_ms()),
                ExpiryCondition::Always,
            ),
            // Redis looks for the key before it looks at the time.
            Err(error) => {
                let refused = match error {
                    CommandError::Fixed(_) => RefusedIfFound::NotAnInteger,
                    _ => RefusedIfFound::InvalidExpiryInGetex,
                };
                let exists = Request::Exists { keyspace, key };
                return Ok(Order::One(exists, Shape::RefusedIfFound(refused)));
            }
        },
    };
    let request = Request::Expire {
        keyspace,
        key,
        expiry,
        condition,
        return_value: true,
    };
    Ok(Order::One(request, Shape::Value))
}

/// A time for a request: a past one is any that is over, since requests know no times before 1970.
pub(super) fn relative_or_absolute(at_ms: i64, unit: ExpiryUnit, now_ms: i64) -> Expiry {
    match from_now(at_ms, unit, now_ms) {
        Some(millis) => Expiry::Millis(millis),
        None => Expiry::At(u64::try_from(at_ms).unwrap_or(0)),
    }
}

pub(super) fn mget<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let keyspace = ask.keyspace();
    let get = |name: &&'a [u8]| {
        let key = key(name)?;
        Ok((Request::Get { keyspace, key }, Shape::Value))
    };
    let requests: Result<_, CommandError> = ask.rest(1).iter().map(get).collect();
    Ok(Order::Array(requests?))
}

pub(super) fn mset<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    set_many(ask, false)
}

pub(super) fn msetnx<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    set_many(ask, true)
}

fn set_many<'a>(ask: &Ask<'a, '_>, if_absent: bool) -> Answer<'a> {
    let (pairs, []) = ask.rest(1).as_chunks::<2>() else {
        return Err(ask.arity_error());
    };
    let (keyspace, keyspace_id) = (ask.keyspace(), ask.keyspace_id());
    let mut requests = Vec::with_capacity(pairs.len());
    let mut preconditions = Vec::with_capacity(if if_absent { pairs.len() } else { 0 });
    for &[name, value] in pairs {
        let put = simple_put(key(name)?, value);
        requests.push(Request::Put { keyspace, put });
        if if_absent {
            preconditions.push(Precondition {
                keyspace: keyspace_id,
                key: name,
                version: None,
            });
        }
    }
    Ok(Order::Together {
        preconditions,
        requests,
        shape: if if_absent { Shape::Flag } else { Shape::Ok },
    })
}

pub(super) fn append<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let request = Request::Append {
        keyspace: ask.keyspace(),
        key: ask.key(1)?,
        suffix: ask.argument(2),
    };
    Ok(Order::One(request, Shape::Number))
}

pub(super) fn strlen<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    read(ask, Shape::Length)
}

pub(super) fn getrange<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    read(ask, Shape::Range(ask.integer(2)?, ask.integer(3)?))
}

fn read<'a>(ask: &Ask<'a, '_>, shape: Shape) -> Answer<'a> {
    let request = Request::Get {
        keyspace: ask.keyspace(),
        key: ask.key(1)?,
    };
    Ok(Order::One(request, shape))
}

pub(super) fn setrange<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let offset = ask.integer(2)?;
    let bytes = ask.argument(3);
    let offset = u64::try_from(offset).map_err(|_| Fixed::OffsetOutOfRange)?;
    let too_long = offset.saturating_add(bytes.len() as u64) > limits::BULK_LEN_MAX as u64;
    if too_long && !bytes.is_empty() {
        return Err(Fixed::StringTooLong.into());
    }
    let request = Request::Overwrite {
        keyspace: ask.keyspace(),
        key: ask.key(1)?,
        // Where nothing is written, it does not matter where.
        offset: if bytes.is_empty() { 0 } else { offset as u32 },
        bytes,
    };
    Ok(Order::One(request, Shape::Number))
}

fn add<'a>(ask: &Ask<'a, '_>, delta: i64) -> Answer<'a> {
    let request = Request::Add {
        keyspace: ask.keyspace(),
        key: ask.key(1)?,
        delta,
    };
    Ok(Order::One(request, Shape::Number))
}

pub(super) fn incr<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    add(ask, 1)
}

pub(super) fn decr<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    add(ask, -1)
}

pub(super) fn incrby<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    add(ask, ask.integer(2)?)
}

pub(super) fn decrby<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let decrement = ask.integer(2)?;
    add(
        ask,
        decrement.checked_neg().ok_or(Fixed::DecrementOverflow)?,
    )
}

pub(super) fn incrbyfloat<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let request = Request::AddFloat {
        keyspace: ask.keyspace(),
        key: ask.key(1)?,
        increment: ask.argument(2),
    };
    Ok(Order::One(request, Shape::Value))
}
