//! Columns for people, without lines between them: what is printed can be cut with a mouse and read by `awk`.

use crate::limits;
use comfy_table::{ContentArrangement, Row, Table, presets};
use std::fmt;

/// Rows of name and value.
#[derive(Default)]
pub(crate) struct Fields {
    rows: Vec<(&'static str, String)>,
}

impl Fields {
    /// Adds a row.
    pub(crate) fn row(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.rows.push((name, value.into()));
        self
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = new_table();
        for (name, value) in &self.rows {
            table.add_row([*name, value]);
        }
        formatter.write_str(&render(&table))
    }
}

/// An empty table in our style, as wide as the terminal.
pub(crate) fn new_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    // Serial lines and some containers' terminals say that they have no columns at all.
    if table
        .width()
        .is_none_or(|width| width < limits::TABLE_WIDTH_MIN)
    {
        table.set_width(limits::TABLE_WIDTH_DEFAULT);
    }
    table
}

/// A table with a line of names over it.
pub(crate) fn with_header<T: Into<Row>>(names: T) -> Table {
    let mut table = new_table();
    table.set_header(names);
    table
}

/// The table as lines without blanks at their ends, and without a last newline.
pub(crate) fn render(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blanks at the ends of lines make a diff of two outputs differ where nothing does.
    #[test]
    fn no_blanks_at_the_ends() {
        let text = Fields::default()
            .row("value", "hello")
            .row("a longer name", "")
            .to_string();
        for line in text.lines() {
            assert_eq!(line, line.trim_end());
        }
        assert!(text.contains("hello"));
    }
}
