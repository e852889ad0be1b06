//! The thread of a node that takes backups of it.
//!
//! One backup after the other, asked for by clients or due by the schedule. For each:
//!
//! 1. The series is locked, what was left unfinished there is deleted, a directory is made.
//! 2. Every shard but shard 0 names its point, then shard 0. **Shard 0 last**, because its log records the keyspaces: whatever another shard's log holds
//!    below its point, the keyspace of it was made before, so its making lies below shard 0's point.
//! 3. The files are linked and copied, a shard at a time; each shard lets go of its files then.
//! 4. The manifest is written. Now there is a backup.
//!
//! Any failure, and the node's stop, gives the backup up: its directory is deleted, and all shards let go.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flume::{Receiver, RecvTimeoutError};

use super::BackupError;
use super::files::{Done, ShardCopy, Watch};
use super::manifest::BackupManifest;
use super::series::Series;
use super::shelf::shelved;
use crate::limits::BACKUP_RETRY_NS;
use crate::runtime::glommio::{BackupAsk, BackupGauge, BackupLine, BackupOrder, stand_behind};
use crate::server::directory::{Manifest, shard_path, write_manifest};
use crate::shard::backup::ShardPoint;
use crate::types::{ShardId, WallMillis};

/// The series that has no name of its own.
const DEFAULT_SERIES: &str = "default";
/// How long a shard may take to name its point: a sync, or a removal that is under way.
const POINT_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether the node stops.
const LOOK: Duration = Duration::from_millis(100);

/// What the thread needs.
#[derive(Debug)]
pub struct Keeper {
    /// Whose backups these are, and where its shards' directories are.
    pub node: Manifest,
    /// The data directory.
    pub data: PathBuf,
    /// Where the series are.
    pub directory: PathBuf,
    /// How often one is due that nobody asks for.
    pub every: Option<Duration>,
    /// How many are kept after such a one; 0: all.
    pub keep: usize,
    /// The ways to the shards.
    pub shards: Vec<BackupLine>,
    /// What clients ask.
    pub asks: Receiver<BackupAsk>,
    /// What is told of a backup that is being taken.
    pub gauge: Arc<BackupGauge>,
    /// The node stops.
    pub stop: Arc<AtomicBool>,
}

/// A backup that was taken.
#[derive(Debug)]
struct Taken {
    series: PathBuf,
    name: String,
    manifest: BackupManifest,
    done: Done,
    elapsed: Duration,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn start(self) -> std::io::Result<()> {
        thread::Builder::new()
            .name("backup".to_owned())
            .spawn(move || {
                stand_behind();
                self.run();
            })?;
        Ok(())
    }

