//! How many connections each shard has, and how many the node may have.
//!
//! The kernel's own spreading (SO_REUSEPORT) hashes addresses and leaves some cores with twice as many connections as others, so
//! one acceptor deals them out by count. A connection holds a [`Seat`] for as long as its socket is open, wherever it goes;
//! dropping it frees the place, so none can be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::types::ShardId;

/// The places of a node, by shard.
#[derive(Debug)]
pub struct Seats {
    taken: Vec<AtomicUsize>,
    total: AtomicUsize,
    max: usize,
}

/// One connection's place on a shard.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    shard: ShardId,
}

impl Seats {
    /// `max` places, shared by `shard_count` shards.
    #[must_use]
    pub fn new(shard_count: u16, max: usize) -> Arc<Seats> {
        Arc::new(Seats {
            taken: (0..shard_count).map(|_| AtomicUsize::new(0)).collect(),
            total: AtomicUsize::new(0),
            max,
        })
    }

    /// Takes a place on the shard with the fewest connections; none if the node is full.
    #[must_use]
    pub fn take(self: &Arc<Seats>) -> Option<Seat> {
        let before = self.total.fetch_add(1, Ordering::Relaxed);
        if before >= self.max {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let shard = (0..self.taken.len())
            .min_by_key(|&shard| self.taken[shard].load(Ordering::Relaxed))
            .expect("a node has shards");
        self.taken[shard].fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            seats: Arc::clone(self),
            shard: ShardId(shard as u16),
        })
    }

    /// Connections of the node.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Most connections of the node.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }
}

impl Seat {
    /// The shard on which it is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The connection goes to another shard.
    pub(super) fn move_to(&mut self, shard: ShardId) {
        self.seats.taken[self.shard.index()].fetch_sub(1, Ordering::Relaxed);
        self.seats.taken[shard.index()].fetch_add(1, Ordering::Relaxed);
        self.shard = shard;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken[self.shard.index()].fetch_sub(1, Ordering::Relaxed);
        self.seats.total.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that came while one shard was full of others once stayed uneven for good: a place that is freed must be
    /// the next one taken.
    #[test]
    fn the_emptiest_shard_is_next() {
        let seats = Seats::new(3, 100);
        let mut held: Vec<Seat> = (0..9).filter_map(|_| seats.take()).collect();
        for shard in 0..3 {
            let here = held.iter().filter(|seat| seat.shard() == ShardId(shard));
            assert_eq!(here.count(), 3);
        }
        held.retain(|seat| seat.shard() != ShardId(1));
        for _ in 0..3 {
            let seat = seats.take().unwrap();
            assert_eq!(seat.shard(), ShardId(1));
            held.push(seat);
        }
    }

    /// A place that leaks makes the node refuse everyone after a while; one that is freed twice lets too many in.
    #[test]
    fn places_are_neither_lost_nor_doubled() {
        let seats = Seats::new(2, 2);
        let mut first = seats.take().unwrap();
        let second = seats.take().unwrap();
        assert!(seats.take().is_none());
        first.move_to(second.shard());
        drop(first);
        assert_eq!(seats.total(), 1);
        let third = seats.take().unwrap();
        assert_ne!(third.shard(), second.shard());
        assert!(seats.take().is_none());
        drop((second, third));
        assert_eq!(seats.total(), 0);
        assert!(
            seats
                .taken
                .iter()
                .all(|taken| taken.load(Ordering::Relaxed) == 0)
        );
    }
}
