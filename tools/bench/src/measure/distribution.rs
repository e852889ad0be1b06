//! A histogram as it is reported: percentiles in microseconds and the whole of it, encoded.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer},
};

use crate::results::Distribution;

/// Greatest value that is told apart from greater ones: an hour.
pub const NANOS_MAX: u64 = 3_600_000_000_000;
/// Decimal digits that are kept.
pub const DIGITS: u8 = 3;
const NANOS_PER_US: f64 = 1_000.0;

/// An empty histogram of nanoseconds. Its memory (some 270 KiB) is touched only where values fall.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, NANOS_MAX, DIGITS)
        .expect("the bounds are in order and the digits few")
}

/// Adds all of `from`, which was made by [`histogram`] too.
pub fn merge(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    into.add(from)
        .expect("histograms of the same bounds can be added");
}

/// A percentile in microseconds; 0 if nothing was recorded.
#[must_use]
pub fn percentile_us(histogram: &Histogram<u64>, percentile: f64) -> f64 {
    histogram.value_at_percentile(percentile) as f64 / NANOS_PER_US
}

/// As it is reported.
#[must_use]
pub fn distribution(histogram: &Histogram<u64>) -> Distribution {
    let mut encoded = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut encoded)
        .expect("writing to memory does not fail");
    Distribution {
        count: histogram.len(),
        mean: histogram.mean() / NANOS_PER_US,
        min: if histogram.is_empty() {
            0.0
        } else {
            histogram.min() as f64 / NANOS_PER_US
        },
        p50: percentile_us(histogram, 50.0),
        p90: percentile_us(histogram, 90.0),
        p99: percentile_us(histogram, 99.0),
        p999: percentile_us(histogram, 99.9),
        p9999: percentile_us(histogram, 99.99),
        max: histogram.max() as f64 / NANOS_PER_US,
        histogram: STANDARD.encode(encoded),
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;

    use super::*;

    // Reports are merged later from what travels in them.
    #[test]
    fn the_whole_histogram_travels() {
        let mut original = histogram();
        for value in 1..=10_000_u64 {
            original.record(value * 1_000).unwrap();
        }
        let told = distribution(&original);
        assert_eq!(told.count, 10_000);
        assert!((told.p99 - 9_900.0).abs() < 10.0, "{}", told.p99);
        let bytes = STANDARD.decode(&told.histogram).unwrap();
        let back: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(back, original);
    }

    #[test]
    fn nothing_recorded_is_all_zeros() {
        let told = distribution(&histogram());
        assert_eq!(
            (told.count, told.min, told.p9999, told.max),
            (0, 0.0, 0.0, 0.0)
        );
    }
}
