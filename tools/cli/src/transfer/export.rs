//! The export: pages of a scan, as lines of a file.
//!
//! A page becomes lines, the lines are written, and only then does the cursor that follows the page count. About once a second the file is
//! synced and the cursor, with the file's length, goes to the state file. So an export that goes on repeats at most what came after its
//! last checkpoint, in a file that was cut back to it.
//!
//! A scan may return a key twice, with an insertion or a restart in between. Within a page the later one is kept; over pages both are
//! written, the later line being at least as new, which is the order that an import wants.

use super::patience::{Patience, may_pass};
use super::progress::Progress;
use super::record::{self, Format, Record};
use super::sink::Sink;
use super::state::{self, ExportState, State, StateError};
use super::{End, TransferError, shell_word};
use crate::arguments::ExportArguments;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::limits;
use crate::output::note;
use crate::text::escape;
use crate::text::json::JsonBuf;
use bytes::Bytes;
use corduroy_client::{Cursor, CursorParseError, Keyspace, ScanEntry};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Writes the records of `keyspace`, which is called `name`, whose keys begin with `prefix`.
pub(crate) async fn export(
    keyspace: &Keyspace,
    name: &str,
    arguments: &ExportArguments,
    prefix: &[u8],
    interrupt: Interrupt,
) -> Result<Exit, TransferError> {
    let format = arguments
        .format
        .or_else(|| Format::guess(&arguments.file))
        .unwrap_or(Format::Jsonl);
    let resumed = match &arguments.resume {
        Some(path) => load(path, name, format, prefix)?,
        None => None,
    };
    if let Some(state) = resumed.as_ref().filter(|state| state.complete) {
        note(format_args!(
            "complete since an earlier run: {} records; without its state file it begins anew",
            state.records
        ));
        return Ok(Exit::Done);
    }
    let mut export = Export::begin(name, arguments, format, prefix, resumed.as_ref())?;
    let end = export.run(keyspace, interrupt).await;
    export.progress.clear();
    let end = match (export.conclude(&end), end) {
        (Err(error), End::Complete | End::Interrupted) => End::Failed(error),
        (_, end) => end,
    };
    export.summarize(&end);
    match end {
        End::Complete => Ok(Exit::Done),
        End::Interrupted => Ok(Exit::Interrupted),
        End::Failed(error) => Err(error),
    }
}

struct Export<'a> {
    arguments: &'a ExportArguments,
    keyspace_name: &'a str,
    format: Format,
    prefix: &'a [u8],
    sink: Sink,
    /// Where the scan goes on after what was written; `None` at its end.
    cursor: Option<Cursor>,
    records: u64,
    /// Records whose time to live the format has no place for.
    ttls_lost: u64,
    progress: Progress,
    lines: Vec<u8>,
}

impl<'a> Export<'a> {
    fn begin(
        keyspace_name: &'a str,
        arguments: &'a ExportArguments,
        format: Format,
        prefix: &'a [u8],
        resumed: Option<&ExportState>,
    ) -> Result<Self, TransferError> {
        let resume = arguments.resume.as_deref().zip(resumed);
        let cursor = resume
            .map(|(path, state)| cursor_of(path, state))
            .transpose()?
            .unwrap_or(Cursor::START);
        let sink = Sink::open(&arguments.file, arguments.force, resume)?;
        if arguments.resume.is_some() && !sink.is_file() {
            return Err(TransferError::OutputNotAFile {
                path: arguments.file.clone(),
            });
        }
        let records = resumed.map_or(0, |state| state.records);
        if resumed.is_some() {
            note(format_args!(
                "going on after {records} records ({} bytes)",
                sink.length
            ));
        }
        let progress = Progress::new(None, sink.length);
        let lines = Vec::with_capacity(limits::WRITE_LEN);
        Ok(Self {
            arguments,
            keyspace_name,
            format,
            prefix,
            sink,
            cursor: Some(cursor),
            records,
            ttls_lost: 0,
            progress,
            lines,
        })
    }

    /// Until the scan ends, or something ends it.
    async fn run(&mut self, keyspace: &Keyspace, mut interrupt: Interrupt) -> End {
        let mut patience = Patience::new(self.arguments.patience);
        let mut checkpointed = Instant::now();
        let mut scan = keyspace
            .scan(self.prefix)
            .with_values(true)
            .page_size(limits::SCAN_PAGE_KEYS_WITH_VALUES)
            .from_cursor(self.cursor.unwrap_or(Cursor::START));
        loop {
            let page = tokio::select! {
                biased;
                () = interrupt.wait() => return End::Interrupted,
                page = scan.next_page() => page,
            };
            let result = match page {
                Ok(None) => return End::Complete,
                Ok(Some(entries)) => {
                    patience.succeeded();
                    self.write_page(&entries, scan.cursor())
                }
                Err(error) => match patience.failed().filter(|_| may_pass(&error)) {
                    None => Err(TransferError::Server(Box::new(error))),
                    Some(pause) => {
                        self.progress.note(format_args!("{error}; trying again"));
                        tokio::select! {
                            () = tokio::time::sleep(pause) => {}
                            () = interrupt.wait() => return End::Interrupted,
                        }
                        continue;
                    }
                },
            };
            if let Err(error) = result {
                return End::Failed(error);
            }
            if checkpointed.elapsed() >= limits::CHECKPOINT_INTERVAL {
                if let Err(error) = self.checkpoint(false) {
                    return End::Failed(error);
                }
                checkpointed = Instant::now();
            }
        }
    }

