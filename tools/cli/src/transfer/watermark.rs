//! How far an import has come, when its requests are answered in any order.
//!
//! Lines begin in the order of the file and finish in any. The watermark is the end of the longest run of finished lines
//! from the start: every line before it is acknowledged (or left out on purpose), and an import that goes on from
//! there loses nothing. What finished beyond it is done again after a resume.
//!
//! A ring of the lines that began and are not yet behind the watermark; finishing one marks it, and the front moves on
//! while it is marked. Each line enters and leaves once, so the cost is constant a line.

use std::collections::VecDeque;

/// A place in the file between two lines, and what is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Bytes before it.
    pub(crate) offset: u64,
    /// Lines before it.
    pub(crate) line: u64,
    /// Records before it that the server acknowledged.
    pub(crate) imported: u64,
    /// Lines before it that were left out because they could not be imported.
    pub(crate) skipped: u64,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server acknowledged it.
    Imported,
    /// It could not be imported and was left out.
    Skipped,
    /// It held no record.
    Blank,
}

/// A line that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Watermark {
    position: Position,
    /// Lines from the watermark on: where each ends, and its fate once it finished.
    lines: VecDeque<(u64, Option<Fate>)>,
    /// The ticket of the first of them.
    first: u64,
}

impl Watermark {
    /// Nothing began after `position` yet.
    pub(crate) fn new(position: Position) -> Self {
        Self {
            position,
            lines: VecDeque::new(),
            first: 0,
        }
    }

    /// The next line of the file begins; it ends before the byte at `end`.
    pub(crate) fn begin(&mut self, end: u64) -> Ticket {
        let last_end = self
            .lines
            .back()
            .map_or(self.position.offset, |&(end, _)| end);
        assert!(
            end > last_end,
            "lines begin in the order of the file: one ends at {end} after one at {last_end}"
        );
        self.lines.push_back((end, None));
        Ticket(self.first + self.lines.len() as u64 - 1)
    }

    /// A line that began came to its end.
    pub(crate) fn finish(&mut self, ticket: Ticket, fate: Fate) {
        let index = ticket
            .0
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        let slot = index
            .and_then(|index| self.lines.get_mut(index))
            .expect("a line finishes once, after it began");
        assert!(slot.1.is_none(), "a line finishes once");
        slot.1 = Some(fate);
        while let Some(&(end, Some(fate))) = self.lines.front() {
            self.lines.pop_front();
            self.first += 1;
            self.position.offset = end;
            self.position.line += 1;
            match fate {
                Fate::Imported => self.position.imported += 1,
                Fate::Skipped => self.position.skipped += 1,
                Fate::Blank => {}
            }
        }
    }

    /// Everything before this has finished.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Lines that are remembered: from the oldest unfinished one on.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// If the watermark ever passed a line that was not acknowledged, a resumed import would leave that record out
        /// and report success.
        #[test]
        fn never_passes_an_unfinished_line(
            lens in proptest::collection::vec(1_u64..100, 1..60),
            order in proptest::collection::vec(any::<proptest::sample::Index>(), 60),
        ) {
            let mut watermark = Watermark::new(Position::default());
            let mut end = 0;
            let mut open: Vec<(usize, Ticket)> = Vec::new();
            let mut ends = Vec::new();
            for (line, len) in lens.iter().enumerate() {
                end += len;
                ends.push(end);
                open.push((line, watermark.begin(end)));
            }
            let mut finished = vec![false; lens.len()];
            for index in order {
                if open.is_empty() {
                    break;
                }
                let (line, ticket) = open.swap_remove(index.index(open.len()));
                watermark.finish(ticket, if line % 3 == 0 { Fate::Skipped } else { Fate::Imported });
                finished[line] = true;
                let run = finished.iter().take_while(|&&done| done).count();
                let position = watermark.position();
                prop_assert_eq!(position.line, run as u64);
                prop_assert_eq!(position.offset, if run == 0 { 0 } else { ends[run - 1] });
                prop_assert_eq!(position.imported + position.skipped, position.line);
                prop_assert_eq!(position.skipped, run.div_ceil(3) as u64);
                prop_assert_eq!(watermark.len(), lens.len() - run);
            }
        }
    }

    /// A line that finished twice would be counted twice, and the second time for another line.
    #[test]
    #[should_panic(expected = "a line finishes once")]
    fn a_line_finishes_once() {
        let mut watermark = Watermark::new(Position::default());
        let ticket = watermark.begin(5);
        watermark.finish(ticket, Fate::Imported);
        watermark.finish(ticket, Fate::Imported);
    }
}
