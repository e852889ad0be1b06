//! When operations are meant to start: a [`Schedule`] says how the rate goes with time, [`Arrivals`] are one thread's starts.
//!
//! | written | rate |
//! |---|---|
//! | `20000`, `20k`, `1.5M` | constant |
//! | `ramp:1k..50k` | rises (or falls) evenly over the whole run |
//! | `ramp:1k..50k/30s` | the same in 30 s; then it stays |
//! | `stairs:1k,2k,5k/10s` | each for 10 s; the last one stays |
//! | `poisson:` and any of these | the same rate, at random: starts know nothing of each other |
//!
//! Every schedule is one function: Λ(t), the number of operations that are meant to have started by t. Evenly spaced, the n-th one
//! starts at Λ⁻¹(n); thread i of T takes those with n = i, i + T, i + 2T …, so that all threads together make the schedule exactly. At random,
//! each thread runs a Poisson process of its own with the T-th part of the rate: the sum of n exponential gaps of mean 1 is where its n-th
//! start lies on the scale of Λ/T (time change of a Poisson process), and independent Poisson processes add up to one.
//!
//! Starts are computed from n, never summed up from rounded gaps, so that a rate of 3 a second is still exact after a week.

mod schedule;

use std::{iter::FusedIterator, time::Duration};

pub use schedule::{RATE_MAX, RATE_MIN, Schedule, Shape, Spacing};

use super::{Part, random::Random};
use schedule::Curve;

/// The intended starts of one thread: nanoseconds since the start of the run, ascending.
#[derive(Clone, Debug)]
pub struct Arrivals {
    curve: Curve,
    end_ns: f64,
    pace: Pace,
}

#[derive(Clone, Debug)]
enum Pace {
    /// The next number, and how many threads take turns.
    Even { next: u64, of: u64 },
    /// The sum of the gaps on the scale of one thread's share, the number of threads, and chance.
    Random { sum: f64, of: f64, random: Random },
}

impl Schedule {
    /// The starts that are `part`'s, below `duration`. The same seed gives the same ones.
    #[must_use]
    pub fn arrivals(&self, part: Part, duration: Duration, seed: u64) -> Arrivals {
        let pace = match self.spacing {
            Spacing::Even => Pace::Even {
                next: u64::from(part.index()),
                of: u64::from(part.of()),
            },
            Spacing::Poisson => Pace::Random {
                sum: 0.0,
                of: f64::from(part.of()),
                random: Random::new(seed, STREAM | u64::from(part.index())),
            },
        };
        Arrivals {
            curve: self.curve(duration),
            end_ns: duration.as_nanos() as f64,
            pace,
        }
    }
}

/// Sets the random numbers of a schedule apart from those of connections.
const STREAM: u64 = 2 << 32;

impl Iterator for Arrivals {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let started = match &mut self.pace {
            Pace::Even { next, of } => {
                let number = *next;
                *next += *of;
                number as f64
            }
            Pace::Random { sum, of, random } => {
                *sum += random.exponential();
                *sum * *of
            }
        };
        let at_ns = (self.curve.when(started)? * 1e9).round();
        // Once one lies behind the end all later ones do.
        (at_ns < self.end_ns).then_some(at_ns as u64)
    }
}

impl FusedIterator for Arrivals {}

#[cfg(test)]
mod tests;
