//! Latency against rate: where a sweep found the knee, and the goal as a line.

use super::{
    Plot, PlotError,
    axis::{Axis, Scale},
    draw,
    palette::Role,
    panel::{Panel, Rule, Series},
    remark,
};
use crate::{
    report::{
        condition::Figure,
        knee::{Highest, Point, Sweep},
        units::{round_count, round_micros},
    },
    results::{Pacing, Report},
};

const SIZE: (u32, u32) = (860, 450);

pub(super) fn plot(report: &Report, sweep: &Sweep) -> Result<Plot, PlotError> {
    let title = "Latency against rate";
    let of = |time: fn(&Point) -> f64| -> Vec<(f64, f64)> {
        let points = sweep.points.iter();
        points.map(|point| (point.rate, time(point))).collect()
    };
    let (figure, median) = (of(|point| point.time), of(|point| point.median));
    let bound = sweep.bound.into_iter();
    let times = figure.iter().chain(&median).map(|point| point.1);
    let y = Axis::times(times.chain(bound), Scale::Log);
    let x = Axis::from_zero(figure.iter().map(|point| point.0), round_count);
    let trusted: Vec<bool> = sweep.points.iter().map(|point| point.trusted).collect();
    let closed = report
        .runs
        .iter()
        .all(|run| run.pacing == Pacing::ClosedLoop);
    let x_name = if closed {
        "operations a second answered"
    } else {
        "operations a second asked for"
    };
    let mut panel = Panel::new(title, x, x_name, y, "response time");
    panel.remark = remark(&report.runs);
    panel
        .series
        .push(line(sweep.figure.to_string(), 0, figure, trusted.clone()));
    if sweep.figure != Figure::Percentile(50.0) {
        panel
            .series
            .push(line("p50".to_owned(), 2, median, trusted));
    }
    if let Some(bound) = sweep.bound {
        panel.rules.push(Rule::Across {
            at: bound,
            words: format!("goal: {} under {}", sweep.figure, round_micros(bound)),
        });
    }
    if let Some(Highest::Reached { point, .. } | Highest::Beyond { point }) = &sweep.highest {
        let rate = sweep.points[*point].rate;
        panel.rules.push(Rule::Up {
            at: rate,
            words: format!("highest within the goal: {}/s", round_count(rate)),
        });
    }
    if let Ok(knee) = sweep.knee {
        let point = &sweep.points[knee];
        panel.marks.push((
            point.rate,
            point.time,
            format!("knee: {}/s", round_count(point.rate)),
        ));
    }
    let caption = "Each dot is a step of the sweep. Left of the knee more load costs little; right of it, requests queue. Latencies at hollow dots can't be claimed.".to_owned();
    draw("latency-by-rate", title, caption, SIZE, |area| {
        panel.draw(area)
    })
}

fn line(name: String, color: usize, points: Vec<(f64, f64)>, dots: Vec<bool>) -> Series {
    Series {
        name,
        role: Role::Series(color),
        points,
        dashed: false,
        dots,
    }
}
