//! Reading shards for the tools: all at once, each through recovery, and never a page that the disk does not give.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::ToolError;
use super::progress::Progress;
use crate::limits::SECTOR_LEN;
use crate::runtime::glommio::{Segments, SegmentsError, file_name};
use crate::server::directory::OfflineDirectory;
use crate::storage::format::{Entry, RecordAt, SegmentHeader, SegmentState};
use crate::storage::recovery::{Identity, Recovered, RecoveryError, SegmentFile, Visitor, recover};
use crate::types::{PartitionId, SegmentId, ShardId};

/// Bytes of one plain read.
const READ_LEN: usize = 1 << 20;

/// One shard's segment files, mapped.
#[derive(Debug)]
pub(super) struct ShardFiles {
    pub(super) shard: ShardId,
    pub(super) identity: Identity,
    /// Where they lie.
    pub(super) directory: PathBuf,
    pub(super) segments: Segments,
}

impl ShardFiles {
    /// Maps the files of every shard.
    pub(super) fn open_all(directory: &OfflineDirectory) -> Result<Vec<ShardFiles>, SegmentsError> {
        let manifest = directory.manifest();
        let open = |shard| {
            let path = directory.shard(shard);
            Ok(ShardFiles {
                shard,
                identity: Identity {
                    node: u128::from_be_bytes(manifest.node),
                    shard,
                    shard_count: manifest.shard_count,
                },
                segments: Segments::open_existing(&path)?,
                directory: path,
            })
        };
        directory.shards().map(open).collect()
    }

    /// Reads the log as a start does, and tells `visitor` what is in it.
    pub(super) fn recover(
        &self,
        salvage: bool,
        progress: &Progress,
        visitor: &mut impl Visitor,
    ) -> Result<Recovered, RecoveryError> {
        let mut files = self.segments.files();
        files.sort_by_key(|file| file.id);
        let mut guarded = Guarded {
            inner: visitor,
            directory: &self.directory,
            files: &files,
            asked: 0,
            progress,
        };
        guarded.ask_what_is_read_first();
        recover(&self.identity, salvage, &files, &mut guarded)
    }
}

/// Does `work` on every shard, on as many threads as there are cores. The results are in the shards' order.
pub(super) fn on_all<'a, S: Sync, T: Send>(
    shards: &'a [S],
    work: impl Fn(&'a S) -> T + Sync,
) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(shard) = shards.get(number) else {
                return done;
            };
            done.push((number, work(shard)));
        }
    };
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores.min(shards.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a panic ends the process"))
            .collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Asks for every file's bytes by plain reads just before recovery looks at them.
struct Guarded<'a, V> {
    inner: &'a mut V,
    directory: &'a Path,
    files: &'a [SegmentFile<'a>],
    /// So many of the first files were asked for.
    asked: usize,
    progress: &'a Progress,
}

impl<V> Guarded<'_, V> {
    fn path(&self, file: &SegmentFile<'_>) -> PathBuf {
        self.directory.join(file_name(file.id))
    }

    /// Recovery begins with all headers, and all of the files at the end that have not begun.
    fn ask_what_is_read_first(&mut self) {
        let mut has_begun = false;
        for file in self.files.iter().rev() {
            let header = ask(&self.path(file), SECTOR_LEN as u64, &mut |_| {});
            has_begun |= matches!(
                header.first_chunk().map(SegmentHeader::decode),
                Some(Ok(SegmentHeader {
                    state: SegmentState::Active { .. },
                    ..
                }))
            );
            if !has_begun {
                ask(&self.path(file), u64::MAX, &mut |_| {});
            }
        }
        self.ask_next();
    }

    fn ask_next(&mut self) {
        if let Some(file) = self.files.get(self.asked) {
            ask(&self.path(file), u64::MAX, &mut |bytes| {
                self.progress.add(bytes);
            });
            self.asked += 1;
        }
    }
}

impl<V: Visitor> Visitor for Guarded<'_, V> {
    fn entry(&mut self, entry: &Entry<'_>) {
        self.inner.entry(entry);
    }

    fn record(&mut self, partition: PartitionId, record: &RecordAt<'_>) {
        self.inner.record(partition, record);
    }

    fn given_up(&mut self, bytes: u64) {
        self.inner.given_up(bytes);
    }

    fn segment_end(&mut self, segment: SegmentId) {
        self.inner.segment_end(segment);
        // Salvage ends segments whose files are missing, too.
        let next = self.files.partition_point(|file| file.id <= segment);
        while self.asked <= next && self.asked < self.files.len() {
            self.ask_next();
        }
    }
}

/// Reads a file's first `len` bytes, or all; gives back the last that it read. If the disk doesn't give them the process ends here: recovery is in the
/// middle of the mapped files, and the kernel would end it at the next step without saying why.
fn ask(path: &Path, len: u64, done: &mut impl FnMut(u64)) -> Vec<u8> {
    match read(path, len, done) {
        Ok(bytes) => bytes,
        Err(error) => {
            // If nobody reads it, the exit code must do.
            let _ = writeln!(io::stderr(), "corduroy: {error}");
            process::exit(i32::from(error.exit_code()));
        }
    }
}

fn read(path: &Path, len: u64, done: &mut impl FnMut(u64)) -> Result<Vec<u8>, ToolError> {
    let mut buffer = vec![0; len.min(READ_LEN as u64) as usize];
    let mut offset = 0;
    let unreadable = |offset| {
        let path = path.to_owned();
        move |source| ToolError::Unreadable {
            path,
            offset,
            source,
        }
    };
    let file = File::open(path).map_err(unreadable(0))?;
    while offset < len {
        let read = match file.read_at(&mut buffer, offset) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(offset)(error)),
        };
        offset += read as u64;
        done(read as u64);
        if offset >= len {
            buffer.truncate(read);
        }
    }
    Ok(buffer)
}
