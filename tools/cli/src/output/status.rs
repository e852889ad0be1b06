//! The node's status for people.
//!
//! What a status holds is the server's business and grows with it; this page knows only JSON. Single values become rows of
//! name and value, with a dot between the names of nested ones; a list of objects becomes a table with a row each and a column for each
//! name that any of them has. So a new figure of the server is shown by an old client.

use super::table;
use super::{Output, OutputFormat};
use crate::text::escape;
use serde_json::Value;
use std::io;

/// Prints the server's answer to `status`, which is JSON text. What is no JSON is printed as it came.
pub(crate) fn print_status(output: &mut Output, text: &str) -> io::Result<()> {
    match (output.format, serde_json::from_str::<Value>(text)) {
        (OutputFormat::Raw, _) | (_, Err(_)) => output.line(text),
        (OutputFormat::Json, Ok(status)) => output.json(&status),
        (OutputFormat::Table, Ok(status)) => {
            let text = status_text(&status);
            output.line(&text)
        }
    }
}

fn status_text(status: &Value) -> String {
    let mut singles = Vec::new();
    let mut lists = Vec::new();
    flatten("", status, &mut singles, &mut lists);
    let mut sections = Vec::new();
    if !singles.is_empty() {
        let mut rows = table::new_table();
        for (name, value) in singles {
            rows.add_row([name, value]);
        }
        sections.push(table::render(&rows));
    }
    for (name, items) in lists {
        sections.push(format!("{name}\n{}", list_text(items)));
    }
    sections.join("\n\n")
}

/// Sorts what `value` holds into single values and lists of objects, by their dotted names.
fn flatten<'a>(
    name: &str,
    value: &'a Value,
    singles: &mut Vec<(String, String)>,
    lists: &mut Vec<(String, &'a [Value])>,
) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                flatten(&dotted(name, member), value, singles, lists);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            lists.push((escape::printable(name.as_bytes()), items));
        }
        other => singles.push((escape::printable(name.as_bytes()), single_text(other))),
    }
}

fn list_text(items: &[Value]) -> String {
    let rows: Vec<Vec<(String, String)>> = items
        .iter()
        .map(|item| {
            let (mut singles, mut lists) = (Vec::new(), Vec::new());
            flatten("", item, &mut singles, &mut lists);
            singles.extend(
                lists
                    .into_iter()
                    .map(|(name, items)| (name, format!("({} items)", items.len()))),
            );
            singles
        })
        .collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut table = table::with_header(names.clone());
    for row in &rows {
        table.add_row(names.iter().map(|name| {
            row.iter()
                .find(|(own, _)| own == *name)
                .map_or("", |(_, value)| value)
        }));
    }
    table::render(&table)
}

fn dotted(name: &str, member: &str) -> String {
    if name.is_empty() {
        member.to_owned()
    } else {
        format!("{name}.{member}")
    }
}

fn single_text(value: &Value) -> String {
    match value {
        Value::String(text) => escape::printable(text.as_bytes()),
        Value::Array(items) => items.iter().map(single_text).collect::<Vec<_>>().join(", "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::output;
    use super::*;

    const STATUS: &str = r#"{"server":"corduroy/0.1.0","disk":{"free_bytes":12},
        "shards":[{"shard":0,"keys":5,"latency":{"get_us":{"p50":1}}},{"shard":1,"keys":6,"odd":"x\u001b"}]}"#;

    /// An operator of a newer server must see its new figures, whatever they are called, and its tables stay tables.
    #[test]
    fn shows_whatever_is_there() {
        let text = status_text(&serde_json::from_str(STATUS).unwrap());
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        for expected in [
            &["disk.free_bytes", "12"][..],
            &["server", "corduroy/0.1.0"],
            &["shards"],
            &["keys", "latency.get_us.p50", "shard", "odd"],
            &["5", "1", "0"],
            &["6", "1", "x\\x1b"],
        ] {
            assert!(
                words.iter().any(|line| line == expected),
                "{expected:?} is missing in\n{text}"
            );
        }
    }

    /// A status that is no JSON would be a fault of the server; hiding what it said would not help to find it.
    #[test]
    fn what_is_no_json_is_shown_as_it_came() {
        for format in [OutputFormat::Table, OutputFormat::Json, OutputFormat::Raw] {
            let (mut output, captured) = output(format, false, false);
            print_status(&mut output, "not json").unwrap();
            assert_eq!(captured.text(), "not json\n");
        }
    }
}
