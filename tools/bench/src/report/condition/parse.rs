//! From text to a [`Condition`], with errors that list what is known.

use std::str::FromStr;

use super::{Comparison, Condition, Figure, Scope, Slo, Time};
use crate::workload::{Heat, Operation};

/// Figures that may be asked for.
const FIGURES: &str = "p50, p99, p99.9 or any other percentile, mean, min, max, throughput, achieved, errors, error-rate, conflicts, misses";

/// Text that is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCondition {
    /// There is no operator in it.
    #[error(
        "{0:?} compares nothing: write a figure, one of < <= > >= = !=, and a bound, such as p99>2ms or errors>0"
    )]
    NoComparison(String),
    /// A word in front of the figure is not known.
    #[error("{word:?} in {text:?} is no operation, heat or core; known: {known}")]
    Scope {
        /// The word.
        word: String,
        /// The condition.
        text: String,
        /// What is.
        known: String,
    },
    /// The figure is not known.
    #[error("{word:?} in {text:?} is no figure; known: {FIGURES}")]
    Figure {
        /// The word.
        word: String,
        /// The condition.
        text: String,
    },
    /// A percentile that there is not.
    #[error("{word:?} in {text:?}: a percentile lies between 0 and 100; 99.9 is written p99.9")]
    Percentile {
        /// The word.
        word: String,
        /// The condition.
        text: String,
    },
    /// A figure that is counted for all requests alone.
    #[error("{figure} in {text:?} is counted for all requests together: leave {scope:?} away")]
    NotByScope {
        /// The figure.
        figure: String,
        /// What stands in front of it.
        scope: String,
        /// The condition.
        text: String,
    },
    /// The bound is none.
    #[error("{bound:?} in {text:?} is no bound for {figure}: write {expected}")]
    Bound {
        /// What stands there.
        bound: String,
        /// The figure.
        figure: String,
        /// What may.
        expected: &'static str,
        /// The condition.
        text: String,
    },
}

impl FromStr for Condition {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Condition, BadCondition> {
        let text: String = text.split_whitespace().collect();
        let (left, comparison, right) =
            split(&text).ok_or_else(|| BadCondition::NoComparison(text.clone()))?;
        let (scope, figure) = subject(left, &text)?;
        let whole = matches!(
            figure,
            Figure::Errors
                | Figure::ErrorRate
                | Figure::Conflicts
                | Figure::Misses
                | Figure::Achieved
        ) || (figure == Figure::Throughput && scope.time != Time::Response);
        if whole && scope != Scope::default() {
            return Err(BadCondition::NotByScope {
                figure: figure.to_string(),
                scope: scope.to_string(),
                text,
            });
        }
        let bound = bound(figure, right).map_err(|expected| BadCondition::Bound {
            bound: right.to_owned(),
            figure: figure.to_string(),
            expected,
            text: text.clone(),
        })?;
        Ok(Condition {
            scope,
            figure,
            comparison,
            bound,
            text,
        })
    }
}

impl FromStr for Slo {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Slo, BadCondition> {
        Ok(Slo {
            conditions: text.split(',').map(str::parse).collect::<Result<_, _>>()?,
        })
    }
}

fn split(text: &str) -> Option<(&str, Comparison, &str)> {
    let start = text.find(['<', '>', '=', '!'])?;
    let (left, rest) = text.split_at(start);
    // The longer ones first.
    let known = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("==", Comparison::Equal),
        ("!=", Comparison::Unequal),
        ("<", Comparison::Less),
        (">", Comparison::More),
        ("=", Comparison::Equal),
    ];
    known
        .into_iter()
        .find_map(|(operator, comparison)| Some((left, comparison, rest.strip_prefix(operator)?)))
}

/// What stands left of the operator: words between points, of which the last is the figure; a percentile has a point of its own.
fn subject(left: &str, text: &str) -> Result<(Scope, Figure), BadCondition> {
    let mut words: Vec<&str> = left.split('.').collect();
    let fraction = match words[..] {
        [.., percentile, fraction]
            if is_percentile(percentile) && fraction.chars().all(|c| c.is_ascii_digit()) =>
        {
            words.pop();
            Some(fraction)
        }
        _ => None,
    };
    let word = words.pop().unwrap_or_default();
    let figure = match fraction {
        Some(fraction) => figure(&format!("{word}.{fraction}"), text)?,
        None => figure(word, text)?,
    };
    let mut scope = Scope::default();
    for word in words {
        read_scope(&mut scope, word, text)?;
    }
    Ok((scope, figure))
}

