//! `load` and `run`: what is asked is what was meant, in each language.

use corduroy_bench::{
    results::Pacing,
    workload::{Heat, Operation},
};

use crate::{
    process::{Process, corduroy, memcached, redis},
    support::{operations, rows},
};

/// Everything that a language knows, in a closed loop and in an open one.
pub(crate) fn everything(server: &Process, protocol: &str, unknown: &[Operation]) {
    let language = format!("--protocol {protocol} --keys 500");
    let loaded = server.bench(&format!("load {language}")).with(0);
    loaded.says("500 keys written");
    let is_known = |operation: &Operation| !unknown.contains(operation);
    let all: Vec<Operation> = Operation::ALL.into_iter().filter(is_known).collect();
    let weights = all.iter().map(|operation| format!("{operation}=1"));
    let mix = weights.collect::<Vec<_>>().join(",") + ",insert=1";
    for pace in ["-c 10 -P 4", "-c 10 -P 4 --rate 5k --threads 2"] {
        let words = format!("run {language} --mix {mix} -n 2500 --warm-up 0 {pace} --live never");
        let run = server.run(&words);
        assert_eq!(operations(&run), all, "{words}");
        assert_eq!(run.operations, 2_500, "{words}");
        let is_open = matches!(run.pacing, Pacing::OpenLoop { .. });
        assert_eq!(is_open, pace.contains("--rate"));
    }
}

#[test]
fn everything_in_the_native_protocol() {
    everything(&corduroy(), "native", &[]);
}

#[test]
fn everything_in_resp() {
    if let Some(server) = redis(&[]) {
        // Debian's has no `SET key value IFEQ old` yet, and says so.
        let cas = Operation::CompareAndSet;
        everything(&server, "resp", &[cas]);
        let said = server.bench("run --protocol resp --mix cas -n 1");
        if said.code != 0 {
            said.with(2).says("read-modify-write");
        }
    }
}

#[test]
fn everything_in_memcached_text() {
    if let Some(server) = memcached(&[]) {
        everything(&server, "memcached-text", &[Operation::Scan]);
        server
            .bench("run --protocol memcached-text --mix scan=1 -n 1")
            .with(2)
            .says("scan");
    }
}

// A keyspace that was loaded holds exactly the keys that a run asks for.
#[test]
fn a_load_writes_each_key_once_and_fresh_removes_the_others() {
    let server = corduroy();
    let read = "run --mix get=1 -d sequential -c 1 -n 3000 --warm-up 0 --keys 3000";
    for words in [
        "load --keys 3000 -c 7 --value-size 10-2000",
        "load --keys 3k --route direct -c 2 --threads 2",
    ] {
        server.bench(words).with(0).says("3,000 keys written");
        assert_eq!(server.run(read).operations, 3_000);
    }
    server.bench("load --keys 1000 --fresh").with(0);
    let said = server.bench(&format!("{read} --fail-if errors>0")).with(1);
    said.says("2,000 × missing key");
    said.says("fill the keyspace first");
    server.run(&format!("{read} --load"));
}

#[test]
fn the_workloads_of_ycsb() {
    let server = corduroy();
    server.bench("load --keys 1000").with(0);
    for (name, asked) in [
        ("a", vec![Operation::Get, Operation::Put]),
        ("b", vec![Operation::Get, Operation::Put]),
        ("c", vec![Operation::Get]),
        ("d", vec![Operation::Get, Operation::Put]),
        ("e", vec![Operation::Put, Operation::Scan]),
        ("f", vec![Operation::Get, Operation::ReadModifyWrite]),
    ] {
        let words = format!("run -w ycsb-{name} --keys 1000 -n 600 --warm-up 0 -c 5");
        assert_eq!(operations(&server.run(&words)), asked, "{name}");
    }
}

