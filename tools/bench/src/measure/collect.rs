//! All threads' notes become one [`Run`].

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::{
    distribution::{histogram, merge, percentile_us},
    errors::Errors,
    tally::Tally,
    trust::{self, Evidence, Objection},
};
use crate::{
    engine::{Config, Length, Pace, clock::Nanos},
    results::{Distribution, Generator, Latency, Pacing, Run, Timeline},
    workload::{Heat, Operation},
};

const NANOS_PER_SECOND: f64 = 1e9;

/// What latencies are kept apart by.
type Series = (Option<Operation>, Option<Heat>, Option<u32>);

/// Histograms of both times.
struct Both {
    response: Histogram<u64>,
    service: Histogram<u64>,
}

/// What the threads left and the starter knows besides.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) timeline: Timeline,
    /// CPU time of the server in the window.
    pub(crate) server_cpu: Option<Duration>,
    /// The run ended before its time.
    pub(crate) gave_up: bool,
}

/// One run of all.
pub(crate) fn run(parts: Parts<'_>) -> Run {
    let Parts {
        config,
        mut tallies,
        timeline,
        server_cpu,
        gave_up,
    } = parts;
    let seconds = window_nanos(config, &tallies) as f64 / NANOS_PER_SECOND;
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    let operations = sum(|tally| tally.operations);
    let (conflicts, misses) = (sum(|tally| tally.conflicts), sum(|tally| tally.misses));
    let (intended, sent) = (sum(|tally| tally.intended), sum(|tally| tally.sent));
    let per_second = |count: u64| {
        if seconds > 0.0 {
            count as f64 / seconds
        } else {
            0.0
        }
    };
    let mut errors = Errors::default();
    let (mut lag, mut pauses) = (histogram(), histogram());
    for tally in &mut tallies {
        errors.merge(std::mem::take(&mut tally.errors));
        merge(&mut lag, &tally.lag);
        merge(&mut pauses, &tally.pauses);
    }
    let all = by_series(&tallies);
    let share = |nanos: Nanos, tally: &Tally| nanos as f64 / tally.measured_nanos.max(1) as f64;
    let busiest = tallies
        .iter()
        .map(|tally| share(tally.cpu_nanos.saturating_sub(tally.spin_nanos), tally))
        .fold(0.0, f64::max);
    let pacing = match &config.pace {
        Pace::Closed { .. } => Pacing::ClosedLoop,
        Pace::Open {
            schedule,
            target_rate,
        } => Pacing::OpenLoop {
            schedule: schedule.clone(),
            target_rate: target_rate.unwrap_or(per_second(intended)),
            achieved_rate: per_second(sent),
        },
    };
    // Judged by the arrivals that came, not by what was meant on average: chance may make fewer.
    let rates = config
        .is_open()
        .then(|| (per_second(intended), per_second(sent)));
    let nothing = histogram();
    let evidence = Evidence {
        rates,
        lag_nanos: &lag,
        pause_nanos: &pauses,
        watched_nanos: tallies.iter().map(|tally| tally.measured_nanos).sum(),
        response_nanos: all
            .get(&(None, None, None))
            .map_or(&nothing, |both| &both.response),
        busiest,
    };
    let objections = trust::objections(&evidence);
    let mut warnings: Vec<String> = objections.iter().map(ToString::to_string).collect();
    if objections.is_empty() {
        warnings.extend(trust::pause_to_beware_of(&evidence));
    }
    warnings.extend(cautions(config, &tallies, &errors, gave_up));
    Run {
        label: String::new(),
        connections: config.connections,
        pipeline: config.pipeline,
        pacing,
        // The caller knows when the whole began.
        begins_seconds: config.warm_up.as_secs_f64(),
        seconds,
        operations,
        throughput: per_second(operations),
        errors: errors.into_kinds(),
        conflicts,
        misses,
        latencies: latencies(all, config.is_open()),
        timeline,
        generator: Generator {
            cpu_share: tallies
                .iter()
                .map(|tally| share(tally.cpu_nanos, tally))
                .collect(),
            lag: Distribution::of(&lag),
            longest_pause: percentile_us(&pauses, 100.0),
            trusted: objections.is_empty(),
            was_late: objections.iter().any(Objection::is_lateness),
            warnings,
        },
        server_cpu_seconds: server_cpu.map(|time| time.as_secs_f64()),
    }
}

