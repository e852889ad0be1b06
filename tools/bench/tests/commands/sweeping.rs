//! `sweep`.

use crate::process::corduroy;

// On a machine that is busy with other things even a modest goal may be missed, but never without a reason.
#[test]
fn a_goal_that_can_be_met_and_one_that_cannot() {
    let server = corduroy();
    let sweep = "sweep --keys 500 --load -c 5 --from 200 --to 450 --step 300ms --warm-up 0";
    let words = format!("{sweep} --slo p99<10s");
    let report = server.report(&words);
    assert!(!report.runs.is_empty() && report.runs.len() < 10);
    assert_eq!(report.settings["slo"], "p99<10s");
    let said = server.bench(&words).with(0);
    for line in said
        .err
        .lines()
        .filter(|line| line.contains("/s ") && line.contains("goal"))
    {
        assert!(
            line.ends_with("meets the goal")
                || line.contains("breaks the goal: ")
                || line.contains("says nothing of the goal: "),
            "{line}"
        );
    }
    // The name that `run` has for it is understood too.
    let sweep = sweep.replace("--step", "--duration");
    let said = server.bench(&format!("{sweep} --slo p99<1us")).with(0);
    // On a busy machine the generator may have been late each time.
    assert!(
        said.err.contains("200/s breaks the goal: ")
            || said.err.contains("200/s says nothing of the goal: "),
        "{}",
        said.err
    );
    assert!(!said.err.contains("meets the goal"), "{}", said.err);
}

#[test]
fn rates_that_make_no_sense() {
    let server = corduroy();
    server
        .bench("sweep --from 2k --to 1k")
        .with(2)
        .says("is over --to");
}
