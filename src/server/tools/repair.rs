//! `corduroy repair`: makes a damaged log one that a start takes, and says what that costs.
//!
//! What is done is exactly what a start with `--salvage` would do (`storage::recovery` plans both), but every shard is judged before the first is changed, the
//! keys that are lost are named, and what is given up is kept in files beside. In this order: plan all shards; if one has no plan, change nothing; write
//! what will be given up and a report into a directory of their own and sync them; repair; read everything once more as a start without `--salvage` would.
//! A crash anywhere on the way leaves a directory that can be repaired again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use serde_json::json;

use super::check::{judge, torn};
use super::lost::{Fate, Losses, given_up};
use super::progress::Progress;
use super::reading::{ShardFiles, on_all};
use super::text::count;
use super::{ToolError, Verdict};
use crate::runtime::glommio::file_name;
use crate::server::directory::OfflineDirectory;
use crate::server::error::StartError;
use crate::storage::format::{Entry, RecordAt, SEGMENT_HEADER_LEN};
use crate::storage::recovery::{Damage, Recovered, Repair, SegmentFile, Visitor};
use crate::types::{PartitionId, Position, SegmentId, ShardId};

/// What is repaired, and how.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RepairOptions {
    /// The node's data directory.
    // The setting has the name `data`.
    #[arg(id = "directory", value_name = "DATA")]
    data: PathBuf,
    /// Say what would be done and lost, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Directory for what is cut and for the report; made, and must not be there yet [default: DATA/repair-TIME].
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print every lost record, not only the first hundred.
    #[arg(long)]
    all: bool,
}

/// Lost records that are printed unless all are asked for; the report has all.
const LOST_SHOWN: usize = 100;

/// What is to be done with one shard.
struct Plan<'a> {
    shard: &'a ShardFiles,
    files: Vec<SegmentFile<'a>>,
    recovered: Recovered,
    losses: Losses<'a>,
}

impl Plan<'_> {
    fn torn(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        torn(&self.recovered.repairs, &self.files)
    }

    fn verdict(&self) -> Verdict {
        judge(&self.recovered, &self.files)
    }
}

/// Repairs a data directory.
///
/// # Errors
/// [`ToolError`]. Unless it says otherwise nothing was changed.
pub fn repair(options: &RepairOptions, output: &mut dyn Write) -> Result<Verdict, ToolError> {
    let directory = match options.dry_run {
        true => OfflineDirectory::to_read(&options.data)?,
        false => OfflineDirectory::to_repair(&options.data)?,
    };
    let shards = ShardFiles::open_all(&directory)?;
    let plans = plan_all(&shards, directory.manifest().is_new)?;
    let verdict = plans.iter().map(Plan::verdict).max().unwrap_or_default();
    if verdict == Verdict::Clean {
        writeln!(output, "nothing to repair: everything is there")?;
        return Ok(Verdict::Clean);
    }
    let will = if options.dry_run { "would be" } else { "is" };
    for plan in &plans {
        tell(plan, will, options.all, output)?;
    }
    if options.dry_run {
        writeln!(
            output,
            "nothing was changed; without --dry-run this is carried out"
        )?;
        output.flush()?;
        return Ok(verdict);
    }
    let kept = keep_directory(options, &directory);
    keep(&plans, &kept)?;
    writeln!(
        output,
        "what is cut, and report.jsonl with every lost record, are in {}",
        kept.display()
    )?;
    output.flush()?;
    let to_do: Vec<(ShardId, Vec<Repair>)> = plans
        .iter()
        .filter(|plan| plan.verdict() != Verdict::Clean)
        .map(|plan| (plan.shard.shard, plan.recovered.repairs.clone()))
        .collect();
    drop(plans);
    for shard in shards {
        let repairs = to_do.iter().find(|(id, _)| *id == shard.shard);
        if let Some((_, repairs)) = repairs {
            shard.segments.repair(repairs)?;
        }
    }
    verify(&directory)?;
    writeln!(
        output,
        "repaired: a start takes this directory now, without --salvage"
    )?;
    output.flush()?;
    Ok(Verdict::Clean)
}

