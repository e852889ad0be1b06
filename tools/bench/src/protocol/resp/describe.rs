//! What a RESP server says of itself, in words for a report.
//!
//! Redis and those that follow it answer the same questions (`INFO`, `CONFIG GET`) and differ in what they leave out. Managed ones often
//! refuse `CONFIG`; the report then says that.

use std::{collections::BTreeMap, net::TcpStream};

use super::{session::ask, value::Value};
use crate::{
    protocol::{MeetError, NOT_TOLD, Protocol, stream::Talk},
    results::Server,
};

/// Fields that end in `_version` and name what the server is compatible with or was built by, not what it is.
const NOT_ITS_OWN: [&str; 2] = ["redis", "gcc"];

/// A setting as `CONFIG GET` tells it: its value, or why there is none.
type Setting = Result<String, String>;

/// Asks the server about itself.
pub(super) fn describe(stream: &mut TcpStream) -> Result<Server, MeetError> {
    let server = info(stream, "server")?;
    let replication = info(stream, "replication")?;
    let durability = durability(
        &setting(stream, "appendonly")?,
        &setting(stream, "appendfsync")?,
        &setting(stream, "save")?,
    );
    let mut threads = server.get("thread_count").cloned();
    for name in ["server-threads", "io-threads"] {
        if threads.is_none() {
            threads = setting(stream, name)?.ok();
        }
    }
    Ok(Server {
        protocol: Protocol::Resp.to_string(),
        address: Talk::new(stream, Protocol::Resp).address(),
        version: version(&server),
        durability,
        consistency: consistency(&server, &replication),
        process: None,
        shards: threads.and_then(|threads| threads.parse().ok()),
    })
}

/// The fields of a section of `INFO`; none if the server refuses it.
fn info(stream: &mut TcpStream, section: &str) -> Result<BTreeMap<String, String>, MeetError> {
    let answer = ask(stream, "asking INFO", &["INFO", section])?;
    Ok(answer.text().as_deref().map(fields).unwrap_or_default())
}

fn fields(info: &str) -> BTreeMap<String, String> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn setting(stream: &mut TcpStream, name: &str) -> Result<Setting, MeetError> {
    let answer = ask(stream, "asking CONFIG GET", &["CONFIG", "GET", name])?;
    Ok(match answer {
        Value::Array(pair) => match pair.get(1).and_then(Value::text) {
            Some(value) => Ok(value),
            None => Err("it has no such setting".to_owned()),
        },
        Value::Error(words) => Err(format!("CONFIG GET was refused: {words}")),
        other => Err(format!("CONFIG GET was answered {other:?}")),
    })
}

/// Name and version. Those that stand in for Redis claim a version of it too, and their own under their own name.
fn version(server: &BTreeMap<String, String>) -> String {
    let own = server.iter().find_map(|(field, value)| {
        let name = field.strip_suffix("_version")?;
        (!NOT_ITS_OWN.contains(&name)).then(|| format!("{name} {value}"))
    });
    if let Some(own) = own {
        return own;
    }
    let is_keydb = server
        .get("executable")
        .is_some_and(|path| path.contains("keydb"));
    match server.get("redis_version") {
        Some(version) if is_keydb => format!("keydb {version}"),
        Some(version) => format!("redis {version}"),
        None => NOT_TOLD.to_owned(),
    }
}

/// What an acknowledged write means.
fn durability(appendonly: &Setting, appendfsync: &Setting, save: &Setting) -> String {
    let log = match (appendonly.as_deref(), appendfsync) {
        (Ok("no"), _) => "appendonly no".to_owned(),
        (Ok(appendonly), Ok(fsync)) => format!("appendonly {appendonly}, appendfsync {fsync}"),
        (Ok(appendonly), Err(_)) => format!("appendonly {appendonly}"),
        (Err(reason), _) => format!("{NOT_TOLD} ({reason})"),
    };
    let snapshots = match save.as_deref() {
        Ok("") => ", no snapshots".to_owned(),
        Ok(save) => format!(", snapshots: save {save}"),
        Err(_) => String::new(),
    };
    let memory_alone = appendonly.as_deref() == Ok("no") && save.as_deref() == Ok("");
    let meaning = if memory_alone { " (memory alone)" } else { "" };
    format!("{log}{snapshots}{meaning}")
}

/// Who else has the data, and how.
fn consistency(
    server: &BTreeMap<String, String>,
    replication: &BTreeMap<String, String>,
) -> String {
    let replicas = replication
        .get("connected_slaves")
        .and_then(|number| number.parse::<u32>().ok());
    let node = match server.get("redis_mode").map(String::as_str) {
        Some("cluster") => "one node of a cluster",
        _ => "one node",
    };
    match (replication.get("role").map(String::as_str), replicas) {
        (Some("slave" | "replica"), _) => "a replica: reads may be old".to_owned(),
        (Some("master"), None | Some(0)) => node.to_owned(),
        (Some("master"), Some(replicas)) => format!("{node}, asynchronous replicas: {replicas}"),
        (Some(role), _) => format!("{node}, role {role}"),
        (None, _) => NOT_TOLD.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What a report compares must be named right: a Valkey that calls itself Redis 7.2.4 for old clients' sake is no Redis.
    #[test]
    fn servers_are_called_by_their_own_name() {
        for (info, name) in [
            (
                "# Server\r\nredis_version:7.0.15\r\ngcc_version:12.2.0\r\n",
                "redis 7.0.15",
            ),
            (
                "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n",
                "valkey 8.1.0",
            ),
            (
                "redis_version:7.4.0\r\ndragonfly_version:df-v1.30.0\r\n",
                "dragonfly df-v1.30.0",
            ),
            (
                "redis_version:6.3.4\r\nexecutable:/usr/bin/keydb-server\r\n",
                "keydb 6.3.4",
            ),
            ("", "not told by the server"),
        ] {
            assert_eq!(version(&fields(info)), name);
        }
    }

    #[test]
    fn durability_is_told_in_the_servers_own_settings() {
        let told = |text: &str| Ok(text.to_owned());
        let refused = || Err("CONFIG GET was refused: ERR unknown command".to_owned());
        for (append, fsync, save, words) in [
            (
                told("no"),
                told("everysec"),
                told(""),
                "appendonly no, no snapshots (memory alone)",
            ),
            (
                told("yes"),
                told("always"),
                told(""),
                "appendonly yes, appendfsync always, no snapshots",
            ),
            (
                told("no"),
                told("everysec"),
                told("3600 1 300 100"),
                "appendonly no, snapshots: save 3600 1 300 100",
            ),
            (
                refused(),
                refused(),
                refused(),
                "not told by the server (CONFIG GET was refused: ERR unknown command)",
            ),
        ] {
            assert_eq!(durability(&append, &fsync, &save), words);
        }
    }

    #[test]
    fn consistency_is_told_from_role_and_replicas() {
        for (server, replication, words) in [
            ("", "role:master\r\nconnected_slaves:0\r\n", "one node"),
            (
                "",
                "role:master\r\nconnected_slaves:2\r\n",
                "one node, asynchronous replicas: 2",
            ),
            ("", "role:slave\r\n", "a replica: reads may be old"),
            (
                "redis_mode:cluster\r\n",
                "role:master\r\n",
                "one node of a cluster",
            ),
            ("", "", "not told by the server"),
        ] {
            assert_eq!(consistency(&fields(server), &fields(replication)), words);
        }
    }
}