    /// Works until the node stops, or nobody can ask any more.
    fn run(self) {
        let mut due = self.first_due();
        loop {
            let ask = match self.asks.recv_timeout(LOOK) {
                Ok(ask) => ask,
                Err(RecvTimeoutError::Timeout) => {
                    if self.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if due.is_some_and(|due| Instant::now() >= due) {
                        due = self.back_up_by_schedule();
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let outcome = self.back_up(&ask.series);
            let outcome = match outcome {
                Ok(taken) => Ok(taken.told().to_string()),
                Err(error) => Err(error.to_string()),
            };
            let answer = BackupOrder::Answer {
                client: ask.client,
                request: ask.request,
                outcome,
            };
            self.order(ask.shard, answer);
        }
    }

    /// When the first backup is due: counted from the last one that there is.
    fn first_due(&self) -> Option<Instant> {
        let every = self.every?;
        let last = shelved(&self.directory.join(DEFAULT_SERIES)).ok();
        let last = last.and_then(|mut found| found.pop()?.ok());
        let since = last.map(|last| now().0.saturating_sub(last.manifest.begun_ms));
        let left = since.map(|since| every.saturating_sub(Duration::from_millis(since)));
        Instant::now().checked_add(left.unwrap_or_default())
    }

    /// Takes the backup that is due, and deletes the oldest. Answers when the next is due.
    fn back_up_by_schedule(&self) -> Option<Instant> {
        let began = Instant::now();
        let every = self.every?;
        if self.back_up(DEFAULT_SERIES).is_err() {
            let retry = Duration::from_nanos(BACKUP_RETRY_NS);
            return began.checked_add(every.min(retry));
        }
        if self.keep > 0 {
            let series = Series::open(&self.directory.join(DEFAULT_SERIES));
            match series.and_then(|series| series.keep(self.keep)) {
                Ok(deleted) => {
                    for name in deleted {
                        tracing::info!(backup = name, "deleted: there are enough later ones");
                    }
                }
                Err(error) => tracing::error!(%error, "an old backup can't be deleted"),
            }
        }
        began.checked_add(every)
    }

    /// Takes a backup, and says in the log how that went.
    fn back_up(&self, series: &str) -> Result<Taken, BackupError> {
        let series = match series {
            "" => DEFAULT_SERIES,
            named => named,
        };
        self.gauge.begin();
        let taken = self.take(&self.directory.join(series));
        self.gauge.end();
        match &taken {
            Ok(taken) => tracing::info!(
                backup = %taken.series.join(&taken.name).display(),
                bytes = taken.manifest.len_bytes(),
                copied = taken.done.copied,
                elapsed_ms = taken.elapsed.as_millis() as u64,
                "backed up"
            ),
            Err(error) => tracing::error!(series, %error, "no backup was taken"),
        }
        taken
    }

    fn take(&self, series: &Path) -> Result<Taken, BackupError> {
        let (began, begun) = (Instant::now(), now());
        let series = Series::open(series)?;
        series.clean()?;
        let last = series.last(self.node.node)?;
        let (name, directory) = series.begin(begun)?;
        let mut done = Done::default();
        let made = self.fill(&directory, (&series, last), begun, &mut done);
        // Whoever had named a point already lets go of it, too.
        for shard in 0..self.node.shard_count {
            self.order(ShardId(shard), BackupOrder::End);
        }
        match made {
            Ok(manifest) => Ok(Taken {
                series: series.path().to_owned(),
                name,
                manifest,
                done,
                elapsed: began.elapsed(),
            }),
            Err(error) => {
                // Should it stay, the next backup deletes it.
                if let Err(error) = fs::remove_dir_all(&directory) {
                    tracing::warn!(%error, directory = %directory.display(), "can't delete an unfinished backup");
                }
                Err(error)
            }
        }
    }

    fn fill(
        &self,
        directory: &Path,
        (series, last): (&Series, Option<(String, BackupManifest)>),
        begun: WallMillis,
        done: &mut Done,
    ) -> Result<BackupManifest, BackupError> {
        let points = self.points()?;
        let segments = points.iter().map(|point| self.len_of(point)).sum();
        self.gauge.total(segments);
        let mut shards = Vec::with_capacity(points.len());
        for (number, point) in (0..).zip(&points) {
            let shard = ShardId(number);
            let of_last = last.as_ref().and_then(|(name, manifest)| {
                let part = manifest.shards.get(shard.index())?;
                Some((part, shard_path(&series.path().join(name), 0, shard)))
            });
            let copy = ShardCopy {
                shard,
                from: shard_path(&self.data, self.node.generation, shard),
                to: shard_path(directory, 0, shard),
                last: of_last,
                watch: self,
            };
            shards.push(copy.carry_out(point, done)?);
            self.order(shard, BackupOrder::End);
        }
        // Its directories are named as of a node that never had another number of shards.
        write_manifest(directory, &self.node.as_first_generation())?;
        let previous = last.map(|(name, _)| name);
        let manifest = BackupManifest::new(self.node.node, (begun, now()), previous, shards);
        manifest.write(directory)?;
        Ok(manifest)
    }

    /// About how many bytes the files have.
    fn len_of(&self, point: &ShardPoint) -> u64 {
        use crate::storage::format::SEGMENT_HEADER_LEN;
        use crate::storage::log::PointFileKind::{Active, Sealed, Stub};
        let files = point.log.files.iter();
        files
            .map(|file| match file.kind {
                Sealed { base, end } | Active { base, end } => end.0 - base.0,
                Stub => SEGMENT_HEADER_LEN as u64,
            })
            .sum()
    }

    /// The points of all shards, by shard.
    fn points(&self) -> Result<Vec<ShardPoint>, BackupError> {
        let others = 1..self.node.shard_count;
        let asked: Vec<_> = others.map(|shard| self.ask(ShardId(shard))).collect();
        let mut points = Vec::with_capacity(asked.len() + 1);
        for (shard, answer) in asked {
            points.push(self.point(shard, &answer)?);
        }
        let (first, answer) = self.ask(ShardId(0));
        points.insert(0, self.point(first, &answer)?);
        Ok(points)
    }

    fn ask(&self, shard: ShardId) -> (ShardId, Receiver<Result<ShardPoint, String>>) {
        let (to, answer) = flume::bounded(1);
        self.order(shard, BackupOrder::Begin(to));
        (shard, answer)
    }

    fn point(
        &self,
        shard: ShardId,
        answer: &Receiver<Result<ShardPoint, String>>,
    ) -> Result<ShardPoint, BackupError> {
        let until = Instant::now() + POINT_PATIENCE;
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(Ok(point)) => return Ok(point),
                Ok(Err(reason)) => return Err(BackupError::Shard { reason }),
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {
                    if self.stop.load(Ordering::Relaxed) {
                        return Err(BackupError::Stopping);
                    }
                }
                Err(_) => return Err(BackupError::Silent { shard }),
            }
        }
    }

    fn order(&self, shard: ShardId, order: BackupOrder) {
        self.shards[shard.index()].order(order);
    }
}

impl Watch for Keeper {
    fn go_on(&self, bytes: u64) -> bool {
        self.gauge.add(bytes);
        !self.stop.load(Ordering::Relaxed)
    }
}

impl Taken {
    /// What the client is told.
    fn told(&self) -> serde_json::Value {
        let files: usize = self
            .manifest
            .shards
            .iter()
            .map(|shard| shard.files.len())
            .sum();
        serde_json::json!({
            "directory": self.series,
            "name": self.name,
            "previous": self.manifest.previous,
            "files": files,
            "bytes": self.manifest.len_bytes(),
            "bytes_copied": self.done.copied,
            "bytes_linked": self.done.linked,
            "bytes_reused": self.done.reused,
            "elapsed_ms": self.elapsed.as_millis() as u64,
        })
    }
}

fn now() -> WallMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    WallMillis(u64::try_from(millis).unwrap_or(u64::MAX))
}
