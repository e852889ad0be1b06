//! How bytes, times and places are shown.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use crate::types::{KeyspaceId, PartitionId, WallMillis};

/// Bytes in JSON, as `corduroy-cli` writes and reads them: a string where they are UTF-8, else `{"base64": "…"}`.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonBytes<'a>(pub(super) &'a [u8]);

impl Serialize for JsonBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_map([("base64", STANDARD.encode(self.0))]),
        }
    }
}

/// Bytes for people: text in quotes, with escapes; others as `b"…"` with `\x…`. What is longer than `len_max` bytes is cut, and its length told.
pub(super) fn quoted(bytes: &[u8], len_max: usize) -> String {
    let mut shown = &bytes[..bytes.len().min(len_max)];
    if let Err(error) = std::str::from_utf8(shown)
        && error.error_len().is_none()
        && shown.len() < bytes.len()
    {
        // The cut went through a character.
        shown = &shown[..error.valid_up_to()];
    }
    let mut text = match std::str::from_utf8(shown) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("b\"{}\"", shown.escape_ascii()),
    };
    if shown.len() < bytes.len() {
        write!(text, "… ({} bytes)", bytes.len()).expect("a string takes all");
    }
    text
}

/// The last second that is written with four digits of a year.
const YEAR_9999_MS: u64 = 253_402_300_799_999;

/// A moment as people write it; a number of milliseconds if it lies beyond all years.
pub(in crate::server) fn time(at: WallMillis) -> String {
    if at.0 > YEAR_9999_MS {
        return format!("{} ms", at.0);
    }
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at.0)).to_string()
}

/// A partition for people.
pub(super) fn partition(partition: Option<PartitionId>) -> String {
    let Some(partition) = partition else {
        return "keyspace unknown".to_owned();
    };
    let name = match partition.keyspace {
        KeyspaceId::SYSTEM => " (system)",
        KeyspaceId::DEFAULT => " (default)",
        _ => "",
    };
    format!(
        "keyspace {}{name} partition {}",
        partition.keyspace.0, partition.index
    )
}

/// A count with its noun.
pub(super) fn count(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that obeys what somebody stored as a key, or a character cut in two, is no way to show data.
    #[test]
    fn bytes_are_shown_without_being_obeyed() {
        assert_eq!(quoted(b"plain", 64), "\"plain\"");
        assert_eq!(quoted("Stra\u{df}e\n".as_bytes(), 64), "\"Stra\u{df}e\\n\"");
        assert_eq!(quoted(b"\x1b[2J", 64), "\"\\u{1b}[2J\"");
        assert_eq!(quoted(b"\xff\x00\"", 64), "b\"\\xff\\x00\\\"\"");
        assert_eq!(quoted(b"0123456789", 4), "\"0123\"… (10 bytes)");
        assert_eq!(quoted("a\u{df}b".as_bytes(), 2), "\"a\"… (4 bytes)");
        let json = |bytes| serde_json::to_string(&JsonBytes(bytes)).unwrap();
        assert_eq!(json(b"a\"b"), "\"a\\\"b\"");
        assert_eq!(json(b"\xff"), "{\"base64\":\"/w==\"}");
    }

    /// The times in a file are numbers that anything may have written, and the crate that prints them panics at years with five digits.
    #[test]
    fn no_time_is_too_late_to_be_shown() {
        assert_eq!(time(WallMillis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(WallMillis(YEAR_9999_MS)), "9999-12-31T23:59:59.999Z");
        assert_eq!(time(WallMillis(YEAR_9999_MS + 1)), "253402300800000 ms");
        assert_eq!(time(WallMillis(u64::MAX)), "18446744073709551615 ms");
    }
}
