//! Moving a node's data to as many shards as it is to run with, before it serves. `shard::reshard` has the steps and why they are safe;
//! here are the files, the threads and what is told.
//!
//! Logs are recovered on all of the node's cores at once. Copying is done by one thread: what takes the time is the disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::admin::{Health, ShardProgress};
use super::config::Config;
use super::directory::{DataDirectory, random};
use super::error::{MoveFailure, StartError};
use super::node::shard_config;
use super::recover::ShardFiles;
use crate::runtime::glommio::{Generations, SystemClock, file_name};
use crate::shard::ShardConfig;
use crate::shard::recover::RecoveredShard;
use crate::shard::reshard::{Move, MoveError, Moved, keyspaces, lost, make};
use crate::storage::format::LogTag;
use crate::types::ShardId;

/// How often the progress of a long move is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Moves the data until it is spread over the configured number of shards: a move that was begun first, with the number that it was begun with.
pub(super) fn move_shards(
    config: &Config,
    directory: &mut DataDirectory,
    clock: SystemClock,
    health: &Health,
) -> Result<(), StartError> {
    while let Some(to) = directory.move_due() {
        let from = directory.manifest().shard_count;
        let mut reshard = Reshard {
            config,
            directory,
            clock,
            health,
            from,
            to,
        };
        reshard.run()?;
    }
    Ok(())
}

/// One move.
struct Reshard<'a> {
    config: &'a Config,
    directory: &'a mut DataDirectory,
    clock: SystemClock,
    health: &'a Health,
    from: u16,
    to: u16,
}

impl Reshard<'_> {
    fn run(&mut self) -> Result<(), StartError> {
        let began = Instant::now();
        let (from, to) = (self.from, self.to);
        let is_begun = self.directory.manifest().moving.is_some();
        let old = self.directories(from, DataDirectory::shard);
        let paths = self.directories(to, DataDirectory::next_shard);
        let mut files = Generations::new(old.clone(), paths.clone());
        let old = self.recover(&old)?;
        if !is_begun {
            self.check_room(&old)?;
            self.directory.make_next(to)?;
            self.make(&mut files, &old, (0..to).map(ShardId))?;
            self.directory.begin_move(to)?;
        }
        let mut new = self.recover(&paths)?;
        let lost: Vec<ShardId> = lost(&new).collect();
        if !lost.is_empty() {
            self.make(&mut files, &old, lost.into_iter())?;
            new = self.recover(&paths)?;
        }
        let keyspaces = keyspaces(&old, &new);
        let moving = Move::new(old, new, &keyspaces, self.config.segment_len);
        let live_mib = moving.live_bytes() >> 20;
        match is_begun {
            false => tracing::info!(
                "the directory was written with {}; moving {live_mib} MiB to {to}",
                cores(from)
            ),
            true => tracing::info!(
                "the directory was being moved from {} to {to} when its server stopped; moving the {live_mib} MiB that are left",
                cores(from)
            ),
        }
        let moved = self.copy(moving, &mut files)?;
        self.directory.end_move()?;
        tracing::info!(
            records = moved.records,
            bytes = moved.bytes,
            already_there = moved.already_there,
            elapsed_ms = began.elapsed().as_millis() as u64,
            "the data is moved to {}",
            cores(to)
        );
        Ok(())
    }

    fn directories(
        &self,
        count: u16,
        path: fn(&DataDirectory, ShardId) -> PathBuf,
    ) -> Vec<PathBuf> {
        let shards = (0..count).map(ShardId);
        shards.map(|shard| path(self.directory, shard)).collect()
    }

    fn make(
        &self,
        files: &mut Generations,
        old: &[RecoveredShard],
        shards: impl Iterator<Item = ShardId>,
    ) -> Result<(), StartError> {
        let logs = shards.map(|shard| (shard, LogTag(u32::from_le_bytes(random()))));
        let made = make(files, old, logs, self.to, self.config.segment_len);
        made.map_err(|error| self.halted(MoveFailure::Files(error)))
    }

    /// Recovers one generation, several shards at once. Everything is read: what is damaged is found before anything moves.
    fn recover(&self, directories: &[PathBuf]) -> Result<Vec<RecoveredShard>, StartError> {
        let count = directories.len();
        let progress: Arc<[ShardProgress]> = (0..count).map(|_| ShardProgress::default()).collect();
        self.health.recovering(Arc::clone(&progress));
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(directory) = directories.get(number) else {
                    return done;
                };
                let shard = ShardId(number as u16);
                let files = ShardFiles {
                    shard,
                    directory,
                    salvage: self.config.salvage,
                    may_be_empty: false,
                    by_saved_indexes: false,
                };
                let config = self.shard_config(shard, count as u16);
                done.push((
                    number,
                    files.recover(&config, self.clock, &progress[number]),
                ));
            }
        };
        let mut done: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.config.cores.len().min(count))
                .map(|_| scope.spawn(worker))
                .collect();
            let workers = workers.into_iter();
            workers
                .flat_map(|worker| worker.join().expect("a panic ends the process"))
                .collect()
        });
        done.sort_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, recovered)| recovered).collect()
    }

    fn shard_config(&self, shard: ShardId, shard_count: u16) -> ShardConfig {
        let mut config = shard_config(self.config, self.directory, shard);
        config.identity.shard_count = shard_count;
        config
    }

    /// Whether there is room for the first segments of all new shards, and for what lies in both generations at once.
    fn check_room(&self, old: &[RecoveredShard]) -> Result<(), StartError> {
        let longest = |recovered: &RecoveredShard| recovered.shard.longest_segment();
        let longest = old.iter().map(longest).max().unwrap_or_default();
        let needed = u64::from(self.to) * self.config.segment_len + longest;
        let disk = match rustix::fs::statvfs(self.directory.path()) {
            Ok(disk) if disk.f_blocks > 0 => disk,
            // It isn't told; the move finds out.
            _ => return Ok(()),
        };
        let available = disk.f_bavail.saturating_mul(disk.f_frsize);
        if available >= needed {
            return Ok(());
        }
        Err(StartError::MoveNeedsRoom {
            from: self.from,
            to: self.to,
            needed,
            available,
        })
    }

    fn copy(&self, moving: Move, files: &mut Generations) -> Result<Moved, StartError> {
        let progress = Arc::<ShardProgress>::default();
        let total = moving.len_bytes();
        progress.total.store(total, Ordering::Relaxed);
        self.health
            .moving(self.from, self.to, Arc::clone(&progress));
        let mut told = Instant::now();
        let moved = moving.run(files, &mut |bytes| {
            let done = progress.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if told.elapsed() >= PROGRESS_INTERVAL {
                told = Instant::now();
                tracing::info!(
                    "moving: {} of {} MiB of log are done",
                    done >> 20,
                    total >> 20
                );
            }
        });
        moved.map_err(|error| {
            self.halted(match error {
                MoveError::Files(error) => MoveFailure::Files(error),
                MoveError::Damaged {
                    shard,
                    segment,
                    offset,
                    fault,
                } => MoveFailure::Damaged {
                    path: self.directory.shard(shard).join(file_name(segment)),
                    offset,
                    fault,
                },
            })
        })
    }

    fn halted(&self, source: MoveFailure) -> StartError {
        StartError::Move {
            from: self.from,
            to: self.to,
            source,
        }
    }
}

fn cores(count: u16) -> String {
    format!("{count} core{}", if count == 1 { "" } else { "s" })
}
