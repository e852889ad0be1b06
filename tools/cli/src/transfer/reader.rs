//! The import's reader: a thread that turns a file into parcels of parsed lines.
//!
//! Reading and parsing block and burn CPU, sending waits for the network: on two threads they overlap. The channel
//! between them is bounded, so a slow server slows the reader and nothing piles up. The thread ends when the file does, when reading fails, or when the
//! receiver is gone; nobody waits for it, because a read from a terminal or a pipe may never return.

use super::record::{self, Format, Record, RecordError};
use crate::limits;
use std::io::{self, BufRead, BufReader, Read};
use std::thread;
use tokio::sync::mpsc;

/// One line of the file.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Offset of the byte after it, its newline included.
    pub(crate) end: u64,
    /// What it holds; `Ok(None)` if it is blank.
    pub(crate) record: Result<Option<Record>, RecordError>,
}

/// Some lines, in order, or why there are no more.
pub(crate) type Parcel = io::Result<Vec<Line>>;

/// Where reading begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Offset of the first byte that `input` yields.
    pub(crate) offset: u64,
    /// Lines before it.
    pub(crate) line: u64,
}

/// Starts the thread. The channel closes at the end of the file.
pub(crate) fn spawn(
    input: Box<dyn Read + Send>,
    format: Format,
    start: Start,
) -> io::Result<mpsc::Receiver<Parcel>> {
    let (sender, receiver) = mpsc::channel(limits::PARCELS_WAITING_MAX);
    thread::Builder::new()
        .name("import-reader".to_owned())
        .spawn(move || {
            let mut lines = Lines::new(
                BufReader::with_capacity(limits::READ_LEN, input),
                format,
                start,
            );
            loop {
                let parcel = lines.parcel();
                let last = match &parcel {
                    Ok(lines) => lines.is_empty(),
                    Err(_) => true,
                };
                if matches!(&parcel, Ok(lines) if lines.is_empty())
                    || sender.blocking_send(parcel).is_err()
                    || last
                {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// The lines of a file, parsed.
struct Lines<R> {
    input: R,
    format: Format,
    /// What was taken from the file.
    at: Start,
    line: Vec<u8>,
    line_len_max: usize,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R, format: Format, start: Start) -> Self {
        Self {
            input,
            format,
            at: start,
            line: Vec::new(),
            line_len_max: limits::LINE_LEN_MAX,
        }
    }

    /// The next lines; none at the end of the file.
    fn parcel(&mut self) -> Parcel {
        let begin = self.at.offset;
        let mut lines = Vec::new();
        while lines.len() < limits::PARCEL_LINES_MAX
            && self.at.offset - begin < limits::PARCEL_LEN_MAX as u64
        {
            match self.next()? {
                Some(line) => lines.push(line),
                None => break,
            }
        }
        Ok(lines)
    }

    fn next(&mut self) -> io::Result<Option<Line>> {
        self.line.clear();
        // One byte more than the longest line: its newline, or the sign that it is too long.
        let bound = self.line_len_max as u64 + 1;
        let len = self
            .input
            .by_ref()
            .take(bound)
            .read_until(b'\n', &mut self.line)?;
        if len == 0 {
            return Ok(None);
        }
        let mut consumed = len as u64;
        let ended = self.line.pop_if(|byte| *byte == b'\n').is_some();
        let record = if ended || self.line.len() <= self.line_len_max {
            record::parse(self.format, &self.line)
        } else {
            consumed += self.input.skip_until(b'\n')? as u64;
            self.line = Vec::new();
            Err(RecordError::TooLong {
                max: self.line_len_max,
            })
        };
        self.at.offset += consumed;
        self.at.line += 1;
        Ok(Some(Line {
            number: self.at.line,
            end: self.at.offset,
            record,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &[u8], line_len_max: usize) -> Vec<Line> {
        let mut lines = Lines::new(text, Format::Tsv, Start { offset: 0, line: 0 });
        lines.line_len_max = line_len_max;
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    proptest! {
        /// The offsets become places to resume at: each must be the start of a line, and the last the end of the file.
        #[test]
        fn offsets_are_starts_of_lines(text in "[a\t\n]{0,60}") {
            let lines = lines(text.as_bytes(), 5);
            for line in &lines {
                let end = usize::try_from(line.end).unwrap();
                prop_assert!(end == text.len() || text.as_bytes()[end - 1] == b'\n');
            }
            prop_assert_eq!(lines.last().map_or(0, |line| line.end), text.len() as u64);
            prop_assert_eq!(lines.len(), text.lines().count());
            for (line, expected) in lines.iter().zip(text.lines()) {
                if expected.len() > 5 {
                    let too_long = matches!(line.record, Err(RecordError::TooLong { .. }));
                    prop_assert!(too_long);
                }
            }
        }
    }

    /// A file of one endless line must not be read into memory, and the line after it must still be found.
    #[test]
    fn a_long_line_is_stepped_over() {
        let text = b"a\tb\nxxxxxxxxxxxxxxxx\nc\td";
        let lines = lines(text, 5);
        assert_eq!(lines.len(), 3);
        assert!(matches!(
            lines[1].record,
            Err(RecordError::TooLong { max: 5 })
        ));
        assert_eq!((lines[1].number, lines[1].end), (2, 21));
        assert_eq!(lines[2].record.as_ref().unwrap().as_ref().unwrap().key, "c");
        assert_eq!(lines[2].end, text.len() as u64);
    }
}
