//! `corduroy check`: reads every record of every segment and says whether a start would find all of it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::progress::Progress;
use super::reading::{ShardFiles, on_all};
use super::saved::{SavedIndexes, check_saved};
use super::text::count;
use super::{ToolError, Verdict};
use crate::limits::CHECK_DAMAGE_MAX;
use crate::server::directory::OfflineDirectory;
use crate::server::error::StartError;
use crate::storage::format::{
    Entry, Record, RecordAt, RecordError, RecordKind, SEGMENT_HEADER_LEN, is_zero,
};
use crate::storage::hash::KeyIdentifier;
use crate::storage::recovery::{Recovered, RecoveredSegment, Repair, SegmentFile, Visitor};
use crate::types::{PartitionId, Position, SegmentId};

/// What is checked, and how it is told.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// The node's data directory.
    // The setting has the name `data`.
    #[arg(id = "directory", value_name = "DATA")]
    data: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What became of one shard.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    shard: u16,
    verdict: &'static str,
    #[serde(skip)]
    pub(super) worst: Verdict,
    /// Where the log ends, if that can be told.
    #[serde(skip)]
    pub(super) end: Option<Position>,
    segments: usize,
    pub(super) bytes: u64,
    pub(super) records: u64,
    sets: u64,
    deletes: u64,
    clears: u64,
    /// The last stop was a clean one.
    is_sealed: bool,
    /// Bytes that an earlier salvage or repair gave up.
    given_up_before: u64,
    torn: Vec<Torn>,
    damage: Vec<Wound>,
    /// Places of damage beyond those in `damage`.
    damage_more: u64,
    /// The segments with data.
    #[serde(skip)]
    found: Vec<RecoveredSegment>,
    /// None where they are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    saved_indexes: Option<SavedIndexes>,
}

/// What a crash left unfinished.
#[derive(Debug, Serialize)]
struct Torn {
    file: String,
    offset: u64,
    len: u64,
}

/// One place of damage.
#[derive(Debug, Serialize)]
struct Wound {
    /// What a start would say.
    text: String,
    /// None if the whole log can't be used.
    file: Option<String>,
    offset: Option<u64>,
    /// Bytes of the log that are lost with it.
    len: u64,
}

/// Checks a data directory.
///
/// # Errors
/// [`ToolError`]: nothing can be said.
pub fn check(options: &CheckOptions, output: &mut dyn Write) -> Result<Verdict, ToolError> {
    let directory = OfflineDirectory::to_read(&options.data)?;
    let shards = ShardFiles::open_all(&directory)?;
    let total = shards.iter().map(|shard| shard.segments.len_bytes()).sum();
    let progress = Progress::new(total, "checking");
    let may_be_empty = directory.manifest().is_new;
    let identifier = KeyIdentifier::new(&directory.manifest().hash_secret);
    let reports = on_all(&shards, |shard| {
        let mut report = check_shard(shard, may_be_empty, &progress);
        report.saved_indexes = Some(check_saved(shard, &report.found, identifier));
        report
    });
    progress.clear();
    let verdict = reports.iter().map(|report| report.worst).max();
    let verdict = verdict.unwrap_or_default();
    if options.json {
        let summary = serde_json::json!({ "verdict": verdict.name(), "shards": reports });
        writeln!(output, "{summary}")?;
    } else {
        for report in &reports {
            report.write(output)?;
        }
        write_verdict(verdict, &options.data, output)?;
    }
    output.flush()?;
    Ok(verdict)
}

/// Reads everything of one shard.
pub(super) fn check_shard(shard: &ShardFiles, may_be_empty: bool, progress: &Progress) -> Report {
    let files = shard.segments.files();
    let mut report = Report {
        shard: shard.shard.0,
        segments: files.len(),
        bytes: shard.segments.len_bytes(),
        ..Report::default()
    };
    if files.is_empty() && !may_be_empty {
        let lost = StartError::ShardLost {
            shard: shard.shard,
            directory: shard.directory.clone(),
        };
        report.whole_log_is_lost(lost.to_string());
    } else {
        let mut counting = Counting {
            report: &mut report,
            bad: Vec::new(),
            bad_more: 0,
        };
        let outcome = shard.recover(true, progress, &mut counting);
        let Counting { bad, bad_more, .. } = counting;
        match outcome {
            Ok(recovered) => {
                report.end = Some(recovered.end);
                report.is_sealed = recovered.clean;
                report.worst = judge(&recovered, &files);
                report.found.clone_from(&recovered.segments);
                report.take(&recovered, &files);
                report.take_records(&recovered, &files, bad, bad_more);
            }
            Err(error) => report.whole_log_is_lost(error.to_string()),
        }
    }
    if !report.damage.is_empty() {
        report.worst = Verdict::Damaged;
    }
    report.verdict = report.worst.name();
    report
}

impl Report {
    fn whole_log_is_lost(&mut self, text: String) {
        self.damage.push(Wound {
            text,
            file: None,
            offset: None,
            len: 0,
        });
    }

    fn wound(&mut self, wound: Wound) {
        if self.damage.len() < CHECK_DAMAGE_MAX {
            self.damage.push(wound);
        } else {
            self.damage_more += 1;
        }
    }

