//! Ranks with Zipf's distribution: rank k is drawn with a probability proportional to 1 / k^θ.
//!
//! Drawn by rejection-inversion (Hörmann and Derflinger 1996, "Rejection-inversion to generate variates from monotone discrete
//! distributions", as Apache Commons' `RejectionInversionZipfSampler` does it): the area under x^-θ from one half beyond each rank
//! is inverted in closed form, rounded to a rank, and corrected by a rejection that almost never needs its second look.
//! It takes one logarithm and one exponential a draw, no table, and any θ above 0. `rand_distr::Zipf` takes three powers a try. The sampler of
//! YCSB (Gray et al. 1994) needs a sum over all keys to start with and is wrong for θ of 1 and more.

use super::super::random::Random;

/// The distribution over so many ranks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zipf {
    ranks: f64,
    theta: f64,
    /// The area up to half a rank behind the first one, less the first rank's own weight.
    area_min: f64,
    /// The area up to half a rank behind the last one.
    area_max: f64,
    /// A draw this close below its rank is accepted without looking.
    close: f64,
}

impl Zipf {
    /// Over ranks 0 to `ranks` - 1, at least one, with `theta` above 0.
    pub(super) fn new(ranks: u64, theta: f64) -> Zipf {
        assert!(
            ranks > 0 && theta > 0.0,
            "{ranks} ranks with an exponent of {theta}"
        );
        let ranks = ranks as f64;
        let mut zipf = Zipf {
            ranks,
            theta,
            area_min: 0.0,
            area_max: 0.0,
            close: 0.0,
        };
        zipf.area_min = zipf.area(1.5) - 1.0;
        zipf.area_max = zipf.area(ranks + 0.5);
        zipf.close = 2.0 - zipf.inverse(zipf.area(2.5) - zipf.weight(2.0));
        zipf
    }

    /// A rank, from 0.
    #[inline]
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.area_max + random.fraction() * (self.area_min - self.area_max);
            let at = self.inverse(area);
            let rank = (at + 0.5).floor().clamp(1.0, self.ranks);
            if rank - at <= self.close || area >= self.area(rank + 0.5) - self.weight(rank) {
                return rank as u64 - 1;
            }
        }
    }

    /// x^-θ.
    fn weight(&self, at: f64) -> f64 {
        (-self.theta * at.ln()).exp()
    }

    /// The integral of the weight from 1 to `at`: (x^(1-θ) - 1) / (1 - θ), or ln x where θ is 1.
    fn area(&self, at: f64) -> f64 {
        let log = at.ln();
        let power = (1.0 - self.theta) * log;
        // (e^p - 1) / p, whose limit at 0 the quotient doesn't reach.
        let factor = if power.abs() > 1e-8 {
            power.exp_m1() / power
        } else {
            1.0 + power / 2.0
        };
        factor * log
    }

    /// Where the area is `area`.
    #[inline]
    fn inverse(&self, area: f64) -> f64 {
        // Rounding may take the product just beyond the pole of the logarithm.
        let product = (area * (1.0 - self.theta)).max(-1.0);
        // ln(1 + p) / p, likewise.
        let factor = if product.abs() > 1e-8 {
            product.ln_1p() / product
        } else {
            1.0 - product / 2.0
        };
        (factor * area).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::testing::assert_fits, *};

    fn probabilities(ranks: usize, theta: f64) -> Vec<f64> {
        let weights: Vec<f64> = (1..=ranks).map(|rank| (rank as f64).powf(-theta)).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    // θ below 1, at its pole, beside it and above it each take another branch of the closed forms.
    #[test]
    fn ranks_follow_the_law() {
        for theta in [0.1, 0.5, 0.99, 1.0 - 1e-10, 1.0, 1.2, 2.0, 5.0] {
            for ranks in [2, 10, 1000] {
                let zipf = Zipf::new(ranks, theta);
                let mut random = Random::new(7, ranks);
                let mut counts = vec![0; ranks as usize];
                for _ in 0..200_000 {
                    counts[zipf.draw(&mut random) as usize] += 1;
                }
                assert_fits(&counts, &probabilities(ranks as usize, theta));
            }
        }
    }

    // With many ranks the tail is where sums go wrong: the ranks of each power of two together must get their share.
    #[test]
    fn a_million_ranks_follow_the_law_by_octaves() {
        let ranks = 1_000_000usize;
        let zipf = Zipf::new(ranks as u64, 0.99);
        let octave = |rank: u64| (rank + 1).ilog2() as usize;
        let mut expected = vec![0.0; octave(ranks as u64 - 1) + 1];
        for (rank, probability) in probabilities(ranks, 0.99).into_iter().enumerate() {
            expected[octave(rank as u64)] += probability;
        }
        let mut counts = vec![0; expected.len()];
        let mut random = Random::new(7, 0);
        for _ in 0..500_000 {
            counts[octave(zipf.draw(&mut random))] += 1;
        }
        assert_fits(&counts, &expected);
    }

    #[test]
    fn one_rank_and_very_many() {
        let mut random = Random::new(1, 1);
        assert_eq!(Zipf::new(1, 0.99).draw(&mut random), 0);
        let many = Zipf::new(1_000_000_000_000, 0.5);
        for _ in 0..10_000 {
            assert!(many.draw(&mut random) < 1_000_000_000_000);
        }
    }
}
