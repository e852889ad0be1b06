//! A RESP connection on which one command is asked at a time.

use std::net::TcpStream;

use super::{
    RespOptions,
    dialect::bulk,
    value::{self, Value},
};
use crate::protocol::{MeetError, Protocol, stream::Talk};

/// Keys to look at on each page of the walk that finds places for scans to begin.
const WALK_COUNT: &str = "4096";

/// Asks one command.
pub(super) fn ask(
    stream: &mut TcpStream,
    doing: &'static str,
    words: &[&str],
) -> Result<Value, MeetError> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bulk(word.as_bytes(), &mut bytes);
    }
    Talk::new(stream, Protocol::Resp).ask(doing, &bytes, value::value)
}

/// Asks one command that must be answered by what `take` picks.
fn must<T>(
    stream: &mut TcpStream,
    doing: &'static str,
    words: &[&str],
    take: impl Fn(&Value) -> Option<T>,
) -> Result<T, MeetError> {
    let answer = ask(stream, doing, words)?;
    match (take(&answer), answer) {
        (Some(taken), _) => Ok(taken),
        (None, Value::Error(words)) => Err(MeetError::Refused { doing, words }),
        (None, other) => Err(foreign(doing, &other)),
    }
}

fn foreign(doing: &'static str, answer: &Value) -> MeetError {
    MeetError::Foreign {
        doing,
        protocol: Protocol::Resp,
        reason: format!("it answered {answer:?}"),
    }
}

fn is_text(expected: &'static str) -> impl Fn(&Value) -> Option<()> {
    move |answer| (answer.text()? == expected).then_some(())
}

/// Says who is there and which database is meant, and waits until the server answers.
pub(super) fn open(stream: &mut TcpStream, options: &RespOptions) -> Result<(), MeetError> {
    if let Some(password) = &options.password {
        let words = match &options.user {
            Some(user) => vec!["AUTH", user, password],
            None => vec!["AUTH", password],
        };
        must(stream, "logging in with AUTH", &words, is_text("OK"))?;
    }
    if let Some(database) = options.database {
        let number = database.to_string();
        let words = ["SELECT", &number];
        must(
            stream,
            "choosing the database with SELECT",
            &words,
            is_text("OK"),
        )?;
    }
    must(
        stream,
        "opening a connection with PING",
        &["PING"],
        is_text("PONG"),
    )
}

/// Whether the server knows `SET key value IFEQ old`. Asked so that nothing is written: the key would have to hold that value already.
pub(super) fn knows_ifeq(stream: &mut TcpStream) -> Result<bool, MeetError> {
    let key = "corduroy-bench:does-this-server-know-ifeq";
    let words = ["SET", key, "0", "IFEQ", "a value that no key holds"];
    let answer = ask(stream, "asking whether SET knows IFEQ", &words)?;
    // Any other refusal (a replica, a user without the right) is not about the word, and every other write will meet it too.
    Ok(!matches!(answer, Value::Error(words) if words.to_ascii_lowercase().contains("syntax")))
}

/// Removes all keys of the database.
pub(super) fn flush(stream: &mut TcpStream) -> Result<(), MeetError> {
    must(
        stream,
        "removing all keys with FLUSHDB",
        &["FLUSHDB"],
        is_text("OK"),
    )
}

/// Where pages begin: at the start, and wherever a page of a walk over the keys ended.
pub(super) fn scan_starts(stream: &mut TcpStream, pages_max: usize) -> Result<Vec<u64>, MeetError> {
    let doing = "looking where scans may begin";
    let mut starts = vec![0];
    let mut cursor = 0_u64;
    for _ in 0..pages_max {
        let text = cursor.to_string();
        let words = ["SCAN", &text, "COUNT", WALK_COUNT];
        cursor = must(stream, doing, &words, |answer| match answer {
            Value::Array(parts) => parts.first()?.text()?.parse().ok(),
            _ => None,
        })?;
        if cursor == 0 {
            break;
        }
        starts.push(cursor);
    }
    Ok(starts)
}
