//! The one source of chance in a simulated world.
//!
//! xoshiro256** (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", 2018), seeded by SplitMix64 as its authors advise.
//! Our own twenty lines and no crate, because a seed that once found a bug must find it again in ten years: no new
//! version of a dependency may change the sequence.

/// A sequence of numbers that a seed decides.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: [u64; 4],
}

/// One step of SplitMix64: also a good way to spread a number over all bits.
#[must_use]
pub(super) fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Random {
    /// The sequence of a seed. `stream` tells apart the sequences of one seed.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let start = spread(seed).wrapping_add(spread(stream ^ 0x5EED));
        Random {
            state: [1, 2, 3, 4].map(|step: u64| spread(start.wrapping_add(step))),
        }
    }

    pub(super) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`. (The bias of the modulo does not matter here.)
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below zero");
        self.next() % bound
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True in `percent` of a hundred cases.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True once in `cases`.
    pub(super) fn one_in(&mut self, cases: u64) -> bool {
        self.below(cases) == 0
    }

    /// Small numbers often, large ones seldom: every order of magnitude below `bound` is as likely as the next.
    pub(super) fn skewed(&mut self, bound: u64) -> u64 {
        let bits = 64 - bound.leading_zeros();
        let size = self.between(0, u64::from(bits));
        let number = if size == 0 {
            0
        } else {
            self.next() >> (64 - size)
        };
        number.min(bound - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed whose sequence changed would replay another run than the one that failed.
    #[test]
    fn a_seed_keeps_its_sequence() {
        let mut random = Random::new(7, 1);
        let numbers: Vec<u64> = (0..3).map(|_| random.below(1000)).collect();
        let mut again = Random::new(7, 1);
        assert_eq!(
            numbers,
            (0..3).map(|_| again.below(1000)).collect::<Vec<u64>>()
        );
        assert_ne!(
            Random::new(7, 1).next(),
            Random::new(7, 2).next(),
            "streams of one seed differ"
        );
        assert_ne!(Random::new(7, 1).next(), Random::new(8, 1).next());
    }
}
