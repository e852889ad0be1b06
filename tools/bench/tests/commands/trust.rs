//! A generator that was stopped must not take that for the server's slowness.

use std::time::Duration;

use corduroy_bench::results::{self, Run};

use crate::{
    process::corduroy,
    support::{is_progress, rows, word},
};

const STOPPED: Duration = Duration::from_secs(2);

/// The latencies of all operations.
fn slowest_us(run: &Run) -> f64 {
    let is_all = |row: &results::Latency| {
        row.operation.is_none() && row.heat.is_none() && row.server_core.is_none()
    };
    rows(run, is_all).map(|row| row.response.max).sum()
}

// A whole process that stands still for two of ten seconds wakes to a backlog in which only ten operations have a connection to go out on: if these alone were
// late through its own fault, the other two thousand would be the server's, with a p99 of nearly two seconds. In a closed loop there isn't even a lag.
#[test]
fn a_generator_that_was_stopped_claims_no_latency() {
    let server = corduroy();
    let result = server.data.path().join("stopped.json");
    server.bench("load --keys 1000").with(0);
    for pace in ["--rate 1k", "--rate poisson:1k --threads 2", ""] {
        let words = format!(
            "run --keys 1000 -c 10 --duration 10s --warm-up 0 --fail-if p99>3600s --json {} {pace}",
            word(&result)
        );
        let mut running = server.begin(&words);
        running.until(is_progress);
        running.suspend(STOPPED);
        let said = running.end().with(1);
        said.says("FAIL: p99>3600s can't be told");
        said.says("The generator itself stood still, for 2.0");
        said.says("No latency is claimed");
        let report = results::read(&result).unwrap();
        let run = &report.runs[0];
        let generator = &run.generator;
        assert!(!generator.trusted && generator.was_late, "{generator:?}");
        assert!(
            generator.longest_pause > 0.98 * STOPPED.as_secs_f64() * 1e6,
            "{generator:?}"
        );
        assert!(
            slowest_us(run) > 0.9 * STOPPED.as_secs_f64() * 1e6,
            "{pace}: what it has seen is told all the same"
        );
        // One in five operations was meant to start while it stood still, and nearly all of these waited for a connection to be free.
        let is_open = !pace.is_empty();
        assert_eq!(generator.lag.p99 > 1_500_000.0, is_open, "{generator:?}");
    }
}

// The goal is not missed by a server whose generator did not look.
#[test]
fn a_sweep_measures_again_where_the_generator_was_late() {
    let server = corduroy();
    server.bench("load --keys 1000").with(0);
    let mut running = server
        .begin("sweep --keys 1000 -c 5 --from 200 --to 200 --step 3s --warm-up 0 --slo p99<10s");
    running.until(is_progress);
    running.suspend(STOPPED);
    let said = running.end().with(0);
    said.says("200/s is measured again: The generator itself stood still, for 2.0");
    let steps = said.out.lines().filter(|line| line.starts_with(" 200/s"));
    assert!(steps.count() <= 1, "{}", said.out);
}
