//! One record of an import or export, as a line of JSON or of `key<TAB>value`.
//!
//! | format | line | names |
//! |---|---|---|
//! | `jsonl` | `{"key":…,"value":…,"ttl_ms":…}`; bytes as in [`crate::text::json`], `ttl_ms` optional | `.jsonl`, `.ndjson`, `.json` |
//! | `tsv` | key, one tab, value; escapes as in [`crate::text::escape`] | `.tsv`, `.tab`, `.txt` |
//!
//! Lines end in `\n`; the last may lack it. JSON takes any white space around it, so `\r\n` too; in `tsv` every byte
//! counts, and a carriage return before the `\n` belongs to the value. `tsv` has no place for a time to live.
//! An unknown field in JSON is an error: a misspelt `ttl_ms` must not make a key immortal.

use crate::text::escape::{self, EscapeError};
use crate::text::json::{JsonBuf, JsonBytes};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How a file's lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A JSON object a line; keeps times to live
    Jsonl,
    /// `key<TAB>value`, with the escapes \t \n \r \\
    Tsv,
}

impl Format {
    /// What the end of the name suggests, if it does.
    pub(crate) fn guess(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            "tsv" | "tab" | "txt" => Some(Self::Tsv),
            _ => None,
        }
    }

    /// Its name in state files and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Tsv => "tsv",
        }
    }
}

/// A key, its value, and how long it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// 1 byte or more; the server has the last word on the longest.
    pub(crate) key: Bytes,
    /// Any bytes.
    pub(crate) value: Bytes,
    /// Milliseconds to live, 1 or more; `None` for a key that stays.
    pub(crate) ttl_ms: Option<u64>,
}

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// Not JSON, or not of the right shape.
    #[error("{}", in_line(.0))]
    Json(serde_json::Error),
    /// A line without a tab.
    #[error("no tab between key and value")]
    NoTab,
    /// A line with two.
    #[error("more than one tab (write \\t for a tab in a key or value)")]
    ManyTabs,
    /// A bad escape in the key or the value.
    #[error(transparent)]
    Escape(#[from] EscapeError),
    /// A key of no bytes.
    #[error("the key is empty")]
    EmptyKey,
    /// A time to live of nothing.
    #[error("ttl_ms is 0 (leave it out for a key that does not expire)")]
    ZeroTtl,
    /// More bytes than a record of the greatest value can take.
    #[error("the line is longer than {max} bytes")]
    TooLong {
        /// The bound, in bytes.
        max: usize,
    },
}

/// Reads one line, given without its `\n`. `None` for a blank one, which separates nothing and means nothing.
pub(crate) fn parse(format: Format, line: &[u8]) -> Result<Option<Record>, RecordError> {
    let record = match format {
        Format::Jsonl if line.iter().all(u8::is_ascii_whitespace) => return Ok(None),
        Format::Tsv if line.is_empty() => return Ok(None),
        Format::Jsonl => parse_jsonl(line)?,
        Format::Tsv => parse_tsv(line)?,
    };
    if record.key.is_empty() {
        return Err(RecordError::EmptyKey);
    }
    if record.ttl_ms == Some(0) {
        return Err(RecordError::ZeroTtl);
    }
    Ok(Some(record))
}

/// Appends the record as one line, `\n` included.
pub(crate) fn write(format: Format, record: &Record, out: &mut Vec<u8>) {
    match format {
        Format::Jsonl => {
            let line = JsonLine {
                key: JsonBytes(&record.key),
                value: JsonBytes(&record.value),
                ttl_ms: record.ttl_ms,
            };
            serde_json::to_writer(&mut *out, &line)
                .expect("strings and numbers are always JSON, and a Vec takes them");
        }
        Format::Tsv => {
            escape::field(&record.key, out);
            out.push(b'\t');
            escape::field(&record.value, out);
        }
    }
    out.push(b'\n');
}

#[derive(Serialize)]
struct JsonLine<'a> {
    key: JsonBytes<'a>,
    value: JsonBytes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRecord {
    key: JsonBuf,
    value: JsonBuf,
    #[serde(default)]
    ttl_ms: Option<u64>,
}

/// What is wrong, and where in the line: its number is told beside, and to the parser each line is the first.
fn in_line(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match said.strip_suffix(&place) {
        Some(reason) => format!("{reason}, at column {}", error.column()),
        None => said,
    }
}

fn parse_jsonl(line: &[u8]) -> Result<Record, RecordError> {
    let JsonRecord { key, value, ttl_ms } =
        serde_json::from_slice(line).map_err(RecordError::Json)?;
    Ok(Record {
        key: Bytes::from(key.0),
        value: Bytes::from(value.0),
        ttl_ms,
    })
}

