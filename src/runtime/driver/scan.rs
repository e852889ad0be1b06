//! Scans: a page is put together by steps, one partition after the other, each a bounded piece of work of the shard that owns it.

use corduroy_proto_wire::{Body, Cursor, RequestId, Status};

use super::gather::{Gathering, ScanProgress};
use super::{Driver, Ports};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::statistics::Kind;
use crate::shard::{GatherId, ScanStep, ShardCommand};
use crate::storage::index::HashCursor;
use crate::types::{KeyspaceId, Now, partition_of_key, shard_of_partition};

impl<P: Ports> Driver<P> {
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
            Some(only) if first < only => (only, HashCursor::START),
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
            self.shard.answered_at_once(Kind::Scan);
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
    pub(super) fn next_scan_step(&mut self, now: Now, gather: GatherId) {
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
