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
                let (least, most) = (*from.min(to), *from.max(to));
                found |= (fold(least)..=fold(most)).contains(&fold(byte));
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Redis 7.0's `stringmatchlen`, as it is written there; an index beyond the pattern reads C's closing zero.
    fn reference(mut pattern: &[u8], mut text: &[u8]) -> bool {
        let first = |pattern: &[u8]| pattern.first().copied().unwrap_or(0);
        while let ([head, ..], [byte, ..]) = (pattern, text) {
            match head {
                b'*' => {
                    while pattern.get(1) == Some(&b'*') {
                        pattern = &pattern[1..];
                    }
                    if pattern.len() == 1 {
                        return true;
                    }
                    return (0..text.len()).any(|at| reference(&pattern[1..], &text[at..]));
                }
                b'?' => {}
                b'[' => {
                    pattern = &pattern[1..];
                    let negated = first(pattern) == b'^';
                    if negated {
                        pattern = &pattern[1..];
                    }
                    let mut found = false;
                    loop {
                        if pattern.len() >= 2 && pattern[0] == b'\\' {
                            pattern = &pattern[1..];
                            found |= pattern[0] == *byte;
                        } else if first(pattern) == b']' || pattern.is_empty() {
                            break;
                        } else if pattern.len() >= 3 && pattern[1] == b'-' {
                            let (from, to) = (pattern[0], pattern[2]);
                            found |= (from.min(to)..=from.max(to)).contains(byte);
                            pattern = &pattern[2..];
                        } else {
                            found |= pattern[0] == *byte;
                        }
                        pattern = &pattern[1..];
                    }
                    if found == negated {
                        return false;
                    }
                }
                b'\\' if pattern.len() >= 2 => {
                    pattern = &pattern[1..];
                    if pattern[0] != *byte {
                        return false;
                    }
                }
                literal if literal != byte => return false,
                _ => {}
            }
            text = &text[1..];
            pattern = pattern.get(1..).unwrap_or_default();
            if text.is_empty() {
                while first(pattern) == b'*' {
                    pattern = &pattern[1..];
                }
                break;
            }
        }
        pattern.is_empty() && text.is_empty()
    }

    /// All strings of these bytes, from one byte to so many.
    fn strings(bytes: &[u8], len_max: usize) -> Vec<Vec<u8>> {
        let mut all = vec![vec![]];
        let mut start = 0;
        for _ in 0..len_max {
            let end = all.len();
            for index in start..end {
                for &byte in bytes {
                    let mut longer: Vec<u8> = all[index].clone();
                    longer.push(byte);
                    all.push(longer);
                }
            }
            start = end;
        }
        all.remove(0);
        all
    }

    /// A pattern that matches one key more or less than at Redis makes a script delete the wrong keys. And a prefix that not every match
    /// begins with would hide keys from scans.
    #[test]
    fn every_short_pattern_matches_as_redis_matches_it() {
        let texts = strings(b"ab-]", 3);
        for pattern in strings(b"ab*?[]^-\\", 5) {
            let prefix = literal_prefix(&pattern);
            for text in &texts {
                let matched = matches(&pattern, text);
                assert_eq!(
                    matched,
                    reference(&pattern, text),
                    "{:?} {:?}",
                    String::from_utf8_lossy(&pattern),
                    String::from_utf8_lossy(text)
                );
                assert!(!matched || text.starts_with(prefix));
                assert!(!is_literal(&pattern) || matched == (pattern == *text));
            }
        }
    }

    /// What redis-server 7.0.15 answered to KEYS with these patterns.
    #[test]
    fn patterns_that_redis_was_asked() {
        for (pattern, text, expected) in [
            ("h?llo", "hello", true),
            ("h*llo", "hllo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-e]llo", "hello", true),
            ("h[e-a]llo", "hello", true),
            ("h\\*llo", "hello", false),
            ("h\\*llo", "h*llo", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("user:*:name", "user:1:name", true),
            ("user:*:name", "user:1:names", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(matches_ignoring_case(
            b"SLOWLOG-[A-L]*",
            b"slowlog-log-slower-than"
        ));
        assert!(!matches(b"SLOWLOG-*", b"slowlog-max-len"));
    }

    /// `KEYS *a*a*a*a*a*a*a*a*b` on keys of many `a` keeps a Redis busy for hours.
    #[test]
    fn no_pattern_takes_longer_than_its_length_times_the_texts() {
        let pattern = [b"*a".repeat(40), b"b".to_vec()].concat();
        let text = b"a".repeat(1000);
        let compared = Cell::new(0);
        let count = |byte| {
            compared.set(compared.get() + 1);
            byte
        };
        assert!(!matches_with(&pattern, &text, count));
        assert!(compared.get() <= 2 * pattern.len() * text.len());
    }
}
