//! The import: many puts in flight, answered in any order, and a watermark of what is certain.
//!
//! One loop owns everything. In each turn it begins as many lines as may be in flight, then waits for an answer, for the
//! reader's next parcel, for Ctrl-C or for the next checkpoint, whichever comes first. Three rules:
//!
//! 1. **Lines of the same key keep their order.** A line whose key is in flight waits, and everything behind it. Otherwise a
//!    retry of the earlier one could overwrite the later one.
//! 2. **What is in flight is bounded**, in requests and in bytes.
//! 3. **Ending is draining.** Whatever the reason (the end of the file, Ctrl-C, a bad line, a server that is gone), no more lines
//!    begin, every one that began is waited for, and the last checkpoint is written after that.

use super::delivery::{Delivery, is_about_the_record};
use super::progress::Progress;
use super::reader::{self, Line, Parcel, Start};
use super::record::{Format, Record};
use super::source::Source;
use super::state::{self, ImportState, State, StateError};
use super::watermark::{Fate, Position, Ticket, Watermark};
use super::{End, FileError, TransferError, shell_word};
use crate::arguments::{ImportArguments, OnError};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::limits;
use crate::output::note;
use bytes::Bytes;
use corduroy_client::{Error as ClientError, Keyspace, PutOutcome};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Writes the records of a file into `keyspace`, which is called `name`.
pub(crate) async fn import(
    keyspace: Keyspace,
    name: &str,
    arguments: &ImportArguments,
    interrupt: Interrupt,
) -> Result<Exit, TransferError> {
    let format = arguments
        .format
        .or_else(|| Format::guess(&arguments.file))
        .ok_or_else(|| TransferError::UnknownFormat {
            path: arguments.file.clone(),
        })?;
    let mut import = Import::begin(keyspace, name, arguments, format, interrupt)?;
    let end = import.run().await;
    import.delivery.progress.clear();
    let end = match (import.checkpoint(), end) {
        (Err(error), End::Complete | End::Interrupted) => End::Failed(error.into()),
        (_, end) => end,
    };
    import.summarize(&end);
    match end {
        End::Complete if import.watermark.position().skipped > 0 => Ok(Exit::Skipped),
        End::Complete => Ok(Exit::Done),
        End::Interrupted => Ok(Exit::Interrupted),
        End::Failed(error) => Err(error),
    }
}

/// A record whose line began.
struct Begun {
    ticket: Ticket,
    number: u64,
    record: Record,
}

impl Begun {
    fn len(&self) -> usize {
        self.record.key.len() + self.record.value.len()
    }
}

/// A record that the server was asked to write, and what came of it.
struct Sent {
    begun: Begun,
    result: Result<PutOutcome, ClientError>,
}

struct Import<'a> {
    arguments: &'a ImportArguments,
    keyspace_name: &'a str,
    format: Format,
    delivery: Arc<Delivery>,
    source: Source,
    parcels: mpsc::Receiver<Parcel>,
    /// What the reader sent and did not begin yet.
    lines: VecDeque<Line>,
    /// A line that began but can't be sent yet.
    held: Option<Begun>,
    in_flight: FuturesUnordered<BoxFuture<'static, Sent>>,
    keys_in_flight: HashSet<Bytes>,
    bytes_in_flight: usize,
    watermark: Watermark,
    /// What the state file says.
    stored: Option<Position>,
    /// Why no more lines begin.
    end: Option<End>,
    bad_lines_shown: u64,
}

impl<'a> Import<'a> {
    fn begin(
        keyspace: Keyspace,
        keyspace_name: &'a str,
        arguments: &'a ImportArguments,
        format: Format,
        interrupt: Interrupt,
    ) -> Result<Self, TransferError> {
        let resumed = match &arguments.resume {
            Some(path) => load(path, keyspace_name, format)?,
            None => None,
        };
        let resume = arguments.resume.as_deref().zip(resumed.as_ref());
        let mut source = Source::open(&arguments.file, resume)?;
        let position = source.start;
        if resume.is_some() {
            note(format_args!(
                "going on after line {} (byte {})",
                position.line, position.offset
            ));
        }
        let start = Start {
            offset: position.offset,
            line: position.line,
        };
        let input = std::mem::replace(&mut source.input, Box::new(std::io::empty()));
        let parcels = reader::spawn(input, format, start)
            .map_err(|source| FileError::new("read", &arguments.file, source))?;
        let progress = Progress::new(source.length, position.offset);
        let delivery = Delivery::new(keyspace, arguments.patience, interrupt, progress);
        Ok(Self {
            arguments,
            keyspace_name,
            format,
            delivery: Arc::new(delivery),
            source,
            parcels,
            lines: VecDeque::new(),
            held: None,
            in_flight: FuturesUnordered::new(),
            keys_in_flight: HashSet::new(),
            bytes_in_flight: 0,
            watermark: Watermark::new(position),
            stored: resumed.map(|state| state.position()),
            end: None,
            bad_lines_shown: 0,
        })
    }

