//! Report files: written whole or not at all, and read with errors that name the place.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{BadHistogram, Distribution, Report, SCHEMA, decode};

/// A report can't be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be read at all.
    #[error("{}: {source}; give a file that `--json FILE` wrote", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no JSON.
    #[error("{}: line {line}, column {column}: this is no JSON: {why}; give a file that `--json FILE` wrote", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// Why.
        why: String,
    },
    /// It is JSON, but no report.
    #[error(
        "{}: this is JSON, but no report of corduroy-bench: it has no \"schema\"; give a file that `--json FILE` wrote",
        path.display()
    )]
    NotAReport {
        /// The file.
        path: PathBuf,
    },
    /// It is a report of another version.
    #[error(
        "{}: its schema is {found:?}, this corduroy-bench reads {SCHEMA:?}; read it with the version that wrote it",
        path.display()
    )]
    OtherSchema {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A field is missing or holds what it can't.
    #[error("{}: at {place}: {why}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field: `runs[2].latencies[0].response.p50`.
        place: String,
        /// Why.
        why: String,
    },
}

/// Reads a report.
///
/// # Errors
///
/// [`ReadError`], which names the file and the place in it.
pub fn read(path: &Path) -> Result<Report, ReadError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReadError::Io {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// Writes a report to a file, in place of one that is there. A reader sees the old file or the new one, never half of it.
///
/// # Errors
///
/// Those of the file system.
pub fn write(report: &Report, path: &Path) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(report).map_err(io::Error::other)?;
    text.push('\n');
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}

fn parse(path: &Path, text: &str) -> Result<Report, ReadError> {
    let path = || path.to_owned();
    let not_json = |error: &serde_json::Error| ReadError::NotJson {
        path: path(),
        line: error.line(),
        column: error.column(),
        why: error.to_string(),
    };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    match value.get("schema").map(|schema| schema.as_str()) {
        Some(Some(SCHEMA)) => {}
        Some(Some(found)) => {
            return Err(ReadError::OtherSchema {
                path: path(),
                found: found.to_owned(),
            });
        }
        Some(None) | None => return Err(ReadError::NotAReport { path: path() }),
    }
    // From the text and not from the value, so that the error has the line too.
    let report: Report = serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(
        text,
    ))
    .map_err(|error| ReadError::Field {
        path: path(),
        place: error.path().to_string(),
        why: error.inner().to_string(),
    })?;
    match bad_histogram(&report) {
        None => Ok(report),
        Some((place, why)) => Err(ReadError::Field {
            path: path(),
            place,
            why: why.to_string(),
        }),
    }
}

/// The first histogram that can't be read, so that what is made of a report needs to expect none.
fn bad_histogram(report: &Report) -> Option<(String, BadHistogram)> {
    let check = |place: String, distribution: &Distribution| {
        let error = distribution.histogram().err()?;
        Some((place, error))
    };
    report.runs.iter().enumerate().find_map(|(index, run)| {
        let lag = || {
            check(
                format!("runs[{index}].generator.lag.histogram"),
                &run.generator.lag,
            )
        };
        run.latencies
            .iter()
            .enumerate()
            .find_map(|(of, latency)| {
                let place = |kind: &str| format!("runs[{index}].latencies[{of}].{kind}.histogram");
                check(place("response"), &latency.response)
                    .or_else(|| check(place("service"), &latency.service))
            })
            .or_else(lag)
            .or_else(|| {
                let slices = run.timeline.slices.iter().enumerate();
                slices
                    .flat_map(|(at, slice)| slice.histograms.iter().map(move |of| (at, of)))
                    .find_map(|(at, (operation, text))| {
                        let error = decode(text).err()?;
                        let name = operation.name();
                        let place =
                            format!("runs[{index}].timeline.slices[{at}].histograms.{name}");
                        Some((place, error))
                    })
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("a.json"), text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_place() {
        assert!(error("{\n  \"schema\": ?").contains("a.json: line 2, column 13: this is no JSON"));
        assert!(error("[1, 2]").contains("no report of corduroy-bench"));
        assert!(error("{\"schema\": 7}").contains("no report of corduroy-bench"));
        assert!(error("{\"schema\": \"corduroy-bench/9\"}").contains(
            "its schema is \"corduroy-bench/9\", this corduroy-bench reads \"corduroy-bench/1\""
        ));
        let missing = error("{\"schema\": \"corduroy-bench/1\", \"tool\": 3}");
        assert!(missing.contains("a.json: at tool: "), "{missing}");
    }

    #[test]
    fn a_file_that_is_not_there() {
        let error = read(Path::new("/nowhere/a.json")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/a.json: "), "{error}");
    }
}
