//! Redis's patterns: `?` any byte, `*` any bytes, `[abc]`, `[a-c]` and `[^a]` one of a set, `\` the byte behind it.
//!
//! The rules are those of Redis 7.0's `stringmatchlen`, with its behaviour at the edges: a set that is not closed reaches to the pattern's end, a range may be
//! given backwards, a backslash at the end stands for itself.
//!
//! # Time
//!
//! Redis goes back to every `*` that it has passed, which takes exponential time for `*a*a*a*b`, and KEYS and SCAN match every key. Here
//! only the last `*` is ever gone back to: once what stands before it has matched somewhere, matching it later can't help, since `*`
//! takes any bytes. So the time is at most pattern length times text length.

/// Whether a text matches a pattern.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_with(pattern, text, |byte| byte)
}

/// The same without regard to the case of ASCII letters.
#[must_use]
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    matches_with(pattern, text, |byte| byte.to_ascii_lowercase())
}

#[inline]
fn matches_with(pattern: &[u8], text: &[u8], fold: impl Fn(u8) -> u8) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    // The pattern behind the last `*`, and where in the text it was tried last.
    let mut star: Option<(&[u8], usize)> = None;
    loop {
        let step = match rest {
            [b'*', behind @ ..] => {
                if behind.is_empty() {
                    return true;
                }
                star = Some((behind, at));
                rest = behind;
                continue;
            }
            [] => (at == text.len()).then_some(rest),
            _ => text.get(at).and_then(|&byte| one(rest, byte, &fold)),
        };
        match (step, star) {
            (Some(_), _) if rest.is_empty() => return true,
            (Some(behind), _) => {
                rest = behind;
                at += 1;
            }
            (None, Some((behind, tried))) if tried < text.len() => {
                star = Some((behind, tried + 1));
                rest = behind;
                at = tried + 1;
            }
            (None, _) => return false,
        }
    }
}

/// Matches one byte with the pattern's first element, which is no `*`; gives the pattern behind it.
#[inline]
fn one<'p>(pattern: &'p [u8], byte: u8, fold: &impl Fn(u8) -> u8) -> Option<&'p [u8]> {
    match pattern {
        [b'?', behind @ ..] => Some(behind),
        [b'[', set @ ..] => {
            let (holds, behind) = one_of(set, byte, fold);
            holds.then_some(behind)
        }
        [b'\\', literal, behind @ ..] | [literal, behind @ ..] => {
            (fold(*literal) == fold(byte)).then_some(behind)
        }
        [] => None,
    }
}

/// Whether a byte is in a set, whose `[` is passed already; and the pattern behind the set.
fn one_of<'p>(set: &'p [u8], byte: u8, fold: &impl Fn(u8) -> u8) -> (bool, &'p [u8]) {
    let (negated, mut rest) = match set {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [] => return (found != negated, rest),
            [b']', behind @ ..] => return (found != negated, behind),
            [b'\\', literal, behind @ ..] => {
                // Redis compares an escaped byte as it is even where case does not count.
                found |= *literal == byte;
                behind
            }
            [from, b'-', to, behind @ ..] => {
                let (from, to, byte) = (fold(*from), fold(*to), fold(byte));
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                behind
            }
            [literal, behind @ ..] => {
                found |= fold(*literal) == fold(byte);
                behind
            }
        };
    }
}

/// The bytes with which every text that matches begins: a scan need not look at others. Empty where a pattern begins with anything but
/// literal bytes. An escaped byte ends the prefix too: so it is always a part of the pattern as it stands.
#[must_use]
pub fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern
        .iter()
        .position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
        .unwrap_or(pattern.len());
    &pattern[..end]
}

/// Whether a pattern is a text that matches itself alone: then a look-up does for a scan.
#[must_use]
pub fn is_literal(pattern: &[u8]) -> bool {
    literal_prefix(pattern).len() == pattern.len()
}