#[test]
fn every_distribution_and_the_cores_of_the_server() {
    let server = corduroy();
    server.bench("load --keys 1000").with(0);
    for (distribution, has_both) in [
        ("uniform", false),
        ("sequential", false),
        ("zipfian", true),
        ("zipfian:0.5", true),
        ("latest", true),
        ("hot-cold --hot-keys 10% --hot-ops 80%", true),
        ("moving --move-every 20ms", true),
        ("single --hot-ops 50%", true),
        ("single", false),
    ] {
        for route in ["any", "direct"] {
            let words = format!(
                "run --keys 1000 -d {distribution} --route {route} -c 4 -n 2000 --warm-up 0"
            );
            let run = server.run(&words);
            let count = |heat| {
                let of_all = move |row: &corduroy_bench::results::Latency| {
                    row.operation.is_none() && row.server_core.is_none() && row.heat == Some(heat)
                };
                rows(&run, of_all)
                    .map(|row| row.response.count)
                    .sum::<u64>()
            };
            let (hot, cold) = (count(Heat::Hot), count(Heat::Cold));
            assert_eq!(hot > 0 && cold > 0, has_both, "{words}: {hot} {cold}");
            if has_both {
                assert_eq!(hot + cold, 2_000, "{words}");
            }
            if distribution.starts_with("hot-cold") {
                assert!((1_500..1_700).contains(&hot), "{words}: {hot}");
            }
            // A single hot key is on one core; all others are spread over both.
            let cores = rows(&run, |row| {
                row.operation.is_none() && row.heat.is_none() && row.server_core.is_some()
            });
            let is_spread = distribution != "single" || route == "direct";
            let has_several = std::thread::available_parallelism().unwrap().get() > 1;
            assert_eq!(
                cores.count(),
                if is_spread && has_several { 2 } else { 0 },
                "{words}"
            );
        }
    }
    let said = server.bench("run --keys 1000 --route direct -c 1 -n 1");
    if said.code != 0 {
        said.says("--connections 2");
    }
}

// Each measurement stands for itself: repeated runs and a staircase of clients are told apart in the report and in the table.
#[test]
fn repetitions_and_staircases() {
    let server = corduroy();
    server.bench("load --keys 1000").with(0);
    let report = server.report("run --keys 1000 --runs 2 --clients 1,3 -n 200 --warm-up 0");
    let runs: Vec<_> = report
        .runs
        .iter()
        .map(|run| (run.label.as_str(), run.connections, run.operations))
        .collect();
    assert_eq!(
        runs,
        [
            ("1 client, run 1", 1, 200),
            ("3 clients, run 1", 3, 200),
            ("1 client, run 2", 1, 200),
            ("3 clients, run 2", 3, 200),
        ]
    );
    let said = server
        .bench("run --keys 1000 --clients 1,3 -n 200 --warm-up 0")
        .with(0);
    said.says("1 to 3 connections");
}

// Schedules that change their rate measure for as long as they last.
#[test]
fn schedules() {
    let server = corduroy();
    server.bench("load --keys 1000").with(0);
    for (rate, seconds, mean) in [
        ("poisson:2k --duration 300ms", 0.3, 2_000.0),
        ("ramp:1k..3k/400ms", 0.4, 2_000.0),
        ("stairs:1k,2k/200ms", 0.4, 1_500.0),
    ] {
        let run = server.run(&format!("run --keys 1000 --warm-up 0 --rate {rate}"));
        assert!(
            (run.seconds - seconds).abs() < 1e-6,
            "{rate}: {}",
            run.seconds
        );
        let Pacing::OpenLoop { target_rate, .. } = run.pacing else {
            panic!("{rate}: {:?}", run.pacing)
        };
        assert!(
            (target_rate - mean).abs() < 0.01 * mean,
            "{rate}: {target_rate}"
        );
    }
}

// CPU time is what tells two servers apart where the generator is the limit, and nobody looks up a process's number first.
#[test]
fn the_server_s_process_is_found_by_its_port() {
    let server = corduroy();
    let report = server.report("run --keys 1000 --load --duration 1s --warm-up 0");
    let process = format!("corduroy ({})", server.child.id());
    assert_eq!(report.server.process, Some(process));
    assert!(report.runs[0].server_cpu_seconds > Some(0.0));
    let other = std::process::id();
    let report = server.report(&format!(
        "run --keys 1000 -n 100 --warm-up 0 --server-pid {other}"
    ));
    let process = report.server.process.unwrap();
    assert!(process.ends_with(&format!(" ({other})")), "{process}");
}

// As many connections as a service has on a busy day.
#[test]
fn two_thousand_connections() {
    let server = corduroy();
    server.bench("load --keys 1000").with(0);
    let run = server.run("run --keys 1000 -c 2000 -n 20k --warm-up 0 --threads 2");
    assert_eq!((run.connections, run.operations), (2_000, 20_000));
}
