//! Leaves commands out of a failing run as long as its last one still gets replies that differ.

use super::generate::Step;
use super::{Difference, Pair};

/// Plays of the run that are spent on it.
const PLAYS_MAX: usize = 400;

/// The fewest steps that were found to fail at their last one.
pub(super) fn shrink(pair: &Pair, steps: Vec<Step>) -> Vec<Step> {
    let mut steps = steps;
    let mut plays = 0;
    let mut len = steps.len() / 2;
    while len > 0 {
        let mut at = 0;
        // The last one stays.
        while at + 1 < steps.len() && plays < PLAYS_MAX {
            let end = (at + len).min(steps.len() - 1);
            let mut fewer = steps.clone();
            fewer.drain(at..end);
            plays += 1;
            if fails_at_its_end(pair, &fewer) {
                steps = fewer;
            } else {
                at = end;
            }
        }
        len /= 2;
    }
    steps
}

fn fails_at_its_end(pair: &Pair, steps: &[Step]) -> bool {
    matches!(
        pair.play(steps),
        Err(Difference { at, silent: false, .. }) if at + 1 == steps.len()
    )
}