    /// What recovery found.
    fn take(&mut self, recovered: &Recovered, files: &[SegmentFile<'_>]) {
        for damage in &recovered.damage {
            // The visitor was told of what is given up now as well.
            self.given_up_before = self.given_up_before.saturating_sub(damage.len);
            self.wound(Wound {
                text: damage.to_string(),
                file: Some(damage.file.clone()),
                offset: Some(damage.offset),
                len: damage.len,
            });
        }
        self.torn.extend(
            torn(&recovered.repairs, files).map(|(file, offset, len)| Torn {
                file: file.to_owned(),
                offset,
                len,
            }),
        );
    }

    /// Records whose block is whole and that a read would refuse all the same.
    fn take_records(
        &mut self,
        recovered: &Recovered,
        files: &[SegmentFile<'_>],
        bad: Vec<(Position, u32, RecordError)>,
        bad_more: u64,
    ) {
        for (position, len, error) in bad {
            let segment = recovered.segments.iter().rev();
            let segment = segment.clone().find(|segment| segment.base <= position);
            let file = segment.and_then(|segment| files.iter().find(|file| file.id == segment.id));
            let offset =
                segment.map(|segment| SEGMENT_HEADER_LEN as u64 + position.0 - segment.base.0);
            let place = match (file, offset) {
                (Some(file), Some(offset)) => format!("{}, offset {offset}: ", file.name),
                _ => String::new(),
            };
            self.wound(Wound {
                text: format!("{place}{error}. Its block is whole: the record was written wrongly"),
                file: file.map(|file| file.name.to_owned()),
                offset,
                len: u64::from(len),
            });
        }
        self.damage_more += bad_more;
    }

    /// For people.
    pub(super) fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        writeln!(
            output,
            "shard {}: {}, {}, {:.1} MiB, {}",
            self.shard,
            count(self.segments as u64, "segment", "segments"),
            count(self.records, "record", "records"),
            self.bytes as f64 / f64::from(1 << 20),
            self.verdict
        )?;
        for torn in &self.torn {
            writeln!(
                output,
                "  {}, offset {}: {} bytes of writes that a crash cut short. They were not acknowledged; the next start cuts them",
                torn.file, torn.offset, torn.len
            )?;
        }
        for wound in &self.damage {
            writeln!(output, "  {}", wound.text)?;
            if wound.len > 0 && wound.file.is_some() {
                writeln!(output, "    {} bytes of the log are lost there", wound.len)?;
            }
        }
        if self.damage_more > 0 {
            writeln!(output, "  and {} places more", self.damage_more)?;
        }
        for bad in self.saved_indexes.iter().flat_map(|saved| &saved.bad) {
            writeln!(
                output,
                "  {}: the next start does without this saved index: {}. That is no damage: the segment is read instead, and the node makes another",
                bad.file, bad.reason
            )?;
        }
        if self.given_up_before > 0 {
            writeln!(
                output,
                "  {} bytes were given up by an earlier repair or salvage, and are not damage of now",
                self.given_up_before
            )?;
        }
        Ok(())
    }
}

fn write_verdict(verdict: Verdict, data: &Path, output: &mut dyn Write) -> io::Result<()> {
    let data = data.display();
    match verdict {
        Verdict::Clean => writeln!(output, "clean: everything is there"),
        Verdict::Torn => writeln!(
            output,
            "torn tail: nothing that was acknowledged is lost. Just start the server: it cuts what a crash left unfinished"
        ),
        Verdict::Damaged => writeln!(
            output,
            "damaged: restore the directory from a backup if there is one. Without one, copy it, then see what would be lost with\n  \
             corduroy repair --dry-run {data}"
        ),
    }
}

/// The state of a log that recovery has gone through.
#[must_use]
pub fn judge(recovered: &Recovered, files: &[SegmentFile<'_>]) -> Verdict {
    match (
        recovered.damage.is_empty(),
        torn(&recovered.repairs, files).next(),
    ) {
        (false, _) => Verdict::Damaged,
        (true, Some(_)) => Verdict::Torn,
        (true, None) => Verdict::Clean,
    }
}

/// What a crash left unfinished: file, offset and length of each place that recovery cuts.
pub(super) fn torn<'a>(
    repairs: &'a [Repair],
    files: &'a [SegmentFile<'a>],
) -> impl Iterator<Item = (&'a str, u64, u64)> {
    let file = |id: SegmentId| files.iter().find(move |file| file.id == id);
    repairs.iter().filter_map(move |repair| match repair {
        Repair::Zero {
            segment,
            offset,
            len,
        } => Some((file(*segment)?.name, *offset, *len)),
        // A segment that was about to begin.
        Repair::Delete { segment } => {
            let file = file(*segment)?;
            let log = file.bytes.get(SEGMENT_HEADER_LEN..).unwrap_or_default();
            (!is_zero(log)).then_some((file.name, SEGMENT_HEADER_LEN as u64, log.len() as u64))
        }
        _ => None,
    })
}

/// Checks each record's own checksum, by which a read from disk goes.
struct Counting<'a> {
    report: &'a mut Report,
    bad: Vec<(Position, u32, RecordError)>,
    bad_more: u64,
}

impl Visitor for Counting<'_> {
    fn entry(&mut self, entry: &Entry<'_>) {
        let begin = entry.records().next();
        let Some(Ok(first)) = begin else { return };
        for found in entry.records().flatten() {
            let at = (found.position.0 - first.position.0) as usize;
            let bytes = &entry.records[at..at + found.len as usize];
            if let Err(error) = Record::check(bytes, found.position) {
                if self.bad.len() < CHECK_DAMAGE_MAX {
                    self.bad.push((found.position, found.len, error));
                } else {
                    self.bad_more += 1;
                }
            }
        }
    }

    fn record(&mut self, _: PartitionId, found: &RecordAt<'_>) {
        self.report.records += 1;
        match found.record.kind {
            RecordKind::Set => self.report.sets += 1,
            RecordKind::Delete => self.report.deletes += 1,
            RecordKind::Clear => self.report.clears += 1,
        }
    }

    fn given_up(&mut self, bytes: u64) {
        self.report.given_up_before += bytes;
    }
}
