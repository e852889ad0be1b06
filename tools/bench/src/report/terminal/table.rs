//! Columns for people, without lines between them, as `corduroy-cli` has them.
//!
//! Figures are never broken over lines: where the terminal is too narrow, it breaks the row itself, and what is copied or piped stays whole.

use comfy_table::{CellAlignment, ContentArrangement, Row, Table, presets};

/// A table with a line of names over it.
pub(crate) fn with_header<T: Into<Row>>(names: T) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(names);
    table
}

/// Aligns the columns from this one on to the right.
pub(crate) fn right_align(table: &mut Table, columns: std::ops::RangeFrom<usize>) {
    for column in table.column_iter_mut().skip(columns.start) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// The table as lines without blanks at their ends, and without a last newline.
pub(crate) fn render(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}
