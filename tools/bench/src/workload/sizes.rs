//! Sizes: how long keys and values are, how many keys a batch has.
//!
//! A size is drawn from 64 random bits, so that the same code serves a value (bits from the connection's generator: a new
//! length a write) and a key (bits from its number: the same length for ever, on every client). A histogram is a table of
//! cumulative weights, scaled to 2^64, and a draw is a binary search in it.

use std::{fmt, path::Path, str::FromStr};

use bytesize::ByteSize;

use super::{SpecError, random::scale};

/// The largest size: 1 GiB.
pub const SIZE_MAX: u32 = 1 << 30;

const WHAT: &str = "size";
const EXPECTED: &str = "one size (`64`, `4KiB`), a range (`16-1024`), sizes with weights (`64:50,1024:40,65536:10`), or `@file` \
                        with a size and a weight on each line";

/// A distribution of sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes(Shape);

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Fixed(u32),
    Range { min: u32, max: u32 },
    Histogram(Box<Histogram>),
}

#[derive(Clone, Debug, PartialEq)]
struct Histogram {
    /// Ascending is not asked for: the order is that of the setting.
    sizes: Box<[u32]>,
    /// For each size: draws below this and at or above the one before are its own.
    bounds: Box<[u64]>,
    mean: f64,
    /// What was written, for [`fmt::Display`].
    text: String,
}

impl Sizes {
    /// Always this one.
    #[must_use]
    pub fn fixed(size: u32) -> Sizes {
        Sizes(Shape::Fixed(size))
    }

    /// Each from `min` to `max`, both included, equally often.
    ///
    /// # Errors
    ///
    /// [`SpecError::OutOfRange`] if `max` is below `min` or above [`SIZE_MAX`].
    pub fn range(min: u32, max: u32) -> Result<Sizes, SpecError> {
        if min > max || max > SIZE_MAX {
            return Err(SpecError::out_of_range(
                "an upper end",
                &max,
                &min,
                &SIZE_MAX,
            ));
        }
        Ok(Sizes(Shape::Range { min, max }))
    }

    /// The sizes that stand in a file's text with a weight each, a pair a line; `#` begins a comment. `path` is what errors and
    /// [`fmt::Display`] call it.
    ///
    /// # Errors
    ///
    /// [`SpecError::Line`] for a line that is no such pair, [`SpecError::Unreadable`] if there are none.
    pub fn from_lines(path: &Path, lines: &str) -> Result<Sizes, SpecError> {
        let mut weights = Vec::new();
        for (index, line) in lines.lines().enumerate() {
            let pair = line.split('#').next().unwrap_or_default().trim();
            if pair.is_empty() {
                continue;
            }
            let pair = pair
                .split_once(|between: char| {
                    between.is_whitespace() || between == ':' || between == ','
                })
                .and_then(|(size, weight)| Some((size_of(size)?, weight_of(weight)?)))
                .ok_or_else(|| SpecError::Line {
                    path: path.to_owned(),
                    line: index + 1,
                    text: line.to_owned(),
                })?;
            weights.push(pair);
        }
        Sizes::weighted(&weights, format!("@{}", path.display()))
    }

    fn weighted(weights: &[(u32, f64)], text: String) -> Result<Sizes, SpecError> {
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        if !(total > 0.0 && total.is_finite()) {
            return Err(SpecError::unreadable(WHAT, &text, EXPECTED));
        }
        let mut sum = 0.0;
        let bounds = weights
            .iter()
            .map(|(_, weight)| {
                sum += weight;
                // 2^64 saturates to the greatest number, which the last search below cares for.
                (sum / total * 2f64.powi(64)) as u64
            })
            .collect();
        let mean = weights
            .iter()
            .map(|(size, weight)| f64::from(*size) * weight / total)
            .sum();
        Ok(Sizes(Shape::Histogram(Box::new(Histogram {
            sizes: weights.iter().map(|(size, _)| *size).collect(),
            bounds,
            mean,
            text,
        }))))
    }

    /// The size that these random bits draw.
    #[inline]
    #[must_use]
    pub fn pick(&self, bits: u64) -> u32 {
        match &self.0 {
            Shape::Fixed(size) => *size,
            Shape::Range { min, max } => min + scale(bits, u64::from(max - min) + 1) as u32,
            Shape::Histogram(histogram) => {
                let at = histogram.bounds.partition_point(|bound| *bound <= bits);
                histogram.sizes[at.min(histogram.sizes.len() - 1)]
            }
        }
    }

    /// The size, if there is only one.
    #[must_use]
    pub fn only(&self) -> Option<u32> {
        (self.min() == self.max()).then(|| self.max())
    }

    /// The smallest.
    #[must_use]
    pub fn min(&self) -> u32 {
        match &self.0 {
            Shape::Fixed(size) => *size,
            Shape::Range { min, .. } => *min,
            Shape::Histogram(histogram) => histogram.sizes.iter().copied().min().unwrap_or(0),
        }
    }

    /// The largest.
    #[must_use]
    pub fn max(&self) -> u32 {
        match &self.0 {
            Shape::Fixed(size) => *size,
            Shape::Range { max, .. } => *max,
            Shape::Histogram(histogram) => histogram.sizes.iter().copied().max().unwrap_or(0),
        }
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match &self.0 {
            Shape::Fixed(size) => f64::from(*size),
            Shape::Range { min, max } => f64::midpoint(f64::from(*min), f64::from(*max)),
            Shape::Histogram(histogram) => histogram.mean,
        }
    }
}

