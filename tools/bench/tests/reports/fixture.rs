//! Made-up reports that look like real ones: log-normal latencies with a tail, a stall, hot keys that are slower, an uneven core.

use std::collections::BTreeMap;

use corduroy_bench::{
    results::{
        Distribution, Generator, Latency, Machine, Pacing, Report, Run, SCHEMA, Server, Slice,
        Timeline,
    },
    workload::{Heat, Operation},
};
use hdrhistogram::Histogram;

/// A random number generator that gives the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Between 0 and 1, both excluded.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Latencies: log-normal around a median in microseconds, of which one in five hundred waits for something.
fn draw(random: &mut Random, median_us: f64) -> f64 {
    let us = median_us * (0.35 * random.normal()).exp();
    if random.uniform() < 0.002 {
        us + 900.0 * (0.6 * random.normal()).exp()
    } else {
        us
    }
}

/// Of so many latencies in microseconds.
fn distribution(values: impl Iterator<Item = f64>) -> Distribution {
    let mut histogram = Histogram::<u64>::new(3).expect("three digits are allowed");
    for us in values {
        histogram
            .record((us * 1_000.0) as u64)
            .expect("the histogram grows");
    }
    Distribution::of(&histogram)
}

/// Response times, and service times that are a part of them.
fn latency(
    random: &mut Random,
    of: (Option<Operation>, Option<Heat>, Option<u32>),
    count: u64,
    median_us: f64,
) -> Latency {
    let responses: Vec<f64> = (0..count).map(|_| draw(random, median_us)).collect();
    let services: Vec<f64> = responses
        .iter()
        .map(|us| us * (0.9 - 0.2 * random.uniform()))
        .collect();
    let (operation, heat, server_core) = of;
    Latency {
        operation,
        heat,
        server_core,
        response: distribution(responses.into_iter()),
        service: distribution(services.into_iter()),
    }
}

/// One run at a rate whose requests take about so many microseconds.
pub(crate) fn run(label: &str, rate: f64, median_us: f64, seed: u64) -> Run {
    let mut random = Random::new(seed);
    let jitter = 1.0 + 0.01 * random.normal();
    let median = median_us * jitter;
    let throughput = rate * (1.0 + 0.002 * random.normal());
    let slices = (0..30)
        .map(|slice| {
            let wobble = 1.0 + 0.03 * random.normal();
            let stall = if slice == 17 { 0.55 } else { 1.0 };
            Slice {
                operations: (throughput * 2.0 * wobble * stall) as u64,
                errors: u64::from(slice == 17) * 3,
                p50: median * (2.0 - wobble),
                p99: median * 2.6 * (2.0 - wobble) / stall.powi(4),
                max: median * 9.0 * (1.0 + random.uniform()) / stall.powi(6),
                histograms: BTreeMap::new(),
            }
        })
        .collect();
    let mut all = Vec::new();
    for (operation, count, factor) in [(Operation::Get, 36_000, 0.95), (Operation::Put, 4_000, 1.5)]
    {
        let of = (Some(operation), None, None);
        all.push(latency(&mut random, of, count, median * factor));
    }
    let both = |time: fn(&Latency) -> &Distribution| {
        Distribution::merged(all.iter().map(time)).expect("they were just made")
    };
    let of_all = Latency {
        operation: None,
        heat: None,
        server_core: None,
        response: both(|latency| &latency.response),
        service: both(|latency| &latency.service),
    };
    all.insert(0, of_all);
    for (heat, count, factor) in [(Heat::Hot, 38_000, 1.0), (Heat::Cold, 2_000, 0.8)] {
        let of = (None, Some(heat), None);
        all.push(latency(&mut random, of, count, median * factor));
    }
    let of = (Some(Operation::Get), Some(Heat::Hot), None);
    all.push(latency(&mut random, of, 34_000, median * 0.97));
    for core in 0..4 {
        let of = (None, None, Some(core));
        let factor = if core == 2 { 1.8 } else { 0.9 };
        all.push(latency(&mut random, of, 10_000, median * factor));
    }
    Run {
        label: label.to_owned(),
        connections: 50,
        pipeline: 16,
        pacing: Pacing::OpenLoop {
            schedule: "poisson".to_owned(),
            target_rate: rate,
            achieved_rate: throughput,
        },
        begins_seconds: 5.0,
        seconds: 60.0,
        operations: (throughput * 60.0) as u64,
        throughput,
        errors: BTreeMap::new(),
        conflicts: 12,
        misses: 345,
        latencies: all,
        timeline: Timeline {
            slice_seconds: 2.0,
            slices,
        },
        generator: Generator {
            cpu_share: vec![0.41, 0.38],
            lag: distribution((0..5_000).map(|_| 3.0 * (0.5 * random.normal()).exp())),
            longest_pause: 0.0,
            trusted: true,
            was_late: false,
            warnings: Vec::new(),
        },
        server_cpu_seconds: Some(41.5),
    }
}

