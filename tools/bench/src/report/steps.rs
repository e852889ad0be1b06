//! Which runs are repetitions of one another, and what they are together.
//!
//! A report lists its runs in a row: the repetitions of `--runs`, the steps of a sweep or of a staircase, or both. Runs that were asked the same
//! (connections, pipeline, pacing) are repetitions, wherever they stand; each such set is a [`Step`].

use std::collections::{BTreeMap, BTreeSet};

use super::units::round_count;
use crate::results::{
    BadHistogram, Distribution, Generator, Latency, Pacing, Report, Run, Timeline,
};

/// Runs that were asked the same: at least one.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// What sets the step apart from the others.
    pub label: String,
    /// Its repetitions, in the order in which they ran.
    pub runs: Vec<&'a Run>,
}

/// The steps of a report, in the order of their first runs.
#[must_use]
pub fn steps(report: &Report) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for run in &report.runs {
        match steps
            .iter_mut()
            .find(|step| step.runs.iter().any(|other| same(other, run)))
        {
            Some(step) => step.runs.push(run),
            None => steps.push(Step {
                label: run.label.clone(),
                runs: vec![run],
            }),
        }
    }
    let varies = Varies::of(&steps);
    let alone = steps.len() == 1;
    for step in &mut steps {
        match step.runs.len() {
            1 => {}
            runs if alone => step.label = format!("{runs} runs"),
            _ => step.label = varies.label(step.runs[0]),
        }
    }
    steps
}

impl Step<'_> {
    /// Whether the runs of another step were asked the same.
    #[must_use]
    pub fn matches(&self, other: &Step<'_>) -> bool {
        match (self.runs.first(), other.runs.first()) {
            (Some(left), Some(right)) => same(left, right),
            _ => false,
        }
    }

    /// Whether the runs of another step were asked at the same rate, or both as fast as was answered.
    #[must_use]
    pub fn is_paced_like(&self, other: &Step<'_>) -> bool {
        match (self.runs.first(), other.runs.first()) {
            (Some(left), Some(right)) => same_pacing(left, right),
            _ => false,
        }
    }

    /// How its runs were asked: `2k/s, 50 connections, pipeline 1`.
    #[must_use]
    pub fn asked(&self) -> String {
        let all = Varies {
            connections: true,
            pipeline: true,
            pacing: true,
        };
        self.runs
            .first()
            .map_or_else(String::new, |run| all.label(run))
    }

    /// All runs as one: histograms, operations, seconds and errors added up. Its timeline is empty unless there is only one run, and latencies can be
    /// claimed if those of each run can.
    ///
    /// # Errors
    ///
    /// [`BadHistogram`] if a histogram can't be read.
    ///
    /// # Panics
    ///
    /// If the step has no run; [`steps`] makes no such one.
    pub fn pooled(&self) -> Result<Run, BadHistogram> {
        let first = self.runs.first().expect("a step has at least one run");
        if let [only] = self.runs[..] {
            return Ok(Run {
                label: self.label.clone(),
                ..only.clone()
            });
        }
        let seconds: f64 = self.runs.iter().map(|run| run.seconds).sum();
        let operations: u64 = self.runs.iter().map(|run| run.operations).sum();
        let mut errors = BTreeMap::new();
        for (kind, count) in self.runs.iter().flat_map(|run| &run.errors) {
            *errors.entry(kind.clone()).or_default() += count;
        }
        Ok(Run {
            label: self.label.clone(),
            connections: first.connections,
            pipeline: first.pipeline,
            pacing: self.pooled_pacing(seconds),
            begins_seconds: first.begins_seconds,
            seconds,
            operations,
            throughput: if seconds > 0.0 {
                operations as f64 / seconds
            } else {
                0.0
            },
            errors,
            conflicts: self.runs.iter().map(|run| run.conflicts).sum(),
            misses: self.runs.iter().map(|run| run.misses).sum(),
            latencies: self.pooled_latencies()?,
            timeline: Timeline::default(),
            generator: self.pooled_generator()?,
            server_cpu_seconds: self.runs.iter().map(|run| run.server_cpu_seconds).sum(),
        })
    }

    fn pooled_pacing(&self, seconds: f64) -> Pacing {
        match &self.runs[0].pacing {
            Pacing::ClosedLoop => Pacing::ClosedLoop,
            Pacing::OpenLoop {
                schedule,
                target_rate,
                ..
            } => Pacing::OpenLoop {
                schedule: schedule.clone(),
                target_rate: *target_rate,
                achieved_rate: self
                    .runs
                    .iter()
                    .map(|run| achieved_rate(run) * run.seconds)
                    .sum::<f64>()
                    / seconds.max(f64::MIN_POSITIVE),
            },
        }
    }

    fn pooled_latencies(&self) -> Result<Vec<Latency>, BadHistogram> {
        let key = |latency: &Latency| (latency.operation, latency.heat, latency.server_core);
        let mut keys = Vec::new();
        for latency in self.runs.iter().flat_map(|run| &run.latencies) {
            if !keys.contains(&key(latency)) {
                keys.push(key(latency));
            }
        }
        keys.into_iter()
            .map(|wanted| {
                let parts: Vec<&Latency> = self
                    .runs
                    .iter()
                    .flat_map(|run| &run.latencies)
                    .filter(|latency| key(latency) == wanted)
                    .collect();
                let (operation, heat, server_core) = wanted;
                Ok(Latency {
                    operation,
                    heat,
                    server_core,
                    response: Distribution::merged(parts.iter().map(|part| &part.response))?,
                    service: Distribution::merged(parts.iter().map(|part| &part.service))?,
                })
            })
            .collect()
    }

    fn pooled_generator(&self) -> Result<Generator, BadHistogram> {
        let threads = self
            .runs
            .iter()
            .map(|run| run.generator.cpu_share.len())
            .max()
            .unwrap_or(0);
        let share = |thread: usize| {
            let shares: Vec<f64> = self
                .runs
                .iter()
                .filter_map(|run| run.generator.cpu_share.get(thread).copied())
                .collect();
            shares.iter().sum::<f64>() / shares.len().max(1) as f64
        };
        let warnings: BTreeSet<String> = self
            .runs
            .iter()
            .flat_map(|run| {
                let said = |warning: &String| format!("{}: {warning}", run.label);
                run.generator.warnings.iter().map(said)
            })
            .collect();
        Ok(Generator {
            cpu_share: (0..threads).map(share).collect(),
            lag: Distribution::merged(self.runs.iter().map(|run| &run.generator.lag))?,
            longest_pause: self
                .runs
                .iter()
                .map(|run| run.generator.longest_pause)
                .fold(0.0, f64::max),
            trusted: self.runs.iter().all(|run| run.generator.trusted),
            was_late: self.runs.iter().any(|run| run.generator.was_late),
            warnings: warnings.into_iter().collect(),
        })
    }
}

