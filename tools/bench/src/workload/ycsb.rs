//! The core workloads of YCSB (Cooper et al. 2010, "Benchmarking cloud serving systems with YCSB", table 2), by name.
//!
//! | name | mix | keys | YCSB calls it |
//! |---|---|---|---|
//! | `ycsb-a` | 50 % get, 50 % put | zipfian 0.99 | update heavy |
//! | `ycsb-b` | 95 % get, 5 % put | zipfian 0.99 | read mostly |
//! | `ycsb-c` | 100 % get | zipfian 0.99 | read only |
//! | `ycsb-d` | 95 % get, 5 % insert | latest 0.99 | read latest |
//! | `ycsb-e` | 95 % scan of 1 to 100 keys, 5 % insert | zipfian 0.99 | short ranges |
//! | `ycsb-f` | 50 % get, 50 % read-modify-write | zipfian 0.99 | read-modify-write |
//!
//! YCSB's records have ten fields of 100 bytes; here a value is whatever `--value-len` says, and 1000 compares with YCSB.

use std::{fmt, str::FromStr};

use super::{
    Operation, SpecError,
    keys::{Distribution, THETA},
    mix::{Act, Mix},
    sizes::Sizes,
};

/// One of YCSB's core workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ycsb {
    /// Update heavy.
    A,
    /// Read mostly.
    B,
    /// Read only.
    C,
    /// Read latest.
    D,
    /// Short ranges.
    E,
    /// Read-modify-write.
    F,
}

impl Ycsb {
    /// All of them.
    pub const ALL: [Ycsb; 6] = [Ycsb::A, Ycsb::B, Ycsb::C, Ycsb::D, Ycsb::E, Ycsb::F];

    /// Its operations.
    #[must_use]
    pub fn mix(self) -> Mix {
        let (get, put) = (Act::On(Operation::Get), Act::On(Operation::Put));
        let weights: &[(Act, f64)] = match self {
            Ycsb::A => &[(get, 50.0), (put, 50.0)],
            Ycsb::B => &[(get, 95.0), (put, 5.0)],
            Ycsb::C => &[(get, 100.0)],
            Ycsb::D => &[(get, 95.0), (Act::Insert, 5.0)],
            Ycsb::E => &[(Act::On(Operation::Scan), 95.0), (Act::Insert, 5.0)],
            Ycsb::F => &[(get, 50.0), (Act::On(Operation::ReadModifyWrite), 50.0)],
        };
        // The weights above are above 0 and their acts differ, so the mix is one; the other branch is never taken.
        Mix::new(weights)
            .unwrap_or_else(|_| Mix::only(Operation::Get))
            .named(self)
    }

    /// How its operations are spread over the keys.
    #[must_use]
    pub fn distribution(self) -> Distribution {
        match self {
            Ycsb::D => Distribution::Latest { theta: THETA },
            _ => Distribution::Zipfian { theta: THETA },
        }
    }

    /// How many keys its scans ask for, if it has any.
    #[must_use]
    pub fn scan(self) -> Option<Sizes> {
        match self {
            Ycsb::E => Sizes::range(1, 100).ok(),
            _ => None,
        }
    }

    /// What YCSB calls it.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Ycsb::A => "update heavy",
            Ycsb::B => "read mostly",
            Ycsb::C => "read only",
            Ycsb::D => "read latest",
            Ycsb::E => "short ranges",
            Ycsb::F => "read-modify-write",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Ycsb::A => "ycsb-a",
            Ycsb::B => "ycsb-b",
            Ycsb::C => "ycsb-c",
            Ycsb::D => "ycsb-d",
            Ycsb::E => "ycsb-e",
            Ycsb::F => "ycsb-f",
        }
    }
}

impl FromStr for Ycsb {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Ycsb, SpecError> {
        let name = text.trim();
        Ycsb::ALL
            .into_iter()
            .find(|ycsb| ycsb.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| SpecError::unreadable("workload of YCSB", text, "`ycsb-a` to `ycsb-f`"))
    }
}

impl fmt::Display for Ycsb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // People compare these figures with those of other tools: the shares must be those of the paper.
    #[test]
    fn shares_are_those_of_the_paper() {
        let shares = |ycsb: Ycsb| {
            let mix = ycsb.mix();
            let of = |act| (mix.share(act) * 100.0).round() as u32;
            [
                of(Act::On(Operation::Get)),
                of(Act::On(Operation::Put)),
                of(Act::Insert),
                of(Act::On(Operation::Scan)),
                of(Act::On(Operation::ReadModifyWrite)),
            ]
        };
        assert_eq!(shares(Ycsb::A), [50, 50, 0, 0, 0]);
        assert_eq!(shares(Ycsb::B), [95, 5, 0, 0, 0]);
        assert_eq!(shares(Ycsb::C), [100, 0, 0, 0, 0]);
        assert_eq!(shares(Ycsb::D), [95, 0, 5, 0, 0]);
        assert_eq!(shares(Ycsb::E), [0, 0, 5, 95, 0]);
        assert_eq!(shares(Ycsb::F), [50, 0, 0, 0, 50]);
    }

    #[test]
    fn names_read_as_they_are_written() {
        for ycsb in Ycsb::ALL {
            assert_eq!(ycsb.to_string().parse::<Ycsb>().unwrap(), ycsb);
            assert_eq!(ycsb.mix().ycsb(), Some(ycsb));
        }
        assert_eq!(
            "YCSB-D".parse::<Ycsb>().unwrap().distribution().name(),
            "latest"
        );
        assert_eq!(Ycsb::E.scan().unwrap().to_string(), "1-100");
        assert!("ycsb".parse::<Ycsb>().is_err());
    }
}
