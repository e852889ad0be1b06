//! `corduroy dump`: what is in one segment file, for people or, a JSON object a line, for programs.
//!
//! It looks at the file alone and asks no lock, so it works on a copy, on a file from elsewhere, and beside a running node, where the end of the file
//! may look unfinished because it is. The file is read into memory, not mapped: what the disk does not give is told, and the rest is shown.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::text::{JsonBytes, count, partition, quoted, time};
use super::{ToolError, Verdict};
use crate::limits::{SECTOR_LEN, SEGMENT_LEN_MAX};
use crate::runtime::glommio::SegmentsError;
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, ENTRY_HEADER_LEN, Entries, Entry, RecordAt,
    RecordKind, SegmentError, SegmentHeader, SegmentState, is_zero,
};
use crate::storage::recovery::{Fault, Piece, Remains, Walk};
use crate::types::{PartitionId, Position};

/// What is shown, and how.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DumpOptions {
    /// A segment's file, such as corduroy-data/shard-000/0000000000000001.seg.
    segment: PathBuf,
    /// Print a JSON object a line; values are whole. Bytes that are no text are {"base64": "…"}.
    #[arg(long)]
    json: bool,
    /// Begin at the first block at or after this place in the file, in bytes.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: u64,
    /// End before the first block at or after this place in the file, in bytes.
    #[arg(long, value_name = "OFFSET", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
    /// Most records to show.
    #[arg(long, value_name = "RECORDS", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// Show values whole; for people they are cut at 64 bytes.
    #[arg(long, conflicts_with = "no_values")]
    values: bool,
    /// Leave values out.
    #[arg(long)]
    no_values: bool,
}

/// Bytes of a key or value that people are shown.
const SHOWN_LEN: usize = 64;
/// Bytes of one read, and of one when the disk gives errors.
const READ_LEN: usize = 1 << 20;
const READ_LEN_MIN: usize = SECTOR_LEN;

/// Dumps a segment.
///
/// # Errors
/// [`ToolError`]: the file can't be opened, or nobody reads what is written.
pub fn dump(options: &DumpOptions, output: &mut dyn Write) -> Result<Verdict, ToolError> {
    let read = read(&options.segment)?;
    let mut dump = Dump {
        options,
        output,
        records: 0,
        is_damaged: false,
    };
    for (offset, len) in &read.unreadable {
        dump.damage(*offset, *len, "the disk does not give these bytes")?;
    }
    let mut walk = Walk::new(&read.bytes);
    dump.header(walk.header(), read.bytes.len() as u64)?;
    let segment_len = walk.header().map_or(0, |header| header.segment_len);
    if segment_len > read.bytes.len() as u64 {
        let text = format!(
            "the file has {} bytes where it should have {segment_len}",
            read.bytes.len()
        );
        dump.damage(read.bytes.len() as u64, 0, &text)?;
    }
    walk.skip_to(options.from);
    for piece in walk {
        if dump.records >= options.limit {
            break;
        }
        match piece {
            Piece::Block { offset, .. }
            | Piece::Broken { offset, .. }
            | Piece::Zeros { offset, .. }
                if offset >= options.to =>
            {
                break;
            }
            Piece::Block {
                offset,
                header,
                payload,
            } => dump.block(offset, &header, payload)?,
            Piece::Broken {
                offset,
                position,
                bytes,
                fault,
            } => dump.broken(offset, position, bytes, &fault)?,
            Piece::Zeros { offset, len } => dump.zeros(offset, len)?,
        }
    }
    let is_damaged = dump.is_damaged;
    output.flush()?;
    Ok(if is_damaged {
        Verdict::Damaged
    } else {
        Verdict::Clean
    })
}

/// A file's bytes, as far as the disk gives them.
struct FileBytes {
    bytes: Vec<u8>,
    /// Offset and length of what it does not give.
    unreadable: Vec<(u64, u64)>,
}

/// What stands in the place of unreadable bytes: no zeros, for those would mean that nothing was written there.
const UNREADABLE: u8 = 0xEE;