/// `64`, `4KiB`, `1 MB`; `None` if it is none or too large.
fn size_of(text: &str) -> Option<u32> {
    let bytes = text.trim().parse::<ByteSize>().ok()?.as_u64();
    u32::try_from(bytes).ok().filter(|size| *size <= SIZE_MAX)
}

/// `50`, `0.5`, `50%`; `None` if it is none. Weights are relative: percent signs change nothing.
pub(super) fn weight_of(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let weight = number.parse::<f64>().ok()?;
    (weight >= 0.0 && weight.is_finite()).then_some(weight)
}

impl FromStr for Sizes {
    type Err = SpecError;

    /// Reads the file of `@file`, and no other.
    fn from_str(text: &str) -> Result<Sizes, SpecError> {
        let text = text.trim();
        let unreadable = || SpecError::unreadable(WHAT, text, EXPECTED);
        if let Some(path) = text.strip_prefix('@') {
            let path = Path::new(path);
            let lines = std::fs::read_to_string(path).map_err(|error| SpecError::File {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
            return Sizes::from_lines(path, &lines);
        }
        if text.contains(':') {
            let weights = text
                .split(',')
                .map(|pair| {
                    let (size, weight) = pair.split_once(':')?;
                    Some((size_of(size)?, weight_of(weight)?))
                })
                .collect::<Option<Vec<_>>>()
                .ok_or_else(unreadable)?;
            return Sizes::weighted(&weights, text.to_owned());
        }
        match text.split_once('-') {
            Some((min, max)) => Sizes::range(
                size_of(min).ok_or_else(unreadable)?,
                size_of(max).ok_or_else(unreadable)?,
            ),
            None => size_of(text).map(Sizes::fixed).ok_or_else(unreadable),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Shape::Fixed(size) => write!(formatter, "{size}"),
            Shape::Range { min, max } => write!(formatter, "{min}-{max}"),
            Shape::Histogram(histogram) => formatter.write_str(&histogram.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{random::Random, testing::assert_fits},
        *,
    };

    fn counts<const N: usize>(sizes: &Sizes, of: [u32; N], draws: u64) -> [u64; N] {
        let mut random = Random::new(3, 0);
        let mut counts = [0; N];
        for _ in 0..draws {
            let size = sizes.pick(random.bits());
            let at = of.iter().position(|expected| *expected == size);
            counts[at.unwrap_or_else(|| panic!("a size of {size}"))] += 1;
        }
        counts
    }

    #[test]
    fn a_histogram_draws_by_weight() {
        let sizes: Sizes = "64:50,1KiB:40,65536:10".parse().unwrap();
        let counts = counts(&sizes, [64, 1024, 65536], 100_000);
        assert_fits(&counts, &[0.5, 0.4, 0.1]);
        assert_eq!((sizes.min(), sizes.max()), (64, 65536));
        assert!((sizes.mean() - (32.0 + 409.6 + 6553.6)).abs() < 1e-9);
    }

    #[test]
    fn a_range_draws_both_its_ends() {
        let sizes: Sizes = "10-13".parse().unwrap();
        assert_fits(&counts(&sizes, [10, 11, 12, 13], 100_000), &[0.25; 4]);
        assert_eq!((sizes.pick(0), sizes.pick(u64::MAX)), (10, 13));
    }

    #[test]
    fn the_extremes_of_chance_draw_sizes_that_are_there() {
        let sizes: Sizes = "1:1,2:1,3:1,4:0".parse().unwrap();
        assert_eq!(sizes.pick(0), 1);
        assert_ne!(sizes.pick(u64::MAX - 2048), 4);
    }

    #[test]
    fn a_file_gives_a_pair_a_line() {
        let path = Path::new("sizes.txt");
        let sizes = Sizes::from_lines(path, "# bytes, weight\n64 9\n\n4KiB 1 # large\n").unwrap();
        assert_fits(&counts(&sizes, [64, 4096], 10_000), &[0.9, 0.1]);
        assert_eq!(sizes.to_string(), "@sizes.txt");
        let error = Sizes::from_lines(path, "64 9\nlarge 1\n").unwrap_err();
        assert!(matches!(error, SpecError::Line { line: 2, .. }), "{error}");
        assert!(Sizes::from_lines(path, "# nothing\n").is_err());
        let missing = "@no/such/file".parse::<Sizes>().unwrap_err();
        assert!(missing.to_string().contains("no/such/file"));
    }

    #[test]
    fn sizes_read_as_they_are_written() {
        for (text, shown) in [
            ("64", "64"),
            ("4KiB", "4096"),
            ("4KB", "4000"),
            ("16-1024", "16-1024"),
            ("1KiB-1MiB", "1024-1048576"),
            ("64:50,1024:40", "64:50,1024:40"),
        ] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), shown);
        }
        for text in [
            "", "x", "-1", "64-", "1024-16", "64:", ":5", "64:0", "64:-1", "64:NaN", "2GiB",
            "64,128",
        ] {
            let error = text.parse::<Sizes>().unwrap_err();
            assert!(!error.to_string().is_empty(), "{text}");
        }
    }

    #[test]
    fn only_one_size_is_seen_as_such() {
        for (text, only) in [
            ("64", Some(64)),
            ("8-8", Some(8)),
            ("5:1", Some(5)),
            ("8-9", None),
        ] {
            assert_eq!(text.parse::<Sizes>().unwrap().only(), only);
        }
    }
}