/// Judges every shard, and looks up what becomes of the keys of lost records.
fn plan_all(shards: &[ShardFiles], may_be_empty: bool) -> Result<Vec<Plan<'_>>, ToolError> {
    let total: u64 = shards.iter().map(|shard| shard.segments.len_bytes()).sum();
    let progress = Progress::new(total, "reading");
    let planned = on_all(shards, |shard| {
        let files = shard.segments.files();
        if files.is_empty() && !may_be_empty {
            let lost = StartError::ShardLost {
                shard: shard.shard,
                directory: shard.directory.clone(),
            };
            return Err(lost.to_string());
        }
        match shard.recover(true, &progress, &mut Nobody) {
            Ok(recovered) => Ok((files, recovered)),
            Err(error) => Err(format!("shard {}: {error}", shard.shard)),
        }
    });
    progress.clear();
    let mut plans = Vec::new();
    let mut reasons = Vec::new();
    for (shard, planned) in shards.iter().zip(planned) {
        match planned {
            Ok((files, recovered)) => plans.push(Plan {
                shard,
                files,
                recovered,
                losses: Losses::default(),
            }),
            Err(reason) => reasons.push(reason),
        }
    }
    if !reasons.is_empty() {
        return Err(ToolError::Hopeless { reasons });
    }
    for plan in &mut plans {
        find_losses(plan);
    }
    Ok(plans)
}

fn find_losses(plan: &mut Plan<'_>) {
    let recovered = &plan.recovered;
    let position = |damage: &Damage| {
        let segment = recovered
            .segments
            .iter()
            .find(|segment| segment.id == damage.segment)?;
        let in_log = damage.offset.checked_sub(SEGMENT_HEADER_LEN as u64)?;
        Some(Position(segment.base.0 + in_log))
    };
    plan.losses = Losses::search(&recovered.damage, &plan.files, position);
    if plan.losses.records.is_empty() {
        return;
    }
    let progress = Progress::new(plan.shard.segments.len_bytes(), "looking up lost keys");
    let mut survivors = plan.losses.survivors();
    plan.shard
        .recover(true, &progress, &mut survivors)
        .expect("it was read a moment ago, and the directory is locked");
    drop(survivors);
    progress.clear();
}

/// Says what is done with a shard, and what is lost.
fn tell(plan: &Plan<'_>, will: &str, all: bool, output: &mut dyn Write) -> io::Result<()> {
    if plan.verdict() == Verdict::Clean {
        return Ok(());
    }
    writeln!(output, "shard {}:", plan.shard.shard)?;
    for (file, offset, len) in plan.torn() {
        writeln!(
            output,
            "  {file}, offset {offset}: {len} bytes of writes that a crash cut short: what of them is there {will} cut. They were not acknowledged"
        )?;
    }
    for damage in &plan.recovered.damage {
        writeln!(output, "  {damage}")?;
        match damage.len {
            0 => writeln!(output, "    mended; no data of it is lost")?,
            len => writeln!(
                output,
                "    {len} bytes of the log: {will} given up, and covered so that a start skips them"
            )?,
        }
    }
    let losses = &plan.losses;
    let shown = if all { usize::MAX } else { LOST_SHOWN };
    // What is no loss comes last.
    let mut told: Vec<_> = losses
        .records
        .iter()
        .map(|record| (losses.fate(record), record))
        .collect();
    told.sort_by_key(|(fate, _)| matches!(fate, Fate::Superseded | Fate::StaysDeleted));
    for (fate, record) in told.iter().take(shown) {
        writeln!(output, "    lost: {}", record.text(*fate))?;
    }
    let hidden = told.len().saturating_sub(shown) as u64 + losses.more;
    if hidden > 0 {
        writeln!(
            output,
            "    and {} more (--all, and the report, have them)",
            count(hidden, "record", "records")
        )?;
    }
    if !plan.recovered.damage.is_empty() {
        let lost: u64 = plan.recovered.damage.iter().map(|damage| damage.len).sum();
        let text = match (losses.records.is_empty(), losses.is_incomplete, lost) {
            (_, _, 0) => "no record is lost",
            (true, _, _) => {
                "no record can be read there any more: which keys were in it can't be told"
            }
            (false, true, _) => {
                "other keys may be lost as well: a part of it is not there to be read"
            }
            (false, false, _) => {
                "a record whose bytes were damaged themselves may not be among these"
            }
        };
        writeln!(output, "    {text}")?;
    }
    Ok(())
}

