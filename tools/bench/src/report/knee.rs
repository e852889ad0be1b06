//! What a sweep found: where latency begins to climb, and the highest rate that meets a goal.
//!
//! **The knee** is found as in V. Satopää et al., "Finding a 'Kneedle' in a Haystack" (ICDCS workshops 2011): rates and latencies are scaled to 0 … 1, and the
//! knee is where the curve lies farthest below the diagonal. Latency is scaled by its logarithm, for in overload it has no upper end: what a step far
//! beyond the limit shows is how long the step lasted, and must not move the knee. A curve that never doubles has none.
//!
//! A step in which the generator itself was late, so that it can't be said whether the goal was met, is shown and not judged: neither answer rests on it.
//!
//! **The highest rate** that meets a goal is that of the last step before the first one that breaks it. A step above that meets it again is luck or
//! noise, and is said as such.

use super::{
    condition::{Figure, Slo},
    names, steps, units,
};
use crate::results::{BadHistogram, Pacing, Report, Run};

/// Fewer steps make no curve.
const STEPS_MIN: usize = 4;
/// A latency that grows less than so much over the sweep has no knee.
const GROWTH_MIN: f64 = 2.0;

/// A step of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its label.
    pub label: String,
    /// Operations a second: that were asked for, or that a closed loop reached.
    pub rate: f64,
    /// Operations a second that were answered.
    pub throughput: f64,
    /// Microseconds of [`Sweep::figure`].
    pub time: f64,
    /// Microseconds of the median.
    pub median: f64,
    /// Whether the generator kept up.
    pub trusted: bool,
    /// The generator was late, so nothing is known of the goal.
    pub unknown: bool,
    /// Why it does not meet the goal.
    pub broken_by: Option<String>,
}

/// A sweep, and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The figure of response times that it is about: that of the goal, or p99.
    pub figure: Figure,
    /// The goal's bound, in microseconds.
    pub bound: Option<f64>,
    /// The steps, by rate.
    pub points: Vec<Point>,
    /// Index of the knee, or why there is none.
    pub knee: Result<usize, String>,
    /// The answer to the goal, where there is one.
    pub highest: Option<Highest>,
}

/// The highest rate that meets a goal.
#[derive(Clone, Debug, PartialEq)]
pub enum Highest {
    /// Not even the lowest rate does.
    None {
        /// Why.
        why: String,
    },
    /// This one, and the next one does not.
    Reached {
        /// Index of the step.
        point: usize,
        /// Index of the next step that was judged.
        next: usize,
        /// Why that one does not.
        why: String,
        /// Index of a step above that meets it all the same.
        outlier: Option<usize>,
    },
    /// All do: the sweep did not go far enough.
    Beyond {
        /// Index of the last step.
        point: usize,
    },
}

/// Whether a report is a sweep: several steps that differ in more than repetition.
#[must_use]
pub fn is_sweep(report: &Report) -> bool {
    steps::steps(report).len() > 1
}

/// Reads a report as a sweep.
///
/// # Errors
///
/// [`BadHistogram`] if a histogram of the report can't be read.
pub fn sweep(report: &Report, slo: Option<&Slo>) -> Result<Sweep, BadHistogram> {
    let (figure, bound) = match slo.and_then(Slo::time_bound) {
        Some((figure, bound)) => (figure, Some(bound)),
        None => (Figure::Percentile(99.0), None),
    };
    let mut points = Vec::new();
    for step in steps::steps(report) {
        let run = step.pooled()?;
        let broken_by = slo.and_then(|slo| slo.broken_by(&run));
        points.push(Point {
            label: step.label.clone(),
            rate: match run.pacing {
                Pacing::ClosedLoop => run.throughput,
                Pacing::OpenLoop { target_rate, .. } => target_rate,
            },
            throughput: run.throughput,
            time: time(&run, figure)?,
            median: time(&run, Figure::Percentile(50.0))?,
            trusted: run.generator.trusted,
            unknown: broken_by.is_some() && run.generator.was_late,
            broken_by,
        });
    }
    points.sort_by(|left, right| left.rate.total_cmp(&right.rate));
    let judged: Vec<usize> = (0..points.len())
        .filter(|index| !points[*index].unknown)
        .collect();
    let known: Vec<Point> = judged.iter().map(|index| points[*index].clone()).collect();
    let highest = match (slo, points.first()) {
        (None, _) | (_, None) => None,
        (Some(_), Some(first)) if known.is_empty() => Some(Highest::None {
            why: first.broken_by.clone().unwrap_or_default(),
        }),
        _ => highest(&known).map(|found| found.among(&judged)),
    };
    Ok(Sweep {
        figure,
        bound,
        knee: knee(&known).map(|index| judged[index]),
        highest,
        points,
    })
}

