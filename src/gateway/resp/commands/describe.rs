//! COMMAND: what the table says, as Redis 7.0 lays it out.

use super::table::{COMMANDS, Command, KeySpec, categories, find_full, flags};
use super::{Answer, Ask, Fixed, is};
use crate::gateway::resp::glob;
use crate::gateway::resp::order::Order;
use crate::gateway::resp::reply::{self, Protocol};

pub(super) fn all<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let mut bytes = Vec::new();
    reply::array(&mut bytes, COMMANDS.len());
    for command in COMMANDS {
        write_command(&mut bytes, ask.session.protocol(), command);
    }
    Ok(Order::Reply(bytes))
}

pub(super) fn count<'a>(_: &Ask<'a, '_>) -> Answer<'a> {
    let mut bytes = Vec::new();
    reply::integer(&mut bytes, COMMANDS.len() as i64);
    Ok(Order::Reply(bytes))
}

pub(super) fn info<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let names = ask.rest(2);
    if names.is_empty() {
        return all(ask);
    }
    let protocol = ask.session.protocol();
    let mut bytes = Vec::new();
    reply::array(&mut bytes, names.len());
    for name in names {
        match find_full(name) {
            Some(command) => write_command(&mut bytes, protocol, command),
            None => reply::null(&mut bytes, protocol),
        }
    }
    Ok(Order::Reply(bytes))
}

pub(super) fn docs<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let names = ask.rest(2);
    let commands: Vec<&Command> = if names.is_empty() {
        COMMANDS.iter().collect()
    } else {
        names.iter().filter_map(|name| find_full(name)).collect()
    };
    let mut bytes = Vec::new();
    reply::map(&mut bytes, ask.session.protocol(), commands.len());
    for command in commands {
        write_docs(&mut bytes, ask.session.protocol(), command);
    }
    Ok(Order::Reply(bytes))
}

pub(super) fn list<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let keep: Box<dyn Fn(&Command) -> bool> = match *ask.rest(2) {
        [] => Box::new(|_| true),
        [filter, kind, value] if is(filter, "FILTERBY") => match kind {
            _ if is(kind, "MODULE") => Box::new(|_| false),
            _ if is(kind, "PATTERN") => {
                Box::new(|command| glob::matches_ignoring_case(value, command.name.as_bytes()))
            }
            _ if is(kind, "ACLCAT") => {
                let category = categories::NAMES
                    .iter()
                    .position(|name| value.eq_ignore_ascii_case(&name.as_bytes()[1..]));
                let bit = category.map_or(0, |index| 1 << index);
                Box::new(move |command| command.all_categories() & bit != 0)
            }
            _ => return Err(Fixed::Syntax.into()),
        },
        _ => return Err(Fixed::Syntax.into()),
    };
    let subcommands = |command: &'static Command| command.subcommands.unwrap_or_default();
    let names: Vec<&str> = COMMANDS
        .iter()
        .flat_map(|command| std::iter::once(command).chain(subcommands(command)))
        .filter(|command| keep(command))
        .map(|command| command.name)
        .collect();
    let mut bytes = Vec::new();
    reply::array(&mut bytes, names.len());
    for name in names {
        reply::bulk(&mut bytes, name.as_bytes());
    }
    Ok(Order::Reply(bytes))
}

pub(super) fn getkeys<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let keys = keys_of(ask.rest(2))?;
    let mut bytes = Vec::new();
    reply::array(&mut bytes, keys.len());
    for (key, _) in keys {
        reply::bulk(&mut bytes, key);
    }
    Ok(Order::Reply(bytes))
}

pub(super) fn getkeysandflags<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    let keys = keys_of(ask.rest(2))?;
    let mut bytes = Vec::new();
    reply::array(&mut bytes, keys.len());
    for (key, spec) in keys {
        reply::array(&mut bytes, 2);
        reply::bulk(&mut bytes, key);
        let access = access(spec, ask.rest(2));
        write_words(&mut bytes, ask.session.protocol(), access);
    }
    Ok(Order::Reply(bytes))
}

