//! New keys: numbers behind the last one, shared by all threads.
//!
//! A number is **drawn** when its write is asked, and **settled** when that is answered or given up. Reads of the newest keys go only
//! below the first number that isn't settled, so that no read asks for a key whose write is still on its way; YCSB calls this its
//! acknowledged counter. Only inserts take the lock; a read takes one atomic load.
//!
//! Which connection gets which number depends on timing if several threads insert: the one thing of a load that a seed doesn't repeat.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// As many inserts may wait for the oldest that isn't settled; then that one is taken for lost.
const UNSETTLED_MAX: usize = 1 << 20;

/// The keys that are there and the numbers of those to come. On cache lines of its own, since it stands beside what every draw reads.
#[derive(Debug)]
#[repr(align(128))]
pub(in super::super) struct Inserts {
    /// All keys below are settled.
    readable: AtomicU64,
    unsettled: Mutex<Unsettled>,
}

#[derive(Debug)]
struct Unsettled {
    /// The first number that isn't settled; as `readable` says.
    first: u64,
    /// Whether `first` and those behind it are settled; the next number to draw is behind its last.
    settled: VecDeque<bool>,
}

impl Inserts {
    /// Keys below `count` are there.
    pub(in super::super) fn new(count: u64) -> Inserts {
        Inserts {
            readable: AtomicU64::new(count),
            unsettled: Mutex::new(Unsettled {
                first: count,
                // As many as are usually in flight, so that drawing allocates nothing.
                settled: VecDeque::with_capacity(1 << 16),
            }),
        }
    }

    /// Keys below this number are there.
    #[inline]
    pub(in super::super) fn readable(&self) -> u64 {
        self.readable.load(Ordering::Acquire)
    }

    /// A number that nobody had.
    pub(in super::super) fn draw(&self) -> u64 {
        let mut unsettled = self
            .unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if unsettled.settled.len() >= UNSETTLED_MAX {
            unsettled.settled[0] = true;
            self.advance(&mut unsettled);
        }
        unsettled.settled.push_back(false);
        unsettled.first + unsettled.settled.len() as u64 - 1
    }

    /// The write of `number` was answered or given up.
    pub(in super::super) fn settle(&self, number: u64) {
        let mut unsettled = self
            .unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Below `first` it was settled before, or taken for lost.
        let Some(at) = number.checked_sub(unsettled.first) else {
            return;
        };
        if let Some(settled) = unsettled.settled.get_mut(at as usize) {
            *settled = true;
            self.advance(&mut unsettled);
        }
    }

    fn advance(&self, unsettled: &mut Unsettled) {
        while unsettled.settled.front() == Some(&true) {
            unsettled.settled.pop_front();
            unsettled.first += 1;
        }
        self.readable.store(unsettled.first, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Answers come in any order; a key must not be read before its own write is answered.
    #[test]
    fn keys_become_readable_in_order() {
        let inserts = Inserts::new(100);
        assert_eq!(
            [inserts.draw(), inserts.draw(), inserts.draw()],
            [100, 101, 102]
        );
        assert_eq!(inserts.readable(), 100);
        inserts.settle(101);
        assert_eq!(inserts.readable(), 100);
        inserts.settle(100);
        assert_eq!(inserts.readable(), 102);
        inserts.settle(100);
        inserts.settle(5);
        inserts.settle(1000);
        assert_eq!(inserts.readable(), 102);
        inserts.settle(102);
        assert_eq!((inserts.readable(), inserts.draw()), (103, 103));
    }

    // A connection that dies takes its inserts with it; the newest keys must not stand still for the rest of the run.
    #[test]
    fn a_write_that_is_never_answered_is_given_up() {
        let inserts = Inserts::new(0);
        assert_eq!(inserts.draw(), 0);
        for number in 1..UNSETTLED_MAX as u64 {
            assert_eq!(inserts.draw(), number);
            inserts.settle(number);
        }
        assert_eq!(inserts.readable(), 0);
        assert_eq!(inserts.draw(), UNSETTLED_MAX as u64);
        assert_eq!(inserts.readable(), UNSETTLED_MAX as u64);
    }

    #[test]
    fn threads_draw_each_number_once() {
        let inserts = Inserts::new(0);
        let mut numbers: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..1000)
                            .map(|_| {
                                let number = inserts.draw();
                                inserts.settle(number);
                                number
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..4000));
        assert_eq!(inserts.readable(), 4000);
    }
}
