//! CONFIG GET and SET: the parameters of Redis that have a meaning here, under Redis's names.
//!
//! A node's settings are made at its start (`docs/configuration.md`); what can be changed while it runs is the slow log's. A parameter may be
//! set to what it is, so that scripts that make sure of `save ""` or `appendonly yes` go on.

use std::collections::HashSet;

use super::commands::CommandError;
use super::glob;
use super::reply::{self, Protocol};
use crate::limits;

/// When an acknowledged write is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    Always,
    /// At most so many milliseconds after.
    Interval(u64),
    /// When the kernel sees fit.
    Never,
}

impl Durability {
    /// Redis's nearest word.
    #[must_use]
    pub fn appendfsync(self) -> &'static str {
        match self {
            Durability::Always => "always",
            Durability::Interval(_) => "everysec",
            Durability::Never => "no",
        }
    }
}

/// What the parameters are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigData {
    /// The address that clients are listened to at.
    pub host: String,
    /// And the port.
    pub port: u16,
    /// Numbers that SELECT takes.
    pub databases: u32,
    /// Most client connections.
    pub connections_max: usize,
    /// Seconds after which an idle connection is closed; 0: never.
    pub idle_timeout_seconds: u64,
    /// Memory that the node is allowed, in bytes.
    pub memory_bytes: u64,
    /// When writes are on disk.
    pub durability: Durability,
    /// The data directory.
    pub directory: String,
    /// Commands that take longer are in the slow log, in microseconds; negative: none; 0: all.
    pub slowlog_slower_than_us: i64,
    /// Entries of the slow log.
    pub slowlog_len_max: u64,
    /// Whether DEBUG is allowed.
    pub debug: bool,
}

/// What CONFIG SET changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// [`ConfigData::slowlog_slower_than_us`].
    SlowlogSlowerThan(i64),
    /// [`ConfigData::slowlog_len_max`].
    SlowlogLenMax(u64),
}

/// Every parameter with its value, by name.
fn parameters(data: &ConfigData) -> Vec<(&'static str, String)> {
    let yes_or_no = |yes: bool| String::from(if yes { "yes" } else { "no" });
    vec![
        ("appendfsync", data.durability.appendfsync().into()),
        ("appendonly", yes_or_no(true)),
        ("bind", data.host.clone()),
        ("databases", data.databases.to_string()),
        ("dir", data.directory.clone()),
        ("enable-debug-command", yes_or_no(data.debug)),
        ("latency-monitor-threshold", "0".into()),
        ("maxclients", data.connections_max.to_string()),
        // Data are on disk and never put out for want of memory: no bound, in Redis's sense.
        ("maxmemory", "0".into()),
        ("maxmemory-policy", "noeviction".into()),
        ("notify-keyspace-events", String::new()),
        ("port", data.port.to_string()),
        ("proto-max-bulk-len", limits::BULK_LEN_MAX.to_string()),
        ("requirepass", String::new()),
        ("save", String::new()),
        (
            "slowlog-log-slower-than",
            data.slowlog_slower_than_us.to_string(),
        ),
        ("slowlog-max-len", data.slowlog_len_max.to_string()),
        ("timeout", data.idle_timeout_seconds.to_string()),
    ]
}

/// Writes CONFIG GET's reply: the parameters whose names match any of the patterns, each once.
pub fn write(out: &mut Vec<u8>, protocol: Protocol, patterns: &[&[u8]], data: &ConfigData) {
    let found: Vec<(&[u8], String)> = parameters(data)
        .into_iter()
        .filter_map(|(name, value)| {
            let matches = |pattern: &&&[u8]| glob::matches_ignoring_case(pattern, name.as_bytes());
            let pattern = patterns.iter().find(matches)?;
            // One that was asked for by its name is told under the name as it was written.
            let is_name = pattern.eq_ignore_ascii_case(name.as_bytes());
            Some((if is_name { *pattern } else { name.as_bytes() }, value))
        })
        .collect();
    reply::map(out, protocol, found.len());
    for (name, value) in found {
        reply::bulk(out, name);
        reply::bulk(out, value.as_bytes());
    }
}

/// CONFIG SET: the changes, all of them or none.
pub fn changes(pairs: &[(&[u8], &[u8])], data: &ConfigData) -> Result<Vec<Change>, CommandError> {
    let parameters = parameters(data);
    let mut seen = HashSet::new();
    let mut named = Vec::new();
    // Redis looks at all the names before it looks at a value.
    for &(name, value) in pairs {
        let known = parameters
            .iter()
            .find(|(parameter, _)| name.eq_ignore_ascii_case(parameter.as_bytes()));
        let Some((parameter, current)) = known else {
            let repeated = &name[..name.len().min(NAME_LEN_MAX)];
            return Err(CommandError::UnknownParameter(repeated.to_vec()));
        };
        if !seen.insert(*parameter) {
            return Err(refused(parameter, "duplicate parameter"));
        }
        named.push((*parameter, current, value));
    }
    let mut changes = Vec::new();
    for (parameter, current, value) in named {
        changes.extend(change(parameter, current, value)?);
    }
    Ok(changes)
}

