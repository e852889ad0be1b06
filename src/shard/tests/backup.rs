//! A shard's point: what is below it and what is not, and that its files stay until they are copied.

use super::{World, config, put};
use crate::shard::backup::ShardPoint;
use crate::shard::{ShardConfig, SyncMode};
use crate::storage::disk::DiskOperation;
use crate::storage::format::SEGMENT_HEADER_LEN;
use crate::storage::log::PointFileKind;

impl World {
    /// Asks for a point, and lets everything come to its end.
    fn point(&mut self) -> ShardPoint {
        self.shard.begin_backup();
        self.settle();
        let point = self.shard.backup_point();
        point.expect("nothing is left to wait for").unwrap()
    }

    /// What a node makes of the files: the active one up to the point.
    fn copied(&self, point: &ShardPoint) -> World {
        let mut copy = World::with(self.config.clone());
        for file in &point.log.files {
            let mut bytes = self.files[&file.segment].clone();
            if let PointFileKind::Active { base, end } = file.kind {
                bytes[SEGMENT_HEADER_LEN + (end.0 - base.0) as usize..].fill(0);
            }
            copy.files.insert(file.segment, bytes);
        }
        copy.restart()
    }
}

/// With syncs that come when they come, a write is acknowledged before it is on disk. Were the point named at once, a copy of the files could lack it.
#[test]
fn a_point_is_named_when_all_below_it_is_on_disk() {
    let mut world = World::with(ShardConfig {
        sync: SyncMode::Never,
        ..config()
    });
    world.put(b"before", b"value");
    world.shard.begin_backup();
    world.end_turn();
    assert!(world.shard.backup_point().is_none(), "it is not synced");
    world.settle();
    world.send(&put(b"after", b"value"));
    world.settle();
    let point = world.shard.backup_point().unwrap().unwrap();
    assert!(world.shard.backup_point().is_none(), "it is given once");
    let mut copy = world.copied(&point);
    assert_eq!(copy.get(b"before").value.as_deref(), Some(&b"value"[..]));
    assert_eq!(copy.get(b"after").value, None);
}

/// A segment that compaction took while its file was being copied would be missing from the backup, and all that lived in it.
#[test]
fn what_is_held_is_not_compacted() {
    let mut world = World::with(ShardConfig {
        compacts: false,
        ..config()
    });
    let filler = vec![b'f'; 50_000];
    world.put(b"lives", b"value");
    for _ in 0..80 {
        world.put(b"filler", &filler);
    }
    let point = world.point();
    let segments = point.log.files.len();
    assert!(segments > 3, "{segments} segments");
    world.command(crate::shard::ShardCommand::Compact);
    world.settle();
    assert_eq!(world.shard.status().segments_removed, 0);
    let mut copy = world.copied(&point);
    assert_eq!(copy.get(b"lives").value.as_deref(), Some(&b"value"[..]));
    world.shard.end_backup();
    world.command(crate::shard::ShardCommand::Compact);
    world.settle();
    assert!(world.shard.status().segments_removed > 0);
}

/// A shard whose disk failed can't say what of its log is there.
#[test]
fn a_shard_that_failed_names_no_point() {
    let mut world = World::new();
    world.send(&put(b"key", b"value"));
    world.end_turn();
    world.fail(
        |operation| matches!(operation, DiskOperation::Write { .. }),
        libc::EIO,
    );
    world.settle();
    world.shard.begin_backup();
    world.settle();
    let point = world.shard.backup_point().unwrap();
    assert!(point.unwrap_err().contains("takes no writes"));
}

/// A shard that was never written to has nothing to copy, and a copy of nothing is a log like any other.
#[test]
fn an_empty_log_has_a_point() {
    let mut world = World::new();
    let point = world.point();
    assert!(point.log.files.is_empty());
    assert_eq!(point.log.end.0, 0);
}
