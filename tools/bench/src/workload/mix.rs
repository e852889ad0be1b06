//! Which operation: weights, by name.
//!
//! `get=90,put=10` asks nine reads for each write. Weights are relative; percent signs may stand behind them. `insert=5` writes
//! keys that were not there before ([`Act::Insert`]); they count as puts. `ycsb-a` to `ycsb-f` are the mixes of that benchmark
//! ([`Ycsb`]).

use std::{fmt, str::FromStr};

use super::{Operation, SpecError, sizes::weight_of, ycsb::Ycsb};

/// What a draw decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// An operation on a key that the distribution draws.
    On(Operation),
    /// A put of a key that is new.
    Insert,
}

/// Each act, its name, and other names for it that people know from elsewhere.
const NAMES: [(Act, &str, &[&str]); 9] = [
    (Act::On(Operation::Get), "get", &["read"]),
    (Act::On(Operation::Put), "put", &["set", "write", "update"]),
    (Act::On(Operation::Delete), "delete", &["del"]),
    (
        Act::On(Operation::CompareAndSet),
        "compare-and-set",
        &["cas"],
    ),
    (
        Act::On(Operation::ReadModifyWrite),
        "read-modify-write",
        &["rmw"],
    ),
    (Act::On(Operation::Add), "add", &["incr", "counter"]),
    (Act::On(Operation::Batch), "batch", &["mget"]),
    (Act::On(Operation::Scan), "scan", &[]),
    (Act::Insert, "insert", &[]),
];

const WHAT: &str = "mix of operations";
const EXPECTED: &str = "operations with weights, such as `get=90,put=10` or `get` alone (get, put, delete, compare-and-set or cas, \
                        read-modify-write or rmw, add, batch, scan, insert), or `ycsb-a` to `ycsb-f`";

/// How often which operation is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// In the order in which they were written.
    weights: Vec<(Act, f64)>,
    /// For each of `weights`: random numbers of 32 bits below this and at or above the one before draw it. The last is 2^32.
    bounds: Vec<u64>,
    /// The workload of YCSB that it is.
    ycsb: Option<Ycsb>,
}

impl Mix {
    /// Only this operation.
    #[must_use]
    pub fn only(operation: Operation) -> Mix {
        Mix {
            weights: vec![(Act::On(operation), 1.0)],
            bounds: vec![1 << 32],
            ycsb: None,
        }
    }

    /// These acts with these weights.
    ///
    /// # Errors
    ///
    /// [`SpecError::Unreadable`] if no weight is above 0, one is below, or an act stands there twice.
    pub fn new(weights: &[(Act, f64)]) -> Result<Mix, SpecError> {
        let mut mix = Mix {
            weights: weights.to_vec(),
            bounds: Vec::new(),
            ycsb: None,
        };
        let unreadable = |mix: &Mix| SpecError::unreadable(WHAT, &mix.to_string(), EXPECTED);
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let twice =
            (1..weights.len()).any(|at| weights[..at].iter().any(|(act, _)| *act == weights[at].0));
        if !(total > 0.0 && total.is_finite())
            || twice
            || weights.iter().any(|(_, weight)| *weight < 0.0)
        {
            return Err(unreadable(&mix));
        }
        // Acts without weight would only be looked at in vain, and as the last would catch what rounding leaves over.
        mix.weights.retain(|(_, weight)| *weight > 0.0);
        let mut sum = 0.0;
        mix.bounds = mix
            .weights
            .iter()
            .map(|(_, weight)| {
                sum += weight;
                (sum / total * (1u64 << 32) as f64).round() as u64
            })
            .collect();
        Ok(mix)
    }

    pub(super) fn named(self, ycsb: Ycsb) -> Mix {
        Mix {
            ycsb: Some(ycsb),
            ..self
        }
    }

    /// The act that a random number of 32 bits draws.
    #[inline]
    pub(super) fn pick(&self, draw: u32) -> Act {
        let draw = u64::from(draw);
        let last = self.weights.len() - 1;
        let at = self.bounds[..last].iter().position(|bound| draw < *bound);
        self.weights[at.unwrap_or(last)].0
    }

    /// The share of the operations that do this, 0 to 1.
    #[must_use]
    pub fn share(&self, act: Act) -> f64 {
        let total: f64 = self.weights.iter().map(|(_, weight)| weight).sum();
        self.weights
            .iter()
            .filter(|(own, _)| *own == act)
            .map(|(_, weight)| weight / total)
            .sum()
    }

