//! A key's bytes: a prefix and its number in decimal digits, with zeros in front up to the length that it is to have.
//!
//! ```text
//! key:000000000042       number 42 with 16 bytes and the prefix `key:`
//! key:c00000000042       the counter that stands beside it
//! ```
//!
//! A key's length is a function of its number (where lengths vary: drawn with the bits of the number's hash), so that every client, of this
//! run or another, writes the same bytes. Two numbers never have the same bytes, since their digits differ.
//! A **counter** (what `Add` adds to) is a key of its own with [`COUNTER`] set in its number, which its name shows as a `c`.

use super::{
    super::{SpecError, random::mix, sizes::Sizes},
    KEYS_MAX,
};

/// The bit that sets the number of a counter apart from that of a key.
pub const COUNTER: u64 = 1 << 63;
/// The longest key that can be asked for.
pub const KEY_LEN_MAX: u32 = 65_535;
/// What stands before the number unless another prefix is asked for.
pub const PREFIX: &str = "key:";
/// Length of a key unless another is asked for.
pub const KEY_LEN: u32 = 16;

/// "00" to "99": two digits a division.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// How numbers become keys.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyNames {
    prefix: Box<[u8]>,
    lengths: Sizes,
}

impl KeyNames {
    /// Keys of these lengths, for the numbers of so many keys and their counters.
    ///
    /// # Errors
    ///
    /// [`SpecError::KeyTooShort`] if the shortest has no room for the largest number, [`SpecError::OutOfRange`] if the longest is longer
    /// than [`KEY_LEN_MAX`].
    pub fn new(prefix: &str, lengths: Sizes, keys: u64) -> Result<KeyNames, SpecError> {
        let len_min = prefix.len() + 1 + digits(keys.clamp(1, KEYS_MAX) - 1);
        if (lengths.min() as usize) < len_min {
            return Err(SpecError::KeyTooShort {
                len: lengths.min() as usize,
                len_min,
                prefix: prefix.to_owned(),
                keys,
            });
        }
        if lengths.max() > KEY_LEN_MAX {
            return Err(SpecError::out_of_range(
                "a key length",
                &lengths.max(),
                &len_min,
                &KEY_LEN_MAX,
            ));
        }
        Ok(KeyNames {
            prefix: prefix.as_bytes().into(),
            lengths,
        })
    }

    /// Length of this key in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self, number: u64) -> usize {
        self.prefix.len() + self.number_len(number)
    }

    /// The longest of them, as long as no inserted key's number outgrows the length asked for.
    #[must_use]
    pub fn len_max(&self) -> usize {
        self.lengths.max() as usize
    }

    /// What all of them begin with.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Appends the key's bytes: [`KeyNames::len`] of them. Allocates only if `out` has no room.
    #[inline]
    pub fn append(&self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        let start = out.len();
        out.resize(start + self.number_len(number), b'0');
        let mut name = &mut out[start..];
        if number & COUNTER != 0 {
            name[0] = b'c';
            name = &mut name[1..];
        }
        let mut rest = number & !COUNTER;
        while rest >= 10 {
            let Some((front, pair)) = name.split_last_chunk_mut::<2>() else {
                debug_assert!(false, "no room for the digits of {number}");
                return;
            };
            *pair = PAIRS[(rest % 100) as usize];
            rest /= 100;
            name = front;
        }
        if let Some(digit) = name.last_mut().filter(|_| rest > 0) {
            *digit = b'0' + rest as u8;
        }
    }

    /// The number whose key this is, `None` if it is no key of ours.
    #[must_use]
    pub fn number(&self, key: &[u8]) -> Option<u64> {
        let name = key.strip_prefix(&*self.prefix)?;
        let (flag, digits) = match name.strip_prefix(b"c") {
            Some(digits) => (COUNTER, digits),
            None => (0, name),
        };
        let number = digits.iter().try_fold(0u64, |number, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number.checked_mul(10)?.checked_add(u64::from(digit))
        })?;
        let number = (number < COUNTER).then_some(number | flag)?;
        (self.len(number) == key.len()).then_some(number)
    }

    /// Length of all that stands behind the prefix. An inserted key's number may outgrow the length that was asked for: its key is longer then.
    #[inline]
    fn number_len(&self, number: u64) -> usize {
        let wanted = self.lengths.pick(mix(number));
        let needed = digits(number & !COUNTER) + usize::from(number & COUNTER != 0);
        (wanted as usize - self.prefix.len()).max(needed)
    }
}

/// Number of decimal digits.
#[inline]
fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(lengths: &str, keys: u64) -> KeyNames {
        KeyNames::new(PREFIX, lengths.parse().unwrap(), keys).unwrap()
    }

    fn name(names: &KeyNames, number: u64) -> String {
        let mut bytes = b"kept".to_vec();
        names.append(number, &mut bytes);
        assert_eq!(bytes.len(), 4 + names.len(number));
        String::from_utf8(bytes[4..].to_vec()).unwrap()
    }

    #[test]
    fn keys_look_as_documented() {
        let names = names("16", 1_000_000);
        for (number, expected) in [
            (0, "key:000000000000"),
            (7, "key:000000000007"),
            (10, "key:000000000010"),
            (42, "key:000000000042"),
            (100, "key:000000000100"),
            (999_999, "key:000000999999"),
            (COUNTER, "key:c00000000000"),
            (COUNTER | 42, "key:c00000000042"),
        ] {
            assert_eq!(name(&names, number), expected);
            assert_eq!(names.number(expected.as_bytes()), Some(number));
        }
    }

    // A scan or a check after a fault reads keys that may be anybody's.
    #[test]
    fn other_keys_have_no_number() {
        let names = names("16", 1000);
        for key in [
            "",
            "key:",
            "key:42",
            "kex:000000000042",
            "key:00000000004x",
            "key:0000000000042",
            "key:c0000000000c",
            "key:cc0000000001",
            "key:99999999999999999999999",
        ] {
            assert_eq!(names.number(key.as_bytes()), None, "{key}");
        }
    }

    #[test]
    fn lengths_vary_by_number_and_no_two_keys_are_alike() {
        let names = names("8-40", 1000);
        let mut all: Vec<String> = (0..1000).map(|number| name(&names, number)).collect();
        assert!(all.iter().any(|key| key.len() == 8) && all.iter().any(|key| key.len() == 40));
        assert!(
            (0..1000).all(|number| names.number(all[number as usize].as_bytes()) == Some(number))
        );
        all.extend((0..1000).map(|number| name(&names, COUNTER | number)));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 2000);
    }

    // Inserts go on behind the last number: a key gets longer rather than take another's name.
    #[test]
    fn a_number_that_outgrows_its_length_keeps_its_digits() {
        let names = names("8", 1000);
        assert_eq!(name(&names, 123_456), "key:123456");
        assert_eq!(name(&names, COUNTER | 12_345), "key:c12345");
    }

    #[test]
    fn lengths_without_room_are_refused() {
        let sizes = || "8".parse::<Sizes>().unwrap();
        assert!(KeyNames::new("key:", sizes(), 1000).is_ok());
        let error = KeyNames::new("key:", sizes(), 1001).unwrap_err();
        assert!(
            matches!(error, SpecError::KeyTooShort { len_min: 9, .. }),
            "{error}"
        );
        assert!(KeyNames::new("", Sizes::fixed(KEY_LEN_MAX + 1), 10).is_err());
        assert!(KeyNames::new("", Sizes::fixed(2), 10).is_ok());
    }
}