fn read(path: &PathBuf) -> Result<FileBytes, ToolError> {
    let failed = |action| {
        move |source| {
            ToolError::Segments(SegmentsError {
                action,
                path: path.clone(),
                source,
            })
        }
    };
    let file = File::open(path).map_err(failed("open"))?;
    let metadata = file.metadata().map_err(failed("look at"))?;
    if metadata.is_dir() {
        let error = io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory; name one segment's file in it",
        );
        return Err(failed("dump")(error));
    }
    let len = metadata.len().min(SEGMENT_LEN_MAX) as usize;
    let mut bytes = vec![0; len];
    let mut unreadable: Vec<(u64, u64)> = Vec::new();
    let mut buffer = vec![0; READ_LEN.min(len.max(1))];
    let (mut at, mut step) = (0, READ_LEN);
    while at < len {
        let want = step.min(len - at).min(buffer.len());
        match file.read_at(&mut buffer[..want], at as u64) {
            // It has become shorter.
            Ok(0) => {
                bytes.truncate(at);
                break;
            }
            Ok(read) => {
                // Zeros need no copy, and so no memory.
                if !is_zero(&buffer[..read]) {
                    bytes[at..at + read].copy_from_slice(&buffer[..read]);
                }
                at += read;
                if at.is_multiple_of(READ_LEN) {
                    step = READ_LEN;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if step > READ_LEN_MIN => step = READ_LEN_MIN,
            Err(_) => {
                bytes[at..at + want].fill(UNREADABLE);
                match unreadable.last_mut() {
                    Some((offset, len)) if *offset + *len == at as u64 => *len += want as u64,
                    _ => unreadable.push((at as u64, want as u64)),
                }
                at += want;
            }
        }
    }
    Ok(FileBytes { bytes, unreadable })
}

/// Writes what is found, for people or for programs.
struct Dump<'a> {
    options: &'a DumpOptions,
    output: &'a mut dyn Write,
    records: u64,
    is_damaged: bool,
}

