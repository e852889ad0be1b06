//! p50 and p99 side by side: hot and cold keys, and the server's cores.

use super::{
    Plot, PlotError,
    axis::{Axis, Scale},
    draw,
    palette::Role,
    panel::{Bar, Panel},
    remark,
};
use crate::{
    report::{
        names,
        units::{micros, round_micros},
    },
    results::{Latency, Run},
};

const SIZE: (u32, u32) = (860, 360);
/// More groups than this leave no room for figures on the bars.
const FIGURES_MAX: usize = 8;
/// More groups than this leave no room for a name under each.
const NAMES_MAX: usize = 16;
/// Share of a group's room that one bar takes.
const BAR_WIDTH: f64 = 0.32;

pub(super) fn plot(run: &Run) -> Result<Option<Plot>, PlotError> {
    let groups: Vec<&Latency> = run
        .latencies
        .iter()
        .filter(|latency| latency.operation.is_none() && latency.response.count > 0)
        .filter(|latency| latency.heat.is_some() != latency.server_core.is_some())
        .collect();
    if groups.len() < 2 {
        return Ok(None);
    }
    let every = groups.len().div_ceil(NAMES_MAX);
    let x = Axis {
        from: 0.0,
        to: groups.len() as f64,
        scale: Scale::Linear,
        ticks: groups
            .iter()
            .enumerate()
            .step_by(every)
            .map(|(index, latency)| (index as f64 + 0.5, names::scope(latency)))
            .collect(),
    };
    let y = Axis::from_zero(
        groups.iter().map(|latency| latency.response.p99 * 1.04),
        round_micros,
    );
    let title = "p50 and p99 by heat of the key and by server core";
    let mut panel = Panel::new(title, x, "keys", y, "response time");
    panel.remark = remark([run]);
    panel.bar_names = vec![
        ("p50".to_owned(), Role::Series(0)),
        ("p99".to_owned(), Role::Series(1)),
    ];
    for (index, latency) in groups.iter().enumerate() {
        let middle = index as f64 + 0.5;
        let figures = [(latency.response.p50, 0), (latency.response.p99, 1)];
        for (us, color) in figures {
            let from = middle + (color as f64 - 1.0) * BAR_WIDTH;
            panel.bars.push(Bar {
                from: from + 0.01,
                to: from + BAR_WIDTH - 0.01,
                height: us,
                role: Role::Series(color),
                figure: if groups.len() <= FIGURES_MAX {
                    micros(us)
                } else {
                    String::new()
                },
            });
        }
    }
    let caption = "Cores that differ much do not share the load evenly: look for a key or a connection that weighs too much.".to_owned();
    draw("latency-by-heat-and-core", title, caption, SIZE, |area| {
        panel.draw(area)
    })
    .map(Some)
}