impl Highest {
    /// What was found among the steps of these indices.
    fn among(self, indices: &[usize]) -> Highest {
        match self {
            Highest::None { why } => Highest::None { why },
            Highest::Reached {
                point,
                next,
                why,
                outlier,
            } => Highest::Reached {
                point: indices[point],
                next: indices[next],
                why,
                outlier: outlier.map(|index| indices[index]),
            },
            Highest::Beyond { point } => Highest::Beyond {
                point: indices[point],
            },
        }
    }
}

/// A response time of all requests; 0 where a run has none.
fn time(run: &Run, figure: Figure) -> Result<f64, BadHistogram> {
    let all = run
        .latencies
        .iter()
        .find(|latency| names::scope(latency) == "all");
    let Some(all) = all else { return Ok(0.0) };
    match figure {
        Figure::Percentile(percent) => all.response.percentile(percent),
        Figure::Mean => Ok(all.response.mean),
        Figure::Min => Ok(all.response.min),
        _ => Ok(all.response.max),
    }
}

fn knee(points: &[Point]) -> Result<usize, String> {
    if points.len() < STEPS_MIN {
        return Err(format!("a knee needs {STEPS_MIN} steps or more"));
    }
    let logarithms: Vec<f64> = points
        .iter()
        .map(|point| point.time.max(1e-3).ln())
        .collect();
    let least = logarithms.iter().copied().fold(f64::INFINITY, f64::min);
    let last = logarithms[points.len() - 1];
    let (from, to) = (points[0].rate, points[points.len() - 1].rate);
    if last - least < GROWTH_MIN.ln() {
        return Err("the latency did not double: the sweep ended before the knee".to_owned());
    }
    if to <= from {
        return Err("the rate did not grow".to_owned());
    }
    let below = |index: usize| {
        let along = (points[index].rate - from) / (to - from);
        let up = (logarithms[index] - least) / (last - least);
        along - up
    };
    // Of equal ones the highest rate.
    let found = (0..points.len())
        .max_by(|left, right| below(*left).total_cmp(&below(*right)))
        .filter(|index| below(*index) > 0.0);
    let knee = found.ok_or("the latency climbs from the first step on: begin lower")?;
    // Above the knee a server falls behind, and no latency can be claimed there; where it is rests on the steps up to it.
    if points[..=knee].iter().any(|point| !point.trusted) {
        return Err("latencies of the steps below it can't be claimed".to_owned());
    }
    Ok(knee)
}

fn highest(points: &[Point]) -> Option<Highest> {
    let last = points.len().checked_sub(1)?;
    let broken = |point: &Point| point.broken_by.clone();
    Some(
        match points.iter().position(|point| point.broken_by.is_some()) {
            None => Highest::Beyond { point: last },
            Some(first) => {
                let why = broken(&points[first]).unwrap_or_default();
                match first.checked_sub(1) {
                    None => Highest::None { why },
                    Some(point) => Highest::Reached {
                        point,
                        next: first,
                        why,
                        outlier: (first..=last)
                            .rev()
                            .find(|index| points[*index].broken_by.is_none()),
                    },
                }
            }
        },
    )
}

