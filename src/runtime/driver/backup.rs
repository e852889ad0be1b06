//! A client's request for a backup, and the shard's part in one, for whoever takes it.
//!
//! The node takes a backup as a whole, outside of the shards ([`Backups`](crate::ports::Backups)): it has each of them begin
//! ([`Driver::begin_backup`]), looks after each turn whether the point is known ([`Driver::backup_point`]), copies, and lets go
//! ([`Driver::end_backup`]).

use corduroy_proto_wire::{Body, RequestId, Status};

use super::{Driver, Ports};
use crate::ports::{ConnectionId, NoBackup};
use crate::shard::backup::ShardPoint;
use crate::shard::scrub::ScrubDamage;
use crate::shard::statistics::Kind;

impl<P: Ports> Driver<P> {
    pub(super) fn ask_backup(&mut self, client: ConnectionId, id: RequestId, series: &str) {
        let (status, reason) = match self.ports.back_up(client, id, series) {
            Ok(()) => return,
            Err(NoBackup::NoDirectory) => (
                Status::Unsupported,
                "this node is not told where backups go: start it with --backup-directory DIR, or set backup_directory",
            ),
            Err(NoBackup::Busy) => (
                Status::Overloaded,
                "too many backups wait for their turn already",
            ),
        };
        self.refuse(client, id, status, reason);
    }

    /// A backup that a client of this shard asked for is whole (what is told of it, as JSON), or there is none, and why.
    pub fn backup_done(
        &mut self,
        client: ConnectionId,
        id: RequestId,
        outcome: &Result<String, String>,
    ) {
        match outcome {
            Ok(told) => {
                self.shard.answered_at_once(Kind::Backup);
                self.respond(client, id, Status::Ok, Body::Status(told));
            }
            Err(reason) => self.refuse(client, id, Status::Failed, reason),
        }
    }

    /// See [`Shard::take_scrub_news`](crate::shard::Shard::take_scrub_news).
    pub fn take_scrub_news(&mut self) -> Vec<ScrubDamage> {
        self.shard.take_scrub_news()
    }

    /// See [`Shard::begin_backup`](crate::shard::Shard::begin_backup).
    pub fn begin_backup(&mut self) {
        self.shard.begin_backup();
    }

    /// See [`Shard::backup_point`](crate::shard::Shard::backup_point).
    pub fn backup_point(&mut self) -> Option<Result<ShardPoint, String>> {
        self.shard.backup_point()
    }

    /// See [`Shard::end_backup`](crate::shard::Shard::end_backup).
    pub fn end_backup(&mut self) {
        self.shard.end_backup();
    }
}