    /// Whether it asks this at all. Inserts count as puts.
    #[must_use]
    pub fn asks(&self, operation: Operation) -> bool {
        let inserts = operation == Operation::Put && self.share(Act::Insert) > 0.0;
        inserts || self.share(Act::On(operation)) > 0.0
    }

    /// The workload of YCSB that it was made as, whose distribution of keys and whose scans belong with it.
    #[must_use]
    pub fn ycsb(&self) -> Option<Ycsb> {
        self.ycsb
    }
}

impl FromStr for Mix {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Mix, SpecError> {
        let text = text.trim();
        if let Ok(ycsb) = text.parse::<Ycsb>() {
            return Ok(ycsb.mix());
        }
        let unreadable = || SpecError::unreadable(WHAT, text, EXPECTED);
        let mut weights = Vec::new();
        for entry in text.split(',') {
            let (name, weight) = match entry.split_once('=') {
                Some((name, weight)) => (name, weight_of(weight).ok_or_else(unreadable)?),
                // A name alone, without weights, is a mix of one.
                None if !text.contains(',') => (entry, 1.0),
                None => return Err(unreadable()),
            };
            let name = name.trim();
            let (act, ..) = NAMES
                .iter()
                .find(|(_, own, others)| *own == name || others.contains(&name))
                .ok_or_else(unreadable)?;
            weights.push((*act, weight));
        }
        Mix::new(&weights).map_err(|_| unreadable())
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ycsb) = self.ycsb {
            return write!(formatter, "{ycsb}");
        }
        for (at, (act, weight)) in self.weights.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let name = NAMES
                .iter()
                .find(|(own, ..)| own == act)
                .map_or("", |(_, name, _)| name);
            write!(formatter, "{comma}{name}={weight}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{random::Random, testing::assert_fits},
        *,
    };

    #[test]
    fn operations_come_by_weight() {
        let mix: Mix = "get=70,put=20,cas=5,add=4.5,scan=0.5".parse().unwrap();
        let acts = [
            Operation::Get,
            Operation::Put,
            Operation::CompareAndSet,
            Operation::Add,
            Operation::Scan,
        ]
        .map(Act::On);
        let mut counts = [0; 5];
        let mut random = Random::new(5, 0);
        for _ in 0..200_000 {
            let act = mix.pick(random.bits() as u32);
            counts[acts.iter().position(|own| *own == act).unwrap()] += 1;
        }
        assert_fits(&counts, &[0.7, 0.2, 0.05, 0.045, 0.005]);
        assert!((mix.share(acts[4]) - 0.005).abs() < 1e-12);
        assert!(mix.asks(Operation::Scan) && !mix.asks(Operation::Delete));
    }

    #[test]
    fn mixes_read_as_they_are_written() {
        for (text, shown) in [
            ("get=90,put=10", "get=90,put=10"),
            ("get=99.9%,put=0.1%", "get=99.9,put=0.1"),
            (" get = 1 , rmw = 1 ", "get=1,read-modify-write=1"),
            ("get", "get=1"),
            ("incr=1,mget=2,insert=3,delete=0", "add=1,batch=2,insert=3"),
            ("ycsb-a", "ycsb-a"),
        ] {
            assert_eq!(text.parse::<Mix>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_mix_is_refused_with_what_would_be() {
        for text in [
            "",
            "get=",
            "get=0",
            "get=90,put",
            "get,put",
            "get=1,get=2",
            "get=1,read=1",
            "fetch=1",
            "get=-1",
            "ycsb-g",
            "get=NaN",
        ] {
            let error = text.parse::<Mix>().unwrap_err().to_string();
            assert!(error.contains("get=90,put=10"), "{text}: {error}");
        }
    }

    // The greatest draw belongs to the last act though rounding may leave its bound a step short.
    #[test]
    fn every_draw_is_an_act() {
        let mix: Mix = "get=1,put=1,scan=1".parse().unwrap();
        assert_eq!(mix.pick(u32::MAX), Act::On(Operation::Scan));
        assert_eq!(mix.pick(0), Act::On(Operation::Get));
        assert_eq!(Mix::only(Operation::Put).pick(7), Act::On(Operation::Put));
    }
}