/// A report of these runs.
pub(crate) fn report(runs: Vec<Run>) -> Report {
    let settings = [
        ("keys", "1000000"),
        ("distribution", "hot/cold: 5% of the keys get 95%"),
        ("mix", "get=90 put=10"),
        ("value-len", "64..1024"),
        ("seed", "1"),
    ];
    Report {
        schema: SCHEMA.to_owned(),
        tool: "corduroy-bench 0.1.0".to_owned(),
        started_at: "2026-11-21T16:00:00Z".to_owned(),
        command: ["corduroy-bench", "run", "--rate", "20k", "--hot-keys", "5%"]
            .map(str::to_owned)
            .to_vec(),
        machine: Machine {
            kernel: "Linux 6.12.0".to_owned(),
            cpu: "A CPU at 3.00GHz".to_owned(),
            cpus: 4,
            client_cpus: vec![2, 3],
        },
        server: Server {
            protocol: "native".to_owned(),
            address: "127.0.0.1:7379".to_owned(),
            version: "corduroy 0.1.0".to_owned(),
            durability: "sync always".to_owned(),
            consistency: "one node".to_owned(),
            process: Some("corduroy (1234)".to_owned()),
            shards: Some(4),
        },
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        runs,
    }
}

/// One open-loop run with every field in use, errors and warnings too.
pub(crate) fn single() -> Report {
    let mut run = run("run 1", 20_000.0, 180.0, 1);
    run.errors = [
        ("refused: NOSPACE the disk is full".to_owned(), 3),
        ("timeout".to_owned(), 17),
    ]
    .into();
    run.generator.warnings = vec!["the clock jumped once by 12 µs".to_owned()];
    report(vec![run])
}

/// One closed-loop run.
pub(crate) fn closed() -> Report {
    let mut run = run("run 1", 412_000.0, 110.0, 2);
    run.pacing = Pacing::ClosedLoop;
    for latency in &mut run.latencies {
        latency.response = latency.service.clone();
    }
    report(vec![run])
}

/// One run in which the generator did not keep up.
pub(crate) fn untrusted() -> Report {
    let mut run = run("run 1", 20_000.0, 180.0, 3);
    run.pacing = Pacing::OpenLoop {
        schedule: "constant".to_owned(),
        target_rate: 40_000.0,
        achieved_rate: run.throughput,
    };
    run.generator.trusted = false;
    run.generator.warnings = vec!["20k of 40k operations a second were sent".to_owned()];
    report(vec![run])
}

/// Several runs around a median.
pub(crate) fn repeated(runs: u64, median_us: f64, seed: u64) -> Report {
    let runs = (0..runs)
        .map(|index| {
            let mut run = run(
                &format!("run {}", index + 1),
                20_000.0,
                median_us,
                seed + index,
            );
            run.begins_seconds = 5.0 + 65.0 * index as f64;
            run
        })
        .collect();
    report(runs)
}

/// A sweep whose server has room for 100,000 operations a second (M/M/1), up to beyond it.
pub(crate) fn sweep() -> Report {
    let rates = [10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 105];
    let runs = rates
        .into_iter()
        .map(|thousands| {
            let rate = f64::from(thousands) * 1_000.0;
            let room = (1.0 - rate / 100_000.0).max(0.002);
            let label = format!("rate {}", thousands * 1_000);
            let mut run = run(&label, rate, 60.0 / room, thousands as u64);
            if thousands > 100 {
                run.throughput = 99_000.0;
                run.pacing = Pacing::OpenLoop {
                    schedule: "poisson".to_owned(),
                    target_rate: rate,
                    achieved_rate: 99_000.0,
                };
                run.generator.trusted = false;
                run.generator.warnings =
                    vec!["99k of 105k operations a second were sent".to_owned()];
            }
            run
        })
        .collect();
    report(runs)
}
