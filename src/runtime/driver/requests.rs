//! From a frame to whoever carries it out: this shard, the shard that owns the key, or several of them.

use bytes::Bytes;
use corduroy_proto_wire::{
    Body, DecodeError, KeyspaceInfo, Opcode, Request, RequestId, Response, Status, key_of, peek,
    split,
};

use super::connection::Phase;
use super::link::Route;
use super::{Driver, Ports};
use crate::gateway::resp::parse::{is_short, key_ahead};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::statistics::Kind;
use crate::shard::{KeyPlace, Origin, Replies, Target, Whereabouts};
use crate::storage::prefetch::{prefetch, prefetch_record};
use crate::types::{KeyspaceId, Now, ShardId};

/// Where the keys of the next frames live, as far as they have keys.
#[derive(Debug, Default)]
pub(super) struct LookAhead {
    pub(super) places: [Option<Whereabouts>; limits::LOOK_AHEAD_FRAMES],
}

/// The key of a frame, if it has one, and whether its value is wanted.
#[inline]
fn key_sought(frame: &[u8]) -> Option<(KeyspaceId, &[u8], bool)> {
    let key = key_of(frame)?;
    let head = peek(frame).ok()?;
    let reads = head.opcode == Opcode::Get as u8;
    Some((KeyspaceId(head.keyspace), key, reads))
}

impl<P: Ports> Driver<P> {
    /// The shard on which a key lives; this one if there is no such keyspace (it then says so).
    #[inline]
    pub(super) fn owner(&self, keyspace: KeyspaceId, key: &[u8]) -> ShardId {
        match self.shard.whereabouts(keyspace, key) {
            Whereabouts::On(shard) => shard,
            Whereabouts::Here(_) | Whereabouts::NoKeyspace => self.config.shard,
        }
    }

