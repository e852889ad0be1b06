//! One panel of a plot: a title, a legend above the axes where it covers nothing, axes with units, lines, bars and marks.
//!
//! The plotting crate places things by whole units, so everything is drawn four times as large as it is shown: lines stay smooth. It can't measure text
//! either, for which it would need a font; the legend's widths are estimated with room to spare.

use std::ops::Range;

use plotters::{
    coord::{
        Shift,
        ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    },
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{PlotError, axis::Axis, palette::Role};

/// Drawn units of one that is shown.
pub(super) const SCALE: i32 = 4;
/// The plotting crate writes sizes of text divided by this.
const FONT_FACTOR: f64 = 1.24;
/// Width of a character over the size of its text, on average and with room to spare.
const CHARACTER_WIDTH: f64 = 0.58;
const TITLE_SIZE: i32 = 15;
const TEXT_SIZE: i32 = 12;
const MARGIN: i32 = 14;
const LEGEND_LINE: i32 = 19;
const SWATCH: i32 = 18;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A line.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) dashed: bool,
    /// A dot at each point, if there are any: filled or hollow.
    pub(super) dots: Vec<bool>,
}

/// A bar from zero, with a figure on top.
pub(super) struct Bar {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) height: f64,
    pub(super) role: Role,
    pub(super) figure: String,
}

/// A line across the whole panel, with words on it.
pub(super) enum Rule {
    Across { at: f64, words: String },
    Up { at: f64, words: String },
}

/// What a panel shows.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) remark: Option<(String, Role)>,
    pub(super) x: Axis,
    pub(super) x_name: String,
    pub(super) y: Axis,
    pub(super) y_name: String,
    pub(super) series: Vec<Series>,
    pub(super) bars: Vec<Bar>,
    /// Names of bars in the legend.
    pub(super) bar_names: Vec<(String, Role)>,
    pub(super) rules: Vec<Rule>,
    /// Points that are ringed, with words.
    pub(super) marks: Vec<(f64, f64, String)>,
}