fn keep_directory(options: &RepairOptions, directory: &OfflineDirectory) -> PathBuf {
    options.keep.clone().unwrap_or_else(|| {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        directory
            .path()
            .join(format!("repair-{}", now.replace(':', "-")))
    })
}

/// Writes what will be given up, a file for each place, and the report.
fn keep(plans: &[Plan<'_>], directory: &Path) -> Result<(), ToolError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ToolError::Keep {
            action,
            path,
            source,
        }
    };
    fs::create_dir(directory).map_err(failed("make the directory", directory))?;
    let report_path = directory.join("report.jsonl");
    let report = File::create_new(&report_path).map_err(failed("write", &report_path))?;
    let mut report = BufWriter::new(report);
    for plan in plans {
        let shard = plan.shard.shard;
        for (segment, offset, bytes, reason) in cut(plan) {
            let name = format!("shard-{:03}-{}-{offset}", shard.0, file_name(segment));
            let path = directory.join(&name);
            let write = || -> io::Result<()> {
                let mut file = File::create_new(&path)?;
                file.write_all(bytes)?;
                file.sync_all()
            };
            write().map_err(failed("write", &path))?;
            let line = json!({
                "type": "cut", "shard": shard.0, "segment": segment.0, "offset": offset, "len": bytes.len(), "file": name, "reason": reason,
            });
            writeln!(report, "{line}").map_err(failed("write", &report_path))?;
        }
        for record in &plan.losses.records {
            let line = record.json(shard.0, plan.losses.fate(record));
            writeln!(report, "{line}").map_err(failed("write", &report_path))?;
        }
    }
    let sync = || -> io::Result<()> {
        report.into_inner()?.sync_all()?;
        File::open(directory)?.sync_all()?;
        match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    };
    sync().map_err(failed("write", &report_path))
}

/// Every place of a shard's files that the repair writes over or gives up: segment, offset, bytes and why.
fn cut<'a>(plan: &'a Plan<'_>) -> impl Iterator<Item = (SegmentId, u64, &'a [u8], String)> {
    let file = |id: SegmentId| plan.files.iter().find(move |file| file.id == id);
    let torn = plan.torn().filter_map(move |(name, offset, len)| {
        let file = plan.files.iter().find(|file| file.name == name)?;
        let end = (offset + len).min(file.bytes.len() as u64) as usize;
        let bytes = file.bytes.get(offset as usize..end)?;
        Some((file.id, offset, bytes, "torn by a crash".to_owned()))
    });
    let damaged = plan.recovered.damage.iter().filter_map(move |damage| {
        let file = file(damage.segment)?;
        let bytes = match damage.len {
            // A header is written anew.
            0 if damage.offset == 0 => {
                file.bytes.get(..SEGMENT_HEADER_LEN.min(file.bytes.len()))?
            }
            _ => given_up(damage, file),
        };
        Some((file.id, damage.offset, bytes, damage.to_string()))
    });
    torn.chain(damaged)
}

/// Reads everything as a start would.
fn verify(directory: &OfflineDirectory) -> Result<(), ToolError> {
    let shards = ShardFiles::open_all(directory)?;
    let total = shards.iter().map(|shard| shard.segments.len_bytes()).sum();
    let progress = Progress::new(total, "verifying");
    let read = on_all(&shards, |shard| {
        shard.recover(false, &progress, &mut Nobody)
    });
    progress.clear();
    for outcome in read {
        outcome.map_err(|error| ToolError::NotRepaired {
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// Looks at nothing.
struct Nobody;

impl Visitor for Nobody {
    fn entry(&mut self, _: &Entry<'_>) {}

    fn record(&mut self, _: PartitionId, _: &RecordAt<'_>) {}
}
