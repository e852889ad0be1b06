//! Cuts a line of a script or of the interactive mode into words, much as a shell would.
//!
//! | form | meaning |
//! |---|---|
//! | `bare` | up to the next blank; a backslash takes the byte after it as it is |
//! | `'…'` | everything up to the next `'` as it is |
//! | `"…"` | with the escapes `\"`, `\\`, `\t`, `\n`, `\r`, `\0`, `\xNN` |
//! | `#` at the start of a word | the rest of the line is a comment |
//!
//! Forms that touch make one word: `a'b c'"\n"` is one. Words are bytes, so any key can be typed: `"\xff\x00"`.
//! Nothing is expanded: no variables, no globbing.

use super::escape::{self, EscapeError};

/// Why a line can't be cut into words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WordsError {
    /// A quote that is never closed.
    #[error("the quote {quote} at byte {at} is never closed")]
    Unclosed {
        /// `'` or `"`.
        quote: char,
        /// Its offset.
        at: usize,
    },
    /// A backslash at the end of the line.
    #[error("a backslash at the end of the line, with nothing after it")]
    Unfinished,
    /// A bad escape between double quotes.
    #[error(transparent)]
    Escape(#[from] EscapeError),
}

/// The words of a line; none for a blank one or a comment.
pub(crate) fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        match byte {
            b'#' if word.is_none() => break,
            _ if byte.is_ascii_whitespace() => {
                words.extend(word.take());
                at += 1;
            }
            b'\'' => at = single_quoted(line, at, word.get_or_insert_default())?,
            b'"' => at = double_quoted(line, at, word.get_or_insert_default())?,
            b'\\' => {
                word.get_or_insert_default()
                    .push(*line.get(at + 1).ok_or(WordsError::Unfinished)?);
                at += 2;
            }
            _ => {
                word.get_or_insert_default().push(byte);
                at += 1;
            }
        }
    }
    words.extend(word);
    Ok(words)
}

/// Appends what stands between the quote at `at` and its partner; the offset after that.
fn single_quoted(line: &[u8], at: usize, word: &mut Vec<u8>) -> Result<usize, WordsError> {
    let inside = &line[at + 1..];
    let len = inside
        .iter()
        .position(|&byte| byte == b'\'')
        .ok_or(WordsError::Unclosed { quote: '\'', at })?;
    word.extend_from_slice(&inside[..len]);
    Ok(at + len + 2)
}

/// As [`single_quoted`], with escapes.
fn double_quoted(line: &[u8], at: usize, word: &mut Vec<u8>) -> Result<usize, WordsError> {
    let mut next = at + 1;
    loop {
        match line.get(next) {
            None => return Err(WordsError::Unclosed { quote: '"', at }),
            Some(b'"') => return Ok(next + 1),
            Some(b'\\') if line.get(next + 1) == Some(&b'"') => {
                word.push(b'"');
                next += 2;
            }
            Some(b'\\') if next + 1 == line.len() => {
                return Err(WordsError::Unclosed { quote: '"', at });
            }
            Some(b'\\') => {
                let (byte, consumed) = escape::unescape_one(&line[next..], next)?;
                word.push(byte);
                next += consumed;
            }
            Some(&byte) => {
                word.push(byte);
                next += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        split(line.as_bytes())
            .unwrap()
            .into_iter()
            .map(|word| String::from_utf8(word).unwrap())
            .collect()
    }

    /// Scripts are written by people who know a shell: what they expect of quotes must hold.
    #[test]
    fn cuts_as_a_shell_does() {
        assert_eq!(words("put  key 'a b'  "), ["put", "key", "a b"]);
        assert_eq!(
            words(r#"put k "say \"hi\"\n""#),
            ["put", "k", "say \"hi\"\n"]
        );
        assert_eq!(words(r"put k a\ b"), ["put", "k", "a b"]);
        assert_eq!(words(r#"put k '' x'y'"z""#), ["put", "k", "", "xyz"]);
        assert_eq!(words("get a#b # a comment"), ["get", "a#b"]);
        assert_eq!(words("  # nothing"), [""; 0]);
        assert_eq!(split(br#""\xff\0""#).unwrap(), [vec![0xff, 0]]);
    }

    /// An open quote is told apart from other mistakes: the interactive mode could go on with the next line.
    #[test]
    fn names_the_quote_that_is_open() {
        assert_eq!(
            split(b"put k 'a"),
            Err(WordsError::Unclosed { quote: '\'', at: 6 })
        );
        assert_eq!(
            split(b"put k \"a\\"),
            Err(WordsError::Unclosed { quote: '"', at: 6 })
        );
        assert_eq!(split(b"put k a\\"), Err(WordsError::Unfinished));
        assert!(matches!(split(b"\"\\q\""), Err(WordsError::Escape(_))));
    }

    proptest! {
        /// Any bytes can be written as a word between double quotes, in the escape language of the tables.
        #[test]
        fn any_key_can_be_typed(keys in proptest::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let line: Vec<String> =
                keys.iter().map(|key| format!("\"{}\"", escape::printable(key).replace('"', "\\\""))).collect();
            prop_assert_eq!(split(line.join(" ").as_bytes()).unwrap(), keys);
        }

        /// A line is whatever was piped in.
        #[test]
        fn takes_anything(line: Vec<u8>) {
            if let Ok(words) = split(&line) {
                prop_assert!(words.iter().map(Vec::len).sum::<usize>() <= line.len());
            }
        }
    }
}
