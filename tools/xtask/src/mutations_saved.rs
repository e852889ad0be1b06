//! The rules of saved indexes and of what is taken back into memory that `mutate` breaks, one at a time.

use crate::mutations::Mutation;

/// All of them. The simulator is to catch them.
pub(crate) const SAVED_MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "trust a saved index without its checksum",
        file: "src/storage/summary/header.rs",
        find: "        check(u32_at(bytes, BODY_CRC), crc32fast::hash(body))?;\n",
        replace: "",
    },
    Mutation {
        name: "take the saved index of another segment",
        file: "src/storage/summary/mod.rs",
        find: "        header.state == state\n            && self.header.segment == *header\n            && self.header.base == base\n            && self.header.end == end",
        replace: "        header.state == state || self.header.end == end",
    },
    Mutation {
        name: "take a saved index from before its segment grew",
        file: "src/storage/summary/mod.rs",
        find: "            && self.header.end == end",
        replace: "            && self.header.end <= end",
    },
    Mutation {
        name: "leave the last segment unread if it has a saved index",
        file: "src/storage/recovery/chain.rs",
        find: "        span.next_base.is_some_and(|next_base| {",
        replace: "        span.next_base.or(Some(summary.header.end)).is_some_and(|next_base| {",
    },
    Mutation {
        name: "take a saved index for a file that has lost its end",
        file: "src/storage/recovery/chain.rs",
        find: "            is_whole\n                && span.base == self.end",
        replace: "            (is_whole || !is_whole)\n                && span.base == self.end",
    },
    Mutation {
        name: "leave deletes out of an index's making",
        file: "src/storage/summary/build.rs",
        find: "        let key = self.identifier.identify(effect.key);",
        replace: "        if effect.kind == RecordKind::Delete {\n            return;\n        }\n        let key = self.identifier.identify(effect.key);",
    },
    Mutation {
        name: "let what was cleared come back from an earlier segment",
        file: "src/storage/summary/merge.rs",
        find: "!item.is_delete() && clear.is_none_or(|clear| item.version() > clear)",
        replace: "!item.is_delete() && clear.is_none_or(|clear| item.version() > clear || runs.len() > 1)",
    },
    Mutation {
        name: "take the oldest record of a key for its newest",
        file: "src/storage/summary/merge.rs",
        find: "            .get(number + 1)",
        replace: "            .get(number.wrapping_sub(1))",
    },
    Mutation {
        name: "count versions without those of saved indexes",
        file: "src/shard/recover.rs",
        find: "        let body = &self.summaries[summary].body;\n        for group in body.groups() {",
        replace: "        let body = &self.summaries[summary].body;\n        for group in body.groups().iter().take(0) {",
    },
    Mutation {
        name: "forget the times that a saved index proves",
        file: "src/storage/recovery/chain.rs",
        find: "        self.timestamp_max = self.timestamp_max.max(header.timestamp_max);",
        replace: "        let _ = header.timestamp_max;",
    },
    Mutation {
        name: "save the index of a segment that salvage has given up in part",
        file: "src/storage/summary/make.rs",
        find: "            return Err(MakeError::Salvaged);",
        replace: "            return Ok(());",
    },
    Mutation {
        name: "take a segment back into memory unchecked",
        file: "src/storage/content.rs",
        find: "            if stored != computed {",
        replace: "            if stored != computed && header.payload_len == 1 {",
    },
    Mutation {
        name: "save the index of a segment that is still written to",
        file: "src/shard/background.rs",
        find: "        self.pipeline.unsaved.extend(self.log.active());",
        replace: "        let next = self.log.active().map_or(1, |active| active.0 + 1);\n        self.pipeline.unsaved.push_back(SegmentId(next));",
    },
];
