//! What is asked: keys, values, and which of them comes next.
//!
//! A key is 16 bytes, `key:` and twelve decimal digits. A value begins with its key's number, 8 bytes little-endian, as far
//! as it is long enough (the **stamp**), so that a reply can be told from one that belongs to another key at the price of
//! one comparison.

use std::rc::Rc;

/// Length of every key, in bytes.
pub const KEY_LEN: usize = 16;
/// The most keys that twelve digits can name.
pub const KEYS_MAX: u64 = 1_000_000_000_000;
/// How much of a value tells its key, in bytes.
pub const STAMP_LEN: usize = 8;

const PREFIX: &[u8; 4] = b"key:";
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

/// The key of this number, which is below [`KEYS_MAX`].
#[inline]
#[must_use]
pub fn key(number: u64) -> [u8; KEY_LEN] {
    debug_assert!(number < KEYS_MAX);
    let mut key = [0; KEY_LEN];
    key[..PREFIX.len()].copy_from_slice(PREFIX);
    let mut rest = number;
    for pair in key[PREFIX.len()..].as_chunks_mut::<2>().0.iter_mut().rev() {
        *pair = PAIRS[(rest % 100) as usize];
        rest /= 100;
    }
    key
}

/// The bytes with which a key's value begins.
#[inline]
#[must_use]
pub fn stamp(number: u64) -> [u8; STAMP_LEN] {
    number.to_le_bytes()
}

/// What comes behind the stamp: printable, and of no regular length that a compressor could like.
#[must_use]
pub fn value(value_len: usize) -> Vec<u8> {
    (0..value_len)
        .map(|at| b'a' + (at * 7 % 26) as u8)
        .collect()
}

/// Whether a value is the one that was written under this key.
#[inline]
#[must_use]
pub fn is_value_of(number: u64, value: &[u8]) -> bool {
    let stamp = stamp(number);
    let len = value.len().min(STAMP_LEN);
    value[..len] == stamp[..len]
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads a value.
    Get,
    /// Writes one.
    Put,
}

/// The keys that one connection asks for at random.
#[derive(Clone, Debug)]
pub enum KeySet {
    /// All numbers below this.
    All(u64),
    /// These numbers: the keys of one shard.
    Some(Rc<[u64]>),
}

impl KeySet {
    /// One of them, uniformly at random.
    #[inline]
    pub(crate) fn pick(&self, random: &mut fastrand::Rng) -> u64 {
        match self {
            KeySet::All(count) => random.u64(0..*count),
            KeySet::Some(numbers) => numbers[random.usize(0..numbers.len())],
        }
    }
}

/// Where the next request comes from.
#[derive(Debug)]
pub enum Source {
    /// Writes every key once, in order.
    Fill {
        /// The next number.
        next: u64,
        /// The first number that isn't written.
        end: u64,
    },
    /// Asks keys at random, for ever.
    Random {
        /// Out of 100 requests, how many are puts.
        puts_percent: u8,
    },
    /// Asks no more.
    Dry,
}

impl Source {
    /// The next request of a connection that asks for these keys; `None` when there is none any more.
    #[inline]
    pub fn next(&mut self, keys: &KeySet, random: &mut fastrand::Rng) -> Option<(Operation, u64)> {
        match self {
            Source::Random { puts_percent } => {
                let operation = match *puts_percent {
                    0 => Operation::Get,
                    100 => Operation::Put,
                    percent if random.u8(0..100) < percent => Operation::Put,
                    _ => Operation::Get,
                };
                Some((operation, keys.pick(random)))
            }
            Source::Fill { next, end } if *next < *end => {
                *next += 1;
                Some((Operation::Put, *next - 1))
            }
            Source::Fill { .. } | Source::Dry => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two numbers that shared a key would halve the key space without anyone noticing.
    #[test]
    fn keys_are_the_number_in_twelve_digits() {
        for number in [0, 7, 99, 100, 12_345, 9_999_999, KEYS_MAX - 1] {
            assert_eq!(key(number), format!("key:{number:012}").as_bytes());
        }
    }

    // A server that answers with another key's value must not pass for a fast one.
    #[test]
    fn a_value_tells_its_key() {
        let mut bytes = value(64);
        bytes[..STAMP_LEN].copy_from_slice(&stamp(300));
        assert!(is_value_of(300, &bytes));
        assert!(!is_value_of(301, &bytes));
        assert!(is_value_of(300, &bytes[..1]));
        assert!(!is_value_of(301, &bytes[..1]));
        assert!(is_value_of(300, b""));
    }

    // A fill that skipped a key would turn every later get of it into an error, or hide that the server lost it.
    #[test]
    fn a_fill_writes_every_key_once_and_ends() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut source = Source::Fill { next: 0, end: 5 };
        let keys = KeySet::All(5);
        let asked: Vec<_> = std::iter::from_fn(|| source.next(&keys, &mut random)).collect();
        assert_eq!(
            asked,
            (0..5)
                .map(|number| (Operation::Put, number))
                .collect::<Vec<_>>()
        );
    }

    // Ratios are measured between loads that must be the same: the share of puts and the reach of the keys are part of it.
    #[test]
    fn random_requests_keep_the_share_of_puts_and_reach_all_keys() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut source = Source::Random { puts_percent: 10 };
        let keys = KeySet::Some([3, 5, 8].into());
        let asked: Vec<_> = (0..10_000)
            .filter_map(|_| source.next(&keys, &mut random))
            .collect();
        let puts = asked
            .iter()
            .filter(|(operation, _)| *operation == Operation::Put)
            .count();
        assert!(
            (800..1_200).contains(&puts),
            "{puts} puts of 10,000 where 10 % were asked for"
        );
        for number in [3, 5, 8] {
            assert!(asked.iter().any(|(_, asked)| *asked == number));
        }
    }
}
