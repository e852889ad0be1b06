//! The simulated world, over the seeds that every test run tries and over those that once found something.
//!
//! `docs/testing.md` says what a run is and what it checks; `cargo xtask simulate --seed N` replays one.

use std::panic::catch_unwind;

use corduroy::runtime::sim::{Report, run};

/// Runs a seed; whatever goes wrong, the seed is in the message.
fn good(seed: u64) -> Report {
    match catch_unwind(|| run(seed)) {
        Ok(Ok(report)) => report,
        Ok(Err(failure)) => panic!("{failure}"),
        Err(_) => panic!("seed {seed} fails an assertion, see above"),
    }
}

/// A node that loses, mixes up or holds back something under load, crashes and faults of its disk.
#[test]
fn the_first_seeds_are_good() {
    for seed in 0..300 {
        good(seed);
    }
}

/// Each of these once found a bug, in the node or in the simulator itself. A change of the simulator makes another run of a seed, so
/// what was found in the node has a test of its own besides; here they cost nothing and sometimes meet again what is near.
#[test]
fn seeds_that_found_something_stay_good() {
    for seed in [
        66, 78, 132, 161, 168, 198, 218, 304, 375, 402, 451, 473, 642, 813, 924, 1086, 1133, 1137,
        1181, 1596, 1932, 1942, 2931, 2190, 4239, 4403, 5335, 7439, 7822, 8134, 9019, 9139, 10_674,
    ] {
        good(seed);
    }
}

/// A failure that can't be replayed can't be mended: something that depends on a hash map's order, on an address or on the real
/// clock would make another run of the same seed.
#[test]
fn a_seed_replays_exactly() {
    for seed in 1000..1030 {
        assert_eq!(good(seed), good(seed), "two runs of seed {seed} differ");
    }
}

/// A simulator whose faults never happen passes everything. These must have been met within a few hundred seeds.
#[test]
fn the_seeds_reach_what_they_are_for() {
    // A client is told of damage in one seed of a hundred; four hundred seeds may have a single one.
    let reports: Vec<Report> = (3000..3700).map(good).collect();
    let sum = |pick: fn(&Report) -> u64| reports.iter().map(pick).sum::<u64>();
    assert!(sum(|report| report.tally.reshards) > 50);
    assert!(sum(|report| report.tally.deaths_in_reshard) > 30);
    assert!(sum(|report| report.tally.records_moved) > 700);
    assert!(sum(|report| report.tally.power_losses) > 100);
    assert!(sum(|report| report.tally.kills) > 50);
    assert!(sum(|report| report.tally.clean_stops) > 300);
    assert!(sum(|report| report.tally.stops_cut_short) > 10);
    assert!(sum(|report| report.tally.deaths_in_repair) > 10);
    assert!(sum(|report| report.tally.lost_sectors) > 3);
    assert!(sum(|report| report.tally.gone_files) > 0);
    assert!(sum(|report| report.tally.rogues) > 100);
    assert!(sum(|report| report.tally.redis_clients) > 3000);
    assert!(sum(|report| report.tally.redis_replies) > 30_000);
    let undecided = sum(|report| report.tally.redis_undecided);
    // Which histories are hard to judge changes with every change of the simulator; how many in all must not.
    let clients = sum(|report| report.tally.redis_clients);
    assert!(
        undecided * 500 < clients,
        "{undecided} histories of {clients} clients are too long to be judged"
    );
    assert!(sum(|report| report.tally.backups) > 100);
    let scrub_reads = sum(|report| report.tally.scrub_reads);
    assert!(scrub_reads > 500, "{scrub_reads}");
    let scrub_found = sum(|report| report.tally.scrub_found);
    assert!(scrub_found > 5, "{scrub_found}");
    let summaries_saved = sum(|report| report.tally.summaries_saved);
    assert!(summaries_saved > 20, "{summaries_saved}");
    let summaries_used = sum(|report| report.tally.summaries_used);
    assert!(summaries_used > 30, "{summaries_used}");
    let summaries_refused = sum(|report| report.tally.summaries_refused);
    assert!(summaries_refused > 5, "{summaries_refused}");
    let summaries_damaged = sum(|report| report.tally.summaries_damaged);
    assert!(summaries_damaged > 5, "{summaries_damaged}");
    let segments_loaded = sum(|report| report.tally.segments_loaded);
    assert!(segments_loaded > 5, "{segments_loaded}");
    let written_at_once = sum(|report| report.tally.written_at_once);
    assert!(written_at_once > 1000, "{written_at_once}");
    let repairs = sum(|report| report.tally.repairs);
    assert!(repairs > 300, "{repairs}");
    assert!(sum(|report| report.tally.records_recovered) > 10_000);
    assert!(sum(|report| report.tally.damage_reported) > 10);
    assert!(sum(|report| report.tally.salvages) > 5);
    assert!(sum(|report| report.tally.records_given_up) > 3);
    assert!(sum(|report| report.tally.cold_reads) > 100);
    assert!(sum(|report| report.tally.bad_reads) > 5);
    assert!(sum(|report| report.tally.damage_told) > 3);
    assert!(sum(|report| report.tally.disk_errors) > 100);
    let full_disks = sum(|report| report.tally.full_disks);
    assert!(full_disks > 20, "{full_disks}");
    assert!(sum(|report| report.tally.removals) > 30);
    assert!(sum(|report| report.tally.clock_jumps) > 50);
    assert!(sum(|report| report.tally.scans) > 500);
    assert!(sum(|report| report.tally.batches_refused) > 500);
    assert!(
        sum(|report| report.tally.answers) > sum(|report| report.tally.requests) / 2,
        "most requests are answered before something kills the node"
    );
}
