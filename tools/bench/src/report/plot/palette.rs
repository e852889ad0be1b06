//! Colours by what they are for, in light and in dark.
//!
//! A plot is drawn in the light colours, which any viewer of SVG shows. A style sheet turns each of them into a variable, and the variables have
//! other values where the reader's theme is dark; a page may set them by a switch of its own. So no two roles share a light colour.

use std::fmt::Write as _;

use plotters::style::RGBColor;

/// What a colour is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Paper,
    Ink,
    Faint,
    Grid,
    Alarm,
    Series(usize),
}

/// Lines that can be told apart in one plot.
pub(super) const SERIES_MAX: usize = 6;

/// A role's name in the style sheet, its light colour and its dark one.
type Entry = (&'static str, [u8; 3], &'static str);

const PAPER: Entry = ("paper", [0xFF, 0xFF, 0xFE], "#14171c");
const INK: Entry = ("ink", [0x1B, 0x1F, 0x24], "#e6e8eb");
const FAINT: Entry = ("faint", [0x5B, 0x63, 0x6D], "#9aa4b0");
const GRID: Entry = ("grid", [0xE3, 0xE6, 0xEA], "#2b313a");
const ALARM: Entry = ("alarm", [0xC8, 0x1E, 0x1E], "#f87171");
const SERIES: [Entry; SERIES_MAX] = [
    ("s1", [0x0B, 0x62, 0xB4], "#60a5fa"),
    ("s2", [0xC2, 0x54, 0x0A], "#fb923c"),
    ("s3", [0x15, 0x80, 0x3D], "#4ade80"),
    ("s4", [0x7E, 0x22, 0xCE], "#c084fc"),
    ("s5", [0x8A, 0x6D, 0x00], "#facc15"),
    ("s6", [0x0E, 0x74, 0x90], "#22d3ee"),
];

impl Role {
    fn entry(self) -> Entry {
        match self {
            Role::Paper => PAPER,
            Role::Ink => INK,
            Role::Faint => FAINT,
            Role::Grid => GRID,
            Role::Alarm => ALARM,
            Role::Series(index) => SERIES[index % SERIES_MAX],
        }
    }

    /// The colour to draw with.
    pub(super) fn color(self) -> RGBColor {
        let [red, green, blue] = self.entry().1;
        RGBColor(red, green, blue)
    }
}

fn entries() -> impl Iterator<Item = Entry> {
    [PAPER, INK, FAINT, GRID, ALARM].into_iter().chain(SERIES)
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// Rules that paint a plot with variables.
pub(crate) fn rules() -> String {
    entries().fold(String::new(), |mut css, (name, light, _)| {
        let light = hex(light);
        for property in ["fill", "stroke"] {
            let _ = write!(
                css,
                "svg.plot [{property}=\"{light}\"]{{{property}:var(--{name})}}"
            );
        }
        css
    })
}

/// The variables' values in light.
pub(crate) fn light() -> String {
    entries().fold(String::new(), |mut css, (name, light, _)| {
        let _ = write!(css, "--{name}:{};", hex(light));
        css
    })
}

/// The variables' values in dark.
pub(crate) fn dark() -> String {
    entries().fold(String::new(), |mut css, (name, _, dark)| {
        let _ = write!(css, "--{name}:{dark};");
        css
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two roles of one light colour would be one role in the dark.
    #[test]
    fn no_two_roles_share_a_light_colour() {
        let mut lights: Vec<[u8; 3]> = entries().map(|entry| entry.1).collect();
        let all = lights.len();
        lights.sort_unstable();
        lights.dedup();
        assert_eq!(lights.len(), all);
    }
}