fn achieved_rate(run: &Run) -> f64 {
    match run.pacing {
        Pacing::ClosedLoop => run.throughput,
        Pacing::OpenLoop { achieved_rate, .. } => achieved_rate,
    }
}

/// Whether two runs were asked the same.
fn same(left: &Run, right: &Run) -> bool {
    same_pacing(left, right)
        && left.connections == right.connections
        && left.pipeline == right.pipeline
}

fn same_pacing(left: &Run, right: &Run) -> bool {
    match (&left.pacing, &right.pacing) {
        (Pacing::ClosedLoop, Pacing::ClosedLoop) => true,
        (
            Pacing::OpenLoop {
                schedule,
                target_rate,
                ..
            },
            Pacing::OpenLoop {
                schedule: other_schedule,
                target_rate: other_rate,
                ..
            },
        ) => schedule == other_schedule && target_rate == other_rate,
        _ => false,
    }
}

/// In what the steps of a report differ; the rest is not worth a word on each.
struct Varies {
    connections: bool,
    pipeline: bool,
    pacing: bool,
}

impl Varies {
    fn of(steps: &[Step<'_>]) -> Varies {
        let differ = |same: &dyn Fn(&Run, &Run) -> bool| {
            steps
                .windows(2)
                .any(|pair| !same(pair[0].runs[0], pair[1].runs[0]))
        };
        Varies {
            connections: differ(&|left, right| left.connections == right.connections),
            pipeline: differ(&|left, right| left.pipeline == right.pipeline),
            pacing: differ(&same_pacing),
        }
    }

    fn label(&self, run: &Run) -> String {
        let mut parts = Vec::new();
        if self.pacing {
            parts.push(match &run.pacing {
                Pacing::ClosedLoop => "closed loop".to_owned(),
                Pacing::OpenLoop { target_rate, .. } => format!("{}/s", round_count(*target_rate)),
            });
        }
        if self.connections {
            parts.push(format!("{} connections", run.connections));
        }
        if self.pipeline {
            parts.push(format!("pipeline {}", run.pipeline));
        }
        parts.join(", ")
    }
}
