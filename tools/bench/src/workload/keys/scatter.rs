//! Spreads ranks over the key space: the hottest keys shall not be neighbours, neither in a scan's order nor in a B-tree's page.
//!
//! A permutation of the numbers below N: each rank has a key of its own (YCSB's hash modulo N lets ranks collide, which bends the
//! distribution). Multiplications by odd numbers and shifts permute the numbers of k bits, the fewest that N fits in; what comes out at or above
//! N goes in again until it is below ("cycle walking", Black and Rogaway 2002), at most twice on average. The permutation depends on N
//! alone, not on the seed: the keys that are hot in one run are hot in the next.

/// A permutation of the numbers below some count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scatter {
    count: u64,
    mask: u64,
    shift: u32,
}

impl Scatter {
    /// Of the numbers below `count`, at least 1.
    pub(super) fn new(count: u64) -> Scatter {
        assert!(count > 0, "nothing to permute");
        let bits = (u64::BITS - (count - 1).leading_zeros()).max(1);
        Scatter {
            count,
            mask: u64::MAX >> (u64::BITS - bits),
            shift: bits.div_ceil(2),
        }
    }

    /// Where `rank`, which is below the count, is put.
    #[inline]
    pub(super) fn place(&self, rank: u64) -> u64 {
        debug_assert!(rank < self.count, "rank {rank} of {}", self.count);
        let mut place = rank;
        loop {
            // The constants are those of SplitMix64 and the golden ratio: odd, with bits all over.
            place = place.wrapping_add(0x9e37_79b9_7f4a_7c15) & self.mask;
            place = place.wrapping_mul(0xbf58_476d_1ce4_e5b9) & self.mask;
            place ^= place >> self.shift;
            place = place.wrapping_mul(0x94d0_49bb_1331_11eb) & self.mask;
            place ^= place >> self.shift;
            place = place.wrapping_mul(0x9e37_79b9_7f4a_7c15) & self.mask;
            if place < self.count {
                return place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::testing::assert_fits, *};

    // Two ranks on one key would make it hotter than the distribution says, and leave another key out.
    #[test]
    fn every_rank_has_a_key_of_its_own() {
        for count in [1, 2, 3, 5, 64, 65, 1000, 1023, 1024, 1025, 100_000] {
            let scatter = Scatter::new(count);
            let mut taken = vec![false; count as usize];
            for rank in 0..count {
                let place = scatter.place(rank);
                assert!(!taken[place as usize], "{place} twice of {count}");
                taken[place as usize] = true;
            }
        }
    }

    // If the first ranks fell into one corner of the key space, one range of keys would take the whole load.
    #[test]
    fn the_hottest_ranks_are_spread_evenly() {
        for count in [100_000, 1 << 20, 1_000_000_007] {
            let scatter = Scatter::new(count);
            let mut counts = [0; 20];
            for rank in 0..5_000 {
                counts[(scatter.place(rank) * 20 / count) as usize] += 1;
            }
            assert_fits(&counts, &[0.05; 20]);
        }
    }

    #[test]
    fn counts_of_any_width_work() {
        for count in [1 << 40, (1 << 40) + 1, 1_000_000_000_000] {
            let scatter = Scatter::new(count);
            assert!((0..1000).all(|rank| scatter.place(rank) < count));
            assert!(scatter.place(count - 1) < count);
        }
    }
}
