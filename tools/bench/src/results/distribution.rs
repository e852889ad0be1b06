//! From a histogram to the figures of a [`Distribution`], and back.
//!
//! A histogram counts nanoseconds. The figures beside it are what people ask for first, in microseconds; they can be made from it again, so nothing
//! ever averages percentiles: whoever needs those of several runs adds the histograms up and asks the sum.

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};

use super::Distribution;

/// Digits that a histogram keeps of each value.
const DIGITS: u8 = 3;
/// Nanoseconds of a microsecond.
const NS_PER_US: f64 = 1_000.0;

/// A histogram in a report can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHistogram {
    /// The text is no base64.
    #[error("the histogram is no base64: {0}")]
    Base64(String),
    /// The bytes are no histogram.
    #[error("the histogram's bytes can't be read: {0}")]
    Bytes(String),
    /// It holds another number of values than `count` says.
    #[error("the histogram holds {found} values, but `count` says {count}")]
    Count {
        /// What the histogram holds.
        found: u64,
        /// What `count` says.
        count: u64,
    },
}

impl Distribution {
    /// Of a histogram of nanoseconds. Of an empty one: [`Distribution::default`].
    ///
    /// # Panics
    ///
    /// If a value was counted over 2^63 times.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Distribution {
        if histogram.is_empty() {
            return Distribution::default();
        }
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(histogram, &mut bytes)
            .expect("memory takes what is written to it, and no count is over 2^63");
        let percentile = |percent: f64| us(histogram.value_at_quantile(percent / 100.0));
        Distribution {
            count: histogram.len(),
            mean: histogram.mean() / NS_PER_US,
            min: us(histogram.min()),
            p50: percentile(50.0),
            p90: percentile(90.0),
            p99: percentile(99.0),
            p999: percentile(99.9),
            p9999: percentile(99.99),
            max: us(histogram.max()),
            histogram: BASE64_STANDARD.encode(bytes),
        }
    }

    /// The histogram, in nanoseconds.
    ///
    /// # Errors
    ///
    /// [`BadHistogram`] if the text is none; only reports from elsewhere have such ones.
    pub fn histogram(&self) -> Result<Histogram<u64>, BadHistogram> {
        let histogram = if self.histogram.is_empty() {
            empty()
        } else {
            decode(&self.histogram)?
        };
        if histogram.len() == self.count {
            Ok(histogram)
        } else {
            Err(BadHistogram::Count {
                found: histogram.len(),
                count: self.count,
            })
        }
    }

    /// All values of several distributions in one.
    ///
    /// # Errors
    ///
    /// [`BadHistogram`] if one of them can't be read.
    pub fn merged<'a>(
        parts: impl IntoIterator<Item = &'a Distribution>,
    ) -> Result<Distribution, BadHistogram> {
        let mut sum = empty();
        for part in parts {
            sum.add(part.histogram()?)
                .map_err(|error| BadHistogram::Bytes(error.to_string()))?;
        }
        Ok(Distribution::of(&sum))
    }

    /// What `percent` of the values were at most, in microseconds. For the percentiles that are fields there is no need of the histogram.
    ///
    /// # Errors
    ///
    /// [`BadHistogram`] if the histogram is needed and can't be read.
    pub fn percentile(&self, percent: f64) -> Result<f64, BadHistogram> {
        let fields = [
            (50.0, self.p50),
            (90.0, self.p90),
            (99.0, self.p99),
            (99.9, self.p999),
            (99.99, self.p9999),
            (100.0, self.max),
        ];
        match fields.into_iter().find(|(known, _)| *known == percent) {
            Some((_, value)) => Ok(value),
            None => Ok(us(self.histogram()?.value_at_quantile(percent / 100.0))),
        }
    }

    /// How many values lie above a percentile. A percentile with none above it is only the greatest value under another name.
    #[must_use]
    pub fn above(&self, percent: f64) -> f64 {
        self.count as f64 * (100.0 - percent) / 100.0
    }
}

/// The histogram that a text of a report holds.
pub(crate) fn decode(text: &str) -> Result<Histogram<u64>, BadHistogram> {
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|error| BadHistogram::Base64(error.to_string()))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| BadHistogram::Bytes(error.to_string()))
}

/// A histogram that grows as it needs to.
fn empty() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("three digits are among those that a histogram may have")
}

fn us(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / NS_PER_US
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values_us: impl IntoIterator<Item = u64>) -> Distribution {
        let mut histogram = empty();
        for value in values_us {
            histogram.record(value * 1_000).unwrap();
        }
        Distribution::of(&histogram)
    }

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() <= right * 0.001
    }

    #[test]
    fn the_figures_are_those_of_the_values() {
        let made = of(1..=10_000);
        assert_eq!(made.count, 10_000);
        for (figure, value) in [
            (made.mean, 5_000.5),
            (made.min, 1.0),
            (made.p50, 5_000.0),
            (made.p90, 9_000.0),
            (made.p99, 9_900.0),
            (made.p999, 9_990.0),
            (made.p9999, 9_999.0),
            (made.max, 10_000.0),
            (made.percentile(25.0).unwrap(), 2_500.0),
        ] {
            assert!(near(figure, value), "{figure} for {value}");
        }
    }

    #[test]
    fn there_and_back() {
        let made = of([1, 17, 1_000, 60_000_000]);
        let again = Distribution::of(&made.histogram().unwrap());
        assert_eq!(made, again);
        let none = Distribution::default();
        assert_eq!(Distribution::of(&none.histogram().unwrap()), none);
    }

    // The mean of two runs' p99 is nobody's p99: a run of 1 % of the values counts for 1 %.
    #[test]
    fn merging_counts_values_not_runs() {
        let merged = Distribution::merged([&of([10; 990]), &of([5_000; 10])]).unwrap();
        assert!(near(merged.p50, 10.0));
        assert!(near(merged.p99, 10.0), "{}", merged.p99);
        assert!(near(merged.p999, 5_000.0));
        let together = of([10; 990].into_iter().chain([5_000; 10]));
        assert_eq!(merged.histogram().unwrap(), together.histogram().unwrap());
        assert_eq!((merged.mean, merged.max), (together.mean, together.max));
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let mut bad = of([1]);
        bad.histogram = "not base64!".to_owned();
        assert!(matches!(bad.histogram(), Err(BadHistogram::Base64(_))));
        bad.histogram = BASE64_STANDARD.encode("no histogram either");
        assert!(matches!(bad.histogram(), Err(BadHistogram::Bytes(_))));
        let mut less = of([1, 2]);
        less.count = 3;
        assert_eq!(
            less.histogram(),
            Err(BadHistogram::Count { found: 2, count: 3 })
        );
    }
}
