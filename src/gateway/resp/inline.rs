//! Inline commands: a line as a person types it, arguments with blanks between them.
//!
//! An argument may stand in quotes. In double ones `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH` and any other character behind a backslash have their meaning;
//! in single ones only `\'`. A quote ends its argument, so a blank or the end of the line must follow. These are the rules of Redis's
//! `sdssplitargs`.

/// Splits a line. Appends the arguments' bytes to `out` and tells where each lies there. `None`: a quote is not closed, or something follows one.
pub(super) fn split(
    line: &[u8],
    out: &mut Vec<u8>,
    mut argument: impl FnMut(usize, usize),
) -> Option<()> {
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|byte| is_blank(*byte)) {
            at += 1;
        }
        if at == line.len() {
            return Some(());
        }
        let begin = out.len();
        at = take_argument(line, at, out)?;
        argument(begin, out.len() - begin);
    }
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Takes one argument and answers where it ends.
fn take_argument(line: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    while let Some(&byte) = line.get(at) {
        match byte {
            _ if is_blank(byte) || byte == 0 => break,
            b'"' | b'\'' => {
                at = take_quoted(line, at + 1, byte, out)?;
                let ends = line.get(at).is_none_or(|byte| is_blank(*byte));
                return ends.then_some(at);
            }
            _ => out.push(byte),
        }
        at += 1;
    }
    if line.get(at) == Some(&0) {
        // A line is a string of C in Redis: it ends there.
        return Some(line.len());
    }
    Some(at)
}

/// Takes what is before the closing quote and answers where that is passed.
fn take_quoted(line: &[u8], mut at: usize, quote: u8, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        let (byte, len) = match &line[at..] {
            [b'\\', b'x', high, low, ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) * 16 + hex(*low), 4)
            }
            [b'\\', escaped, ..] if quote == b'"' => (unescaped(*escaped), 2),
            [b'\\', b'\'', ..] if quote == b'\'' => (b'\'', 2),
            [byte, ..] if *byte == quote => return Some(at + 1),
            [byte, ..] => (*byte, 1),
            [] => return None,
        };
        out.push(byte);
        at += len;
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

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
