//! Numbers in arguments, as Redis reads them.
//!
//! Redis accepts one spelling for each integer (`string2ll`): no sign but `-`, no leading zeros, no blanks. What it refuses would be refused by
//! no parser of ours, so the rules are written out.

/// A signed integer in its only spelling: what Redis's `string2ll` accepts.
#[inline]
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= DIGITS_MAX => {}
        _ => return None,
    }
    let mut magnitude = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Most digits of a 64-bit number.
const DIGITS_MAX: usize = 20;

/// SCAN's cursor, as C's `strtoul` reads it: a sign and leading zeros are allowed, and nothing at all is 0.
pub(super) fn cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    Some(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `INCRBY key +1` that works here and fails at Redis, or the other way round, is a client that breaks when it moves.
    #[test]
    fn only_the_canonical_spelling_is_an_integer() {
        for number in [0, 1, -1, 10, 1_000_000_007, i64::MAX, i64::MIN] {
            assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            "00",
            " 1",
            "1 ",
            "1.0",
            "0x10",
            "1e3",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999999999",
            "1\0",
        ] {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
    }

    /// A cursor that Redis takes and we refuse ends a client's iteration with an error.
    #[test]
    fn cursors_are_read_as_c_reads_them() {
        assert_eq!(cursor(b"0"), Some(0));
        assert_eq!(cursor(b""), Some(0));
        assert_eq!(cursor(b"007"), Some(7));
        assert_eq!(cursor(b"+7"), Some(7));
        assert_eq!(cursor(b"-1"), Some(u64::MAX));
        assert_eq!(cursor(b"18446744073709551615"), Some(u64::MAX));
        for text in ["x", "-", "+", "1x", " 1", "18446744073709551616"] {
            assert_eq!(cursor(text.as_bytes()), None, "{text:?}");
        }
    }
}
