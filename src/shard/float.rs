//! Numbers with a fraction as Redis adds them: x87's 80-bit floating point, read from text and written as text.
//!
//! Redis reads both summands with C's `strtold`, adds them as `long double` and prints the sum with `%.17Lf`, without the zeros at its
//! end. Clients see that text, so it is to be the same to the byte; and on a machine whose `long double` is another one, too. So the
//! arithmetic is done in software: `rustc_apfloat` reads and adds ([why](../../docs/decisions/0019-floats-by-rustc-apfloat.md)), and
//! what it has no function for is here: which texts `strtold` reads, and printing.
//!
//! # Bounds
//!
//! A text has at most `FLOAT_TEXT_LEN_MAX` bytes (5,119, what Redis has room for), and the longest sum has 4,933 digits before
//! the point; both take some hundred microseconds. So a batch, and a unit, takes few of those (`FLOAT_LONG_COST`).

use std::str::FromStr;

use rustc_apfloat::Float;
use rustc_apfloat::ieee::X87DoubleExtended;

use crate::limits;

/// What Redis says of a value or an increment that is none.
pub(super) const NOT_A_FLOAT: &str = "value is not a valid float";
/// What Redis says of a sum that is none.
pub(super) const NO_SUCH_SUM: &str = "increment would produce NaN or Infinity";

/// Digits that are printed behind the point.
const FRACTION_DIGITS: usize = 17;
/// Ten to the power of that.
const FRACTION_SCALE: u128 = 10u128.pow(FRACTION_DIGITS as u32);

/// x87's exponent is stored with this added to it.
const EXPONENT_BIAS: i32 = 16_383;
/// Bits of the significand behind its highest.
const SIGNIFICAND_FRACTION_BITS: i32 = 63;

/// No exponent beyond this, either way, leaves anything finite or anything at all of a significand as long as a text may be.
const EXPONENT_MAX: i64 = 100_000;

/// Adds a number in text to another; `None` for the first one counts as 0. Answers the sum in text, or why there is none.
pub(super) fn add(value: Option<&[u8]>, increment: &[u8]) -> Result<String, &'static str> {
    let value = match value {
        None => X87DoubleExtended::ZERO,
        Some(text) => parse(text).ok_or(NOT_A_FLOAT)?,
    };
    let increment = parse(increment).ok_or(NOT_A_FLOAT)?;
    let sum = (value + increment).value;
    if sum.is_finite() {
        Ok(print(sum))
    } else {
        Err(NO_SUCH_SUM)
    }
}

/// Longest text of a sum of short numbers, however many: their digits, an exponent's, and a fraction's.
pub(super) const SHORT_SUM_LEN_MAX: usize = 4 * limits::FLOAT_SHORT_LEN;
const _: () = assert!(SHORT_SUM_LEN_MAX > limits::FLOAT_SHORT_LEN + 99 + FRACTION_DIGITS + 10);

/// Whether adding this is quick and makes no long text, whether it is a number or not: a few dozen digits, and an exponent of two.
pub(super) fn is_short(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-');
    let mark = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (significand, exponent) = text.split_at(mark.unwrap_or(text.len()));
    let digits = exponent.iter().filter(|byte| byte.is_ascii_digit());
    text.len() <= limits::FLOAT_SHORT_LEN
        && significand.iter().all(is_plain)
        && exponent.iter().skip(1).all(is_plain)
        && digits.count() <= 2
}

/// Reads what `strtold` reads to the end of the text, where Redis takes the outcome: no spaces, no NaN, nothing that is too
/// large or so small that it is zero.
fn parse(text: &[u8]) -> Option<X87DoubleExtended> {
    if text.is_empty() || text.len() > limits::FLOAT_TEXT_LEN_MAX {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, magnitude) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let number =
        if magnitude.eq_ignore_ascii_case("inf") || magnitude.eq_ignore_ascii_case("infinity") {
            X87DoubleExtended::INFINITY
        } else {
            let (number, is_zero) = canonical(magnitude)?;
            let parsed = X87DoubleExtended::from_str(&number).ok()?;
            if parsed.is_infinite() || (parsed.is_zero() && !is_zero) {
                return None;
            }
            parsed
        };
    Some(if is_negative { -number } else { number })
}

