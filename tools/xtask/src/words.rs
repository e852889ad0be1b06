//! `cargo xtask words`: nothing unfinished, nothing that names one machine, no crate from elsewhere than crates.io.
//!
//! Main holds no note of work to be done (that is what issues are for), and no path that exists only where it was written. The
//! patterns are put together from halves, so that this file passes its own check.

use crate::workspace::{TaskError, Workspace};

/// Words that mark work left undone.
const UNFINISHED: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

/// Directories that differ from machine to machine.
const PLACES: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/tmp/", "wt/"),
];

/// Where crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks all files of the workspace.
pub(crate) fn run(workspace: &Workspace) -> Result<(), TaskError> {
    let mut count = 0;
    for file in workspace.files()? {
        // What a test reads is data, not ours to word.
        if file.contains("/fixtures/") {
            continue;
        }
        let Some(text) = workspace.text(&file)? else {
            continue;
        };
        for finding in findings(&file, &text) {
            println!("{finding}");
            count += 1;
        }
    }
    if count == 0 {
        Ok(())
    } else {
        Err(TaskError::Findings {
            count,
            check: "words",
        })
    }
}

/// What is wrong in one file, a line each.
fn findings(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", index + 1);
        if let Some(word) = UNFINISHED.into_iter().find(|word| has_word(line, word)) {
            findings.push(format!("{place}: {word}: finish it, or open an issue"));
        }
        if let Some(path) = PLACES.into_iter().find(|path| has_absolute(line, path)) {
            findings.push(format!("{place}: {path}… is a path of one machine"));
        }
        let source = line.trim().strip_prefix("source = ");
        if file.ends_with("Cargo.lock")
            && source.is_some_and(|source| source.trim_matches('"') != REGISTRY)
        {
            findings.push(format!("{place}: this crate doesn't come from crates.io"));
        }
    }
    findings
}

/// Whether `line` has `word` with no letter, digit or underscore beside it.
fn has_word(line: &str, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + word.len()..]);
        !before.ends_with(part) && !after.starts_with(part)
    })
}

/// Whether `line` has `path` where a path begins, not inside a longer one.
fn has_absolute(line: &str, path: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || "_.-~}/".contains(character);
    line.match_indices(path)
        .any(|(start, _)| !line[..start].ends_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bites(file: &str, text: &str) -> bool {
        !findings(file, text).is_empty()
    }

    #[test]
    fn unfinished_work_is_found_as_a_word() {
        for word in UNFINISHED {
            assert!(bites("a.rs", &format!("// {word}: later")), "{word}");
            assert!(bites("a.md", &format!("({word})")), "{word}");
            assert!(
                !bites("a.rs", &format!("let {word}_COUNT = MA{word};")),
                "{word}"
            );
        }
    }

    // A path of the author's machine works for the author alone, and tells everyone who that is.
    #[test]
    fn a_path_of_one_machine_is_found() {
        for path in PLACES {
            assert!(
                bites("a.toml", &format!("data = \"{path}store\"")),
                "{path}"
            );
            assert!(
                !bites("a.rs", &format!("\"some{path}inside\" ${{root}}{path}x")),
                "{path}"
            );
        }
    }

    #[test]
    fn a_finding_names_its_line() {
        let text = format!("one\ntwo {}\n", UNFINISHED[0]);
        assert!(findings("docs/a.md", &text)[0].starts_with("docs/a.md:2: "));
    }

    // A lock file written behind a mirror names that mirror, and no one else can build from it.
    #[test]
    fn crates_come_from_one_place() {
        assert!(!bites("Cargo.lock", &format!("source = \"{REGISTRY}\"")));
        assert!(bites(
            "fuzz/Cargo.lock",
            "source = \"registry+https://mirror.example/index\""
        ));
        assert!(bites(
            "Cargo.lock",
            "source = \"git+https://git.example/a\""
        ));
    }
}
