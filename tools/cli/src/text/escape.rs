//! The escape language: `\\`, `\t`, `\n`, `\r`, `\0` and `\xNN` for any byte.
//!
//! Two writers share one reader. [`field`] escapes only what would break a line of `key<TAB>value` (tab, newline,
//! carriage return, backslash) and leaves all other bytes as they are, so a file stays as large as its data and
//! readable in its own encoding. [`printable`] escapes whatever a terminal should not be sent (control characters, bytes that are
//! not UTF-8), for tables and messages. [`unescape`] reads both back to the same bytes.
//!
//! A carriage return is escaped although a line could hold it: tools that turn `\n` into `\r\n` and back would
//! otherwise eat one that was data.

use std::fmt::Write as _;

/// What is wrong with an escaped text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EscapeError {
    /// The last byte is a lone backslash.
    #[error("a backslash at the end, with nothing after it (write \\\\ for a backslash)")]
    Unfinished,
    /// The byte after a backslash begins no escape.
    #[error("unknown escape \\{} at byte {at} (known: \\\\ \\t \\n \\r \\0 \\xNN)", .byte.escape_ascii())]
    Unknown {
        /// What follows the backslash.
        byte: u8,
        /// Offset of the backslash.
        at: usize,
    },
    /// `\x` without two hexadecimal digits.
    #[error("\\x at byte {at} needs two hexadecimal digits")]
    Hex {
        /// Offset of the backslash.
        at: usize,
    },
}

/// The bytes that an escaped text stands for.
pub(crate) fn unescape(text: &[u8]) -> Result<Vec<u8>, EscapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.iter().position(|&byte| byte == b'\\') {
        bytes.extend_from_slice(&rest[..position]);
        let at = text.len() - rest.len() + position;
        let (byte, consumed) = unescape_one(&rest[position..], at)?;
        bytes.push(byte);
        rest = &rest[position + consumed..];
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

/// The byte for the escape that `text` begins with, and how long the escape is. `at` is for the error.
pub(crate) fn unescape_one(text: &[u8], at: usize) -> Result<(u8, usize), EscapeError> {
    debug_assert_eq!(text.first(), Some(&b'\\'));
    let byte = match text.get(1) {
        None => return Err(EscapeError::Unfinished),
        Some(b'\\') => b'\\',
        Some(b't') => b'\t',
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b'0') => 0,
        Some(b'x') => {
            let digit = |index: usize| {
                text.get(index)
                    .and_then(|&byte| char::from(byte).to_digit(16))
            };
            let (Some(high), Some(low)) = (digit(2), digit(3)) else {
                return Err(EscapeError::Hex { at });
            };
            let byte =
                u8::try_from(high * 16 + low).expect("two hexadecimal digits are at most 255");
            return Ok((byte, 4));
        }
        Some(&byte) => return Err(EscapeError::Unknown { byte, at }),
    };
    Ok((byte, 2))
}

/// Appends `bytes` so that they can stand between tabs on a line.
pub(crate) fn field(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.push(other),
        }
    }
}

/// `bytes` as text that a terminal can be sent: UTF-8 where they are that, without control characters.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_printable(character, &mut text);
        }
        for &byte in chunk.invalid() {
            push_hex(byte, &mut text);
        }
    }
    text
}

fn push_printable(character: char, text: &mut String) {
    match character {
        '\\' => text.push_str("\\\\"),
        '\t' => text.push_str("\\t"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\0' => text.push_str("\\0"),
        other if is_unprintable(other) => {
            let mut buffer = [0; 4];
            for &byte in other.encode_utf8(&mut buffer).as_bytes() {
                push_hex(byte, text);
            }
        }
        other => text.push(other),
    }
}

/// Control characters, and the marks that make a terminal show text in another order than it has.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn push_hex(byte: u8, text: &mut String) {
    write!(text, "\\x{byte:02x}").expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// An export that some value could break in two would be imported as two records.
        #[test]
        fn field_round_trips_and_never_breaks_a_line(bytes: Vec<u8>) {
            let mut text = Vec::new();
            field(&bytes, &mut text);
            prop_assert!(!text.iter().any(|byte| b"\t\n\r".contains(byte)));
            prop_assert_eq!(unescape(&text).unwrap(), bytes);
        }

        /// What a table shows can be given back with `--escape` and means the same key.
        #[test]
        fn printable_round_trips(bytes: Vec<u8>) {
            let text = printable(&bytes);
            prop_assert!(!text.chars().any(is_unprintable));
            prop_assert_eq!(unescape(text.as_bytes()).unwrap(), bytes);
        }

        /// Escaped text comes from files and people: whatever it is, it is bytes or an error.
        #[test]
        fn unescape_takes_anything(text: Vec<u8>) {
            if let Ok(bytes) = unescape(&text) {
                prop_assert!(bytes.len() <= text.len());
            }
        }
    }

    /// A terminal must not be driven by a value: an escape sequence in one is shown, not obeyed.
    #[test]
    fn printable_disarms_terminal_sequences() {
        assert_eq!(
            printable(b"\x1b[2Jgr\xc3\xbc\xc3\x9fe\x00\xff"),
            "\\x1b[2Jgr\u{fc}\u{df}e\\0\\xff"
        );
        assert_eq!(printable("a\u{202e}b".as_bytes()), "a\\xe2\\x80\\xaeb");
    }

    /// The message must point at the place, or a bad line of a megabyte can't be repaired.
    #[test]
    fn errors_say_where() {
        assert_eq!(
            unescape(b"ab\\q"),
            Err(EscapeError::Unknown { byte: b'q', at: 2 })
        );
        assert_eq!(unescape(b"\\\\\\x4"), Err(EscapeError::Hex { at: 2 }));
        assert_eq!(unescape(b"a\\"), Err(EscapeError::Unfinished));
    }
}
