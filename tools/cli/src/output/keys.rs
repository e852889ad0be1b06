//! How the replies of commands on keys, and lists of keys, look in each form.

use super::objects;
use super::table::{self, Fields};
use super::{Output, OutputFormat, Reply, Stamp, cell, date, note};
use crate::text::escape;
use bytes::Bytes;
use corduroy_client::KeyspaceInfo;
use serde_json::json;
use std::io;
use std::time::Duration;

/// One key of a scan.
#[derive(Clone, Debug)]
pub(crate) struct ListedKey {
    /// The key.
    pub(crate) key: Bytes,
    /// Its value, where the scan asked for it.
    pub(crate) value: Option<Bytes>,
    /// Of the value.
    pub(crate) stamp: Stamp,
    /// Milliseconds since 1970.
    pub(crate) expires_at_ms: Option<u64>,
}

impl Output {
    /// Prints what a command on `key` came to.
    pub(crate) fn reply(&mut self, key: &[u8], reply: &Reply) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => self.json(&objects::of_reply(key, reply)),
            OutputFormat::Raw => self.reply_raw(reply),
            OutputFormat::Table => self.reply_table(key, reply),
        }
    }

    /// The datum alone. What went wrong is said by the exit code.
    fn reply_raw(&mut self, reply: &Reply) -> io::Result<()> {
        match reply {
            Reply::Found { value, .. }
            | Reply::Done {
                old: Some(Some(value)),
                ..
            }
            | Reply::ConditionFailed {
                value: Some(value), ..
            } => self.raw_value(value),
            Reply::Counter { value, .. } => self.line(&value.to_string()),
            Reply::Length { length, .. } => self.line(&length.to_string()),
            Reply::Ttl(Some(left)) => self.line(&left.as_millis().to_string()),
            Reply::Ttl(None) => self.line("none"),
            Reply::Exists(exists) => self.line(&exists.to_string()),
            Reply::NotFound | Reply::Done { .. } | Reply::ConditionFailed { .. } => Ok(()),
        }
    }

    fn reply_table(&mut self, key: &[u8], reply: &Reply) -> io::Result<()> {
        match reply {
            Reply::Found { value, stamp } => self.fields(&stamped(
                Fields::default().row("value", cell(value)),
                *stamp,
            )),
            Reply::NotFound => {
                note(format_args!("not found: {}", cell(key)));
                Ok(())
            }
            Reply::Done { stamp, old } => {
                let fields = match old {
                    None => Fields::default().row("done", ""),
                    Some(None) => Fields::default().row("done", "").row("old value", "(none)"),
                    Some(Some(value)) => Fields::default()
                        .row("done", "")
                        .row("old value", cell(value)),
                };
                self.fields(&stamped(fields, *stamp))
            }
            Reply::ConditionFailed { current, value } => {
                note(condition_text(*current));
                match value {
                    Some(value) => {
                        self.fields(&Fields::default().row("current value", cell(value)))
                    }
                    None => Ok(()),
                }
            }
            Reply::Counter { value, stamp } => self.fields(&stamped(
                Fields::default().row("value", value.to_string()),
                *stamp,
            )),
            Reply::Length { length, stamp } => self.fields(&stamped(
                Fields::default().row("length", format!("{length} bytes")),
                *stamp,
            )),
            Reply::Ttl(left) => {
                self.line(&left.map_or_else(|| "does not expire".to_owned(), duration_text))
            }
            Reply::Exists(exists) => self.line(&exists.to_string()),
        }
    }

    /// Prints a page of a scan. `first` puts the names of the columns over a table.
    pub(crate) fn listed_keys(
        &mut self,
        keys: &[ListedKey],
        with_values: bool,
        first: bool,
    ) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => keys
                .iter()
                .try_for_each(|key| self.json(&objects::of_listed(key))),
            OutputFormat::Raw => {
                let mut lines = Vec::new();
                for key in keys {
                    escape::field(&key.key, &mut lines);
                    if with_values {
                        lines.push(b'\t');
                        escape::field(key.value.as_deref().unwrap_or_default(), &mut lines);
                    }
                    lines.push(b'\n');
                }
                self.bytes(&lines)
            }
            OutputFormat::Table if keys.is_empty() => Ok(()),
            OutputFormat::Table => {
                let text = listed_table(keys, with_values, first);
                self.line(&text)
            }
        }
    }
}

impl Output {
    /// Prints the keyspaces of a server.
    pub(crate) fn keyspaces(&mut self, keyspaces: &[KeyspaceInfo]) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => keyspaces.iter().try_for_each(|info| {
                self.json(
                    &json!({"keyspace": info.name, "id": info.id, "partitions": info.partitions}),
                )
            }),
            OutputFormat::Raw => keyspaces.iter().try_for_each(|info| self.line(&info.name)),
            OutputFormat::Table => {
                let mut table = table::with_header(["KEYSPACE", "PARTITIONS", "ID"]);
                for info in keyspaces {
                    let name = escape::printable(info.name.as_bytes());
                    table.add_row([name, info.partitions.to_string(), info.id.to_string()]);
                }
                self.line(&table::render(&table))
            }
        }
    }
}

