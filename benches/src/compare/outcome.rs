//! What came out: a table for people, JSON for programs.

use std::{fmt, fs, path::Path};

use serde::Serialize;

use super::{CompareError, Options, environment::Environment};
use crate::drive::Report;

/// All figures of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// What it ran on.
    pub environment: Environment,
    /// How it was asked for.
    pub options: Options,
    /// One by one.
    pub rows: Vec<RowResult>,
}

/// One row and what came out.
#[derive(Clone, Debug, Serialize)]
pub struct RowResult {
    /// As in [`super::row::Row`].
    pub id: &'static str,
    /// As in [`super::row::Row`].
    pub title: &'static str,
    /// What came out.
    pub outcome: Outcome,
}

/// What came out of a row.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// A ratio of two contenders.
    Ratio(Ratio),
    /// One figure.
    Figure(Figure),
    /// Something that it needs isn't there.
    Missing {
        /// What, and how to get it.
        what: String,
    },
    /// It was tried and went wrong.
    Failed {
        /// How.
        why: String,
    },
}

/// Subject over peer.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// The median of `rounds`.
    pub median: f64,
    /// Each round's, in order.
    pub rounds: Vec<f64>,
    /// The least that is promised.
    pub at_least: Option<f64>,
    /// How far the median can be trusted.
    pub certainty: Certainty,
    /// What is compared.
    pub unit: &'static str,
    /// The one that has to be good.
    pub subject: Side,
    /// The one that it is measured against.
    pub peer: Side,
    /// What a reader should know besides.
    pub notes: Vec<String>,
}

/// How far a ratio can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It is what was measured.
    Measured,
    /// The subject was held back by the driver: it is at least as good.
    AtLeast,
    /// The peer was held back by the driver: the subject is at most as good.
    AtMost,
    /// Both were held back.
    Unknown,
}

/// One contender's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// How the server was started.
    pub command: String,
    /// Who asked it.
    pub client: String,
    /// The median of what is compared.
    pub median: f64,
    /// Each round's run.
    pub runs: Vec<Report>,
}

/// A figure with an upper limit.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub value: f64,
    /// The most that is promised.
    pub at_most: f64,
    /// Of both.
    pub unit: &'static str,
    /// How the server was started.
    pub command: String,
    /// What it is made of.
    pub details: serde_json::Value,
    /// What a reader should know besides.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Whether the promise holds; `None` where nothing was promised or nothing can be said.
    #[must_use]
    pub fn is_reached(&self) -> Option<bool> {
        match self {
            Outcome::Ratio(ratio) => {
                let holds = ratio.median >= ratio.at_least?;
                match ratio.certainty {
                    Certainty::Measured => Some(holds),
                    Certainty::AtLeast => holds.then_some(true),
                    Certainty::AtMost => (!holds).then_some(false),
                    Certainty::Unknown => None,
                }
            }
            Outcome::Figure(figure) => Some(figure.value <= figure.at_most),
            Outcome::Missing { .. } | Outcome::Failed { .. } => None,
        }
    }

    fn verdict(&self) -> &'static str {
        match (self, self.is_reached()) {
            (Outcome::Missing { .. }, _) => "missing",
            (Outcome::Failed { .. }, _) => "FAILED",
            (_, Some(true)) => "reached",
            (_, Some(false)) => "NOT REACHED",
            (Outcome::Ratio(Ratio { at_least: None, .. }), None) => "no promise",
            (_, None) => "undecided",
        }
    }

    fn measured_and_promised(&self) -> (String, String) {
        match self {
            Outcome::Ratio(ratio) => {
                let promised = ratio
                    .at_least
                    .map_or("-".to_owned(), |least| format!(">= {least}"));
                (format!("{:.2}", ratio.median), promised)
            }
            Outcome::Figure(Figure {
                value,
                at_most,
                unit,
                ..
            }) => (format!("{value:.1} {unit}"), format!("<= {at_most} {unit}")),
            Outcome::Missing { .. } | Outcome::Failed { .. } => ("-".to_owned(), "-".to_owned()),
        }
    }

    fn notes(&self) -> &[String] {
        match self {
            Outcome::Ratio(Ratio { notes, .. }) | Outcome::Figure(Figure { notes, .. }) => notes,
            Outcome::Missing { what: note } | Outcome::Failed { why: note } => {
                std::slice::from_ref(note)
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (measured, promised) = self.measured_and_promised();
        write!(f, "{measured} ({promised}): {}", self.verdict())?;
        self.notes()
            .iter()
            .try_for_each(|note| write!(f, "; {note}"))
    }
}

impl Results {
    /// Whether every row that was asked for was measured, and every promise among them holds.
    #[must_use]
    pub fn are_all_reached(&self) -> bool {
        self.rows.iter().all(|row| match &row.outcome {
            Outcome::Ratio(Ratio { at_least: None, .. }) => true,
            outcome => outcome.is_reached() == Some(true),
        })
    }

    /// Writes all figures to a file.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn write(&self, path: &Path) -> Result<(), CompareError> {
        let json = serde_json::to_string_pretty(self).expect("results are numbers and strings");
        fs::write(path, json).map_err(CompareError::io(format!("write {}", path.display())))
    }
}