impl Panel {
    pub(super) fn new(title: &str, x: Axis, x_name: &str, y: Axis, y_name: &str) -> Panel {
        Panel {
            title: title.to_owned(),
            remark: None,
            x,
            x_name: x_name.to_owned(),
            y,
            y_name: y_name.to_owned(),
            series: Vec::new(),
            bars: Vec::new(),
            bar_names: Vec::new(),
            rules: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Draws it into an area.
    pub(super) fn draw(&self, area: &Area<'_>) -> Result<(), PlotError> {
        let top = self.draw_head(area)?;
        let mut builder = ChartBuilder::on(area);
        let mut chart = builder
            .margin_top(top)
            .margin_right(MARGIN * 2 * SCALE)
            .margin_left(MARGIN * SCALE / 2)
            .margin_bottom(6 * SCALE)
            .x_label_area_size(44 * SCALE)
            .y_label_area_size(84 * SCALE)
            .build_cartesian_2d(self.x.clone(), self.y.clone())
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .bold_line_style(Role::Grid.color().stroke_width(SCALE as u32))
            .light_line_style(TRANSPARENT)
            .axis_style(Role::Faint.color().stroke_width(SCALE as u32))
            .label_style(text(TEXT_SIZE, Role::Faint))
            .axis_desc_style(text(TEXT_SIZE, Role::Ink))
            .set_all_tick_mark_size(5 * SCALE)
            .x_desc(self.x_name.as_str())
            .y_desc(self.y_name.as_str())
            .draw()
            .map_err(drawing)?;
        for bar in &self.bars {
            let corners = [(bar.from, 0.0), (bar.to, bar.height)];
            chart
                .draw_series([Rectangle::new(corners, bar.role.color().filled())])
                .map_err(drawing)?;
            let style = text(TEXT_SIZE - 1, Role::Ink).pos(Pos::new(HPos::Center, VPos::Bottom));
            let place = ((bar.from + bar.to) / 2.0, bar.height);
            chart
                .draw_series([Text::new(bar.figure.clone(), place, style)])
                .map_err(drawing)?;
        }
        for series in &self.series {
            let style = series.role.color().stroke_width(2 * SCALE as u32);
            let points = || series.points.iter().copied();
            if series.dashed {
                let dashes =
                    DashedLineSeries::new(points(), (6 * SCALE) as u32, (4 * SCALE) as u32, style);
                chart.draw_series(dashes).map_err(drawing)?;
            } else {
                chart
                    .draw_series(LineSeries::new(points(), style))
                    .map_err(drawing)?;
            }
            for (point, filled) in points().zip(&series.dots) {
                let whole = Circle::new(point, 3 * SCALE, series.role.color().filled());
                chart.draw_series([whole]).map_err(drawing)?;
                if !filled {
                    let hole = Circle::new(point, 2 * SCALE, Role::Paper.color().filled());
                    chart.draw_series([hole]).map_err(drawing)?;
                }
            }
        }
        for rule in &self.rules {
            let (ends, place, words, pos) = match rule {
                Rule::Across { at, words } => (
                    [(self.x.from, *at), (self.x.to, *at)],
                    (self.x.from, *at),
                    format!("\u{a0}{words}"),
                    Pos::new(HPos::Left, VPos::Bottom),
                ),
                Rule::Up { at, words } => (
                    [(*at, self.y.from), (*at, self.y.to)],
                    (*at, self.y.to),
                    format!("{words}\u{a0}"),
                    Pos::new(HPos::Right, VPos::Top),
                ),
            };
            let style = Role::Alarm.color().stroke_width(SCALE as u32);
            chart
                .draw_series(DashedLineSeries::new(
                    ends,
                    (3 * SCALE) as u32,
                    (3 * SCALE) as u32,
                    style,
                ))
                .map_err(drawing)?;
            chart
                .draw_series([Text::new(
                    words,
                    place,
                    text(TEXT_SIZE, Role::Alarm).pos(pos),
                )])
                .map_err(drawing)?;
        }
        for (x, y, words) in &self.marks {
            let ring = Role::Ink.color().stroke_width(2 * SCALE as u32);
            chart
                .draw_series([Circle::new((*x, *y), 7 * SCALE, ring)])
                .map_err(drawing)?;
            let style = text(TEXT_SIZE, Role::Ink).pos(Pos::new(HPos::Right, VPos::Bottom));
            let left = EmptyElement::at((*x, *y))
                + Text::new(words.clone(), (-9 * SCALE, -6 * SCALE), style);
            chart.draw_series([left]).map_err(drawing)?;
        }
        Ok(())
    }

    /// Title, remark and legend. Gives the height that they take up.
    fn draw_head(&self, area: &Area<'_>) -> Result<i32, PlotError> {
        let left = MARGIN * SCALE;
        let mut y = MARGIN * SCALE;
        let title = text(TITLE_SIZE, Role::Ink).pos(Pos::new(HPos::Left, VPos::Top));
        area.draw(&Text::new(self.title.clone(), (left, y), title))
            .map_err(drawing)?;
        y += (TITLE_SIZE + 8) * SCALE;
        if let Some((remark, role)) = &self.remark {
            let style = text(TEXT_SIZE, *role).pos(Pos::new(HPos::Left, VPos::Top));
            area.draw(&Text::new(remark.clone(), (left, y), style))
                .map_err(drawing)?;
            y += (TEXT_SIZE + 7) * SCALE;
        }
        let lines = self
            .series
            .iter()
            .map(|series| (&series.name, series.role, series.dashed, false));
        let bars = self
            .bar_names
            .iter()
            .map(|(name, role)| (name, *role, false, true));
        let entries: Vec<_> = lines
            .chain(bars)
            .filter(|entry| !entry.0.is_empty())
            .collect();
        let width = area.dim_in_pixel().0 as i32;
        let mut x = left;
        for &(name, role, dashed, bar) in &entries {
            let taken = (SWATCH + 6 + 16) * SCALE + text_width(name);
            if x > left && x + taken > width - left {
                x = left;
                y += LEGEND_LINE * SCALE;
            }
            let middle = y + TEXT_SIZE * SCALE / 2;
            let thick = role.color().stroke_width(2 * SCALE as u32);
            if bar {
                let corners = [
                    (x + 4 * SCALE, y),
                    (x + (4 + TEXT_SIZE) * SCALE, y + TEXT_SIZE * SCALE),
                ];
                area.draw(&Rectangle::new(corners, role.color().filled()))
                    .map_err(drawing)?;
            } else {
                let parts = if dashed {
                    vec![(0, 7), (11, SWATCH)]
                } else {
                    vec![(0, SWATCH)]
                };
                for (from, to) in parts {
                    let line = vec![(x + from * SCALE, middle), (x + to * SCALE, middle)];
                    area.draw(&PathElement::new(line, thick)).map_err(drawing)?;
                }
            }
            let style = text(TEXT_SIZE, Role::Ink).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(
                name.clone(),
                (x + (SWATCH + 6) * SCALE, middle),
                style,
            ))
            .map_err(drawing)?;
            x += taken;
        }
        if !entries.is_empty() {
            y += LEGEND_LINE * SCALE;
        }
        Ok(y + 8 * SCALE)
    }
}

fn text(size: i32, role: Role) -> TextStyle<'static> {
    let size = f64::from(size * SCALE) * FONT_FACTOR;
    FontDesc::new(FontFamily::SansSerif, size, FontStyle::Normal).color(&role.color())
}

fn text_width(text: &str) -> i32 {
    (text.chars().count() as f64 * f64::from(TEXT_SIZE * SCALE) * CHARACTER_WIDTH) as i32
}

/// Errors of the plotting crate are of many types, and none has a cause that a user could remove.
pub(super) fn drawing(error: impl std::fmt::Display) -> PlotError {
    PlotError::Drawing(error.to_string())
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        // Nothing is drawn outside: what is too small for a logarithmic axis lies on its edge.
        let along = self.share(*value).clamp(0.0, 1.0);
        limit.0 + (along * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // The axis has chosen its ticks; lighter ones between them are not asked for.
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|tick| tick.0).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks
            .iter()
            .find(|tick| tick.0 == *value)
            .map_or_else(String::new, |tick| tick.1.clone())
    }
}
