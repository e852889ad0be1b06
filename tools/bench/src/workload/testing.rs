//! What the tests of distributions share: Pearson's chi-square test.

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// The chance that counts as uneven as these, or more so, come from these probabilities. Rare categories are put together until
/// each expects at least ten, as the test demands.
pub(super) fn likelihood(counts: &[u64], probabilities: &[f64]) -> f64 {
    assert_eq!(counts.len(), probabilities.len());
    let draws: u64 = counts.iter().sum();
    let mut categories: Vec<(f64, f64)> = Vec::new();
    for (count, probability) in counts.iter().zip(probabilities) {
        let (count, expected) = (*count as f64, probability * draws as f64);
        match categories.last_mut() {
            Some(last) if last.1 < 10.0 => *last = (last.0 + count, last.1 + expected),
            _ => categories.push((count, expected)),
        }
    }
    let rare = categories.pop_if(|last| last.1 < 10.0);
    if let (Some(last), Some(rare)) = (categories.last_mut(), rare) {
        *last = (last.0 + rare.0, last.1 + rare.1);
    }
    let statistic: f64 = categories
        .iter()
        .map(|(seen, expected)| (seen - expected) * (seen - expected) / expected)
        .sum();
    let categories = categories.len() as u32;
    assert!(categories > 1, "nothing to compare");
    let distribution = ChiSquared::new(f64::from(categories - 1)).unwrap();
    1.0 - distribution.cdf(statistic)
}

/// Fails if counts like these come up less than once in ten thousand times. Seeds are fixed, so a test either always fails or never.
pub(super) fn assert_fits(counts: &[u64], probabilities: &[f64]) {
    let total: f64 = probabilities.iter().sum();
    assert!(
        (total - 1.0).abs() < 1e-9,
        "probabilities add up to {total}"
    );
    let likelihood = likelihood(counts, probabilities);
    assert!(
        likelihood > 1e-4,
        "likelihood {likelihood:e} of {:?}",
        &counts[..counts.len().min(20)]
    );
}

#[test]
fn the_test_tells_a_fair_die_from_a_loaded_one() {
    assert_fits(&[1010, 990, 1003, 998, 1011, 988], &[1.0 / 6.0; 6]);
    assert!(likelihood(&[1200, 960, 960, 960, 960, 960], &[1.0 / 6.0; 6]) < 1e-6);
}