/// Longest parameter's name that an error repeats.
const NAME_LEN_MAX: usize = 128;

fn change(parameter: &str, current: &str, value: &[u8]) -> Result<Option<Change>, CommandError> {
    let integer = |least: i64| {
        let text = std::str::from_utf8(value).ok();
        let number = text.and_then(|text| text.parse::<i64>().ok());
        let number = number
            .ok_or_else(|| refused(parameter, "argument couldn't be parsed into an integer"))?;
        if number < least {
            let reason = format!(
                "argument must be between {least} and {} inclusive",
                i64::MAX
            );
            return Err(refused(parameter, &reason));
        }
        Ok(number)
    };
    match parameter {
        "slowlog-log-slower-than" => Ok(Some(Change::SlowlogSlowerThan(integer(-1)?))),
        "slowlog-max-len" => {
            let len = integer(0)? as u64;
            Ok(Some(Change::SlowlogLenMax(
                len.min(limits::SLOWLOG_LEN_MAX as u64),
            )))
        }
        _ if value == current.as_bytes() => Ok(None),
        _ => Err(refused(parameter, "can't set immutable config")),
    }
}

fn refused(parameter: &str, reason: &str) -> CommandError {
    CommandError::ConfigSet {
        parameter: parameter.into(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> ConfigData {
        ConfigData {
            host: "127.0.0.1".into(),
            port: 7379,
            databases: 16,
            connections_max: 10_000,
            idle_timeout_seconds: 0,
            memory_bytes: 1 << 30,
            durability: Durability::Interval(50),
            directory: "data".into(),
            slowlog_slower_than_us: 10_000,
            slowlog_len_max: 128,
            debug: false,
        }
    }

    fn get(patterns: &[&str]) -> String {
        let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        let mut out = Vec::new();
        write(&mut out, Protocol::Resp2, &patterns, &data());
        String::from_utf8(out).unwrap()
    }

    fn set(pairs: &[(&str, &str)]) -> Result<Vec<Change>, String> {
        let pairs: Vec<(&[u8], &[u8])> = pairs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        changes(&pairs, &data()).map_err(|error| error.to_string())
    }

    /// redis-benchmark asks for these two at its start; a parameter that is told twice shifts the reply's pairs.
    #[test]
    fn parameters_are_found_by_name_and_by_pattern_each_once() {
        assert_eq!(get(&["SAVE"]), "*2\r\n$4\r\nSAVE\r\n$0\r\n\r\n");
        assert_eq!(
            get(&["appendonly"]),
            "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"
        );
        assert_eq!(get(&["nosuch"]), "*0\r\n");
        assert_eq!(
            get(&["append*", "*fsync", "appendonly"]),
            "*4\r\n$11\r\nappendfsync\r\n$8\r\neverysec\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"
        );
        assert!(get(&["*"]).starts_with("*36\r\n"));
    }

    /// A CONFIG SET that says OK and does nothing makes an operator believe in a bound that is not there.
    #[test]
    fn only_what_can_be_changed_is_set_and_all_or_nothing() {
        assert_eq!(
            set(&[("slowlog-max-len", "5"), ("SLOWLOG-LOG-SLOWER-THAN", "-1")]),
            Ok(vec![
                Change::SlowlogLenMax(5),
                Change::SlowlogSlowerThan(-1)
            ])
        );
        assert_eq!(set(&[("save", ""), ("appendonly", "yes")]), Ok(vec![]));
        let failed = |parameter: &str, reason: &str| {
            Err(format!(
                "ERR CONFIG SET failed (possibly related to argument '{parameter}') - {reason}"
            ))
        };
        for (pairs, expected) in [
            (
                &[("foo", "bar")] as &[(&str, &str)],
                Err("ERR Unknown option or number of arguments for CONFIG SET - 'foo'".into()),
            ),
            (
                &[("databases", "4")],
                failed("databases", "can't set immutable config"),
            ),
            (
                &[("slowlog-max-len", "7"), ("maxmemory", "1gb")],
                failed("maxmemory", "can't set immutable config"),
            ),
            (
                &[("slowlog-max-len", "x")],
                failed(
                    "slowlog-max-len",
                    "argument couldn't be parsed into an integer",
                ),
            ),
            (
                &[("slowlog-max-len", "-1")],
                failed(
                    "slowlog-max-len",
                    "argument must be between 0 and 9223372036854775807 inclusive",
                ),
            ),
            (
                &[("slowlog-max-len", "100"), ("Slowlog-max-len", "5")],
                failed("slowlog-max-len", "duplicate parameter"),
            ),
        ] {
            assert_eq!(set(pairs), expected, "{pairs:?}");
        }
    }

    /// `CONFIG SET slowlog-max-len` of a billion must not become a billion entries.
    #[test]
    fn the_slow_log_stays_bounded() {
        let changes = set(&[("slowlog-max-len", "1000000000000")]).unwrap();
        let bound = limits::SLOWLOG_LEN_MAX as u64;
        assert_eq!(changes, [Change::SlowlogLenMax(bound)]);
    }
}
