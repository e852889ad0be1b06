//! The rules that `mutate` breaks, one at a time.

/// One way to break a rule.
#[derive(Debug)]
pub(crate) struct Mutation {
    /// What the broken code does.
    pub(crate) name: &'static str,
    /// Which file is changed.
    pub(crate) file: &'static str,
    /// A text that is in it once.
    pub(crate) find: &'static str,
    /// What takes its place.
    pub(crate) replace: &'static str,
}

/// All of them.
pub(crate) const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "acknowledge a write before its fdatasync",
        file: "src/shard/append.rs",
        find: "                block: plan.block,\n                sync,",
        replace: "                block: plan.block,\n                sync: false,",
    },
    Mutation {
        name: "begin a segment before the one before is synced",
        file: "src/shard/append.rs",
        find: "if self.pipeline.durable < self.log.end() {\n            self.sync_now(disk);\n            return false;",
        replace: "if self.pipeline.durable < Position(0) {\n            self.sync_now(disk);\n            return false;",
    },
    Mutation {
        name: "seal what is not synced",
        file: "src/shard/append.rs",
        find: "if seal && self.pipeline.durable < self.log.end() {",
        replace: "if seal && self.pipeline.durable < Position(0) {",
    },
    Mutation {
        name: "make a keyspace without a sync",
        file: "src/shard/append.rs",
        find: "partition.keyspace == KeyspaceId::SYSTEM",
        replace: "partition.keyspace == KeyspaceId(u32::MAX)",
    },
    Mutation {
        name: "leave empty partitions out of a flush",
        file: "src/shard/keyspaces.rs",
        find: "if partition.version_next == Version(1) {",
        replace: "if partition.index.is_empty() {",
    },
    Mutation {
        name: "acknowledge a write that failed",
        file: "src/shard/pipeline.rs",
        find: "(Operation::Block { .. }, Err(error)) => self.fail(now, \"write\", &error, out),",
        replace: "(Operation::Block { .. }, Err(_)) => self.commit(now, out),",
    },
    Mutation {
        name: "go on after a failed fdatasync",
        file: "src/shard/pipeline.rs",
        find: "                self.fail(now, \"fdatasync\", &error, out);",
        replace: "                let _ = error;",
    },
    Mutation {
        name: "forget what was known synced",
        file: "src/shard/append.rs",
        find: "        let durable = self.pipeline.durable;\n        let kind",
        replace: "        let durable = Position(0);\n        let kind",
    },
    Mutation {
        name: "evaluate without what is not committed yet",
        file: "src/shard/lookup.rs",
        find: "        if self.overlay.is_empty() {",
        replace: "        if !self.overlay.is_empty() || self.overlay.is_empty() {",
    },
    Mutation {
        name: "show a connection the state before its own write",
        file: "src/shard/lookup.rs",
        find: "(pending.shared || pending.writer.same_client(origin))",
        replace: "pending.shared",
    },
    Mutation {
        name: "let a read go back behind what a failed condition told",
        file: "src/shard/effects.rs",
        find: "            self.told_of(&origin, place);\n            self.reply_after_commit",
        replace: "            self.reply_after_commit",
    },
    Mutation {
        name: "show expired keys",
        file: "src/shard/lookup.rs",
        find: "record.expiry.is_some_and(|expiry| expiry <= now.wall)",
        replace: "record.expiry.is_some_and(|expiry| expiry.0 + 3 <= now.wall.0)",
    },
    Mutation {
        name: "take keys away before their time",
        file: "src/shard/expire.rs",
        find: "self.expiry.pop_due(by, ",
        replace: "self.expiry.pop_due(WallMillis(by.0 + 3), ",
    },
    Mutation {
        name: "bring keys back when the clock is set back",
        file: "src/shard/replay.rs",
        find: "        self.expire_all(proven);",
        replace: "        let _ = proven;",
    },
    Mutation {
        name: "count versions from one again after a restart",
        file: "src/shard/replay.rs",
        find: "partition.version_next = partition.version_next.max(Version(record.version.0 + 1));",
        replace: "partition.version_next = Version(1).max(partition.version_next);",
    },
    Mutation {
        name: "count versions by live records alone after a restart",
        file: "src/shard/replay.rs",
        find: "partition.version_next = partition.version_next.max(Version(record.version.0 + 1));",
        replace: "if record.kind == RecordKind::Set {\n            partition.version_next = partition.version_next.max(Version(record.version.0 + 1));\n        }",
    },
    Mutation {
        name: "replay the first record of an entry alone",
        file: "src/storage/recovery/chain.rs",
        find: "for record in entry.records().flatten() {\n                self.timestamp_max",
        replace: "for record in entry.records().flatten().take(1) {\n                self.timestamp_max",
    },
    Mutation {
        name: "take damage for a torn write",
        file: "src/storage/recovery/tear.rs",
        find: "        false => Verdict::Damaged(Proof::Sectors),",
        replace: "        false => Verdict::Torn { used },",
    },
    Mutation {
        name: "ignore later blocks' testimony",
        file: "src/storage/recovery/tear.rs",
        find: "    if let Some(witness) = witness(span, log, at, used) {",
        replace: "    if let Some(witness) = witness(span, log, at, used).filter(|_| used == 0) {",
    },
    Mutation {
        name: "leave torn remains on the disk",
        file: "src/storage/recovery/chain.rs",
        find: "                        len: (used - at) as u64,",
        replace: "                        len: (used - at).min(1) as u64,",
    },
    Mutation {
        name: "skip the check of a block's payload",
        file: "src/storage/recovery/chain.rs",
        find: "            if stored != computed {",
        replace: "            if stored != computed && header.payload_len == 1 {",
    },
    Mutation {
        name: "skip the check of a record that is read from disk",
        file: "src/storage/format/record.rs",
        find: "if computed == self.stored {",
        replace: "if computed == self.stored || self.len > 0 {",
    },
    Mutation {
        name: "carry out an atomic batch whose conditions hold in part",
        file: "src/shard/atomic.rs",
        find: "            .zip(items)\n            .all(|(decision, item)| match item {",
        replace: "            .zip(items)\n            .any(|(decision, item)| match item {",
    },
    Mutation {
        name: "let others overtake an atomic batch that waits",
        file: "src/shard/waiting.rs",
        find: "        queues.dedup();",
        replace: "        queues.dedup();\n        queues.truncate(1);",
    },
    Mutation {
        name: "forget who waits when a batch is refused",
        file: "src/shard/append.rs",
        find: "                self.pipeline.full = Some(reason);\n                self.resume_waiting(now, out);",
        replace: "                self.pipeline.full = Some(reason);",
    },
    Mutation {
        name: "commit a block after a sync failed",
        file: "src/shard/pipeline.rs",
        find: "            (Operation::Block { .. }, Ok(_)) if self.pipeline.failed.is_some() => {}\n",
        replace: "",
    },
    Mutation {
        name: "let requests through while a flush commits",
        file: "src/shard/keyspaces.rs",
        find: "            partition.clearing = Some(version);",
        replace: "            partition.clearing = None;",
    },
    Mutation {
        name: "let requests through when the first of two flushes commits",
        file: "src/shard/commit.rs",
        find: "if partition.clearing == Some(effect.version) {",
        replace: "if partition.clearing.is_some() {",
    },
    Mutation {
        name: "drop what a full channel gave back",
        file: "src/runtime/driver/link.rs",
        find: "        self.out = batch;\n        self.blocked = true;",
        replace: "        self.blocked = true;",
    },
    Mutation {
        name: "answer a request of a batch twice",
        file: "src/runtime/driver/hub.rs",
        find: "            if let Some(value) = large {\n",
        replace: "            if large.is_none() {\n                out.extend_from_slice(&(len as u32).to_le_bytes());\n                out.extend_from_slice(frame);\n            }\n            if let Some(value) = large {\n",
    },
    Mutation {
        name: "resume a scan one entry too far",
        file: "src/shard/scan.rs",
        find: "                page.next = Some(entries[number - 1].0);\n                page.entries",
        replace: "                page.next = Some(entries[number].0);\n                page.entries",
    },
    Mutation {
        name: "leave keys of a partition's end out of a scan",
        file: "src/runtime/driver/gather.rs",
        find: "                        scan.partition += 1;",
        replace: "                        scan.partition += 2;",
    },
    Mutation {
        name: "never resume a connection that waited for room",
        file: "src/runtime/driver/input.rs",
        find: "            self.ports.resume(id);",
        replace: "            let _ = id;",
    },
    Mutation {
        name: "leave the checksum of a large record open",
        file: "src/storage/log/outgoing.rs",
        find: "            Record::seal_apart(head, slices(&large.value, pause), padding, large.position);",
        replace: "            let _ = (head, padding, slices(&large.value, pause), large.position);",
    },
    Mutation {
        name: "send a large value in the wrong place",
        file: "src/runtime/driver/connection.rs",
        find: "        self.large.push_back((self.bytes.len(), value));",
        replace: "        self.large.push_back((self.sent, value));",
    },
    Mutation {
        name: "take the large value of another record",
        file: "src/storage/log/mod.rs",
        find: "            Ok(found) => Some(&segment.large[found].1),",
        replace: "            Ok(found) => Some(&segment.large[found / 2].1),",
    },
    Mutation {
        name: "leave out the end of a long batch",
        file: "src/runtime/driver/multipart.rs",
        find: "            progress.next += asked;",
        replace: "            progress.next += asked + 1;",
    },
    Mutation {
        name: "give lost versions again",
        file: "src/shard/replay.rs",
        find: "let versions = bytes / RECORD_LEN_MIN as u64;",
        replace: "let versions = bytes / u64::MAX;",
    },
    Mutation {
        name: "give lost versions again at the start after",
        file: "src/storage/recovery/chain.rs",
        find: "BlockKind::Skip => visitor.given_up(header.block_len()),",
        replace: "BlockKind::Skip => {}",
    },
    Mutation {
        name: "take a file's lost end for the log's",
        file: "src/storage/recovery/chain.rs",
        find: "            Fault::Missing => at + BLOCK_HEADER_LEN as u64 > present,",
        replace: "            Fault::Missing => at > capacity,",
    },
    Mutation {
        name: "leave a frame that can't be decoded without an answer",
        file: "src/runtime/driver/requests.rs",
        find: "            Err(error) => {\n                let id =",
        replace: "            Err(error) if peek(frame).is_ok_and(|head| head.opcode > 40) => drop(error),\n            Err(error) => {\n                let id =",
    },
    Mutation {
        name: "salvage without a word",
        file: "src/storage/recovery/mod.rs",
        find: "        self.damage.push(damage);",
        replace: "        let _ = damage;",
    },
    Mutation {
        name: "leave what salvage gave up uncovered",
        file: "src/storage/recovery/chain.rs",
        find: "        plan.write(span.file.id, offset, bytes.to_vec());",
        replace: "        let _ = bytes;",
    },
    Mutation {
        name: "give a key another expiry though that is earlier",
        file: "src/shard/expiry_writes.rs",
        find: "ExpiryCondition::IfLater => rank(new) > rank(old),",
        replace: "ExpiryCondition::IfLater => old.is_some(),",
    },
    Mutation {
        name: "keep a key whose new expiry has passed",
        file: "src/shard/expiry_writes.rs",
        find: "if expiry.is_some_and(|expiry| expiry <= now.wall) {",
        replace: "if expiry.is_some_and(|expiry| expiry <= now.wall && current.value.is_empty()) {",
    },
    Mutation {
        name: "tell another expiry than the key's",
        file: "src/shard/reads.rs",
        find: "Body::Ttl(record.expiry.map(|expiry| expiry.0))",
        replace: "Body::Ttl(record.expiry.map(|expiry| expiry.0 + 1))",
    },
    Mutation {
        name: "lose a key's expiry when a part of its value is written over",
        file: "src/shard/edits.rs",
        find: "value[begin..end].copy_from_slice(bytes);\n        let expiry = current.and_then(|record| record.expiry);",
        replace: "value[begin..end].copy_from_slice(bytes);\n        let expiry = None;",
    },
    Mutation {
        name: "write over nothing but the first byte that is asked for",
        file: "src/shard/edits.rs",
        find: "let begin = offset as usize;",
        replace: "let begin = offset as usize + usize::from(old_len > 3);",
    },
    Mutation {
        name: "add a number with a fraction to nothing",
        file: "src/shard/edits.rs",
        find: "float::add(current.map(|record| record.value), increment)",
        replace: "float::add(current.map(|_| &b\"0\"[..]), increment)",
    },
];

