//! Results on standard output, in the form that was asked for; everything else on standard error.
//!
//! | form | one result is |
//! |---|---|
//! | table | aligned columns, for people; unprintable bytes escaped, long values cut |
//! | json | one JSON object on one line; every byte, see [`crate::text::json`] |
//! | raw | the datum alone: a value's bytes, a number, `true` or `false`; nothing for a write |
//!
//! **Raw and newlines.** A value is written byte for byte and nothing is added, so that `get photo > photo.jpg` makes the
//! same file. There are two exceptions, where the bytes alone would mislead: on a terminal a newline follows a value that has
//! none at its end, or the prompt would stick to it; and in a script (several results on one stream) a newline follows every value, or
//! they would run together. What must be exact *and* told apart is read from `-o json`. Numbers and other words of our own always end in a newline.

pub(crate) mod keys;
mod objects;
mod status;
mod table;

pub(crate) use status::print_status;

use crate::arguments::OutputFormat;
use crate::exit::Exit;
use crate::text::escape;
use bytes::Bytes;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, UNIX_EPOCH};
use table::Fields;

/// Where results go, and in which form.
pub(crate) struct Output {
    /// The form, settled: `--output`, or by what standard output is.
    pub(crate) format: OutputFormat,
    stdout: Box<dyn Write + Send>,
    /// Standard output is a terminal.
    terminal: bool,
    /// Several results share the stream: a script.
    script: bool,
}

/// A key's version and when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stamp {
    /// Only grows for a key.
    pub(crate) version: u64,
    /// Milliseconds since 1970.
    pub(crate) timestamp_ms: u64,
}

/// What a command on one key came to. Every variant's fields appear in its JSON form under the same names.
#[derive(Debug)]
pub(crate) enum Reply {
    /// `get` found it.
    Found {
        /// Its value.
        value: Bytes,
        /// Of that value.
        stamp: Stamp,
    },
    /// The key does not exist; for whatever command needs it.
    NotFound,
    /// `put`, `del`, `touch`, `persist` did it.
    Done {
        /// After the command.
        stamp: Stamp,
        /// `None` if the old value was not asked for; `Some(None)` if there was none.
        old: Option<Option<Bytes>>,
    },
    /// The condition did not hold.
    ConditionFailed {
        /// The key's last version; `None` if it never was. A deleted key may have one.
        current: Option<Stamp>,
        /// `None` if it was not asked for or there is none.
        value: Option<Bytes>,
    },
    /// `add`: the new value.
    Counter {
        /// The sum.
        value: i64,
        /// After the command.
        stamp: Stamp,
    },
    /// `append`: the new length.
    Length {
        /// In bytes.
        length: u64,
        /// After the command.
        stamp: Stamp,
    },
    /// `ttl`: `None` for a key that does not expire.
    Ttl(Option<Duration>),
    /// `exists`.
    Exists(bool),
}

impl Reply {
    /// How the program ends after this.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::NotFound | Self::Exists(false) => Exit::NotFound,
            Self::ConditionFailed { .. } => Exit::ConditionFailed,
            _ => Exit::Done,
        }
    }
}

impl Output {
    /// Standard output; `format` as asked for.
    pub(crate) fn stdout(format: Option<OutputFormat>, script: bool) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let by_place = if terminal {
            OutputFormat::Table
        } else {
            OutputFormat::Raw
        };
        Self {
            format: format.unwrap_or(by_place),
            stdout: Box::new(stdout),
            terminal,
            script,
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.write_all(bytes)
    }

    /// Writes a line of text.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.stdout.write_all(text.as_bytes())?;
        self.stdout.write_all(b"\n")
    }

    /// Hands everything to the operating system. Every command ends with this: an error here is a broken pipe or a full disk.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }

    /// Writes one JSON object and a newline.
    pub(crate) fn json(&mut self, object: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(object).map_err(io::Error::other)?;
        line.push(b'\n');
        self.stdout.write_all(&line)
    }

    /// Writes a value raw; see the module's header for the newline.
    pub(crate) fn raw_value(&mut self, value: &[u8]) -> io::Result<()> {
        self.stdout.write_all(value)?;
        if self.script || (self.terminal && !value.ends_with(b"\n")) {
            self.stdout.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Writes rows of name and value, aligned, for people.
    fn fields(&mut self, fields: &Fields) -> io::Result<()> {
        let text = fields.to_string();
        self.line(&text)
    }
}

/// A line on standard error: everything that is not data. A standard error that is closed is nobody's loss.
pub(crate) fn note(text: impl std::fmt::Display) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Milliseconds since 1970 as a date and time in UTC.
pub(crate) fn date(timestamp_ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(timestamp_ms)) {
        // Beyond the year 9999 the notation ends; the number is shown as it is.
        Some(time) if timestamp_ms < 253_402_300_800_000 => {
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => format!("{timestamp_ms} ms"),
    }
}

/// A value for a person: printable, and cut where it is long.
pub(crate) fn cell(bytes: &[u8]) -> String {
    // A printable text has at least one character for four bytes, so this much can never be too little.
    let head = &bytes[..bytes.len().min(4 * crate::limits::CELL_CHARS_MAX)];
    let text = escape::printable(head);
    match text.char_indices().nth(crate::limits::CELL_CHARS_MAX) {
        None if head.len() == bytes.len() => text,
        None => format!("{text}… ({} bytes in all)", bytes.len()),
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], bytes.len()),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! An [`Output`] whose bytes a test can look at.

    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap().clone()
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.bytes()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn output(format: OutputFormat, terminal: bool, script: bool) -> (Output, Captured) {
        let captured = Captured::default();
        (
            Output {
                format,
                stdout: Box::new(captured.clone()),
                terminal,
                script,
            },
            captured,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `get photo > photo.jpg` must make the same file: one newline more and every checksum differs.
    #[test]
    fn raw_values_are_exact_unless_they_would_run_together() {
        let cases = [
            (false, false, "a"),
            (true, false, "a\n"),
            (false, true, "a\n"),
        ];
        for (terminal, script, expected) in cases {
            let (mut output, captured) = testing::output(OutputFormat::Raw, terminal, script);
            output.raw_value(b"a").unwrap();
            assert_eq!(
                captured.text(),
                expected,
                "terminal {terminal}, script {script}"
            );
        }
        let (mut output, captured) = testing::output(OutputFormat::Raw, true, false);
        output.raw_value(b"a\n").unwrap();
        assert_eq!(captured.text(), "a\n");
    }

    /// A value of megabytes would scroll everything else away; and the cut must not fall inside a character.
    #[test]
    fn long_values_are_cut() {
        assert_eq!(cell(b"short"), "short");
        let long = "ü".repeat(5000);
        let text = cell(long.as_bytes());
        assert!(text.ends_with("… (10000 bytes in all)"), "{text}");
        assert_eq!(
            text.chars().filter(|&character| character == 'ü').count(),
            crate::limits::CELL_CHARS_MAX
        );
    }

    /// A server with a broken clock must not make the client fall over.
    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(1_763_717_131_123), "2025-11-21T09:25:31.123Z");
        assert_eq!(date(u64::MAX), format!("{} ms", u64::MAX));
    }
}
