//! The histograms in which latencies are noted down: all of the same bounds, so that they can be added.

use hdrhistogram::Histogram;

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
