//! A run from the first key to the report: fill, warm-up, window, drain.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::{
    Config, DriveError,
    engine::Engine,
    protocol::Dialect,
    report::{Latency, Report, ServerCpu, ratio},
    workload::Source,
};
use crate::process::{CpuTime, MachineTime};

/// Requests in flight a connection while the keys are written, however few the run itself has.
const FILL_IN_FLIGHT_MIN: u32 = 64;

/// Clocks at one moment.
struct Snapshot {
    at: Instant,
    client_cpu: Duration,
    server_cpu: Option<CpuTime>,
    machine: MachineTime,
}

impl Snapshot {
    fn take(config: &Config) -> Result<Snapshot, DriveError> {
        let server_cpu = match config.server_pid {
            None => None,
            Some(pid) => {
                Some(CpuTime::of(pid).map_err(|source| DriveError::ServerCpu { pid, source })?)
            }
        };
        let client_cpu = clock_gettime(ClockId::ThreadCPUTime);
        Ok(Snapshot {
            at: Instant::now(),
            client_cpu: Duration::new(client_cpu.tv_sec as u64, client_cpu.tv_nsec as u32),
            server_cpu,
            machine: MachineTime::now().map_err(DriveError::io("read the machine's CPU time"))?,
        })
    }
}

/// Carries out one run in this language.
///
/// # Errors
///
/// Whatever ended the run early.
pub(super) fn run<D: Dialect>(dialect: D, config: &Config) -> Result<Report, DriveError> {
    let mut engine = Engine::connect(dialect, config)?;
    if config.preload {
        engine.set_source(Source::Fill {
            next: 0,
            end: config.keys,
        });
        engine.ask(config.in_flight.max(FILL_IN_FLIGHT_MIN))?;
        engine.drain()?;
    }
    // A run without any time is a fill alone.
    if !(config.warm_up + config.window).is_zero() {
        engine.set_source(Source::Random {
            puts_percent: config.puts_percent(),
        });
        engine.ask(config.in_flight)?;
    }
    pump(&mut engine, config.warm_up, u64::MAX)?;

    let opened = Snapshot::take(config)?;
    engine.tally.open();
    pump(
        &mut engine,
        config.window,
        config.requests.unwrap_or(u64::MAX),
    )?;
    let closed = Snapshot::take(config)?;
    let requests = engine.tally.replies;
    let latency_us = Latency::of(&engine.tally.latency_nanos);

    engine.set_source(Source::Dry);
    engine.drain()?;

    let window_seconds = closed.at.duration_since(opened.at).as_secs_f64();
    let server = match (&opened.server_cpu, &closed.server_cpu) {
        (Some(before), Some(after)) => {
            let total = after.total.saturating_sub(before.total);
            Some(ServerCpu::new(
                total,
                after.threads_since(before),
                requests,
                window_seconds,
            ))
        }
        _ => None,
    };
    let client_cpu = closed
        .client_cpu
        .saturating_sub(opened.client_cpu)
        .as_secs_f64();
    let others_cores = server.as_ref().map_or(0.0, |server| {
        let busy = closed.machine.since(opened.machine).busy.as_secs_f64();
        // Ticks are coarse: what is left of a short window may be a little less than nothing.
        ratio(busy - server.seconds - client_cpu, window_seconds).max(0.0)
    });
    Ok(Report {
        config: config.clone(),
        window_seconds,
        requests,
        requests_per_second: ratio(requests as f64, window_seconds),
        latency_us,
        server,
        client_cpu_share: ratio(client_cpu, window_seconds),
        others_cores,
        errors: engine.tally.errors,
    })
}

/// Turns until the time is over or so many replies are there.
fn pump<D: Dialect>(
    engine: &mut Engine<'_, D>,
    time: Duration,
    replies: u64,
) -> Result<(), DriveError> {
    let end = Instant::now() + time;
    while Instant::now() < end && engine.tally.replies < replies {
        engine.turns()?;
    }
    Ok(())
}
