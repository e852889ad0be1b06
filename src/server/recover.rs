//! Recovering one shard's files at a start: for a shard that is to serve, or for a move of its data.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::admin::ShardProgress;
use super::error::StartError;
use crate::ports::Clock;
use crate::runtime::glommio::{Segments, SystemClock, bring_back};
use crate::shard::ShardConfig;
use crate::shard::recover::{RecoveredShard, recover_shard};
use crate::types::ShardId;

/// The files of a shard that is to be recovered.
pub(super) struct ShardFiles<'a> {
    pub(super) shard: ShardId,
    pub(super) directory: &'a Path,
    pub(super) salvage: bool,
    /// No client was ever let in, so a shard need not have files.
    pub(super) may_be_empty: bool,
    /// Whether saved indexes may stand for their segments.
    pub(super) by_saved_indexes: bool,
}

impl ShardFiles<'_> {
    /// Recovers the shard and repairs its files; then everything that was found is on disk.
    pub(super) fn recover(
        &self,
        config: &ShardConfig,
        clock: SystemClock,
        progress: &ShardProgress,
    ) -> Result<RecoveredShard, StartError> {
        bring_back(self.directory)?;
        let segments = Segments::open(self.directory)?;
        if segments.files().is_empty() && !self.may_be_empty {
            let lost = StartError::ShardLost {
                shard: self.shard,
                directory: self.directory.to_owned(),
            };
            if !self.salvage {
                return Err(lost);
            }
            tracing::warn!(shard = %self.shard, "salvage gave up a whole shard, and begins it anew: {lost}");
        }
        progress
            .total
            .store(segments.len_bytes(), Ordering::Relaxed);
        let began = Instant::now();
        let summaries = match self.by_saved_indexes {
            true => segments.summaries(),
            false => Vec::new(),
        };
        let recovered = recover_shard(
            config,
            clock.now(),
            self.salvage,
            &segments.files(),
            &summaries,
            &mut |bytes| {
                progress.done.fetch_add(bytes, Ordering::Relaxed);
            },
        )
        .map_err(|source| StartError::Recover {
            shard: self.shard,
            source: Box::new(source),
        })?;
        drop(summaries);
        for damage in &recovered.damage {
            tracing::warn!(shard = %self.shard, bytes = damage.len, "salvage gave up {} bytes of the log: {damage}", damage.len);
        }
        segments.repair(&recovered.repairs)?;
        tracing::info!(
            shard = %self.shard,
            records = recovered.start.records,
            segments = recovered.start.segments,
            from_saved_indexes = recovered.start.from_saved_indexes,
            bad_saved_indexes = recovered.start.bad_saved_indexes,
            clean = recovered.clean,
            elapsed_ms = began.elapsed().as_millis() as u64,
            "recovered"
        );
        Ok(recovered)
    }
}
