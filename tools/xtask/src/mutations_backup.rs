//! The rules of backups that `mutate` breaks, one at a time.

use crate::mutations::Mutation;

/// All of them. The simulator is to catch them.
pub(crate) const BACKUP_MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "let go of a backup's files before they are copied",
        file: "src/shard/backup.rs",
        find: "            let hold = self.log.hold(SegmentId(0)..=last);",
        replace: "            let hold = self.log.hold(last..=last);",
    },
    Mutation {
        name: "name a point that is not on disk",
        file: "src/shard/backup.rs",
        find: "        if self.pipeline.durable < point.log.end {",
        replace: "        if self.pipeline.durable > point.log.end {",
    },
    Mutation {
        name: "name a point further on than the files that are held",
        file: "src/shard/backup.rs",
        find: "        self.backup.stage = Stage::Ready(Ok(point.clone()));",
        replace: "        let log = self.log.point();\n        self.backup.stage = Stage::Ready(Ok(ShardPoint { log, ..point.clone() }));",
    },
];
