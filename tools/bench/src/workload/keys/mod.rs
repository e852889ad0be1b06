//! Which key: distributions over the numbers below N, and the keys' names.
//!
//! | name | key | hot keys |
//! |---|---|---|
//! | `uniform` | each equally often | none |
//! | `sequential` | each once a pass: connection i of C asks i, i + C, i + 2C … | none |
//! | `zipfian:0.99` | the k-th most popular with a probability proportional to 1 / k^θ; the popular ones are spread over the key space | the `--hot-keys` most popular ones |
//! | `latest:0.99` | the same, where the newest is the most popular; follows inserts | the `--hot-keys` newest ones |
//! | `hot-cold` | `--hot-ops` of the operations on `--hot-keys` of the keys, evenly; the others evenly on the rest | that set |
//! | `moving` | as `hot-cold`, and every `--move-every` the set moves on: no key of it stays unless the set is more than half of all | the set of that moment |
//! | `single` | one key, with all operations or the share of `--hot-ops`; the others evenly on the rest | that key |
//!
//! For `zipfian` and `latest` "hot" is a line drawn through a slope. It is drawn at a share of the keys, 5 % by default, so that their
//! hot keys compare with those of `hot-cold`; with θ = 0.99 and a million keys these 5 % get about 78 % of the operations.
//!
//! Internally all distributions but `uniform` and `sequential` draw a **rank**, and a permutation (`scatter`) gives each rank its key: hot
//! keys are no neighbours. `draw` has the algorithm, and what happens if a connection may not ask every key.

mod draw;
mod inserts;
mod names;
mod scatter;
mod zipf;

use std::{fmt, str::FromStr, time::Duration};

pub(super) use draw::{Cursor, KeySpace, Limits};
pub(super) use inserts::Inserts;
pub use names::{COUNTER, KEY_LEN, KEY_LEN_MAX, KeyNames, PREFIX};

use super::{SpecError, share::Share};

/// The most keys: twelve digits.
pub const KEYS_MAX: u64 = 1_000_000_000_000;
/// θ unless another is asked for, as in YCSB.
pub const THETA: f64 = 0.99;
/// The least θ: nearly uniform.
pub const THETA_MIN: f64 = 0.001;
/// The largest θ: nearly all operations go to one key with it.
pub const THETA_MAX: f64 = 20.0;

/// How operations are spread over the keys.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Distribution {
    /// Each key equally often.
    #[default]
    Uniform,
    /// Each key once a pass.
    Sequential,
    /// By popularity.
    Zipfian {
        /// The exponent.
        theta: f64,
    },
    /// By popularity, the newest being the most popular.
    Latest {
        /// The exponent.
        theta: f64,
    },
    /// A hot set and the rest.
    HotCold,
    /// A hot set that moves.
    Moving,
    /// One hot key.
    Single,
}

impl Distribution {
    /// Its name without parameters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Distribution::Uniform => "uniform",
            Distribution::Sequential => "sequential",
            Distribution::Zipfian { .. } => "zipfian",
            Distribution::Latest { .. } => "latest",
            Distribution::HotCold => "hot-cold",
            Distribution::Moving => "moving",
            Distribution::Single => "single",
        }
    }

    /// Whether any key is hot.
    #[must_use]
    pub fn has_hot_keys(self) -> bool {
        !matches!(self, Distribution::Uniform | Distribution::Sequential)
    }
}

impl FromStr for Distribution {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Distribution, SpecError> {
        let text = text.trim();
        let unreadable = || {
            SpecError::unreadable(
                "distribution of keys",
                text,
                "`uniform`, `sequential`, `zipfian` or `zipfian:0.99`, `latest` or `latest:0.99`, `hot-cold`, `moving` or `single`",
            )
        };
        let (name, theta) = match text.split_once(':') {
            Some((name, theta)) => (name, Some(theta)),
            None => (text, None),
        };
        let exponent = || -> Result<f64, SpecError> {
            let Some(theta) = theta else { return Ok(THETA) };
            let theta: f64 = theta.parse().map_err(|_| unreadable())?;
            if (THETA_MIN..=THETA_MAX).contains(&theta) {
                Ok(theta)
            } else {
                Err(SpecError::out_of_range(
                    "an exponent",
                    &theta,
                    &THETA_MIN,
                    &THETA_MAX,
                ))
            }
        };
        match (name, theta) {
            ("zipfian", _) => Ok(Distribution::Zipfian { theta: exponent()? }),
            ("latest", _) => Ok(Distribution::Latest { theta: exponent()? }),
            ("uniform", None) => Ok(Distribution::Uniform),
            ("sequential", None) => Ok(Distribution::Sequential),
            ("hot-cold", None) => Ok(Distribution::HotCold),
            ("moving", None) => Ok(Distribution::Moving),
            ("single", None) => Ok(Distribution::Single),
            _ => Err(unreadable()),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distribution::Zipfian { theta } | Distribution::Latest { theta } => {
                write!(formatter, "{}:{theta}", self.name())
            }
            _ => formatter.write_str(self.name()),
        }
    }
}

/// What is hot: the settings beside a distribution. What isn't set follows from the distribution.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Hot {
    /// Share of the keys that are hot; 5 % unless set. At least one key is.
    pub keys: Option<Share>,
    /// Share of the operations that they get, where the distribution leaves it open; 95 % unless set, all for a single key.
    pub ops: Option<Share>,
    /// How long a moving set stays; 10 s unless set.
    pub move_every: Option<Duration>,
}

impl Hot {
    /// Share of the keys.
    #[must_use]
    pub fn keys(&self) -> Share {
        self.keys.unwrap_or(Share::percent(5))
    }

    /// Share of the operations.
    #[must_use]
    pub fn ops(&self, distribution: Distribution) -> Share {
        self.ops.unwrap_or(match distribution {
            Distribution::Single => Share::ALL,
            _ => Share::percent(95),
        })
    }

    /// How long a moving set stays.
    #[must_use]
    pub fn move_every(&self) -> Duration {
        self.move_every.unwrap_or(Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_read_as_they_are_written() {
        for text in [
            "uniform",
            "sequential",
            "zipfian:0.99",
            "zipfian:1",
            "zipfian:1.2",
            "latest:0.5",
            "hot-cold",
            "moving",
            "single",
        ] {
            let distribution: Distribution = text.parse().unwrap();
            assert_eq!(distribution.to_string(), text);
        }
        assert_eq!(
            "zipfian".parse::<Distribution>().unwrap().to_string(),
            "zipfian:0.99"
        );
        assert_eq!(
            "latest".parse::<Distribution>().unwrap().to_string(),
            "latest:0.99"
        );
    }

    #[test]
    fn what_is_no_distribution_is_refused_with_what_would_be() {
        for text in [
            "",
            "zipf",
            "uniform:1",
            "zipfian:",
            "zipfian:x",
            "zipfian:0",
            "zipfian:-1",
            "zipfian:NaN",
            "latest:21",
            "hot-cold:5%",
        ] {
            let error = text.parse::<Distribution>().unwrap_err().to_string();
            assert!(
                error.contains("uniform") || error.contains("exponent"),
                "{error}"
            );
        }
    }
}
