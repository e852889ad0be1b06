//! What was counted: replies, latencies and what was wrong.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::{
    connection::Slot,
    protocol::{Expected, Outcome},
    report::Errors,
    workload,
};

/// Latencies are kept to three digits, up to an hour.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;
const LATENCY_DIGITS: u8 = 3;

/// Counts of a run.
pub(super) struct Tally {
    value_len: usize,
    /// Replies since the last [`Tally::open`].
    pub(super) replies: u64,
    /// Their latencies.
    pub(super) latency_nanos: Histogram<u64>,
    /// Wrong replies of the whole run.
    pub(super) errors: Errors,
}

impl Tally {
    /// Nothing counted; values are to have this length.
    pub(super) fn new(value_len: usize) -> Tally {
        Tally {
            value_len,
            replies: 0,
            latency_nanos: Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, LATENCY_DIGITS)
                .expect("the bounds are in order and the digits few"),
            errors: Errors::default(),
        }
    }

    /// Begins to count replies and latencies anew. Errors stay.
    pub(super) fn open(&mut self) {
        self.replies = 0;
        self.latency_nanos.reset();
    }

    /// Counts a reply to what was in a slot.
    #[inline]
    pub(super) fn count(
        &mut self,
        slot: Slot,
        expected: Expected,
        outcome: Outcome<'_>,
        now: Instant,
    ) {
        self.replies += 1;
        self.latency_nanos
            .saturating_record(now.duration_since(slot.started).as_nanos() as u64);
        match (expected, outcome) {
            (Expected::Value, Outcome::Value(value))
                if value.len() == self.value_len && workload::is_value_of(slot.number, value) => {}
            (Expected::Done, Outcome::Done) => {}
            _ => self.count_wrong(slot, outcome),
        }
    }

    #[cold]
    fn count_wrong(&mut self, slot: Slot, outcome: Outcome<'_>) {
        let (counter, what) = match outcome {
            Outcome::Refused(words) => (
                &mut self.errors.refused,
                format!("refused: {}", words.escape_ascii()),
            ),
            Outcome::Missing => (&mut self.errors.missing, "no such key".to_owned()),
            Outcome::Value(value) if value.len() != self.value_len => (
                &mut self.errors.wrong_length,
                format!(
                    "a value of {} bytes instead of {}",
                    value.len(),
                    self.value_len
                ),
            ),
            Outcome::Value(_) => (
                &mut self.errors.wrong_reply,
                "a value that is another key's".to_owned(),
            ),
            Outcome::Done => (
                &mut self.errors.wrong_reply,
                "done, where a value was asked for".to_owned(),
            ),
        };
        *counter += 1;
        let key = workload::key(slot.number);
        self.errors.first.get_or_insert_with(|| {
            format!("{:?} of {}: {what}", slot.operation, key.escape_ascii())
        });
    }
}
