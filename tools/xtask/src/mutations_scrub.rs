//! The rules of the background scrub that `mutate` breaks, one at a time.

use crate::mutations::Mutation;

/// All of them. The simulator is to catch them.
pub(crate) const SCRUB_MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "believe what the scrub reads",
        file: "src/storage/scrub.rs",
        find: "block.check.is_none_or(PayloadCheck::is_right)",
        replace: "block.check.is_none_or(|_| true)",
    },
    Mutation {
        name: "pass a block by whose header is damaged",
        file: "src/storage/scrub.rs",
        find: "std::mem::replace(&mut self.is_lost, true)",
        replace: "std::mem::replace(&mut self.is_lost, true) || true",
    },
    Mutation {
        name: "scrub what may not be on disk yet",
        file: "src/shard/scrub.rs",
        find: "end: segment.end.min(durable),",
        replace: "end: segment.end,",
    },
    Mutation {
        name: "remove a segment that is being scrubbed",
        file: "src/shard/compact/mod.rs",
        find: " || self.scrub.is_reading(id)",
        replace: "",
    },
    Mutation {
        name: "take a failed read of the scrub for a good one",
        file: "src/shard/scrub.rs",
        find: "        self.found += 1;\n",
        replace: "        self.found += u64::from(!finding.reason.contains(\"can't be read\"));\n",
    },
];