    /// Looks at the next frames: finds out where their keys live, and has the memory loaded that looking them up will need. Answers for
    /// each whether that is here and where.
    #[inline]
    pub(super) fn look_ahead<'a>(&self, frames: impl Iterator<Item = &'a [u8]>) -> LookAhead {
        let mut ahead = LookAhead::default();
        self.look_ahead_keys(frames.map(key_sought), &mut ahead.places);
        ahead
    }

    /// As [`Driver::look_ahead`], of keys and whether their values are wanted. Places for which there is no key stay as they are.
    #[inline]
    pub(super) fn look_ahead_keys<'a>(
        &self,
        keys: impl Iterator<Item = Option<(KeyspaceId, &'a [u8], bool)>>,
        places: &mut [Option<Whereabouts>; limits::LOOK_AHEAD_FRAMES],
    ) {
        let mut found = 0;
        let mut wanted = [false; limits::LOOK_AHEAD_FRAMES];
        for ((place, wanted), key) in places.iter_mut().zip(&mut wanted).zip(keys) {
            *place = key.map(|(keyspace, key, reads)| {
                *wanted = reads;
                self.shard.whereabouts(keyspace, key)
            });
            if let Some(Whereabouts::Here(here)) = place {
                prefetch(self.shard.entry_address(here));
            }
            found += 1;
        }
        for (place, wanted) in places[..found].iter().zip(wanted) {
            if let Some(Whereabouts::Here(here)) = place
                && let Some(record) = self.shard.record_address(here)
            {
                match wanted {
                    true => prefetch_record(record),
                    false => prefetch(record),
                }
            }
        }
    }

    /// As [`Driver::look_ahead`], of a connection's input.
    pub(super) fn look_ahead_in(&self, bytes: &[u8]) -> LookAhead {
        let mut at = 0;
        self.look_ahead(std::iter::from_fn(|| {
            match split(&bytes[at..], self.config.frame_len_max()) {
                Ok(Some((frame, consumed))) => {
                    at += consumed;
                    Some(frame)
                }
                _ => None,
            }
        }))
    }

    /// Bytes are about to be given to [`Driver::received`], of several connections one after the other: has the memory loaded that looking their keys up will
    /// need. Changes nothing else. Input of several requests is left out, which is looked ahead into when its turn comes.
    pub fn foresee<'a>(&self, received: impl Iterator<Item = (ConnectionId, &'a [u8])>) {
        let keys = received.map(|(id, bytes)| self.only_key(id, bytes));
        self.look_ahead_keys(keys, &mut LookAhead::default().places);
    }

    /// The key of a request, if it is all that a connection has sent.
    fn only_key<'a>(
        &self,
        id: ConnectionId,
        bytes: &'a [u8],
    ) -> Option<(KeyspaceId, &'a [u8], bool)> {
        let connection = self.hub.connections.get(id.slot as usize)?;
        if connection.phase != Phase::Open || !connection.input.is_empty() {
            return None;
        }
        if let Some(resp) = &connection.resp {
            let keyspace = resp.keyspace()?;
            let (key, len) = key_ahead(bytes)?;
            let is_alone = len == bytes.len() && !key.is_empty();
            return is_alone.then_some((keyspace, key, is_short(bytes)));
        }
        let (frame, len) = split(bytes, self.config.frame_len_max()).ok()??;
        if len < bytes.len() {
            return None;
        }
        key_sought(frame)
    }

    /// Takes one request of a connection of this shard.
    #[inline]
    pub(super) fn request(
        &mut self,
        now: Now,
        client: ConnectionId,
        frame: &[u8],
        whereabouts: Option<Whereabouts>,
    ) {
        self.hub.connections[client.slot as usize].in_flight += 1;
        let (Some(key), Ok(head)) = (key_of(frame), peek(frame)) else {
            self.keyless_frame(now, client, frame);
            return;
        };
        let keyspace = KeyspaceId(head.keyspace);
        let whereabouts = whereabouts.unwrap_or_else(|| self.shard.whereabouts(keyspace, key));
        let origin = Origin {
            shard: self.config.shard,
            client,
            target: Target::Client(head.id),
            get: head.opcode == Opcode::Get as u8,
        };
        match whereabouts {
            Whereabouts::On(_) if keyspace == KeyspaceId::SYSTEM => {
                self.local_frame(now, origin, frame);
            }
            Whereabouts::On(owner) => self.hub.forward_frame(owner, &origin, frame),
            Whereabouts::Here(place) => self.frame_at(now, origin, place, frame),
            Whereabouts::NoKeyspace => self.local_frame(now, origin, frame),
        }
    }

    /// As [`Driver::request`], of a large frame, which is not copied.
    pub(super) fn large_request(&mut self, now: Now, client: ConnectionId, frame: Bytes) {
        self.hub.connections[client.slot as usize].in_flight += 1;
        let (Some(key), Ok(head)) = (key_of(&frame), peek(&frame)) else {
            if frame.len() > limits::BATCH_BYTES_MAX {
                let id =
                    peek(&frame).map_or(corduroy_proto_wire::CONNECTION_REQUEST_ID, |head| head.id);
                let reason = format!(
                    "a batch of {} bytes is over batch_bytes_max, {} bytes: put large values one by one",
                    frame.len(),
                    limits::BATCH_BYTES_MAX
                );
                return self.refuse(client, id, Status::LimitExceeded, &reason);
            }
            return self.keyless_frame(now, client, &frame);
        };
        let keyspace = KeyspaceId(head.keyspace);
        let origin = Origin {
            shard: self.config.shard,
            client,
            target: Target::Client(head.id),
            get: false,
        };
        match self.shard.whereabouts(keyspace, key) {
            Whereabouts::On(owner) if keyspace != KeyspaceId::SYSTEM => {
                self.hub.forward_large(owner, &origin, frame);
            }
            _ => self.local_large(now, origin, &frame),
        }
    }

    /// Evaluates a large request here.
    pub(super) fn local_large(&mut self, now: Now, origin: Origin, frame: &Bytes) {
        match Request::decode(frame) {
            Ok((_, request)) if may_reach(&request, &origin) => {
                self.shard
                    .execute_large(now, origin, frame, &request, &mut self.hub);
            }
            // It is refused.
            _ => self.local_frame(now, origin, frame),
        }
    }

    fn keyless_frame(&mut self, now: Now, client: ConnectionId, frame: &[u8]) {
        match Request::decode(frame) {
            Ok((id, request)) if request.opcode().is_internal() => {
                let error = DecodeError::UnknownOpcode {
                    opcode: request.opcode() as u8,
                };
                self.refuse(client, id, error.status(), &error.to_string());
            }
            Ok((id, request)) => self.keyless_request(now, client, id, request, frame),
            Err(error) => {
                let id =
                    peek(frame).map_or(corduroy_proto_wire::CONNECTION_REQUEST_ID, |head| head.id);
                self.refuse(client, id, error.status(), &error.to_string());
            }
        }
    }

    /// Takes one request that another shard received.
    pub(super) fn forwarded_request(
        &mut self,
        now: Now,
        from: ShardId,
        route: Route,
        frame: &[u8],
        large: Option<&Bytes>,
        whereabouts: Option<Whereabouts>,
    ) {
        let whole = large.map_or(frame, |large| large);
        let request =
            peek(whole).map_or(corduroy_proto_wire::CONNECTION_REQUEST_ID, |head| head.id);
        let origin = route.origin(from, request);
        match (large, whereabouts) {
            (Some(frame), _) => self.local_large(now, origin, frame),
            (None, Some(Whereabouts::Here(place))) => {
                self.frame_at(now, origin, place, frame);
            }
            (None, _) => self.local_frame(now, origin, frame),
        }
    }

    /// Evaluates a request here, of which it is known where its key is.
    #[inline]
    fn frame_at(&mut self, now: Now, origin: Origin, place: KeyPlace, frame: &[u8]) {
        match Request::decode(frame) {
            Ok((_, request)) if may_reach(&request, &origin) => {
                self.shard
                    .execute_at(now, origin, place, &request, &mut self.hub);
            }
            // It is refused.
            _ => self.local_frame(now, origin, frame),
        }
    }

    #[inline]
    fn local_frame(&mut self, now: Now, origin: Origin, frame: &[u8]) {
        match Request::decode(frame) {
            // Clients can't reach the keyspace in which the node keeps its own records; gathers can.
            Ok((_, request)) if !may_reach(&request, &origin) => {
                let reason = "there is no keyspace with the number 0";
                self.refuse_origin(origin, Status::UnknownKeyspace, reason);
            }
            Ok((_, request)) => self.shard.execute(now, origin, &request, &mut self.hub),
            Err(error) => {
                self.refuse_origin(origin, error.status(), &error.to_string());
            }
        }
    }

    /// Refuses a request that may be another shard's.
    fn refuse_origin(&mut self, origin: Origin, status: Status, reason: &str) {
        self.shard.refused_outside(1);
        self.hub.reply(
            origin,
            &Response {
                status,
                version: 0,
                timestamp_ms: 0,
                body: Body::Error(reason),
            },
        );
    }

    fn keyless_request(
        &mut self,
        now: Now,
        client: ConnectionId,
        id: RequestId,
        request: Request<'_>,
        frame: &[u8],
    ) {
        match request {
            Request::Ping { payload } => {
                self.shard.answered_at_once(Kind::Ping);
                self.respond(client, id, Status::Ok, Body::Value(payload));
            }
            Request::KeyspaceList => {
                self.shard.answered_at_once(Kind::KeyspaceList);
                let infos = self.keyspace_infos();
                self.respond(client, id, Status::Ok, Body::Keyspaces(infos));
            }
            Request::KeyspaceOpen { name } => {
                self.shard.answered_at_once(Kind::KeyspaceOpen);
                let info = self
                    .keyspace_infos()
                    .into_iter()
                    .find(|info| info.name == name);
                match info {
                    Some(info) => self.respond(client, id, Status::Ok, Body::Keyspaces(vec![info])),
                    None => self.respond(client, id, Status::NotFound, Body::Empty),
                }
            }
            Request::Hello(_) => {
                self.refuse(
                    client,
                    id,
                    Status::InvalidRequest,
                    "the connection is open already: a hello comes once",
                );
            }
            request => self.multipart(now, client, id, request, frame),
        }
    }

    pub(super) fn keyspace_infos(&self) -> Vec<KeyspaceInfo> {
        self.shard
            .keyspaces()
            .map(|keyspace| KeyspaceInfo {
                id: keyspace.id().0,
                partitions: keyspace.partitions(),
                name: keyspace.name().to_owned(),
            })
            .collect()
    }

    pub(super) fn respond(
        &mut self,
        client: ConnectionId,
        id: RequestId,
        status: Status,
        body: Body<'_>,
    ) {
        self.hub.answer(
            client,
            id,
            &Response {
                status,
                version: 0,
                timestamp_ms: 0,
                body,
            },
        );
    }

    pub(super) fn refuse(
        &mut self,
        client: ConnectionId,
        id: RequestId,
        status: Status,
        reason: &str,
    ) {
        self.shard.refused_outside(1);
        self.respond(client, id, status, Body::Error(reason));
    }
}

fn may_reach(request: &Request<'_>, origin: &Origin) -> bool {
    let system = match request {
        Request::Put { keyspace, .. } | Request::Delete { keyspace, .. } => {
            *keyspace == KeyspaceId::SYSTEM.0
        }
        Request::Get { keyspace, .. }
        | Request::Exists { keyspace, .. }
        | Request::Ttl { keyspace, .. }
        | Request::Touch { keyspace, .. }
        | Request::Persist { keyspace, .. }
        | Request::Add { keyspace, .. }
        | Request::Append { keyspace, .. }
        | Request::Overwrite { keyspace, .. }
        | Request::AddFloat { keyspace, .. }
        | Request::Expire { keyspace, .. }
        | Request::ExpiresAt { keyspace, .. }
        | Request::AtomicBatch { keyspace, .. } => return *keyspace != KeyspaceId::SYSTEM.0,
        _ => false,
    };
    !system || matches!(origin.target, Target::Gather(..))
}
