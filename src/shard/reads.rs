//! Requests that change nothing.
//!
//! They are answered at once from committed state, except where the same connection has an uncommitted write on the key:
//! then the answer is evaluated now, so that later writes don't show in it, and given when that write commits.

use corduroy_proto_wire::{Body, Response, Status};

use super::origin::{Origin, Replies};
use super::staging::{PendingBody, PendingReply};
use super::statistics::Kind;
use super::{Shard, Stop};
use crate::storage::format::Record;
use crate::types::{KeyspaceId, Now, Version, WallMillis};

const ABSENT: Response<'static> = Response {
    status: Status::NotFound,
    version: 0,
    timestamp_ms: 0,
    body: Body::Empty,
};

impl Shard {
    #[inline]
    pub(super) fn get(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        self.read(now, origin, keyspace, key, Kind::Get, out, |record| {
            Body::Value(record.value)
        })
    }

    pub(super) fn exists(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        self.read(now, origin, keyspace, key, Kind::Exists, out, |_| {
            Body::Empty
        })
    }

    pub(super) fn ttl(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        self.read(now, origin, keyspace, key, Kind::Ttl, out, |record| {
            Body::Ttl(
                record
                    .expiry
                    .map(|expiry| expiry.0.saturating_sub(now.wall.0)),
            )
        })
    }

    /// When a key expires.
    pub(super) fn expires_at(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        out: &mut impl Replies,
    ) -> Result<(), Stop> {
        self.read(now, origin, keyspace, key, Kind::ExpiresAt, out, |record| {
            Body::Ttl(record.expiry.map(|expiry| expiry.0))
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a request and its surroundings; a struct would only rename them"
    )]
    #[inline]
    fn read(
        &mut self,
        now: Now,
        origin: Origin,
        keyspace: KeyspaceId,
        key: &[u8],
        kind: Kind,
        out: &mut impl Replies,
        body: impl for<'a> Fn(&Record<'a>) -> Body<'a>,
    ) -> Result<(), Stop> {
        let place = self.locate(keyspace, key)?;
        let (record, pending) = self.visible(now, &origin, &place, key)?;
        if !pending {
            match &record {
                None => out.reply(origin, &ABSENT),
                Some(record) => {
                    let response = found(record, body(record));
                    match (&response.body, record.large_value()) {
                        (Body::Value(_), Some(value)) => out.reply_large(origin, &response, value),
                        _ => out.reply(origin, &response),
                    }
                }
            }
            self.kind_done(kind);
            return Ok(());
        }
        let reply = match &record {
            None => (
                Status::NotFound,
                Version(0),
                WallMillis(0),
                PendingBody::Empty,
            ),
            Some(record) => (
                Status::Ok,
                record.version,
                record.timestamp,
                match body(record) {
                    Body::Value(_) => PendingBody::Value(record.value()),
                    Body::Ttl(ttl) => PendingBody::Ttl(ttl),
                    _ => PendingBody::Empty,
                },
            ),
        };
        let (status, version, timestamp, body) = reply;
        self.reply_after_commit(PendingReply {
            origin,
            kind,
            since: now.mono,
            status,
            version,
            timestamp,
            body,
        });
        Ok(())
    }
}

fn found<'a>(record: &Record<'a>, body: Body<'a>) -> Response<'a> {
    Response {
        status: Status::Ok,
        version: record.version.0,
        timestamp_ms: record.timestamp.0,
        body,
    }
}
