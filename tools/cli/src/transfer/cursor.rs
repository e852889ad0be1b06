//! A scan's cursor as text: the 16 bytes that the server handed out, as 32 hexadecimal digits.

use corduroy_client::Cursor;
use std::fmt;
use std::str::FromStr;

/// A cursor that a person can copy and a state file can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CursorText(pub(crate) Cursor);

/// A text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is 32 hexadecimal digits, as scan printed it")]
pub(crate) struct CursorError;

impl fmt::Display for CursorText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for CursorText {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut bytes = [0; 16];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(CursorError);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(CursorError);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| CursorError)?;
        }
        Ok(Self(Cursor(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A cursor that changed on its way through a state file would make a scan go on elsewhere, without a word.
        #[test]
        fn round_trips(bytes: [u8; 16]) {
            let text = CursorText(Cursor(bytes)).to_string();
            prop_assert_eq!(text.parse(), Ok(CursorText(Cursor(bytes))));
        }

        /// A cursor that was cut short while copying is an error, not another place.
        #[test]
        fn refuses_anything_else(text in "[0-9a-g+ ]{0,40}") {
            let good = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
            prop_assert_eq!(text.parse::<CursorText>().is_ok(), good);
        }
    }
}
