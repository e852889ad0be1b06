//! Schedules: their text, and Λ with its inverse.

use std::{fmt, str::FromStr, time::Duration};

use super::super::SpecError;

/// The lowest rate that is one, operations a second.
pub const RATE_MIN: f64 = 0.001;
/// The highest rate, operations a second.
pub const RATE_MAX: f64 = 1e9;

const WHAT: &str = "rate";
const EXPECTED: &str = "operations a second (`20000`, `20k`), `ramp:1k..50k` or `ramp:1k..50k/30s`, `stairs:1k,2k,5k/10s`, \
                        and `poisson:` before any of these for random starts";

/// How many operations a second are meant to start, and how they are spaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// How the rate goes with time.
    pub shape: Shape,
    /// How starts are spaced at that rate.
    pub spacing: Spacing,
}

/// How the rate goes with time. Rates are operations a second.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// It stays.
    Constant(f64),
    /// It changes evenly and then stays.
    Ramp {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
        /// When the end is reached; `None`: with the run.
        over: Option<Duration>,
    },
    /// It changes in steps; the last one stays.
    Stairs {
        /// In order, at least one.
        rates: Vec<f64>,
        /// Length of a step.
        each: Duration,
    },
}

/// How starts are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly.
    Even,
    /// At random: a Poisson process.
    Poisson,
}

impl Schedule {
    /// Evenly, so many operations a second.
    #[must_use]
    pub fn constant(rate: f64) -> Schedule {
        Schedule {
            shape: Shape::Constant(rate),
            spacing: Spacing::Even,
        }
    }

    /// `constant`, `poisson`, `ramp`, `staircase`; a ramp or staircase at random is `poisson ramp`, `poisson staircase`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (&self.shape, self.spacing) {
            (Shape::Constant(_), Spacing::Even) => "constant",
            (Shape::Ramp { .. }, Spacing::Even) => "ramp",
            (Shape::Stairs { .. }, Spacing::Even) => "staircase",
            (Shape::Constant(_), Spacing::Poisson) => "poisson",
            (Shape::Ramp { .. }, Spacing::Poisson) => "poisson ramp",
            (Shape::Stairs { .. }, Spacing::Poisson) => "poisson staircase",
        }
    }

    /// How long it takes until it has shown all of itself; `None` if it has no length of its own.
    #[must_use]
    pub fn length(&self) -> Option<Duration> {
        match &self.shape {
            Shape::Constant(_) => None,
            Shape::Ramp { over, .. } => *over,
            Shape::Stairs { rates, each } => Some(*each * rates.len() as u32),
        }
    }

    /// Operations a second that are meant to start on average from `from` to `to`, in a run of `duration`.
    #[must_use]
    pub fn mean_rate(&self, from: Duration, to: Duration, duration: Duration) -> f64 {
        let curve = self.curve(duration);
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        if to > from {
            (curve.started(to) - curve.started(from)) / (to - from)
        } else {
            curve.rate(from)
        }
    }

    /// The same schedule with every rate multiplied: what another generator beside this one leaves to it.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Schedule {
        let shape = match &self.shape {
            Shape::Constant(rate) => Shape::Constant(rate * factor),
            Shape::Ramp { from, to, over } => Shape::Ramp {
                from: from * factor,
                to: to * factor,
                over: *over,
            },
            Shape::Stairs { rates, each } => Shape::Stairs {
                rates: rates.iter().map(|rate| rate * factor).collect(),
                each: *each,
            },
        };
        Schedule { shape, ..*self }
    }

    pub(super) fn curve(&self, duration: Duration) -> Curve {
        // One piece a stretch of time in which the rate changes evenly.
        let mut pieces = Vec::new();
        let mut push = |length: f64, from: f64, to: f64| {
            let (start, started) = pieces.last().map_or((0.0, 0.0), |last: &Piece| {
                (last.start + last.length, last.started + last.count())
            });
            pieces.push(Piece {
                start,
                started,
                length,
                from,
                to,
            });
        };
        match &self.shape {
            Shape::Constant(rate) => push(f64::INFINITY, *rate, *rate),
            Shape::Ramp { from, to, over } => {
                push(over.unwrap_or(duration).as_secs_f64(), *from, *to);
                push(f64::INFINITY, *to, *to);
            }
            Shape::Stairs { rates, each } => {
                for rate in rates {
                    push(each.as_secs_f64(), *rate, *rate);
                }
                let last = rates.last().copied().unwrap_or(0.0);
                push(f64::INFINITY, last, last);
            }
        }
        Curve { pieces, at: 0 }
    }
}

/// Λ: how many operations are meant to have started by a time.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    /// In order of time, without gaps; the last one has no end.
    pieces: Vec<Piece>,
    /// The piece in which the last start lay: starts ascend.
    at: usize,
}

