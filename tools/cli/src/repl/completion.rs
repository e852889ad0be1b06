//! Completion: commands, their flags, and the names of keyspaces where one belongs.
//!
//! The candidates come from the same grammar that parses the line, so a new command or flag is completed without a word here. The
//! names of keyspaces are fetched before each prompt, never while a key is held down.

use crate::arguments::Line;
use clap::CommandFactory as _;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use std::time::Duration;

/// How long the prompt waits for the names of keyspaces.
pub(super) const REFRESH_TIMEOUT: Duration = Duration::from_millis(300);

/// Commands of the interactive mode alone.
const OWN_COMMANDS: [&str; 3] = ["use", "help", "exit"];

/// See the module's header.
pub(super) struct Completion {
    grammar: clap::Command,
    keyspaces: Vec<String>,
}

impl Completion {
    /// Knows no keyspaces yet.
    pub(super) fn new() -> Self {
        let mut grammar = Line::command();
        // Hands the flags that serve every command down to each of them.
        grammar.build();
        Self {
            grammar,
            keyspaces: Vec::new(),
        }
    }

    /// The names that are there now.
    pub(super) fn set_keyspaces(&mut self, names: Vec<String>) {
        self.keyspaces = names;
    }

    /// What may stand in the place of the last word of `line`; and where that word begins.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let word = &line[start..];
        let before: Vec<&str> = line[..start].split_whitespace().collect();
        let mut candidates = self.expected(&before, word);
        candidates.retain(|candidate| candidate.starts_with(word));
        candidates.sort();
        candidates.dedup();
        (start, candidates)
    }

    fn expected(&self, before: &[&str], word: &str) -> Vec<String> {
        if matches!(before.last(), Some(&("-k" | "--keyspace")))
            || matches!(before, ["use"] | ["keyspace", "drop"])
        {
            return self.keyspaces.clone();
        }
        let mut command = &self.grammar;
        for name in before {
            command = command.find_subcommand(name).unwrap_or(command);
        }
        if word.starts_with('-') {
            return command
                .get_arguments()
                .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
                .collect();
        }
        let mut names: Vec<String> = command
            .get_subcommands()
            .map(|subcommand| subcommand.get_name().to_owned())
            .collect();
        if before.is_empty() {
            names.extend(OWN_COMMANDS.map(str::to_owned));
        }
        names
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, candidates) = self.candidates(&line[..position]);
        let pair = |name: String| Pair {
            replacement: format!("{name} "),
            display: name,
        };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A completion that proposes what the parser refuses teaches people wrong.
    #[test]
    fn completes_what_the_grammar_knows() {
        let mut completion = Completion::new();
        completion.set_keyspaces(vec!["default".to_owned(), "sessions".to_owned()]);
        let cases: [(&str, usize, &[&str]); 10] = [
            ("pi", 0, &["ping"]),
            ("us", 0, &["use"]),
            ("keyspace c", 9, &["create"]),
            ("keyspace drop s", 14, &["sessions"]),
            ("use ", 4, &["default", "sessions"]),
            ("scan -k d", 8, &["default"]),
            (
                "put key value --if-",
                14,
                &["--if-absent", "--if-present", "--if-value", "--if-version"],
            ),
            ("get key --out", 8, &["--output"]),
            ("get k", 4, &[]),
            ("ünknown ü", 9, &[]),
        ];
        for (line, start, expected) in cases {
            let (found_start, found) = completion.candidates(line);
            assert_eq!(
                (
                    found_start,
                    found.iter().map(String::as_str).collect::<Vec<_>>()
                ),
                (start, expected.to_vec()),
                "{line:?}"
            );
        }
    }
}
