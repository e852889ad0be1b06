//! Columns for people, without lines between them, as `corduroy-cli` has them.

use comfy_table::{ContentArrangement, Row, Table, presets};

/// A table with a line of names over it, as wide as the terminal.
pub(crate) fn with_header<T: Into<Row>>(columns: u16, names: T) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(columns)
        .set_header(names);
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