    /// Until every line that began has finished and no more may begin.
    async fn run(&mut self) -> End {
        let mut interrupt = self.delivery.interrupt.clone();
        let mut checkpoint = tokio::time::interval(limits::CHECKPOINT_INTERVAL);
        checkpoint.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_lines();
            if self.in_flight.is_empty()
                && let Some(end) = self.end.take()
            {
                return end;
            }
            let reading = self.end.is_none() && self.lines.is_empty() && self.held.is_none();
            tokio::select! {
                biased;
                () = interrupt.wait(), if self.end.is_none() => self.end = Some(End::Interrupted),
                _ = checkpoint.tick() => {
                    if let Err(error) = self.checkpoint() {
                        self.fail(error.into());
                    }
                }
                Some(sent) = self.in_flight.next(), if !self.in_flight.is_empty() => self.finish(sent),
                parcel = self.parcels.recv(), if reading => self.receive(parcel),
            }
        }
    }

    fn receive(&mut self, parcel: Option<Parcel>) {
        match parcel {
            None => self.end = Some(End::Complete),
            Some(Ok(lines)) => self.lines.extend(lines),
            Some(Err(source)) => {
                self.fail(FileError::new("read", &self.arguments.file, source).into());
            }
        }
    }

    /// The first failure is the one that is told; it is more than an end of the file or Ctrl-C that came before it.
    fn fail(&mut self, error: TransferError) {
        if !matches!(self.end, Some(End::Failed(_))) {
            self.end = Some(End::Failed(error));
        }
    }

    fn begin_lines(&mut self) {
        while self.end.is_none() {
            let Some(begun) = self.held.take().or_else(|| self.begin_next()) else {
                return;
            };
            if !self.has_room(&begun) {
                self.held = Some(begun);
                return;
            }
            self.send(begun);
        }
    }

    /// The next line with a record; those without one finish at once.
    fn begin_next(&mut self) -> Option<Begun> {
        while self.watermark.len() < limits::UNACKNOWLEDGED_LINES_MAX {
            let line = self.lines.pop_front()?;
            let ticket = self.watermark.begin(line.end);
            match line.record {
                Ok(Some(record)) => {
                    return Some(Begun {
                        ticket,
                        number: line.number,
                        record,
                    });
                }
                Ok(None) => self.watermark.finish(ticket, Fate::Blank),
                Err(source) => {
                    self.bad_line(
                        ticket,
                        TransferError::BadLine {
                            number: line.number,
                            source,
                        },
                    );
                    if self.end.is_some() {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn has_room(&self, begun: &Begun) -> bool {
        let bytes_fit = self.bytes_in_flight + begun.len() <= limits::IN_FLIGHT_BYTES_MAX
            || self.in_flight.is_empty();
        bytes_fit
            && self.in_flight.len() < self.arguments.in_flight
            && !self.keys_in_flight.contains(&begun.record.key)
    }

    fn send(&mut self, begun: Begun) {
        self.bytes_in_flight += begun.len();
        self.keys_in_flight.insert(begun.record.key.clone());
        let delivery = Arc::clone(&self.delivery);
        self.in_flight.push(Box::pin(async move {
            let result = delivery.put(&begun.record).await;
            Sent { begun, result }
        }));
    }

    fn finish(&mut self, sent: Sent) {
        let Sent { begun, result } = sent;
        self.bytes_in_flight -= begun.len();
        self.keys_in_flight.remove(&begun.record.key);
        let number = begun.number;
        match result {
            Ok(PutOutcome::Done(..)) => {
                self.watermark.finish(begun.ticket, Fate::Imported);
                let position = self.watermark.position();
                self.delivery
                    .progress
                    .update(position.offset, position.imported);
            }
            Ok(PutOutcome::ConditionFailed { .. }) => self.fail(TransferError::Absurd { number }),
            Err(error) if is_about_the_record(&error) => {
                self.bad_line(
                    begun.ticket,
                    TransferError::Rejected {
                        number,
                        source: Box::new(error),
                    },
                );
            }
            // Ctrl-C cuts retries short; what it interrupted is not a failure of its own.
            Err(_) if self.delivery.interrupt.requested() => self.end = Some(End::Interrupted),
            Err(error) => self.fail(TransferError::Server(Box::new(error))),
        }
    }

    /// A line that can't be imported: the end, or one that is left out.
    fn bad_line(&mut self, ticket: Ticket, error: TransferError) {
        match self.arguments.on_error {
            OnError::Stop => self.fail(error),
            OnError::Skip => {
                self.watermark.finish(ticket, Fate::Skipped);
                self.bad_lines_shown += 1;
                match self.bad_lines_shown.cmp(&limits::BAD_LINES_SHOWN_MAX) {
                    std::cmp::Ordering::Less => self.delivery.progress.note(error),
                    std::cmp::Ordering::Equal => {
                        self.delivery
                            .progress
                            .note(format_args!("{error}\nfurther bad lines are only counted"));
                    }
                    std::cmp::Ordering::Greater => {}
                }
            }
        }
    }

    /// Makes what is certain durable, if that was asked for and there is news.
    fn checkpoint(&mut self) -> Result<(), StateError> {
        let position = self.watermark.position();
        let Some(path) = &self.arguments.resume else {
            return Ok(());
        };
        if self.stored == Some(position) {
            return Ok(());
        }
        tokio::task::block_in_place(|| {
            let fingerprint =
                self.source
                    .fingerprint(position.offset)
                    .map_err(|source| StateError::Read {
                        path: self.arguments.file.clone(),
                        source,
                    })?;
            let state = ImportState {
                keyspace: self.keyspace_name.to_owned(),
                format: self.format,
                offset: position.offset,
                line: position.line,
                imported: position.imported,
                skipped: position.skipped,
                fingerprint,
            };
            state::store(path, &State::Import(state))
        })?;
        self.stored = Some(position);
        Ok(())
    }

    /// What was done, and how to go on if there is more.
    fn summarize(&self, end: &End) {
        let Position {
            offset,
            line,
            imported,
            skipped,
        } = self.watermark.position();
        let left_out = if skipped > 0 {
            format!(", left {skipped} lines out")
        } else {
            String::new()
        };
        if matches!(end, End::Complete) {
            note(format_args!("imported {imported} records{left_out}"));
            return;
        }
        note(format_args!(
            "stopped after line {line} (byte {offset}): imported {imported} records{left_out}"
        ));
        if self.arguments.resume.is_some() {
            note("the same command goes on there");
        } else if self.source.length.is_some() {
            note(format_args!(
                "to go on there: tail -c +{} {} | corduroy-cli -k {} import --format {} -",
                offset + 1,
                shell_word(&self.arguments.file),
                shell_word(Path::new(self.keyspace_name)),
                self.format.name(),
            ));
        } else {
            note(
                "to import everything again does no harm; with --resume STATEFILE the same command goes on where it stopped",
            );
        }
    }
}

fn load(
    path: &Path,
    keyspace_name: &str,
    format: Format,
) -> Result<Option<ImportState>, StateError> {
    let state = match state::load(path)? {
        None => return Ok(None),
        Some(State::Import(state)) => state,
        Some(_) => {
            return Err(StateError::OtherKind {
                path: path.to_owned(),
            });
        }
    };
    state::expect_same(path, "keyspace", &state.keyspace, keyspace_name)?;
    state::expect_same(path, "format", state.format.name(), format.name())?;
    Ok(Some(state))
}

impl ImportState {
    /// Where the import goes on.
    pub(super) fn position(&self) -> Position {
        Position {
            offset: self.offset,
            line: self.line,
            imported: self.imported,
            skipped: self.skipped,
        }
    }
}
