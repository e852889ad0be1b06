//! `--fail-if` and `--slo` asked of reports.

use corduroy_bench::report::{
    condition::{Condition, NotMeasured, Slo},
    knee::{Highest, sweep},
};

use crate::fixture;

fn condition(text: &str) -> Condition {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn conditions_hold_or_do_not() {
    let report = fixture::single();
    for (text, holds) in [
        ("p99>100us", true),
        ("p99>1s", false),
        ("p99.95<1s", true),
        ("errors>0", true),
        ("errors>20", false),
        ("error-rate>1%", false),
        ("throughput<100k", true),
        ("get.throughput>100", true),
        ("get.hot.p50<1s", true),
        ("lag.p99<1ms", true),
        ("achieved>98%", true),
        ("misses=345", true),
    ] {
        let verdict = condition(text).check(&report).unwrap();
        assert_eq!(verdict.holds, holds, "{}", verdict.sentence);
    }
    let said = condition("errors>0").check(&report).unwrap().sentence;
    assert_eq!(said, "errors is 20: errors>0 holds");
}

// A check that passes because nothing was measured is worse than none.
#[test]
fn what_can_not_be_told_is_an_error() {
    let trusted = fixture::single();
    let error = condition("scan.p99>1ms").check(&trusted).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scan was not measured apart; the report has all, get, put, hot, cold, get.hot, core0, core1, core2, core3"
    );
    let untrusted = fixture::untrusted();
    let error = condition("p99>1ms").check(&untrusted).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no latency can be claimed: 20k of 40k operations a second were sent"
    );
    assert!(condition("lag.p99>1ms").check(&untrusted).is_ok());
    assert!(condition("throughput<1").check(&untrusted).is_ok());
    let closed = fixture::closed();
    assert_eq!(
        condition("achieved<99%").check(&closed),
        Err(NotMeasured::ClosedLoop)
    );
    let none = fixture::report(Vec::new());
    assert_eq!(condition("errors>0").check(&none), Err(NotMeasured::NoRuns));
}

#[test]
fn the_step_is_named() {
    let said = condition("throughput>65k")
        .check(&fixture::sweep())
        .unwrap();
    assert!(said.holds);
    assert!(
        said.sentence.starts_with("rate 70000: throughput is "),
        "{}",
        said.sentence
    );
}

#[test]
fn a_sweep_answers_its_goal() {
    let slo: Slo = "p99<2ms".parse().unwrap();
    let found = sweep(&fixture::sweep(), Some(&slo)).unwrap();
    let Some(Highest::Reached { point, outlier, .. }) = found.highest else {
        panic!("{:?}", found.highest);
    };
    assert!(found.points[point].time < 2_000.0);
    assert!(found.points[point + 1].broken_by.is_some());
    assert_eq!(outlier, None);
    let knee = found.points[found.knee.clone().unwrap()].rate;
    assert!((80_000.0..=95_000.0).contains(&knee), "{knee}");
    let text = found.sentences(Some(&slo)).join("\n");
    assert!(
        text.contains("The highest rate that meets p99<2ms is"),
        "{text}"
    );
}

// On a busy machine one step in which the generator was late once ended the sweep: "No rate that was tried meets the goal".
#[test]
fn steps_in_which_the_generator_was_late_are_not_judged() {
    let slo: Slo = "p99<2ms".parse().unwrap();
    let on_time = sweep(&fixture::sweep(), Some(&slo)).unwrap();
    let mut report = fixture::sweep();
    for late in [0, 2] {
        let generator = &mut report.runs[late].generator;
        generator.trusted = false;
        generator.was_late = true;
    }
    let found = sweep(&report, Some(&slo)).unwrap();
    assert_eq!(found.highest, on_time.highest);
    assert_eq!(found.knee, on_time.knee);
    assert_eq!(found.points.len(), on_time.points.len());
    for run in &mut report.runs {
        run.generator.trusted = false;
        run.generator.was_late = true;
    }
    let nothing = sweep(&report, Some(&slo)).unwrap();
    assert!(matches!(nothing.highest, Some(Highest::None { .. })));
    assert!(nothing.knee.is_err());
}

// A server that refuses quickly has a fine p99.
#[test]
fn errors_break_a_goal_that_does_not_speak_of_them() {
    let report = fixture::single();
    let broken = |text: &str| text.parse::<Slo>().unwrap().broken_by(&report.runs[0]);
    assert_eq!(broken("p99<1s").as_deref(), Some("20 errors"));
    assert_eq!(broken("p99<1s,error-rate<1%"), None);
    assert_eq!(broken("p99<1s,errors<10").as_deref(), Some("errors is 20"));
}
