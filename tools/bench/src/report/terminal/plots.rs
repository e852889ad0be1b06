//! Two plots of characters: latency over percentile, throughput over time.

use std::fmt::Write as _;

use super::canvas::Canvas;
use crate::{
    report::{
        CLOSED_LOOP, names,
        plot::axis::{Axis, Scale},
        units::round_count,
    },
    results::{BadHistogram, Pacing, Run},
};

/// Room left of the plot, for the figures of its axis.
const MARGIN: usize = 9;
/// No plot is narrower than this.
const COLUMNS_MIN: usize = 30;

/// Response time over percentile of all requests of a run, the percentiles on a scale of nines. Empty if nothing was measured.
///
/// # Errors
///
/// [`BadHistogram`] if the run's histogram can't be read.
pub fn percentile_plot(run: &Run, columns: u16, rows: u16) -> Result<String, BadHistogram> {
    let all = run
        .latencies
        .iter()
        .find(|latency| names::scope(latency) == "all");
    let Some(all) = all.filter(|all| all.response.count > 0) else {
        return Ok(String::new());
    };
    let points = crate::report::plot::percentile_points(&all.response)?;
    let mut title = "response time over percentile".to_owned();
    if !run.generator.trusted {
        title.push_str(", NOT to be claimed");
    } else if run.pacing == Pacing::ClosedLoop {
        title = format!("{title} ({CLOSED_LOOP})");
    }
    let x = Axis::nines(&points);
    let y = Axis::times(points.iter().map(|point| point.1), Scale::Log);
    Ok(plot(&title, &points, &x, &y, columns, rows))
}

/// Throughput over time of a run. Empty if it has no slices.
#[must_use]
pub fn timeline_plot(run: &Run, columns: u16, rows: u16) -> String {
    let slices = &run.timeline.slices;
    let length = run.timeline.slice_seconds;
    if slices.is_empty() || length <= 0.0 {
        return String::new();
    }
    let points: Vec<(f64, f64)> = slices
        .iter()
        .enumerate()
        .map(|(index, slice)| {
            (
                (index as f64 + 0.5) * length,
                slice.operations as f64 / length,
            )
        })
        .collect();
    let x = Axis::linear(0.0, slices.len() as f64 * length, |seconds| {
        format!("{} s", round_count(seconds))
    });
    let y = Axis::from_zero(points.iter().map(|point| point.1), |rate| {
        format!("{}/s", round_count(rate))
    });
    plot("throughput over time", &points, &x, &y, columns, rows)
}

fn plot(title: &str, points: &[(f64, f64)], x: &Axis, y: &Axis, columns: u16, rows: u16) -> String {
    let columns = usize::from(columns).max(COLUMNS_MIN) - MARGIN - 2;
    let rows = usize::from(rows).max(3);
    let mut canvas = Canvas::new(columns, rows);
    let placed: Vec<(f64, f64)> = points
        .iter()
        .map(|point| (x.share(point.0), y.share(point.1)))
        .collect();
    canvas.line(&placed);
    // The figure of a tick stands in the row that holds its dot.
    let mut figures = vec![""; rows];
    for (value, figure) in &y.ticks {
        let from_bottom = y.share(*value) * (rows * 4 - 1) as f64 / 4.0;
        if let Some(place) = (rows - 1).checked_sub(from_bottom as usize) {
            figures[place] = figure;
        }
    }
    let mut text = format!("{:MARGIN$}  {title}\n", "");
    for (line, figure) in canvas.lines().zip(figures) {
        let _ = writeln!(
            text,
            "{figure:>MARGIN$} │{}",
            line.trim_end_matches('\u{2800}')
        );
    }
    let _ = writeln!(text, "{:MARGIN$} └{}", "", "─".repeat(columns));
    let _ = writeln!(text, "{:MARGIN$}  {}", "", tick_line(x, columns).trim_end());
    text
}

/// The figures of the lower axis, each centred under its tick where there is room.
fn tick_line(axis: &Axis, columns: usize) -> String {
    let mut line: Vec<char> = vec![' '; columns];
    let mut free_from = 0;
    for (value, figure) in &axis.ticks {
        let width = figure.chars().count();
        let at = (axis.share(*value) * (columns - 1) as f64).round() as usize;
        let start = at
            .saturating_sub(width / 2)
            .min(columns.saturating_sub(width));
        if start < free_from || start + width > columns {
            continue;
        }
        for (offset, character) in figure.chars().enumerate() {
            line[start + offset] = character;
        }
        free_from = start + width + 1;
    }
    line.into_iter().collect()
}