fn stamped(fields: Fields, stamp: Stamp) -> Fields {
    fields
        .row("version", stamp.version.to_string())
        .row("written", date(stamp.timestamp_ms))
}

fn condition_text(current: Option<Stamp>) -> String {
    match current {
        None => "condition failed: the key was never written".to_owned(),
        Some(stamp) => format!(
            "condition failed: the key's version is {}, of {}",
            stamp.version,
            date(stamp.timestamp_ms)
        ),
    }
}

/// A duration to the millisecond, in words.
fn duration_text(left: Duration) -> String {
    let whole_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(whole_ms)).to_string()
}

fn listed_table(keys: &[ListedKey], with_values: bool, first: bool) -> String {
    let mut names = vec!["KEY"];
    if with_values {
        names.push("VALUE");
    }
    names.extend(["VERSION", "WRITTEN", "EXPIRES"]);
    let mut table = if first {
        table::with_header(names)
    } else {
        table::new_table()
    };
    for key in keys {
        let mut row = vec![cell(&key.key)];
        if with_values {
            row.push(cell(key.value.as_deref().unwrap_or_default()));
        }
        row.push(key.stamp.version.to_string());
        row.push(date(key.stamp.timestamp_ms));
        row.push(key.expires_at_ms.map(date).unwrap_or_default());
        table.add_row(row);
    }
    table::render(&table)
}

#[cfg(test)]
mod tests {
    use super::super::testing::output;
    use super::*;

    const STAMP: Stamp = Stamp {
        version: 7,
        timestamp_ms: 1000,
    };

    fn printed(format: OutputFormat, reply: &Reply) -> String {
        let (mut output, captured) = output(format, false, false);
        output.reply(b"k", reply).unwrap();
        captured.text()
    }

    /// What a script captures with `$(…)` is the datum, with no words around it.
    #[test]
    fn raw_is_the_datum_alone() {
        let value = Bytes::from_static(b"v");
        let cases = [
            (
                Reply::Found {
                    value: value.clone(),
                    stamp: STAMP,
                },
                "v",
            ),
            (Reply::NotFound, ""),
            (
                Reply::Done {
                    stamp: STAMP,
                    old: None,
                },
                "",
            ),
            (
                Reply::Done {
                    stamp: STAMP,
                    old: Some(None),
                },
                "",
            ),
            (
                Reply::Done {
                    stamp: STAMP,
                    old: Some(Some(value.clone())),
                },
                "v",
            ),
            (
                Reply::ConditionFailed {
                    current: Some(STAMP),
                    value: Some(value),
                },
                "v",
            ),
            (
                Reply::Counter {
                    value: 42,
                    stamp: STAMP,
                },
                "42\n",
            ),
            (
                Reply::Length {
                    length: 9,
                    stamp: STAMP,
                },
                "9\n",
            ),
            (Reply::Ttl(Some(Duration::from_millis(1500))), "1500\n"),
            (Reply::Ttl(None), "none\n"),
            (Reply::Exists(false), "false\n"),
        ];
        for (reply, expected) in cases {
            assert_eq!(printed(OutputFormat::Raw, &reply), expected, "{reply:?}");
        }
    }

    /// A value with a newline or a terminal's control bytes must not break out of its column.
    #[test]
    fn tables_show_bytes_safely() {
        let text = printed(
            OutputFormat::Table,
            &Reply::Found {
                value: Bytes::from_static(b"a\nb\x1b"),
                stamp: STAMP,
            },
        );
        assert!(text.contains("a\\nb\\x1b"), "{text}");
        assert!(text.contains("version"), "{text}");
        assert!(text.contains("1970-01-01T00:00:01.000Z"), "{text}");
    }

    /// A raw scan is read line by line: a key that holds a newline must stay one line, and be given back by `--escape`.
    #[test]
    fn raw_lists_keep_to_their_lines() {
        let keys = [ListedKey {
            key: Bytes::from_static(b"a\nb"),
            value: Some(Bytes::from_static(b"\tv")),
            stamp: STAMP,
            expires_at_ms: None,
        }];
        let (mut plain, captured) = output(OutputFormat::Raw, false, false);
        plain.listed_keys(&keys, false, true).unwrap();
        assert_eq!(captured.text(), "a\\nb\n");
        let (mut valued, captured) = output(OutputFormat::Raw, false, false);
        valued.listed_keys(&keys, true, true).unwrap();
        assert_eq!(captured.text(), "a\\nb\t\\tv\n");
    }
}
