//! A shard's part in a backup: it names a point in its log and keeps the files that hold everything below it until they are copied.
//!
//! Nothing stops for it. [`Shard::begin_backup`] takes a hold on all segments, so that compaction removes none from then on. The turns that follow:
//!
//! 1. **Leaving.** A removal that was under way when the hold was taken is waited for: it may take its segment's file away.
//! 2. **Syncing.** The point is the log's end as of now, the block in flight included. It is waited until everything below is on disk: so everything
//!    that was acknowledged before is below the point, everything that is sent from now on comes to lie above, and a copy of the files says no more
//!    than what a power loss would leave.
//! 3. **Given.** [`Shard::backup_point`] gives the point, once. The hold stays until [`Shard::end_backup`].
//!
//! The segments below the one that the point lies in are left for good, and on disk that is certain: the segment behind each has a synced header. So they
//! may be shared with a backup as they are.

use super::Shard;
use crate::storage::disk::{DiskOperation, DiskTicket};
use crate::storage::log::{Hold, LogPoint};
use crate::types::{SegmentId, WallMillis};

/// Where a shard stands with a backup.
#[derive(Debug, Default)]
pub(super) struct Backup {
    hold: Option<Hold>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// None is being taken, or it has its point.
    #[default]
    Idle,
    Leaving,
    Syncing(ShardPoint),
    Ready(Result<ShardPoint, String>),
}

/// A point in a shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPoint {
    /// The point, and the files.
    pub log: LogPoint,
    /// The latest time that the shard's clock had shown: no block below the point says a later one.
    pub wall: WallMillis,
}

impl Shard {
    /// A point is to be named. One backup is taken at a time.
    pub fn begin_backup(&mut self) {
        self.end_backup();
        let all = SegmentId(0)..=SegmentId(u64::MAX);
        self.backup.hold = Some(self.log.hold(all));
        self.backup.stage = Stage::Leaving;
    }

    /// The point, or why there is none, once it is known.
    pub fn backup_point(&mut self) -> Option<Result<ShardPoint, String>> {
        match std::mem::take(&mut self.backup.stage) {
            Stage::Ready(point) => Some(point),
            other => {
                self.backup.stage = other;
                None
            }
        }
    }

    /// Whether the point of a backup is known and not on disk yet.
    pub(super) fn waits_for_point(&self) -> bool {
        matches!(self.backup.stage, Stage::Leaving | Stage::Syncing(_))
    }

    /// The files are copied, or will not be: they are let go of.
    pub fn end_backup(&mut self) {
        self.backup.stage = Stage::Idle;
        if let Some(hold) = self.backup.hold.take() {
            self.log.release(hold);
            // What was held may be the only thing that compaction has to do.
            self.compaction.log_has_grown();
        }
    }

    /// One turn's part, after its block was put together.
    pub(super) fn approach_point(&mut self, disk: &mut Vec<(DiskTicket, DiskOperation)>) {
        if matches!(self.backup.stage, Stage::Idle | Stage::Ready(_)) {
            return;
        }
        if let Some(reason) = &self.pipeline.failed {
            self.backup.stage = Stage::Ready(Err(reason.clone()));
            return;
        }
        if matches!(self.backup.stage, Stage::Leaving) {
            if self.compaction.is_removing() {
                return;
            }
            let log = self.log.point();
            // What is begun later need not be kept.
            let last = self.log.active().unwrap_or(SegmentId(0));
            let hold = self.log.hold(SegmentId(0)..=last);
            if let Some(all) = self.backup.hold.replace(hold) {
                self.log.release(all);
            }
            let wall = self.wall_max;
            self.backup.stage = Stage::Syncing(ShardPoint { log, wall });
        }
        let Stage::Syncing(point) = &self.backup.stage else {
            return;
        };
        if self.pipeline.durable < point.log.end {
            self.sync_now(disk);
            return;
        }
        self.backup.stage = Stage::Ready(Ok(point.clone()));
    }
}
