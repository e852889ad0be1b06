//! The rules of moving data to another number of shards that `mutate` breaks, one at a time.

use crate::mutations::Mutation;

/// All of them. The simulator is to catch them.
pub(crate) const RESHARD_MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "take a segment away before what it held is in the new logs",
        file: "src/shard/reshard/mod.rs",
        find: "                self.sync(files)?;\n                self.take_away",
        replace: "                self.take_away",
    },
    Mutation {
        name: "move what was deleted",
        file: "src/shard/reshard/mod.rs",
        find: "partition.is_some_and(|partition| partition.index.contains(hash, found.position))",
        replace: "{\n        let _ = hash;\n        partition.is_some()\n    }",
    },
    Mutation {
        name: "forget at a move which versions were given",
        file: "src/shard/reshard/mod.rs",
        find: "    let given = given.fold(Given::default(), Given::max);\n",
        replace: "    let given = given.fold(Given::default(), |_, _| Given::default());\n",
    },
    Mutation {
        name: "move to the shards that were",
        file: "src/shard/reshard/mod.rs",
        find: "        let count = self.new.len() as u16;\n",
        replace: "        let count = shard.config.identity.shard_count.min(self.new.len() as u16);\n",
    },
    Mutation {
        name: "count as moved what is not synced",
        file: "src/shard/reshard/mod.rs",
        find: "        files.sync(&dirty)?;\n",
        replace: "        files.sync(&dirty[..0])?;\n",
    },
];

/// Those that the tests beside the code are to catch: the simulator's worlds have little data.
pub(crate) const RESHARD_TESTED_MUTATIONS: &[Mutation] = &[Mutation {
    name: "begin a segment of a new log before the one before is synced",
    file: "src/shard/reshard/new_log.rs",
    find: "        files.sync(&[self.active()])?;\n        self.synced();\n        let shortest",
    replace: "        self.synced();\n        let shortest",
}];
