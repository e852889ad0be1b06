//! Creating and dropping keyspaces: a record of the system keyspace first, which shard 0 owns, then a word to every shard (`completion`).

use corduroy_proto_wire::{Body, Condition, Delete, Put, Request, RequestId, Status, Ttl};

use super::gather::Gathering;
use super::{Driver, Ports};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::statistics::Kind;
use crate::shard::{DEFAULT_KEYSPACE, encode_partitions};
use crate::types::{KeyspaceId, Now, ShardId};

impl<P: Ports> Driver<P> {
    pub(super) fn create_keyspace(
        &mut self,
        now: Now,
        client: ConnectionId,
        id: RequestId,
        name: &str,
        partitions: u16,
    ) {
        let partitions = if partitions == 0 {
            limits::PARTITIONS_DEFAULT
        } else {
            partitions
        };
        let exists = self.keyspace_infos().iter().any(|info| info.name == name);
        if exists {
            self.refuse(
                client,
                id,
                Status::AlreadyExists,
                &format!("keyspace {name:?} exists already"),
            );
            return;
        }
        if self.keyspace_infos().len() >= limits::KEYSPACES_MAX {
            let reason = format!(
                "a node has at most {} keyspaces (keyspaces_max)",
                limits::KEYSPACES_MAX
            );
            self.refuse(client, id, Status::LimitExceeded, &reason);
            return;
        }
        let taken: u32 = self
            .keyspace_infos()
            .iter()
            .map(|info| u32::from(info.partitions))
            .sum();
        if taken + u32::from(partitions) > limits::PARTITIONS_TOTAL_MAX {
            let reason = format!(
                "{partitions} more partitions would be over partitions_total_max, {}: {taken} are taken",
                limits::PARTITIONS_TOTAL_MAX
            );
            self.refuse(client, id, Status::LimitExceeded, &reason);
            return;
        }
        let gathering = Gathering::CreateRecord {
            name: name.to_owned(),
            partitions,
        };
        let gather = self.hub.gather(client, id, 1, gathering);
        let value = encode_partitions(partitions);
        let put = Put {
            key: name.as_bytes(),
            value: &value,
            ttl: Ttl::None,
            condition: Condition::IfAbsent,
            return_value: false,
        };
        self.ask(
            now,
            ShardId(0),
            client,
            gather,
            0,
            &Request::Put {
                keyspace: KeyspaceId::SYSTEM.0,
                put,
            },
        );
    }

    pub(super) fn drop_keyspace(
        &mut self,
        now: Now,
        client: ConnectionId,
        id: RequestId,
        name: &str,
    ) {
        if name == DEFAULT_KEYSPACE {
            self.refuse(
                client,
                id,
                Status::InvalidRequest,
                "the keyspace \"default\" can't be dropped; flush empties it",
            );
            return;
        }
        let Some(info) = self
            .keyspace_infos()
            .into_iter()
            .find(|info| info.name == name)
        else {
            self.shard.answered_at_once(Kind::KeyspaceDrop);
            self.respond(client, id, Status::NotFound, Body::Empty);
            return;
        };
        let gathering = Gathering::DropRecord {
            id: KeyspaceId(info.id),
        };
        let gather = self.hub.gather(client, id, 1, gathering);
        let condition = Condition::IfVersion(u64::from(info.id) - 1);
        let delete = Delete {
            key: name.as_bytes(),
            condition,
            return_value: false,
        };
        self.ask(
            now,
            ShardId(0),
            client,
            gather,
            0,
            &Request::Delete {
                keyspace: KeyspaceId::SYSTEM.0,
                delete,
            },
        );
    }
}
