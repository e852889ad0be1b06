//! Latency over percentile, on a scale of nines: the tail takes as much room as the body.

use super::{
    Plot, PlotError,
    axis::{Axis, Scale},
    draw,
    palette::{Role, SERIES_MAX},
    panel::{Panel, Series},
    remark,
};
use crate::{
    report::{names, steps::steps},
    results::{BadHistogram, Distribution, Pacing, Report, Run},
};

/// Points a nine.
const POINTS_A_NINE: u32 = 40;
const SIZE: (u32, u32) = (860, 430);

/// Pairs of percentile and microseconds, as far as there are values.
pub(crate) fn percentile_points(
    distribution: &Distribution,
) -> Result<Vec<(f64, f64)>, BadHistogram> {
    if distribution.count == 0 {
        return Ok(Vec::new());
    }
    let histogram = distribution.histogram()?;
    let nines = (distribution.count as f64).log10();
    let last = (nines * f64::from(POINTS_A_NINE)).floor() as u32;
    let mut points: Vec<(f64, f64)> = (0..=last)
        .map(|point| {
            let share = 1.0 - 10_f64.powf(-f64::from(point) / f64::from(POINTS_A_NINE));
            let us = histogram.value_at_quantile(share) as f64 / 1_000.0;
            (share * 100.0, us)
        })
        .collect();
    points.push((100.0 - 100.0 / distribution.count as f64, distribution.max));
    Ok(points)
}

/// Of all requests: a line a step; of repetitions a line each; of a single run response and service time.
pub(super) fn of_runs(report: &Report) -> Result<Option<Plot>, PlotError> {
    let steps = steps(report);
    let mut lines = Vec::new();
    let mut left_out = String::new();
    match &steps[..] {
        [] => return Ok(None),
        [only] if only.runs.len() == 1 => {
            let run = only.runs[0];
            let all = all(run);
            if run.pacing == Pacing::ClosedLoop {
                lines.push(line("service time", 0, &all.1)?);
            } else {
                lines.push(line("response time, from the intended start", 0, &all.0)?);
                let mut service = line("service time, from sending", 1, &all.1)?;
                service.dashed = true;
                lines.push(service);
            }
        }
        [only] => {
            let chosen = spread(only.runs.len());
            left_out = omitted(chosen.len(), only.runs.len());
            for (color, index) in chosen.into_iter().enumerate() {
                let run = only.runs[index];
                lines.push(line(&run.label, color, &all(run).0)?);
            }
        }
        several => {
            let chosen = spread(several.len());
            left_out = omitted(chosen.len(), several.len());
            for (color, index) in chosen.into_iter().enumerate() {
                let run = several[index].pooled()?;
                lines.push(line(&run.label, color, &all(&run).0)?);
            }
        }
    }
    let caption = format!(
        "Each step to the right is ten times rarer. A line that stays low to the right is a server without stalls.{left_out}"
    );
    percentile_plot(
        "latency-percentiles",
        "Latency over percentile, all requests",
        caption,
        lines,
        &report.runs,
    )
}

/// Of one run (or several pooled): apart by operation and by heat.
pub(super) fn of_scopes(run: &Run) -> Result<Option<Plot>, PlotError> {
    let apart = run
        .latencies
        .iter()
        .filter(|latency| latency.server_core.is_none() && latency.response.count > 0)
        .filter(|latency| latency.operation.is_some() != latency.heat.is_some())
        .take(SERIES_MAX);
    let mut lines = Vec::new();
    for (color, latency) in apart.enumerate() {
        let mut series = line(&names::scope(latency), color, &latency.response)?;
        series.dashed = latency.heat.is_some();
        lines.push(series);
    }
    if lines.len() < 2 {
        return Ok(None);
    }
    percentile_plot(
        "latency-by-kind",
        "Latency over percentile, by operation and by heat of the key",
        "Dashed lines are hot and cold keys, whatever was done with them.".to_owned(),
        lines,
        std::slice::from_ref(run),
    )
}

fn percentile_plot(
    name: &'static str,
    title: &str,
    caption: String,
    lines: Vec<Series>,
    runs: &[Run],
) -> Result<Option<Plot>, PlotError> {
    let points: Vec<(f64, f64)> = lines.iter().flat_map(|line| line.points.clone()).collect();
    if points.is_empty() {
        return Ok(None);
    }
    let x = Axis::nines(&points);
    let y = Axis::times(points.iter().map(|point| point.1), Scale::Log);
    let mut panel = Panel::new(title, x, "percentile of requests", y, "time a request took");
    panel.remark = remark(runs);
    panel.series = lines;
    draw(name, title, caption, SIZE, |area| panel.draw(area)).map(Some)
}

fn line(name: &str, color: usize, of: &Distribution) -> Result<Series, BadHistogram> {
    Ok(Series {
        name: name.to_owned(),
        role: Role::Series(color),
        points: percentile_points(of)?,
        dashed: false,
        dots: Vec::new(),
    })
}

/// Response and service time of all requests.
fn all(run: &Run) -> (Distribution, Distribution) {
    run.latencies
        .iter()
        .find(|latency| names::scope(latency) == "all")
        .map(|latency| (latency.response.clone(), latency.service.clone()))
        .unwrap_or_default()
}

/// As many of so many as can be told apart: evenly spread, with the first and the last.
pub(super) fn spread(count: usize) -> Vec<usize> {
    if count <= SERIES_MAX {
        return (0..count).collect();
    }
    (0..SERIES_MAX)
        .map(|index| index * (count - 1) / (SERIES_MAX - 1))
        .collect()
}

/// A sentence on those that are not shown.
pub(super) fn omitted(shown: usize, of: usize) -> String {
    if shown == of {
        String::new()
    } else {
        format!(" {shown} of {of} lines are shown.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_shown() {
        assert_eq!(spread(3), [0, 1, 2]);
        let chosen = spread(20);
        assert_eq!(chosen.len(), SERIES_MAX);
        assert_eq!((chosen[0], chosen[SERIES_MAX - 1]), (0, 19));
    }
}