    /// Writes a page; `cursor` is where the scan goes on after it.
    fn write_page(
        &mut self,
        entries: &[ScanEntry],
        cursor: Option<Cursor>,
    ) -> Result<(), TransferError> {
        let now_ms = now_ms();
        let last: HashMap<&Bytes, usize> = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (&entry.key, index))
            .collect();
        for (index, entry) in entries.iter().enumerate() {
            if last[&entry.key] == index {
                self.write_record(entry, now_ms)?;
            }
        }
        self.write_lines()?;
        self.cursor = cursor;
        self.progress.update(self.sink.length, self.records);
        Ok(())
    }

    fn write_record(&mut self, entry: &ScanEntry, now_ms: u64) -> Result<(), TransferError> {
        let ttl_ms = entry
            .expires_at_ms
            .map(|expires_at_ms| expires_at_ms.saturating_sub(now_ms));
        if ttl_ms == Some(0) {
            // It expired between the server's answer and now.
            return Ok(());
        }
        self.ttls_lost += u64::from(ttl_ms.is_some() && self.format == Format::Tsv);
        let value = entry.value.clone().unwrap_or_default();
        record::write(
            self.format,
            &Record {
                key: entry.key.clone(),
                value,
                ttl_ms,
            },
            &mut self.lines,
        );
        self.records += 1;
        if self.lines.len() >= limits::WRITE_LEN {
            self.write_lines()?;
        }
        Ok(())
    }

    fn write_lines(&mut self) -> Result<(), TransferError> {
        tokio::task::block_in_place(|| self.sink.write(&self.lines))?;
        self.lines.clear();
        Ok(())
    }

    /// Makes what was written durable, and then the state that says so.
    fn checkpoint(&mut self, complete: bool) -> Result<(), TransferError> {
        tokio::task::block_in_place(|| {
            self.sink.sync()?;
            match &self.arguments.resume {
                Some(path) => Ok(state::store(path, &self.state(complete))?),
                None => Ok(()),
            }
        })
    }

    /// The last checkpoint. An export that ends early without a state file leaves one beside its output.
    fn conclude(&mut self, end: &End) -> Result<(), TransferError> {
        match end {
            End::Complete => self.checkpoint(true),
            // The file may be what failed: what it holds since the last checkpoint is not certain.
            End::Failed(TransferError::File(_) | TransferError::State(_)) => Ok(()),
            End::Interrupted | End::Failed(_) => {
                self.checkpoint(false)?;
                match self.state_beside() {
                    Some(path) => Ok(state::store(&path, &self.state(false))?),
                    None => Ok(()),
                }
            }
        }
    }

    /// Where the state goes that was not asked for; `None` if one was, or if there is no file to go on in.
    fn state_beside(&self) -> Option<PathBuf> {
        if self.arguments.resume.is_some() || !self.sink.is_file() {
            return None;
        }
        let mut path = self.arguments.file.as_os_str().to_owned();
        path.push(".state");
        Some(path.into())
    }

    fn state(&self, complete: bool) -> State {
        State::Export(ExportState {
            keyspace: self.keyspace_name.to_owned(),
            format: self.format,
            prefix: JsonBuf(self.prefix.to_vec()),
            cursor: self.cursor.unwrap_or(Cursor::START).to_string(),
            length: self.sink.length,
            records: self.records,
            complete,
        })
    }

    /// What was done, and how to go on if there is more.
    fn summarize(&self, end: &End) {
        if self.ttls_lost > 0 {
            note(format_args!(
                "{} records expire, and tsv has no place for that: jsonl keeps it",
                self.ttls_lost
            ));
        }
        let records = self.records;
        match end {
            End::Complete => {
                return note(format_args!(
                    "exported {records} records ({} bytes)",
                    self.sink.length
                ));
            }
            // Nobody reads any more, so nobody is told.
            End::Failed(error) if error.exit() == Exit::BrokenPipe => return,
            _ => note(format_args!(
                "stopped after {records} records: the output is incomplete"
            )),
        }
        if self.arguments.resume.is_some() {
            note("the same command goes on there");
        } else if let (Some(path), false) = (
            self.state_beside(),
            matches!(
                end,
                End::Failed(TransferError::File(_) | TransferError::State(_))
            ),
        ) {
            note(format_args!(
                "to go on there: add --resume {} to the same command",
                shell_word(&path)
            ));
        }
    }
}

fn load(
    path: &Path,
    name: &str,
    format: Format,
    prefix: &[u8],
) -> Result<Option<ExportState>, StateError> {
    let state = match state::load(path)? {
        None => return Ok(None),
        Some(State::Export(state)) => state,
        Some(_) => {
            return Err(StateError::OtherKind {
                path: path.to_owned(),
            });
        }
    };
    state::expect_same(path, "keyspace", &state.keyspace, name)?;
    state::expect_same(path, "format", state.format.name(), format.name())?;
    state::expect_same(
        path,
        "prefix",
        &escape::printable(&state.prefix.0),
        &escape::printable(prefix),
    )?;
    Ok(Some(state))
}

fn cursor_of(path: &Path, state: &ExportState) -> Result<Cursor, StateError> {
    let malformed = |error: CursorParseError| StateError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    state.cursor.parse().map_err(malformed)
}

/// Milliseconds since 1970 on this machine's clock.
fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