/// A stretch of time in which the rate goes evenly from one to another. Seconds, operations a second.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: f64,
    /// Λ at its start.
    started: f64,
    length: f64,
    from: f64,
    to: f64,
}

impl Piece {
    /// Starts in all of it.
    fn count(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.length
    }

    fn rate(&self, after: f64) -> f64 {
        if self.from == self.to {
            self.from
        } else {
            self.from + (self.to - self.from) * (after / self.length).min(1.0)
        }
    }
}

impl Curve {
    /// When the start with this number is meant to be, in seconds; `None` if never. Numbers ascend from call to call.
    #[inline]
    pub(super) fn when(&mut self, number: f64) -> Option<f64> {
        while let Some(next) = self.pieces.get(self.at + 1)
            && number >= next.started
        {
            self.at += 1;
        }
        let piece = &self.pieces[self.at];
        let left = number - piece.started;
        if piece.from == piece.to {
            return (piece.from > 0.0).then(|| piece.start + left / piece.from);
        }
        // The root of from·t + (to - from)·t² / (2·length) = left, in the form that loses no digits where the slope is small.
        let slope = (piece.to - piece.from) / piece.length;
        let root = (piece.from * piece.from + 2.0 * slope * left)
            .max(0.0)
            .sqrt();
        let after = if left > 0.0 {
            2.0 * left / (piece.from + root)
        } else {
            0.0
        };
        Some(piece.start + after)
    }

    /// How many are meant to have started by `at` seconds.
    pub(super) fn started(&self, at: f64) -> f64 {
        let piece = self.piece(at);
        let after = at - piece.start;
        piece.started + f64::midpoint(piece.from, piece.rate(after)) * after
    }

    /// Operations a second at that time.
    pub(super) fn rate(&self, at: f64) -> f64 {
        let piece = self.piece(at);
        piece.rate(at - piece.start)
    }

    fn piece(&self, at: f64) -> &Piece {
        let behind = self.pieces.partition_point(|piece| piece.start <= at);
        &self.pieces[behind.saturating_sub(1)]
    }
}

/// `20000`, `20k`, `1.5M`.
fn rate(text: &str) -> Result<f64, SpecError> {
    let text = text.trim();
    let (number, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let rate = number
        .parse::<f64>()
        .map_err(|_| SpecError::unreadable(WHAT, text, EXPECTED))?
        * factor;
    if (0.0..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err(SpecError::out_of_range("a rate", &text, &0, &RATE_MAX))
    }
}

fn time(text: &str) -> Result<Duration, SpecError> {
    humantime::parse_duration(text.trim())
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| SpecError::unreadable("time", text, "a time above 0, such as `10s`"))
}

impl FromStr for Schedule {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Schedule, SpecError> {
        let text = text.trim();
        let unreadable = || SpecError::unreadable(WHAT, text, EXPECTED);
        let (shape, spacing) = match text.strip_prefix("poisson:") {
            Some(shape) => (shape, Spacing::Poisson),
            None => (text, Spacing::Even),
        };
        let shape = if let Some(ramp) = shape.strip_prefix("ramp:") {
            let (rates, over) = match ramp.split_once('/') {
                Some((rates, over)) => (rates, Some(time(over)?)),
                None => (ramp, None),
            };
            let (from, to) = rates.split_once("..").ok_or_else(unreadable)?;
            Shape::Ramp {
                from: rate(from)?,
                to: rate(to)?,
                over,
            }
        } else if let Some(stairs) = shape.strip_prefix("stairs:") {
            let (rates, each) = stairs.split_once('/').ok_or_else(unreadable)?;
            Shape::Stairs {
                rates: rates.split(',').map(rate).collect::<Result<_, _>>()?,
                each: time(each)?,
            }
        } else {
            Shape::Constant(rate(shape)?)
        };
        let highest = match &shape {
            Shape::Constant(rate) => *rate,
            Shape::Ramp { from, to, .. } => from.max(*to),
            Shape::Stairs { rates, .. } => rates.iter().copied().fold(0.0, f64::max),
        };
        if highest >= RATE_MIN {
            Ok(Schedule { shape, spacing })
        } else {
            Err(SpecError::out_of_range(
                "a rate", &text, &RATE_MIN, &RATE_MAX,
            ))
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Duration| {
            humantime::format_duration(time)
                .to_string()
                .replace(' ', "")
        };
        if self.spacing == Spacing::Poisson {
            formatter.write_str("poisson:")?;
        }
        match &self.shape {
            Shape::Constant(rate) => write!(formatter, "{rate}"),
            Shape::Ramp { from, to, over } => {
                write!(formatter, "ramp:{from}..{to}")?;
                over.map_or(Ok(()), |over| write!(formatter, "/{}", time(over)))
            }
            Shape::Stairs { rates, each } => {
                let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
                write!(formatter, "stairs:{}/{}", rates.join(","), time(*each))
            }
        }
    }
}
