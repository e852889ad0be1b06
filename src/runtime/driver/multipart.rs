//! Requests in several parts: begun here (`scan` and `keyspaces` have the longer ones), continued round by round, answered when the last part
//! is there (`completion`).

use bytes::Bytes;
use corduroy_proto_wire::{BatchItem, Body, Request, RequestId, Status};

use super::connection::BatchProgress;
use super::gather::Gathering;
use super::{Driver, Ports};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::statistics::Kind;
use crate::shard::{GatherId, Origin, ShardCommand, Target, item_key};
use crate::types::{KeyspaceId, Now, ShardId};

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
                    self.shard.answered_at_once(Kind::Atomic);
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
            Request::Compact => {
                let gathering = Gathering::Compact;
                self.ask_all(now, client, id, gathering, &ShardCommand::Compact);
            }
            Request::Backup { series } => self.ask_backup(client, id, series),
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

    pub(super) fn known(
        &mut self,
        client: ConnectionId,
        id: RequestId,
        keyspace: KeyspaceId,
    ) -> bool {
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
            self.shard.answered_at_once(Kind::Batch);
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

    /// Sends one part of a gather to the shard that carries it out.
    pub(super) fn ask(
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

    pub(super) fn command_all(
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
}
