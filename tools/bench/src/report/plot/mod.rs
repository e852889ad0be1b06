//! Plots as SVG: latency over percentile, throughput and latency over time, latency against rate, and bars by heat and core.
//!
//! A plot is drawn once (`panel`) and shown in light and dark by its style sheet (`palette`). No font is read and no file: text is drawn by whoever
//! shows the SVG, in its sans serif.

pub(crate) mod axis;
pub(crate) mod palette;
mod panel;

mod bars;
mod percentiles;
mod rates;
mod time;

use plotters::prelude::{IntoDrawingArea, SVGBackend};

pub(crate) use percentiles::percentile_points;

use super::{CLOSED_LOOP, condition::Slo, knee, steps::steps};
use crate::results::{BadHistogram, Pacing, Report, Run};
use palette::Role;
use panel::{Area, SCALE, drawing};

/// The names of all plots that there are.
pub const NAMES: [&str; 5] = [
    "latency-by-rate",
    "latency-percentiles",
    "latency-by-kind",
    "latency-by-heat-and-core",
    "timeline",
];

/// A plot can't be drawn.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// A histogram of the report can't be read.
    #[error("{0}")]
    Histogram(#[from] BadHistogram),
    /// The plotting crate refuses.
    #[error("a plot can't be drawn: {0}")]
    Drawing(String),
}

/// A plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// A name for its file, without an ending: `latency-percentiles`.
    pub name: &'static str,
    /// How to read it, in a sentence or two.
    pub caption: String,
    /// What it shows, for those who can't see it.
    title: String,
    width: u32,
    height: u32,
    /// Between the `svg` tags.
    body: String,
}

/// All plots that a report bears.
///
/// # Errors
///
/// [`PlotError`] if a histogram of the report can't be read.
pub fn plots(report: &Report, slo: Option<&Slo>) -> Result<Vec<Plot>, PlotError> {
    let mut plots = Vec::new();
    if knee::is_sweep(report) {
        plots.push(rates::plot(report, &knee::sweep(report, slo)?)?);
    }
    plots.extend(percentiles::of_runs(report)?);
    if let [step] = &steps(report)[..] {
        let run = step.pooled()?;
        plots.extend(percentiles::of_scopes(&run)?);
        plots.extend(bars::plot(&run)?);
    }
    plots.extend(time::plot(report)?);
    Ok(plots)
}

impl Plot {
    /// A file of its own: with its size, and dark where the viewer's theme is.
    #[must_use]
    pub fn file(&self) -> String {
        let style = format!(
            "<style>svg.plot{{{}}}@media (prefers-color-scheme:dark){{svg.plot{{{}}}}}{}</style>",
            palette::light(),
            palette::dark(),
            palette::rules()
        );
        let size = format!(" width=\"{}\" height=\"{}\"", self.width, self.height);
        self.element(&size, &style)
    }

    /// Part of a page, which has the style sheet.
    #[must_use]
    pub fn inline(&self) -> String {
        self.element("", "")
    }

    fn element(&self, size: &str, style: &str) -> String {
        let title = escaped(&self.title);
        let scale = SCALE as u32;
        format!(
            "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{title}\"{size} viewBox=\"0 0 {} {}\"><title>{title}</title>{style}\n{}</svg>\n",
            self.width * scale,
            self.height * scale,
            self.body
        )
    }
}

/// Draws a plot of so many shown units.
fn draw(
    name: &'static str,
    title: &str,
    caption: String,
    (width, height): (u32, u32),
    content: impl FnOnce(&Area<'_>) -> Result<(), PlotError>,
) -> Result<Plot, PlotError> {
    let mut text = String::new();
    let scale = SCALE as u32;
    {
        let area =
            SVGBackend::with_string(&mut text, (width * scale, height * scale)).into_drawing_area();
        area.fill(&Role::Paper.color()).map_err(drawing)?;
        content(&area)?;
        area.present().map_err(drawing)?;
    }
    // Between the first tag's end and the last tag's beginning: the outer element is ours.
    let body = text
        .split_once('>')
        .and_then(|(_, rest)| rest.rsplit_once("</svg>"))
        .map(|(body, _)| body.trim_start().to_owned())
        .ok_or_else(|| PlotError::Drawing("no svg element came out".to_owned()))?;
    assert!(NAMES.contains(&name), "{name} would be left behind");
    Ok(Plot {
        name,
        caption,
        title: title.to_owned(),
        width,
        height,
        body,
    })
}

/// What must be said beside latencies of these runs.
fn remark<'a>(runs: impl IntoIterator<Item = &'a Run> + Clone) -> Option<(String, Role)> {
    if runs.clone().into_iter().any(|run| !run.generator.trusted) {
        let all = runs.clone().into_iter().all(|run| !run.generator.trusted);
        let which = if all { "The" } else { "Some of the" };
        return Some((
            format!("{which} latencies can't be claimed: the generator did not keep up."),
            Role::Alarm,
        ));
    }
    runs.into_iter()
        .any(|run| run.pacing == Pacing::ClosedLoop)
        .then(|| (CLOSED_LOOP.to_owned(), Role::Faint))
}

/// Text inside of an attribute or an element.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