/// The table, in Markdown.
impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Environment {
            cpu,
            cores,
            kernel,
            congestion_control,
            commit,
            versions,
            ..
        } = &self.environment;
        let commit = commit.as_deref().unwrap_or("unknown");
        writeln!(
            f,
            "{cpu}, {} cores, Linux {kernel}, TCP {congestion_control}, commit {commit}",
            cores.len()
        )?;
        writeln!(f, "{}", versions.join("; "))?;
        let Options {
            rounds, seconds, ..
        } = self.options;
        writeln!(f, "medians of {rounds} rounds in turns, {seconds} s a run")?;
        writeln!(f)?;
        writeln!(f, "| row | load | measured | rounds | promised | |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for RowResult { id, title, outcome } in &self.rows {
            let (measured, promised) = outcome.measured_and_promised();
            let spread = match outcome {
                Outcome::Ratio(ratio) => spread(&ratio.rounds),
                _ => String::new(),
            };
            writeln!(
                f,
                "| {id} | {title} | {measured} | {spread} | {promised} | {} |",
                outcome.verdict()
            )?;
        }
        writeln!(f)?;
        for RowResult { id, outcome, .. } in &self.rows {
            if let Outcome::Ratio(Ratio {
                unit,
                subject,
                peer,
                ..
            }) = outcome
            {
                writeln!(
                    f,
                    "- {id}: {:.0} against {:.0} {unit}",
                    subject.median, peer.median
                )?;
            }
            for note in outcome.notes() {
                writeln!(f, "- {id}: {note}")?;
            }
        }
        Ok(())
    }
}

fn spread(rounds: &[f64]) -> String {
    let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rounds.iter().copied().fold(0.0, f64::max);
    if rounds.is_empty() {
        String::new()
    } else {
        format!("{least:.2} to {most:.2}")
    }
}

/// The middle one; the mean of the middle two of an even number, 0 of none.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(median: f64, at_least: Option<f64>, certainty: Certainty) -> Outcome {
        let side = || Side {
            command: String::new(),
            client: String::new(),
            median: 1.0,
            runs: Vec::new(),
        };
        Outcome::Ratio(Ratio {
            median,
            rounds: vec![median],
            at_least,
            certainty,
            unit: "requests/s",
            subject: side(),
            peer: side(),
            notes: Vec::new(),
        })
    }

    // One run that the machine disturbed must not decide a row.
    #[test]
    fn a_median_ignores_an_outlier() {
        assert_eq!(median(&[2.0, 90.0, 1.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert_eq!(median(&[]), 0.0);
    }

    // A promise that could not be measured is neither kept nor broken, and what was not promised is neither either; none
    // of them may read as a success.
    #[test]
    fn only_what_was_measured_counts_as_reached() {
        use Certainty::{AtLeast, AtMost, Measured, Unknown};
        let reached = |outcome: &Outcome| (outcome.is_reached(), outcome.verdict());
        assert_eq!(
            reached(&ratio(1.3, Some(1.3), Measured)),
            (Some(true), "reached")
        );
        assert_eq!(
            reached(&ratio(1.29, Some(1.3), Measured)),
            (Some(false), "NOT REACHED")
        );
        assert_eq!(
            reached(&ratio(1.29, Some(1.3), AtLeast)),
            (None, "undecided")
        );
        assert_eq!(
            reached(&ratio(1.31, Some(1.3), AtLeast)),
            (Some(true), "reached")
        );
        assert_eq!(reached(&ratio(9.0, None, Measured)), (None, "no promise"));
        assert_eq!(
            reached(&ratio(1.31, Some(1.3), AtMost)),
            (None, "undecided")
        );
        assert_eq!(
            reached(&ratio(1.29, Some(1.3), AtMost)),
            (Some(false), "NOT REACHED")
        );
        assert_eq!(
            reached(&ratio(9.0, Some(1.3), Unknown)),
            (None, "undecided")
        );
        let missing = Outcome::Missing {
            what: "redis-server is missing".to_owned(),
        };
        assert_eq!(reached(&missing), (None, "missing"));
    }
}
