//! What the settings of a load have in common: their errors, and parts of a whole.

use std::{fmt::Display, path::PathBuf};

/// A setting that can't be understood or carried out. Each says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The text means nothing.
    #[error("`{text}` is no {what}: write {expected}")]
    Unreadable {
        /// What it should have been: "distribution of keys".
        what: &'static str,
        /// What was written.
        text: String,
        /// What may be written.
        expected: &'static str,
    },
    /// A number is outside what it may be.
    #[error("{what} of {value} is outside {min} to {max}")]
    OutOfRange {
        /// Of what.
        what: &'static str,
        /// The number.
        value: String,
        /// The least that it may be.
        min: String,
        /// The most that it may be.
        max: String,
    },
    /// A file that a setting names can't be read.
    #[error("{path} can't be read: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A line of such a file means nothing.
    #[error(
        "{path}, line {line}: `{text}` is no size and weight: write `64 50` for 64 bytes with weight 50"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// Keys have no room for their numbers.
    #[error(
        "keys of {len} bytes are too short for the prefix `{prefix}` and the numbers of {keys} keys: take at least {len_min}"
    )]
    KeyTooShort {
        /// Shortest length asked for, in bytes.
        len: usize,
        /// Shortest length that is enough, in bytes.
        len_min: usize,
        /// What stands before the number.
        prefix: String,
        /// Number of keys.
        keys: u64,
    },
    /// Connections that write only keys of their own need one each.
    #[error(
        "{parts} connections can't each own some of {keys} keys: take more keys or fewer connections"
    )]
    TooFewKeys {
        /// Number of keys.
        keys: u64,
        /// Number of owners.
        parts: u32,
    },
    /// A part of nothing, or one behind the last.
    #[error("part {index} of {of} does not exist: parts are counted from 0")]
    NoSuchPart {
        /// The part.
        index: u32,
        /// Number of parts.
        of: u32,
    },
}

impl SpecError {
    pub(super) fn unreadable(what: &'static str, text: &str, expected: &'static str) -> SpecError {
        SpecError::Unreadable {
            what,
            text: text.to_owned(),
            expected,
        }
    }

    pub(super) fn out_of_range(
        what: &'static str,
        value: &dyn Display,
        min: &dyn Display,
        max: &dyn Display,
    ) -> SpecError {
        SpecError::OutOfRange {
            what,
            value: value.to_string(),
            min: min.to_string(),
            max: max.to_string(),
        }
    }
}

/// One of several equal parts of a whole: this connection of all, this thread of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    index: u32,
    of: u32,
}

impl Part {
    /// The only part.
    pub const WHOLE: Part = Part { index: 0, of: 1 };

    /// Part `index`, counted from 0, of `of`.
    ///
    /// # Errors
    ///
    /// [`SpecError::NoSuchPart`] unless `index` is below `of`.
    pub fn new(index: u32, of: u32) -> Result<Part, SpecError> {
        if index < of {
            Ok(Part { index, of })
        } else {
            Err(SpecError::NoSuchPart { index, of })
        }
    }

    /// Which one, from 0.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// Of how many.
    #[must_use]
    pub fn of(self) -> u32 {
        self.of
    }

    /// The number nearest `number` that is this part's, among those below `count`: every `of`th number is, so each number below
    /// `count` is one part's alone, and the parts' shares are equal. `count` is at least `of`.
    #[inline]
    pub(super) fn nearest(self, number: u64, count: u64) -> u64 {
        let of = u64::from(self.of);
        debug_assert!(count >= of, "{count} numbers for {of} parts");
        let own = number - number % of + u64::from(self.index);
        if own < count { own } else { own - of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Owners whose keys overlapped would each take the other's write for a fault of the store.
    #[test]
    fn the_nearest_number_is_ones_own_and_not_far() {
        for (count, of) in [(1, 1), (8, 8), (10, 3), (1003, 8)] {
            for index in 0..of {
                let part = Part::new(index, of).unwrap();
                for number in 0..count {
                    let own = part.nearest(number, count);
                    assert_eq!(own % u64::from(of), u64::from(index));
                    assert!(own < count && own.abs_diff(number) < 2 * u64::from(of));
                }
            }
        }
        assert!(Part::new(3, 3).is_err() && Part::new(0, 0).is_err());
    }
}