impl Dump<'_> {
    /// The same thing in both ways.
    fn line(
        &mut self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) -> io::Result<()> {
        match self.options.json {
            true => writeln!(self.output, "{}", json()),
            false => writeln!(self.output, "{}", text()),
        }
    }

    fn damage(&mut self, offset: u64, len: u64, reason: &str) -> io::Result<()> {
        self.is_damaged = true;
        self.line(
            || format!("{offset}: DAMAGED, {len} bytes: {reason}"),
            || json!({ "type": "damage", "offset": offset, "len": len, "reason": reason }),
        )
    }

    fn header(
        &mut self,
        header: Result<&SegmentHeader, &SegmentError>,
        file_len: u64,
    ) -> io::Result<()> {
        let header = match header {
            Ok(header) => header,
            Err(error) => {
                let reason = format!("{error}. What follows is found by its blocks");
                return self.damage(0, SECTOR_LEN as u64, &reason);
            }
        };
        let (state, base) = match header.state {
            SegmentState::Prepared => ("prepared", None),
            SegmentState::Active { base } => ("active", Some(base.0)),
            SegmentState::Removed(range) => ("removed", Some(range.base.0)),
        };
        self.line(
            || {
                let state = match header.state {
                    SegmentState::Prepared => "prepared and never begun".to_owned(),
                    SegmentState::Active { base } => format!("begun at position {}", base.0),
                    SegmentState::Removed(range) => format!(
                        "removed by compaction, with all from segment {} on, positions {} to {}",
                        range.first.0, range.base.0, range.end.0
                    ),
                };
                format!(
                    "0: segment {} of shard {} of {} of node {:032x}, {state}, {} bytes, made {}",
                    header.segment.0,
                    header.shard,
                    header.shard_count,
                    header.node,
                    header.segment_len,
                    time(header.created)
                )
            },
            || {
                json!({
                    "type": "segment", "segment": header.segment.0, "shard": header.shard.0, "shard_count": header.shard_count,
                    "node": format!("{:032x}", header.node), "state": state, "base": base, "segment_len": header.segment_len,
                    "file_len": file_len, "created_ms": header.created.0,
                })
            },
        )
    }

    fn block(&mut self, offset: u64, header: &BlockHeader, payload: &[u8]) -> io::Result<()> {
        let kind = match header.kind {
            BlockKind::Data => "data",
            BlockKind::Skip => "skip",
            BlockKind::Seal => "seal",
        };
        self.line(
            || {
                let what = match header.kind {
                    BlockKind::Data => {
                        format!("data, {}", count(u64::from(header.entries), "entry", "entries"))
                    }
                    BlockKind::Skip => "skip: salvage or repair gave this up".to_owned(),
                    BlockKind::Seal => "seal: everything before it was synced".to_owned(),
                };
                format!(
                    "{offset}: block {} at position {}, {} bytes, {what}, synced below {}, written {}",
                    header.sequence,
                    header.position,
                    header.block_len(),
                    header.durable,
                    time(header.written)
                )
            },
            || {
                json!({
                    "type": "block", "offset": offset, "position": header.position.0, "kind": kind, "sequence": header.sequence,
                    "len": header.block_len(), "entries": header.entries, "durable": header.durable.0, "written_ms": header.written.0,
                })
            },
        )?;
        if header.kind != BlockKind::Data {
            return Ok(());
        }
        let position = Position(header.position.0 + BLOCK_HEADER_LEN as u64);
        for entry in Entries::new(payload, position).flatten() {
            let place = |position: Position| offset + (position.0 - header.position.0);
            self.entry(place(entry.position), &entry)?;
            for record in entry.records().flatten() {
                self.record(
                    place(record.position),
                    Some(entry.header.partition),
                    &record,
                    None,
                )?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, offset: u64, entry: &Entry<'_>) -> io::Result<()> {
        let header = &entry.header;
        self.line(
            || {
                format!(
                    "{offset}:   entry of {}, {}, {} bytes, term {}, index {}",
                    partition(Some(header.partition)),
                    count(u64::from(header.records), "record", "records"),
                    ENTRY_HEADER_LEN as u64 + u64::from(header.len),
                    header.term,
                    header.index
                )
            },
            || {
                json!({
                    "type": "entry", "offset": offset, "position": entry.position.0, "keyspace": header.partition.keyspace.0,
                    "partition": header.partition.index, "records": header.records, "len": ENTRY_HEADER_LEN as u64 + u64::from(header.len),
                    "term": header.term, "index": header.index,
                })
            },
        )
    }

    /// `is_whole` is told of records among damage alone.
    fn record(
        &mut self,
        offset: u64,
        of: Option<PartitionId>,
        found: &RecordAt<'_>,
        is_whole: Option<bool>,
    ) -> io::Result<()> {
        if self.records >= self.options.limit {
            return Ok(());
        }
        self.records += 1;
        let record = &found.record;
        let kind = match record.kind {
            RecordKind::Set => "set",
            RecordKind::Delete => "delete",
            RecordKind::Clear => "clear",
        };
        let (values, no_values) = (self.options.values, self.options.no_values);
        self.line(
            || {
                let mut text = format!("{offset}:     {kind}");
                if record.kind != RecordKind::Clear {
                    text.push(' ');
                    text.push_str(&quoted(record.key, if values { usize::MAX } else { SHOWN_LEN }));
                }
                if record.kind == RecordKind::Set {
                    text.push_str(" = ");
                    text.push_str(&match (no_values, values) {
                        (true, _) => count(record.value.len() as u64, "byte", "bytes"),
                        (false, true) => quoted(record.value, usize::MAX),
                        (false, false) => quoted(record.value, SHOWN_LEN),
                    });
                }
                text.push_str(&format!(", version {}, {}", record.version.0, time(record.timestamp)));
                if let Some(expiry) = record.expiry {
                    text.push_str(&format!(", expires {}", time(expiry)));
                }
                match is_whole {
                    None => {}
                    Some(true) => text.push_str(&format!(", of {}; this record is whole", partition(of))),
                    Some(false) => text.push_str(&format!(
                        ", of {}; its checksum is wrong, and so may be any part of this",
                        partition(of)
                    )),
                }
                text
            },
            || {
                let mut object = json!({
                    "type": "record", "offset": offset, "position": found.position.0, "len": found.len, "kind": kind,
                    "keyspace": of.map(|of| of.keyspace.0), "partition": of.map(|of| of.index), "key": JsonBytes(record.key),
                    "version": record.version.0, "timestamp_ms": record.timestamp.0, "expiry_ms": record.expiry.map(|expiry| expiry.0),
                });
                if record.kind == RecordKind::Set {
                    object["value_len"] = json!(record.value.len());
                    if !no_values {
                        object["value"] = json!(JsonBytes(record.value));
                    }
                }
                if let Some(is_whole) = is_whole {
                    object["in_damage"] = json!(true);
                    object["is_whole"] = json!(is_whole);
                }
                object
            },
        )
    }

    fn broken(
        &mut self,
        offset: u64,
        position: Position,
        bytes: &[u8],
        fault: &Fault,
    ) -> io::Result<()> {
        self.damage(offset, bytes.len() as u64, &fault.to_string())?;
        let mut remains = Remains::new(bytes, position);
        for remain in remains.by_ref() {
            let place = offset + (remain.at.position.0 - position.0);
            self.record(place, remain.partition, &remain.at, Some(remain.is_whole))?;
            if self.records >= self.options.limit {
                break;
            }
        }
        if remains.was_broken_off() {
            self.damage(
                offset,
                0,
                "the search for records here took too long and was broken off",
            )?;
        }
        Ok(())
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.line(
            || format!("{offset}: {len} bytes of zeros to the end"),
            || json!({ "type": "zeros", "offset": offset, "len": len }),
        )
    }
}