/// From the window's opening to its end, or to the last answer where that is the end.
fn window_nanos(config: &Config, tallies: &[Tally]) -> Nanos {
    let longest = |end: fn(&Tally) -> Nanos| {
        tallies
            .iter()
            .map(|tally| end(tally).saturating_sub(tally.opens))
            .max()
            .unwrap_or(0)
    };
    match config.length {
        Length::Time(_) => longest(|tally| tally.closes),
        Length::Operations(_) | Length::Sources => longest(|tally| tally.last_end),
    }
}

/// Sums over the threads, and over what isn't kept apart.
fn by_series(tallies: &[Tally]) -> BTreeMap<Series, Both> {
    let mut all: BTreeMap<Series, Both> = BTreeMap::new();
    for tally in tallies {
        tally.each_series(|operation, heat, core, series| {
            let (operation, heat) = (Some(operation), Some(heat));
            let mut keys = vec![
                (None, None, None),
                (operation, None, None),
                (None, heat, None),
                (operation, heat, None),
            ];
            if core.is_some() {
                keys.extend([(None, None, core), (None, heat, core)]);
            }
            for key in keys {
                let both = all.entry(key).or_insert_with(|| Both {
                    response: histogram(),
                    service: histogram(),
                });
                merge(&mut both.service, &series.service);
                merge(
                    &mut both.response,
                    series.response.as_ref().unwrap_or(&series.service),
                );
            }
        });
    }
    all
}

/// As they are reported: all first; what says the same as a row before is left out.
fn latencies(all: BTreeMap<Series, Both>, is_open_loop: bool) -> Vec<Latency> {
    let heats = all.keys().filter(|key| is_heat_alone(key)).count();
    let cores = all.keys().filter(|key| is_core_alone(key)).count();
    all.into_iter()
        .filter(|((_, heat, core), _)| {
            (heat.is_none() || heats > 1) && (core.is_none() || cores > 1)
        })
        .map(|((operation, heat, server_core), both)| {
            let service = Distribution::of(&both.service);
            let response: Distribution = if is_open_loop {
                Distribution::of(&both.response)
            } else {
                service.clone()
            };
            Latency {
                operation,
                heat,
                server_core,
                response,
                service,
            }
        })
        .collect()
}

fn is_heat_alone(key: &Series) -> bool {
    matches!(key, (None, Some(_), None))
}

fn is_core_alone(key: &Series) -> bool {
    matches!(key, (None, None, Some(_)))
}

/// What a reader should know though the latencies may be believed.
fn cautions(config: &Config, tallies: &[Tally], errors: &Errors, gave_up: bool) -> Vec<String> {
    let mut cautions = Vec::new();
    if !config.is_open() {
        cautions.push("Closed loop: latency not corrected for waiting.".to_owned());
    }
    if gave_up {
        cautions.push(
            "The run ended before its time: it was stopped, or no connection could be opened any more."
                .to_owned(),
        );
    }
    let longest = |age: fn(&Tally) -> Nanos| {
        tallies.iter().map(age).max().unwrap_or(0) as f64 / NANOS_PER_SECOND
    };
    let unanswered = longest(|tally| tally.unanswered_age);
    if unanswered > 0.0 {
        cautions.push(format!(
            "Operations were still unanswered when the time to drain was over; they count as errors and are in no percentile. The oldest had waited {unanswered:.1} s by then."
        ));
    }
    let not_sent = longest(|tally| tally.not_sent_age);
    if not_sent > 0.0 {
        cautions.push(format!(
            "Operations were never sent because no connection had room for them; they count as errors and are in no percentile. The oldest had waited {not_sent:.1} s."
        ));
    }
    let warm_up_errors: u64 = tallies.iter().map(|tally| tally.warm_up_errors).sum();
    if warm_up_errors > 0 {
        cautions.push(format!(
            "There were {warm_up_errors} errors during the warm-up, which are not counted."
        ));
    }
    if errors.total() + warm_up_errors > 0
        && let Some(words) = tallies.iter().find_map(|tally| tally.first_error.as_ref())
    {
        cautions.push(format!("The first error was: {words}."));
    }
    cautions
}
