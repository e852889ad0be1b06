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

/// What [`open`] says, all at once.
pub(super) fn greeting(options: &RespOptions, out: &mut Vec<u8>) {
    let mut say = |words: &[&str]| {
        out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            bulk(word.as_bytes(), out);
        }
    };
    if let Some(password) = &options.password {
        match &options.user {
            Some(user) => say(&["AUTH", user, password]),
            None => say(&["AUTH", password]),
        }
    }
    if let Some(database) = options.database {
        say(&["SELECT", &database.to_string()]);
    }
    say(&["PING"]);
}

/// Reads the answers to [`greeting`]: how many bytes they take up, once all are there.
pub(super) fn greeted(options: &RespOptions, bytes: &[u8]) -> Result<Option<usize>, MeetError> {
    let doing = "opening a connection with AUTH, SELECT and PING";
    let before = usize::from(options.password.is_some()) + usize::from(options.database.is_some());
    let mut at = 0;
    for number in 0..=before {
        let parsed = value::value(&bytes[at..]).map_err(|malformed| MeetError::Foreign {
            doing,
            protocol: Protocol::Resp,
            reason: malformed.to_string(),
        })?;
        let Some((answer, len)) = parsed else {
            return Ok(None);
        };
        let expected = if number == before { "PONG" } else { "OK" };
        match answer {
            Value::Error(words) => return Err(MeetError::Refused { doing, words }),
            ref other if is_text(expected)(other).is_none() => return Err(foreign(doing, other)),
            _ => at += len,
        }
    }
    Ok(Some(at))
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

#[cfg(test)]
mod tests {
    use super::*;

    // Connections of a load are greeted without waiting for each answer, and the answers may come in any pieces.
    #[test]
    fn a_greeting_is_over_when_all_its_answers_are_there() {
        let options = RespOptions {
            user: Some("bench".to_owned()),
            password: Some("secret".to_owned()),
            database: Some(3),
        };
        let mut said = Vec::new();
        greeting(&options, &mut said);
        let expected = "*3\r\n$4\r\nAUTH\r\n$5\r\nbench\r\n$6\r\nsecret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(said, expected.as_bytes());

        let answers = b"+OK\r\n+OK\r\n+PONG\r\n";
        for end in 0..answers.len() {
            assert!(matches!(greeted(&options, &answers[..end]), Ok(None)));
        }
        assert!(matches!(greeted(&options, answers), Ok(Some(17))));
        let refused = greeted(&options, b"+OK\r\n-ERR DB index is out of range\r\n");
        assert!(matches!(refused, Err(MeetError::Refused { .. })));
        let foreign = greeted(&options, b"+OK\r\n+OK\r\n+OK\r\n");
        assert!(matches!(foreign, Err(MeetError::Foreign { .. })));
    }
}
