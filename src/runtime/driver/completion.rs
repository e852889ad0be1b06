//! What becomes of a request in several parts when the last part is there: its next round, or its answer.

use corduroy_proto_wire::{Body, Response, Status};

use super::gather::{Gather, Gathering, wire_results};
use super::{Driver, Ports};
use crate::shard::ShardCommand;
use crate::types::{KeyspaceId, MonoNanos, Now};

impl<P: Ports> Driver<P> {
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
            self.answer_gather(now, gather);
        }
    }

    fn answer_gather(&mut self, now: Now, gather: Gather) {
        let Gather {
            client,
            request,
            failure,
            gathering,
            since,
            ..
        } = gather;
        self.count_gather(now.mono, since, &gathering, failure.as_ref());
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
                self.respond(client, request, status, Body::Error(&reason));
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
            | Gathering::Compact
            | Gathering::DropRemove
            | Gathering::DropRecord { .. }
            | Gathering::CreateRecord { .. }
            | Gathering::Across(_)
            | Gathering::Node(_) => Body::Empty,
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
                    "backup": self.ports.backup_progress().map(|progress| serde_json::json!({
                        "bytes_done": progress.bytes_done,
                        "bytes_total": progress.bytes_total,
                    })),
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

    /// Counts a gather as a request of its kind or, if it failed by what the driver found, as an error; the shards count what they refuse.
    fn count_gather(
        &mut self,
        now: MonoNanos,
        since: MonoNanos,
        gathering: &Gathering,
        failure: Option<&(Status, String)>,
    ) {
        match failure {
            Some((Status::AlreadyExists, _)) => self.shard.refused_outside(1),
            Some((status, _)) if status.is_error() => {}
            _ => {
                let nanos = now.0.saturating_sub(since.0);
                self.shard.answered_after(gathering.kind(), nanos);
            }
        }
    }
}
