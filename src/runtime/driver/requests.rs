//! From a frame to whoever carries it out: this shard, the shard that owns the key, or several of them.

use corduroy_proto_wire::{Body, KeyspaceInfo, Request, RequestId, Response, Status, key_of, peek};

use super::link::Route;
use super::{Driver, MeshBatch};
use crate::ports::{Clock, ConnectionId, Disk, Mesh, Net};
use crate::shard::{Origin, Replies, Target};
use crate::types::{KeyspaceId, Now, ShardId, partition_of_key, shard_of_partition};

impl<P: Clock + Disk + Net + Mesh<MeshBatch>> Driver<P> {
    /// The shard on which a key lives; this one if there is no such keyspace (it then says so).
    #[inline]
    pub(super) fn owner(&self, keyspace: KeyspaceId, key: &[u8]) -> ShardId {
        if self.config.shard_count == 1 {
            return self.config.shard;
        }
        match self.shard.partitions_of(keyspace) {
            Some(partitions) => {
                shard_of_partition(partition_of_key(key, partitions), self.config.shard_count)
            }
            None => self.config.shard,
        }
    }

    /// Takes one request of a connection of this shard.
    #[inline]
    pub(super) fn request(&mut self, now: Now, client: ConnectionId, frame: &[u8]) {
        self.hub.connections[client.slot as usize].in_flight += 1;
        if let Some(key) = key_of(frame) {
            let head = peek(frame).expect("a frame with a key has a header");
            let keyspace = KeyspaceId(head.keyspace);
            let owner = if keyspace == KeyspaceId::SYSTEM {
                self.config.shard
            } else {
                self.owner(keyspace, key)
            };
            let origin = Origin {
                shard: self.config.shard,
                client,
                target: Target::Client(head.id),
            };
            if owner == self.config.shard {
                self.local_frame(now, origin, frame);
            } else {
                self.hub.forward_frame(owner, &origin, frame);
            }
            return;
        }
        match Request::decode(frame) {
            Ok((id, request)) => self.keyless_request(now, client, id, request),
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
    ) {
        let request =
            peek(frame).map_or(corduroy_proto_wire::CONNECTION_REQUEST_ID, |head| head.id);
        self.local_frame(now, route.origin(from, request), frame);
    }

    #[inline]
    fn local_frame(&mut self, now: Now, origin: Origin, frame: &[u8]) {
        match Request::decode(frame) {
            // Clients can't reach the keyspace in which the node keeps its own records; gathers can.
            Ok((_, request)) if !may_reach(&request, &origin) => {
                let reason = "there is no keyspace with the number 0";
                let body = Body::Error(reason);
                self.hub.reply(
                    origin,
                    &Response {
                        status: Status::UnknownKeyspace,
                        version: 0,
                        timestamp_ms: 0,
                        body,
                    },
                );
            }
            Ok((_, request)) => self.shard.execute(now, origin, &request, &mut self.hub),
            Err(error) => {
                let reason = error.to_string();
                let body = Body::Error(&reason);
                self.hub.reply(
                    origin,
                    &Response {
                        status: error.status(),
                        version: 0,
                        timestamp_ms: 0,
                        body,
                    },
                );
            }
        }
    }

    fn keyless_request(
        &mut self,
        now: Now,
        client: ConnectionId,
        id: RequestId,
        request: Request<'_>,
    ) {
        match request {
            Request::Ping { payload } => self.respond(client, id, Status::Ok, Body::Value(payload)),
            Request::KeyspaceList => {
                let infos = self.keyspace_infos();
                self.respond(client, id, Status::Ok, Body::Keyspaces(infos));
            }
            Request::KeyspaceOpen { name } => {
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
            request => self.multipart(now, client, id, request),
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
        | Request::AtomicBatch { keyspace, .. } => return *keyspace != KeyspaceId::SYSTEM.0,
        _ => false,
    };
    !system || matches!(origin.target, Target::Gather(..))
}
