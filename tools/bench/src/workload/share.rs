//! Shares: `5%` of the keys, `95%` of the operations.

use std::{fmt, str::FromStr};

use super::SpecError;

/// A part of a whole, 0 to 1; written in percent.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// All of it.
    pub const ALL: Share = Share(1.0);

    /// This fraction of it, `None` unless it is 0 to 1.
    #[must_use]
    pub const fn of(fraction: f64) -> Option<Share> {
        if fraction >= 0.0 && fraction <= 1.0 {
            Some(Share(fraction))
        } else {
            None
        }
    }

    /// So many hundredths of it; at most all.
    #[must_use]
    pub const fn percent(percent: u8) -> Share {
        if percent < 100 {
            Share(percent as f64 / 100.0)
        } else {
            Share::ALL
        }
    }

    /// As a fraction.
    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0
    }

    /// The numbers of 32 bits below this are its share of all numbers of 32 bits.
    pub(super) fn threshold(self) -> u64 {
        (self.0 * (1u64 << 32) as f64).round() as u64
    }
}

impl FromStr for Share {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Share, SpecError> {
        let unreadable = || SpecError::unreadable("share", text, "a number and `%`, such as `5%`");
        let percent = text.trim().strip_suffix('%').ok_or_else(unreadable)?;
        let percent: f64 = percent.trim_end().parse().map_err(|_| unreadable())?;
        Share::of(percent / 100.0)
            .ok_or_else(|| SpecError::out_of_range("a share", &text, &"0%", &"100%"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Seven percent is 7.000000000000001 hundredths in binary; a millionth of a percent is as fine as anybody writes.
        write!(formatter, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_as_they_are_written() {
        for text in ["0%", "0.5%", "5%", "7%", "33.333333%", "100%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        assert_eq!(" 5 % ".trim().parse::<Share>().unwrap(), Share::percent(5));
    }

    // `0.05` could mean five percent or five hundredths of one: it is refused, and the error says what to write.
    #[test]
    fn a_share_without_a_percent_sign_is_refused() {
        for text in ["0.05", "5", "", "%", "five%", "101%", "-1%", "NaN%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        let error = "0.05".parse::<Share>().unwrap_err().to_string();
        assert!(error.contains("5%"), "{error}");
    }
}
