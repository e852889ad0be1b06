//! Two reports held against each other.

use corduroy_bench::report::compare::{Verdict, compare, text};

use crate::fixture::{self, repeated};

fn verdict_of(
    comparison: &corduroy_bench::report::compare::Comparison,
    scope: &str,
    figure: &str,
) -> Verdict {
    comparison.steps[0]
        .rows
        .iter()
        .find(|row| row.scope == scope && row.figure == figure)
        .unwrap_or_else(|| panic!("no {scope} {figure}"))
        .verdict
}

#[test]
fn a_difference_is_told_from_noise() {
    let before = repeated(5, 180.0, 100);
    let slower = compare(&before, &repeated(5, 198.0, 200)).unwrap();
    assert_eq!(verdict_of(&slower, "all", "p50"), Verdict::Worse);
    assert_eq!(verdict_of(&slower, "all", "throughput"), Verdict::Noise);
    assert_eq!(verdict_of(&slower, "all", "errors"), Verdict::Noise);
    let faster = compare(&before, &repeated(5, 150.0, 300)).unwrap();
    assert_eq!(verdict_of(&faster, "hot", "p99"), Verdict::Better);
    assert!(slower.warnings.is_empty(), "{:?}", slower.warnings);
}

// Where nothing changed, about one figure in twenty may look changed, not more. Twenty comparisons.
#[test]
fn what_did_not_change_is_noise() {
    let (mut changed, mut all) = (0, 0);
    for round in 0..20 {
        let before = repeated(4, 180.0, 1_000 + round * 10);
        let after = repeated(4, 180.0, 5_000 + round * 10);
        let comparison = compare(&before, &after).unwrap();
        for row in &comparison.steps[0].rows {
            all += 1;
            changed += usize::from(matches!(row.verdict, Verdict::Better | Verdict::Worse));
        }
    }
    assert!(all > 300);
    assert!(changed * 10 < all, "{changed} of {all}");
}

#[test]
fn single_runs_say_nothing_of_noise() {
    let comparison = compare(&repeated(1, 180.0, 1), &repeated(5, 280.0, 2)).unwrap();
    let rows = &comparison.steps[0].rows;
    assert!(
        rows.iter()
            .all(|row| row.verdict == Verdict::Unknown && row.interval.is_none())
    );
    let text = text(&comparison);
    assert!(text.contains("Nothing can be said about noise"), "{text}");
}

#[test]
fn different_circumstances_are_named() {
    let before = repeated(2, 180.0, 1);
    let mut after = repeated(2, 180.0, 2);
    after.settings.insert("keys".to_owned(), "5".to_owned());
    after.machine.kernel = "Linux 7.0".to_owned();
    after.server.durability = "sync never".to_owned();
    let warnings = compare(&before, &after).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "setting keys: 1000000 before, 5 after",
            "server's durability: sync always before, sync never after",
            "kernel: Linux 6.12.0 before, Linux 7.0 after",
        ]
    );
    let mut other_rate = fixture::sweep();
    other_rate.runs.truncate(1);
    let comparison = compare(&before, &other_rate).unwrap();
    assert!(comparison.steps.is_empty());
    assert!(
        comparison
            .warnings
            .iter()
            .any(|warning| warning.starts_with("only the first report has ")
                && warning.contains("/s, 50 connections, pipeline "))
    );
    assert!(text(&comparison).contains("Nothing was asked alike"));
}

// What more connections or a longer pipeline did is the commonest question of all.
#[test]
fn a_result_with_another_pipeline_is_compared_all_the_same() {
    let before = repeated(5, 180.0, 100);
    let mut after = repeated(5, 280.0, 200);
    for run in &mut after.runs {
        run.pipeline = 1;
    }
    let comparison = compare(&before, &after).unwrap();
    assert_eq!(verdict_of(&comparison, "all", "p50"), Verdict::Worse);
    assert!(comparison.warnings.is_empty(), "{:?}", comparison.warnings);
}

// What can't be claimed of a run can't be compared either.
#[test]
fn latencies_that_can_not_be_claimed_are_left_out() {
    let before = repeated(3, 180.0, 1);
    let mut after = repeated(3, 180.0, 2);
    after.runs[1].generator.trusted = false;
    let comparison = compare(&before, &after).unwrap();
    assert!(comparison.steps[0].rows.iter().all(|row| row.unit != "us"));
    assert!(comparison.warnings[0].contains("latencies are left out"));
}

#[test]
fn as_text_and_as_json() {
    let comparison = compare(&repeated(5, 180.0, 100), &repeated(5, 198.0, 200)).unwrap();
    insta::assert_snapshot!("compare", text(&comparison));
    let json = serde_json::to_value(&comparison).unwrap();
    assert_eq!(json["steps"][0]["rows"][0]["figure"], "throughput");
    assert_eq!(json["steps"][0]["rows"][0]["verdict"], "noise");
}