fn is_percentile(word: &str) -> bool {
    word.strip_prefix('p')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn figure(word: &str, text: &str) -> Result<Figure, BadCondition> {
    if is_percentile(word) {
        return word[1..]
            .parse()
            .ok()
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(Figure::Percentile)
            .ok_or_else(|| BadCondition::Percentile {
                word: word.to_owned(),
                text: text.to_owned(),
            });
    }
    Ok(match word {
        "mean" => Figure::Mean,
        "min" => Figure::Min,
        "max" => Figure::Max,
        "throughput" => Figure::Throughput,
        "achieved" => Figure::Achieved,
        "errors" => Figure::Errors,
        "error-rate" => Figure::ErrorRate,
        "conflicts" => Figure::Conflicts,
        "misses" => Figure::Misses,
        _ => {
            return Err(BadCondition::Figure {
                word: word.to_owned(),
                text: text.to_owned(),
            });
        }
    })
}

fn read_scope(scope: &mut Scope, word: &str, text: &str) -> Result<(), BadCondition> {
    let operation = Operation::ALL
        .into_iter()
        .find(|operation| operation.name() == word);
    let core = word
        .strip_prefix("core")
        .and_then(|number| number.parse().ok());
    match (word, operation, core) {
        ("all", ..) => {}
        ("hot", ..) => scope.heat = Some(Heat::Hot),
        ("cold", ..) => scope.heat = Some(Heat::Cold),
        ("response", ..) => scope.time = Time::Response,
        ("service", ..) => scope.time = Time::Service,
        ("lag", ..) => scope.time = Time::Lag,
        (_, Some(operation), _) => scope.operation = Some(operation),
        (_, _, Some(core)) => scope.server_core = Some(core),
        _ => {
            let operations: Vec<&str> = Operation::ALL.into_iter().map(Operation::name).collect();
            return Err(BadCondition::Scope {
                word: word.to_owned(),
                text: text.to_owned(),
                known: format!(
                    "{}, hot, cold, core0 …, service, lag",
                    operations.join(", ")
                ),
            });
        }
    }
    Ok(())
}

/// The bound in the figure's unit; otherwise what would be one.
fn bound(figure: Figure, text: &str) -> Result<f64, &'static str> {
    const TIME: &str = "a number with ns, us, ms or s, such as 2ms";
    const NUMBER: &str = "a number, with k or M if it is large, such as 100k";
    const SHARE: &str = "a percentage, such as 0.1%";
    let (factors, expected): (&[(&str, f64)], &'static str) = match figure {
        // Those that end in another one's unit first.
        Figure::Percentile(_) | Figure::Mean | Figure::Min | Figure::Max => (
            &[
                ("ns", 1e-3),
                ("us", 1.0),
                ("µs", 1.0),
                ("ms", 1e3),
                ("s", 1e6),
            ],
            TIME,
        ),
        Figure::ErrorRate | Figure::Achieved => (&[("%", 0.01)], SHARE),
        Figure::Throughput | Figure::Errors | Figure::Conflicts | Figure::Misses => (
            &[("k", 1e3), ("K", 1e3), ("M", 1e6), ("G", 1e9), ("", 1.0)],
            NUMBER,
        ),
    };
    let text = if figure == Figure::Throughput {
        text.strip_suffix("/s").unwrap_or(text)
    } else {
        text
    };
    factors
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .and_then(|(number, factor)| Some(number.parse::<f64>().ok()? * factor))
        .filter(|bound| bound.is_finite() && *bound >= 0.0)
        .ok_or(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Condition {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(text: &str) -> String {
        text.parse::<Condition>().unwrap_err().to_string()
    }

    #[test]
    fn what_people_type() {
        let condition = parse("p99 > 2ms");
        assert_eq!(condition.figure, Figure::Percentile(99.0));
        assert_eq!(condition.comparison, Comparison::More);
        assert_eq!(condition.bound, 2_000.0);
        assert_eq!(condition.to_string(), "p99>2ms");

        let condition = parse("get.hot.p99.9<=500us");
        assert_eq!(condition.scope.operation, Some(Operation::Get));
        assert_eq!(condition.scope.heat, Some(Heat::Hot));
        assert_eq!(condition.figure, Figure::Percentile(99.9));
        assert_eq!(condition.comparison, Comparison::AtMost);
        assert_eq!(condition.bound, 500.0);

        assert_eq!(parse("throughput<100k").bound, 100_000.0);
        assert_eq!(parse("throughput>=1.5M/s").bound, 1_500_000.0);
        assert_eq!(parse("error-rate>0.1%").bound, 0.001);
        assert_eq!(parse("core3.p50!=1s").scope.server_core, Some(3));
        assert_eq!(parse("compare-and-set.max<1s").bound, 1e6);
        assert_eq!(parse("lag.p99>1ms").scope.time, Time::Lag);
        assert_eq!(parse("errors==0").comparison, Comparison::Equal);
        assert_eq!(
            "p99<2ms,errors=0".parse::<Slo>().unwrap().conditions.len(),
            2
        );
    }

    #[test]
    fn errors_say_what_would_be_right() {
        for (text, said) in [
            ("p99", "write a figure, one of < <= > >= = !="),
            ("p99>2", "a number with ns, us, ms or s"),
            ("p99>-2ms", "a number with ns, us, ms or s"),
            ("p999>2ms", "99.9 is written p99.9"),
            ("latency>2ms", "no figure; known: p50"),
            (
                "warm.p99>2ms",
                "\"warm\" in \"warm.p99>2ms\" is no operation, heat or core; known: get, put",
            ),
            ("get.errors>0", "leave \"get\" away"),
            ("throughput<2ms", "a number, with k or M"),
            ("error-rate>1", "a percentage"),
            (">1", "no figure"),
        ] {
            assert!(error(text).contains(said), "{text}: {}", error(text));
        }
    }
}