/// What is done with a run of keys by a command with these arguments: SET reads only with GET.
fn access(spec: &'static KeySpec, arguments: &[&[u8]]) -> &'static [&'static str] {
    if !spec.access.contains(&"variable_flags") {
        return spec.access;
    }
    let reads = arguments.iter().skip(3).any(|argument| is(argument, "GET"));
    if reads {
        &["RW", "access", "update"]
    } else {
        &["OW", "update"]
    }
}

/// The keys among a command's arguments, each with the run that it belongs to.
fn keys_of<'a>(arguments: &[&'a [u8]]) -> Result<Vec<(&'a [u8], &'static KeySpec)>, Fixed> {
    let mut command = super::table::find(arguments[0]).ok_or(Fixed::InvalidCommand)?;
    if let (Some(subcommands), Some(name)) = (command.subcommands, arguments.get(1)) {
        command = subcommands
            .iter()
            .find(|row| name.eq_ignore_ascii_case(row.own_name().as_bytes()))
            .ok_or(Fixed::InvalidCommand)?;
    }
    if command.keys.is_empty() {
        return Err(Fixed::NoKeyArguments);
    }
    if !command.takes(arguments.len()) {
        return Err(Fixed::InvalidArgumentCount);
    }
    let mut keys = Vec::new();
    for spec in command.keys {
        let first = usize::from(spec.first);
        let last = match usize::try_from(spec.last) {
            Ok(behind) => first + behind,
            Err(_) => arguments.len() - usize::from(spec.last.unsigned_abs()),
        };
        let run = arguments[first..=last].iter().step_by(spec.step.into());
        keys.extend(run.map(|key| (*key, spec)));
    }
    Ok(keys)
}

fn write_command(out: &mut Vec<u8>, protocol: Protocol, command: &Command) {
    reply::array(out, 10);
    reply::bulk(out, command.name.as_bytes());
    reply::integer(out, command.arity.into());
    let words: Vec<&str> = named(command.flags, flags::NAMES).collect();
    write_words(out, protocol, &words);
    for place in legacy_places(command.keys) {
        reply::integer(out, place);
    }
    let words: Vec<&str> = named(command.all_categories(), categories::NAMES).collect();
    write_words(out, protocol, &words);
    reply::set(out, protocol, command.tips.len());
    for tip in command.tips {
        reply::bulk(out, tip.as_bytes());
    }
    reply::set(out, protocol, command.keys.len());
    for spec in command.keys {
        write_key_spec(out, protocol, spec);
    }
    match command.subcommands {
        None => reply::set(out, protocol, 0),
        Some(subcommands) => {
            reply::array(out, subcommands.len());
            for subcommand in subcommands {
                write_command(out, protocol, subcommand);
            }
        }
    }
}

/// First key, last key and step, as Redis told them before there were several runs.
fn legacy_places(keys: &[KeySpec]) -> [i64; 3] {
    let Some(first) = keys.first() else {
        return [0; 3];
    };
    // COPY and RENAME have two runs of one key each, one behind the other.
    let last = keys.last().unwrap_or(first);
    let last_place = if last.last < 0 {
        last.last.into()
    } else {
        i64::from(last.first) + i64::from(last.last)
    };
    [first.first.into(), last_place, first.step.into()]
}

fn write_key_spec(out: &mut Vec<u8>, protocol: Protocol, spec: &KeySpec) {
    let typed = |out: &mut Vec<u8>, name: &[u8], kind: &[u8], fields: &[(&str, i64)]| {
        reply::bulk(out, name);
        reply::map(out, protocol, 2);
        reply::bulk(out, b"type");
        reply::bulk(out, kind);
        reply::bulk(out, b"spec");
        reply::map(out, protocol, fields.len());
        for &(field, number) in fields {
            reply::bulk(out, field.as_bytes());
            reply::integer(out, number);
        }
    };
    reply::map(out, protocol, 3);
    reply::bulk(out, b"flags");
    write_words(out, protocol, spec.access);
    let begin = [("index", spec.first.into())];
    typed(out, b"begin_search", b"index", &begin);
    let find = [
        ("lastkey", spec.last.into()),
        ("keystep", spec.step.into()),
        ("limit", 0),
    ];
    typed(out, b"find_keys", b"range", &find);
}

fn write_docs(out: &mut Vec<u8>, protocol: Protocol, command: &Command) {
    reply::bulk(out, command.name.as_bytes());
    reply::map(
        out,
        protocol,
        3 + usize::from(command.subcommands.is_some()),
    );
    let fields = [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group),
    ];
    for (field, text) in fields {
        reply::bulk(out, field.as_bytes());
        reply::bulk(out, text.as_bytes());
    }
    if let Some(subcommands) = command.subcommands {
        reply::bulk(out, b"subcommands");
        reply::map(out, protocol, subcommands.len());
        for subcommand in subcommands {
            write_docs(out, protocol, subcommand);
        }
    }
}

/// The names of the bits that are set.
fn named(bits: u32, names: &'static [&'static str]) -> impl Iterator<Item = &'static str> {
    names
        .iter()
        .enumerate()
        .filter(move |(index, _)| bits & (1 << index) != 0)
        .map(|(_, name)| *name)
}

fn write_words(out: &mut Vec<u8>, protocol: Protocol, words: &[&str]) {
    reply::set(out, protocol, words.len());
    for word in words {
        reply::simple(out, word);
    }
}
