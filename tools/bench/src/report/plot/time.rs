//! Throughput and latency over time, one above the other: a stall shows as a dent above and a peak below.

use super::{
    Plot, PlotError,
    axis::{Axis, Scale},
    draw,
    palette::Role,
    panel::{Panel, SCALE, Series},
    percentiles::{omitted, spread},
    remark,
};
use crate::{
    report::units::round_count,
    results::{Report, Run, Slice},
};

const WIDTH: u32 = 860;
const UPPER: u32 = 270;
const LOWER: u32 = 320;
/// A latency of so many times another needs a logarithmic axis.
const LINEAR_MAX: f64 = 20.0;

pub(super) fn plot(report: &Report) -> Result<Option<Plot>, PlotError> {
    let with_slices: Vec<&Run> = report
        .runs
        .iter()
        .filter(|run| run.timeline.slices.len() > 1 && run.timeline.slice_seconds > 0.0)
        .collect();
    if with_slices.is_empty() {
        return Ok(None);
    }
    let chosen = spread(with_slices.len());
    let left_out = omitted(chosen.len(), with_slices.len());
    let runs: Vec<&Run> = chosen.into_iter().map(|index| with_slices[index]).collect();
    let upper = throughput(&runs);
    let lower = latency(&runs);
    let slice = runs[0].timeline.slice_seconds;
    let caption = format!(
        "Each point is a slice of {}; time begins at the start of each run's measured window.{left_out}",
        crate::report::units::seconds(slice)
    );
    let title = "Throughput and latency over time";
    draw("timeline", title, caption, (WIDTH, UPPER + LOWER), |area| {
        let (top, bottom) = area.split_vertically(UPPER as i32 * SCALE);
        upper.draw(&top)?;
        lower.draw(&bottom)
    })
    .map(Some)
}

fn throughput(runs: &[&Run]) -> Panel {
    let series: Vec<Series> = runs
        .iter()
        .enumerate()
        .map(|(color, run)| {
            let length = run.timeline.slice_seconds;
            let name = if runs.len() > 1 {
                run.label.clone()
            } else {
                String::new()
            };
            series(name, color, run, |slice| {
                Some(slice.operations as f64 / length)
            })
        })
        .collect();
    let rates = values(&series);
    let y = Axis::from_zero(rates.into_iter(), round_count);
    let mut panel = Panel::new(
        "Throughput over time",
        seconds_axis(runs),
        "seconds",
        y,
        "operations a second",
    );
    panel.series = series;
    panel
}

fn latency(runs: &[&Run]) -> Panel {
    let (title, series) = if let [run] = runs {
        let lines = [
            series("p50".to_owned(), 0, run, |slice| answered(slice, slice.p50)),
            series("p99".to_owned(), 1, run, |slice| answered(slice, slice.p99)),
            series("max".to_owned(), 3, run, |slice| answered(slice, slice.max)),
        ];
        ("Response times over time", Vec::from(lines))
    } else {
        let lines = runs.iter().enumerate();
        (
            "p99 of response times over time",
            lines
                .map(|(color, run)| {
                    series(run.label.clone(), color, run, |slice| {
                        answered(slice, slice.p99)
                    })
                })
                .collect(),
        )
    };
    let times = values(&series);
    let greatest = times.iter().copied().fold(0.0, f64::max);
    let least = times
        .iter()
        .copied()
        .filter(|time| *time > 0.0)
        .fold(f64::INFINITY, f64::min);
    let scale = if greatest > least * LINEAR_MAX {
        Scale::Log
    } else {
        Scale::Linear
    };
    let y = Axis::times(times.into_iter(), scale);
    let mut panel = Panel::new(title, seconds_axis(runs), "seconds", y, "response time");
    panel.remark = remark(runs.iter().copied());
    panel.series = series;
    panel
}

fn seconds_axis(runs: &[&Run]) -> Axis {
    let longest = runs
        .iter()
        .map(|run| run.timeline.slices.len() as f64 * run.timeline.slice_seconds)
        .fold(0.0, f64::max);
    Axis::linear(0.0, longest, round_count)
}

/// A point in the middle of each slice that has a value.
fn series(name: String, color: usize, run: &Run, value: impl Fn(&Slice) -> Option<f64>) -> Series {
    let slices = run.timeline.slices.iter().enumerate();
    Series {
        name,
        role: Role::Series(color),
        points: slices
            .filter_map(|(index, slice)| {
                let middle = (index as f64 + 0.5) * run.timeline.slice_seconds;
                Some((middle, value(slice)?))
            })
            .collect(),
        dashed: false,
        dots: Vec::new(),
    }
}

/// A slice in which nothing was answered has no latency.
fn answered(slice: &Slice, us: f64) -> Option<f64> {
    (slice.operations > 0).then_some(us)
}

fn values(series: &[Series]) -> Vec<f64> {
    series
        .iter()
        .flat_map(|series| series.points.iter().map(|point| point.1))
        .collect()
}
