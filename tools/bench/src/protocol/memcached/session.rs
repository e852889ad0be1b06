//! A memcached connection on which one command is asked at a time.

use std::{collections::BTreeMap, net::TcpStream};

use crate::{
    protocol::{
        Malformed, MeetError, Protocol,
        stream::Talk,
        text::{Reader, Stop, malformed},
    },
    results::Server,
};

/// Most settings that are read.
const SETTINGS_MAX: usize = 10_000;

/// Parses an answer by lines.
fn lines<T>(
    bytes: &[u8],
    parse: impl Fn(&mut Reader<'_>) -> Result<T, Stop>,
) -> Result<Option<(T, usize)>, Malformed> {
    let mut reader = Reader::new(bytes);
    match parse(&mut reader) {
        Ok(answer) => Ok(Some((answer, reader.at()))),
        Err(Stop::More) => Ok(None),
        Err(Stop::Bad(reason)) => Err(malformed(reason)),
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// Asks for one line.
fn line(stream: &mut TcpStream, doing: &'static str, request: &[u8]) -> Result<String, MeetError> {
    Talk::new(stream, Protocol::MemcachedText).ask(doing, request, |bytes| {
        lines(bytes, |reader| reader.line().map(text))
    })
}

/// The server's version.
pub(super) fn version(stream: &mut TcpStream) -> Result<String, MeetError> {
    let doing = "asking for the version";
    let answer = line(stream, doing, b"version\r\n")?;
    match answer.strip_prefix("VERSION ") {
        Some(version) => Ok(version.to_owned()),
        None => Err(MeetError::Foreign {
            doing,
            protocol: Protocol::MemcachedText,
            reason: format!("it answered `{}`", answer.escape_debug()),
        }),
    }
}

/// The server's settings; none if it refuses to tell them.
pub(super) fn settings(stream: &mut TcpStream) -> Result<BTreeMap<String, String>, MeetError> {
    let mut talk = Talk::new(stream, Protocol::MemcachedText);
    talk.ask("asking for the settings", b"stats settings\r\n", |bytes| {
        lines(bytes, statistics)
    })
}

/// Lines `STAT name value` and `END`, or one line that is neither.
fn statistics(reader: &mut Reader<'_>) -> Result<BTreeMap<String, String>, Stop> {
    let mut statistics = BTreeMap::new();
    for _ in 0..SETTINGS_MAX {
        let line = text(reader.line()?);
        let Some(pair) = line.strip_prefix("STAT ") else {
            return Ok(statistics);
        };
        let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
        statistics.insert(name.to_owned(), value.to_owned());
    }
    Err(Stop::Bad("the settings have no end"))
}

/// Removes all items.
pub(super) fn flush(stream: &mut TcpStream) -> Result<(), MeetError> {
    let doing = "removing all items with flush_all";
    let answer = line(stream, doing, b"flush_all\r\n")?;
    match answer == "OK" {
        true => Ok(()),
        false => Err(MeetError::Refused {
            doing,
            words: answer,
        }),
    }
}

/// What the server says of itself.
pub(super) fn describe(stream: &mut TcpStream, version: &str) -> Result<Server, MeetError> {
    let settings = settings(stream)?;
    Ok(Server {
        protocol: Protocol::MemcachedText.to_string(),
        address: Talk::new(stream, Protocol::MemcachedText).address(),
        version: format!("memcached {version}"),
        durability: durability(&settings),
        consistency: "one node".to_owned(),
        process: None,
        shards: settings
            .get("num_threads")
            .and_then(|threads| threads.parse().ok()),
    })
}

/// What an acknowledged write means: nothing is ever written to disk to be kept, and a full server may drop items.
fn durability(settings: &BTreeMap<String, String>) -> String {
    let when_full = match settings.get("evictions").map(String::as_str) {
        Some("on") => ", drops items when it is full",
        Some("off") => ", refuses writes when it is full",
        _ => "",
    };
    format!("memory alone{when_full}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Recorded from memcached 1.6.18, shortened.
    #[test]
    fn settings_are_read() {
        let bytes = b"STAT maxbytes 67108864\r\nSTAT evictions on\r\nSTAT inter \r\nSTAT num_threads 4\r\nEND\r\n";
        let (settings, len) = lines(bytes, statistics).unwrap().unwrap();
        assert_eq!(len, bytes.len());
        assert_eq!(settings["num_threads"], "4");
        assert_eq!(settings["inter"], "");
        assert_eq!(
            durability(&settings),
            "memory alone, drops items when it is full"
        );
        for end in 0..bytes.len() {
            assert_eq!(lines(&bytes[..end], statistics), Ok(None));
        }
        // A server that refuses tells nothing, and that is no reason to stop.
        let (none, _) = lines(b"ERROR\r\n", statistics).unwrap().unwrap();
        assert_eq!(durability(&none), "memory alone");
    }
}