/// An unsigned number in C's notation as `rustc_apfloat` wants it: an exponent that is there and in bounds. And whether the number is zero.
fn canonical(text: &str) -> Option<(String, bool)> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (body, mark, is_digit): (_, _, fn(&u8) -> bool) = match hexadecimal {
        Some(body) => (body, b'p', u8::is_ascii_hexdigit),
        None => (text, b'e', u8::is_ascii_digit),
    };
    let at = body
        .bytes()
        .position(|byte| byte.to_ascii_lowercase() == mark);
    let (significand, exponent) = match at {
        Some(at) => (&body[..at], exponent(&body[at + 1..])?),
        None => (body, 0),
    };
    let digits = significand.bytes().filter(|byte| *byte != b'.');
    let points = significand.len() - digits.clone().count();
    if points > 1 || points == significand.len() || !digits.clone().all(|digit| is_digit(&digit)) {
        return None;
    }
    let is_zero = digits.clone().all(|digit| digit == b'0');
    let prefix = hexadecimal.map_or("", |_| "0x");
    let mark = char::from(mark);
    Some((format!("{prefix}{significand}{mark}{exponent}"), is_zero))
}

/// A signed decimal number, cut to what can matter.
fn exponent(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.bytes().fold(0, |magnitude: i64, digit| {
        (magnitude * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX)
    });
    Some(if is_negative { -magnitude } else { magnitude })
}

/// As `%.17Lf` prints it, without zeros at the end of a fraction, without a point that nothing follows, and without a sign of zero.
fn print(number: X87DoubleExtended) -> String {
    let bits = number.to_bits();
    let significand = bits as u64;
    let stored_exponent = (bits >> 64) as i32 & 0x7fff;
    // Numbers too small for the least exponent have it all the same, and no highest bit.
    let exponent = stored_exponent.max(1) - EXPONENT_BIAS - SIGNIFICAND_FRACTION_BITS;
    let magnitude = match u32::try_from(exponent) {
        Ok(shift) => print_integer(significand, shift),
        Err(_) => print_fraction(significand, exponent.unsigned_abs()),
    };
    if number.is_negative() && magnitude != "0" {
        format!("-{magnitude}")
    } else {
        magnitude
    }
}

/// `significand / 2^shift`, rounded to [`FRACTION_DIGITS`] behind the point, to the nearest, ties to even.
fn print_fraction(significand: u64, shift: u32) -> String {
    // 2^64 * 10^17 is below 2^121: this is exact.
    let scaled = u128::from(significand) * FRACTION_SCALE;
    let rounded = match shift {
        0..=127 => {
            let (whole, rest) = (scaled >> shift, scaled & ((1 << shift) - 1));
            let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
            let is_up = shift > 0 && (rest > half || (rest == half && whole % 2 == 1));
            whole + u128::from(is_up)
        }
        _ => 0,
    };
    let text = format!(
        "{}.{:0width$}",
        rounded / FRACTION_SCALE,
        rounded % FRACTION_SCALE,
        width = FRACTION_DIGITS
    );
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `significand * 2^shift`.
fn print_integer(significand: u64, shift: u32) -> String {
    const LIMB: u64 = 1_000_000_000;
    const STEP_BITS: u32 = 32;
    // Limbs of nine decimal digits, the lowest first, doubled 32 times in each pass.
    let mut limbs = Vec::new();
    let mut rest = significand;
    while rest > 0 {
        limbs.push(rest % LIMB);
        rest /= LIMB;
    }
    let mut left = shift;
    while left > 0 {
        let step = left.min(STEP_BITS);
        let mut carry = 0;
        for limb in &mut limbs {
            let product = (*limb << step) + carry;
            *limb = product % LIMB;
            carry = product / LIMB;
        }
        while carry > 0 {
            limbs.push(carry % LIMB);
            carry /= LIMB;
        }
        left -= step;
    }
    let mut limbs = limbs.into_iter().rev();
    let mut text = limbs
        .next()
        .map_or_else(|| "0".to_owned(), |limb| limb.to_string());
    for limb in limbs {
        text.push_str(&format!("{limb:09}"));
    }
    text
}

#[cfg(test)]
mod tests;
