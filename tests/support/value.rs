//! Values that tell whose they are: any byte of another write, or a part of the right one, shows.

use super::random::Random;

/// The value that write number `sequence` of `key` puts, `len` bytes and more if that holds less than its heading.
pub(crate) fn describing(key: &[u8], sequence: u64, len: usize) -> Vec<u8> {
    let mut value = heading(key, sequence, len);
    let seed = key
        .iter()
        .fold(sequence ^ (len as u64) << 40, |hash, &byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
    let mut random = Random::new(seed);
    while value.len() < len {
        let word = random.next().to_le_bytes();
        let room = (len - value.len()).min(word.len());
        value.extend_from_slice(&word[..room]);
    }
    value
}

/// Which write of `key` put this value.
///
/// # Panics
/// If none did.
#[track_caller]
pub(crate) fn described(key: &[u8], value: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(&value[..value.len().min(128)]);
    let mut words = text.split(' ');
    let (Some(_), Some(sequence), Some(len)) = (words.next(), words.next(), words.next()) else {
        panic!("{} holds what nobody wrote: {text:?}", key.escape_ascii());
    };
    let (Ok(sequence), Ok(len)) = (sequence.parse(), len.parse()) else {
        panic!("{} holds what nobody wrote: {text:?}", key.escape_ascii());
    };
    assert!(
        describing(key, sequence, len) == value,
        "{} holds {} bytes that are not whole: {text:?}",
        key.escape_ascii(),
        value.len()
    );
    sequence
}

fn heading(key: &[u8], sequence: u64, len: usize) -> Vec<u8> {
    format!("{} {sequence} {len} ", key.escape_ascii()).into_bytes()
}
