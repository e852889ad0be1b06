//! How runs end before their time.

use corduroy_bench::results;

use crate::{
    process::{corduroy, redis},
    support::{is_progress, word},
};

// What was measured until Ctrl-C is not lost.
#[test]
fn ctrl_c_prints_what_was_measured() {
    let server = corduroy();
    let result = server.data.path().join("interrupted.json");
    for pace in ["", "--rate 2k", "--runs 5"] {
        let words = format!(
            "run --keys 1000 --load --duration 1h --warm-up 0 --json {} {pace}",
            word(&result)
        );
        let mut running = server.begin(&words);
        running.until(|line| line.starts_with("run") && is_progress(line));
        running.interrupt();
        let said = running.end().with(130);
        said.says("operations in ");
        let report = results::read(&result).unwrap();
        assert_eq!(report.runs.len(), 1, "no run begins after Ctrl-C");
        let run = &report.runs[0];
        assert!(run.operations > 0 && run.seconds < 600.0, "{run:?}");
    }
}

#[test]
fn ctrl_c_ends_a_load_and_a_sweep() {
    let server = corduroy();
    for words in [
        "load --keys 1G -c 1",
        "run --keys 1G --load -c 1",
        "sweep --keys 1000 --load --step 1h",
    ] {
        let mut running = server.begin(words);
        running.until(is_progress);
        running.interrupt();
        running.end().with(130);
    }
}

// The first error ends the run, and that is no Ctrl-C.
#[test]
fn the_first_error_ends_the_run_where_that_is_asked_for() {
    let server = corduroy();
    let words = "run --keys 1000 --duration 1h --warm-up 0 --mix get --stop-on-error --runs 3";
    let said = server.bench(words).with(0);
    said.says("missing key");
    assert!(!said.out.contains("run 2"), "{}", said.out);
}

// A server that dies and never returns: nobody waits for ever, and what is missing is said.
#[test]
fn a_server_that_never_returns() {
    for words in [
        "load --protocol resp --keys 1G --timeout 300ms",
        "run --protocol resp --keys 1000 --warm-up 0 -n 1G --timeout 300ms",
        "run --protocol resp --keys 1000 --warm-up 0 --duration 2s --timeout 300ms",
        "run --protocol resp --keys 1000 --warm-up 0 --duration 2s --rate 5k --timeout 300ms",
    ] {
        let Some(mut server) = redis(&[]) else { return };
        server.bench("load --protocol resp --keys 1000").with(0);
        let mut running = server.begin(words);
        running.until(is_progress);
        server.child.kill().unwrap();
        let said = running.end();
        said.says("cannot connect");
        if words.starts_with("load") {
            said.with(1).says("were not written");
        } else {
            said.with(0);
        }
    }
}

// While the server is away errors are counted; when it is back the run goes on.
#[test]
fn a_server_that_returns() {
    let Some(mut server) = redis(&[]) else { return };
    let mut running =
        server.begin("run --protocol resp --mix put --duration 1h --warm-up 0 -c 5 --timeout 1s");
    running.until(is_progress);
    server.start_again();
    running.until(|line| line.contains("errors"));
    running.until(is_progress);
    running.interrupt();
    running.end().with(130).says("broken connection");
}
