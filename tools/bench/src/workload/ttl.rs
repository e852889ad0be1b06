//! Times to live: which share of the writes expires, and when.

use std::{fmt, str::FromStr, time::Duration};

use super::{SpecError, share::Share};

const WHAT: &str = "time to live";
const EXPECTED: &str = "a time, with the share of the writes that get it if not all do: `60s`, `60s:10%`, `1m:10%,1h:5%`";

/// Which writes get which time to live; the rest stays for ever.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ttls {
    /// In the order in which they were written.
    shares: Vec<(Duration, Share)>,
    /// For each of `shares`: draws below this threshold and at or above the one before get it.
    bounds: Vec<u64>,
}

impl Ttls {
    /// Nothing expires.
    #[must_use]
    pub fn none() -> Ttls {
        Ttls::default()
    }

    /// The time to live of a write, in milliseconds, 0 for none. `draw` is a random number of 32 bits.
    #[inline]
    pub(super) fn pick(&self, draw: u32) -> u64 {
        for ((ttl, _), bound) in self.shares.iter().zip(&self.bounds) {
            if u64::from(draw) < *bound {
                return ttl.as_millis() as u64;
            }
        }
        0
    }

    /// The longest, in milliseconds; 0 if nothing expires.
    #[must_use]
    pub fn longest_ms(&self) -> u64 {
        let longest = self.shares.iter().map(|(ttl, _)| ttl.as_millis() as u64);
        longest.max().unwrap_or(0)
    }

    /// The share of the writes that expires.
    #[must_use]
    pub fn expiring(&self) -> f64 {
        self.shares.iter().map(|(_, share)| share.fraction()).sum()
    }
}

impl FromStr for Ttls {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Ttls, SpecError> {
        if text.trim() == "none" {
            return Ok(Ttls::none());
        }
        let mut ttls = Ttls::none();
        let mut sum = 0.0;
        for entry in text.split(',') {
            let (time, share) = match entry.split_once(':') {
                Some((time, share)) => (time, share.parse()?),
                None => (entry, Share::ALL),
            };
            let time = humantime::parse_duration(time.trim())
                .map_err(|_| SpecError::unreadable(WHAT, text, EXPECTED))?;
            if time < Duration::from_millis(1) || time > TTL_MAX {
                return Err(SpecError::out_of_range(
                    "a time to live",
                    &entry,
                    &"1ms",
                    &humantime::format_duration(TTL_MAX),
                ));
            }
            sum += share.fraction();
            ttls.shares.push((time, share));
            ttls.bounds.push((sum * (1u64 << 32) as f64).round() as u64);
        }
        // A sum of shares that people write in percent may be off by a rounding.
        if sum > 1.0 + 1e-9 {
            return Err(SpecError::out_of_range(
                "a sum of shares",
                &format_args!("{}%", sum * 100.0),
                &"0%",
                &"100%",
            ));
        }
        Ok(ttls)
    }
}

/// The longest time to live: a hundred years.
const TTL_MAX: Duration = Duration::from_secs(100 * 31_557_600);

impl fmt::Display for Ttls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shares.is_empty() {
            return formatter.write_str("none");
        }
        for (at, (ttl, share)) in self.shares.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let ttl = humantime::format_duration(*ttl)
                .to_string()
                .replace(' ', "");
            write!(formatter, "{comma}{ttl}:{share}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::random::Random, *};

    #[test]
    fn times_get_their_shares() {
        let ttls: Ttls = "60s:10%,1h30m:5%".parse().unwrap();
        let mut random = Random::new(1, 0);
        let mut counts = [0u32; 3];
        for _ in 0..100_000 {
            match ttls.pick(random.bits() as u32) {
                60_000 => counts[0] += 1,
                5_400_000 => counts[1] += 1,
                0 => counts[2] += 1,
                other => panic!("{other} ms was never asked for"),
            }
        }
        for (count, expected) in counts.into_iter().zip([10_000.0, 5_000.0, 85_000.0f64]) {
            // Five standard deviations of a binomial count.
            let slack = 5.0 * (expected * (1.0 - expected / 100_000.0)).sqrt();
            assert!((f64::from(count) - expected).abs() < slack, "{counts:?}");
        }
        assert!((ttls.expiring() - 0.15).abs() < 1e-12);
    }

    #[test]
    fn all_and_none() {
        let all: Ttls = "250ms".parse().unwrap();
        assert_eq!([all.pick(0), all.pick(u32::MAX)], [250, 250]);
        assert_eq!(Ttls::none().pick(0), 0);
        assert_eq!("none".parse::<Ttls>().unwrap(), Ttls::none());
    }

    #[test]
    fn times_read_as_they_are_written() {
        for text in ["none", "1m:10%", "1m:10%,1h:5%", "1h30m:100%", "250ms:50%"] {
            assert_eq!(text.parse::<Ttls>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "60",
            "60s:",
            "60s:10",
            "1m:60%,1h:60%",
            "10us",
            "1s,",
            "200years",
        ] {
            assert!(text.parse::<Ttls>().is_err(), "{text}");
        }
    }
}
