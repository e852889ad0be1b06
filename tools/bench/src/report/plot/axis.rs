//! Axes: from a value to its place, and the values at which a line and a figure stand.
//!
//! Ticks are chosen here and not by the plotting crate, so that terminal and SVG show the same ones: 1, 2 and 5 times powers of ten, and for percentiles
//! the nines.

use crate::report::units::round_micros;

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm.
    Log,
    /// Percentiles, by how far they are from 100: 90, 99 and 99.9 are equally far apart.
    Nines,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// Its lower end.
    pub(crate) from: f64,
    /// Its upper end.
    pub(crate) to: f64,
    /// How values are spread.
    pub(crate) scale: Scale,
    /// Values with their figures.
    pub(crate) ticks: Vec<(f64, String)>,
}

/// Ticks that an axis has about.
const TICKS: f64 = 6.0;
/// More decades than this show powers of ten alone.
const FINE_DECADES_MAX: f64 = 2.5;
/// The percentiles that have a tick.
const PERCENTILES: [(f64, &str); 8] = [
    (0.0, "0 %"),
    (50.0, "50 %"),
    (90.0, "90 %"),
    (99.0, "99 %"),
    (99.9, "99.9 %"),
    (99.99, "99.99 %"),
    (99.999, "99.999 %"),
    (99.9999, "99.9999 %"),
];

impl Axis {
    /// Evenly spread between two ends.
    #[must_use]
    pub(crate) fn linear(from: f64, to: f64, figure: impl Fn(f64) -> String) -> Axis {
        let to = if to > from { to } else { from + 1.0 };
        let step = round_step((to - from) / TICKS);
        let first = (from / step).ceil() as i64;
        let last = (to / step + 1e-9).floor() as i64;
        Axis {
            from,
            to,
            scale: Scale::Linear,
            ticks: (first..=last)
                .map(|index| index as f64 * step)
                .map(|value| (value, figure(value)))
                .collect(),
        }
    }

    /// Evenly spread from zero to a tick above the greatest value.
    #[must_use]
    pub(crate) fn from_zero(
        values: impl Iterator<Item = f64>,
        figure: impl Fn(f64) -> String,
    ) -> Axis {
        let greatest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let greatest = if greatest > 0.0 { greatest } else { 1.0 };
        let step = round_step(greatest * 1.05 / TICKS);
        Axis::linear(0.0, (greatest * 1.05 / step).ceil() * step, figure)
    }

    /// Times in microseconds, from below the least to above the greatest.
    #[must_use]
    pub(crate) fn times(values: impl Iterator<Item = f64>, scale: Scale) -> Axis {
        if scale == Scale::Linear {
            return Axis::from_zero(values, round_micros);
        }
        let (mut least, mut greatest) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            least = least.min(value);
            greatest = greatest.max(value);
        }
        if greatest == 0.0 {
            (least, greatest) = (1.0, 10.0);
        }
        // To a tick on both sides.
        let from = below(least);
        let to = above(greatest).max(from * 10.0);
        let fine = (to / from).log10() <= FINE_DECADES_MAX;
        let mut ticks = Vec::new();
        let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
        for decade in decades {
            for factor in [1.0, 2.0, 5.0] {
                let value = factor * 10_f64.powi(decade);
                let wanted = fine || factor == 1.0;
                if wanted && value >= from * 0.999 && value <= to * 1.001 {
                    ticks.push((value, round_micros(value)));
                }
            }
        }
        Axis {
            from,
            to,
            scale: Scale::Log,
            ticks,
        }
    }

    /// Percentiles, as far as points of (percentile, value) go.
    #[must_use]
    pub(crate) fn nines(points: &[(f64, f64)]) -> Axis {
        let to = points
            .iter()
            .map(|point| point.0)
            .fold(90.0, f64::max)
            .min(99.9999);
        Axis {
            from: 0.0,
            to,
            scale: Scale::Nines,
            ticks: PERCENTILES
                .into_iter()
                .filter(|(percent, _)| *percent <= to)
                .map(|(percent, figure)| (percent, figure.to_owned()))
                .collect(),
        }
    }

    /// Where a value lies: 0 at the lower end, 1 at the upper one.
    #[must_use]
    pub(crate) fn share(&self, value: f64) -> f64 {
        let spread = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(self.from / 10.0).ln(),
            Scale::Nines => -(1.0 - value.min(99.99999) / 100.0).ln(),
        };
        let (from, to) = (spread(self.from), spread(self.to));
        (spread(value) - from) / (to - from)
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|round| *round >= step * 0.999)
        .unwrap_or(step)
}

/// The round number at or above a value.
fn above(value: f64) -> f64 {
    round_step(value)
}

/// The round number at or below a value.
fn below(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|round| *round <= value * 1.001)
        .unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let axis = Axis::from_zero([0.0, 19_400.0].into_iter(), |value| value.to_string());
        let values: Vec<f64> = axis.ticks.iter().map(|tick| tick.0).collect();
        assert_eq!(
            values,
            [0.0, 5_000.0, 10_000.0, 15_000.0, 20_000.0, 25_000.0]
        );
        let axis = Axis::times([90.0, 1_300.0].into_iter(), Scale::Log);
        let figures: Vec<&str> = axis.ticks.iter().map(|tick| tick.1.as_str()).collect();
        assert_eq!(
            figures,
            ["50 µs", "100 µs", "200 µs", "500 µs", "1 ms", "2 ms"]
        );
    }

    #[test]
    fn nines_are_equally_far_apart() {
        let axis = Axis::nines(&[(99.99, 1.0)]);
        for (percent, share) in [(0.0, 0.0), (90.0, 0.25), (99.0, 0.5), (99.9, 0.75)] {
            assert!((axis.share(percent) - share).abs() < 1e-9);
        }
    }
}