fn parse_tsv(line: &[u8]) -> Result<Record, RecordError> {
    let mut fields = line.split(|&byte| byte == b'\t');
    let key = fields.next().expect("a split has at least one part");
    let value = fields.next().ok_or(RecordError::NoTab)?;
    if fields.next().is_some() {
        return Err(RecordError::ManyTabs);
    }
    Ok(Record {
        key: Bytes::from(escape::unescape(key)?),
        value: Bytes::from(escape::unescape(value)?),
        ttl_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let key = proptest::collection::vec(any::<u8>(), 1..40);
        (key, any::<Vec<u8>>(), proptest::option::of(1_u64..)).prop_map(|(key, value, ttl_ms)| {
            Record {
                key: key.into(),
                value: value.into(),
                ttl_ms,
            }
        })
    }

    proptest! {
        /// Export then import must give back every byte. A value that held a line's end once came back as two records
        /// in a format without escapes.
        #[test]
        fn both_formats_round_trip(record in record()) {
            for format in [Format::Jsonl, Format::Tsv] {
                let mut line = Vec::new();
                write(format, &record, &mut line);
                prop_assert_eq!(line.pop(), Some(b'\n'));
                prop_assert!(!line.contains(&b'\n'));
                let expected = match format {
                    Format::Jsonl => record.clone(),
                    Format::Tsv => Record { ttl_ms: None, ..record.clone() },
                };
                prop_assert_eq!(parse(format, &line).unwrap(), Some(expected));
            }
        }

        /// An import reads files that others wrote: whatever a line holds, it is a record or a typed error.
        #[test]
        fn takes_anything(line: Vec<u8>) {
            for format in [Format::Jsonl, Format::Tsv] {
                if let Ok(Some(record)) = parse(format, &line) {
                    prop_assert!(!record.key.is_empty());
                }
            }
        }
    }

    /// Each of these was, or could be, taken for a record by a lenient reader, with a key that nobody meant.
    #[test]
    fn refuses_what_is_no_record() {
        use Format::{Jsonl, Tsv};
        let lines: [(Format, &str, &str); 10] = [
            (Tsv, "key", "no tab"),
            (Tsv, "a\tb\tc", "more than one tab"),
            (Tsv, "\tvalue", "key is empty"),
            (Tsv, "a\tb\\", "backslash at the end"),
            (Jsonl, "{\"key\":\"a\"}", "missing field `value`"),
            (Jsonl, "{\"key\":\"\",\"value\":\"\"}", "key is empty"),
            (
                Jsonl,
                "{\"key\":\"a\",\"value\":\"\",\"ttl\":5}",
                "unknown field `ttl`, expected one of `key`, `value`, `ttl_ms`, at column 27",
            ),
            (
                Jsonl,
                "{\"key\":\"a\",\"value\":\"\",\"ttl_ms\":0}",
                "ttl_ms is 0",
            ),
            (
                Jsonl,
                "{\"key\":\"a\",\"value\":\"\"} {}",
                "trailing characters",
            ),
            (Jsonl, "{\"key\":\"a\",\"value\":7}", "expected a string or"),
        ];
        for (format, line, reason) in lines {
            let error = parse(format, line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{line:?} gave {error:?}");
        }
    }

    /// Files from other systems end lines in `\r\n`. JSON doesn't care; in `key<TAB>value` the byte could be data, and
    /// dropping it would break the promise that every byte comes back.
    #[test]
    fn carriage_returns() {
        let json = parse(Format::Jsonl, b"{\"key\":\"a\",\"value\":\"b\"}\r")
            .unwrap()
            .unwrap();
        assert_eq!(json.value, "b");
        let tsv = parse(Format::Tsv, b"a\tb\r").unwrap().unwrap();
        assert_eq!(tsv.value, "b\r");
        assert_eq!(parse(Format::Jsonl, b" \r").unwrap(), None);
        assert_eq!(parse(Format::Tsv, b"").unwrap(), None);
    }

    /// A pipe has no name, and a name may mislead: only the endings that are documented decide.
    #[test]
    fn guesses_by_name() {
        assert_eq!(Format::guess(Path::new("a/b.JSONL")), Some(Format::Jsonl));
        assert_eq!(Format::guess(Path::new("b.tsv")), Some(Format::Tsv));
        assert_eq!(Format::guess(Path::new("b.csv")), None);
        assert_eq!(Format::guess(Path::new("-")), None);
    }
}
