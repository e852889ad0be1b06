//! Requests in several parts: begun here, continued round by round, answered when the last part is there.

use bytes::Bytes;
use corduroy_proto_wire::{
    BatchItem, Body, Condition, Cursor, Delete, Put, Request, RequestId, Response, Status, Ttl,
};

use super::connection::BatchProgress;
use super::gather::{Gather, Gathering, ScanProgress, wire_results};
use super::{Driver, Ports};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::{
    DEFAULT_KEYSPACE, GatherId, Origin, ScanStep, ShardCommand, Target, encode_partitions, item_key,
};
use crate::types::{KeyspaceId, Now, ShardId, partition_of_key, shard_of_partition};

impl<P: Ports> Driver<P> {
    pub(super) fn multipart(
        &mut self,
        now: Now,
        client: ConnectionId,
        id: RequestId,
        request: Request<'_>,
        frame: &[u8],
    ) {
        match request {
            Request::Batch { keyspace, items } => {
                self.batch(now, client, id, keyspace, &items, frame);
            }
            Request::AtomicBatch {
                keyspace,
                ref items,
            } => {
                let key = items.first().map(item_key);
                let owner = key.map_or(self.config.shard, |key| {
                    self.owner(KeyspaceId(keyspace), key)
                });
                let origin = Origin {
                    shard: self.config.shard,
                    client,
                    target: Target::Client(id),
                    get: false,
                };
                if keyspace == KeyspaceId::SYSTEM.0 {
                    self.refuse(
                        client,
                        id,
                        Status::UnknownKeyspace,
                        "there is no keyspace with the number 0",
                    );
                } else if items.is_empty() {
                    self.respond(client, id, Status::Ok, Body::Batch(Vec::new()));
                } else if owner == self.config.shard {
                    self.shard.execute(now, origin, &request, &mut self.hub);
                } else {
                    self.hub.forward(owner, &origin, &request);
                }
            }
            Request::Scan {
                keyspace,
                prefix,
                cursor,
                limit,
                with_values,
            } => {
                self.begin_scan(
                    now,
                    client,
                    id,
                    KeyspaceId(keyspace),
                    prefix,
                    cursor,
                    limit,
                    with_values,
                );
            }
            Request::Count { keyspace } => {
                let keyspace = KeyspaceId(keyspace);
                if self.known(client, id, keyspace) {
                    self.ask_all(
                        now,
                        client,
                        id,
                        Gathering::Count { keys: 0 },
                        &ShardCommand::Count { keyspace },
                    );
                }
            }
            Request::Flush { keyspace } => {
                let keyspace = KeyspaceId(keyspace);
                if self.known(client, id, keyspace) {
                    self.ask_all(
                        now,
                        client,
                        id,
                        Gathering::Flush,
                        &ShardCommand::Flush { keyspace },
                    );
                }
            }
            Request::Status => {
                self.ask_all(
                    now,
                    client,
                    id,
                    Gathering::Status { shards: Vec::new() },
                    &ShardCommand::Status,
                );
            }
            Request::KeyspaceCreate { name, partitions } => {
                self.create_keyspace(now, client, id, name, partitions);
            }
            Request::KeyspaceDrop { name } => self.drop_keyspace(now, client, id, name),
            _ => self.refuse(
                client,
                id,
                Status::Unsupported,
                "this request is not supported",
            ),
        }
    }

    fn known(&mut self, client: ConnectionId, id: RequestId, keyspace: KeyspaceId) -> bool {
        let known = self.keyspace_info(keyspace).is_some();
        if !known {
            let reason = format!("there is no keyspace with the number {}", keyspace.0);
            self.refuse(client, id, Status::UnknownKeyspace, &reason);
        }
        known
    }

