//! The operations in flight on one connection.
//!
//! A connection has as many **slots** as it may have operations in flight. An operation occupies its slot from the moment its request is
//! built until it ends; where replies come in any order, the slot's number is what a reply names. Where they come in the order of the
//! requests, a ring remembers that order: an operation of two steps sends its second request behind those that were sent meanwhile, so slots alone
//! don't give the order.
//!
//! Invariants: a slot is in `free` or occupied; the ring holds each occupied slot once, from its newest request to its reply.

use super::clock::Nanos;
use crate::{protocol::Asked, workload::Ask};

/// An operation in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    /// What is asked.
    pub(crate) ask: Ask,
    /// Whether the request that was sent last was its second.
    pub(crate) second: bool,
    /// When it was meant to start. In a closed loop that is when its request was built.
    pub(crate) intended: Nanos,
    /// When its first request was sent.
    pub(crate) sent: Nanos,
}

/// All slots of one connection.
#[derive(Debug)]
pub(crate) struct Slots {
    flights: Box<[Option<Flight>]>,
    free: Vec<u32>,
    /// Slots in the order of their requests, from `first` on; empty where replies name their slot.
    ring: Box<[u32]>,
    first: usize,
    waiting: usize,
    /// Slots whose first request was built and not sent yet.
    built: Vec<u32>,
}

impl Slots {
    /// So many, all free.
    pub(crate) fn new(count: u32, in_order: bool) -> Slots {
        Slots {
            flights: vec![None; count as usize].into_boxed_slice(),
            free: (0..count).rev().collect(),
            ring: if in_order {
                vec![0; count as usize].into_boxed_slice()
            } else {
                Box::new([])
            },
            first: 0,
            waiting: 0,
            built: Vec::with_capacity(count as usize),
        }
    }

    /// Whether another operation fits.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Operations in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    /// Takes a free slot for an operation; `None` if there is none.
    #[inline]
    pub(crate) fn take(&mut self, flight: Flight) -> Option<u32> {
        let slot = self.free.pop()?;
        self.replace(slot, flight);
        Some(slot)
    }

    /// Puts the next operation in the place of one that has ended.
    #[inline]
    pub(crate) fn replace(&mut self, slot: u32, flight: Flight) {
        self.flights[slot as usize] = Some(flight);
        self.built.push(slot);
        self.enqueue(slot);
    }

    /// What was built is sent now. Checking the answers before and building the requests takes the generator microseconds, more after it slept, which are
    /// not the server's.
    #[inline]
    pub(crate) fn sent(&mut self, now: Nanos) {
        for slot in self.built.drain(..) {
            if let Some(flight) = &mut self.flights[slot as usize] {
                flight.sent = now;
            }
        }
    }

    /// The operation's next request is sent.
    #[inline]
    pub(crate) fn again(&mut self, slot: u32) {
        if let Some(flight) = &mut self.flights[slot as usize] {
            flight.second = true;
        }
        self.enqueue(slot);
    }

    /// Frees a slot whose operation has ended.
    #[inline]
    pub(crate) fn release(&mut self, slot: u32) {
        self.flights[slot as usize] = None;
        self.free.push(slot);
    }

    /// The request that has waited longest; known only where replies come in order.
    #[inline]
    pub(crate) fn oldest(&self) -> Option<Asked> {
        let slot = self.slot_of(None)?;
        let flight = self.flights.get(slot as usize)?.as_ref()?;
        Some(Asked {
            operation: flight.ask.operation,
            second: flight.second,
            count: flight.ask.count,
        })
    }

    /// The operation that a reply is for, with its slot, which is not waited for any more: the named one, or the oldest where replies come in
    /// order. `None`: nothing like that is in flight.
    #[inline]
    pub(crate) fn answered(&mut self, named: Option<u32>) -> Option<(u32, Flight)> {
        let slot = self.slot_of(named)?;
        let flight = (*self.flights.get(slot as usize)?)?;
        if !self.ring.is_empty() {
            self.first = self.after(self.first);
            self.waiting -= 1;
        }
        Some((slot, flight))
    }

    /// All that is in flight, and no more of it is from now on.
    pub(crate) fn clear(&mut self, mut each: impl FnMut(&Flight)) {
        self.flights.iter().flatten().for_each(&mut each);
        self.flights.fill(None);
        self.free.clear();
        self.free.extend((0..self.flights.len() as u32).rev());
        self.built.clear();
        (self.first, self.waiting) = (0, 0);
    }

    /// When the operation that has been in flight for longest was sent.
    pub(crate) fn oldest_sent(&self) -> Option<Nanos> {
        self.flights
            .iter()
            .flatten()
            .map(|flight| flight.sent)
            .min()
    }

    #[inline]
    fn slot_of(&self, named: Option<u32>) -> Option<u32> {
        if self.ring.is_empty() {
            named
        } else if self.waiting > 0 {
            Some(self.ring[self.first])
        } else {
            None
        }
    }

    #[inline]
    fn enqueue(&mut self, slot: u32) {
        if !self.ring.is_empty() {
            let mut end = self.first + self.waiting;
            if end >= self.ring.len() {
                end -= self.ring.len();
            }
            self.ring[end] = slot;
            self.waiting += 1;
        }
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.ring.len() { 0 } else { at + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Heat, Operation};

    fn flight(key: u64) -> Flight {
        Flight {
            ask: Ask {
                operation: Operation::Get,
                key,
                heat: Heat::Cold,
                value_len: 0,
                stamp: 0,
                ttl_ms: 0,
                count: 0,
            },
            second: false,
            intended: 0,
            sent: key,
        }
    }

    // With a slot's number for the order, the second request of a compare-and-set would get the answer of its neighbour.
    #[test]
    fn a_second_step_is_answered_after_what_was_sent_before_it() {
        let mut slots = Slots::new(2, true);
        let first = slots.take(flight(1)).unwrap();
        slots.take(flight(2)).unwrap();
        assert!(!slots.has_room());
        assert_eq!(slots.answered(None).unwrap().0, first);
        slots.again(first);
        assert!(!slots.oldest().unwrap().second);
        let (slot, _) = slots.answered(None).unwrap();
        slots.release(slot);
        let (slot, flight) = slots.answered(None).unwrap();
        assert_eq!((slot, flight.second), (first, true));
        slots.release(slot);
        assert!(slots.answered(None).is_none());
        assert_eq!(slots.in_flight(), 0);
    }

    // A reply to nothing must show; it would otherwise be counted for an operation that was never asked.
    #[test]
    fn replies_to_nothing_are_for_nobody() {
        let mut slots = Slots::new(2, false);
        assert!(slots.answered(Some(0)).is_none());
        let slot = slots.take(flight(1)).unwrap();
        assert!(slots.answered(None).is_none());
        assert!(slots.answered(Some(7)).is_none());
        assert!(slots.answered(Some(slot + 1)).is_none());
        assert_eq!(slots.answered(Some(slot)).unwrap().1.ask.key, 1);
    }

    #[test]
    fn clearing_shows_all_and_frees_all() {
        let mut slots = Slots::new(3, true);
        for key in [5, 3, 4] {
            slots.take(flight(key)).unwrap();
        }
        assert_eq!(slots.oldest_sent(), Some(3));
        let mut keys = Vec::new();
        slots.clear(|flight| keys.push(flight.ask.key));
        keys.sort_unstable();
        assert_eq!(keys, [3, 4, 5]);
        assert_eq!((slots.in_flight(), slots.oldest_sent()), (0, None));
        slots.take(flight(1)).unwrap();
        assert_eq!(slots.answered(None).unwrap().1.ask.key, 1);
    }
}
