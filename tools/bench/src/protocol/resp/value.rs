//! Any RESP2 value, owned: for the few questions about the server, whose answers are of every shape.

use crate::protocol::{
    Malformed, REPLY_LEN_MAX,
    text::{Reader, Stop, malformed},
};

/// How deep arrays may stand in each other.
const DEPTH_MAX: usize = 4;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A status, a number as text, or a bulk string.
    Text(Vec<u8>),
    /// Nil, of either kind.
    Nil,
    /// An array.
    Array(Vec<Value>),
    /// An error.
    Error(String),
}

impl Value {
    /// As text for people.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Value::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }
}

/// The first value in `bytes` and how long it is; `None` if it isn't all there.
pub(super) fn value(bytes: &[u8]) -> Result<Option<(Value, usize)>, Malformed> {
    let mut reader = Reader::new(bytes);
    match read(&mut reader, DEPTH_MAX) {
        Ok(value) => Ok(Some((value, reader.at()))),
        Err(Stop::More) => Ok(None),
        Err(Stop::Bad(reason)) => Err(malformed(reason)),
    }
}

fn read(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Stop> {
    match reader.byte()? {
        b'+' | b':' => Ok(Value::Text(reader.line()?.to_vec())),
        b'-' => {
            let words = String::from_utf8_lossy(reader.line()?).into_owned();
            Ok(Value::Error(words))
        }
        b'$' if reader.take_if(b"-1\r\n")? => Ok(Value::Nil),
        b'$' => {
            let len = reader.length_line()?;
            Ok(Value::Text(reader.counted(len)?.to_vec()))
        }
        b'*' if reader.take_if(b"-1\r\n")? => Ok(Value::Nil),
        b'*' if depth == 0 => Err(Stop::Bad("arrays stand too deep in each other")),
        b'*' => {
            let count = reader.length_line()?;
            if count > REPLY_LEN_MAX / 4 {
                return Err(Stop::Bad("an array has more items than can be"));
            }
            // Grown as they come: what a count claims is not what is there.
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(read(reader, depth - 1)?);
            }
            Ok(Value::Array(items))
        }
        _ => Err(Stop::Bad("a value is of no known kind")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_is_read() {
        let bytes = b"*5\r\n+OK\r\n:-3\r\n$2\r\na\n\r\n$-1\r\n*1\r\n-ERR no\r\n";
        let text = |text: &[u8]| Value::Text(text.to_vec());
        let inner = Value::Array(vec![Value::Error("ERR no".to_owned())]);
        let array = Value::Array(vec![
            text(b"OK"),
            text(b"-3"),
            text(b"a\n"),
            Value::Nil,
            inner,
        ]);
        assert_eq!(value(bytes), Ok(Some((array, bytes.len()))));
        assert_eq!(value(b"*-1\r\n"), Ok(Some((Value::Nil, 5))));
    }

    // An answer made to exhaust the stack or memory must be refused, not followed.
    #[test]
    fn hostile_values_are_refused() {
        for bytes in [
            &b"*1\r\n".repeat(1000)[..],
            b"*99999999\r\n",
            b"$99999999999\r\n",
            b"HTTP/1.1 400\r\n",
        ] {
            assert!(value(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in "[*$+:-][0-9\\-]{0,3}\r\n([*$+:-][0-9]\r\n){0,9}") {
            let bytes = bytes.as_bytes();
            let whole = value(bytes);
            for end in 0..bytes.len() {
                let part = value(&bytes[..end]);
                prop_assert!(part == Ok(None) || part == whole);
            }
        }
    }
}
