//! Chance from a seed: one generator a connection, and the mixing of numbers into what looks like chance.
//!
//! The generator is PCG (`Pcg64Mcg`, O'Neill 2014): 16 bytes of state, a multiplication a draw, and its crate promises that a seed gives
//! the same numbers for ever. Bounded integers come from the high half of a product (Lemire 2019) without its last
//! rejection: with bounds below 10^12 the error is under one in ten million, far below what a test could see.

use rand_pcg::{Pcg64Mcg, rand_core::Rng};

/// A repeatable sequence of numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(Pcg64Mcg);

impl Random {
    /// The sequence that belongs to this seed and stream. Streams of a seed are independent of each other.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let high = mix(seed ^ mix(stream));
        let low = mix(high ^ stream);
        Random(Pcg64Mcg::new(u128::from(high) << 64 | u128::from(low)))
    }

    /// 64 random bits.
    #[inline]
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`.
    #[inline]
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        scale(self.bits(), bound)
    }

    /// A number of [0, 1), in steps of 2^-53.
    #[inline]
    pub(super) fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A number with an exponential distribution and mean 1: the gaps of a Poisson process.
    #[inline]
    pub(super) fn exponential(&mut self) -> f64 {
        // 1 minus the fraction is of (0, 1], so that the logarithm is finite.
        -(1.0 - self.fraction()).ln()
    }
}

/// Random bits as a number below `bound`.
#[inline]
pub(super) fn scale(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// A number whose bits look random and depend on all of `number`'s: the finalizer of `SplitMix64` (Steele et al. 2014).
#[inline]
pub(super) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Ten thousand connections draw at once: were two of them alike, they would hit the same keys in step.
    #[test]
    fn streams_of_one_seed_differ() {
        let mut first: Vec<u64> = (0..10_000)
            .map(|stream| Random::new(1, stream).bits())
            .collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 10_000);
        assert_ne!(Random::new(1, 0).bits(), Random::new(2, 0).bits());
    }

    // A run that can't be repeated proves nothing: the numbers of a seed are part of what this tool promises.
    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut random = Random::new(1, 0);
        assert_eq!(
            [random.bits(), random.bits(), random.below(1000)],
            [11_915_965_802_530_111_322, 8_015_842_241_584_699_969, 983]
        );
    }
}
