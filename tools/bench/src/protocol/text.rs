//! What the two text languages have in common: lines, decimal numbers and counted bytes, read from the front.
//!
//! A [`Reader`] goes forward only and stops at the first byte that is wrong or not there yet. So what it finds in the first bytes of a
//! stream it finds again when more of the stream is there, and where a stream was cut does not matter.

use std::borrow::Cow;

use super::{Malformed, Outcome, REPLY_LEN_MAX, Reply};

/// Longest line, in bytes: longer than any that is not followed by counted bytes.
const LINE_LEN_MAX: usize = 4096;
/// Digits of the longest number: `u64::MAX` has twenty.
const DIGITS_MAX: usize = 20;

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// What is there is right so far, and not all.
    More,
    /// What is there is wrong.
    Bad(&'static str),
}

/// What is left to read of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the first byte on.
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or(Stop::More)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte, which stays the next.
    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::More)
    }

    /// What follows must be `tail`.
    #[inline]
    pub(super) fn expect(&mut self, tail: &[u8], otherwise: &'static str) -> Result<(), Stop> {
        let there = &self.bytes[self.at..];
        let common = there.len().min(tail.len());
        if there[..common] != tail[..common] {
            return Err(Stop::Bad(otherwise));
        }
        if common < tail.len() {
            return Err(Stop::More);
        }
        self.at += tail.len();
        Ok(())
    }

    /// Takes `tail` if that is what follows; whether it did.
    #[inline]
    pub(super) fn take_if(&mut self, tail: &[u8]) -> Result<bool, Stop> {
        match self.expect(tail, "") {
            Ok(()) => Ok(true),
            Err(Stop::Bad(_)) => Ok(false),
            Err(Stop::More) => Err(Stop::More),
        }
    }

    /// Everything up to the next `\r\n`, which is passed over. A line feed or carriage return alone is wrong.
    #[inline]
    pub(super) fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let seen = &rest[..rest.len().min(LINE_LEN_MAX)];
        let Some(end) = seen.iter().position(|&byte| byte == b'\r' || byte == b'\n') else {
            return Err(if seen.len() == LINE_LEN_MAX {
                Stop::Bad("a line is longer than any reply's")
            } else {
                Stop::More
            });
        };
        self.at += end;
        self.expect(
            b"\r\n",
            "a line does not end in carriage return and line feed",
        )?;
        Ok(&seen[..end])
    }

    /// Everything up to the next space, which is passed over; no longer than `len_max`.
    #[inline]
    pub(super) fn word(&mut self, len_max: usize) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let seen = &rest[..rest.len().min(len_max + 1)];
        match seen.iter().position(|&byte| byte <= b' ') {
            Some(end) if end > 0 && seen[end] == b' ' => {
                self.at += end + 1;
                Ok(&seen[..end])
            }
            Some(_) => Err(Stop::Bad("a word is empty, or no space ends it")),
            None if seen.len() > len_max => Err(Stop::Bad("a word is longer than it may be")),
            None => Err(Stop::More),
        }
    }

    /// A number: one digit at least, and nothing else before what is not a digit.
    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, Stop> {
        let begin = self.at;
        let mut number = 0_u64;
        loop {
            let digit = self.peek()?.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            if self.at - begin == DIGITS_MAX {
                return Err(Stop::Bad("a number has more digits than any"));
            }
            number = number
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(u64::from(digit)))
                .ok_or(Stop::Bad("a number is beyond 64 bits"))?;
            self.at += 1;
        }
        if self.at == begin {
            return Err(Stop::Bad("there are no digits where a number should be"));
        }
        Ok(number)
    }

    /// A number that is a length of bytes of this reply, and the end of its line.
    #[inline]
    pub(super) fn length_line(&mut self) -> Result<usize, Stop> {
        let length = self.number()?;
        self.expect(b"\r\n", "a length does not end its line")?;
        bounded(length)
    }

    /// The next `len` bytes and the `\r\n` behind them.
    #[inline]
    pub(super) fn counted(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let value = self.bytes[self.at..].get(..len).ok_or(Stop::More)?;
        self.at += len;
        self.expect(b"\r\n", "a value does not end where its length says")?;
        Ok(value)
    }

    /// How many bytes were read.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are there and not read.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }
}

