//! What threads hand over while a run goes on, and what is made of it: the live view and the timeline.
//!
//! A thread fills one histogram for an interval of a fraction of a second and gives it away; it gets back an empty one that was used
//! before. So the thread neither looks for percentiles nor clears memory, and no lock is between it and the collector.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use hdrhistogram::Histogram;

use super::distribution::{histogram, merge, percentile_us};
use crate::{
    results::{Distribution, Slice, Timeline},
    workload::Operation,
};

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Carried out, not counted.
    WarmUp,
    /// Counted.
    Window,
    /// Nothing new starts; what belongs to the window is waited for.
    Drain,
}

/// One thread's last fraction of a second.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) thread: u32,
    pub(crate) phase: Phase,
    /// Of the window: its number.
    pub(crate) index: u64,
    pub(crate) numbers: Numbers,
    /// Response times.
    pub(crate) response_nanos: Histogram<u64>,
    /// The same by operation, where that is kept; of those alone that were seen.
    pub(crate) by_operation: BTreeMap<Operation, Histogram<u64>>,
}

/// The counts of an interval.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) operations: u64,
    pub(crate) errors: u64,
    pub(crate) in_flight: u64,
    pub(crate) open: u32,
    /// How long the next arrival has been waiting for a slot.
    pub(crate) behind_nanos: u64,
}

/// How a run goes, told some times a second.
#[derive(Clone, Debug)]
pub struct Live {
    /// Where it is.
    pub phase: Phase,
    /// Since the run began, warm-up included.
    pub elapsed: Duration,
    /// Operations that ended in the window so far, errors excluded.
    pub operations: u64,
    /// Errors since the run began.
    pub errors: u64,
    /// Operations a second since the last view.
    pub throughput: f64,
    /// Of the operations since the last view, in microseconds.
    pub p50: f64,
    /// Of the same.
    pub p99: f64,
    /// Of the same.
    pub max: f64,
    /// Operations in flight.
    pub in_flight: u64,
    /// Connections that are open.
    pub connections: u32,
    /// How long the next arrival has been waiting for a slot: more than nothing if the server doesn't keep up.
    pub behind: Duration,
}

/// Puts intervals together.
#[derive(Debug)]
pub(crate) struct Collector {
    intervals_per_slice: u64,
    slice_seconds: f64,
    /// Slices to which intervals may still come.
    unfinished: BTreeMap<u64, Unfinished>,
    slices: Vec<Slice>,
    /// The newest slice of each thread.
    reached: Vec<u64>,
    /// The last counts of each thread.
    latest: Vec<Numbers>,
    recent: Histogram<u64>,
    recent_operations: u64,
    phase: Phase,
    operations: u64,
    errors: u64,
}

#[derive(Debug)]
struct Unfinished {
    slice: Slice,
    response_nanos: Histogram<u64>,
    by_operation: BTreeMap<Operation, Histogram<u64>>,
}

impl Collector {
    /// For so many threads. A slice is made of whole intervals.
    pub(crate) fn new(threads: u32, slice: Duration, interval: Duration) -> Collector {
        Collector {
            intervals_per_slice: intervals_per_slice(slice, interval),
            slice_seconds: slice.as_secs_f64(),
            unfinished: BTreeMap::new(),
            slices: Vec::new(),
            reached: vec![0; threads as usize],
            latest: vec![Numbers::default(); threads as usize],
            recent: histogram(),
            recent_operations: 0,
            phase: Phase::WarmUp,
            operations: 0,
            errors: 0,
        }
    }

    /// Takes an interval; gives back its histogram, empty.
    pub(crate) fn take(&mut self, interval: Interval) -> Histogram<u64> {
        let Interval {
            thread,
            phase,
            index,
            numbers,
            mut response_nanos,
            by_operation,
        } = interval;
        self.phase = phase;
        self.latest[thread as usize] = numbers;
        self.errors += numbers.errors;
        self.recent_operations += numbers.operations;
        merge(&mut self.recent, &response_nanos);
        if phase == Phase::Window {
            self.operations += numbers.operations;
            let number = index / self.intervals_per_slice;
            let unfinished = self.unfinished.entry(number).or_insert_with(|| Unfinished {
                slice: Slice::default(),
                response_nanos: histogram(),
                by_operation: BTreeMap::new(),
            });
            unfinished.slice.operations += numbers.operations;
            unfinished.slice.errors += numbers.errors;
            merge(&mut unfinished.response_nanos, &response_nanos);
            for (operation, of_interval) in by_operation {
                match unfinished.by_operation.entry(operation) {
                    Entry::Vacant(place) => {
                        place.insert(of_interval);
                    }
                    Entry::Occupied(mut place) => merge(place.get_mut(), &of_interval),
                }
            }
            self.reached[thread as usize] = number;
            self.finish_before(self.reached.iter().copied().min().unwrap_or(0));
        }
        response_nanos.reset();
        response_nanos
    }

