//! Writes each key once: what `load` does before anything is measured.
//!
//! Part i of C writes the keys i, i + C, i + 2C …, so that parts of any speed end at about the same time and the store sees keys
//! from all of its range at any moment. Counters aren't filled: adding to one that isn't there makes it.
//!
//! Each key is written by one part, but not always by the one that owns it afterwards ([`Seat::owned_writes`](super::Seat)): give a
//! fill a writer's number that no connection has, and end it before they begin.

use std::sync::Arc;

use super::{Ask, Heat, Operation, Part, Workload, random::Random, source::Stamps};

/// One part's writes, in order.
#[derive(Debug)]
pub struct Fill {
    workload: Arc<Workload>,
    random: Random,
    next: u64,
    stride: u64,
    stamps: Stamps,
}

/// Sets the random numbers of a fill apart from those of a connection.
const STREAM: u64 = 1 << 32;

impl Fill {
    pub(super) fn new(workload: Arc<Workload>, part: Part, stamps: Stamps) -> Fill {
        Fill {
            random: Random::new(workload.spec().seed, STREAM | u64::from(part.index())),
            next: u64::from(part.index()),
            stride: u64::from(part.of()),
            stamps,
            workload,
        }
    }

    /// Number of keys that are still to be written.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        let keys = self.workload.spec().keys;
        keys.saturating_sub(self.next).div_ceil(self.stride)
    }

    /// The next write for whose key `within` holds; `None` when there are no more. Keys for which it doesn't hold are passed over for
    /// good: give each shard's connections parts of their own.
    #[inline]
    pub fn next_within(&mut self, within: &impl Fn(u64) -> bool) -> Option<Ask> {
        let spec = self.workload.spec();
        while self.next < spec.keys {
            let key = self.next;
            self.next += self.stride;
            if !within(key) {
                continue;
            }
            let draw = self.random.bits();
            return Some(Ask {
                operation: Operation::Put,
                key,
                heat: Heat::Cold,
                value_len: spec.value_len.pick(self.random.bits()),
                stamp: self.stamps.next(),
                ttl_ms: spec.ttls.pick(draw as u32),
                count: 0,
            });
        }
        None
    }
}

impl Iterator for Fill {
    type Item = Ask;

    #[inline]
    fn next(&mut self) -> Option<Ask> {
        self.next_within(&|_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{SpecError, source::Spec},
        *,
    };

    fn workload(keys: u64) -> Arc<Workload> {
        let spec = Spec {
            keys,
            ..Spec::default()
        };
        Workload::new(spec).unwrap()
    }

    // A key that is left out makes every later read of it a miss, which looks like a fault of the store.
    #[test]
    fn each_key_is_written_once_whatever_the_number_of_parts() {
        for (keys, of) in [(1, 1), (10, 3), (1000, 7), (5, 8)] {
            let workload = workload(keys);
            let mut written: Vec<u64> = (0..of)
                .flat_map(|index| {
                    let fill = workload.fill(Part::new(index, of).unwrap(), index).unwrap();
                    let remaining = fill.remaining();
                    let asks: Vec<Ask> = fill.collect();
                    assert_eq!(asks.len() as u64, remaining);
                    assert!(
                        asks.iter()
                            .all(|ask| ask.operation == Operation::Put && ask.value_len == 64)
                    );
                    asks.into_iter().map(|ask| ask.key)
                })
                .collect();
            written.sort_unstable();
            assert!(written.into_iter().eq(0..keys), "{keys} keys, {of} parts");
        }
    }

    #[test]
    fn shards_fill_their_own_keys() {
        let workload = workload(1000);
        let mut written = Vec::new();
        for shard in 0..3 {
            // Two connections to each of three shards.
            for index in 0..2 {
                let mut fill = workload.fill(Part::new(index, 2).unwrap(), 0).unwrap();
                while let Some(ask) = fill.next_within(&|key| key % 3 == shard) {
                    written.push(ask.key);
                }
            }
        }
        written.sort_unstable();
        assert!(written.into_iter().eq(0..1000));
    }

    #[test]
    fn a_writer_without_a_stamp_is_refused() {
        let error = workload(10).fill(Part::WHOLE, u32::MAX).unwrap_err();
        assert!(matches!(error, SpecError::OutOfRange { .. }));
    }
}