/// Those that the shard's own tests catch, for the simulator's clients do not ask for it.
pub(crate) const TESTED_MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "carry out a unit whose preconditions do not hold",
        file: "src/shard/unit.rs",
        find: "                return Ok(false);",
        replace: "                continue;",
    },
    Mutation {
        name: "read in a unit what was before others' writes",
        file: "src/shard/unit.rs",
        find: "            self.told_of(&origin, &key.place);",
        replace: "            let _ = key;",
    },
    Mutation {
        name: "answer a unit before it is committed",
        file: "src/shard/unit.rs",
        find: "if pending || self.batch.effects.len() > effects_before {",
        replace: "if pending {",
    },
    Mutation {
        name: "let others overtake a unit that waits",
        file: "src/shard/waiting.rs",
        find: "} => unit::keys_of(preconditions, frames),",
        replace: "} => unit::keys_of(preconditions, &frames[frames.len() / 2..]),",
    },
    Mutation {
        name: "start with a part of a unit",
        file: "src/storage/recovery/chain.rs",
        find: "            if stored != computed {",
        replace: "            if stored != computed && header.payload_len == 1 {",
    },
    Mutation {
        name: "let a unit log values as often as it likes",
        file: "src/shard/unit/cost.rs",
        find: "Request::Touch { .. } | Request::Persist { .. } => cost.write(key, value.len),",
        replace: "Request::Touch { .. } | Request::Persist { .. } => cost.write(key, 0),",
    },
    Mutation {
        name: "leave a moved value where it was",
        file: "src/shard/relocate.rs",
        find: "            self.stage_delete(now, origin, &source, source_key, source_previous);",
        replace: "            let _ = source_previous;",
    },
    Mutation {
        name: "lose a moved value's expiry",
        file: "src/shard/relocate.rs",
        find: "let expiry = current.expiry;",
        replace: "let expiry = None;",
    },
];
