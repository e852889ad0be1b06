//! A comparison as text.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table};

use super::{Comparison, Row, StepComparison, Verdict};
use crate::report::{
    terminal::table,
    units::{count, micros, thousands},
};

/// The comparison for a terminal.
#[must_use]
pub fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    for (name, side) in [("before", &comparison.before), ("after", &comparison.after)] {
        let _ = writeln!(
            text,
            "{name:6}  {}, {}: {} {}, started {}",
            side.server,
            side.durability,
            side.runs,
            if side.runs == 1 { "run" } else { "runs" },
            side.started_at
        );
    }
    for warning in &comparison.warnings {
        let _ = writeln!(text, "note    {warning}");
    }
    for step in &comparison.steps {
        let _ = write!(text, "\n{}\n{}\n", heading(step), step_table(step));
    }
    if comparison.steps.is_empty() {
        text.push_str("\nNothing was asked alike in both: compare results of the same rate.\n");
    }
    let rows = || comparison.steps.iter().flat_map(|step| &step.rows);
    let of = |verdict: Verdict| rows().filter(|row| row.verdict == verdict).count();
    text.push('\n');
    if rows().any(|row| row.verdict == Verdict::Unknown) {
        text.push_str(
            "Nothing can be said about noise: that takes two runs or more on each side; measure with --runs 5.\n",
        );
    }
    let judged = of(Verdict::Better) + of(Verdict::Worse) + of(Verdict::Noise);
    if judged > 0 {
        let _ = writeln!(
            text,
            "Of {judged} figures {} better, {} worse, {} noise. If nothing had changed, about {} of them would still look changed (95 % intervals, Welch's t over runs).",
            of(Verdict::Better),
            of(Verdict::Worse),
            of(Verdict::Noise),
            comparison.expected_by_chance.ceil()
        );
    }
    text
}

fn heading(step: &StepComparison) -> String {
    format!(
        "{} ({} runs before, {} after)",
        step.label, step.runs_before, step.runs_after
    )
}

fn step_table(step: &StepComparison) -> String {
    let mut table: Table = table::with_header([
        "",
        "FIGURE",
        "BEFORE",
        "AFTER",
        "CHANGE",
        "95 % INTERVAL",
        "VERDICT",
    ]);
    for row in &step.rows {
        let share = |difference: f64| {
            if row.before == 0.0 {
                signed(row, difference)
            } else {
                // Adding zero makes a negative zero positive.
                let percentage = (difference / row.before * 1_000.0).round() / 10.0 + 0.0;
                format!("{percentage:+.1} %")
            }
        };
        table.add_row([
            row.scope.clone(),
            row.figure.clone(),
            plain(row, row.before),
            plain(row, row.after),
            share(row.difference),
            row.interval.map_or_else(String::new, |[low, high]| {
                format!("{} … {}", share(low), share(high))
            }),
            verdict(row.verdict).to_owned(),
        ]);
    }
    for column in 2..=5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table::render(&table)
}

fn plain(row: &Row, value: f64) -> String {
    match row.unit {
        "us" => micros(value),
        "operations/s" => format!("{}/s", count(value)),
        _ if value.fract() == 0.0 => thousands(value as u64),
        _ => format!("{value:.1}"),
    }
}

fn signed(row: &Row, difference: f64) -> String {
    let sign = if difference < 0.0 { "-" } else { "+" };
    format!("{sign}{}", plain(row, difference.abs()))
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Noise => "noise",
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::Unknown => "unknown",
    }
}
