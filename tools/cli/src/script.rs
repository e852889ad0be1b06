//! A script: the lines of standard input, run one after the other over one connection.
//!
//! A line is a command without the program's name, cut into words by [`crate::text::words`]; blank lines and comments do nothing.
//! The script ends at the first line that fails, with that line's exit code; a key that is not there and a condition that does not
//! hold are answers and don't end it. A script that comes to its end ends as its last line did.

use crate::arguments::Line;
use crate::commands::{self, Session};
use crate::error::Error;
use crate::exit::Exit;
use crate::limits::SCRIPT_LINE_LEN_MAX;
use crate::text::words;
use clap::Parser as _;
use std::ffi::OsString;
use std::io::{BufRead, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use tokio::runtime::Runtime;

/// Runs the script on `input`.
pub(crate) fn run(
    runtime: &Runtime,
    session: &mut Session,
    mut input: impl BufRead,
) -> Result<Exit, Error> {
    let mut last = Exit::Done;
    let mut text = Vec::new();
    for number in 1_u64.. {
        if !next_line(&mut input, &mut text)? {
            break;
        }
        let place = format!("line {number}: ");
        let exit = match run_line(runtime, session, &text) {
            Ok(None) => continue,
            Ok(Some(exit)) => exit,
            Err(error) => crate::report(&error, &place),
        };
        if exit.ends_script() {
            return Ok(exit);
        }
        last = exit;
    }
    Ok(last)
}

/// Runs one line; `None` if there is nothing on it.
pub(crate) fn run_line(
    runtime: &Runtime,
    session: &mut Session,
    text: &[u8],
) -> Result<Option<Exit>, Error> {
    let words = words::split(text)?;
    if words.is_empty() {
        return Ok(None);
    }
    let line = Line::try_parse_from(words.into_iter().map(OsString::from_vec))?;
    runtime
        .block_on(Box::pin(commands::run(
            session,
            &line.session,
            line.command,
        )))
        .map(Some)
}

/// Reads a line without its end into `text`; `false` at the end of the input.
fn next_line(input: &mut impl BufRead, text: &mut Vec<u8>) -> Result<bool, Error> {
    text.clear();
    let bound = SCRIPT_LINE_LEN_MAX as u64 + 1;
    let len = input
        .by_ref()
        .take(bound)
        .read_until(b'\n', text)
        .map_err(Error::Stdin)?;
    if text.pop_if(|byte| *byte == b'\n').is_none() && len > SCRIPT_LINE_LEN_MAX {
        return Err(Error::LineTooLong {
            max: SCRIPT_LINE_LEN_MAX,
        });
    }
    Ok(len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last line of a script often lacks its newline; it must run all the same.
    #[test]
    fn the_last_line_counts() {
        let mut input = &b"get a\n\nget b"[..];
        let mut text = Vec::new();
        let mut lines = Vec::new();
        while next_line(&mut input, &mut text).unwrap() {
            lines.push(String::from_utf8(text.clone()).unwrap());
        }
        assert_eq!(lines, ["get a", "", "get b"]);
    }
}
