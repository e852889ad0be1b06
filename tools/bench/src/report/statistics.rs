//! The little statistics that a comparison needs: Welch's interval for the difference of two means.
//!
//! Each run gives one value of a figure (its throughput, its p99). The values of one side's runs are taken as independent draws; what is asked is
//! where the difference of the two sides' true means lies. Welch's t (B. L. Welch, "The generalization of Student's problem when several different
//! population variances are involved", Biometrika 34, 1947) does not assume that both sides scatter alike, and at two to ten runs a side it is
//! what the data bear. A percentile is one value a run here like any other: its scatter from run to run is measured, not derived from one histogram.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// How sure an interval is to hold the true difference.
pub const CONFIDENCE: f64 = 0.95;

/// Values of one figure, one a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// How many.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample variance (over n − 1); 0 of one value.
    pub variance: f64,
}

impl Sample {
    /// Of values.
    #[must_use]
    pub fn of(values: &[f64]) -> Sample {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count.max(1) as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Sample {
            count,
            mean,
            variance: if count > 1 {
                squares / (count - 1) as f64
            } else {
                0.0
            },
        }
    }

    /// The sample standard deviation.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        self.variance.sqrt()
    }

    /// With a variance of at least `least`: what the figure's own rounding brings, which equal values hide.
    #[must_use]
    pub fn with_variance_of_at_least(mut self, least: f64) -> Sample {
        self.variance = self.variance.max(least);
        self
    }
}

/// A difference, and where the true one lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Second mean minus first.
    pub difference: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether there may be no difference at all.
    #[must_use]
    pub fn holds_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// The difference of the means, `after` minus `before`, with its 95 % interval. `None` if a side has fewer than two values: nothing is known then of
/// how they scatter.
#[must_use]
pub fn welch(before: &Sample, after: &Sample) -> Option<Interval> {
    if before.count < 2 || after.count < 2 {
        return None;
    }
    let difference = after.mean - before.mean;
    let part = |sample: &Sample| sample.variance / sample.count as f64;
    let (left, right) = (part(before), part(after));
    let squared_error = left + right;
    if squared_error == 0.0 {
        return Some(Interval {
            difference,
            low: difference,
            high: difference,
        });
    }
    // The Welch–Satterthwaite equation.
    let freedom = squared_error.powi(2)
        / (left.powi(2) / (before.count - 1) as f64 + right.powi(2) / (after.count - 1) as f64);
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    let reach = student.inverse_cdf(0.5 + CONFIDENCE / 2.0) * squared_error.sqrt();
    Some(Interval {
        difference,
        low: difference - reach,
        high: difference + reach,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f64, right: f64) {
        assert!((left - right).abs() < 5e-3, "{left} is not {right}");
    }

    #[test]
    fn means_and_variances() {
        let sample = Sample::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        near(sample.mean, 5.0);
        near(sample.variance, 32.0 / 7.0);
        assert_eq!(Sample::of(&[3.0]).variance, 0.0);
    }

    // By hand: means 3 and 5, variances 2.5 and 2.5, n 5 and 5. Standard error 1, 8 degrees of freedom, t(0.975; 8) = 2.306.
    #[test]
    fn equal_variances() {
        let before = Sample::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let after = Sample::of(&[3.0, 4.0, 5.0, 6.0, 7.0]);
        let interval = welch(&before, &after).unwrap();
        near(interval.difference, 2.0);
        near(interval.low, 2.0 - 2.306);
        near(interval.high, 2.0 + 2.306);
        assert!(interval.holds_zero());
    }

    // By hand: means 10 and 20; variances 1 and 100 with n 3 and 5. Squared error 1/3 + 20 = 20.333; degrees of freedom
    // 20.333² / ((1/3)²/2 + 20²/4) = 413.44 / 100.0556 = 4.132; t(0.975; 4.132) = 2.743; reach 2.743 · 4.509 = 12.37.
    #[test]
    fn unequal_variances() {
        let before = Sample {
            count: 3,
            mean: 10.0,
            variance: 1.0,
        };
        let after = Sample {
            count: 5,
            mean: 20.0,
            variance: 100.0,
        };
        let interval = welch(&before, &after).unwrap();
        assert!((interval.high - interval.difference - 12.37).abs() < 0.02);
        assert!(interval.holds_zero());
    }

    #[test]
    fn one_run_says_nothing_of_noise() {
        let one = Sample::of(&[1.0]);
        let two = Sample::of(&[1.0, 2.0]);
        assert_eq!(welch(&one, &two), None);
        assert_eq!(welch(&two, &one), None);
    }

    // An interval that is said to hold the truth in 95 of 100 cases has to: normal draws (sums of twelve uniform ones), 4 and 4.
    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        let mut state = 7_u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut normal = |mean: f64, deviation: f64| {
            mean + deviation * ((0..12).map(|_| uniform()).sum::<f64>() - 6.0)
        };
        let rounds = 4_000;
        let mut held = 0;
        for _ in 0..rounds {
            let before: Vec<f64> = (0..4).map(|_| normal(100.0, 3.0)).collect();
            let after: Vec<f64> = (0..4).map(|_| normal(102.0, 9.0)).collect();
            let interval = welch(&Sample::of(&before), &Sample::of(&after)).unwrap();
            held += usize::from((interval.low..=interval.high).contains(&2.0));
        }
        let share = f64::from(u32::try_from(held).unwrap()) / f64::from(rounds);
        assert!((0.935..=0.975).contains(&share), "{share}");
    }
}