    fn batch(
        &mut self,
        now: Now,
        client: ConnectionId,
        id: RequestId,
        keyspace: u32,
        items: &[BatchItem<'_>],
        frame: &[u8],
    ) {
        if !self.known(client, id, KeyspaceId(keyspace)) {
            return;
        }
        if items.is_empty() {
            self.respond(client, id, Status::Ok, Body::Batch(Vec::new()));
            return;
        }
        let gathering = Gathering::Batch {
            results: vec![None; items.len()],
            bytes: 0,
            bytes_max: limits::batch_values_max(self.config.value_len_max),
        };
        let gather = self.hub.gather(client, id, items.len(), gathering);
        let asked = self.ask_items(now, client, gather, keyspace, items, 0);
        if asked < items.len() {
            let progress = BatchProgress {
                frame: Bytes::copy_from_slice(frame),
                gather,
                next: asked,
                len: items.len(),
            };
            self.hub.connections[client.slot as usize].batch = Some(progress);
        }
    }

    /// Goes on with a connection's long batch, one slice.
    pub(super) fn go_on_with_batch(&mut self, now: Now, client: ConnectionId) {
        let place = &mut self.hub.connections[client.slot as usize].batch;
        let Some(mut progress) = place.take() else {
            return;
        };
        let Ok((_, Request::Batch { keyspace, items })) = Request::decode(&progress.frame) else {
            unreachable!("it was decoded when it came in")
        };
        let rest = &items[progress.next..];
        let asked = self.ask_items(now, client, progress.gather, keyspace, rest, progress.next);
        if asked < rest.len() {
            progress.next += asked;
            self.hub.connections[client.slot as usize].batch = Some(progress);
        }
    }

    /// Sends operations of a batch, of which the first has number `first`, to the shards that own their keys: a slice of them, fewer if
    /// there is no more room after one, for each may ask for a large record on disk. Answers how many.
    fn ask_items(
        &mut self,
        now: Now,
        client: ConnectionId,
        gather: GatherId,
        keyspace: u32,
        items: &[BatchItem<'_>],
        first: usize,
    ) -> usize {
        let slice = &items[..items.len().min(self.config.batch_slice_len)];
        for (number, item) in slice.iter().enumerate() {
            if number > 0 && !self.has_room() {
                return number;
            }
            let request = match *item {
                BatchItem::Get { key } => Request::Get { keyspace, key },
                BatchItem::Put(put) => Request::Put { keyspace, put },
                BatchItem::Delete(delete) => Request::Delete { keyspace, delete },
            };
            let owner = self.owner(KeyspaceId(keyspace), item_key(item));
            let part = (first + number) as u32;
            self.ask(now, owner, client, gather, part, &request);
        }
        slice.len()
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a scan's fields and its surroundings"
    )]
    pub(super) fn begin_scan(
        &mut self,
        now: Now,
        client: ConnectionId,
        id: RequestId,
        keyspace: KeyspaceId,
        prefix: &[u8],
        cursor: Cursor,
        limit: u32,
        with_values: bool,
    ) {
        if !self.known(client, id, keyspace) {
            return;
        }
        let (_, partitions) = self.keyspace_info(keyspace).expect("it is known");
        let Some((first, from)) = ScanProgress::parse_cursor(cursor, keyspace, partitions) else {
            self.refuse(
                client,
                id,
                Status::InvalidRequest,
                "the cursor is not one of this keyspace",
            );
            return;
        };
        if limit == 0 || limit as usize > limits::BATCH_LEN_MAX {
            let reason = format!(
                "a scan's limit is 1 to batch_len_max, {}, not {limit}",
                limits::BATCH_LEN_MAX
            );
            self.refuse(client, id, Status::LimitExceeded, &reason);
            return;
        }
        // Keys that begin with a whole tag are all in one partition.
        let only = whole_tag(prefix).then(|| partition_of_key(prefix, partitions));
        let (partition, from) = match only {
            Some(only) if first < only => (only, crate::storage::index::HashCursor::START),
            _ => (first, from),
        };
        let scan = ScanProgress {
            keyspace,
            prefix: prefix.to_vec(),
            limit: limit as usize,
            with_values,
            partition,
            partition_last: only.unwrap_or(partitions - 1),
            from,
            items: Vec::new(),
            bytes: 0,
            entries: 0,
            steps: 0,
            large_len: self.config.large_len,
        };
        if scan.is_done() {
            self.respond(
                client,
                id,
                Status::Ok,
                Body::Scan {
                    cursor: scan.cursor(),
                    items: Vec::new(),
                },
            );
            return;
        }
        let gather = self
            .hub
            .gather(client, id, 1, Gathering::Scan(Box::new(scan)));
        self.next_scan_step(now, gather);
    }

    /// Asks for the next step of a scan.
    fn next_scan_step(&mut self, now: Now, gather: GatherId) {
        let entry = &mut self.hub.gathers[gather.slot as usize];
        entry.remaining = 1;
        let client = entry.client;
        let Gathering::Scan(scan) = &entry.gathering else {
            unreachable!("only scans have steps")
        };
        let step = ScanStep {
            keyspace: scan.keyspace,
            partition: scan.partition,
            from: scan.from,
            prefix: scan.prefix.clone(),
            limit: scan.limit - scan.items.len(),
            with_values: scan.with_values,
            bytes_max: limits::SCAN_PAGE_BYTES_MAX - scan.bytes,
        };
        let owner = shard_of_partition(scan.partition, self.config.shard_count);
        self.command(now, owner, client, gather, ShardCommand::Scan(step));
    }

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

    fn drop_keyspace(&mut self, now: Now, client: ConnectionId, id: RequestId, name: &str) {
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

    /// Sends one part of a gather to the shard that carries it out.
    fn ask(
        &mut self,
        now: Now,
        owner: ShardId,
        client: ConnectionId,
        gather: GatherId,
        part: u32,
        request: &Request<'_>,
    ) {
        let origin = Origin {
            shard: self.config.shard,
            client,
            target: Target::Gather(gather, part),
            get: false,
        };
        if owner == self.config.shard {
            self.shard.execute(now, origin, request, &mut self.hub);
        } else {
            self.hub.forward(owner, &origin, request);
        }
    }

    pub(super) fn command(
        &mut self,
        now: Now,
        owner: ShardId,
        client: ConnectionId,
        gather: GatherId,
        command: ShardCommand,
    ) {
        let origin = Origin {
            shard: self.config.shard,
            client,
            target: Target::Gather(gather, u32::from(owner.0)),
            get: false,
        };
        if owner == self.config.shard {
            self.shard.command(now, origin, command, &mut self.hub);
        } else {
            self.hub.forward_command(owner, origin, command);
        }
    }

    pub(super) fn ask_all(
        &mut self,
        now: Now,
        client: ConnectionId,
        id: RequestId,
        gathering: Gathering,
        command: &ShardCommand,
    ) {
        let gather = self
            .hub
            .gather(client, id, usize::from(self.config.shard_count), gathering);
        self.command_all(now, client, gather, command);
    }

    fn command_all(
        &mut self,
        now: Now,
        client: ConnectionId,
        gather: GatherId,
        command: &ShardCommand,
    ) {
        for shard in 0..self.config.shard_count {
            self.command(now, ShardId(shard), client, gather, command.clone());
        }
    }

    /// Goes on with gathers whose parts are all there: the next round, or the answer.
    pub(super) fn complete_gathers(&mut self, now: Now) {
        while let Some(id) = self.hub.complete.pop() {
            let gather = &mut self.hub.gathers[id.slot as usize];
            let all = usize::from(self.config.shard_count);
            let client = gather.client;
            if let Gathering::Across(_) = &gather.gathering {
                self.go_on_across(now, id);
                continue;
            }
            let next = match (&gather.failure, &gather.gathering) {
                (Some(_), _) => None,
                (None, Gathering::Scan(scan)) if !scan.is_done() => {
                    self.next_scan_step(now, id);
                    continue;
                }
                (None, Gathering::CreateInstall { info })
                    if gather.remaining == 0 && !gather.installed =>
                {
                    gather.installed = true;
                    Some(ShardCommand::Install {
                        keyspace: KeyspaceId(info.id),
                        partitions: info.partitions,
                        name: info.name.clone(),
                    })
                }
                (None, Gathering::DropRecord { id }) => {
                    let keyspace = *id;
                    gather.gathering = Gathering::DropRemove;
                    Some(ShardCommand::Remove { keyspace })
                }
                _ => None,
            };
            if let Some(command) = next {
                gather.remaining = all;
                self.command_all(now, client, id, &command);
                continue;
            }
            let gather = self.hub.gathers.remove(id.slot as usize);
            self.answer_gather(gather);
        }
    }

    fn answer_gather(&mut self, gather: Gather) {
        let Gather {
            client,
            request,
            failure,
            gathering,
            ..
        } = gather;
        if self.resp_mut(client).is_some() {
            let result = match failure {
                Some(failure) => Err(failure),
                None => Ok(gathering),
            };
            self.collected(client, request, result);
            return;
        }
        if let Some((status, reason)) = failure {
            // That a keyspace is not there is an answer, not an error: another client was quicker to drop it.
            if status.is_error() {
                self.refuse(client, request, status, &reason);
            } else {
                self.respond(client, request, status, Body::Empty);
            }
            return;
        }
        let connections = self.connections();
        let text;
        let body = match &gathering {
            Gathering::Batch { results, .. } => Body::Batch(wire_results(results)),
            Gathering::Count { keys } => Body::Number(*keys),
            Gathering::Flush
            | Gathering::DropRemove
            | Gathering::DropRecord { .. }
            | Gathering::CreateRecord { .. }
            | Gathering::Across(_) => Body::Empty,
            Gathering::Scan(scan) => Body::Scan {
                cursor: scan.cursor(),
                items: scan.wire_items(),
            },
            Gathering::CreateInstall { info } => Body::Keyspaces(vec![info.clone()]),
            Gathering::Status { shards } => {
                let mut shards = shards.clone();
                shards.sort_by_key(|shard| shard.shard);
                text = serde_json::json!({
                    "server": self.config.server_name,
                    "shard_count": self.config.shard_count,
                    "sync": self.shard.sync().to_string(),
                    "consistency": "one node",
                    "keys": shards.iter().map(|shard| shard.keys).sum::<u64>(),
                    "answered_by": { "shard": self.config.shard.0, "connections": connections },
                    "shards": shards,
                })
                .to_string();
                Body::Status(&text)
            }
        };
        let response = Response {
            status: Status::Ok,
            version: 0,
            timestamp_ms: 0,
            body,
        };
        match &gathering {
            Gathering::Scan(scan) if self.hub.is_flooded(client, scan.bytes) => {
                self.hub.refuse_flooded(client, request);
            }
            Gathering::Scan(scan) if let Some(value) = scan.large_value() => {
                self.hub.answer_large(client, request, &response, value);
            }
            _ => self.hub.answer(client, request, &response),
        }
    }
}

/// Whether a prefix holds a whole hash tag, so that every key with the prefix has the same slot.
fn whole_tag(prefix: &[u8]) -> bool {
    let Some(open) = prefix.iter().position(|&byte| byte == b'{') else {
        return false;
    };
    prefix[open + 1..]
        .iter()
        .position(|&byte| byte == b'}')
        .is_some_and(|len| len > 0)
}