    /// What has come since the last view.
    pub(crate) fn view(&mut self, elapsed: Duration, since_last: Duration) -> Live {
        let live = Live {
            phase: self.phase,
            elapsed,
            operations: self.operations,
            errors: self.errors,
            throughput: self.recent_operations as f64 / since_last.as_secs_f64().max(1e-9),
            p50: percentile_us(&self.recent, 50.0),
            p99: percentile_us(&self.recent, 99.0),
            max: percentile_us(&self.recent, 100.0),
            in_flight: self.latest.iter().map(|numbers| numbers.in_flight).sum(),
            connections: self.latest.iter().map(|numbers| numbers.open).sum(),
            behind: Duration::from_nanos(
                self.latest
                    .iter()
                    .map(|numbers| numbers.behind_nanos)
                    .max()
                    .unwrap_or(0),
            ),
        };
        self.recent.reset();
        self.recent_operations = 0;
        live
    }

    /// All slices. Nothing more comes.
    pub(crate) fn finish(mut self) -> Timeline {
        self.finish_before(u64::MAX);
        Timeline {
            slice_seconds: self.slice_seconds,
            slices: self.slices,
        }
    }

    /// Makes slices of all that no thread adds to any more.
    fn finish_before(&mut self, number: u64) {
        while let Some(entry) = self.unfinished.first_entry()
            && *entry.key() < number
        {
            let at = *entry.key() as usize;
            let Unfinished {
                mut slice,
                response_nanos,
                by_operation,
            } = entry.remove();
            slice.histograms = by_operation
                .into_iter()
                .map(|(operation, histogram)| (operation, Distribution::of(&histogram).histogram))
                .collect();
            slice.p50 = percentile_us(&response_nanos, 50.0);
            slice.p99 = percentile_us(&response_nanos, 99.0);
            slice.max = percentile_us(&response_nanos, 100.0);
            // A slice in which no thread handed anything over is empty, but it has its place.
            self.slices
                .resize(self.slices.len().max(at + 1), Slice::default());
            self.slices[at] = slice;
        }
    }
}

/// How many intervals a slice is cut into so that each is about `interval` long.
pub(crate) fn intervals_per_slice(slice: Duration, interval: Duration) -> u64 {
    (slice.as_secs_f64() / interval.as_secs_f64())
        .round()
        .max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(thread: u32, index: u64, value: u64) -> Interval {
        let mut response_nanos = histogram();
        response_nanos.record(value).unwrap();
        Interval {
            thread,
            phase: Phase::Window,
            index,
            numbers: Numbers {
                operations: 1,
                errors: 2,
                ..Numbers::default()
            },
            response_nanos,
            by_operation: BTreeMap::new(),
        }
    }

    // A thread that lags behind the others still adds to its own slice, and a slice without anything keeps its place.
    #[test]
    fn a_slice_is_made_when_all_threads_are_past_it() {
        let second = Duration::from_secs(1);
        let mut collector = Collector::new(2, second, second / 5);
        let empty = collector.take(interval(0, 0, 1_000));
        assert!(empty.is_empty());
        collector.take(interval(0, 15, 1_000));
        assert!(collector.slices.is_empty());
        collector.take(interval(1, 4, 9_000));
        collector.take(interval(1, 15, 5_000));
        assert_eq!(collector.slices.len(), 1);
        let live = collector.view(second, second);
        assert_eq!((live.operations, live.errors), (4, 8));
        let timeline = collector.finish();
        assert_eq!(timeline.slices.len(), 4);
        assert_eq!(timeline.slices[0].operations, 2);
        assert!((timeline.slices[0].max - 9.0).abs() < 0.1);
        assert_eq!(timeline.slices[1], Slice::default());
        assert_eq!(timeline.slices[3].operations, 2);
    }
}
