//! Inline commands: a line as a person types it, arguments with blanks between them.
//!
//! ```text
//! SET "my key" 'it''s'        no: a closing quote must be followed by a blank
//! SET "my key" 'it\'s'        SET, my key, it's
//! SET na"me"   "\x00\n"       SET, name, a zero byte and a line feed
//! ```
//!
//! In double quotes `\n`, `\r`, `\t`, `\b`, `\a` and `\xHH` have C's meaning and any other character behind a backslash stands for itself; in single ones only
//! `\'` is special, outside of quotes nothing is. A quote that closes ends its argument. These are the rules of Redis's `sdssplitargs`,
//! but for a zero byte, which is like any other here.

use std::ops::Range;

/// Splits a line without its line break. Appends the arguments' bytes to `out` and tells where each lies there. `None`: a quote is not closed, or
/// something follows its closing.
///
/// Takes no more memory than the line does.
pub(super) fn split(
    line: &[u8],
    out: &mut Vec<u8>,
    mut argument: impl FnMut(Range<usize>),
) -> Option<()> {
    let mut rest = line;
    loop {
        rest = skip_blanks(rest);
        if rest.is_empty() {
            return Some(());
        }
        let begin = out.len();
        rest = take_argument(rest, out)?;
        argument(begin..out.len());
    }
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| is_blank(**byte)).count();
    &line[blanks..]
}

/// C's `isspace`, which knows a vertical tab.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// What ends an argument without quotes: not all that is skipped before it.
fn ends_argument(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Takes one argument and answers what is behind it.
fn take_argument<'a>(line: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let ends = |byte: &u8| ends_argument(*byte) || matches!(byte, b'"' | b'\'');
    let end = line.iter().position(ends).unwrap_or(line.len());
    out.extend_from_slice(&line[..end]);
    match &line[end..] {
        [quote @ (b'"' | b'\''), quoted @ ..] => {
            let behind = take_quoted(quoted, *quote, out)?;
            let is_alone = behind.first().is_none_or(|byte| is_blank(*byte));
            is_alone.then_some(behind)
        }
        behind => Some(behind),
    }
}

/// Takes what is before the closing quote and answers what is behind that.
fn take_quoted<'a>(mut line: &'a [u8], quote: u8, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let is_double = quote == b'"';
    loop {
        let (byte, behind) = match line {
            [b'\\', b'x', high, low, behind @ ..]
                if is_double && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hexadecimal(*high) << 4 | hexadecimal(*low), behind)
            }
            [b'\\', escaped, behind @ ..] if is_double => (unescaped(*escaped), behind),
            [b'\\', b'\'', behind @ ..] if !is_double => (b'\'', behind),
            [byte, behind @ ..] if *byte == quote => return Some(behind),
            [byte, behind @ ..] => (*byte, behind),
            [] => return None,
        };
        out.push(byte);
        line = behind;
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