/// A length that can be one of a reply's bytes.
#[inline]
pub(super) fn bounded(length: u64) -> Result<usize, Stop> {
    match usize::try_from(length) {
        Ok(length) if length <= REPLY_LEN_MAX => Ok(length),
        _ => Err(Stop::Bad(
            "a length is over the 64 MiB of the longest reply",
        )),
    }
}

/// The reply that a parser found in `bytes`, in a language that answers in order.
#[inline]
pub(super) fn in_order<'a>(
    bytes: &'a [u8],
    parse: impl FnOnce(&mut Reader<'a>) -> Result<Outcome<'a>, Stop>,
) -> Result<Option<Reply<'a>>, Malformed> {
    let mut reader = Reader::new(bytes);
    let parsed = parse(&mut reader);
    let len = reader.at();
    match parsed {
        Ok(outcome) if len <= REPLY_LEN_MAX => Ok(Some(Reply {
            len,
            slot: None,
            outcome,
        })),
        Err(Stop::More) if bytes.len() <= REPLY_LEN_MAX => Ok(None),
        Ok(_) | Err(Stop::More) => Err(malformed("a reply is over 64 MiB long")),
        Err(Stop::Bad(reason)) => Err(malformed(reason)),
    }
}

/// Out of line, so that what is never built costs nothing.
#[cold]
pub(super) fn malformed(reason: &'static str) -> Malformed {
    Malformed(Cow::Borrowed(reason))
}

/// Appends a number's decimal digits.
#[inline]
pub(super) fn append_decimal(number: u64, out: &mut Vec<u8>) {
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    let mut rest = number;
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// How many digits a number has.
#[inline]
pub(super) fn decimal_len(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A number that overflows, or is none, must end the run and not be read as a short value.
    #[test]
    fn numbers_are_all_digits_and_fit() {
        let number = |bytes: &'static [u8]| Reader::new(bytes).number();
        assert_eq!(number(b"0\r"), Ok(0));
        assert_eq!(number(b"18446744073709551615 "), Ok(u64::MAX));
        assert_eq!(number(b"123"), Err(Stop::More));
        for bad in [&b"-1\r"[..], b" 1", b"\r\n", b"18446744073709551616\r"] {
            assert!(
                matches!(number(bad), Err(Stop::Bad(_))),
                "{}",
                bad.escape_ascii()
            );
        }
        // However many zeros come first, it ends.
        assert!(matches!(number(&[b'0'; 100]), Err(Stop::Bad(_))));
    }

    // A server that sends garbage without an end of line must not be waited for until memory is full.
    #[test]
    fn a_line_has_an_end() {
        assert_eq!(Reader::new(b"OK\r\nrest").line(), Ok(&b"OK"[..]));
        assert_eq!(Reader::new(b"OK\r").line(), Err(Stop::More));
        assert_eq!(Reader::new(b"OK").line(), Err(Stop::More));
        for bad in [&b"OK\n"[..], b"\n", b"O\rK\r\n", &[b'x'; LINE_LEN_MAX]] {
            assert!(matches!(Reader::new(bad).line(), Err(Stop::Bad(_))));
        }
    }

    #[test]
    fn decimals_are_what_the_standard_library_writes() {
        let ends = (0..20).flat_map(|power| [10_u64.pow(power) - 1, 10_u64.pow(power)]);
        for number in ends.chain([7, 250, u64::MAX]) {
            let mut digits = Vec::new();
            append_decimal(number, &mut digits);
            assert_eq!(digits, number.to_string().as_bytes());
            assert_eq!(digits.len(), decimal_len(number));
        }
    }
}