impl Sweep {
    /// The answers in sentences.
    #[must_use]
    pub fn sentences(&self, slo: Option<&Slo>) -> Vec<String> {
        let rate = |index: usize| format!("{}/s", units::round_count(self.points[index].rate));
        let mut sentences = Vec::new();
        let goal = slo.map(ToString::to_string).unwrap_or_default();
        match &self.highest {
            None => {}
            Some(Highest::None { why }) => {
                sentences.push(format!(
                    "No rate that was tried meets {goal}: {}.",
                    why.trim_end_matches('.')
                ));
            }
            Some(Highest::Beyond { point }) => sentences.push(format!(
                "Every rate that was tried meets {goal}, up to {}. The limit lies higher.",
                rate(*point)
            )),
            Some(Highest::Reached {
                point,
                next,
                why,
                outlier,
            }) => {
                sentences.push(format!(
                    "The highest rate that meets {goal} is {}; the next, {}, does not: {why}.",
                    rate(*point),
                    rate(*next)
                ));
                if let Some(outlier) = outlier {
                    sentences.push(format!(
                        "{} meets it again, above one that does not: that is noise; repeat it with --runs.",
                        rate(*outlier)
                    ));
                }
            }
        }
        sentences.push(match &self.knee {
            Ok(index) => format!(
                "The knee is at {}: above it, {} climbs faster than the rate.",
                rate(*index),
                self.figure
            ),
            Err(why) => format!("No knee: {why}."),
        });
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: &[(f64, f64)]) -> Vec<Point> {
        of.iter()
            .map(|&(rate, time)| Point {
                label: String::new(),
                rate,
                throughput: rate,
                time,
                median: time,
                trusted: true,
                unknown: false,
                broken_by: (time > 2_000.0).then(|| format!("p99 is {time}")),
            })
            .collect()
    }

    // M/M/1 with room for 100k a second: 1 / (100k − rate). The last step is overload, and how long it lasted must not move the knee.
    #[test]
    fn the_knee_does_not_depend_on_how_bad_the_overload_was() {
        let curve = |overload: f64| {
            let mut curve: Vec<(f64, f64)> = (1..=9)
                .map(|tenth| {
                    let rate = f64::from(tenth) * 10_000.0;
                    (rate, 1e6 / (100_000.0 - rate) * 4.6)
                })
                .collect();
            curve.push((100_000.0, overload));
            points(&curve)
        };
        let near = knee(&curve(1e5)).unwrap();
        let far = knee(&curve(1e7)).unwrap();
        assert_eq!(near, far);
        assert!((7..=8).contains(&near), "{near}");
    }

    #[test]
    fn no_knee_where_there_is_none() {
        let flat = points(&[(1.0, 100.0), (2.0, 101.0), (3.0, 99.0), (4.0, 110.0)]);
        assert!(knee(&flat).unwrap_err().contains("did not double"));
        assert!(knee(&flat[..3]).unwrap_err().contains("4 steps"));
    }

    // A knee of what the generator did, not the server.
    #[test]
    fn there_is_no_knee_among_latencies_that_can_not_be_claimed() {
        let curve = [(1.0, 10.0), (2.0, 11.0), (3.0, 13.0), (4.0, 900.0)];
        let mut curve = points(&curve);
        curve[3].trusted = false;
        assert_eq!(knee(&curve), Ok(2));
        curve[1].trusted = false;
        assert!(knee(&curve).unwrap_err().contains("can't be claimed"));
    }

    #[test]
    fn the_highest_rate_lies_below_the_first_that_breaks_the_goal() {
        let answer = highest(&points(&[(1.0, 100.0), (2.0, 3_000.0), (3.0, 1_900.0)]));
        assert_eq!(
            answer,
            Some(Highest::Reached {
                point: 0,
                next: 1,
                why: "p99 is 3000".to_owned(),
                outlier: Some(2),
            })
        );
        assert_eq!(
            highest(&points(&[(1.0, 100.0), (2.0, 200.0)])),
            Some(Highest::Beyond { point: 1 })
        );
        assert!(matches!(
            highest(&points(&[(1.0, 9_000.0)])),
            Some(Highest::None { .. })
        ));
        assert_eq!(highest(&[]), None);
    }
}
