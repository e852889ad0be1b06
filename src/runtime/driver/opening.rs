//! How a connection opens, and how the driver ends one with a word: the hello, and refusals after which nothing more is read.

use corduroy_proto_wire::{Body, FrameError, HelloReply, KeyspaceInfo, Response, Status};

use super::connection::Phase;
use super::{Driver, Flow, Ports};
use crate::gateway::native::{self, Opening, OpeningError};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::statistics::Kind;
use crate::types::{Now, ShardId};

impl<P: Ports> Driver<P> {
    /// Reads the hello. `Ok(None)`: not whole yet. `Err`: the connection is closed or another shard's.
    pub(super) fn shake_hands(
        &mut self,
        now: Now,
        id: ConnectionId,
        bytes: &[u8],
    ) -> Result<Option<usize>, Flow> {
        let (request, hello, version, consumed) = match native::open(bytes) {
            Ok(Opening::Incomplete) => return Ok(None),
            Ok(Opening::Hello {
                request,
                hello,
                version,
                consumed,
            }) => (request, hello, version, consumed),
            Err(error) => return Err(self.refuse_opening(id, &error)),
        };
        if let Some(shard) = hello.shard.filter(|&shard| shard != self.config.shard.0) {
            if shard >= self.config.shard_count {
                let reason = format!(
                    "there is no shard {shard}: the node has {}",
                    self.config.shard_count
                );
                return Err(self.close_with(id, request, Status::Handshake, &reason));
            }
            self.hub.connections.remove(id.slot as usize);
            self.ports.hand_over(id, ShardId(shard), bytes.to_vec());
            return Err(Flow::Gone);
        }
        let keyspace = self
            .shard
            .keyspaces()
            .find(|keyspace| keyspace.name() == hello.keyspace)
            .map(|keyspace| KeyspaceInfo {
                id: keyspace.id().0,
                partitions: keyspace.partitions(),
                name: keyspace.name().to_owned(),
            });
        let reply = HelloReply {
            version,
            shard_count: self.config.shard_count,
            shard: self.config.shard.0,
            frame_len_max: self.config.frame_len_max(),
            value_len_max: self.config.value_len_max as u32,
            in_flight_max: self.config.in_flight_max as u32,
            batch_len_max: limits::BATCH_LEN_MAX as u32,
            keyspace,
            server_name: self.config.server_name.clone(),
        };
        let connection = &mut self.hub.connections[id.slot as usize];
        connection.phase = Phase::Open;
        connection.received_at = now.mono;
        let response = Response {
            status: Status::Ok,
            version: 0,
            timestamp_ms: 0,
            body: Body::Hello(reply),
        };
        connection.push(request, &response);
        self.shard.answered_at_once(Kind::Hello);
        self.hub.mark_dirty(id);
        Ok(Some(consumed))
    }

    pub(super) fn refuse_opening(&mut self, id: ConnectionId, error: &OpeningError) -> Flow {
        self.close_with(id, error.request(), Status::Handshake, &error.to_string())
    }

    pub(super) fn refuse_stream(&mut self, id: ConnectionId, error: &FrameError) -> Flow {
        self.close_with(
            id,
            corduroy_proto_wire::CONNECTION_REQUEST_ID,
            error.status(),
            &error.to_string(),
        )
    }

    /// Says why, and closes the connection once that and every answer before it is sent.
    pub(super) fn close_with(
        &mut self,
        id: ConnectionId,
        request: u32,
        status: Status,
        reason: &str,
    ) -> Flow {
        self.shard.refused_outside(1);
        let connection = &mut self.hub.connections[id.slot as usize];
        if connection.resp.is_some() {
            self.close_resp(id, &format!("ERR {reason}"));
            return Flow::Continue;
        }
        connection.read_nothing_more();
        connection.frame_since = None;
        let response = Response {
            status,
            version: 0,
            timestamp_ms: 0,
            body: Body::Error(reason),
        };
        let mut farewell = Vec::new();
        response.encode(request, &mut farewell);
        connection.farewell = Some(farewell);
        self.hub.mark_dirty(id);
        Flow::Continue
    }
}
