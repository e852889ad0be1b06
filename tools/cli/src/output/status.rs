//! The node's status for people.
//!
//! What a status holds is the server's business and grows with it; this page knows only JSON. Single values become rows of
//! name and value, with a dot between the names of nested ones; a list of objects becomes a table with a column each and a row for each name
//! that any of them has, because a shard has many figures and a node few shards. Lists inside go on in the same way, each object under the
//! text that names it; those that are all zeros are left out. So a new figure of the server is shown by an old client.

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
    let columns: Vec<Vec<(String, String)>> = items.iter().map(figures).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in columns.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut table = table::new_table();
    for name in names {
        let figure = |column: &Vec<(String, String)>| {
            let found = column.iter().find(|(own, _)| own == name);
            found.map_or(String::new(), |(_, value)| value.clone())
        };
        table.add_row(std::iter::once(name.clone()).chain(columns.iter().map(figure)));
    }
    table::render(&table)
}

/// The figures of one object, those of the lists in it included.
fn figures(item: &Value) -> Vec<(String, String)> {
    let (mut singles, mut lists) = (Vec::new(), Vec::new());
    flatten("", item, &mut singles, &mut lists);
    for (name, items) in lists {
        for (number, item) in items
            .iter()
            .enumerate()
            .filter(|(_, item)| !is_all_zeros(item))
        {
            let label = label_of(item).map_or_else(
                || number.to_string(),
                |label| escape::printable(label.as_bytes()),
            );
            let under = dotted(&name, &label);
            let inner = figures(item).into_iter();
            singles.extend(inner.map(|(name, value)| (dotted(&under, &name), value)));
        }
    }
    singles
}

/// What names an object: the first text in it.
fn label_of(item: &Value) -> Option<&str> {
    item.as_object()?.values().find_map(Value::as_str)
}

/// Whether an object's numbers are all zeros: nothing has happened there.
fn is_all_zeros(item: &Value) -> bool {
    let numbers = item
        .as_object()
        .into_iter()
        .flat_map(|members| members.values())
        .filter_map(Value::as_f64);
    numbers
        .map(|number| number == 0.0)
        .reduce(|all, zero| all && zero)
        .unwrap_or(false)
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
        "shards":[{"shard":0,"keys":5,"latency":{"get_us":{"p50":1}}},{"shard":1,"keys":6,"odd":"x\u001b",
        "requests":[{"kind":"get","count":3},{"kind":"put","count":0}]}]}"#;

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
            &["keys", "5", "6"],
            &["latency.get_us.p50", "1"],
            &["shard", "0", "1"],
            &["odd", "x\\x1b"],
            &["requests.get.count", "3"],
        ] {
            assert!(
                words.iter().any(|line| line == expected),
                "{expected:?} is missing in\n{text}"
            );
        }
        assert!(!text.contains("put"), "nothing was put\n{text}");
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
